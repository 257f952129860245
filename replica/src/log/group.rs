//! One group's part of the log.

use std::io;
use std::sync::Arc;

use holdfast_wire::id::GroupId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::memory::Memory;
use super::queue::{Done, Op, What};
use super::record::{BODY_MAX, ENTRY_HEAD, HEADER};
use super::{LogEntry, Owner, read};
use crate::position::{Ballot, Position};

/// Told about the entries of one append right after they are durable, before their own callback.
pub type DurableListener = Arc<dyn Fn(&[LogEntry]) + Send + Sync>;

/// What the log knows of a group.
pub struct Group {
    pub id: GroupId,
    pub memory: Mutex<Memory>,
    pub listener: Mutex<Option<DurableListener>>,
}

impl Group {
    pub fn new(id: GroupId, memory: Memory) -> Arc<Self> {
        Arc::new(Self { id, memory: Mutex::new(memory), listener: Mutex::new(None) })
    }
}

/// Where a group's log begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLogState {
    /// The last entry that was purged.
    pub purged: Option<Position>,
    /// The last entry, purged or not.
    pub last: Option<Position>,
    /// The last position that was saved as committed.
    pub committed: Option<Position>,
}

/// One group's part of the log; cheap to clone. All writes of one group must come from one task at a time; they reach
/// the disk in the order of the calls, together with those of all other groups.
#[derive(Clone)]
pub struct GroupLog {
    pub(super) group: Arc<Group>,
    pub(super) owner: Arc<Owner>,
}

impl GroupLog {
    /// The group.
    pub fn id(&self) -> GroupId {
        self.group.id
    }

    /// Adds entries behind the last one. They are readable on return; `done` is called once they are durable, in the
    /// order of the calls, or with the error that ended the log. Entries that do not follow the last one are refused.
    pub fn append(&self, entries: Vec<LogEntry>, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        let mut memory = self.group.memory.lock();
        let mut expected = None;
        let mut bytes = 0;
        for entry in &entries {
            let index = entry.position.index;
            let follows = expected.map_or_else(|| memory.follows(index), |expected| index == expected);
            bytes += entry.payload.len() + HEADER + ENTRY_HEAD;
            if !follows || bytes > BODY_MAX {
                drop(memory);
                let refusal =
                    if follows { "the entries are too long" } else { "the entry does not follow the last one" };
                return done(Err(io::Error::new(io::ErrorKind::InvalidInput, refusal)));
            }
            expected = Some(index + 1);
        }
        for entry in &entries {
            memory.append(entry);
        }
        self.push(memory, What::Entries(entries), Some(Box::new(done)));
    }

    /// Saves the vote: readable at once, durable on return.
    pub async fn save_ballot(&self, ballot: Ballot) -> io::Result<()> {
        let result = {
            let mut memory = self.group.memory.lock();
            memory.ballot = Some(ballot);
            let (done, result) = channel();
            self.push(memory, What::Ballot(ballot), Some(done));
            result
        };
        wait(result).await
    }

    /// The last vote that was given to [`save_ballot`](Self::save_ballot).
    pub fn ballot(&self) -> Option<Ballot> {
        self.group.memory.lock().ballot
    }

    /// Removes all entries behind `keep`, all if it is `None`. Takes its place in the order of writes; durable with
    /// whatever is written next, or after [`flushed`](Self::flushed).
    pub fn truncate_after(&self, keep: Option<Position>) {
        let mut memory = self.group.memory.lock();
        if memory.truncate_after(keep) {
            let last = memory.last();
            self.push(memory, What::Truncate(last), None);
        }
    }

    /// Removes all entries up to `upto`, which may lie behind the last one. Takes its place in the order of writes;
    /// files go when that is durable and nobody needs them any more.
    pub fn purge(&self, upto: Position) {
        let mut memory = self.group.memory.lock();
        if memory.purge(upto) {
            self.push(memory, What::Purge(upto), None);
        }
    }

    /// Saves what is known to be committed. Readable at once, durable with whatever is written next.
    pub fn save_committed(&self, committed: Option<Position>) {
        let mut memory = self.group.memory.lock();
        memory.committed = committed;
        self.push(memory, What::Committed(committed), None);
    }

    /// Returns when everything this group was told before is durable.
    pub async fn flushed(&self) -> io::Result<()> {
        let (done, result) = channel();
        self.push(self.group.memory.lock(), What::Flush, Some(done));
        wait(result).await
    }

    /// Where the log begins and ends.
    pub fn state(&self) -> GroupLogState {
        let memory = self.group.memory.lock();
        GroupLogState { purged: memory.purged, last: memory.last(), committed: memory.committed }
    }

    /// Index of the first entry; of the next one if there is none.
    pub fn first_index(&self) -> u64 {
        self.group.memory.lock().range().0
    }

    /// Bytes of log files that the group's entries take.
    pub fn retained_bytes(&self) -> u64 {
        self.group.memory.lock().written.bytes()
    }

    /// Where entry `index` stands, if it is there.
    pub fn position(&self, index: u64) -> Option<Position> {
        self.group.memory.lock().position(index)
    }

    /// Whether a read from `index` on needs no file.
    pub fn is_cached(&self, index: u64) -> bool {
        self.group.memory.lock().is_cached(index)
    }

    /// The entries of `from..to` that are there, in order and without holes, up to `max_bytes` of payload but at least
    /// one. Blocks on a file unless [`is_cached`](Self::is_cached); fails if a file does not hold what was written.
    pub fn read(&self, from: u64, to: u64, max_bytes: Option<usize>) -> io::Result<Vec<LogEntry>> {
        loop {
            let (planned, seen) = {
                let memory = self.group.memory.lock();
                (memory.plan(from, to, max_bytes.unwrap_or(usize::MAX)), (memory.range().0, memory.truncations()))
            };
            let fetched = read::fetch(planned, |generation| self.owner.shared.segment(generation));
            let error = match fetched {
                Ok(entries) => return Ok(entries),
                Err(error) => error,
            };
            // Entries that were removed in the meantime may have lost their file; then look again.
            let memory = self.group.memory.lock();
            if (memory.range().0, memory.truncations()) == seen {
                return Err(error);
            }
        }
    }

    /// Reads entries from `from` on back from their files, cached or not, up to `max_bytes` of payload but at least one;
    /// nothing when there are none. Blocks; fails as [`read`](Self::read) does.
    pub fn reread(&self, from: u64, max_bytes: usize) -> io::Result<Option<Reread>> {
        loop {
            let (planned, seen) = {
                let memory = self.group.memory.lock();
                (memory.plan_stored(from, max_bytes), (memory.range().0, memory.truncations()))
            };
            let error = match read::fetch(planned, |generation| self.owner.shared.segment(generation)) {
                Ok(entries) => {
                    let bytes = entries.iter().map(|entry| entry.payload.len() as u64).sum();
                    let count = entries.len() as u64;
                    return Ok(entries.last().map(|last| Reread { next: last.position.index + 1, count, bytes }));
                }
                Err(error) => error,
            };
            let memory = self.group.memory.lock();
            if (memory.range().0, memory.truncations()) == seen {
                return Err(error);
            }
        }
    }

    /// Has `listener` told of this group's entries right after they are durable. It is called from the writer's task
    /// and must not block.
    pub fn set_durable_listener(&self, listener: DurableListener) {
        *self.group.listener.lock() = Some(listener);
    }

    /// The queue is entered before the memory is unlocked: both have the same order.
    fn push(&self, memory: parking_lot::MutexGuard<'_, Memory>, what: What, done: Option<Done>) {
        let op = Op { group: self.group.clone(), what, done };
        if memory.forgotten {
            drop(memory);
            return op.complete(Err(io::Error::new(io::ErrorKind::NotFound, "the group was removed from this log")));
        }
        self.owner.shared.queue.push(op, memory);
    }

    pub(super) async fn forget(&self) -> io::Result<()> {
        let (done, result) = channel();
        {
            let mut memory = self.group.memory.lock();
            memory.forgotten = true;
            let op = Op { group: self.group.clone(), what: What::Forget, done: Some(done) };
            self.owner.shared.queue.push(op, memory);
        }
        wait(result).await
    }
}

/// Entries that were read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reread {
    /// The index behind the last of them.
    pub next: u64,
    /// How many.
    pub count: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

fn channel() -> (Done, oneshot::Receiver<io::Result<()>>) {
    let (done, result) = oneshot::channel();
    (Box::new(move |told| drop(done.send(told))), result)
}

async fn wait(result: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    result.await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")))
}
