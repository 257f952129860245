//! The node's write-ahead log: one for all groups.
//!
//! What it promises: what it was told in some order reaches the disk in that order, votes and entries of all groups in
//! one stream; a `done` is called after the fdatasync that covers it, never before; everything queued at one moment
//! shares one write and one fdatasync. After a power cut all that was `done` is there. A torn tail, which nobody was
//! told about, is cut silently; any other damage makes [`Log::open`] fail with [`LogError::Corrupt`]. The first failed
//! write or sync ends the log for good: every `done` from then on gets the error, and [`Log::failed`] returns.
//!
//! It knows nothing of openraft. `record` is the byte layout, `recover` reads it back, `memory` is what a group has,
//! `queue` is what waits, `writer` is the one task that writes.

mod error;
mod group;
mod memory;
mod queue;
mod read;
mod record;
mod recover;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::histogram::Counts;
use holdfast_wire::id::GroupId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::group::Group;
use self::memory::Memory;
use self::queue::Queue;
use self::segment::Segment;
use self::writer::Writer;
use crate::file::{Files, is_full};
use crate::position::Position;

pub use self::error::{Corruption, LogError};
pub use self::group::{DurableListener, GroupLog, GroupLogState};

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands.
    pub position: Position,
    /// What it says.
    pub payload: Bytes,
}

/// Where an entry's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    generation: u64,
    offset: u32,
    /// Bytes of the payload.
    len: u32,
}

/// Sizes of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Bytes of a full-grown segment; the first ones are smaller, so that a new log takes little space and time.
    pub segment_bytes: u64,
    /// Bytes of recent payloads that are kept in memory, over all groups.
    pub cache_bytes: u64,
    /// Bytes of disk below which [`Log::has_room`] says no, although votes and deletes are still written.
    pub reserve_bytes: u64,
    /// A number that differs between clusters and nodes (any hash of their ids): with it a payload cannot be made to
    /// look like a record of this log. It must stay the same over the log's life.
    pub salt: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, cache_bytes: 32 << 20, reserve_bytes: 64 << 20, salt: 0 }
    }
}

/// What a log has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// fdatasyncs of batches.
    pub syncs: u64,
    /// Bytes of batches, padding included.
    pub bytes_written: u64,
    /// Entries written.
    pub entries: u64,
    /// Microseconds that a write and its fdatasync take, moving average over about 16 batches.
    pub sync_micros: u64,
    /// How long each took.
    pub took: Counts,
    /// Segments that hold something, and those that wait for their use.
    pub segments: u64,
    /// Bytes of these segments.
    pub retained_bytes: u64,
}

/// Why a log has ended.
#[derive(Clone, Debug)]
pub struct Failure {
    kind: io::ErrorKind,
    text: Arc<str>,
}

impl Failure {
    fn new(error: &io::Error) -> Self {
        Self { kind: error.kind(), text: format!("the log has failed and is not tried again: {error}").into() }
    }

    /// The failure as an error.
    pub fn error(&self) -> io::Error {
        io::Error::new(self.kind, &*self.text)
    }
}

struct Held {
    segment: Arc<Segment>,
    /// Entries in it that are neither truncated nor purged.
    live: u64,
}

/// What the writer and the handles share.
struct Shared {
    files: Arc<dyn Files>,
    dir: PathBuf,
    options: LogOptions,
    queue: Queue,
    groups: Mutex<BTreeMap<GroupId, Arc<Group>>>,
    segments: Mutex<BTreeMap<u64, Held>>,
    stats: Mutex<LogStats>,
    room: Mutex<Room>,
    /// When the disk was last asked for its free space, and that was plenty.
    plenty: Mutex<Option<Instant>>,
    failed: watch::Sender<Option<Failure>>,
}

/// Free bytes beyond reserve and segments at which the disk has plenty, and for how long that is believed: no disk
/// writes that much in that time.
const PLENTY: u64 = 2 << 30;
const PLENTY_FOR: Duration = Duration::from_millis(100);

/// What the writer says about space.
#[derive(Clone, Copy, Default)]
struct Room {
    /// Bytes left in the current segment.
    left: u64,
    /// Whether another one is ready.
    spare: bool,
}

impl Shared {
    fn segment(&self, generation: u64) -> Option<Arc<Segment>> {
        self.segments.lock().get(&generation).map(|held| held.segment.clone())
    }
}

/// Ends the writer when the last handle goes.
struct Owner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

/// The write-ahead log of a node; cheap to clone. When the last handle goes, the writer writes what still waits and
/// ends; [`close`](Self::close) waits for that.
#[derive(Clone)]
pub struct Log {
    owner: Arc<Owner>,
}

impl Log {
    /// Reads the log in `dir` back, or starts a new one there. Returns when it is ready to be written.
    pub async fn open(files: Arc<dyn Files>, dir: PathBuf, mut options: LogOptions) -> Result<Self, LogError> {
        options.segment_bytes = options.segment_bytes.clamp(4 * record::BLOCK, 1 << 30);
        let lane = files.lane("log");
        let recovered = {
            let (files, dir) = (files.clone(), dir.clone());
            lane.run(move || {
                files.create_dir_all(&dir).map_err(|source| LogError::Io { dir: dir.clone(), source })?;
                recover::recover(&*files, &dir, options.salt)
            })
            .await?
        };
        let mut segments = BTreeMap::new();
        for (generation, segment) in recovered.segments {
            segments.insert(generation, Held { segment, live: 0 });
        }
        let mut groups = BTreeMap::new();
        for (id, group) in recovered.groups {
            let entries = group.entries.into_iter().filter_map(|(position, place)| Some((position, place?)));
            let entries = entries.inspect(|(_, place)| {
                segments.get_mut(&place.generation).expect("places lie in segments that were read").live += 1;
            });
            groups.insert(id, Group::new(id, Memory::recovered(group.state, entries)));
        }
        let shared = Arc::new(Shared {
            files,
            dir,
            options,
            queue: Queue::default(),
            groups: Mutex::new(groups),
            segments: Mutex::new(segments),
            stats: Mutex::default(),
            plenty: Mutex::default(),
            room: Mutex::default(),
            failed: watch::Sender::new(None),
        });
        let found = writer::Found { spares: recovered.spares, end: recovered.end, batch: recovered.batch };
        let writer = Writer::start(shared.clone(), lane, found).await.map_err(|source| match source.kind() {
            kind if is_full(kind) => LogError::NoSpace { dir: shared.dir.clone() },
            _ => LogError::Io { dir: shared.dir.clone(), source },
        })?;
        let writer = tokio::spawn(writer.run());
        Ok(Self { owner: Arc::new(Owner { shared, writer: Mutex::new(Some(writer)) }) })
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    /// One group's part of the log, empty if it is new.
    pub fn group(&self, id: GroupId) -> GroupLog {
        let mut groups = self.shared().groups.lock();
        let group = groups.entry(id).or_insert_with(|| Group::new(id, Memory::default())).clone();
        GroupLog { group, owner: self.owner.clone() }
    }

    /// The groups that have a vote, entries or marks here.
    pub fn groups(&self) -> Vec<GroupId> {
        let groups = self.shared().groups.lock();
        groups.values().filter(|group| !group.memory.lock().is_blank()).map(|group| group.id).collect()
    }

    /// Removes everything of a group, durably on return. Handles that still exist refuse to write.
    pub async fn forget_group(&self, id: GroupId) -> io::Result<()> {
        let Some(group) = self.shared().groups.lock().remove(&id) else { return Ok(()) };
        GroupLog { group, owner: self.owner.clone() }.forget().await
    }

    /// What the log has done and holds.
    pub fn stats(&self) -> LogStats {
        let mut stats = *self.shared().stats.lock();
        let segments = self.shared().segments.lock();
        stats.segments += segments.len() as u64;
        stats.retained_bytes += segments.values().map(|held| held.segment.len).sum::<u64>();
        stats
    }

    /// Whether `bytes` more of entries can be accepted without touching what is kept for votes, deletes and membership.
    /// Leaders ask this before they propose; it is a promise of space for what a caller appends soon, not a reservation.
    pub fn has_room(&self, bytes: u64) -> bool {
        let shared = self.shared();
        let options = &shared.options;
        // A disk with a lot of free space is not asked again for every entry.
        let mut plenty = shared.plenty.lock();
        if plenty.is_some_and(|asked| asked.elapsed() < PLENTY_FOR) {
            return true;
        }
        let Ok(space) = shared.files.space(&shared.dir) else { return false };
        if space.free > options.reserve_bytes + 4 * options.segment_bytes + PLENTY {
            *plenty = Some(Instant::now());
            return true;
        }
        if space.free < options.reserve_bytes {
            return false;
        }
        let room = *shared.room.lock();
        let wanted = shared.queue.bytes() + bytes + (64 << 10).min(options.segment_bytes / 4);
        (room.spare && room.left >= wanted) || space.free - options.reserve_bytes >= 2 * options.segment_bytes + wanted
    }

    /// Returns once a write or sync has failed: the process must end. Pending for ever otherwise.
    pub fn failed(&self) -> impl Future<Output = io::Error> + Send + 'static {
        let mut failed = self.shared().failed.subscribe();
        async move {
            let failure = match failed.wait_for(Option::is_some).await {
                Ok(failure) => (*failure).clone(),
                Err(_) => None,
            };
            match failure {
                Some(failure) => failure.error(),
                None => std::future::pending().await,
            }
        }
    }

    /// Writes what waits, refuses everything else, and returns when the writer has ended.
    pub async fn close(self) {
        self.shared().queue.close();
        let writer = self.owner.writer.lock().take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}
