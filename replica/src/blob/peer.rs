//! Blobs from node to node: writing one on a follower, reading one from a holder, fetching and repairing.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Unframer;
use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::service::Body;
use holdfast_wire::transport::{Client, Target, decode, encode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::error::{BlobError, Damage};
use super::store::BlobStore;
use super::writer::BlobWriter;

/// The path on which a follower is sent a blob.
pub const WRITE: &str = "/blob/write";
/// The path on which a holder is asked for one.
pub const READ: &str = "/blob/read";
/// The path on which a node is told to forget one that was never committed.
pub const DROP: &str = "/blob/drop";

/// A sender that is silent for so long has gone.
pub const SILENCE: Duration = Duration::from_secs(30);
/// A holder that sends nothing for so long is given up.
const PROGRESS_WITHIN: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
pub(super) struct WriteHead {
    pub group: GroupId,
    pub id: BlobId,
    pub created_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WriteAnswer {
    pub len: u64,
}

#[derive(Serialize, Deserialize)]
struct ReadHead {
    group: GroupId,
    id: BlobId,
    /// First byte and count; all of it otherwise.
    range: Option<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct ReadAnswer {
    /// Bytes of the whole blob.
    len: u64,
    created_ms: u64,
    /// The checksums of all blocks, when all of the blob was asked for.
    #[serde(with = "serde_bytes")]
    table: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DropHead {
    pub group: GroupId,
    pub id: BlobId,
}

/// Why a blob could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The other node's word, or its silence.
    #[error("the holder: {0}")]
    Holder(#[from] CallError),
    /// This node could not keep it.
    #[error(transparent)]
    Store(#[from] BlobError),
}

/// Answers [`WRITE`]: keeps what a leader sends. On disk before the answer; without a sound end frame nothing is kept.
pub async fn serve_write(store: &BlobStore, head: Bytes, payload: Body) -> Result<(Bytes, Body), CallError> {
    let WriteHead { group, id, created_ms } = decode(&head)?;
    let mut writer = store.create_copy(group, id, created_ms).await?;
    let mut chunks = Unframer::new(payload.stream);
    while let Some(chunk) = timeout(SILENCE, chunks.next()).await.map_err(|_| CallError::Aborted)? {
        writer.write(chunk?).await?;
    }
    let len = writer.finish().await?;
    Ok((encode(&WriteAnswer { len }), Body::empty()))
}

/// Answers [`READ`]: the verified bytes of a blob or of a range of it. The first of them are verified before the answer.
pub async fn serve_read(store: &BlobStore, head: Bytes) -> Result<(Bytes, Body), CallError> {
    let ReadHead { group, id, range } = decode(&head)?;
    let reader = store.open_blob(group, id).await?.ok_or(CallError::NotHeld)?;
    let len = reader.len();
    let (first, end) = match range {
        Some((first, count)) => (first.min(len), first.saturating_add(count).min(len)),
        None => (0, len),
    };
    let table = if range.is_none() { reader.table().to_vec() } else { Vec::new() };
    let mut chunks = reader.read(first..end).map(|chunk| chunk.map_err(CallError::from));
    let payload = match chunks.next().await.transpose()? {
        Some(chunk) if chunk.len() as u64 == end - first => Body::from(chunk),
        Some(chunk) => Body {
            len: Some(end - first),
            stream: futures::stream::once(async move { Ok(chunk) }).chain(chunks).boxed(),
        },
        None => Body::empty(),
    };
    Ok((encode(&ReadAnswer { len, created_ms: reader.created_ms(), table }), payload))
}

/// Answers [`DROP`]: removes a blob whose upload failed.
pub async fn serve_drop(store: &BlobStore, head: Bytes) -> Result<(Bytes, Body), CallError> {
    let DropHead { group, id } = decode(&head)?;
    store.remove(group, id).await?;
    Ok((Bytes::new(), Body::empty()))
}

/// Asks a holder for `range` of a blob: the blob's length and the bytes, which the holder has verified.
pub async fn read(
    client: &Client,
    target: &Target,
    group: GroupId,
    id: BlobId,
    range: (u64, u64),
) -> Result<(u64, BoxStream<'static, Result<Bytes, CallError>>), CallError> {
    let head = encode(&ReadHead { group, id, range: Some(range) });
    let (answer, payload) = client.exchange(target, READ, head, Body::empty(), PROGRESS_WITHIN).await?;
    let answer: ReadAnswer = decode(&answer)?;
    Ok((answer.len, payload.stream))
}

/// Pulls a blob from a holder into this store: its length. Kept only if its checksums are the holder's. Nothing is
/// asked for when it is here already.
pub async fn fetch(
    store: &BlobStore,
    client: &Client,
    target: &Target,
    group: GroupId,
    id: BlobId,
) -> Result<u64, FetchError> {
    if let Some(reader) = store.open_blob(group, id).await? {
        return Ok(reader.len());
    }
    copy(client, target, group, id, |created_ms| store.create_copy(group, id, created_ms)).await
}

/// Reads this node's copy again and, if it is bad or missing, replaces it by a holder's: the first in `targets` that
/// has a good one. `true` if it was replaced.
///
/// # Errors
/// The last holder's, when none had a good copy; [`CallError::NotHeld`] when there was none to ask.
pub async fn repair(
    store: &BlobStore,
    client: &Client,
    targets: &[Target],
    group: GroupId,
    id: BlobId,
) -> Result<bool, FetchError> {
    match store.verify(group, id).await {
        Ok(Some(_)) => {
            store.acquit(group, id);
            return Ok(false);
        }
        Ok(None) => {}
        Err(error) if error.is_bad_copy() => {}
        Err(error) => return Err(error.into()),
    }
    let mut last = FetchError::Holder(CallError::NotHeld);
    for target in targets {
        match copy(client, target, group, id, |created_ms| store.replace(group, id, created_ms)).await {
            Ok(_) => return Ok(true),
            Err(error @ FetchError::Store(BlobError::Corrupt { damage: Damage::Differs, .. })) => last = error,
            Err(error @ FetchError::Holder(_)) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn copy<F>(
    client: &Client,
    target: &Target,
    group: GroupId,
    id: BlobId,
    create: impl FnOnce(u64) -> F,
) -> Result<u64, FetchError>
where
    F: Future<Output = Result<BlobWriter, BlobError>>,
{
    let head = encode(&ReadHead { group, id, range: None });
    let (answer, mut payload) = client.exchange(target, READ, head, Body::empty(), PROGRESS_WITHIN).await?;
    let answer: ReadAnswer = decode(&answer)?;
    let mut writer = create(answer.created_ms).await?;
    let mut len = 0;
    let silent = |_| CallError::Unknown { reason: format!("no byte within {PROGRESS_WITHIN:?}") };
    while let Some(chunk) = timeout(PROGRESS_WITHIN, payload.stream.next()).await.map_err(silent)? {
        let chunk = chunk?;
        len += chunk.len() as u64;
        if len > answer.len {
            break;
        }
        writer.write(chunk).await?;
    }
    if len != answer.len {
        return Err(CallError::Malformed { reason: format!("{len} bytes of a blob of {}", answer.len) }.into());
    }
    Ok(writer.finish_matching(answer.table).await?)
}
