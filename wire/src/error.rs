//! Why a replica could not answer, and what that says about the request.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// A call that got no answer of its kind. Every case says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CallError {
    /// Not applied. Ask `leader`, if one is known; otherwise wait for one.
    #[error("not the leader of the group (leader: {leader:?})")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Not applied. This node is no member of the group: the map has changed.
    #[error("this node does not host the group")]
    NotHosted,
    /// The record is here but not the bytes: ask another replica.
    #[error("the bytes are not held here")]
    NotHeld,
    /// The node could not make sure in time that it is fresh enough: ask another replica, or later.
    #[error("the replica could not confirm its freshness in time")]
    NotFresh,
    /// Not applied. The node is starting, draining, or has no quorum: try again.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// For the log.
        reason: String,
    },
    /// Not applied. The disk is full, or was at the start of an upload.
    #[error("no space left")]
    NoSpace,
    /// Not applied. Too much at once: try again later.
    #[error("overloaded")]
    Overloaded,
    /// Nothing was sent: the node cannot be reached.
    #[error("cannot reach the node: {reason}")]
    Unreachable {
        /// For the log.
        reason: String,
    },
    /// The connection broke, or time ran out, after the request was sent: a write may have been applied.
    #[error("no answer: {reason}")]
    Unknown {
        /// For the log.
        reason: String,
    },
    /// The request makes no sense to the receiver (other version, broken framing): not applied, do not repeat.
    #[error("malformed request: {reason}")]
    Malformed {
        /// For the log.
        reason: String,
    },
    /// The body ended before its end frame (the client left): nothing was stored.
    #[error("the body was aborted")]
    Aborted,
}

impl CallError {
    /// Whether a write that got this answer is certain not to have been applied.
    pub fn certainly_not_applied(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}
