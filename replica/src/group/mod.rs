//! One Raft group as a member of this process: propose, read, transfer, status.

mod config;
mod propose;
mod quorum;
mod read_index;
mod round;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_wire::bucket::AckMode;
use holdfast_wire::error::CallError;
use holdfast_wire::heartbeat::{GroupStatus, Role};
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::seam::Clock;
use holdfast_wire::transport::Client;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::RaftError;
use openraft::{ChangeMembers, ServerState};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::file::Lane;
use crate::index::command::Outcome;
use crate::index::{Index, IndexError};
use crate::log::{GroupLog, Log};
use crate::peers::Peers;
use crate::raft::early::Early;
use crate::raft::log::LogStore;
use crate::raft::machine::{Machine, OnEffects};
use crate::raft::message::{RoundAnswer, RoundQuestion};
use crate::raft::network::Network;
use crate::raft::standing::Standing;
use crate::raft::types::Raft;

pub use config::{Guards, Timings, raft_config};
use read_index::ReadIndex;
pub use round::Rounds;

/// Entries that `ack=leader` may run ahead of the commit; beyond, it waits like `majority`.
pub(crate) const LEAD_MAX: u64 = 10_000;

/// A snapshot is a sync of the index.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(60);

/// A member of one group. Shared; stopped by [`stop`](Group::stop).
pub struct Group {
    id: GroupId,
    own: NodeId,
    raft: Raft,
    index: Index,
    log: GroupLog,
    applied: watch::Receiver<u64>,
    early: Early,
    read_index: ReadIndex,
    clock: Arc<dyn Clock>,
    stopping: AtomicBool,
}

/// A proposal that went through.
#[derive(Debug)]
pub struct Proposed {
    /// What became of it.
    pub outcome: Outcome,
    /// Its log index.
    pub index: u64,
    /// The mode that answered.
    pub ack: AckMode,
}

/// What a leader knows of its group's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// Voters.
    pub voters: BTreeSet<NodeId>,
    /// Voters and learners.
    pub members: BTreeSet<NodeId>,
    /// The group is moving from one set of voters to this one.
    pub target: Option<BTreeSet<NodeId>>,
    /// The leader's last log index.
    pub last: u64,
    /// Up to where each other member is known to have the log.
    pub matched: BTreeMap<NodeId, u64>,
}

/// Everything that a group is started with.
pub struct Parts<'a> {
    /// The group.
    pub id: GroupId,
    /// This node.
    pub own: NodeId,
    /// The node's log.
    pub log: &'a Log,
    /// The group's index.
    pub index: Index,
    /// To the other members.
    pub client: Client,
    /// Where they are.
    pub peers: Peers,
    /// Questions of reads to other nodes, shared by all groups.
    pub rounds: Rounds,
    /// Time stamps.
    pub clock: Arc<dyn Clock>,
    /// Raft's timings.
    pub timings: Timings,
    /// On, but in the tests that prove them.
    pub guards: Guards,
    /// Reads of the log that need a file.
    pub lane: Lane,
    /// Told what applied entries change outside the index.
    pub on_effects: OnEffects,
}

impl Group {
    /// Starts the member on what log and index hold.
    ///
    /// # Errors
    /// Whatever openraft finds wrong with the stored state; the node must not go on.
    pub async fn start(parts: Parts<'_>) -> Result<Arc<Self>, String> {
        let Parts { id, own, log, index, client, peers, rounds, clock, timings, guards, on_effects, lane } = parts;
        let group_log = log.group(id);
        let early = Early::default();
        let listener = early.clone();
        group_log.set_durable_listener(Arc::new(move |entries| {
            listener.synced(entries.iter().map(|entry| (entry.position.index, &entry.payload[..])));
        }));
        let (applied_sender, applied) = watch::channel(0);
        let standing = Arc::new(Standing::default());
        let machine = Machine::new(index.clone(), applied_sender, standing.clone(), on_effects);
        let network = Network { group: id, client, peers, standing: standing.clone() };
        let store = LogStore::new(group_log.clone(), standing.clone(), lane);
        let raft = Raft::new(own.0, raft_config(&timings, &guards), network, store, machine)
            .await
            .map_err(|error| format!("group {id} cannot start: {error}"))?;
        let lease = timings.silence();
        let read_index = ReadIndex::new(own, raft.clone(), group_log.clone(), standing, rounds, lease);
        Ok(Arc::new(Self {
            id,
            own,
            raft,
            index,
            log: group_log,
            applied,
            early,
            read_index,
            clock,
            stopping: AtomicBool::new(false),
        }))
    }

    /// The group.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Its tables.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Its part of the log.
    pub fn log(&self) -> &GroupLog {
        &self.log
    }

    /// openraft's handle, for the peer service and the tasks of this crate.
    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Starts the group with these voters; does nothing if it has been started before.
    pub async fn initialize(&self, voters: &[NodeId]) -> Result<(), String> {
        if self.raft.is_initialized().await.map_err(|error| error.to_string())? {
            return Ok(());
        }
        let voters: BTreeSet<u64> = voters.iter().map(|node| node.0).collect();
        match self.raft.initialize(voters).await {
            // It has received a vote or an entry in the meantime: somebody else was quicker.
            Ok(()) | Err(RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(format!("group {} cannot be initialized: {error}", self.id)),
        }
    }

    /// Whether this member leads, as far as it knows.
    pub fn leads(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.state == ServerState::Leader
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.raft.server_metrics().borrow_watched().current_leader.map(NodeId)
    }

    /// A log index such that everything acknowledged before this call is at or below it.
    pub async fn read_index(&self, deadline: Instant) -> Result<u64, CallError> {
        self.read_index.ask(deadline).await
    }

    /// Answers a question that `from` has for its reads.
    pub(crate) async fn answer(&self, from: NodeId, question: &RoundQuestion) -> RoundAnswer {
        self.read_index.answer(from, question).await
    }

    /// Waits until everything up to `index` is applied here.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), CallError> {
        let mut applied = self.applied.clone();
        match timeout_at(deadline, applied.wait_for(|applied| *applied >= index)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(CallError::NotFresh),
        }
    }

    /// The applied log index.
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Hands the leadership to `to`; returns who leads then. That may be another voter: once this member has offered its
    /// place it leads no more, and if `to` does not take it there is an election. One that this member wins is no end, it
    /// offers its place again.
    pub async fn transfer(&self, to: NodeId, deadline: Instant) -> Result<NodeId, CallError> {
        loop {
            let leader = self.offer(to, deadline).await?;
            if leader != self.own || leader == to {
                return Ok(leader);
            }
            tracing::info!(group = %self.id, %to, "it did not take over, and this node was elected again");
        }
    }

    /// One offer of this member's place; who was elected.
    async fn offer(&self, to: NodeId, deadline: Instant) -> Result<NodeId, CallError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        if metrics.current_leader != Some(self.own.0) {
            return Err(CallError::NotLeader { leader: metrics.current_leader.map(NodeId) });
        }
        if to == self.own {
            return Ok(to);
        }
        let matched = metrics.replication.as_ref().and_then(|all| all.get(&to.0).cloned().flatten());
        let behind = metrics.last_log_index.unwrap_or(0).saturating_sub(matched.map_or(0, |id| id.index));
        if !metrics.membership_config.voter_ids().any(|voter| voter == to.0) {
            return Err(CallError::Malformed { reason: format!("node {to} is no voter of group {}", self.id) });
        }
        if behind > LEAD_MAX {
            return Err(CallError::Unavailable { reason: format!("node {to} is {behind} entries behind") });
        }
        let term = metrics.current_term;
        self.raft.trigger().transfer_leader(to.0).await.map_err(|_| stopped())?;
        let mut metrics = self.raft.server_metrics();
        let elected = metrics.wait_until(|metrics| {
            metrics.current_leader.is_some_and(|leader| leader != self.own.0 || metrics.vote.leader_id().term > term)
        });
        match timeout_at(deadline, elected).await {
            Ok(Ok(metrics)) => Ok(metrics.current_leader.map_or(to, NodeId)),
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(CallError::Unknown { reason: format!("node {to} did not take over in time") }),
        }
    }

    /// What this member knows of the others, if it leads.
    pub fn member_facts(&self) -> Option<MemberFacts> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let replication = metrics.replication?;
        let membership = &metrics.membership_config;
        Some(MemberFacts {
            voters: membership.voter_ids().map(NodeId).collect(),
            members: membership.nodes().map(|(id, ())| NodeId(*id)).collect(),
            target: match &membership.get_joint_config()[..] {
                [.., last] if membership.get_joint_config().len() > 1 => {
                    Some(last.iter().copied().map(NodeId).collect())
                }
                _ => None,
            },
            last: metrics.last_log_index.unwrap_or(0),
            matched: replication.into_iter().map(|(id, at)| (NodeId(id), at.map_or(0, |at| at.index))).collect(),
        })
    }

    /// Syncs the index and purges the log up to `upto`, which must be applied.
    pub(crate) async fn snapshot_and_purge(&self, upto: u64) -> Result<(), String> {
        self.raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
        let mut metrics = self.raft.metrics();
        let built = metrics.wait_until(|metrics| metrics.snapshot.as_ref().is_some_and(|id| id.index >= upto));
        tokio::time::timeout(SNAPSHOT_WITHIN, built)
            .await
            .map_err(|_| "no snapshot in time".to_owned())?
            .map_err(|error| error.to_string())?;
        // The snapshot that was waited for may be an older one: what is purged must be in the synced index, always.
        self.persist().map_err(|error| error.to_string())?;
        self.raft.trigger().purge_log(upto).await.map_err(|error| error.to_string())
    }

    /// Changes the group's members; leader only.
    pub(crate) async fn change_members(&self, change: ChangeMembers<u64, ()>, retain: bool) -> Result<(), String> {
        self.raft.change_membership(change, retain).await.map(drop).map_err(|error| error.to_string())
    }

    /// This member's part, places and voters.
    pub fn status(&self, missing_blobs: u64) -> GroupStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        GroupStatus {
            group: self.id,
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Candidate => Role::Candidate,
                ServerState::Follower => Role::Follower,
                ServerState::Learner | ServerState::Shutdown => Role::Learner,
            },
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            voters: metrics.committed_membership_config.voter_ids().map(NodeId).collect(),
            last_log: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied: self.applied(),
            missing_blobs,
        }
    }

    /// The last entry applied: its place, and the hash over all changes up to there.
    pub fn applied_hash(&self) -> Option<(u64, u64)> {
        let applied = self.index.applied();
        Some((applied.position?.index, applied.hash))
    }

    /// A digest of the group's state, and the place up to which it is applied there. `None` if it cannot be read.
    pub fn digest(&self) -> Option<(u64, u64)> {
        self.index.digest()
    }

    /// Whether the committed membership has no place for `node` any more.
    pub fn is_left_by(&self, node: NodeId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = &metrics.committed_membership_config;
        members.log_id().is_some() && members.nodes().all(|(id, ())| *id != node.0)
    }

    /// Calls `tell` at every change of leader or term; ends with the group.
    pub async fn role_changes(&self, tell: impl Fn()) {
        let mut metrics = self.raft.server_metrics();
        let mut seen = None;
        loop {
            let now = {
                let metrics = metrics.borrow_and_update();
                (metrics.current_leader, metrics.vote, metrics.state)
            };
            if seen != Some(now) {
                seen = Some(now);
                tell();
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Resolves with the reason once the group can do nothing any more, unless it was [stopped](Self::stop): the process
    /// must end.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        let failed = metrics.wait_until(|metrics| metrics.running_state.is_err()).await;
        if self.stopping.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        match failed {
            Ok(metrics) => match &metrics.running_state {
                Err(fatal) => format!("group {}: {fatal}", self.id),
                Ok(()) => unreachable!("waited for an error"),
            },
            Err(_) => format!("group {}: its Raft core is gone", self.id),
        }
    }

    /// Stops the member; its state stays.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = %self.id, %error, "a group did not stop cleanly");
        }
        if let Err(error) = self.persist() {
            tracing::warn!(group = %self.id, %error, "the index was not synced at the end; the log will replay it");
        }
    }

    fn persist(&self) -> Result<(), IndexError> {
        self.index.persist()
    }
}

fn stopped() -> CallError {
    CallError::Unavailable { reason: "the group is stopping".to_owned() }
}
