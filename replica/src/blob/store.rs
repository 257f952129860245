//! The blobs of one node: where they lie, and what is known about them.
//!
//! ```text
//! DIR/<group>/<2 hex>/<32 hex>   finished blobs, by group and the first digits of the id
//! DIR/staging/<name>.part        blobs being written; removed when the store is opened
//! ```

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::seam::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::buffer::Buffers;
use super::error::{BlobError, Damage};
use super::format;
use super::lanes::Lanes;
use super::reader::{BlobReader, READ};
use super::stats::{BlobStats, Counters, count};
use super::writer::{BlobWriter, Purpose, RUN};
use crate::file::{Files, Open};

/// How a store behaves.
#[derive(Clone, Copy, Debug)]
pub struct BlobOptions {
    /// Bytes of the file system left to log and index: with less than that free, no new blob is begun and those under
    /// way fail. Never more than a twentieth of the file system.
    pub reserve: u64,
    /// Lanes for reading.
    pub read_lanes: usize,
    /// Lanes for writing.
    pub write_lanes: usize,
    /// Lanes for finishing blobs, which mostly wait for the device; concurrent syncs share its work.
    pub sync_lanes: usize,
}

impl Default for BlobOptions {
    fn default() -> Self {
        Self { reserve: 512 << 20, read_lanes: 4, write_lanes: 4, sync_lanes: 8 }
    }
}

/// A blob that is held, as a listing tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The blob.
    pub id: BlobId,
    /// Its bytes; `None` when the file's length is no blob's.
    pub len: Option<u64>,
    /// When this copy was written, Unix milliseconds, by the file system.
    pub stored_ms: u64,
}

/// The blobs of this node. Cheap to clone.
#[derive(Clone)]
pub struct BlobStore(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub files: Arc<dyn Files>,
    pub clock: Arc<dyn Clock>,
    pub dir: PathBuf,
    pub options: BlobOptions,
    pub reading: Lanes,
    pub writing: Lanes,
    pub syncing: Lanes,
    /// To read into.
    pub buffers: Arc<Buffers>,
    /// To write from.
    pub runs: Arc<Buffers>,
    pub counters: Counters,
    /// Tells the names in the staging directory apart.
    pub serial: AtomicU64,
    /// Set by the first failed sync, for good.
    pub failed: AtomicBool,
    /// Groups whose directories are there and durable. Held while they are made: nobody uses one before it is synced.
    pub prepared: Mutex<HashSet<GroupId>>,
    /// Blobs being written.
    pub claimed: Mutex<HashSet<(GroupId, BlobId)>>,
    /// Blobs whose copy was found bad and not replaced since.
    pub damaged: Mutex<BTreeSet<(GroupId, BlobId)>>,
    pub damage: Notify,
}

impl BlobStore {
    /// Opens the store in `dir`, making it if need be, and removes what a crash left unfinished.
    pub async fn open(files: Arc<dyn Files>, dir: PathBuf, clock: Arc<dyn Clock>) -> Result<Self, BlobError> {
        Self::open_with(files, dir, clock, BlobOptions::default()).await
    }

    /// As [`open`](Self::open), with options.
    pub async fn open_with(
        files: Arc<dyn Files>,
        dir: PathBuf,
        clock: Arc<dyn Clock>,
        options: BlobOptions,
    ) -> Result<Self, BlobError> {
        let shared = Arc::new(Shared {
            reading: Lanes::new(&*files, "blob-read", options.read_lanes),
            writing: Lanes::new(&*files, "blob-write", options.write_lanes),
            syncing: Lanes::new(&*files, "blob-sync", options.sync_lanes),
            buffers: Buffers::new(READ, 32),
            runs: Buffers::new(RUN, 16),
            files,
            clock,
            dir,
            options,
            counters: Counters::default(),
            serial: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            prepared: Mutex::default(),
            claimed: Mutex::default(),
            damaged: Mutex::default(),
            damage: Notify::new(),
        });
        let on_lane = shared.clone();
        shared
            .writing
            .run(move || on_lane.clean_up())
            .await
            .map_err(|e| BlobError::write("opening the blob store", e))?;
        Ok(Self(shared))
    }

    /// Begins a new blob.
    ///
    /// # Errors
    /// [`BlobError::NoSpace`] with less than the reserve free; [`BlobError::Exists`].
    pub async fn create(&self, group: GroupId, id: BlobId) -> Result<BlobWriter, BlobError> {
        let created_ms = self.0.clock.unix_millis();
        BlobWriter::create(&self.0, group, id, created_ms, Purpose::New).await
    }

    /// Begins a copy of a blob that another node wrote first, at `created_ms`.
    pub async fn create_copy(&self, group: GroupId, id: BlobId, created_ms: u64) -> Result<BlobWriter, BlobError> {
        BlobWriter::create(&self.0, group, id, created_ms, Purpose::New).await
    }

    /// Begins a good copy that, when finished, replaces what is here under this id.
    pub async fn replace(&self, group: GroupId, id: BlobId, created_ms: u64) -> Result<BlobWriter, BlobError> {
        BlobWriter::create(&self.0, group, id, created_ms, Purpose::Replace).await
    }

    /// Opens a blob for reading; `None` when it is not held here.
    ///
    /// # Errors
    /// [`BlobError::Corrupt`] when the footer does not verify or is another blob's; [`BlobError::Unreadable`].
    pub async fn open_blob(&self, group: GroupId, id: BlobId) -> Result<Option<BlobReader>, BlobError> {
        BlobReader::open(&self.0, group, id).await
    }

    /// Whether a finished blob is here, sound or not.
    pub async fn holds(&self, group: GroupId, id: BlobId) -> Result<bool, BlobError> {
        let shared = self.0.clone();
        self.0.reading.run(move || shared.is_there(group, id)).await.map_err(|source| BlobError::Unreadable {
            group,
            id,
            source,
        })
    }

    /// Removes a blob; fine when it is not here. Readers that have it open go on. Not synced: a power cut may bring it
    /// back, unreferenced.
    pub async fn remove(&self, group: GroupId, id: BlobId) -> Result<(), BlobError> {
        let shared = self.0.clone();
        let removed =
            self.0.writing.run(move || absent_is_fine(shared.files.remove_file(&shared.path(group, id)))).await;
        self.0.damaged.lock().remove(&(group, id));
        removed.map_err(|source| BlobError::write("removing a blob", source))
    }

    /// [`BlobError::NoSpace`] with less than the reserve free.
    pub fn check_space(&self) -> Result<(), BlobError> {
        self.0.check_space()
    }

    /// Bytes of the file system that it is on; 0 if that cannot be told.
    pub fn disk_total(&self) -> u64 {
        self.0.files.space(&self.0.dir).map_or(0, |space| space.total)
    }

    /// What is to stay free of a file system of so many bytes.
    pub fn reserve(&self, total: u64) -> u64 {
        self.0.options.reserve.min(total / 20)
    }

    /// Up to `limit` blobs of a group in the order of their ids, behind `after`. An empty page is the last one.
    pub async fn list(&self, group: GroupId, after: Option<BlobId>, limit: usize) -> Result<Vec<Held>, BlobError> {
        let shared = self.0.clone();
        let page = self.0.reading.run(move || shared.page(group, after, limit)).await;
        page.map_err(|source| BlobError::Io { doing: "listing blobs", source })
    }

    /// Reads a whole blob and checks every block; its length. `None` when it is not held here.
    pub async fn verify(&self, group: GroupId, id: BlobId) -> Result<Option<u64>, BlobError> {
        let Some(reader) = self.open_blob(group, id).await? else { return Ok(None) };
        reader.verify().await?;
        Ok(Some(reader.len()))
    }

    /// Removes all blobs of a group, which nobody writes to any more.
    pub async fn remove_group(&self, group: GroupId) -> Result<(), BlobError> {
        let shared = self.0.clone();
        let removed = self.0.writing.run(move || shared.drop_group(group)).await;
        self.0.damaged.lock().retain(|(of, _)| *of != group);
        removed.map_err(|source| BlobError::write("removing a group's blobs", source))
    }

    /// Blobs whose copy here was found bad and has been neither replaced nor removed since.
    pub fn damaged(&self) -> Vec<(GroupId, BlobId)> {
        self.0.damaged.lock().iter().copied().collect()
    }

    /// Waits until another bad copy is found; one waiter at a time.
    pub async fn damage_found(&self) {
        self.0.damage.notified().await;
    }

    /// A copy that was held to be bad was read again and is sound.
    pub(super) fn acquit(&self, group: GroupId, id: BlobId) {
        self.0.damaged.lock().remove(&(group, id));
    }

    /// Whether a sync has failed: the store takes no more writes and the process should end.
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Counters since the store was opened.
    pub fn stats(&self) -> BlobStats {
        self.0.counters.snapshot()
    }
}

impl Shared {
    fn group_dir(&self, group: GroupId) -> PathBuf {
        self.dir.join(group.to_string())
    }

    fn staging(&self) -> PathBuf {
        self.dir.join("staging")
    }

    pub fn path(&self, group: GroupId, id: BlobId) -> PathBuf {
        let name = id.to_string();
        self.group_dir(group).join(&name[..2]).join(name)
    }

    pub fn part_path(&self, group: GroupId, id: BlobId) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.staging().join(format!("{group}-{id}-{serial}.part"))
    }

    fn clean_up(&self) -> io::Result<()> {
        self.files.create_dir_all(&self.staging())?;
        // A process that ended early may have made it and not synced.
        self.sync_dir(self.dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        for entry in self.files.read_dir(&self.staging())? {
            self.files.remove_file(&self.staging().join(entry.name))?;
        }
        Ok(())
    }

    pub fn is_there(&self, group: GroupId, id: BlobId) -> io::Result<bool> {
        match self.files.open(&self.path(group, id), Open::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Refuses when less than the reserve is free.
    pub fn check_space(&self) -> Result<(), BlobError> {
        let space = self.files.space(&self.dir).map_err(|e| BlobError::write("asking for free space", e))?;
        if space.free < self.options.reserve.min(space.total / 20) {
            return Err(BlobError::NoSpace);
        }
        Ok(())
    }

    /// Makes a group's directories, durably, once. They may be there from a process that ended before syncing them.
    pub fn prepare(&self, group: GroupId) -> io::Result<()> {
        let mut prepared = self.prepared.lock();
        if prepared.contains(&group) {
            return Ok(());
        }
        let dir = self.group_dir(group);
        self.files.create_dir_all(&dir)?;
        for prefix in 0..=u8::MAX {
            self.files.create_dir(&dir.join(format!("{prefix:02x}")))?;
        }
        for dir in [&*dir, &*self.dir] {
            self.sync_dir(dir)?;
        }
        prepared.insert(group);
        Ok(())
    }

    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        count(&self.counters.syncs, 1);
        self.files.sync_dir(dir)
    }

    /// Takes note that a copy is bad.
    pub fn note_damage(&self, group: GroupId, id: BlobId, damage: &dyn std::fmt::Display) {
        count(&self.counters.corrupt_blocks, 1);
        if self.damaged.lock().insert((group, id)) {
            tracing::error!(%group, blob = %id, %damage, "the copy of a blob on this node is bad");
        }
        self.damage.notify_one();
    }

    pub fn corrupt(&self, group: GroupId, id: BlobId, damage: Damage) -> BlobError {
        self.note_damage(group, id, &damage);
        BlobError::Corrupt { group, id, damage }
    }

    pub fn unreadable(&self, group: GroupId, id: BlobId, source: io::Error) -> BlobError {
        self.note_damage(group, id, &source);
        BlobError::Unreadable { group, id, source }
    }

    fn page(&self, group: GroupId, after: Option<BlobId>, limit: usize) -> io::Result<Vec<Held>> {
        let mut page = Vec::new();
        let first = after.map_or(0, |after| (after.0 >> 120) as u8);
        for prefix in first..=u8::MAX {
            for entry in self.entries(&self.group_dir(group).join(format!("{prefix:02x}")))? {
                let Ok(id) = entry.name.parse::<BlobId>() else { continue };
                if after.is_none_or(|after| id > after) {
                    page.push(Held { id, len: format::len_in(entry.len), stored_ms: entry.modified_ms });
                }
                if page.len() >= limit {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    fn entries(&self, dir: &Path) -> io::Result<Vec<crate::file::DirEntry>> {
        match self.files.read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries,
        }
    }

    fn drop_group(&self, group: GroupId) -> io::Result<()> {
        let mut prepared = self.prepared.lock();
        prepared.remove(&group);
        let dir = self.group_dir(group);
        for prefix in self.entries(&dir)? {
            let prefix = dir.join(prefix.name);
            for entry in self.entries(&prefix)? {
                absent_is_fine(self.files.remove_file(&prefix.join(entry.name)))?;
            }
            absent_is_fine(self.files.remove_dir(&prefix))?;
        }
        absent_is_fine(self.files.remove_dir(&dir))?;
        self.sync_dir(&self.dir)
    }
}

pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
