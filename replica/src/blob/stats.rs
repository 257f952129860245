//! What a blob store has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobStats {
    /// Bytes written to files, footers included.
    pub bytes_written: u64,
    /// Verified bytes handed out.
    pub bytes_read: u64,
    /// Blobs finished.
    pub finished: u64,
    /// Blobs begun and not kept.
    pub discarded: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Blocks, footers and reads found bad.
    pub corrupt_blocks: u64,
    /// Bad copies replaced by good ones.
    pub repaired: u64,
    /// Blobs refused for lack of space.
    pub refused: u64,
    /// Followers dropped from an upload because they fell behind or failed.
    pub followers_dropped: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub bytes_written: AtomicU64,
    pub bytes_read: AtomicU64,
    pub finished: AtomicU64,
    pub discarded: AtomicU64,
    pub syncs: AtomicU64,
    pub corrupt_blocks: AtomicU64,
    pub repaired: AtomicU64,
    pub refused: AtomicU64,
    pub followers_dropped: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    pub fn snapshot(&self) -> BlobStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BlobStats {
            bytes_written: of(&self.bytes_written),
            bytes_read: of(&self.bytes_read),
            finished: of(&self.finished),
            discarded: of(&self.discarded),
            syncs: of(&self.syncs),
            corrupt_blocks: of(&self.corrupt_blocks),
            repaired: of(&self.repaired),
            refused: of(&self.refused),
            followers_dropped: of(&self.followers_dropped),
        }
    }
}
