//! ReadIndex: on the leader openraft's own, coalesced in its core; on a follower one question to the leader at a time,
//! which answers everybody who asked before it was sent.

use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::service::Body;
use holdfast_wire::transport::{Client, decode, encode};
use openraft::LinearizerOption;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::Timings;
use crate::peers::Peers;
use crate::raft::message::{READ_INDEX, ReadIndexAsk};
use crate::raft::types::Raft;

type Asker = oneshot::Sender<Result<u64, CallError>>;

/// Answers with read indexes.
pub struct ReadIndex {
    raft: Raft,
    own: NodeId,
    lease: Duration,
    asks: mpsc::UnboundedSender<Asker>,
    /// Asks leaders; ends when this is dropped.
    _asking: AbortOnDropHandle<()>,
}

impl ReadIndex {
    /// Starts asking.
    pub fn start(group: GroupId, own: NodeId, raft: Raft, client: Client, peers: Peers, timings: Timings) -> Self {
        let (asks, queue) = mpsc::unbounded_channel();
        let lease = timings.silence();
        let asking = ask_leaders(group, own, raft.clone(), client, peers, lease, queue);
        Self { raft, own, lease, asks, _asking: AbortOnDropHandle::new(tokio::spawn(asking)) }
    }

    /// The read index, from wherever the leader is.
    pub async fn ask(&self, deadline: Instant) -> Result<u64, CallError> {
        if self.raft.server_metrics().borrow_watched().current_leader == Some(self.own.0) {
            return match timeout_at(deadline, self.ask_here()).await {
                Ok(answer) => answer,
                Err(_) => Err(CallError::NotFresh),
            };
        }
        let (asker, answer) = oneshot::channel();
        let gone = || CallError::Unavailable { reason: "the group is stopping".to_owned() };
        self.asks.send(asker).map_err(|_| gone())?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(CallError::NotFresh),
        }
    }

    /// The read index, if this member leads.
    pub async fn ask_here(&self) -> Result<u64, CallError> {
        here(&self.raft, self.lease).await
    }
}

async fn here(raft: &Raft, lease: Duration) -> Result<u64, CallError> {
    // An acknowledgement that was sent for before the question came proves nothing: zero age.
    let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(lease);
    match raft.get_read_linearizer(option).await {
        Ok(linearizer) => Ok(linearizer.read_log_id().index()),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Err(CallError::NotLeader { leader: forward.leader_id.map(NodeId) })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(CallError::NotFresh),
        Err(RaftError::Fatal(fatal)) => Err(CallError::Unavailable { reason: fatal.to_string() }),
    }
}

async fn ask_leaders(
    group: GroupId,
    own: NodeId,
    raft: Raft,
    client: Client,
    peers: Peers,
    lease: Duration,
    mut queue: mpsc::UnboundedReceiver<Asker>,
) {
    let mut askers = Vec::new();
    while queue.recv_many(&mut askers, usize::MAX).await > 0 {
        let leader = raft.server_metrics().borrow_watched().current_leader.map(NodeId);
        let answer = match leader {
            Some(leader) if leader == own => here(&raft, lease).await,
            Some(leader) => match peers.target(leader) {
                Some(target) => {
                    let head = encode(&ReadIndexAsk { group });
                    let asked: Result<(Bytes, Body), CallError> =
                        client.exchange(&target, READ_INDEX, head, Body::empty(), 2 * lease).await;
                    asked.and_then(|(head, _)| decode(&head))
                }
                None => Err(CallError::NotLeader { leader: None }),
            },
            None => Err(CallError::NotLeader { leader: None }),
        };
        // An asker that has left does not matter. A follower's trouble with the leader is not the gateway's: it
        // should simply try again or elsewhere.
        let answer = answer.map_err(|_| CallError::NotFresh);
        askers.drain(..).for_each(|asker| drop(asker.send(answer.clone())));
    }
}
