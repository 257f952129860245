//! Snapshots of a group: its rows in chunks, and their way into another node's engine.
//!
//! The row of [`Table::Applied`] comes last, once: rows without it are no snapshot. Received rows go into the engine
//! under a generation of their own, in batches of bounded size; one synced batch then puts that generation in force. A
//! crash before it leaves the old state, a crash behind it the new one.

use bytes::Bytes;

use super::chunk::{self, put_row};
use super::engine::{Durability, Mutation, Space, behind};
use super::key::{self, PREFIX, Suffix, Table};
use super::reader::Reader;
use super::record::{self, Progress};
use super::requests::Requests;
use super::resident::Resident;
use super::rows::{Rows, read};
use super::{Applied, Index, IndexError, State};

/// A chunk ends with the row that makes it this long, bytes.
const CHUNK: usize = 1 << 20;
/// Received rows are written in batches of so many bytes.
const BATCH: usize = 1 << 20;

/// A group's state, frozen.
pub struct IndexSnapshot {
    reader: Reader,
    applied: Applied,
}

impl IndexSnapshot {
    pub(super) fn new(reader: Reader, applied: Applied) -> Self {
        Self { reader, applied }
    }

    /// What it holds.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Reads of it.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Its rows, for [`Installer::push`]. Read as they are asked for; after an error there are no more.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Bytes, IndexError>> + Send + use<> {
        Chunks { reader: self.reader.clone(), next: Some((Space::Records, Vec::new())) }
    }
}

struct Chunks {
    reader: Reader,
    /// Where the next chunk starts.
    next: Option<(Space, Suffix)>,
}

impl Iterator for Chunks {
    type Item = Result<Bytes, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (space, from) = self.next.take()?;
        Some(self.chunk(space, from))
    }
}

impl Chunks {
    fn chunk(&mut self, mut space: Space, mut from: Suffix) -> Result<Bytes, IndexError> {
        let applied = key::table(Table::Applied);
        let mut chunk = chunk::begin(CHUNK + (CHUNK >> 2));
        loop {
            for row in self.reader.rows().range(space, &from, &[]) {
                let (suffix, value) = row?;
                if suffix[..] == applied[..] {
                    continue;
                }
                put_row(&mut chunk, space, &suffix, &value);
                if chunk.len() >= CHUNK {
                    let mut from = suffix.to_vec();
                    from.push(0);
                    self.next = Some((space, from));
                    return Ok(chunk.freeze());
                }
            }
            match space {
                Space::Records => (space, from) = (Space::Bodies, Vec::new()),
                Space::Bodies => break,
            }
        }
        if let Some(value) = self.reader.rows().get(&applied)? {
            put_row(&mut chunk, Space::Records, &applied, &value);
        }
        Ok(chunk.freeze())
    }
}

/// A snapshot on its way in. Dropped unfinished, it leaves the group as it is.
pub struct Installer {
    index: Index,
    generation: u32,
    prefix: [u8; PREFIX],
    batch: Vec<Mutation>,
    batch_bytes: usize,
    applied: Option<Bytes>,
}

impl Installer {
    pub(super) fn new(index: Index, generation: u32) -> Self {
        let prefix = key::generation(index.0.group, generation);
        Self { index, generation, prefix, batch: Vec::new(), batch_bytes: 0, applied: None }
    }

    /// Takes a chunk. After an error the snapshot must be given up.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), IndexError> {
        for row in chunk::rows(chunk)? {
            let (space, suffix, value) = row?;
            // Nothing comes behind the last row.
            if self.applied.is_some() {
                return Err(IndexError::BrokenSnapshot);
            }
            let bytes = suffix.len() + value.len();
            if space == Space::Records && suffix[..] == key::table(Table::Applied)[..] {
                self.applied = Some(value);
                continue;
            }
            self.batch_bytes += bytes;
            self.batch.push(Mutation::Put(space, self.whole(&suffix), value));
            if self.batch_bytes >= BATCH {
                self.batch_bytes = 0;
                self.index.0.engine.write(std::mem::take(&mut self.batch), Durability::Buffered)?;
            }
        }
        Ok(())
    }

    /// Puts the snapshot in force, on disk when this returns. Says what the group has applied now.
    pub fn finish(mut self) -> Result<Applied, IndexError> {
        let value = self.applied.take().ok_or(IndexError::BrokenSnapshot)?;
        let applied_key = key::table(Table::Applied);
        self.batch.push(Mutation::Put(Space::Records, self.whole(&applied_key), value));
        let inner = &self.index.0;
        inner.engine.write(std::mem::take(&mut self.batch), Durability::Buffered)?;
        let state = State::load(&*inner.engine, inner.group, self.generation)?;
        let requests = Requests::load(Rows::new(&*inner.engine, self.prefix))?;
        self.index.replace(state, requests)?;
        Ok(self.index.applied())
    }

    fn whole(&self, suffix: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(PREFIX + suffix.len());
        key.extend_from_slice(&self.prefix);
        key.extend_from_slice(suffix);
        key
    }
}

impl Drop for Installer {
    fn drop(&mut self) {
        if self.index.0.state.read().generation != self.generation
            && let Err(error) = self.index.0.engine.clear(&self.prefix)
        {
            tracing::warn!(%error, "rows of an abandoned snapshot stay until the next start");
        }
    }
}

impl Index {
    /// Puts another generation in force, synced, and drops the one that was.
    pub(super) fn replace(&self, state: State, requests: Requests) -> Result<(), IndexError> {
        let inner = &self.0;
        let mut writer = inner.writer.lock();
        let pointer = Mutation::Put(Space::Records, key::pointer(inner.group), record::encode(&state.generation));
        inner.engine.write(vec![pointer], Durability::Synced)?;
        let old = std::mem::replace(&mut *inner.state.write(), state).generation;
        *writer = requests;
        Ok(inner.engine.clear(&key::generation(inner.group, old))?)
    }
}

impl State {
    /// The state that a generation's rows hold.
    pub(super) fn load(
        view: &dyn super::engine::View,
        group: holdfast_wire::id::GroupId,
        generation: u32,
    ) -> Result<Self, IndexError> {
        let rows = Rows::new(view, key::generation(group, generation));
        let (progress, membership) = progress(rows)?;
        Ok(Self { generation, progress, membership, resident: Resident::load(rows)? })
    }
}

fn progress(rows: Rows<'_>) -> Result<(Progress, Bytes), IndexError> {
    let membership = key::table(Table::Membership);
    let members = match rows.get(&membership)? {
        Some(value) => read(&membership, record::decode_opaque(&value))?,
        None => Bytes::new(),
    };
    Ok((rows.record(&key::table(Table::Applied))?.unwrap_or_default(), members))
}

/// Removes what snapshots that never came into force, or generations that were replaced, have left behind.
pub(super) fn clear_leftovers(
    engine: &dyn super::engine::Engine,
    group: holdfast_wire::id::GroupId,
    generation: u32,
) -> Result<(), IndexError> {
    for space in Space::ALL {
        let mut from = key::generation(group, 1).to_vec();
        let to = behind(&key::group(group));
        loop {
            let row = engine.range(space, &from, &to).next().transpose()?;
            let Some(found) = row.and_then(|(key, _)| key::generation_of(&key)) else { break };
            if found != generation {
                engine.clear(&key::generation(group, found))?;
            }
            let Some(next) = found.checked_add(1) else { break };
            from = key::generation(group, next).to_vec();
        }
    }
    Ok(())
}
