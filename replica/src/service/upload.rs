//! Large bodies: onto the disks of a majority before an entry names them.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Unframer;
use holdfast_wire::id::{BlobId, GroupId, NodeId};
use holdfast_wire::request::Response;
use holdfast_wire::service::Body;
use holdfast_wire::transport::{decode, encode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::blob::fanout;
use crate::node::Host;

/// The path of a [`BlobAsk`] whether a blob is held; answered with `Option<u64>`, its length.
pub const HOLDS: &str = "/blob/holds";
/// The path of a [`BlobAsk`] to reclaim a blob that no entry names.
pub const RECLAIM: &str = "/blob/reclaim";

const ASK_WITHIN: Duration = Duration::from_secs(2);

/// Names a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobAsk {
    /// The group.
    pub group: GroupId,
    /// The blob.
    pub blob: BlobId,
}

/// Receives a body, fans it out, and answers once a majority of voters, this leader included, has it on disk.
pub async fn upload(host: &Host, id: GroupId, blob: BlobId, body: Body) -> Result<Response, CallError> {
    let group = host.group(id)?;
    if !group.leads() {
        let leader = group.leader().filter(|leader| *leader != host.id());
        return Err(CallError::NotLeader { leader });
    }
    let voters = group.status(0).voters;
    // A follower that is known to be dead would hold the upload up; it fetches the blob when it is back.
    let followers: Vec<_> = voters
        .iter()
        .filter(|voter| **voter != host.id() && host.neighbours().alive(**voter).is_some())
        .filter_map(|voter| host.peers().target(*voter).map(|target| (*voter, target)))
        .collect();
    let majority = voters.len() / 2 + 1;
    let bytes = Unframer::new(body.stream).boxed();
    let (holders, _) =
        fanout::receive(host.blobs(), host.client(), followers, host.id(), id, blob, bytes, majority).await?;
    host.staged().uploaded(blob, holders.clone());
    Ok(Response::Uploaded { holders })
}

/// Reclaims a blob here and at the other voters, unless an entry names it.
pub async fn drop_blob(host: &Host, id: GroupId, blob: BlobId) -> Result<(), CallError> {
    let group = host.group(id)?;
    drop_here(host, id, blob).await?;
    let asks = group.status(0).voters.into_iter().filter(|voter| *voter != host.id()).map(|voter| async move {
        let Some(target) = host.peers().target(voter) else { return };
        let head = encode(&BlobAsk { group: id, blob });
        // What is not reclaimed now is found as an orphan later.
        let _ = host.client().ask(&target, RECLAIM, head, Bytes::new(), ASK_WITHIN).await;
    });
    futures::future::join_all(asks).await;
    Ok(())
}

/// Reclaims a blob of this node, unless an entry names it.
pub async fn drop_here(host: &Host, id: GroupId, blob: BlobId) -> Result<(), CallError> {
    let group = host.group(id)?;
    // An entry that names it may be committed and not yet applied here.
    let deadline = Instant::now() + ASK_WITHIN;
    let index = group.read_index(deadline).await?;
    group.wait_applied(index, deadline).await?;
    if group.index().references(blob).map_err(super::unavailable)? > 0 {
        return Err(CallError::Malformed { reason: "an object names the blob".to_owned() });
    }
    host.staged().committed(blob);
    Ok(host.blobs().remove(id, blob).await?)
}

/// The length of a blob that is here.
pub async fn held_len(host: &Host, group: GroupId, blob: BlobId) -> Result<Option<u64>, CallError> {
    Ok(host.blobs().open_blob(group, blob).await?.map(|reader| reader.len()))
}

/// Who of `voters` has the blob on disk.
pub async fn ask_holders(
    host: &Host,
    group: GroupId,
    blob: BlobId,
    voters: &[NodeId],
    deadline: Instant,
) -> Vec<NodeId> {
    let within = deadline.saturating_duration_since(Instant::now()).min(ASK_WITHIN);
    let asks = voters.iter().map(|voter| async move {
        if *voter == host.id() {
            return held_len(host, group, blob).await.ok()?.map(|_| *voter);
        }
        let target = host.peers().target(*voter)?;
        let head = encode(&BlobAsk { group, blob });
        let (head, _): (Bytes, Body) = host.client().ask(&target, HOLDS, head, Bytes::new(), within).await.ok()?;
        let held: Option<u64> = decode(&head).ok()?;
        held.map(|_| *voter)
    });
    futures::future::join_all(asks).await.into_iter().flatten().collect()
}
