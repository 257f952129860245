//! One connection: serves it, and cuts it when its client is too slow to begin, to send a head or to read.
//!
//! Time is judged by one coarse timer per connection, from a few counters that the socket's wrapper and the requests
//! keep. The request path itself arms no timer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use holdfast_wire::seam::Connection;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, Sleep, sleep};

use super::{Shared, bare, exchange};
use crate::guard::refusal::Cause;
use crate::limits::Limits;

/// How long a closed connection is read on, so that the answer is not overtaken by a reset.
const LINGER: Duration = Duration::from_secs(2);

/// What is known of a connection's life.
pub struct Pulse {
    /// The other end.
    pub peer: SocketAddr,
    opened: Instant,
    active: AtomicUsize,
    /// When the last request ended, in milliseconds after `opened`.
    idle_since: AtomicU64,
    /// When the first byte of a head came, in milliseconds after `opened`, plus one; 0: none has come.
    head_since: AtomicU64,
    written: AtomicU64,
    write_blocked: AtomicBool,
    unread: AtomicBool,
}

impl Pulse {
    fn new(peer: SocketAddr) -> Self {
        Self {
            peer,
            opened: Instant::now(),
            active: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            written: AtomicU64::new(0),
            write_blocked: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64
    }

    /// A request begins; it ends when the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        Active(self.clone())
    }

    /// An answer goes out although the client is still sending: the connection will be read on for a while after it is closed.
    pub fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Says whether with these bytes a head begins to come.
    fn bytes_came(&self) -> bool {
        let begins = self.active.load(Ordering::Relaxed) == 0 && !self.head_is_coming();
        if begins {
            self.head_since.store(self.now() + 1, Ordering::Relaxed);
        }
        begins
    }

    /// Whether bytes came that no request has been made of.
    fn head_is_coming(&self) -> bool {
        self.head_since.load(Ordering::Relaxed) != 0
    }
}

/// A request under way.
pub struct Active(Arc<Pulse>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// Nobody uses it.
    Close,
    /// Its client is too slow.
    Cut(Cause),
}

/// Judges a connection once per tick.
struct Judge {
    tick: Duration,
    written: u64,
    slow_for: Duration,
}

impl Judge {
    fn new(limits: &Limits) -> Self {
        let shortest = limits.header_timeout.min(limits.idle_timeout).min(limits.body_timeout);
        let tick = (shortest / 2).clamp(Duration::from_millis(10), Duration::from_secs(5));
        Self { tick, written: 0, slow_for: Duration::ZERO }
    }

    fn judge(&mut self, pulse: &Pulse, limits: &Limits) -> Verdict {
        let written = pulse.written.load(Ordering::Relaxed);
        let floor = (limits.min_body_rate as f64 * self.tick.as_secs_f64()) as u64;
        let slow = pulse.write_blocked.load(Ordering::Relaxed) && written - self.written <= floor;
        self.written = written;
        self.slow_for = if slow { self.slow_for + self.tick } else { Duration::ZERO };
        if self.slow_for >= limits.body_timeout {
            return Verdict::Cut(Cause::SlowRead);
        }
        if pulse.active.load(Ordering::Relaxed) > 0 {
            return Verdict::Keep;
        }
        let since = |moment: u64| Duration::from_millis(pulse.now().saturating_sub(moment));
        match pulse.head_since.load(Ordering::Relaxed) {
            head if head > 0 && since(head - 1) >= limits.header_timeout => Verdict::Cut(Cause::SlowHead),
            _ if since(pulse.idle_since.load(Ordering::Relaxed)) >= limits.idle_timeout => Verdict::Close,
            _ => Verdict::Keep,
        }
    }
}

/// Serves a connection to its end.
pub async fn serve(shared: Arc<Shared>, stream: Box<dyn Connection>, peer: SocketAddr, _place: OwnedSemaphorePermit) {
    shared.metrics.opened();
    let pulse = Arc::new(Pulse::new(peer));
    let cause = run(&shared, stream, &pulse).await;
    if let Some(cause) = cause {
        shared.metrics.refused(cause);
        tracing::debug!(cause = cause.label(), "connection cut");
    }
    shared.metrics.closed();
}

async fn run(shared: &Arc<Shared>, stream: Box<dyn Connection>, pulse: &Arc<Pulse>) -> Option<Cause> {
    let wire = Wire::new(shared.clone(), stream, pulse.clone());
    let service = service_fn(|request| exchange::answer(shared.clone(), pulse.clone(), request));
    let connection = shared.http.serve_connection(TokioIo::new(wire), service);
    tokio::pin!(connection);
    let mut judge = Judge::new(&shared.limits);
    let mut ticks = tokio::time::interval_at(Instant::now() + judge.tick, judge.tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            () = shared.kill.cancelled() => return None,
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "connection ended");
                }
                return None;
            }
            () = shared.stop.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = ticks.tick() => match judge.judge(pulse, &shared.limits) {
                Verdict::Keep => {}
                Verdict::Close if closing => return None,
                Verdict::Close => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                Verdict::Cut(cause) => return Some(cause),
            },
        }
    }
}

/// The socket, with its pulse taken.
struct Wire {
    shared: Arc<Shared>,
    stream: Box<dyn Connection>,
    pulse: Arc<Pulse>,
    shut: bool,
    linger: Option<Pin<Box<Sleep>>>,
    /// Everything that was written has gone out.
    flushed: bool,
    /// The head that is coming began to come when everything had.
    alone: bool,
    /// What goes out instead of hyper's own answer, as far as it has not.
    instead: Option<Bytes>,
}

impl Wire {
    fn new(shared: Arc<Shared>, stream: Box<dyn Connection>, pulse: Arc<Pulse>) -> Self {
        Self { shared, stream, pulse, shut: false, linger: None, flushed: true, alone: false, instead: None }
    }

    /// Whether what is written now is hyper's own answer to the head that came; begins the one that goes out instead.
    fn exchanges(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_none() && self.alone && self.pulse.head_is_coming() {
            self.instead = bare::instead(&self.shared, bytes);
            if self.instead.is_some() {
                // Whatever the client is still sending must not turn the answer into a reset.
                self.pulse.leave_unread();
            }
        }
        self.instead.is_some()
    }

    /// Writes what goes out instead; then all `count` bytes of hyper's answer count as written.
    fn poll_instead(&mut self, cx: &mut Context<'_>, count: usize) -> Poll<io::Result<usize>> {
        while let Some(rest) = self.instead.as_mut().filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(written);
        }
        Poll::Ready(Ok(count))
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.write_blocked.store(result.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = &result {
            self.pulse.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        result
    }

    /// Reads and forgets until the client hangs up or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        // Bounded per poll, so that a fast sender does not keep the thread.
        for _ in 0..64 {
            let mut scratch = [0; 8192];
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if self.pulse.bytes_came() {
            self.alone = self.flushed;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.exchanges(bytes) {
            return self.poll_instead(cx, bytes.len());
        }
        self.flushed = false;
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bytes.iter().find(|bytes| !bytes.is_empty());
        if first.is_some_and(|first| self.exchanges(first)) {
            return self.poll_instead(cx, bytes.iter().map(|bytes| bytes.len()).sum());
        }
        self.flushed = false;
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for only when hyper has nothing left to write.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        if self.pulse.unread.load(Ordering::Relaxed) { self.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}
