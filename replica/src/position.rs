//! Places in a Raft log, in our own words: no openraft type reaches disk or wire.

use holdfast_wire::id::NodeId;
use serde::{Deserialize, Serialize};

/// A place in one group's log. Ordered as Raft orders log ids: by term, then leader, then index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Raft term of the leader that appended the entry.
    pub term: u64,
    /// That leader.
    pub node: NodeId,
    /// Log index.
    pub index: u64,
}

/// A vote as Raft persists it: for whom, in which term, and whether a quorum has granted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Raft term.
    pub term: u64,
    /// The candidate or leader.
    pub node: NodeId,
    /// Whether it leads.
    pub committed: bool,
}
