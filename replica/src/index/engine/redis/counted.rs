//! A frozen view that counts the rows that are read from it, and compares them with the stamp of its moment.

use bytes::Bytes;
use parking_lot::Mutex;

use super::layout::{self, Stamp};
use super::rows::Frozen;
use crate::index::engine::{EngineError, Row, Space, View};

/// The view.
pub struct Counted {
    view: Frozen,
    /// What all rows must come to.
    pub stamp: Stamp,
    seen: Mutex<Stamp>,
}

impl Counted {
    /// Over a view of the moment when `stamp` was the newest: taken under the writer's lock.
    pub fn new(view: Frozen, stamp: Stamp) -> Self {
        debug_assert_eq!(view.number(), stamp.number);
        let seen = Mutex::new(Stamp { rows: 0, sum: 0, ..stamp });
        Self { view, stamp, seen }
    }

    /// Whether what was read, each row once, is all that there should be.
    pub fn is_whole(&self) -> bool {
        *self.seen.lock() == self.stamp
    }
}

impl View for Counted {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.view.get(space, key)
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        let salt = self.view.salt();
        Box::new(self.view.range(space, from, to).inspect(move |row| {
            if let Ok((key, value)) = row {
                let member = layout::row(salt, space, key, value);
                self.seen.lock().count(None, Some(&member));
            }
        }))
    }
}
