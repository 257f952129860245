//! One group's rows in one generation, seen through a view of the engine: keys without their prefix, typed failures.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::IndexError;
use super::engine::{Space, View};
use super::key::{self, PREFIX};
use super::record::{self, NotARecord};

/// One group's rows.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    view: &'a dyn View,
    prefix: [u8; PREFIX],
}

/// A row: key without group and generation, and value.
pub type Row = Result<(Bytes, Bytes), IndexError>;

impl<'a> Rows<'a> {
    /// The rows under `prefix`, as [`key::generation`] makes it.
    pub fn new(view: &'a dyn View, prefix: [u8; PREFIX]) -> Self {
        Self { view, prefix }
    }

    /// The value of a record's key.
    pub fn get(&self, suffix: &[u8]) -> Result<Option<Bytes>, IndexError> {
        Ok(self.view.get(Space::Records, &self.whole(suffix))?)
    }

    /// A record.
    pub fn record<T: DeserializeOwned>(&self, suffix: &[u8]) -> Result<Option<T>, IndexError> {
        self.get(suffix)?.map(|value| read(suffix, record::decode(&value))).transpose()
    }

    /// An inline body.
    pub fn body(&self, number: u64) -> Result<Option<Bytes>, IndexError> {
        Ok(self.view.get(Space::Bodies, &self.whole(&key::body(number)))?)
    }

    /// Rows with `from <= key < to`, in order.
    pub fn range(self, space: Space, from: &[u8], to: &[u8]) -> impl Iterator<Item = Row> + Send + use<'a> {
        let to = if to.is_empty() { super::engine::behind(&self.prefix) } else { self.whole(to) };
        let rows = self.view.range(space, &self.whole(from), &to);
        rows.map(|row| {
            let (key, value) = row?;
            Ok((key.slice(PREFIX..), value))
        })
    }

    /// Records whose keys start with `prefix`, in order.
    pub fn under(self, prefix: &[u8]) -> impl Iterator<Item = Row> + Send + use<'a> {
        self.range(Space::Records, prefix, &super::engine::behind(prefix))
    }

    fn whole(&self, suffix: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(PREFIX + suffix.len());
        key.extend_from_slice(&self.prefix);
        key.extend_from_slice(suffix);
        key
    }
}

/// A decoded record, or the failure that names its table.
pub fn read<T>(suffix: &[u8], decoded: Result<T, NotARecord>) -> Result<T, IndexError> {
    decoded.map_err(|NotARecord| IndexError::Corrupt { table: suffix.first().copied().unwrap_or(0) })
}
