//! Writing one blob: staged while it arrives, under its name only when every byte is on disk.
//!
//! At most two batches of [`BATCH`] bytes are held: one on its way to the lane, one filling up meanwhile. The lane joins
//! them to runs of [`RUN`] bytes and writes these past the page cache, which spares a copy into memory that has to be
//! found for it, and the pages of log and index their place there. What is left at the end, all of a small blob, goes
//! through the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_wire::id::{BlobId, GroupId};

use super::buffer::Buffer;
use super::error::{BlobError, Damage};
use super::format::Summing;
use super::stats::count;
use super::store::{Shared, absent_is_fine};
use crate::file::{File, Open, is_full};
use holdfast_wire::planted::Fault;

/// Bytes that make a trip to a lane worth it.
pub const BATCH: usize = 256 << 10;
/// Bytes that are written at once: a multiple of [`ALIGNED`](crate::file::ALIGNED).
pub const RUN: usize = 512 << 10;
/// Chunks up to this size are copied together, so that none keeps a buffer of the transport's for a few bytes.
const SMALL: usize = 16 << 10;
/// Free space is looked at after so many bytes and, where they are in the cache, the device is given them.
const WRITEBACK: u64 = 2 << 20;

/// What a writer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A blob that must not be here yet.
    New,
    /// Whatever is here under the id is to be replaced.
    Replace,
}

/// A blob being written. Dropped before [`finish`](Self::finish), it was never there.
pub struct BlobWriter {
    shared: Arc<Shared>,
    group: GroupId,
    id: BlobId,
    created_ms: u64,
    purpose: Purpose,
    part: PathBuf,
    /// Taken by the job that finishes the blob.
    claim: Option<Claim>,
    batch: Batch,
    /// `None` while a job has it.
    file: Option<Staged>,
    job: Option<BoxFuture<'static, (Staged, Result<(), BlobError>)>>,
    broken: bool,
}

/// Chunks that are written together.
#[derive(Default)]
struct Batch {
    chunks: Vec<Bytes>,
    /// Small chunks joined, behind `chunks`.
    tail: BytesMut,
    len: usize,
}

impl Batch {
    fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if chunk.len() <= SMALL {
            self.tail.extend_from_slice(&chunk);
        } else {
            self.close_tail();
            self.chunks.push(chunk);
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push(self.tail.split().freeze());
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.close_tail();
        self.len = 0;
        std::mem::take(&mut self.chunks)
    }
}

/// The staged file and what is known of its bytes.
struct Staged {
    file: Arc<dyn File>,
    /// Of all bytes taken.
    sums: Summing,
    /// The last bytes taken, which are not written yet.
    run: Option<Buffer>,
    filled: usize,
    /// The device was given everything below.
    begun: u64,
}

impl Staged {
    fn write(&mut self, shared: &Shared, chunks: Vec<Bytes>) -> Result<(), BlobError> {
        for mut chunk in chunks {
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(RUN - self.filled));
                let run = self.run.get_or_insert_with(|| shared.runs.take(RUN)).bytes_mut();
                run[self.filled..][..piece.len()].copy_from_slice(&piece);
                self.sums.update(&piece);
                self.filled += piece.len();
                if self.filled == RUN {
                    self.write_run(shared)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is joined.
    fn write_run(&mut self, shared: &Shared) -> Result<(), BlobError> {
        let Some(run) = &self.run else { return Ok(()) };
        let (bytes, offset) = (&run.as_ref()[..self.filled], self.sums.len() - self.filled as u64);
        match bytes.len() {
            RUN => self.file.write_direct_at(bytes, offset),
            _ => self.file.write_all_at(bytes, offset),
        }
        .map_err(|e| BlobError::write("writing a blob", e))?;
        count(&shared.counters.bytes_written, bytes.len() as u64);
        self.filled = 0;
        let unbegun = self.sums.len() - self.begun;
        if unbegun >= WRITEBACK {
            shared.check_space()?;
            self.file.start_writeback(self.begun, unbegun).map_err(|e| BlobError::write("writing a blob", e))?;
            self.begun = self.sums.len();
        }
        Ok(())
    }
}

/// The right to write a blob: one writer an id.
struct Claim {
    shared: Arc<Shared>,
    of: (GroupId, BlobId),
}

impl Claim {
    fn new(shared: &Arc<Shared>, group: GroupId, id: BlobId) -> Result<Self, BlobError> {
        if !shared.claimed.lock().insert((group, id)) {
            return Err(BlobError::Exists { group, id });
        }
        Ok(Self { shared: shared.clone(), of: (group, id) })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.claimed.lock().remove(&self.of);
    }
}

impl BlobWriter {
    pub(super) async fn create(
        shared: &Arc<Shared>,
        group: GroupId,
        id: BlobId,
        created_ms: u64,
        purpose: Purpose,
    ) -> Result<Self, BlobError> {
        let claim = Claim::new(shared, group, id)?;
        let part = shared.part_path(group, id);
        let (on_lane, path) = (shared.clone(), part.clone());
        let opened = shared.writing.run(move || stage(&on_lane, &path, group, id, purpose)).await;
        if matches!(opened, Err(BlobError::NoSpace)) {
            count(&shared.counters.refused, 1);
        }
        Ok(Self {
            shared: shared.clone(),
            group,
            id,
            created_ms,
            purpose,
            part,
            claim: Some(claim),
            batch: Batch::default(),
            file: Some(Staged { file: opened?, sums: Summing::new(id), run: None, filled: 0, begun: 0 }),
            job: None,
            broken: false,
        })
    }

    /// When the blob was first written, Unix milliseconds.
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// Takes the next bytes. Returns when there is room for more, which is not when they are on disk.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        self.ready().await?;
        self.push(chunk);
        Ok(())
    }

    /// Whether there is room for the next bytes.
    pub fn has_room(&self) -> bool {
        self.batch.len < BATCH
    }

    /// Waits for room. May be dropped and asked again.
    pub async fn ready(&mut self) -> Result<(), BlobError> {
        while !self.has_room() {
            self.settle().await?;
            self.begin_write();
        }
        Ok(())
    }

    /// Takes the next bytes without waiting: to be called when [`ready`](Self::ready) has returned.
    pub fn push(&mut self, chunk: Bytes) {
        self.batch.push(chunk);
        if self.batch.len >= BATCH {
            self.begin_write();
        }
    }

    /// Writes what is left and the footer, syncs, gives the blob its name and syncs that. Returns the blob's length
    /// when all of it is on disk. After an error nothing was kept. Dropped half-way, the blob may be kept.
    pub async fn finish(self) -> Result<u64, BlobError> {
        self.finish_as(None).await
    }

    /// As [`finish`](Self::finish), if the blocks' checksums are those of `table`; [`Damage::Differs`] otherwise.
    pub async fn finish_matching(self, table: Vec<u8>) -> Result<u64, BlobError> {
        self.finish_as(Some(table)).await
    }

    async fn finish_as(mut self, expected: Option<Vec<u8>>) -> Result<u64, BlobError> {
        self.settle().await?;
        let staged = self.file.take().expect("no job is under way");
        let finishing = Finishing {
            shared: self.shared.clone(),
            group: self.group,
            id: self.id,
            created_ms: self.created_ms,
            purpose: self.purpose,
            part: self.part.clone(),
            _claim: self.claim.take(),
            staged,
            left: self.batch.take(),
            expected,
        };
        let finished = self.shared.syncing.run(move || finishing.run()).await;
        if finished.is_ok() {
            self.part.clear();
        }
        finished
    }

    /// Waits for the job under way.
    async fn settle(&mut self) -> Result<(), BlobError> {
        if let Some(job) = &mut self.job {
            let (staged, written) = job.await;
            self.job = None;
            self.file = Some(staged);
            self.broken |= written.is_err();
            written?;
        }
        if self.broken {
            return Err(BlobError::Io { doing: "writing a blob", source: io::ErrorKind::BrokenPipe.into() });
        }
        Ok(())
    }

    /// Sends the batch on its way, unless one is under way.
    fn begin_write(&mut self) {
        if self.broken {
            return;
        }
        let Some(mut staged) = self.file.take() else { return };
        let (shared, chunks) = (self.shared.clone(), self.batch.take());
        let mut job = async move {
            let on_lane = shared.clone();
            let work = move || {
                let written = staged.write(&on_lane, chunks);
                (staged, written)
            };
            shared.writing.run(work).await
        }
        .boxed();
        // Asked once, so that the work begins now.
        match (&mut job).now_or_never() {
            Some(done) => self.job = Some(futures::future::ready(done).boxed()),
            None => self.job = Some(job),
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.part.as_os_str().is_empty() {
            return;
        }
        count(&self.shared.counters.discarded, 1);
        let (shared, part) = (self.shared.clone(), std::mem::take(&mut self.part));
        let on_lane = shared.clone();
        let removing = shared.writing.run(move || {
            if let Err(error) = absent_is_fine(on_lane.files.remove_file(&part)) {
                tracing::warn!(%error, part = %part.display(), "a staged blob could not be removed");
            }
        });
        // Asked once: the lane does the rest, nobody needs to wait for it.
        let _: Option<()> = removing.now_or_never();
    }
}

fn stage(
    shared: &Shared,
    part: &Path,
    group: GroupId,
    id: BlobId,
    purpose: Purpose,
) -> Result<Arc<dyn File>, BlobError> {
    if shared.failed.load(Ordering::Relaxed) {
        return Err(BlobError::SyncFailed);
    }
    shared.check_space()?;
    if purpose == Purpose::New && shared.is_there(group, id).map_err(|e| BlobError::write("looking for a blob", e))? {
        return Err(BlobError::Exists { group, id });
    }
    shared.files.open(part, Open::Create).map_err(|e| BlobError::write("beginning a blob", e))
}

/// All that makes a staged blob a blob. Its steps are in order, on one lane, and are not stopped half-way.
struct Finishing {
    shared: Arc<Shared>,
    group: GroupId,
    id: BlobId,
    created_ms: u64,
    purpose: Purpose,
    part: PathBuf,
    _claim: Option<Claim>,
    staged: Staged,
    left: Vec<Bytes>,
    expected: Option<Vec<u8>>,
}

impl Finishing {
    fn run(mut self) -> Result<u64, BlobError> {
        self.staged.write(&self.shared, std::mem::take(&mut self.left))?;
        self.staged.write_run(&self.shared)?;
        let Self { shared, group, id, staged, .. } = self;
        let Staged { file, sums, .. } = staged;
        let len = sums.len();
        let footer = sums.footer(group, self.created_ms);
        if self.expected.is_some_and(|expected| expected != footer.table()) {
            return Err(BlobError::Corrupt { group, id, damage: Damage::Differs });
        }
        file.write_all_at(footer.bytes(), len).map_err(|e| BlobError::write("writing a blob", e))?;
        count(&shared.counters.bytes_written, footer.bytes().len() as u64);
        count(&shared.counters.syncs, 1);
        if !Fault::BlobUnsynced.is_planted() {
            synced(&shared, file.sync_data())?;
        }

        synced(&shared, shared.prepare(group))?;
        let path = shared.path(group, id);
        shared.files.rename(&self.part, &path).map_err(|e| BlobError::write("naming a blob", e))?;
        let named = match Fault::NameUnsynced.is_planted() {
            true => Ok(()),
            false => synced(&shared, shared.sync_dir(path.parent().expect("blobs lie in directories"))),
        };
        if let Err(error) = named {
            // Unknown whether it would outlive a power cut; nobody was told that it is here.
            drop(shared.files.remove_file(&path));
            return Err(error);
        }
        if self.purpose == Purpose::Replace && shared.damaged.lock().remove(&(group, id)) {
            count(&shared.counters.repaired, 1);
        }
        count(&shared.counters.finished, 1);
        Ok(len)
    }
}

/// A failed sync is not tried again: what it did not write may be lost and counted as written.
fn synced(shared: &Shared, result: io::Result<()>) -> Result<(), BlobError> {
    result.map_err(|error| {
        if is_full(error.kind()) {
            return BlobError::NoSpace;
        }
        tracing::error!(%error, "a sync of the blob store failed");
        shared.failed.store(true, Ordering::Relaxed);
        BlobError::SyncFailed
    })
}
