//! A node that knows who it is: its groups, what it shares among them, and its tasks.

mod groups;
mod metrics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use holdfast_wire::error::CallError;
use holdfast_wire::heartbeat::{ClusterView, GroupStatus, Heartbeat, Layout, NodeInfo};
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::seam::{Clock, Seams};
use holdfast_wire::transport::Client;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::ClusterClock;
use super::load::LoadMeter;
use super::neighbours::{self, Neighbours};
use super::{Identity, NodeConfig, stray};
use crate::blob::BlobStore;
use crate::file::{Files, Lane};
use crate::group::{Group, Rounds};
use crate::index::Effects;
use crate::index::engine::{Engine, Trouble};
use crate::log::Log;
use crate::peers::Peers;
use crate::service::Staged;
use crate::service::quota::Rounds as QuotaRounds;
use crate::task;
use crate::task::collect::Collected;
use crate::task::lifecycle;
use crate::task::repair::Repair;
use crate::task::scrub::Scrub;
use crate::task::slow::SlowDisk;

pub use metrics::NodeMetrics;

/// Between heartbeats, unless something changes.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(200);
/// Changes closer together than this share a heartbeat.
const HEARTBEAT_GAP: Duration = Duration::from_millis(5);

/// A node with an identity.
pub struct Host {
    identity: Identity,
    config: NodeConfig,
    seams: Seams,
    files: Arc<dyn Files>,
    engine: Arc<dyn Engine>,
    log: Log,
    /// Reads of the log for followers far behind.
    log_reads: Lane,
    scrubbing: Lane,
    blobs: BlobStore,
    client: Client,
    peers: Peers,
    rounds: Rounds,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    /// Groups that are being started or removed: one change of the set at a time.
    changing: tokio::sync::Mutex<()>,
    layout: watch::Sender<Layout>,
    neighbours: Arc<Neighbours>,
    clock: Arc<dyn Clock>,
    staged: Staged,
    /// One deletion of a bucket at a time: two could undo one another half.
    deleting: tokio::sync::Mutex<()>,
    quotas: QuotaRounds,
    repair: Repair,
    collected: Collected,
    /// Until when no blob is removed, for a backup.
    held_until: Mutex<Option<Instant>>,
    scrub: Scrub,
    slow_disk: SlowDisk,
    lifecycle: lifecycle::Done,
    load: LoadMeter,
    /// Something that heartbeats tell has changed.
    news: watch::Sender<u64>,
    root_changed: Notify,
    started: watch::Sender<bool>,
    /// It is about to stop.
    pub(super) leaving: AtomicBool,
    failed: watch::Sender<Option<String>>,
    group_tasks: Mutex<BTreeMap<GroupId, CancellationToken>>,
    /// It serves nobody any more.
    ended: CancellationToken,
}

impl Host {
    #[expect(clippy::too_many_arguments, reason = "everything that a node has opened")]
    pub(super) fn new(
        identity: Identity,
        config: NodeConfig,
        seams: Seams,
        files: Arc<dyn Files>,
        engine: Arc<dyn Engine>,
        log: Log,
        blobs: BlobStore,
        client: Client,
        failed: watch::Sender<Option<String>>,
    ) -> Arc<Self> {
        let first = identity.founding.as_ref().map(|founding| founding.layout.clone()).unwrap_or_default();
        let peers = Peers::new(identity.cluster, first.nodes.iter().cloned());
        peers.configure(&config.peers);
        let (layout, _) = watch::channel(first);
        let rounds = Rounds::new(identity.node, client.clone(), peers.clone(), 2 * config.timings.silence());
        let neighbours = Arc::new(Neighbours::default());
        let clock = ClusterClock { own: seams.clock.clone(), neighbours: neighbours.clone() };
        Arc::new(Self {
            identity,
            config,
            seams,
            log_reads: files.lane("log-read"),
            scrubbing: files.lane("scrub"),
            files,
            engine,
            log,
            blobs,
            client,
            peers,
            rounds,
            groups: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            layout,
            neighbours,
            clock: Arc::new(clock),
            staged: Staged::default(),
            deleting: tokio::sync::Mutex::default(),
            quotas: QuotaRounds::default(),
            repair: Repair::default(),
            collected: Collected::default(),
            held_until: Mutex::default(),
            scrub: Scrub::default(),
            slow_disk: SlowDisk::default(),
            lifecycle: lifecycle::Done::default(),
            load: LoadMeter::default(),
            news: watch::channel(0).0,
            root_changed: Notify::new(),
            started: watch::channel(false).0,
            leaving: AtomicBool::new(false),
            failed,
            group_tasks: Mutex::default(),
            ended: CancellationToken::new(),
        })
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.identity.node
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn config(&self) -> &NodeConfig {
        &self.config
    }

    pub(crate) fn seams(&self) -> &Seams {
        &self.seams
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Milliseconds since 1970 as more than half of the clocks have it of all nodes that were heard.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.unix_millis()
    }

    /// Whether more than half of the cluster's clocks are known. Until then nothing is done because it is time to.
    pub(crate) fn knows_the_time(&self) -> bool {
        2 * (self.neighbours.clocks().len() + 1) > self.layout.borrow().nodes.len()
    }

    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    pub(crate) fn staged(&self) -> &Staged {
        &self.staged
    }

    pub(crate) fn quotas(&self) -> &QuotaRounds {
        &self.quotas
    }

    pub(crate) fn deleting(&self) -> &tokio::sync::Mutex<()> {
        &self.deleting
    }

    pub(crate) fn lifecycle(&self) -> &lifecycle::Done {
        &self.lifecycle
    }

    /// What is wanted of blobs.
    pub(crate) fn repair(&self) -> &Repair {
        &self.repair
    }

    pub(crate) fn collected(&self) -> &Collected {
        &self.collected
    }

    /// Removes no blob until then; what was granted before stays granted.
    pub(crate) fn hold_blobs(&self, until: Instant) {
        let mut held = self.held_until.lock();
        *held = (*held).max(Some(until));
    }

    /// Whether a backup still needs blobs that nothing names any more.
    pub(crate) fn holds_blobs(&self) -> bool {
        self.held_until.lock().is_some_and(|until| Instant::now() < until)
    }

    pub(crate) fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    /// Where a scrub reads log and index.
    pub(crate) fn scrub_lane(&self) -> &Lane {
        &self.scrubbing
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub(crate) fn slow_disk(&self) -> &SlowDisk {
        &self.slow_disk
    }

    pub(crate) fn files(&self) -> &dyn Files {
        &*self.files
    }

    pub(crate) fn load_meter(&self) -> &LoadMeter {
        &self.load
    }

    /// Follows the newest layout.
    pub fn layout(&self) -> watch::Receiver<Layout> {
        self.layout.subscribe()
    }

    pub(crate) fn root_changed(&self) -> &Notify {
        &self.root_changed
    }

    /// A group of this node.
    pub fn group(&self, group: GroupId) -> Result<Arc<Group>, CallError> {
        self.groups.read().get(&group).cloned().ok_or(CallError::NotHosted)
    }

    /// All groups of this node.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    /// Who leads `group`, asked of the own member first.
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        let own = self.group(group).ok().and_then(|group| group.leader());
        own.or_else(|| self.neighbours.leader_of(group))
    }

    /// This node as it presents itself.
    pub fn info(&self) -> NodeInfo {
        NodeInfo {
            id: self.id(),
            name: self.identity.name.clone(),
            address: self.config.address.clone(),
            version: self.config.version.clone(),
        }
    }

    /// Ends the process's hope: the reason goes to whoever waits for [`Node::failed`](super::Node::failed).
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "the node cannot go on");
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                *failed = Some(reason);
            }
            first
        });
    }

    /// Takes over a layout if it is newer than the one known.
    pub(crate) fn hear_layout(&self, heard: &Layout) {
        let newer = self.layout.send_if_modified(|layout| {
            let newer = heard.version > layout.version;
            if newer {
                *layout = heard.clone();
            }
            newer
        });
        if newer {
            self.peers.learn(heard);
            self.tell();
        }
    }

    /// Something that heartbeats tell has changed: send them now.
    pub(crate) fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Starts the groups and all tasks; returns when `stop` is ordered.
    pub(super) async fn run(self: &Arc<Self>, tasks: TaskTracker, stop: CancellationToken) {
        // A restarted member may have granted a lease that it has forgotten: it stays silent until that has run out.
        if !self.log.groups().is_empty() && self.config.guards.silence_after_restart {
            sleep(self.config.timings.silence()).await;
        }
        let spawn = |task: futures::future::BoxFuture<'static, ()>| {
            let stop = stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled_owned(task).await });
        };
        let log_failed = self.log.failed();
        let host = self.clone();
        spawn(Box::pin(async move { host.fail(log_failed.await.to_string()) }));
        let host = self.clone();
        spawn(Box::pin(async move {
            let met = || host.view().heartbeats.iter().any(|(heard, _)| heard.node.id != host.identity.node);
            let stray = stray::watch(&host.identity, &host.config, &host.seams, met).await;
            host.fail(stray.to_string());
        }));
        spawn(Box::pin(neighbours::listen(self.clone(), stop.clone())));
        spawn(Box::pin(neighbours::introduce(self.clone())));
        self.follow_layout(&tasks, &stop).await;
        self.started.send_replace(true);
        spawn(Box::pin(task::engine::run(self.clone())));
        spawn(Box::pin(task::members::run(self.clone())));
        spawn(Box::pin(task::spread::run(self.clone())));
        spawn(Box::pin(task::trim::run(self.clone())));
        spawn(Box::pin(task::repair::run(self.clone())));
        spawn(Box::pin(lifecycle::run(self.clone())));
        spawn(Box::pin(task::collect::run(self.clone())));
        spawn(Box::pin(task::scrub::run(self.clone())));
        spawn(Box::pin(task::slow::run(self.clone())));
        spawn(Box::pin(task::full::run(self.clone())));
        spawn(Box::pin(task::root::run(self.clone())));

        let mut layout = self.layout.subscribe();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = layout.changed() => if changed.is_err() { return },
                // A group that left the map is removed only once its own membership agrees: look again.
                () = sleep(Duration::from_secs(2)) => {}
            }
            self.follow_layout(&tasks, &stop).await;
        }
    }

    fn on_effects(&self, group: GroupId, effects: Effects) {
        if effects.layout {
            if let Ok(root) = self.group(GroupId::ROOT) {
                self.hear_layout(&root.index().layout());
            }
            self.root_changed.notify_one();
        }
        for blob in effects.referenced.iter().chain(&effects.released) {
            self.staged.committed(*blob);
        }
        self.repair.applied(group, effects);
    }

    /// What keeps the index engine from answering.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.engine.trouble()
    }

    /// Why the node is not ready to serve, if it is not.
    pub fn not_ready(&self) -> Option<String> {
        if self.leaving.load(Ordering::Relaxed) {
            return Some("stopping".to_owned());
        }
        if !*self.started.borrow() {
            return Some("starting: waiting out leases that may have been granted before the restart".to_owned());
        }
        if let Some(Trouble::Silent { since, reason }) = self.trouble()
            && since >= task::engine::BORNE
        {
            return Some(format!("the index cannot be read: {reason}"));
        }
        let leaderless: Vec<String> =
            self.groups().iter().filter(|group| group.leader().is_none()).map(|group| group.id().to_string()).collect();
        if !leaderless.is_empty() {
            return Some(format!("no leader known for groups {}", leaderless.join(", ")));
        }
        (self.layout.borrow().version == 0).then(|| "the cluster's layout is not known yet".to_owned())
    }

    /// What a sync of the log takes, as heartbeats tell it.
    fn sync_us(&self) -> u32 {
        u32::try_from(self.log.stats().sync_micros.max(self.slow_disk.p99_us())).unwrap_or(u32::MAX)
    }

    /// One heartbeat.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            cluster: self.identity.cluster,
            node: self.info(),
            clock_ms: self.seams.clock.unix_millis(),
            not_ready: self.not_ready(),
            load: self.load.load(&*self.files, &self.config.data, self.sync_us()),
            groups: self.groups().iter().map(|group| self.group_status(group)).collect(),
            layout: self.layout.borrow().clone(),
        }
    }

    /// Every group as it is.
    pub(super) fn statuses(&self) -> Vec<GroupStatus> {
        self.groups().iter().map(|group| self.group_status(group)).collect()
    }

    /// Up to `applied`, no blob but the missing ones is missing: `applied` is read first.
    fn group_status(&self, group: &Group) -> GroupStatus {
        let status = group.status(0);
        GroupStatus { missing_blobs: self.repair.missing(group.id()), ..status }
    }

    /// Heartbeats from now on: regularly, and at once when something changes.
    pub fn heartbeats(self: &Arc<Self>) -> BoxStream<'static, Heartbeat> {
        let state = (Arc::downgrade(self), self.news.subscribe(), Instant::now());
        futures::stream::unfold(state, |(host, mut news, due)| async move {
            tokio::select! {
                () = sleep_until(due) => {}
                changed = news.changed() => {
                    changed.ok()?;
                    sleep(HEARTBEAT_GAP).await;
                    news.borrow_and_update();
                }
            }
            let heartbeat = host.upgrade()?.heartbeat();
            Some((heartbeat, (host, news, Instant::now() + HEARTBEAT_EVERY)))
        })
        .take_until(self.ended.clone().cancelled_owned())
        .boxed()
    }

    /// The cluster as this node sees it.
    pub fn view(&self) -> ClusterView {
        let mut heartbeats = vec![(self.heartbeat(), 0)];
        let heard = self.neighbours.all();
        heartbeats.extend(heard.into_iter().map(|(heartbeat, age)| ((*heartbeat).clone(), age.as_millis() as u64)));
        heartbeats.sort_by_key(|(heartbeat, _)| heartbeat.node.id);
        ClusterView { cluster: self.identity.cluster, layout: self.layout.borrow().clone(), heartbeats }
    }

    pub(super) async fn stop(&self) {
        self.ended.cancel();
        let groups = std::mem::take(&mut *self.groups.write());
        futures::future::join_all(groups.values().map(|group| group.stop())).await;
        self.log.clone().close().await;
    }
}
