//! The type configuration, and the one home of conversions between openraft's types and what we persist and send: no
//! openraft type reaches a file or a socket.
//!
//! A log payload is `0x00` (blank), `0xff` and a postcard [`Members`] (membership), or a command as
//! [`Envelope`](crate::index::command::Envelope) encodes it, whose first byte is its version, 1 to 254.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_wire::id::NodeId;
use openraft::alias::{CommittedLeaderIdOf, LogIdOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::vote::RaftVote;
use openraft::{EntryPayload, Membership};
use serde::{Deserialize, Serialize};

use crate::index::command::Outcome;
use crate::log::LogEntry;
use crate::position::{Ballot, Position};

openraft::declare_raft_types!(
    /// The Raft types of this project.
    pub Types:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = (),
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

/// One group's Raft.
pub type Raft = openraft::Raft<Types, super::machine::Machine>;
/// A log id.
pub type LogId = LogIdOf<Types>;
/// A vote.
pub type Vote = VoteOf<Types>;
/// A log entry.
pub type Entry = openraft::alias::EntryOf<Types>;
/// A membership and where it stands in the log.
pub type StoredMembership = StoredMembershipOf<Types>;
type LeaderId = CommittedLeaderIdOf<Types>;

const BLANK: u8 = 0x00;
const MEMBERSHIP: u8 = 0xff;

/// A command on its way through the log: the bytes of an [`Envelope`](crate::index::command::Envelope).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A membership in our own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Where it stands in the log; `None` before there is one.
    pub position: Option<Position>,
    /// One set of voters, or several while the group moves from one to the next.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// Everybody who gets the log: voters and learners.
    pub nodes: BTreeSet<NodeId>,
}

impl Members {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        postcard::to_allocvec(self).expect("a membership is always encodable").into()
    }

    /// The membership behind `bytes`; empty bytes are none at all.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        postcard::from_bytes(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "undecodable membership"))
    }
}

/// Our form of a log id.
pub fn position(id: &LogId) -> Position {
    Position { term: id.leader_id.term, node: NodeId(id.leader_id.node_id), index: id.index }
}

/// The inverse of [`position`].
pub fn log_id(position: Position) -> LogId {
    LogId::new(LeaderId { term: position.term, node_id: position.node.0 }, position.index)
}

/// Our form of a vote.
pub fn ballot(vote: &Vote) -> Ballot {
    Ballot { term: vote.leader_id.term, node: NodeId(vote.leader_id.node_id), committed: vote.committed }
}

/// The inverse of [`ballot`].
pub fn vote(ballot: Ballot) -> Vote {
    Vote::from_leader_id(LeaderId { term: ballot.term, node_id: ballot.node.0 }, ballot.committed)
}

/// Our form of a membership.
pub fn members(at: Option<Position>, membership: &Membership<u64, ()>) -> Members {
    Members {
        position: at,
        voters: membership.get_joint_config().iter().map(|set| set.iter().copied().map(NodeId).collect()).collect(),
        nodes: membership.nodes().map(|(id, ())| NodeId(*id)).collect(),
    }
}

/// The inverse of [`members`].
pub fn membership(members: &Members) -> io::Result<Membership<u64, ()>> {
    if members.voters.is_empty() {
        return Ok(Membership::default());
    }
    let voters = members.voters.iter().map(|set| set.iter().map(|id| id.0).collect()).collect::<Vec<BTreeSet<u64>>>();
    let nodes = members.nodes.iter().map(|id| (id.0, ())).collect::<BTreeMap<u64, ()>>();
    Membership::new(voters, nodes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// The membership that a state machine stored.
pub fn stored_membership(members: &Members) -> io::Result<StoredMembership> {
    Ok(StoredMembership::new(members.position.map(log_id), membership(members)?))
}

/// Our form of an entry. Commands are not copied.
pub fn log_entry(entry: &Entry) -> LogEntry {
    let payload = match &entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(proposal) => proposal.0.clone(),
        EntryPayload::Membership(membership) => {
            let members = members(Some(position(&entry.log_id)), membership).encode();
            let mut bytes = BytesMut::with_capacity(1 + members.len());
            bytes.put_u8(MEMBERSHIP);
            bytes.put_slice(&members);
            bytes.freeze()
        }
    };
    LogEntry { position: position(&entry.log_id), payload }
}

/// The inverse of [`log_entry`].
pub fn entry(entry: LogEntry) -> io::Result<Entry> {
    let payload = match entry.payload.first() {
        Some(&BLANK) => EntryPayload::Blank,
        Some(&MEMBERSHIP) => EntryPayload::Membership(membership(&Members::decode(&entry.payload[1..])?)?),
        Some(_) => EntryPayload::Normal(Proposal(entry.payload)),
        None => return Err(io::Error::new(io::ErrorKind::InvalidData, "a log entry without payload")),
    };
    Ok(Entry::new(log_id(entry.position), payload))
}
