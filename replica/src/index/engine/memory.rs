//! The engine in memory, for tests and simulation: multi-version maps, so that a frozen view costs nothing but the
//! versions that change behind it.
//!
//! [`Memory::with_power_cuts`] also remembers what was not synced, and [`Memory::cut_power`] loses it, from any batch on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Durability, Engine, EngineError, EngineStats, Mutation, Row, Space, Stored, View, behind};

/// Rows that a range fetches under one lock.
const FETCH: usize = 64;

/// An engine in memory. Clones share the data.
#[derive(Clone, Default)]
pub struct Memory {
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    rows: [BTreeMap<Bytes, Versions>; 2],
    /// The number of the newest batch.
    newest: u64,
    /// The newest batch that a power cut cannot take, where such cuts are played.
    synced: Option<u64>,
    /// Batches that frozen views look at, and how many views each.
    pinned: BTreeMap<u64, usize>,
    /// Keys with versions beyond a single live one.
    stale: BTreeSet<(Space, Bytes)>,
    bytes: u64,
}

/// The values of one key, oldest first, each with the number of its batch; `None` is a removal.
#[derive(Default)]
struct Versions(Vec<(u64, Option<Bytes>)>);

impl Versions {
    fn at(&self, batch: u64) -> Option<&Bytes> {
        self.0.iter().rev().find(|(number, _)| *number <= batch).and_then(|(_, value)| value.as_ref())
    }
}

impl Memory {
    /// An empty engine that survives power cuts as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty engine that loses unsynced batches when its power is cut.
    pub fn with_power_cuts() -> Self {
        let engine = Self::default();
        engine.store.lock().synced = Some(0);
        engine
    }

    /// Loses the unsynced batches except the `surviving` oldest of them. Returns how many there were.
    pub fn cut_power(&self, surviving: u64) -> u64 {
        let mut store = self.store.lock();
        let Some(synced) = store.synced else { return 0 };
        let unsynced = store.newest - synced;
        let last = synced + surviving.min(unsynced);
        for rows in &mut store.rows {
            rows.retain(|_, versions| {
                versions.0.retain(|(number, _)| *number <= last);
                !versions.0.is_empty()
            });
        }
        store.newest = last;
        store.synced = Some(last);
        store.sweep();
        unsynced
    }

    fn pin(&self) -> Frozen {
        let mut store = self.store.lock();
        let batch = store.newest;
        *store.pinned.entry(batch).or_default() += 1;
        Frozen { store: self.store.clone(), batch }
    }
}

impl Store {
    fn set(&mut self, batch: u64, space: Space, key: Bytes, value: Option<Bytes>) {
        self.bytes += (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64;
        let versions = self.rows[space as usize].entry(key.clone()).or_default();
        if versions.0.last().is_some_and(|(number, _)| *number == batch) {
            versions.0.pop();
        }
        versions.0.push((batch, value));
        self.trim(space, key);
    }

    /// Drops the versions of a key that nobody can see any more.
    fn trim(&mut self, space: Space, key: Bytes) {
        let Some(versions) = self.rows[space as usize].get_mut(&key) else { return };
        let oldest = self.pinned.keys().next().copied().into_iter().chain(self.synced).min().unwrap_or(self.newest);
        // Everything before the version that the oldest view sees is out of sight.
        let seen = versions.0.iter().rposition(|(number, _)| *number <= oldest).unwrap_or(0);
        for (_, value) in versions.0.drain(..seen) {
            self.bytes = self.bytes.saturating_sub((key.len() + value.map_or(0, |value| value.len())) as u64);
        }
        match &versions.0[..] {
            [(number, None)] if *number <= oldest => {
                self.bytes = self.bytes.saturating_sub(key.len() as u64);
                self.rows[space as usize].remove(&key);
                self.stale.remove(&(space, key));
            }
            [(_, Some(_))] => {
                self.stale.remove(&(space, key));
            }
            _ => {
                self.stale.insert((space, key));
            }
        }
    }

    fn sweep(&mut self) {
        for (space, key) in std::mem::take(&mut self.stale) {
            self.trim(space, key);
        }
    }
}

impl View for Memory {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.store.lock().rows[space as usize].get(key).and_then(|versions| versions.at(u64::MAX)).cloned())
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        Box::new(Range::new(self.pin(), space, from, to))
    }
}

impl Engine for Memory {
    fn write(&self, batch: Vec<Mutation>, durability: Durability) -> Result<(), EngineError> {
        let mut store = self.store.lock();
        store.newest += 1;
        let number = store.newest;
        for mutation in batch {
            match mutation {
                Mutation::Put(space, key, value) => store.set(number, space, key.into(), Some(value)),
                Mutation::Remove(space, key) => {
                    if store.rows[space as usize].contains_key(&key[..]) {
                        store.set(number, space, key.into(), None);
                    }
                }
            }
        }
        if durability == Durability::Synced && store.synced.is_some() {
            store.synced = Some(number);
            store.sweep();
        }
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn View> {
        Box::new(self.pin())
    }

    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        for space in Space::ALL {
            let keys: Vec<Bytes> = Range::new(self.pin(), space, prefix, &behind(prefix))
                .map(|row| row.map(|(key, _)| key))
                .collect::<Result<_, _>>()?;
            let batch = keys.into_iter().map(|key| Mutation::Remove(space, key.to_vec())).collect();
            self.write(batch, Durability::Buffered)?;
        }
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        EngineStats { disk_bytes: 0, memory_bytes: self.store.lock().bytes }
    }

    fn stored(&self) -> Vec<Stored> {
        Vec::new()
    }
}

/// A frozen view.
struct Frozen {
    store: Arc<Mutex<Store>>,
    batch: u64,
}

impl View for Frozen {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.store.lock().rows[space as usize].get(key).and_then(|versions| versions.at(self.batch)).cloned())
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        Box::new(Range::new(self, space, from, to))
    }
}

impl AsRef<Frozen> for Frozen {
    fn as_ref(&self) -> &Frozen {
        self
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let mut store = self.store.lock();
        let Some(views) = store.pinned.get_mut(&self.batch) else { return };
        *views -= 1;
        if *views == 0 {
            let oldest = store.pinned.keys().next() == Some(&self.batch);
            store.pinned.remove(&self.batch);
            if oldest {
                store.sweep();
            }
        }
    }
}

/// Rows of a frozen view, fetched a few at a time.
struct Range<V> {
    view: V,
    space: Space,
    from: Bound<Bytes>,
    to: Bytes,
    fetched: std::vec::IntoIter<(Bytes, Bytes)>,
    done: bool,
}

impl<V: AsRef<Frozen>> Range<V> {
    fn new(view: V, space: Space, from: &[u8], to: &[u8]) -> Self {
        Self {
            view,
            space,
            from: Bound::Included(Bytes::copy_from_slice(from)),
            to: Bytes::copy_from_slice(to),
            fetched: Vec::new().into_iter(),
            done: !to.is_empty() && from >= to,
        }
    }

    fn fetch(&mut self) {
        let frozen = self.view.as_ref();
        let store = frozen.store.lock();
        let to = if self.to.is_empty() { Bound::Unbounded } else { Bound::Excluded(self.to.clone()) };
        if let Bound::Excluded(last) = &self.from
            && !self.to.is_empty()
            && *last >= self.to
        {
            self.done = true;
            return;
        }
        let rows: Vec<_> = store.rows[self.space as usize]
            .range((self.from.clone(), to))
            .filter_map(|(key, versions)| Some((key.clone(), versions.at(frozen.batch)?.clone())))
            .take(FETCH)
            .collect();
        self.done = rows.len() < FETCH;
        if let Some((last, _)) = rows.last() {
            self.from = Bound::Excluded(last.clone());
        }
        drop(store);
        self.fetched = rows.into_iter();
    }
}

impl<V: AsRef<Frozen>> Iterator for Range<V> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            if let Some(row) = self.fetched.next() {
                return Some(Ok(row));
            }
            if self.done {
                return None;
            }
            self.fetch();
        }
    }
}
