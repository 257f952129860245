//! What `GET /v1/cluster` says, as far as tests look at it.

use serde::Deserialize;

/// The cluster as one node sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Its id.
    pub cluster: String,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
    /// Nodes that are not removed.
    pub nodes: Vec<NodeStatus>,
    /// Groups, root first.
    pub groups: Vec<GroupStatus>,
}

/// A node.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The version of its software.
    pub version: String,
    /// Whether it was heard lately.
    pub alive: bool,
}

/// A group.
#[derive(Clone, Debug, Deserialize)]
pub struct GroupStatus {
    /// Its id; 0 is root.
    pub id: u32,
    /// Leader by node id.
    pub leader: Option<u64>,
    /// Raft term.
    pub term: u64,
    /// Voters by node id.
    pub voters: Vec<u64>,
    /// Members as they last reported.
    pub members: Vec<MemberStatus>,
}

/// A member of a group.
#[derive(Clone, Debug, Deserialize)]
pub struct MemberStatus {
    /// Its node's id.
    pub node: u64,
    /// Last log index.
    pub last_log: u64,
    /// Applied index.
    pub applied: u64,
    /// Blobs yet to be fetched.
    pub missing_blobs: u64,
}
