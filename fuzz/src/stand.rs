//! A whole gateway in this thread: the real server, operations and router over a replica in memory. A request goes in as
//! the pieces that a network would deliver; what comes back is read to its end. Randomness is the same in every run.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_gateway::auth::{Buckets, RootKey, Secret};
use holdfast_gateway::membership::{Dial, Membership};
use holdfast_gateway::router::{Router, RouterOptions};
use holdfast_gateway::s3::replica::Replica;
use holdfast_gateway::s3::{S3Config, S3Service};
use holdfast_gateway::server::{Gateway, GatewayConfig};
use holdfast_wire::seam::{Clock, Connection, Listener, Net, Random, Seams, SystemClock};
use holdfast_wire::service::Service;
use holdfast_wire::transport::Target;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc};

/// The root key of the stand.
pub const ACCESS_KEY: &str = "AKIAHOLDFASTROOT";
/// Its secret.
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The domain under which buckets are hosts.
pub const DOMAIN: &str = "s3.test";
/// Turns of all tasks that the gateway has for whatever it will answer.
const TURNS: u32 = 1000;
/// No answer takes so long, but on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Unix seconds. The library that checks signatures knows no clock but the machine's.
pub fn now() -> i64 {
    (SystemClock.unix_millis() / 1000) as i64
}

/// The gateway.
pub struct Stand {
    runtime: Runtime,
    door: mpsc::UnboundedSender<Line>,
    replica: Replica,
    _gateway: Gateway,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status; 0: there was none.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Its body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first element of that name.
    pub fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.to_owned())
    }

    /// The error's code.
    pub fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }
}

struct Dialed(Replica);

impl Dial for Dialed {
    fn dial(&self, _: Target) -> Arc<dyn Service> {
        Arc::new(self.0.clone())
    }
}

impl Stand {
    /// Runs `work` with this thread's gateway, its replica emptied before.
    pub fn with<T>(work: impl FnOnce(&Self) -> T) -> T {
        thread_local!(static STAND: Stand = Stand::start());
        STAND.with(|stand| {
            stand.replica.clear();
            work(stand)
        })
    }

    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (door, callers) = mpsc::unbounded_channel();
        let replica = Replica::default();
        let gateway = runtime.block_on(start(replica.clone(), callers));
        Self { runtime, door, replica, _gateway: gateway }
    }

    /// What stands behind the gateway.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The answer to a request that comes in these pieces, with which the gateway must close.
    pub fn ask(&self, pieces: impl IntoIterator<Item = Bytes>) -> Answer {
        self.send(pieces, None)
    }

    /// The same for what may be no request, or not all of one: the client hangs up when the gateway has had its time.
    pub fn ask_whatever(&self, pieces: impl IntoIterator<Item = Bytes>) -> Answer {
        self.send(pieces, Some(TURNS))
    }

    fn send(&self, pieces: impl IntoIterator<Item = Bytes>, turns: Option<u32>) -> Answer {
        let shared = Arc::new(Wire::default());
        let line = Line { pieces: pieces.into_iter().collect(), paused: false, shared: shared.clone() };
        assert!(self.door.send(line).is_ok(), "the gateway listens");
        let serving = async {
            match turns {
                None => shared.until(Side::Done).await,
                Some(turns) => {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                        if *shared.side.lock() != Side::Open {
                            break;
                        }
                    }
                }
            }
            shared.hang_up();
            shared.until(Side::Gone).await;
        };
        let closed = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, serving).await });
        assert!(closed.is_ok(), "the gateway neither answers nor hangs up");
        let written = std::mem::take(&mut *shared.written.lock());
        answer(&written)
    }
}

async fn start(replica: Replica, callers: mpsc::UnboundedReceiver<Line>) -> Gateway {
    let root = RootKey::new(ACCESS_KEY, Secret::new(SECRET_KEY)).expect("a sound key");
    let net = Arc::new(Door(Mutex::new(Some(callers))));
    let seams = Seams { net, clock: Arc::new(SystemClock), random: Arc::new(Counted::default()) };
    let local: Arc<dyn Service> = Arc::new(replica.clone());
    let membership = Membership::start_with(Arc::new(Dialed(replica)), Some(local), Vec::new(), seams.clone());
    let router = Router::new(membership, seams.clone(), RouterOptions::default());
    let buckets: Arc<dyn Buckets> = Arc::new(router.clone());
    let s3 = S3Service::new(router, seams.random.clone(), S3Config::new(ACCESS_KEY.to_owned()));
    let config = GatewayConfig { domains: vec![DOMAIN.to_owned()], ..GatewayConfig::new("stand", root) };
    let starting = Gateway::start(config, seams, s3, Some(buckets), Arc::new(|| Ok(())), Arc::default());
    starting.await.expect("a gateway")
}

/// The head and the body of the last answer (those before it are interim ones).
fn answer(mut bytes: &[u8]) -> Answer {
    loop {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Answer::default() };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        if (100..200).contains(&status) {
            continue;
        }
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<_> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Answer { status, headers, body: bytes.to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(bytes);
        }
        return answer;
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.expect("the gateway's own chunks are sound");
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    body
}

/// The gateway's only address: callers come through a queue.
struct Door(Mutex<Option<mpsc::UnboundedReceiver<Line>>>);

impl Net for Door {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }

    fn listen<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let callers = self.0.lock().take().expect("one gateway listens, once");
        Box::pin(async { Ok(Box::new(Callers(tokio::sync::Mutex::new(callers))) as Box<dyn Listener>) })
    }
}

struct Callers(tokio::sync::Mutex<mpsc::UnboundedReceiver<Line>>);

impl Listener for Callers {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async {
            match self.0.lock().await.recv().await {
                Some(line) => Ok((Box::new(line) as Box<dyn Connection>, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))),
                None => std::future::pending().await,
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)))
    }
}

/// What both sides of a connection know.
#[derive(Default)]
struct Wire {
    written: Mutex<Vec<u8>>,
    side: Mutex<Side>,
    moved: Notify,
    /// Whether the client has hung up, and who waits to read.
    ended: Mutex<(bool, Option<Waker>)>,
}

/// How far the gateway is with a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    #[default]
    Open,
    /// It writes no more.
    Done,
    /// It has let it go.
    Gone,
}

impl Wire {
    async fn until(&self, side: Side) {
        while *self.side.lock() < side {
            self.moved.notified().await;
        }
    }

    fn moves(&self, side: Side) {
        *self.side.lock() = side;
        self.moved.notify_one();
    }

    fn hang_up(&self) {
        let mut ended = self.ended.lock();
        ended.0 = true;
        ended.1.take().into_iter().for_each(Waker::wake);
    }
}

/// The gateway's side of a connection: every piece comes by a read of its own, and behind the last one nothing.
struct Line {
    pieces: VecDeque<Bytes>,
    /// Between two pieces the reader has to wait once.
    paused: bool,
    shared: Arc<Wire>,
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.pieces.is_empty() {
            let mut ended = self.shared.ended.lock();
            ended.1 = Some(cx.waker().clone());
            return if ended.0 { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        self.paused = !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut piece = self.pieces.pop_front().unwrap_or_default();
        into.put_slice(&piece.split_to(piece.len().min(into.remaining())));
        if !piece.is_empty() {
            self.pieces.push_front(piece);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.written.lock().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.moves(Side::Done);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.moves(Side::Gone);
    }
}

/// Randomness that is the same in every run.
#[derive(Default)]
struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let count = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&count.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_behind_an_interim_one() {
        let read = answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nETag: \"a\"\r\n\r\nbody");
        assert_eq!((read.status, read.header("etag"), &*read.body), (200, Some("\"a\""), &b"body"[..]));
        let chunked = answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(chunked.body, b"abc");
    }
}
