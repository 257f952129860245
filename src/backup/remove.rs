//! Old backups go: first their manifests, then their rows, then every blob that no backup names any more.
//!
//! A backup that is being made has rows and no manifest yet, and counts on blobs that are there. So nothing is removed
//! while there is one, and none gets further than its rows while something is removed: whoever removes leaves a mark
//! before it looks for rows without a manifest, and whoever makes one looks for the mark after its rows are written. At
//! least one of the two sees the other, and gives way.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt};
use holdfast_replica::index::transplant;
use serde::Serialize;

use super::create::Chunks;
use super::manifest::{self, Manifest};
use super::seal::Sealed;
use super::store::Store;
use super::{BackupError, progress};

/// There while something is removed.
const MARK: &str = "removing";
/// Files removed at once.
const PARALLEL: usize = 8;

/// What is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choose {
    /// These backups, or what was left of ones that were broken off.
    Named(Vec<String>),
    /// All but so many of the newest.
    AllBut(usize),
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The backups.
    pub backups: Vec<String>,
    /// Blobs that no backup names any more.
    pub blobs: u64,
    /// Their bytes in the place, seals included.
    pub bytes: u64,
}

/// Removes what is chosen, and all blobs that nothing names then.
///
/// # Errors
/// [`BackupError::Unfinished`] while another backup is being made; nothing was removed then.
pub async fn remove(store: &dyn Store, choose: &Choose) -> Result<Removed, BackupError> {
    manifest::check(store, false).await?;
    mark(store).await?;
    let removed = under_mark(store, choose).await;
    store.remove(MARK).await?;
    removed
}

/// Whether something is being removed: then no backup may count on what it finds.
pub async fn is_under_way(store: &dyn Store) -> Result<bool, BackupError> {
    Ok(store.read(MARK).await?.is_some())
}

async fn mark(store: &dyn Store) -> Result<(), BackupError> {
    let mut writer = store.create(MARK).await?;
    writer.write(bytes::Bytes::from_static(b"old backups are being removed\n")).await?;
    Ok(writer.finish().await?)
}

async fn under_mark(store: &dyn Store, choose: &Choose) -> Result<Removed, BackupError> {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, _) in store.list("backups/").await? {
        if let Some((name, _)) = path.strip_prefix("backups/").and_then(|rest| rest.split_once('/')) {
            files.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    let manifests = manifest::list(store).await?;
    let go: BTreeSet<String> = match choose {
        Choose::Named(names) => {
            if let Some(unknown) = names.iter().find(|name| !files.contains_key(*name)) {
                return Err(BackupError::NoSuchBackup(unknown.clone()));
            }
            names.iter().cloned().collect()
        }
        Choose::AllBut(keep) => {
            let old = manifests.len().saturating_sub(*keep);
            manifests[..old].iter().map(|manifest| manifest.name.clone()).collect()
        }
    };
    let whole = |name: &str| manifests.iter().any(|manifest| manifest.name == name);
    if let Some(unfinished) = files.keys().find(|name| !whole(name) && !go.contains(*name)) {
        return Err(BackupError::Unfinished(unfinished.clone()));
    }
    // What stays is read before anything goes: damaged rows would make blobs look as if nobody named them.
    let stays: Vec<&Manifest> = manifests.iter().filter(|manifest| !go.contains(&manifest.name)).collect();
    let named = named(store, &stays).await?;
    for name in &go {
        let mut paths = files.remove(name).unwrap_or_default();
        // The manifest first: a backup is whole or it is not there.
        paths.sort_by_key(|path| !path.ends_with("/manifest.json"));
        for path in paths {
            store.remove(&path).await?;
        }
    }
    let blobs = store.list("blobs/").await?;
    let orphans: Vec<_> = blobs.into_iter().filter(|(path, _)| !named.contains(path)).collect();
    let bytes = orphans.iter().map(|(_, len)| len).sum();
    let bar = progress::bar("removing", bytes);
    let removing = orphans.iter().map(async |(path, len)| {
        store.remove(path).await?;
        bar.inc(*len);
        Ok::<_, BackupError>(())
    });
    futures::stream::iter(removing).buffer_unordered(PARALLEL).try_collect::<()>().await?;
    bar.finish_and_clear();
    Ok(Removed { backups: go.into_iter().collect(), blobs: orphans.len() as u64, bytes })
}

/// The paths of all blobs that these backups name.
async fn named(store: &dyn Store, manifests: &[&Manifest]) -> Result<HashSet<String>, BackupError> {
    let groups = || manifests.iter().flat_map(|manifest| manifest.groups.iter().map(|group| (&manifest.name, group)));
    let bar = progress::bar("rows", groups().map(|(_, group)| group.rows_bytes).sum());
    let mut named = HashSet::new();
    for (name, group) in groups() {
        let path = manifest::group_path(name, group.id);
        let stream = store.read(&path).await?.ok_or_else(|| BackupError::Damaged { name: path.clone() })?;
        let (mut file, mut chunks) = (Sealed::new(path, stream), Chunks::default());
        let wrong = |source| BackupError::Rows { group: group.id, source };
        while let Some(bytes) = file.next().await? {
            bar.inc(bytes.len() as u64);
            chunks.push(&bytes);
            while let Some(chunk) = chunks.next().map_err(wrong)? {
                let blobs = transplant::blobs(&chunk).map_err(wrong)?;
                named.extend(blobs.iter().map(|(blob, _)| manifest::blob_path(&blob.to_string())));
            }
        }
        chunks.end().map_err(wrong)?;
    }
    bar.finish_and_clear();
    Ok(named)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_replica::file::{Files, RealFiles};

    use super::super::directory::Directory;
    use super::super::seal::Seal;
    use super::*;

    async fn put(store: &dyn Store, name: &str, bytes: Vec<u8>) {
        let mut writer = store.create(name).await.unwrap();
        writer.write(bytes.into()).await.unwrap();
        writer.finish().await.unwrap();
    }

    /// A backup without rows, so that it names no blob.
    async fn backup(store: &dyn Store, name: &str, created_ms: u64) {
        let group = manifest::Group { id: 0, index: 1, rows_bytes: 0, blobs: 0, blob_bytes: 0 };
        put(store, &manifest::group_path(name, 0), Seal::default().trailer().to_vec()).await;
        let manifest = Manifest {
            format: manifest::VERSION,
            name: name.to_owned(),
            cluster: "c".to_owned(),
            version: "0".to_owned(),
            created_ms,
            groups: vec![group],
            copied_blobs: 0,
            copied_bytes: 0,
        };
        manifest.save(store).await.unwrap();
    }

    async fn names(store: &dyn Store) -> Vec<String> {
        manifest::list(store).await.unwrap().into_iter().map(|manifest| manifest.name).collect()
    }

    #[tokio::test]
    async fn old_ones_go_and_one_that_is_being_made_is_left_in_peace() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::new(dir.path().to_str().unwrap(), Arc::new(RealFiles));
        assert!(matches!(remove(&store, &Choose::AllBut(1)).await, Err(BackupError::Empty(_))));
        manifest::check(&store, true).await.unwrap();
        for (at, name) in ["one", "two", "three"].into_iter().enumerate() {
            backup(&store, name, at as u64).await;
        }
        put(&store, "blobs/ab/abcd", vec![0; 10]).await;
        // Rows and no manifest: it may count on that blob.
        put(&store, &manifest::group_path("four", 0), vec![]).await;
        let refused = remove(&store, &Choose::AllBut(1)).await.unwrap_err();
        assert!(matches!(&refused, BackupError::Unfinished(name) if name == "four"), "{refused}");
        assert!(!is_under_way(&store).await.unwrap());
        assert_eq!(names(&store).await.len(), 3);
        assert!(store.read("blobs/ab/abcd").await.unwrap().is_some());

        let gone = remove(&store, &Choose::Named(vec!["four".to_owned(), "two".to_owned()])).await.unwrap();
        assert_eq!((gone.backups, gone.blobs, gone.bytes), (vec!["four".to_owned(), "two".to_owned()], 1, 10));
        assert_eq!(names(&store).await, ["one", "three"]);
        let none = remove(&store, &Choose::Named(vec!["two".to_owned()])).await.unwrap_err();
        assert!(matches!(none, BackupError::NoSuchBackup(_)));
        assert_eq!(remove(&store, &Choose::AllBut(1)).await.unwrap().backups, ["one"]);
        assert_eq!(remove(&store, &Choose::AllBut(1)).await.unwrap(), Removed::default());
        // Damaged rows of what stays stop everything.
        put(&store, &manifest::group_path("three", 0), vec![7; 60]).await;
        put(&store, "blobs/ab/abce", vec![0; 10]).await;
        let damaged = remove(&store, &Choose::AllBut(1)).await.unwrap_err();
        assert!(matches!(damaged, BackupError::Damaged { .. } | BackupError::Rows { .. }), "{damaged}");
        assert!(RealFiles.open(&dir.path().join("blobs/ab/abce"), holdfast_replica::file::Open::Read).is_ok());
    }
}
