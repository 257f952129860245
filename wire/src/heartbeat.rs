//! What replicas tell every gateway and one another, several times a second and at every change of role.

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, GroupId, NodeId};
use crate::placement::ShardMap;

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its id; 0 while it has none.
    pub id: NodeId,
    /// Its configured name; unique among the nodes that are not removed.
    pub name: String,
    /// Peer address, `host:port`.
    pub address: String,
    /// Software version.
    pub version: String,
}

/// What part a member plays in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "Raft's own names")]
pub enum Role {
    Leader,
    Follower,
    Candidate,
    Learner,
}

/// One group as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// This member's part.
    pub role: Role,
    /// Who leads, as far as this member knows.
    pub leader: Option<NodeId>,
    /// Raft term.
    pub term: u64,
    /// Voters by the newest membership it knows.
    pub voters: Vec<NodeId>,
    /// Last log index.
    pub last_log: u64,
    /// Committed index.
    pub committed: u64,
    /// Applied index.
    pub applied: u64,
    /// Blobs that the index names and this node has yet to fetch.
    pub missing_blobs: u64,
}

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Requests in flight.
    pub in_flight: u32,
    /// CPU of the process, in thousandths of one core, over the last seconds.
    pub cpu_millis: u32,
    /// Moving average of a read's time to first byte, µs.
    pub read_us: u32,
    /// Resident memory, bytes.
    pub memory: u64,
    /// Free bytes of the file system with the data.
    pub disk_free: u64,
    /// All bytes of it.
    pub disk_total: u64,
    /// Moving average of a log sync, µs; of a node whose disk is slow the 99th percentile.
    pub sync_us: u32,
}

/// One heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The cluster.
    pub cluster: ClusterId,
    /// Who speaks.
    pub node: NodeInfo,
    /// What its clock said: milliseconds since 1970, or [`UNSAID`].
    pub clock_ms: u64,
    /// Why it is not ready to serve, if it is not.
    pub not_ready: Option<String>,
    /// How busy it is.
    pub load: Load,
    /// Its groups.
    pub groups: Vec<GroupStatus>,
    /// The cluster as of the newest root state that it has applied or heard of.
    pub layout: Layout,
}

/// The time of a heartbeat that tells none.
pub const UNSAID: u64 = 0;

/// Nodes and map, as root keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Root's log index of this state: the higher one is the newer one.
    pub version: u64,
    /// All nodes that are not removed.
    pub nodes: Vec<NodeInfo>,
    /// Those of them that give everything away and get nothing new, ascending.
    pub draining: Vec<NodeId>,
    /// The map.
    pub map: ShardMap,
    /// How many copies each group should have, where there are nodes enough; 0 before genesis.
    pub copies: u8,
}

/// The cluster as one process sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster.
    pub cluster: ClusterId,
    /// Nodes and map.
    pub layout: Layout,
    /// The newest heartbeat of each node, with its age in milliseconds.
    pub heartbeats: Vec<(Heartbeat, u64)>,
}
