//! The embedded engine: one log-structured merge tree per node for records and inline bodies alike (larger values are kept
//! apart from their keys, so that compaction does not rewrite them), and no journal of its own: the raft log is one.
//!
//! What is written is in memory until a buffer is full; then the buffer as a whole becomes tables on disk, in one step.
//! Buffers are changed between batches only and reach the disk in order, so that after a crash the tree is a prefix of
//! the batches, and the log has the rest.
//!
//! Views see whole batches: the number up to which a view sees (`visible`) moves only behind a finished batch. The tree's own
//! idea of it is not used: a flush moves that one on while a batch is being written.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the engine opens its files itself")]

mod pins;
mod stored;
mod upkeep;

use std::fs::TryLockError;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lsm_tree::config::CompressionPolicy;
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, Guard, InternalValue, KvSeparationOptions,
    SequenceNumberCounter, ValueType,
};
use parking_lot::Mutex;

use self::pins::{Pin, Pins};
use self::upkeep::{Upkeep, Wait};
use super::{Durability, Engine, EngineError, EngineStats, Mutation, Row, Space, Stored, View, behind};

/// Keys that `clear` removes in one batch.
const CLEAR_BATCH: usize = 4096;
/// Values from this size on are kept apart from their keys, bytes.
const SEPARATE_FROM: u32 = 1024;

/// What the engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsmOptions {
    /// Block cache of all groups, bytes.
    pub cache_bytes: u64,
    /// The write buffer, bytes; up to three more wait to be flushed, and as many to be released.
    pub buffer_bytes: u64,
}

impl Default for LsmOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, buffer_bytes: 8 << 20 }
    }
}

/// The embedded engine.
pub struct Lsm {
    shared: Arc<Shared>,
    upkeep: Upkeep,
    buffer_bytes: u64,
    /// Held for as long as the tree is open.
    _lock: std::fs::File,
}

/// What the engine and its threads have in common.
struct Shared {
    tree: AnyTree,
    cache: Arc<Cache>,
    /// Numbers of batches and of the tree's versions.
    numbers: SequenceNumberCounter,
    /// Views see batches below this number. Moved by who holds `writer`.
    visible: AtomicU64,
    /// Bytes of batches that are in memory.
    buffered: AtomicU64,
    /// Held while a batch goes in and while buffers are changed.
    writer: Mutex<()>,
    pins: Arc<Pins>,
}

impl Shared {
    /// A view of this moment.
    fn pin(&self) -> Pin {
        self.pins.pin(|| self.visible.load(Ordering::Acquire))
    }

    /// Versions of rows that are older than this, and not the newest, are seen by no view, now or later.
    fn watermark(&self) -> u64 {
        self.pins.lowest(|| self.visible.load(Ordering::Acquire)).saturating_sub(1)
    }
}

impl From<lsm_tree::Error> for EngineError {
    fn from(error: lsm_tree::Error) -> Self {
        Self(Box::new(error))
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        Self(Box::new(error))
    }
}

impl Lsm {
    /// Opens the tree in `directory`, or makes one there. Another process (or engine of this one) that has it open is
    /// an error.
    pub fn open(directory: &Path, options: LsmOptions) -> Result<Self, EngineError> {
        std::fs::create_dir_all(directory)?;
        let lock = std::fs::File::create(directory.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "the index is open elsewhere"),
            TryLockError::Error(error) => error,
        })?;
        let cache = Arc::new(Cache::with_capacity_bytes(options.cache_bytes));
        let numbers = SequenceNumberCounter::default();
        // Values that are kept apart are bodies, most of which do not compress. Tables of the first levels are soon merged.
        let separation =
            KvSeparationOptions::default().separation_threshold(SEPARATE_FROM).compression(CompressionType::None);
        let tree = Config::new(directory.join("tree"), numbers.clone(), SequenceNumberCounter::default())
            .use_cache(cache.clone())
            .data_block_compression_policy(CompressionPolicy::new([
                CompressionType::None,
                CompressionType::None,
                CompressionType::Lz4,
            ]))
            .with_kv_separation(Some(separation))
            .open()?;
        // Above every number in the tree, and above 0, at which nothing is seen.
        numbers.fetch_max(tree.get_highest_seqno().map_or(1, |highest| highest + 1));
        let visible = AtomicU64::new(numbers.get());
        let shared = Arc::new(Shared {
            tree,
            cache,
            numbers,
            visible,
            buffered: AtomicU64::new(0),
            writer: Mutex::default(),
            pins: Arc::new(Pins::default()),
        });
        let upkeep = Upkeep::start(shared.clone())?;
        Ok(Self { shared, upkeep, buffer_bytes: options.buffer_bytes.max(64 << 10), _lock: lock })
    }

    /// Whether there is a tree in `directory`.
    pub fn exists(directory: &Path) -> bool {
        directory.join("tree").exists()
    }

    /// Removes the tree in `directory`, if there is one, and all that belongs to it. Nobody may have it open.
    pub fn remove(directory: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn frozen(&self) -> Frozen {
        Frozen { shared: self.shared.clone(), pin: self.shared.pin() }
    }
}

impl Drop for Lsm {
    fn drop(&mut self) {
        {
            let _writer = self.shared.writer.lock();
            self.shared.tree.rotate_memtable();
        }
        if let Err(error) = self.upkeep.wait(Wait::Flushed) {
            tracing::error!(%error, "the index engine's last writes are not on disk: they will be applied again from the log");
        }
    }
}

impl View for Lsm {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        // The newest, whatever its number.
        Ok(self.shared.tree.get(whole(space, key), u64::MAX)?.map(Bytes::from))
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        rows(&self.shared, self.shared.pin(), space, from, to)
    }
}

impl Engine for Lsm {
    fn write(&self, mutations: Vec<Mutation>, durability: Durability) -> Result<(), EngineError> {
        let shared = &*self.shared;
        {
            let _writer = shared.writer.lock();
            let buffer = shared.tree.active_memtable();
            let number = shared.numbers.next();
            let mut bytes = 0;
            for mutation in mutations {
                let (size, _) = buffer.insert(match mutation {
                    Mutation::Put(space, key, value) => {
                        InternalValue::from_components(whole(space, &key), value, number, ValueType::Value)
                    }
                    Mutation::Remove(space, key) => InternalValue::new_tombstone(whole(space, &key), number),
                });
                bytes += size;
            }
            shared.buffered.fetch_add(bytes, Ordering::AcqRel);
            shared.visible.store(number + 1, Ordering::Release);
            if durability == Durability::Buffered && buffer.size() <= self.buffer_bytes {
                return Ok(());
            }
            shared.tree.rotate_memtable();
        }
        self.upkeep.wait(match durability {
            Durability::Buffered => Wait::Room,
            Durability::Synced => Wait::Flushed,
        })
    }

    fn snapshot(&self) -> Box<dyn View> {
        Box::new(self.frozen())
    }

    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        let frozen = self.frozen();
        for space in Space::ALL {
            let mut keys = frozen.range(space, prefix, &behind(prefix));
            loop {
                let batch: Result<Vec<_>, EngineError> =
                    keys.by_ref().take(CLEAR_BATCH).map(|row| Ok(Mutation::Remove(space, row?.0.into()))).collect();
                match batch? {
                    batch if batch.is_empty() => break,
                    batch => self.write(batch, Durability::Buffered)?,
                }
            }
        }
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        let shared = &*self.shared;
        EngineStats {
            disk_bytes: shared.tree.disk_space(),
            memory_bytes: shared.buffered.load(Ordering::Acquire) + shared.cache.size(),
        }
    }

    fn stored(&self) -> Vec<Stored> {
        stored::files(&self.shared.tree)
    }
}

/// A frozen view.
struct Frozen {
    shared: Arc<Shared>,
    pin: Pin,
}

impl View for Frozen {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.shared.tree.get(whole(space, key), self.pin.number())?.map(Bytes::from))
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        rows(&self.shared, self.pin.clone(), space, from, to)
    }
}

/// A key of the tree: which space it is in comes first.
fn whole(space: Space, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(1 + key.len());
    whole.push(space as u8);
    whole.extend_from_slice(key);
    whole
}

fn rows<'a>(
    shared: &Shared,
    pin: Pin,
    space: Space,
    from: &[u8],
    to: &[u8],
) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
    if !to.is_empty() && from >= to {
        return Box::new(std::iter::empty());
    }
    let to = if to.is_empty() { vec![space as u8 + 1] } else { whole(space, to) };
    let bounds = (Bound::Included(whole(space, from)), Bound::Excluded(to));
    let rows = shared.tree.range(bounds, pin.number(), None);
    Box::new(rows.map(move |guard| {
        // Released when the iterator is.
        let _pin = &pin;
        let (key, value) = guard.into_inner()?;
        Ok((Bytes::from(key).slice(1..), Bytes::from(value)))
    }))
}

#[cfg(test)]
mod tests;
