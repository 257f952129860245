//! Reads a log back.
//!
//! Every batch is synced before the next one is written. So a damaged batch is a torn tail, which nobody was ever told
//! about, exactly if no later batch exists behind it; otherwise bytes that were synced have changed, and the log is
//! corrupt. A torn tail is not overwritten with zeros: the next batch skips one number ([`Body::Resume`]), so what is
//! left of the torn one can neither follow nor come after anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_wire::id::GroupId;
use holdfast_wire::planted::Fault as Planted;

use super::record::{BLOCK, Body, ENTRY_HEAD, HEADER, Header, Mask, Restated, Start, VERSION, padded, verify};
use super::segment::{self, Segment};
use super::{Corruption, LogError, Place};
use crate::file::{File, Files};
use crate::position::Position;

/// Files are read in pieces of this.
const WINDOW: usize = 1 << 20;

/// What a directory holds.
#[derive(Default)]
pub struct Recovered {
    /// The groups and their entries, first to last.
    pub groups: BTreeMap<GroupId, Group>,
    /// Segments that were started, by generation.
    pub segments: BTreeMap<u64, Arc<Segment>>,
    /// Prepared segments that were not started, lowest generation first.
    pub spares: VecDeque<Segment>,
    /// Where the last started segment ends, in bytes.
    pub end: u64,
    /// The last batch in it.
    pub batch: u64,
}

/// A group as the log tells it.
#[derive(Default)]
pub struct Group {
    /// Vote and marks; `first` and `last` are kept in step with the entries.
    pub state: Restated,
    /// Entries and where they are; `None` where the segment is gone.
    pub entries: VecDeque<(Position, Option<Place>)>,
}

impl Group {
    fn last(&self) -> Option<Position> {
        self.entries.back().map(|(position, _)| *position).or(self.state.purged)
    }

    /// Segments between the last one read and this one may be gone, with whatever they said: entries that they had are
    /// filled in without a place, and entries that they cut may still be here. Neither outlives the log's end: an entry
    /// that is still live there has its segment, whose own restatement makes the entry's index the next one.
    fn restate(&mut self, state: Restated) {
        self.state = state;
        let last = state.last.filter(|last| last.index >= state.first);
        let Some(last) = last else { return self.entries.clear() };
        while self.entries.back().is_some_and(|(back, _)| back.index > last.index) {
            self.entries.pop_back();
        }
        while self.entries.front().is_some_and(|(front, _)| front.index < state.first) {
            self.entries.pop_front();
        }
        if self.entries.front().is_some_and(|(front, _)| front.index > state.first) {
            self.entries.clear();
        }
        let next = self.entries.back().map_or(state.first, |(back, _)| back.index + 1);
        self.entries.extend((next..=last.index).map(|index| (Position { index, ..last }, None)));
        if let Some(back) = self.entries.back_mut().filter(|(back, _)| *back != last) {
            *back = (last, None);
        }
    }

    fn append(&mut self, position: Position, place: Place) -> bool {
        let follows = match self.last() {
            Some(last) => position.index == last.index + 1,
            None => true,
        };
        self.entries.push_back((position, Some(place)));
        follows
    }

    fn truncate_after(&mut self, keep: Option<Position>) {
        let next = keep.map_or(0, |keep| keep.index + 1);
        while self.entries.back().is_some_and(|(back, _)| back.index >= next) {
            self.entries.pop_back();
        }
    }

    fn purge(&mut self, upto: Position) {
        self.state.purged = Some(upto);
        while self.entries.front().is_some_and(|(front, _)| front.index <= upto.index) {
            self.entries.pop_front();
        }
    }
}

/// Reads pieces of a file through one buffer.
struct Window<'a> {
    file: &'a dyn File,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(segment: &'a Segment) -> Self {
        Self { file: &*segment.file, len: segment.len, start: 0, bytes: Vec::new() }
    }

    /// `len` bytes at `offset`, or `None` if the file ends before.
    fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset + len as u64 > self.len {
            return Ok(None);
        }
        if offset < self.start || offset + len as u64 > self.start + self.bytes.len() as u64 {
            let count = (len.max(WINDOW) as u64).min(self.len - offset) as usize;
            self.bytes.resize(count, 0);
            self.start = offset;
            self.file.read_exact_at(&mut self.bytes, offset)?;
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.bytes[from..from + len]))
    }

    fn record(&mut self, offset: u64, mask: Mask) -> io::Result<Option<(Header, Body)>> {
        let header = self.get(offset, HEADER)?.and_then(Header::peek);
        let Some(header) = header else { return Ok(None) };
        Ok(self.get(offset, HEADER + header.len)?.and_then(|bytes| verify(bytes, mask)))
    }
}

/// One intact batch.
struct Batch {
    number: u64,
    records: Vec<(GroupId, Body, Place)>,
    end: u64,
}

/// The batch at `offset` if all of it is intact.
fn batch(window: &mut Window<'_>, segment: &Segment, mut offset: u64) -> io::Result<Option<Batch>> {
    let mut found: Option<Batch> = None;
    loop {
        let Some((header, body)) = window.record(offset, segment.mask)? else { return Ok(None) };
        let batch = found.get_or_insert_with(|| Batch { number: header.batch, records: Vec::new(), end: 0 });
        if header.batch != batch.number {
            return Ok(None);
        }
        let payload = header.len.saturating_sub(ENTRY_HEAD);
        let place = Place { generation: segment.generation, offset: offset as u32, len: payload as u32 };
        batch.records.push((header.group, body, place));
        offset += (HEADER + header.len) as u64;
        if header.last {
            batch.end = padded(offset);
            return Ok(found);
        }
    }
}

/// Where behind `from` a batch later than `number` begins, if one does.
fn later(window: &mut Window<'_>, segment: &Segment, from: u64, number: u64) -> io::Result<bool> {
    let mut offset = from;
    while offset + BLOCK <= segment.len {
        if let Some((header, _)) = window.record(offset, segment.mask)?
            && header.batch > number
        {
            return Ok(true);
        }
        offset += BLOCK;
    }
    Ok(false)
}

/// Reads everything in `dir`, which must exist.
pub fn recover(files: &dyn Files, dir: &Path, salt: u64) -> Result<Recovered, LogError> {
    let io = |source| LogError::Io { dir: dir.to_owned(), source };
    let mut generations = BTreeSet::new();
    for entry in files.read_dir(dir).map_err(io)? {
        generations.extend(segment::generation(&entry.name).filter(|_| !entry.is_dir));
    }
    let mut all = VecDeque::new();
    for generation in generations {
        all.push_back(Segment::open(files, dir, generation, salt).map_err(io)?);
    }

    let mut replay = Replay::default();
    while let Some(segment) = all.pop_front() {
        let mut window = Window::new(&segment);
        let started = match batch(&mut window, &segment, 0).map_err(io)? {
            Some(first) if first.number > replay.batch => matches!(first.records[0].1, Body::Start(_)),
            _ => false,
        };
        if !started {
            // Prepared and never started, or the first batch was torn: then nothing can be behind it.
            all.push_front(segment);
            break;
        }
        match replay.segment(&segment, &mut window) {
            Err(Fault::Previous(..)) if Planted::CorruptAsTorn.is_planted() => {
                drop(window);
                all.push_front(segment);
                break;
            }
            replayed => replayed.map_err(|error| error.at(dir, &segment.path))?,
        }
        replay.done.segments.insert(segment.generation, Arc::new(segment));
    }
    let behind = if Planted::CorruptAsTorn.is_planted() { None } else { replay.tail(&all).map_err(io)? };
    behind.map_or(Ok(()), |(segment, offset)| Err(LogError::Corrupt { segment, offset, what: Corruption::Damaged }))?;

    let mut recovered = replay.done;
    recovered.batch = replay.batch;
    recovered.end = replay.end;
    recovered.spares = all;
    let last = recovered.segments.values().next_back().map_or(PathBuf::new(), |segment| segment.path.clone());
    for (id, group) in &mut recovered.groups {
        group.state.last = group.last();
        group.state.first = group
            .entries
            .front()
            .map_or(group.state.purged.map_or(0, |purged| purged.index + 1), |(front, _)| front.index);
        if let Some((position, _)) = group.entries.iter().find(|(_, place)| place.is_none()) {
            let what = Corruption::Missing { group: *id, index: position.index };
            return Err(LogError::Corrupt { segment: last, offset: recovered.end, what });
        }
    }
    Ok(recovered)
}

enum Fault {
    Io(io::Error),
    Corrupt(u64, Corruption),
    Previous(PathBuf, u64),
    Version(u32),
}

impl Fault {
    fn at(self, dir: &Path, segment: &Path) -> LogError {
        let segment = segment.to_owned();
        match self {
            Fault::Io(source) => LogError::Io { dir: dir.to_owned(), source },
            Fault::Corrupt(offset, what) => LogError::Corrupt { segment, offset, what },
            Fault::Previous(segment, offset) => LogError::Corrupt { segment, offset, what: Corruption::End },
            Fault::Version(found) => LogError::Version { segment, found, known: VERSION },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

#[derive(Default)]
struct Replay {
    done: Recovered,
    batch: u64,
    end: u64,
}

impl Replay {
    /// Replays one started segment up to the first batch that is not intact.
    fn segment(&mut self, segment: &Segment, window: &mut Window<'_>) -> Result<(), Fault> {
        let mut offset = 0;
        while let Some(found) = batch(window, segment, offset)? {
            let first = found.records[0].1;
            let skip = if first == Body::Resume { 2 } else { 1 };
            match first {
                Body::Start(start) if offset == 0 => self.start(segment, start)?,
                _ if offset == 0 || found.number != self.batch + skip => break,
                _ => {}
            }
            self.apply(found.records).map_err(|()| Fault::Corrupt(offset, Corruption::Order))?;
            self.batch = found.number;
            offset = found.end;
        }
        self.end = offset;
        Ok(())
    }

    /// Checks a segment against the one before it.
    fn start(&self, segment: &Segment, start: Start) -> Result<(), Fault> {
        if start.version > VERSION {
            return Err(Fault::Version(start.version));
        }
        if start.len > segment.len {
            return Err(Fault::Corrupt(segment.len, Corruption::Short));
        }
        // Segments in between may have been given up; the one that is named is checked only if it is there.
        if let Some((&generation, previous)) = self.done.segments.last_key_value()
            && generation == start.previous
            && (start.previous_end, start.previous_batch) != (self.end, self.batch)
        {
            return Err(Fault::Previous(previous.path.clone(), self.end));
        }
        Ok(())
    }

    fn apply(&mut self, records: Vec<(GroupId, Body, Place)>) -> Result<(), ()> {
        let groups = &mut self.done.groups;
        if let Body::Start(_) = records[0].1 {
            // A new segment names every group that there is.
            let named = records.iter().filter(|(_, body, _)| matches!(body, Body::Restated(_)));
            let named = named.map(|(id, _, _)| *id).collect::<BTreeSet<_>>();
            groups.retain(|id, _| named.contains(id));
        }
        for (id, body, place) in records {
            match body {
                Body::Start(_) | Body::Mark | Body::Resume => continue,
                Body::Forget => {
                    groups.remove(&id);
                    continue;
                }
                _ => {}
            }
            let group = groups.entry(id).or_default();
            let sound = match body {
                Body::Restated(state) => {
                    group.restate(state);
                    true
                }
                Body::Entry(position) => group.append(position, place),
                Body::Ballot(ballot) => {
                    group.state.ballot = Some(ballot);
                    true
                }
                Body::Truncate(keep) => {
                    group.truncate_after(keep);
                    true
                }
                Body::Purge(upto) => {
                    group.purge(upto);
                    true
                }
                Body::Committed(committed) => {
                    group.state.committed = committed;
                    true
                }
                Body::Start(_) | Body::Forget | Body::Mark | Body::Resume => true,
            };
            if !sound {
                return Err(());
            }
        }
        Ok(())
    }

    /// Where the last intact batch ends, if a batch later than the torn one stands behind it.
    fn tail(&self, unstarted: &VecDeque<Segment>) -> io::Result<Option<(PathBuf, u64)>> {
        let torn = self.batch + 1;
        if let Some(segment) = self.done.segments.values().next_back()
            && later(&mut Window::new(segment), segment, self.end, torn)?
        {
            return Ok(Some((segment.path.clone(), self.end)));
        }
        for segment in unstarted {
            if later(&mut Window::new(segment), segment, 0, torn)? {
                return Ok(Some((segment.path.clone(), 0)));
            }
        }
        Ok(None)
    }
}
