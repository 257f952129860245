//! Listens to every node and keeps the newest view of the cluster.
//!
//! Seeds are listened to for ever: an address that does not resolve or answer yet is tried again, at least once a
//! second. Nodes that a layout names are listened to while it names them. The replica of this process, if there is
//! one, is heard and called directly.

mod link;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use holdfast_wire::heartbeat::Heartbeat;
use holdfast_wire::id::{ClusterId, NodeId};
use holdfast_wire::seam::Seams;
use holdfast_wire::service::Service;
use holdfast_wire::transport::{Client, Target};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use link::{Dial, Link, OpenCall};
pub use view::{Heard, Leader, Node, NotOurs, SUSPECT_AFTER, Source, View};

/// First pause before an address is tried again; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause before an address is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long an address is left alone that turned out to be this process.
const OWN_ADDRESS: Duration = Duration::from_secs(30);

/// Listens to the cluster. Stops listening when it is dropped.
pub struct Membership {
    shared: Arc<Shared>,
}

struct Shared {
    dial: Arc<dyn Dial>,
    local: Option<Arc<dyn Service>>,
    seams: Seams,
    view: ArcSwap<View>,
    /// Counts the changes of the view that a request could wait for.
    changed: watch::Sender<u64>,
    /// Held while one view is made of another. Addresses that are listened to: seeds with `None`, others with what
    /// ends the listening.
    listening: Mutex<BTreeMap<Arc<str>, Option<CancellationToken>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Membership {
    /// Listens to `local`, if given, and to the peers at `seeds` (`host:port`).
    pub fn start(client: Client, local: Option<Arc<dyn Service>>, seeds: Vec<String>, seams: Seams) -> Arc<Self> {
        Self::start_with(Arc::new(client), local, seeds, seams)
    }

    /// As [`start`](Self::start), with another way to make services of addresses.
    pub fn start_with(
        dial: Arc<dyn Dial>,
        local: Option<Arc<dyn Service>>,
        seeds: Vec<String>,
        seams: Seams,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared {
            dial,
            local,
            seams,
            view: ArcSwap::default(),
            changed: watch::Sender::new(0),
            listening: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        if shared.local.is_some() {
            shared.tasks.spawn(shared.clone().listen(Source::Local, shared.stop.clone()));
        }
        let mut listening = shared.listening.lock();
        for seed in seeds {
            let address: Arc<str> = seed.into();
            if listening.insert(address.clone(), None).is_none() {
                shared.tasks.spawn(shared.clone().listen(Source::Address(address), shared.stop.clone()));
            }
        }
        drop(listening);
        Arc::new(Self { shared })
    }

    /// The newest view.
    pub fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    /// Changes whenever leaders, the layout or who can be reached have changed in the view, not at every heartbeat.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Waits until the view satisfies `enough`.
    pub async fn until(&self, enough: impl Fn(&View) -> bool) {
        let mut changes = self.changes();
        loop {
            if enough(&self.shared.view.load()) {
                return;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Stops listening and waits until every task has ended. The last view stays.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    /// Listens to one source until `stop`.
    async fn listen(self: Arc<Self>, source: Source, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut pause = PAUSE_MIN;
            loop {
                let mut again = match self.hear(&source).await {
                    Some(again) => {
                        pause = PAUSE_MIN;
                        again
                    }
                    None => {
                        pause = (pause * 2).min(PAUSE_MAX);
                        pause
                    }
                };
                // Gateways that lost the same node do not all come back at the same moment.
                again = again.mul_f64(0.5 + 0.5 * (self.seams.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64);
                tokio::time::sleep(again).await;
            }
        })
        .await;
        // A node that left the layout is not heard any more.
        self.lose(&source);
    }

    /// One stream of heartbeats to its end. Returns when to listen again, `None` when nothing was heard.
    async fn hear(self: &Arc<Self>, source: &Source) -> Option<Duration> {
        let service = match (source, &self.local) {
            (Source::Local, Some(local)) => local.clone(),
            (Source::Local, None) => return None,
            (Source::Address(address), _) => {
                let cluster = self.view.load().cluster();
                self.dial.dial(Target { address: address.to_string(), cluster, node: None })
            }
        };
        let mut heartbeats = service.heartbeats();
        let mut heard = None;
        while let Some(heartbeat) = heartbeats.next().await {
            let node = heartbeat.node.id;
            match self.absorb(heartbeat, source.clone()) {
                Ok(()) => heard = Some(PAUSE_MIN),
                // A replica that has just started learns who it is later on this stream.
                Err(NotOurs::Nobody) => heard = Some(PAUSE_MIN),
                Err(error @ NotOurs::OtherCluster(_)) => {
                    tracing::warn!(?source, %error, "heartbeats refused");
                    return None;
                }
            }
            if *source != Source::Local && self.view.load().link(node).is_some_and(|link| link.local) {
                return Some(OWN_ADDRESS);
            }
        }
        self.lose(source);
        heard
    }

    fn absorb(self: &Arc<Self>, heartbeat: Heartbeat, source: Source) -> Result<(), NotOurs> {
        let mut listening = self.listening.lock();
        let view = self.view.load();
        let mut link = |cluster, node, source: &Source| self.link(cluster, node, source);
        let (next, material) = view.after(heartbeat, source, Instant::now(), &mut link)?;
        let layout_changed = next.layout().version != view.layout().version || view.cluster().is_none();
        let next = Arc::new(next);
        self.view.store(next.clone());
        if layout_changed {
            self.follow(&next, &mut listening);
        }
        drop(listening);
        if material {
            self.changed.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    fn lose(&self, source: &Source) {
        let listening = self.listening.lock();
        let next = self.view.load().after_silence(source);
        self.view.store(Arc::new(next));
        drop(listening);
        self.changed.send_modify(|count| *count += 1);
    }

    fn link(&self, cluster: ClusterId, node: NodeId, source: &Source) -> Arc<Link> {
        let (address, service) = match (source, &self.local) {
            (Source::Local, Some(local)) => (String::new(), local.clone()),
            (Source::Local, None) => unreachable!("nothing is heard from a replica that is not there"),
            (Source::Address(address), _) => {
                let target = Target { address: address.to_string(), cluster: Some(cluster), node: Some(node) };
                (address.to_string(), self.dial.dial(target))
            }
        };
        Arc::new(Link::new(node, *source == Source::Local, address, service))
    }

    /// Listens to the nodes that the layout names, and no longer to those that it does not.
    fn follow(self: &Arc<Self>, view: &View, listening: &mut BTreeMap<Arc<str>, Option<CancellationToken>>) {
        let wanted = |address: &str| view.layout().nodes.iter().any(|info| info.address == address);
        listening.retain(|address, stop| match stop {
            Some(stop) if !wanted(address) => {
                stop.cancel();
                false
            }
            _ => true,
        });
        for info in &view.layout().nodes {
            let local = view.link(info.id).is_some_and(|link| link.local);
            let address: Arc<str> = info.address.as_str().into();
            if !local && !address.is_empty() && !listening.contains_key(&address) {
                let stop = self.stop.child_token();
                listening.insert(address.clone(), Some(stop.clone()));
                self.tasks.spawn(self.clone().listen(Source::Address(address), stop));
            }
        }
    }
}

#[cfg(test)]
mod tests;
