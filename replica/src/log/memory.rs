//! What one group has in the log, in memory. Pure: callers lock it and do the waiting.
//!
//! Two views of the same thing: what the group was *told* (readable at once), and what is *written* (durable, with
//! places in files), which follows behind in the order of the log.

use std::collections::VecDeque;

use bytes::Bytes;

use super::record::{Restated, entry_bytes};
use super::{LogEntry, Place};
use crate::position::{Ballot, Position};

/// Consecutive entries of one leader, up to the next run.
#[derive(Clone, Copy, Debug)]
struct Run {
    from: u64,
    position: Position,
}

/// The entries of a group, its vote and its marks.
#[derive(Default)]
pub struct Memory {
    pub ballot: Option<Ballot>,
    pub purged: Option<Position>,
    pub committed: Option<Position>,
    first: u64,
    next: u64,
    runs: VecDeque<Run>,
    /// Payloads of the last entries.
    cache: VecDeque<Bytes>,
    /// Entries from here on must stay in the cache.
    unwritten: u64,
    truncations: u64,
    /// The group left this node; nothing more is written for it.
    pub forgotten: bool,
    pub written: Written,
}

/// The durable view.
#[derive(Default)]
pub struct Written {
    pub ballot: Option<Ballot>,
    pub purged: Option<Position>,
    pub committed: Option<Position>,
    pub last: Option<Position>,
    first: u64,
    places: VecDeque<Place>,
    truncations: u64,
    bytes: u64,
}

/// One entry to read.
pub enum Planned {
    /// In memory.
    Cached(LogEntry),
    /// In a file.
    Stored(Position, Place),
}

impl Memory {
    /// What recovery found.
    pub fn recovered(state: Restated, entries: impl Iterator<Item = (Position, Place)>) -> Self {
        let Restated { ballot, purged, committed, last, first } = state;
        let written = Written { ballot, purged, committed, last, first, ..Written::default() };
        let mut memory = Self { ballot, purged, committed, first, next: first, written, ..Self::default() };
        for (position, place) in entries {
            memory.note(position);
            memory.written.places.push_back(place);
            memory.written.bytes += entry_bytes(place.len as usize);
        }
        memory.unwritten = memory.next;
        memory
    }

    /// Whether nothing was ever written here.
    pub fn is_blank(&self) -> bool {
        self.ballot.is_none() && self.last().is_none() && self.committed.is_none()
    }

    fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Index of the first entry, and of the one behind the last.
    pub fn range(&self) -> (u64, u64) {
        (self.first, self.next)
    }

    /// How often the end was cut.
    pub fn truncations(&self) -> u64 {
        self.truncations
    }

    /// The last entry, purged or not.
    pub fn last(&self) -> Option<Position> {
        if self.is_empty() { self.purged } else { self.position(self.next - 1) }
    }

    /// The position of an entry that is there.
    pub fn position(&self, index: u64) -> Option<Position> {
        if !(self.first..self.next).contains(&index) {
            return None;
        }
        let run = &self.runs[self.runs.partition_point(|run| run.from <= index) - 1];
        Some(Position { index, ..run.position })
    }

    fn note(&mut self, position: Position) {
        let same = |run: &Run| (run.position.term, run.position.node) == (position.term, position.node);
        if !self.runs.back().is_some_and(same) {
            self.runs.push_back(Run { from: position.index, position });
        }
        self.next = position.index + 1;
    }

    /// Whether `index` may come next: directly behind the last entry, or anywhere in a log that never had one.
    pub fn follows(&self, index: u64) -> bool {
        index == self.next || (self.is_empty() && self.purged.is_none())
    }

    /// Adds an entry; it must follow.
    pub fn append(&mut self, entry: &LogEntry) {
        let index = entry.position.index;
        if self.is_empty() {
            self.first = index;
            self.next = index;
            self.unwritten = index;
        }
        self.note(entry.position);
        self.cache.push_back(entry.payload.clone());
    }

    /// Removes the entries behind `keep`; whether there were any.
    pub fn truncate_after(&mut self, keep: Option<Position>) -> bool {
        let next = keep.map_or(self.first, |position| position.index + 1).max(self.first);
        if next >= self.next {
            return false;
        }
        let gone = (self.next - next) as usize;
        self.cache.truncate(self.cache.len().saturating_sub(gone));
        while self.runs.back().is_some_and(|run| run.from >= next) {
            self.runs.pop_back();
        }
        self.next = next;
        self.unwritten = self.unwritten.min(next);
        self.truncations += 1;
        true
    }

    /// Removes the entries up to `upto`; whether that is news.
    pub fn purge(&mut self, upto: Position) -> bool {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return false;
        }
        self.purged = Some(upto);
        let first = upto.index + 1;
        if first >= self.next {
            self.next = first;
            self.unwritten = first;
            self.cache.clear();
            self.runs.clear();
        } else {
            self.cache.drain(..self.cache.len().saturating_sub((self.next - first) as usize));
            while self.runs.get(1).is_some_and(|run| run.from <= first) {
                self.runs.pop_front();
            }
        }
        self.first = first;
        true
    }

    fn cached_from(&self) -> u64 {
        self.next - self.cache.len() as u64
    }

    /// Whether all entries from `index` on are in memory.
    pub fn is_cached(&self, index: u64) -> bool {
        self.cached_from() <= index.max(self.first)
    }

    /// Drops cached payloads up to `upto` as far as they can be read from a file.
    pub fn evict(&mut self, upto: u64) {
        let end = (upto + 1).min(self.unwritten);
        let count = end.saturating_sub(self.cached_from()) as usize;
        self.cache.drain(..count.min(self.cache.len()));
    }

    /// Where to find the entries of `from..to` that are there, up to `max` payload bytes but at least one.
    pub fn plan(&self, from: u64, to: u64, max: usize) -> Vec<Planned> {
        let (from, to) = (from.max(self.first), to.min(self.next));
        let mut planned = Vec::with_capacity(to.saturating_sub(from).min(1024) as usize);
        let mut left = max;
        let cached_from = self.cached_from();
        let mut run = self.runs.partition_point(|run| run.from <= from).saturating_sub(1);
        for index in from..to {
            while self.runs.get(run + 1).is_some_and(|next| next.from <= index) {
                run += 1;
            }
            let position = Position { index, ..self.runs[run].position };
            let (len, one) = if index >= cached_from {
                let payload = &self.cache[(index - cached_from) as usize];
                (payload.len(), Planned::Cached(LogEntry { position, payload: payload.clone() }))
            } else {
                let place = self.written.places[(index - self.written.first) as usize];
                (place.len as usize, Planned::Stored(position, place))
            };
            if len > left && !planned.is_empty() {
                break;
            }
            left = left.saturating_sub(len);
            planned.push(one);
        }
        planned
    }

    /// The same of what is durable, in a file though it be cached: to read again what was written. Nothing while a
    /// truncation is under way.
    pub fn plan_stored(&self, from: u64, max: usize) -> Vec<Planned> {
        if self.written.truncations != self.truncations {
            return Vec::new();
        }
        let from = from.max(self.first).max(self.written.first);
        let to = self.unwritten.min(self.written.next()).min(self.next);
        let mut planned = Vec::new();
        let mut left = max;
        let mut run = self.runs.partition_point(|run| run.from <= from).saturating_sub(1);
        for index in from..to {
            while self.runs.get(run + 1).is_some_and(|next| next.from <= index) {
                run += 1;
            }
            let place = self.written.places[(index - self.written.first) as usize];
            if place.len as usize > left && !planned.is_empty() {
                break;
            }
            left = left.saturating_sub(place.len as usize);
            planned.push(Planned::Stored(Position { index, ..self.runs[run].position }, place));
        }
        planned
    }

    /// Called when something of this group became durable: what of it may leave the cache from now on.
    pub fn settle(&mut self) {
        // While a truncation is under way, an index may mean different entries in the two views.
        if self.written.truncations == self.truncations {
            self.unwritten = self.unwritten.max(self.written.next().min(self.next));
        }
    }
}

impl Written {
    fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// Payload and record bytes of the entries.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What a new segment says of the group.
    pub fn restated(&self) -> Restated {
        let Self { ballot, purged, committed, last, first, .. } = *self;
        Restated { ballot, purged, committed, last, first }
    }

    /// An entry became durable.
    pub fn append(&mut self, position: Position, place: Place) {
        if self.places.is_empty() {
            self.first = position.index;
        }
        self.places.push_back(place);
        self.bytes += entry_bytes(place.len as usize);
        self.last = Some(position);
    }

    /// A truncation became durable: the places that nobody needs any more.
    pub fn truncate_after(&mut self, keep: Option<Position>) -> Vec<Place> {
        self.truncations += 1;
        let next = keep.map_or(self.first, |position| position.index + 1).max(self.first);
        let count = (next - self.first).min(self.places.len() as u64) as usize;
        let gone = self.places.split_off(count);
        self.last = if self.places.is_empty() { self.purged } else { keep };
        self.drop_bytes(gone.into())
    }

    /// A purge became durable: the places that nobody needs any more.
    pub fn purge(&mut self, upto: Position) -> Vec<Place> {
        self.purged = Some(upto);
        let count = (upto.index + 1).saturating_sub(self.first).min(self.places.len() as u64) as usize;
        let gone = self.places.drain(..count).collect();
        self.first = upto.index + 1;
        if self.places.is_empty() {
            self.last = Some(upto);
        }
        self.drop_bytes(gone)
    }

    /// The group is gone: all its places.
    pub fn forget(&mut self) -> Vec<Place> {
        std::mem::take(self).places.into()
    }

    fn drop_bytes(&mut self, gone: Vec<Place>) -> Vec<Place> {
        self.bytes -= gone.iter().map(|place| entry_bytes(place.len as usize)).sum::<u64>();
        gone
    }
}
