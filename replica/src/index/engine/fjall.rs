//! The embedded engine: one fjall database per node, with a keyspace for records and one for inline bodies (whose values
//! are kept apart from their keys, so that compaction does not rewrite them).
//!
//! Batches go to the journal without a sync; after a power cut the database is a prefix of them: fjall syncs its journal
//! before any of a keyspace reaches a table file. What an engine dropped in order had written is synced.
//!
//! Full write buffers are sealed here, by the writer, and fjall is told never to: fjall 3.1 asks its workers for it anew
//! with every batch that finds the buffer full; when that fills their queue, the worker that seals the buffer waits for
//! room in the queue that it alone empties, and nothing is flushed again. Sealed by the writer, at most four buffers wait
//! and the fifth stalls the writer, which bounds memory.

use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use fjall::config::CompressionPolicy;
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    Readable, Snapshot,
};
use parking_lot::Mutex;

use super::{Durability, Engine, EngineError, EngineStats, Mutation, Row, Space, View, behind};

/// Keys that `clear` removes in one batch.
const CLEAR_BATCH: usize = 4096;
/// Bodies from this size on are kept apart from their keys, bytes.
const SEPARATE_FROM: u32 = 512;

/// What the engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FjallOptions {
    /// Block cache of all groups, bytes.
    pub cache_bytes: u64,
    /// Each keyspace's write buffer, bytes; up to four more wait to be flushed.
    pub memtable_bytes: u64,
    /// Threads that flush and compact.
    pub workers: usize,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, memtable_bytes: 8 << 20, workers: 1 }
    }
}

/// The embedded engine.
pub struct Fjall {
    database: Database,
    spaces: Spaces,
    memtable_bytes: u64,
    sealing: Mutex<()>,
}

#[derive(Clone)]
struct Spaces {
    records: Keyspace,
    bodies: Keyspace,
}

impl Spaces {
    fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::Records => &self.records,
            Space::Bodies => &self.bodies,
        }
    }
}

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        Self(Box::new(error))
    }
}

impl Fjall {
    /// Opens the database in `directory`, or makes one there. Another process (or engine of this one) that has it open is
    /// an error.
    pub fn open(directory: &Path, options: FjallOptions) -> Result<Self, EngineError> {
        let database = Database::builder(directory)
            .cache_size(options.cache_bytes)
            .manual_journal_persist(true)
            .journal_compression(CompressionType::None)
            .max_journaling_size(128 << 20)
            .worker_threads(options.workers.max(1))
            .open()?;
        let common = || KeyspaceCreateOptions::default().manual_journal_persist(true).max_memtable_size(u64::MAX);
        let records = database.keyspace("records", common)?;
        let bodies = database.keyspace("bodies", || {
            let separation =
                KvSeparationOptions::default().separation_threshold(SEPARATE_FROM).compression(CompressionType::None);
            common()
                .with_kv_separation(Some(separation))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        })?;
        let memtable_bytes = options.memtable_bytes.max(64 << 10);
        Ok(Self { database, spaces: Spaces { records, bodies }, memtable_bytes, sealing: Mutex::new(()) })
    }

    /// Hands full write buffers over to be flushed.
    fn seal(&self) -> Result<(), EngineError> {
        for keyspace in [&self.spaces.records, &self.spaces.bodies] {
            let full = || keyspace.tree.active_memtable().size() > self.memtable_bytes;
            // Another writer that is at it will do it.
            if full()
                && let Some(_sealing) = self.sealing.try_lock()
                && full()
            {
                keyspace.rotate_memtable()?;
            }
        }
        Ok(())
    }

    fn frozen(&self) -> Frozen {
        Frozen { snapshot: self.database.snapshot(), spaces: self.spaces.clone() }
    }
}

impl Drop for Fjall {
    fn drop(&mut self) {
        if let Err(error) = self.database.persist(PersistMode::SyncAll) {
            tracing::error!(%error, "the index engine's last writes were not synced: they will be replayed from the log");
        }
    }
}

impl View for Fjall {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.spaces.keyspace(space).get(key)?.map(Bytes::from))
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        rows(&self.database.snapshot(), self.spaces.keyspace(space), from, to)
    }
}

impl Engine for Fjall {
    fn write(&self, mutations: Vec<Mutation>, durability: Durability) -> Result<(), EngineError> {
        if mutations.is_empty() {
            return match durability {
                Durability::Buffered => Ok(()),
                Durability::Synced => Ok(self.database.persist(PersistMode::SyncAll)?),
            };
        }
        let mut batch = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), mutations.len());
        for mutation in mutations {
            match mutation {
                Mutation::Put(space, key, value) => batch.insert(self.spaces.keyspace(space), key, value),
                Mutation::Remove(space, key) => batch.remove(self.spaces.keyspace(space), key),
            }
        }
        let mode = match durability {
            Durability::Buffered => None,
            Durability::Synced => Some(PersistMode::SyncAll),
        };
        batch.durability(mode).commit()?;
        self.seal()
    }

    fn snapshot(&self) -> Box<dyn View> {
        Box::new(self.frozen())
    }

    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        let frozen = self.frozen();
        for space in Space::ALL {
            let keyspace = self.spaces.keyspace(space);
            let mut keys =
                frozen.snapshot.range::<&[u8], _>(keyspace, bounds(prefix, &behind(prefix))).map(fjall::Guard::key);
            loop {
                let mut batch = self.database.batch();
                for key in keys.by_ref().take(CLEAR_BATCH) {
                    batch.remove(keyspace, key?);
                }
                if batch.is_empty() {
                    break;
                }
                batch.commit()?;
                self.seal()?;
            }
        }
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        EngineStats {
            disk_bytes: self.database.disk_space().unwrap_or(0),
            memory_bytes: self.database.write_buffer_size() + self.database.cache_size(),
        }
    }
}

/// A frozen view.
struct Frozen {
    snapshot: Snapshot,
    spaces: Spaces,
}

impl View for Frozen {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.snapshot.get(self.spaces.keyspace(space), key)?.map(Bytes::from))
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        rows(&self.snapshot, self.spaces.keyspace(space), from, to)
    }
}

fn bounds<'a>(from: &'a [u8], to: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) })
}

fn rows<'a>(
    snapshot: &Snapshot,
    keyspace: &Keyspace,
    from: &[u8],
    to: &[u8],
) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
    if !to.is_empty() && from >= to {
        return Box::new(std::iter::empty());
    }
    let rows = snapshot.range::<&[u8], _>(keyspace, bounds(from, to));
    Box::new(rows.map(|guard| {
        let (key, value) = guard.into_inner()?;
        Ok((key.into(), value.into()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_buffers_stay_bounded_however_fast_the_writer() {
        let directory = tempfile::tempdir().unwrap();
        let memtable_bytes = 256 << 10;
        let options = FjallOptions { memtable_bytes, ..FjallOptions::default() };
        let engine = Fjall::open(directory.path(), options).unwrap();
        // Small rows: many batches find the buffer full before it is sealed.
        for key in 0..40_000u32 {
            let key = key.to_be_bytes().to_vec();
            let batch = vec![Mutation::Put(Space::Records, key, Bytes::from(vec![7; 200]))];
            engine.write(batch, Durability::Buffered).unwrap();
            let buffered = engine.database.write_buffer_size();
            // One that is written to, four that wait, one that is being released.
            assert!(buffered < 6 * memtable_bytes + memtable_bytes / 2, "{buffered} bytes wait");
        }
        assert_eq!(engine.range(Space::Records, b"", b"").count(), 40_000);
    }
}
