//! ReadIndex: a log index such that everything acknowledged before the question lies at or below it.
//!
//! It takes the word of a majority, given after the question came, that this leader is still the last that they voted
//! for. The asking follower is one of that majority and the leader another: with three voters one request between
//! two nodes is the whole proof, shared by all reads that wait ([`Rounds`]). No clock is trusted.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use holdfast_wire::error::CallError;
use holdfast_wire::id::NodeId;
use openraft::LinearizerOption;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use std::sync::Arc;
use tokio::time::{Instant, sleep, timeout_at};

use super::quorum::{is_quorum, missing};
use super::round::{QUICK, Rounds};
use crate::log::GroupLog;
use crate::raft::message::{RoundAnswer, RoundQuestion};
use crate::raft::standing::Standing;
use crate::raft::types::Raft;

/// Answers with read indexes.
pub struct ReadIndex {
    raft: Raft,
    own: NodeId,
    lease: Duration,
    log: GroupLog,
    standing: Arc<Standing>,
    rounds: Rounds,
}

impl ReadIndex {
    /// For the group of `raft` and `log`; `lease` bounds how long openraft is waited for.
    pub fn new(
        own: NodeId,
        raft: Raft,
        log: GroupLog,
        standing: Arc<Standing>,
        rounds: Rounds,
        lease: Duration,
    ) -> Self {
        Self { raft, own, lease, log, standing, rounds }
    }

    /// The read index, from wherever the leader is.
    pub async fn ask(&self, deadline: Instant) -> Result<u64, CallError> {
        let leader = self.raft.server_metrics().borrow_watched().current_leader.map(NodeId);
        let asked = async {
            match leader {
                Some(leader) if leader == self.own => self.here(None).await,
                Some(leader) => match self.rounds.ask(leader, &self.log).await {
                    RoundAnswer::Index(index) => Ok(index),
                    // A follower's trouble with the leader is not the gateway's: it should try again or elsewhere.
                    RoundAnswer::Same | RoundAnswer::No => Err(CallError::NotFresh),
                },
                None => Err(CallError::NotFresh),
            }
        };
        timeout_at(deadline, asked).await.unwrap_or(Err(CallError::NotFresh))
    }

    /// Answers `from`'s question.
    pub async fn answer(&self, from: NodeId, question: &RoundQuestion) -> RoundAnswer {
        let same = self.log.ballot().is_some_and(|own| (own.term, own.node) == (question.term, question.leader));
        match same {
            true if question.leader != self.own => RoundAnswer::Same,
            true => self.here(Some(from)).await.map_or(RoundAnswer::No, RoundAnswer::Index),
            false => RoundAnswer::No,
        }
    }

    /// The read index, if this member leads; `with` has just said that it stands behind this leader and term.
    async fn here(&self, with: Option<NodeId>) -> Result<u64, CallError> {
        let Some(ballot) = self.log.ballot().filter(|ballot| ballot.node == self.own) else {
            return Err(CallError::NotLeader { leader: None });
        };
        let Some(index) = self.standing.read_index(ballot.term, ballot.node) else {
            return self.by_heartbeats().await;
        };
        let membership = self.raft.server_metrics().borrow_watched().membership_config.clone();
        let sets = membership.get_joint_config();
        let mut have = vec![self.own];
        have.extend(with);
        if is_quorum(sets, &have) {
            return Ok(index);
        }
        let others = membership.voter_ids().map(NodeId).filter(|voter| *voter != self.own);
        let mut others: Vec<NodeId> = others.collect();
        // The next node in the ring, so that all groups that this node leads ask the same one; slow ones last.
        others.sort_by_key(|voter| (self.rounds.is_slow(*voter), voter.0 < self.own.0, voter.0));
        let Some(first) = missing(sets, &have, &others) else { return Err(CallError::NotFresh) };
        let mut waiting: Vec<NodeId> = others.into_iter().filter(|voter| !first.contains(voter)).collect();
        let ask = |voter: NodeId| async move { (voter, self.rounds.ask(voter, &self.log).await) };
        let mut asked: FuturesUnordered<_> = first.into_iter().map(ask).collect();
        loop {
            tokio::select! {
                answer = asked.next() => match answer {
                    Some((voter, RoundAnswer::Same)) => {
                        have.push(voter);
                        // This member may have voted for somebody else meanwhile.
                        let still = self.log.ballot().is_some_and(|now| (now.term, now.node) == (ballot.term, ballot.node));
                        if still && is_quorum(sets, &have) {
                            return Ok(index);
                        }
                    }
                    Some(_) => asked.extend(waiting.drain(..).map(ask)),
                    None => return self.by_heartbeats().await,
                },
                () = sleep(QUICK), if !waiting.is_empty() => asked.extend(waiting.drain(..).map(ask)),
            }
        }
    }

    /// openraft's own way: a round of heartbeats.
    async fn by_heartbeats(&self) -> Result<u64, CallError> {
        // An acknowledgement that was sent for before the question came proves nothing: zero age.
        let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(self.lease);
        match self.raft.get_read_linearizer(option).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(CallError::NotLeader { leader: forward.leader_id.map(NodeId) })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(CallError::NotFresh),
            Err(RaftError::Fatal(fatal)) => Err(CallError::Unavailable { reason: fatal.to_string() }),
        }
    }
}
