//! What a node answers: requests of gateways, and of its peers.

mod backup;
mod peer;
pub(crate) mod quota;
mod read;
pub mod root;
mod staged;
pub(crate) mod upload;
mod write;

use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::context::{self, Side};
use holdfast_wire::error::CallError;
use holdfast_wire::request::{Request, Response};
use holdfast_wire::service::{Answer, Body};
use tokio::time::Instant;

use crate::node::Host;

pub(crate) use peer::{SHARD, ShardAsk, handle as handle_peer};
pub use staged::Staged;

/// For requests without a deadline of their own.
const WITHIN: Duration = Duration::from_secs(8);
/// A transfer of a leadership: two elections, with some room.
const TRANSFER_WITHIN: Duration = Duration::from_secs(4);
/// The longest deadline that is granted.
const WITHIN_MAX: Duration = Duration::from_secs(60);

/// Answers one request of a gateway.
pub async fn call(host: Arc<Host>, request: Request, body: Body) -> Answer {
    let _counted = host.load_meter().enter();
    let (kind, node, began) = (request.kind(), host.id().0, Instant::now());
    let work = std::pin::pin!(answer(host.clone(), request, body));
    let answer = context::traced(Side::Server, kind, node, work).await;
    let micros = began.elapsed().as_micros() as u64;
    match &answer {
        Ok(_) => tracing::debug!(kind, micros, "answered"),
        Err(error) => tracing::debug!(kind, micros, %error, "refused"),
    }
    answer
}

/// What is rare or long is boxed: a read or a small write pays for no larger future than its own.
async fn answer(host: Arc<Host>, request: Request, body: Body) -> Answer {
    let done = |response| Ok((response, Body::empty()));
    match request {
        Request::Write(write) => {
            let deadline = deadline(write.deadline_ms);
            done(Box::pin(write::write(&host, write, deadline)).await?)
        }
        Request::UploadBlob { group, blob } => done(Box::pin(upload::upload(&host, group, blob, body)).await?),
        Request::DropBlob { group, blob } => {
            Box::pin(upload::drop_blob(&host, group, blob)).await?;
            done(Response::Done)
        }
        Request::Read(read) => {
            let deadline = deadline(read.deadline_ms);
            read::read(&host, read, deadline).await
        }
        Request::Root(request) => done(Box::pin(root::root(&host, request, Instant::now() + WITHIN)).await?),
        Request::Backup(request) => Box::pin(backup::backup(&host, request, Instant::now() + WITHIN)).await,
        Request::View => done(Response::View(Box::new(host.view()))),
        Request::TransferLeader { group, to } => {
            match Box::pin(host.group(group)?.transfer(to, Instant::now() + TRANSFER_WITHIN)).await? {
                leader if leader == to => done(Response::Done),
                other => Err(CallError::NotLeader { leader: Some(other) }),
            }
        }
    }
}

fn deadline(ms: u32) -> Instant {
    Instant::now() + Duration::from_millis(ms.into()).min(WITHIN_MAX)
}

fn unavailable(error: impl std::fmt::Display) -> CallError {
    CallError::Unavailable { reason: error.to_string() }
}
