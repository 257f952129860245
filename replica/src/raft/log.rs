//! openraft's log storage over the node's write-ahead log; no decisions of its own.
//!
//! `append` returns once the entries are readable and reports them from the log's writer after the fdatasync.
//! `save_vote` and `truncate_after` return durable; `purge` and `save_committed` take their place in the order of
//! writes. Reads that need a file run on a lane, so that they never block a task.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};

use super::standing::Standing;
use super::types::{self, Entry, LogId, Types, Vote};
use crate::file::Lane;
use crate::log::GroupLog;

/// What one batch of entries for a follower holds at most, in bytes of payload.
const READ_BYTES: usize = 4 << 20;

/// One group's log as openraft wants it. Writer and reader at once; cheap to clone.
#[derive(Clone)]
pub struct LogStore {
    log: GroupLog,
    standing: Arc<Standing>,
    lane: Lane,
}

/// Told of entries that have just become durable here: index and payload, in order.
pub type DurableListener = Arc<dyn Fn(&[(u64, Bytes)]) + Send + Sync>;

impl LogStore {
    /// Reads from files run on `lane`; `standing` is told what is appended.
    pub fn new(log: GroupLog, standing: Arc<Standing>, lane: Lane) -> Self {
        Self { log, standing, lane }
    }

    /// The log below.
    pub fn log(&self) -> &GroupLog {
        &self.log
    }

    /// Has `listener` told of this group's entries right after their fdatasync, before openraft is. It runs on the
    /// log's writer and must not block.
    pub fn set_durable_listener(&self, listener: DurableListener) {
        self.log.set_durable_listener(Arc::new(move |entries| {
            let told = entries.iter().map(|entry| (entry.position.index, entry.payload.clone()));
            listener(&told.collect::<Vec<_>>());
        }));
    }

    async fn read(&self, from: u64, to: u64, max_bytes: Option<usize>) -> io::Result<Vec<Entry>> {
        let entries = if self.log.is_cached(from) {
            self.log.read(from, to, max_bytes)?
        } else {
            let log = self.log.clone();
            self.lane.run(move || log.read(from, to, max_bytes)).await?
        };
        entries.into_iter().map(types::entry).collect()
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, None).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.ballot().map(types::vote))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, Some(READ_BYTES)).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.log.state();
        Ok(LogState { last_purged_log_id: state.purged.map(types::log_id), last_log_id: state.last.map(types::log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.log.save_ballot(types::ballot(vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.log.save_committed(committed.as_ref().map(types::position));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.state().committed.map(types::log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().map(|entry| types::log_entry(&entry)).collect();
        for entry in &entries {
            self.standing.appended(entry.position);
        }
        self.log.append(entries, |result| callback.io_completed(result));
        Ok(())
    }

    /// Durable on return: a snapshot that replaces what was cut goes to other files and may be durable first.
    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last_log_id.as_ref().map(types::position));
        self.log.flushed().await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.log.purge(types::position(&log_id));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
