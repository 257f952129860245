//! The simulated network: streams between named hosts with latency, cut links and dead ends.
//!
//! Streams are reliable and ordered, as TCP's are: a lost segment is a late one, a cut link holds everything back until
//! it heals, the death of a process resets its streams, and a host that loses power says nothing at all. Bytes move only
//! in [`SimNet::advance`], so that nothing depends on the order in which hosts run within a tick.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use holdfast_wire::seam::{Connection, Listener, Net};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::rng::Rng;

/// Bytes under way in one direction of a stream.
const WINDOW: usize = 256 << 10;
/// A lost segment is sent again after this long.
const RETRANSMIT_US: u64 = 200_000;
/// Between looks whether a link that is cut has healed, for those who connect over it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct SimNet(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    now_us: u64,
    latency_us: (u64, u64),
    /// Of a thousand segments, so many are lost.
    loss: u64,
    listeners: BTreeMap<String, Queue>,
    streams: BTreeMap<u64, Stream>,
    next: u64,
    /// Directed pairs of hosts.
    cut: BTreeSet<(String, String)>,
}

#[derive(Default)]
struct Queue {
    accepted: VecDeque<End>,
    waker: Option<Waker>,
}

/// `pipes[0]` leads from `hosts[0]` to `hosts[1]`.
struct Stream {
    hosts: [String; 2],
    pipes: [Pipe; 2],
    /// Ends that still exist.
    ends: u8,
    /// Nothing moves any more and nobody is told: a host has lost its power.
    dead: bool,
}

#[derive(Default)]
struct Pipe {
    under_way: VecDeque<(u64, Bytes)>,
    last_due: u64,
    arrived: VecDeque<Bytes>,
    bytes: usize,
    /// The writer has ended; when that arrives.
    fin: Option<u64>,
    ended: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

impl SimNet {
    /// A network that draws latencies from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: Rng::new(seed),
            now_us: 0,
            latency_us: (100, 1500),
            loss: 0,
            listeners: BTreeMap::new(),
            streams: BTreeMap::new(),
            next: 0,
            cut: BTreeSet::new(),
        })))
    }

    /// The network as a host sees it. Addresses are `HOST:PORT`.
    pub fn host(&self, name: &str) -> Arc<dyn Net> {
        Arc::new(HostNet { net: self.clone(), host: name.to_owned() })
    }

    /// Lets time pass and whatever is due arrive.
    pub fn advance(&self, us: u64) {
        let state = &mut *self.0.lock();
        state.now_us += us;
        let (now, cut) = (state.now_us, &state.cut);
        for stream in state.streams.values_mut().filter(|stream| !stream.dead) {
            for at in 0..2 {
                if cut.contains(&(stream.hosts[at].clone(), stream.hosts[1 - at].clone())) {
                    continue;
                }
                let pipe = &mut stream.pipes[at];
                let mut news = false;
                while pipe.under_way.front().is_some_and(|(due, _)| *due <= now) {
                    pipe.arrived.extend(pipe.under_way.pop_front().map(|(_, bytes)| bytes));
                    news = true;
                }
                if pipe.under_way.is_empty() && !pipe.ended && pipe.fin.is_some_and(|due| due <= now) {
                    (pipe.ended, news) = (true, true);
                }
                if news {
                    pipe.reader.take().into_iter().for_each(Waker::wake);
                }
            }
        }
    }

    /// Holds back everything from one host to another.
    pub fn cut(&self, from: &str, to: &str) {
        self.0.lock().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// Heals every link, with the usual latency and no loss.
    pub fn heal(&self) {
        let state = &mut *self.0.lock();
        state.cut.clear();
        (state.latency_us, state.loss) = ((100, 1500), 0);
    }

    /// Latency from `min` to `max` microseconds, and lost segments of a thousand.
    pub fn weather(&self, min: u64, max: u64, loss: u64) {
        let state = &mut *self.0.lock();
        (state.latency_us, state.loss) = ((min, max), loss);
    }

    /// The end of a host's process: its listeners are gone and its streams are reset, or, when its power is gone too,
    /// simply silent.
    pub fn kill(&self, host: &str, silent: bool) {
        // Streams that nobody has accepted yet take the lock when they are dropped: after the state, which stands below.
        let mut gone = Vec::new();
        let state = &mut *self.0.lock();
        let listeners: Vec<_> = state.listeners.keys().filter(|address| host_of(address) == host).cloned().collect();
        gone.extend(listeners.iter().filter_map(|address| state.listeners.remove(address)));
        for stream in state.streams.values_mut().filter(|stream| stream.hosts.iter().any(|name| name == host)) {
            stream.dead = true;
            if !silent {
                for pipe in &mut stream.pipes {
                    pipe.reset = true;
                    pipe.wake();
                }
            }
        }
    }
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

impl State {
    fn delay(&mut self) -> u64 {
        let (min, max) = self.latency_us;
        let late = if self.loss > 0 && self.rng.below(1000) < self.loss { RETRANSMIT_US } else { 0 };
        min + self.rng.below(max - min + 1) + late
    }
}

struct HostNet {
    net: SimNet,
    host: String,
}

impl Net for HostNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let to = host_of(address).to_owned();
            let pair = (self.host.clone(), to.clone());
            let latency = self.net.0.lock().delay();
            tokio::time::sleep(Duration::from_micros(latency)).await;
            while self.net.0.lock().cut.contains(&pair) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            let state = &mut *self.net.0.lock();
            let Some(queue) = state.listeners.get_mut(address) else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let id = state.next;
            state.next += 1;
            let hosts = [self.host.clone(), to];
            state.streams.insert(id, Stream { hosts, pipes: Default::default(), ends: 2, dead: false });
            queue.accepted.push_back(End { net: self.net.clone(), id, side: 1 });
            queue.waker.take().into_iter().for_each(Waker::wake);
            Ok(Box::new(End { net: self.net.clone(), id, side: 0 }) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listeners = &mut self.net.0.lock().listeners;
            if listeners.insert(address.to_owned(), Queue::default()).is_some() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            Ok(Box::new(SimListener { net: self.net.clone(), address: address.to_owned() }) as Box<dyn Listener>)
        })
    }
}

struct SimListener {
    net: SimNet,
    address: String,
}

fn nowhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 1))
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(std::future::poll_fn(|cx| {
            // Without the queue the process is dead: nothing comes any more.
            let state = &mut *self.net.0.lock();
            let Some(queue) = state.listeners.get_mut(&self.address) else { return Poll::Pending };
            match queue.accepted.pop_front() {
                Some(end) => Poll::Ready(Ok((Box::new(end) as Box<dyn Connection>, nowhere()))),
                None => {
                    queue.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(nowhere())
    }
}

/// One end of a stream.
struct End {
    net: SimNet,
    id: u64,
    side: usize,
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.net.0.lock();
        let Some(stream) = state.streams.get_mut(&self.id) else { return Poll::Ready(Ok(())) };
        let pipe = &mut stream.pipes[1 - self.side];
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(first) = pipe.arrived.front_mut() else {
            if pipe.ended {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let count = first.len().min(buf.remaining());
        buf.put_slice(&first[..count]);
        first.advance(count);
        if first.is_empty() {
            pipe.arrived.pop_front();
        }
        pipe.bytes -= count;
        pipe.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let state = &mut *self.net.0.lock();
        let due = state.now_us + state.delay();
        let broken = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        let Some(stream) = state.streams.get_mut(&self.id) else { return broken() };
        let pipe = &mut stream.pipes[self.side];
        if pipe.reset || pipe.fin.is_some() {
            return broken();
        }
        let count = buf.len().min(WINDOW.saturating_sub(pipe.bytes));
        if count == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.last_due = pipe.last_due.max(due);
        pipe.under_way.push_back((pipe.last_due, Bytes::copy_from_slice(&buf[..count])));
        pipe.bytes += count;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl End {
    fn end(&self) {
        let state = &mut *self.net.0.lock();
        let due = state.now_us + state.delay();
        if let Some(stream) = state.streams.get_mut(&self.id) {
            let pipe = &mut stream.pipes[self.side];
            pipe.fin.get_or_insert(due.max(pipe.last_due));
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.end();
        let state = &mut *self.net.0.lock();
        let Some(stream) = state.streams.get_mut(&self.id) else { return };
        stream.ends -= 1;
        // What comes for an end that is gone is answered with a reset.
        let pipe = &mut stream.pipes[1 - self.side];
        pipe.reset |= !stream.dead;
        pipe.wake();
        if stream.ends == 0 {
            state.streams.remove(&self.id);
        }
    }
}
