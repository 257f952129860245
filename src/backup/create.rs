//! Making a backup.
//!
//! The shards are cut one after the other, root last: what root then names, every shard knows or will be told again. Each
//! cut is one moment of its group, and everything that was acknowledged before the backup began is in it. Then the blobs
//! that the cuts name and the store lacks are copied, while the nodes hold back their collection.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use holdfast_replica::index::{IndexError, transplant};
use holdfast_wire::id::BlobId;
use indicatif::ProgressBar;
use time::OffsetDateTime;
use time::macros::format_description;

use super::manifest::{self, Group, Manifest};
use super::seal::Seal;
use super::store::Store;
use super::{BackupError, progress, remove};
use crate::admin::backup::{Hold, INDEX};
use crate::client::AdminClient;

/// Blobs under way at once.
const PARALLEL: usize = 8;
/// Nodes keep their blobs for so long at a time, and are asked again three times as often.
const HOLD_SECONDS: u32 = 600;
/// The longest chunk of rows.
const CHUNK_MAX: usize = 64 << 20;

/// Makes a backup of the cluster behind `client`.
pub async fn create(client: &AdminClient, store: &dyn Store, now_ms: u64) -> Result<Manifest, BackupError> {
    manifest::check(store, true).await?;
    hold(client).await?;
    let holding = async {
        loop {
            tokio::time::sleep(Duration::from_secs(u64::from(HOLD_SECONDS) / 3)).await;
            hold(client).await?;
        }
    };
    tokio::select! {
        made = make(client, store, now_ms) => made,
        error = holding => match error {
            Ok(never) => never,
            Err(error) => Err(error),
        },
    }
}

async fn hold(client: &AdminClient) -> Result<(), BackupError> {
    Ok(client.post("/v1/backup/hold", &Hold { seconds: HOLD_SECONDS }).await?)
}

async fn make(client: &AdminClient, store: &dyn Store, now_ms: u64) -> Result<Manifest, BackupError> {
    let status = client.status().await?;
    let name = name_of(now_ms);
    let mut ids: Vec<u32> = status.groups.iter().map(|group| group.id).collect();
    // Root is group 0.
    ids.sort_unstable_by_key(|id| (*id == 0, *id));
    let (mut groups, mut wanted) = (Vec::new(), BTreeMap::new());
    let bar = progress::counter("rows");
    for id in ids {
        let (group, blobs) = cut(client, store, &name, id, &bar).await?;
        groups.push(group);
        wanted.extend(blobs.into_iter().map(|(blob, len)| (blob, (id, len))));
    }
    bar.finish_and_clear();
    // After the rows, before anything that is there is counted on: see `remove`.
    if remove::is_under_way(store).await? {
        return Err(BackupError::Removing(store.url().to_owned()));
    }
    let held: HashSet<String> = store.list("blobs/").await?.into_iter().map(|(name, _)| name).collect();
    wanted.retain(|blob, _| !held.contains(&manifest::blob_path(&blob.to_string())));
    let copied_bytes = wanted.values().map(|(_, len)| len).sum();
    let bar = progress::bar("blobs", copied_bytes);
    let copies = wanted.iter().map(|(blob, (group, len))| copy(client, store, *group, *blob, *len, &bar));
    futures::stream::iter(copies).buffer_unordered(PARALLEL).try_collect::<()>().await?;
    bar.finish_and_clear();
    let manifest = Manifest {
        format: manifest::VERSION,
        name,
        cluster: status.cluster,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_ms: now_ms,
        groups,
        copied_blobs: wanted.len() as u64,
        copied_bytes,
    };
    manifest.save(store).await?;
    Ok(manifest)
}

/// `2026-11-20T16-59-03Z`.
fn name_of(now_ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp((now_ms / 1000) as i64).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]Z")).expect("every part is known")
}

/// Copies a group's rows; what they name.
async fn cut(
    client: &AdminClient,
    store: &dyn Store,
    name: &str,
    id: u32,
    bar: &ProgressBar,
) -> Result<(Group, Vec<(BlobId, u64)>), BackupError> {
    let (headers, mut stream) = client.stream(&format!("/v1/backup/groups/{id}")).await?;
    let index = headers.get(INDEX).and_then(|index| index.to_str().ok()?.parse().ok());
    let index = index.ok_or_else(|| client.not_ours())?;
    let mut writer = store.create(&manifest::group_path(name, id)).await?;
    let (mut seal, mut blobs, mut chunks) = (Seal::default(), Vec::new(), Chunks::default());
    let rows = |source| BackupError::Rows { group: id, source };
    while let Some(bytes) = stream.next().await.transpose()? {
        bar.inc(bytes.len() as u64);
        seal.update(&bytes);
        chunks.push(&bytes);
        while let Some(chunk) = chunks.next().map_err(rows)? {
            blobs.extend(transplant::blobs(&chunk).map_err(rows)?);
        }
        writer.write(bytes).await?;
    }
    chunks.end().map_err(rows)?;
    let rows_bytes = seal.len();
    writer.write(seal.trailer()).await?;
    writer.finish().await?;
    let blob_bytes = blobs.iter().map(|(_, len)| len).sum();
    Ok((Group { id, index, rows_bytes, blobs: blobs.len() as u64, blob_bytes }, blobs))
}

async fn copy(
    client: &AdminClient,
    store: &dyn Store,
    group: u32,
    blob: BlobId,
    len: u64,
    bar: &ProgressBar,
) -> Result<(), BackupError> {
    let (_, mut stream) = client.stream(&format!("/v1/backup/groups/{group}/blobs/{blob}")).await?;
    let mut writer = store.create(&manifest::blob_path(&blob.to_string())).await?;
    let mut seal = Seal::default();
    while let Some(bytes) = stream.next().await.transpose()? {
        bar.inc(bytes.len() as u64);
        seal.update(&bytes);
        writer.write(bytes).await?;
    }
    if seal.len() != len {
        return Err(BackupError::Length { group, blob: blob.to_string(), found: seal.len(), wanted: len });
    }
    writer.write(seal.trailer()).await?;
    Ok(writer.finish().await?)
}

/// Chunks out of `length u32 LE | chunk`, however the bytes come.
#[derive(Default)]
pub struct Chunks(BytesMut);

impl Chunks {
    /// More bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next chunk, if all of it is here.
    pub fn next(&mut self) -> Result<Option<Bytes>, IndexError> {
        let Some(len) = self.0.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if len > CHUNK_MAX {
            return Err(IndexError::BrokenSnapshot);
        }
        if self.0.len() < 4 + len {
            return Ok(None);
        }
        self.0.advance(4);
        Ok(Some(self.0.split_to(len).freeze()))
    }

    /// There are no more bytes.
    pub fn end(&self) -> Result<(), IndexError> {
        if self.0.is_empty() { Ok(()) } else { Err(IndexError::BrokenSnapshot) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_named_by_their_time() {
        assert_eq!(name_of(1_795_191_543_999), "2026-11-20T16-19-03Z");
    }

    #[test]
    fn chunks_come_out_whole_however_the_bytes_come() {
        let bytes = [&[2, 0, 0, 0, 7, 8, 0, 0, 0, 0, 1, 0, 0, 0, 9][..]].concat();
        for step in 1..bytes.len() {
            let (mut chunks, mut found) = (Chunks::default(), Vec::new());
            for part in bytes.chunks(step) {
                chunks.push(part);
                while let Some(chunk) = chunks.next().unwrap() {
                    found.push(chunk.to_vec());
                }
            }
            chunks.end().unwrap();
            assert_eq!(found, [vec![7, 8], vec![], vec![9]]);
        }
        let mut cut = Chunks::default();
        cut.push(&bytes[..5]);
        assert!(cut.next().unwrap().is_none() && cut.end().is_err());
    }
}
