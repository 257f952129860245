//! What peers ask of each other: Raft, blobs, and commands of root's for shards.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_wire::bucket::AckMode;
use holdfast_wire::context::{self, Context};
use holdfast_wire::error::CallError;
use holdfast_wire::id::GroupId;
use holdfast_wire::request::Request;
use holdfast_wire::scrub::SCRUB;
use holdfast_wire::service::Body;
use holdfast_wire::transport::{CALL, HEARTBEATS, decode, encode, serve_heartbeats};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::upload::{self, BlobAsk, HOLDS, RECLAIM};
use crate::blob::peer as blob_peer;
use crate::index::command::Command;
use crate::node::Host;
use crate::raft::message::{
    APPEND, Append, Appended, ROUND, RoundAnswer, RoundAsk, SNAPSHOT, TRANSFER, Transfer, VOTE, VoteAnswer, VoteAsk,
};
use crate::raft::snapshot;

/// The path of a [`ShardAsk`].
pub const SHARD: &str = "/shard/propose";
/// The longest batch of entries, bytes.
const ENTRIES_MAX: usize = 64 << 20;

/// A command that root's leader has for a shard; answered with its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardAsk {
    /// The shard.
    pub group: GroupId,
    /// The command.
    pub command: Command,
}

type Answered = Result<(Bytes, Body), CallError>;

/// Answers one peer's request.
pub fn handle(host: Arc<Host>, path: &str, head: Bytes, payload: Body) -> BoxFuture<'static, Answered> {
    match path {
        CALL => async move {
            let (context, request): (Context, Request) = decode(&head)?;
            let (response, body) = context::within(context, super::call(host, request, payload)).await?;
            Ok((encode(&response), body))
        }
        .boxed(),
        HEARTBEATS => futures::future::ready(Ok(serve_heartbeats(host.heartbeats()))).boxed(),
        APPEND => append(host, head, payload).boxed(),
        VOTE => vote(host, head).boxed(),
        TRANSFER => transfer(host, head).boxed(),
        SNAPSHOT => async move {
            let ballot = snapshot::receive(&host, decode(&head)?, payload).await?;
            Ok((encode(&ballot), Body::empty()))
        }
        .boxed(),
        ROUND => round(host, head).boxed(),
        SHARD => shard(host, head).boxed(),
        SCRUB => async move {
            let order = decode(&head)?;
            let state = host.scrub().obey(order, host.seams().clock.unix_millis());
            Ok((encode(&state), Body::empty()))
        }
        .boxed(),
        HOLDS => async move {
            let ask: BlobAsk = decode(&head)?;
            let held = upload::held_len(&host, ask.group, ask.blob).await?;
            Ok((encode(&held), Body::empty()))
        }
        .boxed(),
        blob_peer::DROP => async move { blob_peer::serve_drop(host.blobs(), head).await }.boxed(),
        RECLAIM => async move {
            let ask: BlobAsk = decode(&head)?;
            upload::drop_here(&host, ask.group, ask.blob).await?;
            Ok((Bytes::new(), Body::empty()))
        }
        .boxed(),
        blob_peer::WRITE => async move { blob_peer::serve_write(host.blobs(), head, payload).await }.boxed(),
        blob_peer::READ => async move { blob_peer::serve_read(host.blobs(), head).await }.boxed(),
        other => {
            let reason = format!("no such path: {other}");
            futures::future::ready(Err(CallError::Malformed { reason })).boxed()
        }
    }
}

async fn append(host: Arc<Host>, head: Bytes, payload: Body) -> Answered {
    let head: Append = decode(&head)?;
    let group = host.group(head.group)?;
    let payload = payload.collect(ENTRIES_MAX).await?;
    let answer = group.raft().append_entries(head.request(payload)?).await.map_err(super::unavailable)?;
    Ok((encode(&Appended::from(answer)), Body::empty()))
}

async fn round(host: Arc<Host>, head: Bytes) -> Answered {
    let ask: RoundAsk = decode(&head)?;
    let answers = ask.questions.iter().map(|question| {
        let group = host.group(question.group);
        async move {
            match group {
                Ok(group) => group.answer(ask.from, question).await,
                Err(_) => RoundAnswer::No,
            }
        }
    });
    let answers = futures::future::join_all(answers).await;
    Ok((encode(&answers), Body::empty()))
}

async fn vote(host: Arc<Host>, head: Bytes) -> Answered {
    let ask: VoteAsk = decode(&head)?;
    let group = host.group(ask.group)?;
    let answer = match ask.pre {
        true => group.raft().pre_vote(ask.request()).await,
        false => group.raft().vote(ask.request()).await,
    };
    Ok((encode(&VoteAnswer::from(answer.map_err(super::unavailable)?)), Body::empty()))
}

async fn transfer(host: Arc<Host>, head: Bytes) -> Answered {
    let ask: Transfer = decode(&head)?;
    let group = host.group(ask.group)?;
    let answer = group.raft().handle_transfer_leader(ask.request()).await.map_err(super::unavailable)?;
    answer.map_err(super::unavailable)?;
    Ok((encode(&()), Body::empty()))
}

async fn shard(host: Arc<Host>, head: Bytes) -> Answered {
    let ask: ShardAsk = decode(&head)?;
    let group = host.group(ask.group)?;
    let deadline = Instant::now() + Duration::from_secs(2);
    let proposed = group.propose(None, ask.command, AckMode::Majority, deadline).await?;
    Ok((encode(&proposed.outcome), Body::empty()))
}
