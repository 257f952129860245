//! What a backup is made of.

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::store::Store;
use super::{BackupError, FORMAT};

/// The version of manifests that this program writes and reads.
pub const VERSION: u32 = 1;
const MARKER: &str = "holdfast-backup";

/// A backup. Fields are added, never removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    pub format: u32,
    /// Its name: when it was begun, UTC.
    pub name: String,
    /// The cluster, 32 hexadecimal digits.
    pub cluster: String,
    /// The version of the program that made it.
    pub version: String,
    /// When it was begun, Unix milliseconds.
    pub created_ms: u64,
    /// The cuts, in the order in which they were made: root last.
    pub groups: Vec<Group>,
    /// Large objects' bytes that were copied for this backup; the others were there from earlier ones.
    pub copied_blobs: u64,
    /// Their bytes.
    pub copied_bytes: u64,
}

/// One group's cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The group; 0 is root.
    pub id: u32,
    /// The log index of which its rows are.
    pub index: u64,
    /// Bytes of its rows, inline bodies included.
    pub rows_bytes: u64,
    /// Blobs that its rows name.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
}

impl Manifest {
    /// Blobs of all groups, and their bytes.
    pub fn blobs(&self) -> (u64, u64) {
        self.groups.iter().fold((0, 0), |(count, bytes), group| (count + group.blobs, bytes + group.blob_bytes))
    }

    fn path(name: &str) -> String {
        format!("backups/{name}/manifest.json")
    }

    /// Writes it: from now on there is a backup of its name.
    pub async fn save(&self, store: &dyn Store) -> Result<(), BackupError> {
        let bytes = serde_json::to_vec_pretty(self).expect("a manifest is always serializable");
        let mut writer = store.create(&Self::path(&self.name)).await?;
        writer.write(bytes.into()).await?;
        Ok(writer.finish().await?)
    }

    /// The manifest of this name.
    pub async fn load(store: &dyn Store, name: &str) -> Result<Self, BackupError> {
        let path = Self::path(name);
        let bytes = whole(store, &path).await?.ok_or_else(|| BackupError::NoSuchBackup(name.to_owned()))?;
        let manifest: Option<Self> = serde_json::from_slice(&bytes).ok();
        manifest.filter(|it| it.format == VERSION).ok_or(BackupError::Manifest { name: path })
    }
}

/// The names of a group's rows and of a blob.
pub fn group_path(name: &str, group: u32) -> String {
    format!("backups/{name}/group-{group}")
}

/// See [`group_path`].
pub fn blob_path(blob: &str) -> String {
    format!("blobs/{}/{blob}", &blob[..2])
}

async fn whole(store: &dyn Store, name: &str) -> Result<Option<Vec<u8>>, BackupError> {
    let Some(stream) = store.read(name).await? else { return Ok(None) };
    let chunks: Vec<_> = stream.try_collect().await?;
    Ok(Some(chunks.concat()))
}

/// Makes sure that backups of this format are kept here; `make` marks an unmarked place.
pub async fn check(store: &dyn Store, make: bool) -> Result<(), BackupError> {
    match whole(store, MARKER).await? {
        Some(found) if found == FORMAT => Ok(()),
        Some(_) => Err(BackupError::OtherFormat(store.url().to_owned())),
        None if make => {
            let mut writer = store.create(MARKER).await?;
            writer.write(bytes::Bytes::from_static(FORMAT)).await?;
            Ok(writer.finish().await?)
        }
        None => Err(BackupError::Empty(store.url().to_owned())),
    }
}

/// All backups, oldest first.
pub async fn list(store: &dyn Store) -> Result<Vec<Manifest>, BackupError> {
    check(store, false).await?;
    let mut manifests = Vec::new();
    for (path, _) in store.list("backups/").await? {
        if let Some(name) = path.strip_prefix("backups/").and_then(|path| path.strip_suffix("/manifest.json")) {
            manifests.push(Manifest::load(store, name).await?);
        }
    }
    manifests.sort_by_key(|manifest| manifest.created_ms);
    Ok(manifests)
}
