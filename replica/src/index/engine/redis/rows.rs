//! Frozen views and their rows.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::layout;
use super::undo::{Look, Place};
use super::{Shared, ViewGone};
use crate::index::engine::{EngineError, Row, Space, View};

/// Rows of a range's first page, and of any later one, by space: bodies are long.
const PAGES: [(usize, usize); 2] = [(16, 256), (2, 16)];

/// How long a waiting reader may miss that the engine was lost.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A frozen view. Clones see the same.
pub struct Frozen {
    shared: Arc<Shared>,
    number: u64,
    /// Whether it waits for a silent Redis as a writer does.
    insist: bool,
}

impl Frozen {
    /// A view of now.
    pub fn new(shared: Arc<Shared>, insist: bool) -> Self {
        let number = shared.undo.lock().open();
        Self { shared, number, insist }
    }

    /// The newest batch in it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What rows' checksums begin with.
    pub fn salt(&self) -> u64 {
        self.shared.salt
    }

    /// What the overlay says, once no batch that matters is under way.
    fn settled<T>(&self, look: impl Fn(&super::Undo) -> Result<T, Look>) -> Result<T, EngineError> {
        let mut undo = self.shared.undo.lock();
        loop {
            match look(&undo) {
                Ok(settled) => return Ok(settled),
                Err(Look::UnderWay) => {
                    if let Some(lost) = self.shared.lost() {
                        return Err(lost);
                    }
                    // Bounded by the writer, which lands its batch or loses the engine: the latter without this lock.
                    self.shared.landed.wait_for(&mut undo, LOOK_AGAIN);
                }
                Err(_) => return Err(EngineError(Box::new(ViewGone))),
            }
        }
    }
}

impl Clone for Frozen {
    fn clone(&self) -> Self {
        self.shared.undo.lock().reopen(self.number);
        Self { shared: self.shared.clone(), number: self.number, insist: self.insist }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.shared.undo.lock().close(self.number);
    }
}

impl View for Frozen {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let (low, high) = layout::only(space, key);
        let current = self.shared.read(self.insist, &low, &high, 1)?.pop().map(|(_, value)| value);
        let place = (space, Bytes::copy_from_slice(key));
        let kept = super::waiting(|| {
            self.settled(|undo| match undo.look(self.number, &place) {
                Look::Current => Ok(None),
                Look::Kept(value) => Ok(Some(value)),
                other => Err(other),
            })
        })?;
        Ok(kept.unwrap_or(current))
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        Box::new(Rows::new(self.clone(), space, from, to))
    }
}

/// Rows of a frozen view, fetched a page at a time.
pub struct Rows {
    view: Frozen,
    space: Space,
    /// Where the next page starts, as Redis wants it and as the overlay does.
    low: Vec<u8>,
    from: Bytes,
    high: Vec<u8>,
    to: Bytes,
    limit: usize,
    fetched: std::vec::IntoIter<(Bytes, Bytes)>,
    done: bool,
}

impl Rows {
    /// Rows with `from <= key < to`; an empty `to` has no upper end.
    pub fn new(view: Frozen, space: Space, from: &[u8], to: &[u8]) -> Self {
        let (low, high) = layout::between(space, from, to);
        Self {
            view,
            space,
            low,
            from: Bytes::copy_from_slice(from),
            high,
            to: Bytes::copy_from_slice(to),
            limit: PAGES[space as usize].0,
            fetched: Vec::new().into_iter(),
            done: !to.is_empty() && from >= to,
        }
    }

    /// The next page, perhaps empty.
    fn fetch(&mut self) -> Result<(), EngineError> {
        let shared = &self.view.shared;
        let mut rows = shared.read(self.view.insist, &self.low, &self.high, self.limit)?;
        let last = rows.last().map(|(key, _)| key.clone()).filter(|_| rows.len() == self.limit);
        let place = |key: &Bytes| -> Place { (self.space, key.clone()) };
        let (from, end) = (place(&self.from), last.as_ref().map(place));
        let to = match (&end, self.space) {
            (Some(last), _) => Bound::Included(last.clone()),
            (None, _) if !self.to.is_empty() => Bound::Excluded(place(&self.to)),
            (None, Space::Records) => Bound::Excluded((Space::Bodies, Bytes::new())),
            (None, Space::Bodies) => Bound::Unbounded,
        };
        let number = self.view.number;
        let kept = super::waiting(|| self.view.settled(|undo| undo.look_between(number, &from, to.as_ref())))?;
        if !kept.is_empty() {
            rows = overlaid(rows, kept);
        }
        match last {
            Some(last) => {
                self.low = layout::after(self.space, &last);
                self.from = [&last[..], &[0]].concat().into();
                self.limit = PAGES[self.space as usize].1;
            }
            None => self.done = true,
        }
        self.fetched = rows.into_iter();
        Ok(())
    }
}

/// Both in order; where both know a key the kept one counts.
fn overlaid(rows: Vec<(Bytes, Bytes)>, kept: Vec<(Bytes, Option<Bytes>)>) -> Vec<(Bytes, Bytes)> {
    let mut merged = Vec::with_capacity(rows.len() + kept.len());
    let (mut rows, mut kept) = (rows.into_iter().peekable(), kept.into_iter().peekable());
    loop {
        let row_first = match (rows.peek(), kept.peek()) {
            (None, None) => return merged,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((row, _)), Some((key, _))) => row < key,
        };
        if row_first {
            merged.extend(rows.next());
        } else if let Some((key, value)) = kept.next() {
            rows.next_if(|(row, _)| *row == key);
            merged.extend(value.map(|value| (key, value)));
        }
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            if let Some(row) = self.fetched.next() {
                return Some(Ok(row));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.fetch() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}
