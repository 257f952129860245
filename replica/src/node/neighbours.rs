//! The other nodes as this one hears them: their newest heartbeats.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use holdfast_wire::heartbeat::{Heartbeat, UNSAID};
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::request::{Request, Response};
use holdfast_wire::service::{Body, Service};
use holdfast_wire::transport::{Remote, Target};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Host;

/// A node that was not heard for so long is taken for dead.
pub const DEAD_AFTER: Duration = Duration::from_millis(1000);

const ASK_WITHIN: Duration = Duration::from_secs(2);

/// The newest heartbeat of every node but this one.
#[derive(Default)]
pub struct Neighbours {
    heard: Mutex<BTreeMap<NodeId, (Arc<Heartbeat>, Instant)>>,
}

impl Neighbours {
    /// All heartbeats with their ages.
    pub fn all(&self) -> Vec<(Arc<Heartbeat>, Duration)> {
        self.heard.lock().values().map(|(heartbeat, at)| (heartbeat.clone(), at.elapsed())).collect()
    }

    /// What each node's clock says by now, as far as it has told its time: it goes on since then as ours does.
    pub fn clocks(&self) -> Vec<u64> {
        let heard = self.heard.lock();
        let told = heard.values().filter(|(heartbeat, _)| heartbeat.clock_ms != UNSAID);
        told.map(|(heartbeat, at)| heartbeat.clock_ms + at.elapsed().as_millis() as u64).collect()
    }

    /// The heartbeat of a node that is alive.
    pub fn alive(&self, node: NodeId) -> Option<Arc<Heartbeat>> {
        let heard = self.heard.lock();
        let (heartbeat, at) = heard.get(&node)?;
        (at.elapsed() < DEAD_AFTER).then(|| heartbeat.clone())
    }

    /// Who leads `group` as the living say: the one that says so of itself in the highest term, or else hearsay.
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        let heard = self.heard.lock();
        let claims = heard.values().filter(|(_, at)| at.elapsed() < DEAD_AFTER).flat_map(|(heartbeat, _)| {
            let statuses = heartbeat.groups.iter().filter(move |status| status.group == group);
            statuses.map(|status| (status.term, status.leader == Some(heartbeat.node.id), status.leader))
        });
        claims.filter(|(_, _, leader)| leader.is_some()).max()?.2
    }

    fn hear(&self, heartbeat: Heartbeat) {
        self.heard.lock().insert(heartbeat.node.id, (Arc::new(heartbeat), Instant::now()));
    }

    fn forget_all_but(&self, nodes: &[NodeId]) {
        self.heard.lock().retain(|node, _| nodes.contains(node));
    }
}

/// Listens to every node of the layout but this one, until `stop`.
pub async fn listen(host: Arc<Host>, stop: CancellationToken) {
    let mut layout = host.layout();
    let mut listening: BTreeMap<NodeId, tokio::task::AbortHandle> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let nodes: Vec<NodeId> = layout.borrow_and_update().nodes.iter().map(|node| node.id).collect();
        host.neighbours().forget_all_but(&nodes);
        listening.retain(|node, task| {
            let stays = nodes.contains(node);
            if !stays {
                task.abort();
            }
            stays
        });
        for node in nodes {
            if node != host.id() {
                let host = host.clone();
                listening.entry(node).or_insert_with(|| tasks.spawn(listen_to(host, node)));
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = layout.changed() => if changed.is_err() { return },
        }
    }
}

/// Asks the configured addresses for the layout, until one is known: a node that joined was not there when the first was
/// drawn, and one that was away may know only nodes that have left since.
pub async fn introduce(host: Arc<Host>) {
    let mut pause = Duration::from_millis(20);
    while host.layout().borrow().version == 0 {
        for (name, address) in &host.config().peers {
            if *name == host.identity().name {
                continue;
            }
            let target = Target { address: address.clone(), cluster: Some(host.identity().cluster), node: None };
            let asked = Remote::new(host.client().clone(), target).call(Request::View, Body::empty());
            if let Ok(Ok((Response::View(view), _))) = timeout(ASK_WITHIN, asked).await {
                host.hear_layout(&view.layout);
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn listen_to(host: Arc<Host>, node: NodeId) {
    let mut pause = Duration::from_millis(20);
    loop {
        if let Some(target) = host.peers().target(node) {
            let mut heartbeats = Remote::new(host.client().clone(), target).heartbeats();
            while let Some(heartbeat) = heartbeats.next().await {
                pause = Duration::from_millis(20);
                host.peers().learn_one(&heartbeat.node);
                host.hear_layout(&heartbeat.layout);
                host.neighbours().hear(heartbeat);
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}
