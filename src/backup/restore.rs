//! Restoring a backup into an empty data directory: the first node of a new cluster. Everything is verified: the seal of
//! every file, the length of every blob, and that none is missing.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use holdfast_replica::file::Files;
use holdfast_replica::index::engine::{Lsm, LsmOptions};
use holdfast_replica::index::transplant;
use holdfast_replica::node::{NodeConfig, Restore};
use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::seam::Seams;
use indicatif::ProgressBar;
use serde::Serialize;

use super::create::Chunks;
use super::manifest::{self, Manifest};
use super::seal::Sealed;
use super::store::Store;
use super::{BackupError, progress};
use crate::lock::DataLock;

/// Blobs under way at once.
const PARALLEL: usize = 4;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The backup.
    pub name: String,
    /// The cluster that it was made of.
    pub from_cluster: String,
    /// Groups.
    pub groups: u64,
    /// Large objects' bytes: how many pieces, each verified.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
}

/// Restores the backup `name`, or the newest, into the directory that `config` names.
pub async fn restore(
    store: &dyn Store,
    name: Option<&str>,
    config: NodeConfig,
    seams: &Seams,
    files: Arc<dyn Files>,
) -> Result<Restored, BackupError> {
    manifest::check(store, false).await?;
    let manifest = match name {
        Some(name) => Manifest::load(store, name).await?,
        None => manifest::list(store).await?.pop().ok_or_else(|| BackupError::Empty(store.url().to_owned()))?,
    };
    let _lock = DataLock::take(&*files, &config.data)?;
    let path = config.data.join("index");
    let engine = Lsm::open(&path, LsmOptions::default()).map_err(|source| BackupError::Index { path, source })?;
    let mut restore = Restore::begin(config, seams, files, Arc::new(engine)).await?;

    let (blob_count, blob_bytes) = manifest.blobs();
    let bar = progress::bar("rows", manifest.groups.iter().map(|group| group.rows_bytes).sum());
    let mut groups = manifest.groups.clone();
    // Root comes first: it says who the new node is.
    groups.sort_by_key(|group| group.id);
    let mut wanted = Vec::new();
    for group in &groups {
        let blobs = rows(store, &manifest.name, group.id, &mut restore, &bar).await?;
        wanted.extend(blobs.into_iter().map(|(blob, len)| (GroupId(group.id), blob, len)));
    }
    bar.finish_and_clear();
    let bar = progress::bar("blobs", blob_bytes);
    let (into, created_ms) = (&restore, manifest.created_ms);
    let copies = wanted.iter().map(|(group, id, len)| blob(store, into, *group, *id, *len, created_ms, &bar));
    futures::stream::iter(copies).buffer_unordered(PARALLEL).try_collect::<()>().await?;
    bar.finish_and_clear();
    let blobs = restore.finish().await?;
    debug_assert_eq!(blobs, blob_count);
    let Manifest { name, cluster, .. } = manifest;
    Ok(Restored { name, from_cluster: cluster, groups: groups.len() as u64, blobs, blob_bytes })
}

async fn open(store: &dyn Store, name: String) -> Result<Sealed, BackupError> {
    match store.read(&name).await? {
        Some(stream) => Ok(Sealed::new(name, stream)),
        None => Err(BackupError::Damaged { name }),
    }
}

/// Restores a group's rows; what they name.
async fn rows(
    store: &dyn Store,
    name: &str,
    id: u32,
    restore: &mut Restore,
    bar: &ProgressBar,
) -> Result<Vec<(BlobId, u64)>, BackupError> {
    let mut file = open(store, manifest::group_path(name, id)).await?;
    let (mut chunks, mut blobs) = (Chunks::default(), Vec::new());
    let wrong = |source| BackupError::Rows { group: id, source };
    restore.begin_group(GroupId(id))?;
    while let Some(bytes) = file.next().await? {
        bar.inc(bytes.len() as u64);
        chunks.push(&bytes);
        while let Some(chunk) = chunks.next().map_err(wrong)? {
            blobs.extend(transplant::blobs(&chunk).map_err(wrong)?);
            restore.push(chunk)?;
        }
    }
    chunks.end().map_err(wrong)?;
    restore.end_group().await?;
    Ok(blobs)
}

async fn blob(
    store: &dyn Store,
    restore: &Restore,
    group: GroupId,
    id: BlobId,
    len: u64,
    created_ms: u64,
    bar: &ProgressBar,
) -> Result<(), BackupError> {
    let mut file = open(store, manifest::blob_path(&id.to_string())).await?;
    let mut found = 0;
    let mut writer = restore.create_blob(group, id, created_ms).await?;
    // Dropped before its end, the writer keeps nothing.
    while let Some(bytes) = file.next().await? {
        bar.inc(bytes.len() as u64);
        found += bytes.len() as u64;
        writer.write(bytes).await.map_err(holdfast_replica::node::RestoreError::from)?;
    }
    if found != len {
        return Err(BackupError::Length { group: group.0, blob: id.to_string(), found, wanted: len });
    }
    writer.finish().await.map_err(holdfast_replica::node::RestoreError::from)?;
    Ok(())
}
