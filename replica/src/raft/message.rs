//! What Raft members send each other, in our own words: postcard heads, entry payloads as raw bytes behind them.

use bytes::{Bytes, BytesMut};
use holdfast_wire::error::CallError;
use holdfast_wire::id::{GroupId, NodeId};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};

use super::types::{self, Types};
use crate::log::LogEntry;
use crate::position::{Ballot, Position};

/// The path of [`Append`].
pub const APPEND: &str = "/raft/append";
/// The path of [`VoteAsk`].
pub const VOTE: &str = "/raft/vote";
/// The path of [`SnapshotHead`].
pub const SNAPSHOT: &str = "/raft/snapshot";
/// The path of [`Transfer`].
pub const TRANSFER: &str = "/raft/transfer";
/// The path of [`RoundAsk`].
pub const ROUND: &str = "/raft/round";

/// Entries, or a heartbeat. The payload holds the entries' bytes back to back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The group.
    pub group: GroupId,
    /// The leader's vote.
    pub ballot: Ballot,
    /// The entry before the first.
    pub previous: Option<Position>,
    /// What the leader has committed.
    pub committed: Option<Position>,
    /// Place and length in bytes of each entry.
    pub entries: Vec<(Position, u32)>,
}

impl Append {
    /// Our form of openraft's request, and the payload.
    pub fn new(group: GroupId, request: &AppendEntriesRequest<Types>) -> (Self, Bytes) {
        let entries: Vec<LogEntry> = request.entries.iter().map(types::log_entry).collect();
        let head = Self {
            group,
            ballot: types::ballot(&request.vote),
            previous: request.prev_log_id.as_ref().map(types::position),
            committed: request.leader_commit.as_ref().map(types::position),
            entries: entries.iter().map(|entry| (entry.position, entry.payload.len() as u32)).collect(),
        };
        let payload = match &entries[..] {
            [] => Bytes::new(),
            [one] => one.payload.clone(),
            many => {
                let mut all = BytesMut::with_capacity(many.iter().map(|entry| entry.payload.len()).sum());
                many.iter().for_each(|entry| all.extend_from_slice(&entry.payload));
                all.freeze()
            }
        };
        (head, payload)
    }

    /// openraft's request. The entries share `payload`.
    pub fn request(self, mut payload: Bytes) -> Result<AppendEntriesRequest<Types>, CallError> {
        let malformed = |reason: &str| CallError::Malformed { reason: reason.to_owned() };
        let mut entries = Vec::with_capacity(self.entries.len());
        for (position, len) in self.entries {
            if payload.len() < len as usize {
                return Err(malformed("fewer bytes than the entries announce"));
            }
            let entry = LogEntry { position, payload: payload.split_to(len as usize) };
            entries.push(types::entry(entry).map_err(|error| malformed(&error.to_string()))?);
        }
        Ok(AppendEntriesRequest {
            vote: types::vote(self.ballot),
            prev_log_id: self.previous.map(types::log_id),
            entries,
            leader_commit: self.committed.map(types::log_id),
        })
    }
}

/// The answer to [`Append`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Appended {
    /// All are on disk.
    Success,
    /// Those up to here are.
    Partial(Option<Position>),
    /// The entry before the first is not here.
    Conflict,
    /// This member knows a higher vote.
    HigherVote(Ballot),
}

impl From<AppendEntriesResponse<Types>> for Appended {
    fn from(response: AppendEntriesResponse<Types>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(upto) => Self::Partial(upto.as_ref().map(types::position)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(types::ballot(&vote)),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<Types> {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::Success => Self::Success,
            Appended::Partial(upto) => Self::PartialSuccess(upto.map(types::log_id)),
            Appended::Conflict => Self::Conflict,
            Appended::HigherVote(ballot) => Self::HigherVote(types::vote(ballot)),
        }
    }
}

/// Asks for a vote, or whether there would be one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteAsk {
    /// The group.
    pub group: GroupId,
    /// Pre-Vote: only asks, changes nothing.
    pub pre: bool,
    /// The candidate's vote.
    pub ballot: Ballot,
    /// The candidate's last entry.
    pub last: Option<Position>,
    /// The leader has handed over: do not wait for its lease.
    pub transfer: bool,
}

impl VoteAsk {
    /// Our form of openraft's request.
    pub fn new(group: GroupId, pre: bool, request: &VoteRequest<Types>) -> Self {
        Self {
            group,
            pre,
            ballot: types::ballot(&request.vote),
            last: request.last_log_id.as_ref().map(types::position),
            transfer: request.leadership_transfer,
        }
    }

    /// openraft's request.
    pub fn request(&self) -> VoteRequest<Types> {
        let mut request = VoteRequest::new(types::vote(self.ballot), self.last.map(types::log_id));
        request.leadership_transfer = self.transfer;
        request
    }
}

/// The answer to [`VoteAsk`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteAnswer {
    /// The highest vote that this member knows.
    pub ballot: Ballot,
    /// Whether it is granted.
    pub granted: bool,
    /// This member's last entry.
    pub last: Option<Position>,
}

impl From<VoteResponse<Types>> for VoteAnswer {
    fn from(response: VoteResponse<Types>) -> Self {
        Self {
            ballot: types::ballot(&response.vote),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(types::position),
        }
    }
}

impl From<VoteAnswer> for VoteResponse<Types> {
    fn from(answer: VoteAnswer) -> Self {
        Self::new(types::vote(answer.ballot), answer.last.map(types::log_id), answer.granted)
    }
}

/// The head of a snapshot; row chunks follow, framed as in [`holdfast_wire::frame`]. Answered with the receiver's
/// [`Ballot`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// The group.
    pub group: GroupId,
    /// The leader's vote.
    pub ballot: Ballot,
    /// The last entry whose effects are in it.
    pub applied: Position,
    /// The membership as of then ([`types::Members`]).
    pub members: Bytes,
    /// The rolling state hash as of then.
    pub hash: u64,
}

/// Hands over the leadership. Answered with `()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The group.
    pub group: GroupId,
    /// The leader's vote.
    pub ballot: Ballot,
    /// Who is to lead.
    pub to: NodeId,
    /// The leader's last entry.
    pub last: Option<Position>,
}

impl Transfer {
    /// Our form of openraft's request.
    pub fn new(group: GroupId, request: &TransferLeaderRequest<Types>) -> Self {
        Self {
            group,
            ballot: types::ballot(request.from_leader()),
            to: NodeId(*request.to_node_id()),
            last: request.last_log_id().map(types::position),
        }
    }

    /// openraft's request.
    pub fn request(&self) -> TransferLeaderRequest<Types> {
        TransferLeaderRequest::new(types::vote(self.ballot), self.to.0, self.last.map(types::log_id))
    }
}

/// What a node asks of another about groups that both are members of, for reads. Answered with one [`RoundAnswer`] for
/// each question, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundAsk {
    /// Who asks.
    pub from: NodeId,
    /// One for each group.
    pub questions: Vec<RoundQuestion>,
}

/// "I have voted for `leader` in `term` and for nobody since: and you?"
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundQuestion {
    /// The group.
    pub group: GroupId,
    /// The asker's term.
    pub term: u64,
    /// Whom it holds for that term's leader.
    pub leader: NodeId,
}

/// The answer to a [`RoundQuestion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoundAnswer {
    /// Another vote, no member, or nothing that can be said in time.
    No,
    /// So have I.
    Same,
    /// That leader is me, a majority stands behind me, and this is the read index.
    Index(u64),
}
