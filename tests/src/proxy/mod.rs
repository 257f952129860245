//! A network that can be made worse while it is used, without root: in front of every node's peer port stands a proxy
//! that knows who dialled, and what becomes of bytes from one process to another is set per direction.
//!
//! ```text
//! n1 ──▶ front of n2 ──[ link n1→n2 ]──▶ n2        a link: open or shut, latency, bandwidth, segments
//!    ◀──             ◀─[ link n2→n1 ]──
//! ```
//! A link that is shut keeps bytes back as a network without an answer does, an end and a reset included: nobody is
//! told. What TCP itself would do about lost segments is not shown here; `netns` does that.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

mod origin;
mod pump;

use origin::Origin;
pub use origin::{GATEWAY, STRANGER};

/// What a link does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Whether anything gets through.
    pub open: bool,
    /// How long each byte takes.
    pub latency: Duration,
    /// By how much that varies, up and down.
    pub jitter: Duration,
    /// Bytes a second.
    pub rate: Option<u64>,
    /// So many bytes at the beginning of whatever is read at once go on one by one, each in a segment of its own.
    pub singly: usize,
}

impl Weather {
    /// Nothing is wrong.
    pub const FINE: Self = Self { open: true, latency: Duration::ZERO, jitter: Duration::ZERO, rate: None, singly: 0 };
    /// Nothing gets through, and nobody is told.
    pub const SHUT: Self = Self { open: false, ..Self::FINE };
}

/// What the proxy did, since it was made.
#[derive(Debug, Default)]
pub struct Counts {
    connections: AtomicU64,
    strangers: AtomicU64,
    kept: AtomicU64,
    moved: AtomicU64,
    delayed: AtomicU64,
    held_us: AtomicU64,
    single: AtomicU64,
    reset: AtomicU64,
}

impl Counts {
    /// How often a link that was shut kept something back.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Bytes handed on.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Bytes that came before latency let them go on.
    pub fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }

    /// Milliseconds, over all connections, for which a link's rate held bytes back.
    pub fn held_ms(&self) -> u64 {
        self.held_us.load(Ordering::Relaxed) / 1000
    }

    /// Bytes that went on in a segment of their own.
    pub fn single(&self) -> u64 {
        self.single.load(Ordering::Relaxed)
    }

    /// Connections reset by order.
    pub fn reset(&self) -> u64 {
        self.reset.load(Ordering::Relaxed)
    }

    /// Connections of processes that are nobody's: no setting applied to them.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }
}

/// All links, by who sends and who receives.
#[derive(Default)]
struct Links(Mutex<BTreeMap<(String, String), watch::Sender<Weather>>>);

impl Links {
    fn with<T>(&self, from: &str, to: &str, run: impl FnOnce(&watch::Sender<Weather>) -> T) -> T {
        let mut links = self.0.lock();
        run(links.entry((from.into(), to.into())).or_insert_with(|| watch::Sender::new(Weather::FINE)))
    }

    fn watch(&self, from: &str, to: &str) -> watch::Receiver<Weather> {
        self.with(from, to, watch::Sender::subscribe)
    }
}

/// The proxies of a cluster's nodes. They stand until this is dropped.
pub struct Proxy {
    fronts: Vec<TcpListener>,
    dialled: Vec<String>,
    links: Arc<Links>,
    counts: Arc<Counts>,
    /// Raised to reset every connection.
    resets: watch::Sender<u64>,
    tasks: JoinSet<()>,
}

impl Proxy {
    /// Proxies for so many nodes, which take no connection yet.
    pub async fn bind(nodes: usize) -> io::Result<Self> {
        let (mut fronts, mut dialled) = (Vec::new(), Vec::new());
        for _ in 0..nodes {
            let front = TcpListener::bind("127.0.0.1:0").await?;
            dialled.push(front.local_addr()?.to_string());
            fronts.push(front);
        }
        let (links, counts) = (Arc::default(), Arc::default());
        Ok(Self { fronts, dialled, links, counts, resets: watch::Sender::new(0), tasks: JoinSet::new() })
    }

    /// Where each node is dialled.
    pub fn dialled(&self) -> Vec<String> {
        self.dialled.clone()
    }

    /// Begins to serve the nodes n1, n2, … that listen at these addresses.
    pub fn serve(&mut self, nodes: Vec<String>) {
        for (at, (front, back)) in self.fronts.drain(..).zip(nodes).enumerate() {
            let road = Road {
                to: format!("n{}", at + 1),
                back,
                links: self.links.clone(),
                counts: self.counts.clone(),
                resets: self.resets.subscribe(),
            };
            self.tasks.spawn(accept(front, road));
        }
    }

    /// What bytes from `from` to `to` meet from now on. Names are those of nodes, or [`GATEWAY`].
    pub fn set(&self, from: &str, to: &str, weather: Weather) {
        self.links.with(from, to, |link| link.send_replace(weather));
    }

    /// The same both ways.
    pub fn set_both(&self, one: &str, other: &str, weather: Weather) {
        self.set(one, other, weather);
        self.set(other, one, weather);
    }

    /// The same on every link among these.
    pub fn set_all(&self, names: &[&str], weather: Weather) {
        for from in names {
            for to in names.iter().filter(|to| *to != from) {
                self.set(from, to, weather);
            }
        }
    }

    /// Every link is as it should be again.
    pub fn heal(&self) {
        for link in self.links.0.lock().values() {
            link.send_replace(Weather::FINE);
        }
    }

    /// Resets every connection, in the middle of whatever goes over it.
    pub fn reset(&self) {
        self.resets.send_modify(|order| *order += 1);
    }

    /// What it did so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// The way to one node.
#[derive(Clone)]
struct Road {
    to: String,
    back: String,
    links: Arc<Links>,
    counts: Arc<Counts>,
    resets: watch::Receiver<u64>,
}

async fn accept(front: TcpListener, road: Road) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, _)) = front.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        road.counts.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(carry(near, road.clone()));
    }
}

/// One connection from its beginning to its end.
async fn carry(near: TcpStream, mut road: Road) {
    let Ok((own, dialler)) = near.local_addr().and_then(|own| Ok((own, near.peer_addr()?))) else { return };
    let from = match tokio::task::spawn_blocking(move || origin::of(dialler, own)).await {
        Ok(Origin::Child(name)) => name,
        Ok(Origin::Stranger) => {
            road.counts.strangers.fetch_add(1, Ordering::Relaxed);
            STRANGER.to_owned()
        }
        Ok(Origin::Gone) | Err(_) => return,
    };
    let there = road.links.watch(&from, &road.to);
    let back = road.links.watch(&road.to, &from);
    road.resets.mark_unchanged();
    let mut resets = road.resets.clone();
    pump::Connection::new(near, there, back, &road.counts).run(&road.back, resets.changed()).await;
}

#[cfg(test)]
mod tests;
