//! The state machine and its tables: pure decisions over an ordered key-value engine.
//!
//! [`Index`] is one group's: it takes committed entries in order, decides them ([`apply`]), writes what they change in one
//! atomic batch together with how far it has come, and answers reads. The engine is shared by all groups of a node. What
//! it holds is derived from the log: a tail that a power cut takes is applied again.

pub mod apply;
mod chunk;
pub mod command;
mod deleted;
mod due;
pub mod engine;
mod key;
mod page;
mod reader;
mod record;
mod requests;
mod resident;
mod rows;
mod snapshot;
mod sound;
pub mod transplant;
mod versions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::heartbeat::Layout;
use holdfast_wire::id::{BlobId, BucketId, BucketName, ClusterId, GroupId, ObjectKey, UploadId};
use holdfast_wire::identity::Identities;
use holdfast_wire::object::{Object, Part, Upload};
use holdfast_wire::planted::Fault;
use holdfast_wire::request::{ListObjects, ListPage, ListUploads, ListVersions, VersionPage};
use holdfast_wire::usage::BucketUsage;
use parking_lot::{Mutex, RwLock};
use xxhash_rust::xxh3::Xxh3;

use self::apply::{Changes, Draft, Place};
use self::command::{Envelope, Outcome};
use self::engine::{Durability, Engine, EngineError, Mutation, Space};
use self::key::{PREFIX, Table};
use self::record::{Progress, Seen};
use self::requests::Requests;
use self::resident::Resident;
use self::rows::Rows;
use crate::position::Position;

pub use apply::Effects;
pub use page::UploadPage;
pub use reader::Reader;
pub use record::{Kept, Root, Usage};
pub use snapshot::{IndexSnapshot, Installer};

/// Why the index cannot go on. The node must stop: its state is rebuilt from log and peers, never guessed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A row is not what its table says, or one that must be there is not.
    #[error("a damaged or missing row in table {table:#04x} of the index")]
    Corrupt {
        /// The table's id.
        table: u8,
    },
    /// A committed entry is no command of a known version.
    #[error("log entry {index} is no command that this version knows")]
    Undecodable {
        /// Its log index.
        index: u64,
    },
    /// An entry that is not behind the last one applied.
    #[error("log entry {entry} was to be applied behind {applied}")]
    OutOfOrder {
        /// The newest applied log index.
        applied: u64,
        /// The entry's.
        entry: u64,
    },
    /// What came is no snapshot, or not all of one.
    #[error("a broken or incomplete snapshot")]
    BrokenSnapshot,
}

/// How far a group has applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The newest applied entry.
    pub position: Option<Position>,
    /// The newest membership, as the raft adapter encoded it; empty before there is one.
    pub membership: Bytes,
    /// xxh3 chained over all changes: equal on all members that have applied the same entries.
    pub hash: u64,
}

/// A committed entry.
#[derive(Clone, Debug)]
pub enum Entry<'a> {
    /// Nothing.
    Blank,
    /// A membership, as the raft adapter encodes it.
    Membership(Bytes),
    /// The bytes of an [`Envelope`].
    Command(&'a [u8]),
}

/// One group's state machine. Clones share it.
#[derive(Clone)]
pub struct Index(Arc<Inner>);

struct Inner {
    engine: Arc<dyn Engine>,
    group: GroupId,
    state: RwLock<State>,
    /// Held while an entry is applied or a snapshot comes into force: there is one writer.
    writer: Mutex<Requests>,
    generations: AtomicU32,
}

struct State {
    generation: u32,
    progress: Progress,
    membership: Bytes,
    resident: Resident,
}

impl Index {
    /// The group's state as the engine has it.
    pub fn open(engine: Arc<dyn Engine>, group: GroupId) -> Result<Self, IndexError> {
        let generation = match engine.get(Space::Records, &key::pointer(group))? {
            Some(value) => record::decode(&value).map_err(|_| IndexError::Corrupt { table: 0 })?,
            None => 1,
        };
        snapshot::clear_leftovers(&*engine, group, generation)?;
        let state = State::load(&*engine, group, generation)?;
        let requests = Requests::load(Rows::new(&*engine, key::generation(group, generation)))?;
        Ok(Self(Arc::new(Inner {
            engine,
            group,
            state: RwLock::new(state),
            writer: Mutex::new(requests),
            generations: AtomicU32::new(generation),
        })))
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.0.group
    }

    /// How far it has applied.
    pub fn applied(&self) -> Applied {
        let state = self.0.state.read();
        Applied { position: state.progress.position, membership: state.membership.clone(), hash: state.progress.hash }
    }

    /// Applies a committed entry: one batch in the engine, buffered there (see [`persist`](Self::persist)). Reads that
    /// start after this returns see it.
    pub fn apply(&self, position: Position, entry: Entry<'_>) -> Result<(Outcome, Effects), IndexError> {
        let inner = &*self.0;
        let mut requests = inner.writer.lock();
        let (decided, prefix, progress) = {
            let state = inner.state.read();
            if let Some(applied) = state.progress.position
                && applied.index >= position.index
            {
                return Err(IndexError::OutOfOrder { applied: applied.index, entry: position.index });
            }
            let prefix = key::generation(inner.group, state.generation);
            let rows = Rows::new(&*inner.engine, prefix);
            let decided = decide(rows, &state.resident, &requests, inner.group, position, &entry)?;
            let hash = chain(state.progress.hash, position.index, &decided.changes);
            (decided, prefix, Progress { position: Some(position), hash })
        };
        let Decided { outcome, changes, entering, leaving } = decided;
        let membership = match entry {
            Entry::Membership(members) => Some(members),
            Entry::Blank | Entry::Command(_) => None,
        };
        let Changes { records, bodies, resident, effects } = changes;
        let mut batch = Vec::with_capacity(records.len() + bodies.len() + 2);
        let mut add = |space, suffix: &[u8], value: Option<Bytes>| {
            let mut key = Vec::with_capacity(PREFIX + suffix.len());
            key.extend_from_slice(&prefix);
            key.extend_from_slice(suffix);
            batch.push(match value {
                Some(value) => Mutation::Put(space, key, value),
                None => Mutation::Remove(space, key),
            });
        };
        records.into_iter().for_each(|(suffix, value)| add(Space::Records, &suffix, value));
        bodies.into_iter().for_each(|(number, value)| add(Space::Bodies, &key::body(number), value));
        add(Space::Records, &key::table(Table::Applied), Some(record::encode(&progress)));
        if let Some(members) = &membership {
            add(Space::Records, &key::table(Table::Membership), Some(record::encode_opaque(members)));
        }
        if Fault::AppliedApart.is_planted() {
            inner.engine.write(batch.drain(..batch.len() - 1).collect(), Durability::Buffered)?;
        }
        inner.engine.write(batch, Durability::Buffered)?;

        requests.forget(leaving);
        if let Some((request, at_ms)) = entering {
            requests.enter(position.index, request, at_ms);
        }
        let mut state = inner.state.write();
        state.progress = progress;
        state.resident.adopt(resident);
        if let Some(members) = membership {
            state.membership = members;
        }
        Ok((outcome, effects))
    }

    /// Everything applied so far survives a power cut when this returns.
    pub fn persist(&self) -> Result<(), IndexError> {
        Ok(self.0.engine.write(Vec::new(), Durability::Synced)?)
    }

    /// A view of this moment, for several reads that belong together.
    pub fn reader(&self) -> Reader {
        let inner = &*self.0;
        // Under the lock the generation in force cannot be dropped before the view is taken.
        let state = inner.state.read();
        Reader::new(inner.engine.snapshot().into(), key::generation(inner.group, state.generation))
    }

    /// A bucket.
    pub fn bucket(&self, bucket: BucketId) -> Option<Arc<Bucket>> {
        self.0.state.read().resident.buckets.get(&bucket).cloned()
    }

    /// A bucket, by name.
    pub fn bucket_named(&self, name: &BucketName) -> Option<Arc<Bucket>> {
        let state = self.0.state.read();
        state.resident.names.get(name).and_then(|id| state.resident.buckets.get(id)).cloned()
    }

    /// All buckets, by name.
    pub fn buckets(&self) -> Vec<Arc<Bucket>> {
        let state = self.0.state.read();
        state.resident.names.values().filter_map(|id| state.resident.buckets.get(id)).cloned().collect()
    }

    /// Whom the cluster knows; nobody in shards.
    pub fn identities(&self) -> Arc<Identities> {
        self.0.state.read().resident.identities.clone()
    }

    /// Root's own state; `None` in shards and before genesis.
    pub fn root(&self) -> Option<Arc<Root>> {
        self.0.state.read().resident.root.clone()
    }

    /// Nodes and map (root); empty before genesis.
    pub fn layout(&self) -> Layout {
        self.root().map_or_else(Layout::default, |root| root.layout.clone())
    }

    /// The cluster (root); `None` before genesis.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.root().and_then(|root| root.cluster)
    }

    /// What a bucket holds in this shard.
    pub fn usage(&self, bucket: BucketId) -> Usage {
        self.0.state.read().resident.usage.get(&bucket).copied().unwrap_or_default()
    }

    /// What the shard holds of every bucket.
    pub fn usages(&self) -> Vec<BucketUsage> {
        let state = self.0.state.read();
        state.resident.usage.iter().map(|(bucket, usage)| BucketUsage { bucket: *bucket, usage: *usage }).collect()
    }

    /// What is kept of objects that are gone.
    pub fn kept(&self) -> Kept {
        self.0.state.read().resident.kept
    }

    /// See [`Reader::object`].
    pub fn object(&self, bucket: BucketId, key: &ObjectKey) -> Result<Option<Object>, IndexError> {
        self.reader().object(bucket, key)
    }

    /// See [`Reader::inline_body`]. `None` when the object has changed since its record was read: read it again, or read
    /// both through one [`Reader`].
    pub fn inline_body(&self, number: u64) -> Result<Option<Bytes>, IndexError> {
        self.reader().inline_body(number)
    }

    /// See [`Reader::list`].
    pub fn list(&self, list: &ListObjects) -> Result<ListPage, IndexError> {
        self.reader().list(list)
    }

    /// See [`Reader::list_versions`].
    pub fn list_versions(&self, list: &ListVersions) -> Result<VersionPage, IndexError> {
        self.reader().list_versions(list)
    }

    /// See [`Reader::list_uploads`].
    pub fn list_uploads(&self, list: &ListUploads) -> Result<UploadPage, IndexError> {
        self.reader().list_uploads(list)
    }

    /// See [`Reader::list_parts`].
    pub fn list_parts(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        after: u16,
        limit: u32,
    ) -> Result<Option<(Upload, Vec<Part>, bool)>, IndexError> {
        self.reader().list_parts(bucket, key, upload, after, limit)
    }

    /// See [`Reader::blobs`].
    pub fn blobs(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<(BlobId, u64)>, IndexError> {
        self.reader().blobs(after, limit)
    }

    /// See [`Reader::references`].
    pub fn references(&self, blob: BlobId) -> Result<u64, IndexError> {
        self.reader().references(blob)
    }

    /// See [`Reader::trash`].
    pub fn trash(
        &self,
        after: Option<(u64, BlobId)>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, BlobId)>, IndexError> {
        self.reader().trash(after, before_ms, limit)
    }

    /// The group's state, frozen.
    pub fn snapshot(&self) -> IndexSnapshot {
        // No entry is half applied: rows and progress are of the same moment.
        let _writer = self.0.writer.lock();
        IndexSnapshot::new(self.reader(), self.applied())
    }

    /// A digest of all that the group's state is, and the place up to which it is applied. `None` if nothing is applied
    /// yet, or if it cannot be read.
    pub fn digest(&self) -> Option<(u64, u64)> {
        let snapshot = self.snapshot();
        let place = snapshot.applied().position?.index;
        let mut hash = Xxh3::new();
        for chunk in snapshot.chunks() {
            hash.update(&chunk.ok()?);
        }
        Some((place, hash.digest()))
    }

    /// Begins to take in a snapshot; the group goes on as it is until [`Installer::finish`].
    pub fn install(&self) -> Installer {
        let generation = self.0.generations.fetch_add(1, Ordering::Relaxed) + 1;
        Installer::new(self.clone(), generation)
    }

    /// Forgets everything of the group, on disk when this returns.
    pub fn clear(&self) -> Result<(), IndexError> {
        let generation = self.0.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let state = State {
            generation,
            progress: Progress::default(),
            membership: Bytes::new(),
            resident: Resident::default(),
        };
        self.replace(state, Requests::default())
    }
}

/// What is to become of an entry.
struct Decided {
    outcome: Outcome,
    changes: Changes,
    /// The request to remember, with its time.
    entering: Option<(holdfast_wire::id::RequestId, u64)>,
    /// How many of the oldest requests to forget.
    leaving: usize,
}

fn decide(
    rows: Rows<'_>,
    resident: &Resident,
    requests: &Requests,
    group: GroupId,
    position: Position,
    entry: &Entry<'_>,
) -> Result<Decided, IndexError> {
    let bytes = match entry {
        Entry::Command(bytes) => bytes,
        Entry::Blank | Entry::Membership(_) => {
            return Ok(Decided { outcome: Outcome::None, changes: Changes::default(), entering: None, leaving: 0 });
        }
    };
    let envelope = Envelope::decode(bytes).map_err(|_| IndexError::Undecodable { index: position.index })?;
    let Envelope { request, now_ms, command } = envelope;
    let mut draft = Draft::new(Place { group, position, now_ms }, rows, resident);
    let Some(request) = request else {
        let outcome = apply::apply(&mut draft, command)?;
        return Ok(Decided { outcome, changes: draft.finish(), entering: None, leaving: 0 });
    };
    if let Some(first) = requests.find(request) {
        apply::name_blobs(&mut draft, &command)?;
        let seen: Option<Seen> = rows.record(&key::request(first))?;
        let outcome = seen.ok_or(IndexError::Corrupt { table: Table::Requests as u8 })?.outcome;
        return Ok(Decided { outcome, changes: draft.finish(), entering: None, leaving: 0 });
    }
    let outcome = apply::apply(&mut draft, command)?;
    let mut leaving = 0;
    for index in requests.leaving(now_ms) {
        draft.remove(key::request(index));
        leaving += 1;
    }
    let seen = Seen { request, at_ms: now_ms, outcome };
    draft.put(key::request(position.index), &seen);
    Ok(Decided { outcome: seen.outcome, changes: draft.finish(), entering: Some((request, now_ms)), leaving })
}

/// The state hash behind an entry.
fn chain(hash: u64, index: u64, changes: &Changes) -> u64 {
    let mut hasher = Xxh3::with_seed(hash);
    hasher.update(&index.to_le_bytes());
    let mut add = |space: Space, suffix: &[u8], value: Option<&Bytes>| {
        hasher.update(&[space as u8, u8::from(value.is_some())]);
        hasher.update(&(suffix.len() as u32).to_le_bytes());
        hasher.update(suffix);
        if let Some(value) = value {
            hasher.update(&(value.len() as u32).to_le_bytes());
            hasher.update(value);
        }
    };
    changes.records.iter().for_each(|(suffix, value)| add(Space::Records, suffix, value.as_ref()));
    changes.bodies.iter().for_each(|(number, value)| add(Space::Bodies, &number.to_le_bytes(), value.as_ref()));
    hasher.digest()
}

#[cfg(test)]
mod tests;
