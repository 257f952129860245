//! Proposing a command, and answering as its ack mode says.

use holdfast_wire::bucket::{AckMode, BucketState};
use holdfast_wire::configuration::Versioning;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{BucketId, NodeId, RequestId, Seq};
use holdfast_wire::request::{Deleted, Write, WriteOutcome};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader};
use openraft::impls::ProgressResponder;
use tokio::time::{Instant, timeout_at};

use super::{Group, LEAD_MAX, Proposed, stopped};
use crate::index::command::{Command, Envelope, Outcome};
use crate::raft::types::{Proposal, Types};

impl Group {
    /// Proposes `command` and waits as `ack` says, at most until `deadline`.
    ///
    /// # Errors
    /// [`CallError::NotLeader`]: not applied. [`CallError::Unknown`]: perhaps applied, now or later.
    pub async fn propose(
        &self,
        request: Option<RequestId>,
        command: Command,
        ack: AckMode,
        deadline: Instant,
    ) -> Result<Proposed, CallError> {
        let now_ms = self.clock.unix_millis();
        let early = match (&command, request, ack) {
            (Command::Write(write), Some(request), AckMode::Leader) => self.early_outcome(write, now_ms, request),
            _ => None,
        };
        let envelope = Envelope { request, now_ms, command };
        let (responder, completed) = ProgressResponder::complete_only();
        let submitted = self.raft.client_write_ff(Proposal(envelope.encode()), Some(responder)).await;
        submitted.map_err(|_| stopped())?;

        let mut completed = std::pin::pin!(timeout_at(deadline, completed));
        if let Some((mut waiting, outcome)) = early {
            tokio::select! {
                biased;
                durable = &mut waiting.durable => if let Ok(index) = durable {
                    return Ok(Proposed { outcome: outcome(Seq { group: self.id, index }), index, ack: AckMode::Leader });
                },
                finished = &mut completed => return self.finish(finished, AckMode::Majority),
            }
        }
        let proposed = self.finish(completed.await, AckMode::Majority)?;
        if ack == AckMode::All {
            self.wait_for_everybody(proposed.index, deadline).await?;
            return Ok(Proposed { ack: AckMode::All, ..proposed });
        }
        Ok(proposed)
    }

    fn finish<E>(
        &self,
        finished: Result<Result<openraft::raft::ClientWriteResult<Types>, E>, tokio::time::error::Elapsed>,
        ack: AckMode,
    ) -> Result<Proposed, CallError> {
        match finished {
            Ok(Ok(Ok(response))) => Ok(Proposed { index: response.log_id.index, outcome: response.data, ack }),
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => Err(self.not_leader(&forward)),
            Ok(Ok(Err(ClientWriteError::LogEntryDiscarded(_)))) => {
                tracing::warn!(group = %self.id, "an entry of this node was discarded by a new leader");
                Err(CallError::Unknown { reason: "the leader changed while the entry was replicated".to_owned() })
            }
            Ok(Ok(Err(error))) => Err(CallError::Unavailable { reason: error.to_string() }),
            Ok(Err(_)) => Err(CallError::Unknown { reason: "the group stopped".to_owned() }),
            Err(_) => Err(CallError::Unknown { reason: "no majority confirmed the entry in time".to_owned() }),
        }
    }

    fn not_leader(&self, forward: &ForwardToLeader<Types>) -> CallError {
        let leader = forward.leader_id.map(NodeId).filter(|leader| *leader != self.own);
        CallError::NotLeader { leader }
    }

    /// What `ack=leader` will answer for `write`, if that mode is possible now: the write asks for nothing of the
    /// state it meets but a bucket that takes writes, and replication is not far behind.
    #[expect(clippy::type_complexity, reason = "a waiter and what to say when it fires")]
    fn early_outcome(
        &self,
        write: &Write,
        now_ms: u64,
        request: RequestId,
    ) -> Option<(crate::raft::early::Waiting, Box<dyn Fn(Seq) -> Outcome + Send>)> {
        if write.is_conditional() || !self.takes_plain_writes(write.bucket()) {
            return None;
        }
        let state = self.log.state();
        let last = state.last.map_or(0, |position| position.index);
        if last.saturating_sub(*self.applied.borrow()) > LEAD_MAX {
            return None;
        }
        let outcome: Box<dyn Fn(Seq) -> Outcome + Send> = match write {
            Write::Put(put) => {
                let (etag, checksum) = (put.etag.clone(), put.checksum.clone());
                Box::new(move |seq| {
                    let (etag, checksum) = (etag.clone(), checksum.clone());
                    Outcome::Written(WriteOutcome::Stored { seq, etag, modified_ms: now_ms, checksum, version: None })
                })
            }
            Write::Delete { keys, .. } => {
                let count = keys.len();
                Box::new(move |seq| {
                    Outcome::Written(WriteOutcome::Deleted { seq, keys: vec![Ok(Deleted::default()); count] })
                })
            }
            _ => return None,
        };
        Some((self.early.wait(request), outcome))
    }

    /// Whether the bucket takes writes, and what becomes of them does not depend on versions.
    fn takes_plain_writes(&self, bucket: BucketId) -> bool {
        self.index
            .bucket(bucket)
            .is_some_and(|bucket| bucket.state == BucketState::Active && bucket.versioning() == Versioning::Off)
    }

    /// Waits until every voter has the entry at `index`.
    async fn wait_for_everybody(&self, index: u64, deadline: Instant) -> Result<(), CallError> {
        let mut metrics = self.raft.metrics();
        let everybody = metrics.wait_until(|metrics| {
            let Some(replication) = &metrics.replication else { return false };
            metrics.membership_config.voter_ids().all(|voter| {
                voter == self.own.0
                    || replication.get(&voter).is_some_and(|at| at.as_ref().is_some_and(|id| id.index >= index))
            })
        });
        match timeout_at(deadline, everybody).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(CallError::Unknown { reason: "committed, but the group is stopping".to_owned() }),
            Err(_) => Err(CallError::Unknown { reason: "committed, but not every voter has it in time".to_owned() }),
        }
    }
}
