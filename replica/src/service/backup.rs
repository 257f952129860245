//! What a backup reads: a group's rows frozen at a read point, and whole blobs.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures::{StreamExt, TryStreamExt};
use holdfast_wire::backup::BackupRequest;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::request::Response;
use holdfast_wire::service::{Answer, Body};
use tokio::time::Instant;

use crate::node::Host;

/// The longest time for which blobs are held back at once.
const HOLD_MAX: Duration = Duration::from_secs(15 * 60);

/// Answers one request.
pub async fn backup(host: &Arc<Host>, request: BackupRequest, deadline: Instant) -> Answer {
    match request {
        BackupRequest::Cut { group } => cut(host, group, deadline).await,
        BackupRequest::Blob { group, blob } => whole_blob(host, group, blob).await,
        BackupRequest::Hold { for_ms } => {
            host.hold_blobs(Instant::now() + Duration::from_millis(for_ms.into()).min(HOLD_MAX));
            Ok((Response::Done, Body::empty()))
        }
    }
}

async fn cut(host: &Host, group: GroupId, deadline: Instant) -> Answer {
    let group = host.group(group)?;
    let index = group.read_index(deadline).await?;
    group.wait_applied(index, deadline).await?;
    let frozen = group.index().snapshot();
    let index = frozen.applied().position.map_or(0, |position| position.index);
    // The rows come from a blocking iterator: one bounded chunk at a time, only as fast as the receiver takes it.
    let chunks = futures::stream::iter(frozen.chunks()).map(|chunk| {
        let chunk = chunk.map_err(super::unavailable)?;
        let mut framed = BytesMut::with_capacity(4 + chunk.len());
        framed.put_u32_le(chunk.len() as u32);
        framed.put_slice(&chunk);
        Ok(framed.freeze())
    });
    Ok((Response::Cut { index }, Body::streamed(chunks)))
}

async fn whole_blob(host: &Host, group: GroupId, blob: BlobId) -> Answer {
    let reader = host.blobs().open_blob(group, blob).await?.ok_or(CallError::NotHeld)?;
    let len = reader.len();
    let stream = reader.read(0..len).map_err(CallError::from).boxed();
    Ok((Response::Done, Body { len: Some(len), stream }))
}
