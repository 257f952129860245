//! openraft's network over our transport: our messages, a deadline on each, kept-alive authenticated connections.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Framer;
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::service::Body;
use holdfast_wire::transport::{Client, Target, decode, encode};
use openraft::alias::SnapshotOf;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::machine::SnapshotData;
use super::message::{APPEND, Append, Appended, SNAPSHOT, SnapshotHead, TRANSFER, Transfer, VOTE, VoteAnswer, VoteAsk};
use super::standing::Standing;
use super::types::{self, Types, Vote};
use crate::peers::Peers;

/// Entries may wait for a follower's disk; openraft's own limit is the heartbeat interval, too short for 4 MiB and a
/// sync.
const ENTRIES_WITHIN: Duration = Duration::from_millis(2500);
/// A receiver that does not take a chunk of a snapshot for so long, or does not install it, is given up: until then
/// nothing is replicated to it.
const SNAPSHOT_PROGRESS: Duration = Duration::from_secs(10);
/// Once all chunks are sent, the receiver has so long to put them in force.
const SNAPSHOT_INSTALL: Duration = Duration::from_secs(300);
/// No transfer takes longer; what watches it is its progress.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Makes connections of one group's members.
#[derive(Clone)]
pub struct Network {
    /// The group.
    pub group: GroupId,
    /// Shared by all groups.
    pub client: Client,
    /// Where the nodes are.
    pub peers: Peers,
    /// Told what others are told.
    pub standing: Arc<Standing>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, (): &()) -> Link {
        Link { network: self.clone(), to: NodeId(target) }
    }
}

/// Until when a transfer must have moved on.
#[derive(Clone)]
struct Progress(Arc<Mutex<Instant>>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now() + SNAPSHOT_PROGRESS)))
    }
}

impl Progress {
    fn made(&self) {
        *self.0.lock() = Instant::now() + SNAPSHOT_PROGRESS;
    }

    fn all_sent(&self) {
        *self.0.lock() = Instant::now() + SNAPSHOT_INSTALL;
    }

    /// Resolves once nothing has moved for too long.
    async fn stalled(&self) {
        loop {
            let due = *self.0.lock();
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

/// From this member to one other.
pub struct Link {
    network: Network,
    to: NodeId,
}

impl Link {
    fn target(&self) -> Result<Target, CallError> {
        let unknown = || CallError::Unreachable { reason: format!("the address of node {} is not known", self.to) };
        self.network.peers.target(self.to).ok_or_else(unknown)
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &'static str,
        head: &Q,
        payload: Bytes,
        within: Duration,
    ) -> Result<A, CallError> {
        let (head, _) = self.network.client.ask(&self.target()?, path, encode(head), payload, within).await?;
        decode(&head)
    }
}

/// A member that cannot be reached is left alone for a while; everything else is tried again at once.
fn rpc_error(error: CallError) -> RPCError<Types> {
    match error {
        CallError::Unreachable { .. } | CallError::NotHosted | CallError::Unavailable { .. } => {
            RPCError::Unreachable(Unreachable::new(&error))
        }
        _ => RPCError::Network(NetworkError::new(&error)),
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let within = if request.entries.is_empty() { option.soft_ttl() } else { ENTRIES_WITHIN };
        let (head, payload) = Append::new(self.network.group, &request);
        if let Some(committed) = &head.committed {
            self.network.standing.show(committed.index);
        }
        let answer: Appended = self.ask(APPEND, &head, payload, within).await.map_err(rpc_error)?;
        Ok(answer.into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let head = VoteAsk::new(self.network.group, false, &request);
        let answer: VoteAnswer = self.ask(VOTE, &head, Bytes::new(), option.hard_ttl()).await.map_err(rpc_error)?;
        Ok(answer.into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let head = VoteAsk::new(self.network.group, true, &request);
        let answer: VoteAnswer = self.ask(VOTE, &head, Bytes::new(), option.hard_ttl()).await.map_err(rpc_error)?;
        Ok(answer.into())
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let head = Transfer::new(self.network.group, &request);
        let () = self.ask(TRANSFER, &head, Bytes::new(), option.hard_ttl()).await.map_err(rpc_error)?;
        Ok(Ok(()))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let progress = Progress::default();
        let sending = async {
            let SnapshotData::Frozen(frozen) = snapshot.snapshot else {
                return Err(CallError::Malformed { reason: "a received snapshot is not sent on".to_owned() });
            };
            let applied = frozen.applied();
            let head = SnapshotHead {
                group: self.network.group,
                ballot: types::ballot(&vote),
                applied: applied.position.unwrap_or_default(),
                members: applied.membership.clone(),
                hash: applied.hash,
            };
            // The rows come from a blocking iterator: one bounded chunk at a time, only as fast as the receiver takes it.
            let progressing = progress.clone();
            let chunks = futures::stream::iter(frozen.chunks()).map(move |chunk| match chunk {
                Ok(chunk) => {
                    progressing.made();
                    let mut framed = BytesMut::with_capacity(4 + chunk.len());
                    framed.put_u32_le(chunk.len() as u32);
                    framed.put_slice(&chunk);
                    Ok(framed.freeze())
                }
                Err(error) => Err(CallError::Unavailable { reason: error.to_string() }),
            });
            let ending = progress.clone();
            let chunks = chunks.chain(futures::stream::poll_fn(move |_| {
                ending.all_sent();
                Poll::Ready(None)
            }));
            let target = self.target()?;
            let (head, _) = self
                .network
                .client
                .exchange(&target, SNAPSHOT, encode(&head), Body::streamed(Framer::new(chunks)), SNAPSHOT_WITHIN)
                .await?;
            decode(&head)
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            () = progress.stalled() => {
                let error = CallError::Unknown { reason: "the snapshot does not move on".to_owned() };
                Err(StreamingError::Network(NetworkError::new(&error)))
            }
            sent = sending => match sent {
                Ok(ballot) => Ok(SnapshotResponse::new(types::vote(ballot))),
                Err(error @ CallError::Unreachable { .. }) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
                Err(error) => Err(StreamingError::Network(NetworkError::new(&error))),
            },
        }
    }
}
