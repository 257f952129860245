//! Requests seen: a repeated one gets the first outcome. Which are forgotten depends on the entries alone, so that all
//! members forget the same.

use std::collections::{HashMap, VecDeque};

use holdfast_wire::id::RequestId;

use super::IndexError;
use super::key::{self, Table};
use super::record::{self, Seen};
use super::rows::{Rows, read};

/// So many are always kept.
pub const KEEP: usize = 4096;
/// Those younger than this are kept, milliseconds.
pub const KEEP_MS: u64 = 60_000;
/// So many are kept at most.
pub const MAX: usize = 1_000_000;
/// An entry forgets at most so many, so that the entry after a pause is not a long one.
pub const FORGET_AT_ONCE: usize = 64;

/// Requests seen, by id and in order of their entries. The outcomes are in [`Table::Requests`].
#[derive(Debug, Default)]
pub struct Requests {
    by_id: HashMap<RequestId, u64>,
    order: VecDeque<(u64, RequestId, u64)>,
}

impl Requests {
    /// Reads them from the table.
    pub fn load(rows: Rows<'_>) -> Result<Self, IndexError> {
        let mut requests = Self::default();
        for row in rows.under(&key::table(Table::Requests)) {
            let (suffix, value) = row?;
            let index = key::read_number(&suffix).ok_or(IndexError::Corrupt { table: Table::Requests as u8 })?;
            let seen: Seen = read(&suffix, record::decode(&value))?;
            requests.enter(index, seen.request, seen.at_ms);
        }
        Ok(requests)
    }

    /// The log index of the entry that brought this request.
    pub fn find(&self, request: RequestId) -> Option<u64> {
        self.by_id.get(&request).copied()
    }

    /// The log indexes that are forgotten when a request enters at this time, oldest first.
    pub fn leaving(&self, at_ms: u64) -> impl Iterator<Item = u64> + '_ {
        let with_new = self.order.len() + 1;
        self.order
            .iter()
            .take(FORGET_AT_ONCE)
            .enumerate()
            .take_while(move |(before, (_, _, entered_ms))| {
                let left = with_new - before;
                left > MAX || (left > KEEP && at_ms.saturating_sub(*entered_ms) >= KEEP_MS)
            })
            .map(|(_, (index, _, _))| *index)
    }

    /// Forgets the oldest.
    pub fn forget(&mut self, count: usize) {
        for (_, request, _) in self.order.drain(..count) {
            self.by_id.remove(&request);
        }
    }

    /// Remembers one.
    pub fn enter(&mut self, index: u64, request: RequestId, at_ms: u64) {
        self.by_id.insert(request, index);
        self.order.push_back((index, request, at_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize, at_ms: u64) -> Requests {
        let mut requests = Requests::default();
        (0..count).for_each(|i| requests.enter(i as u64, RequestId(i as u128), at_ms));
        requests
    }

    #[test]
    fn old_requests_are_forgotten_only_beyond_the_count() {
        assert_eq!(filled(KEEP - 1, 0).leaving(u64::MAX).count(), 0);
        assert_eq!(filled(KEEP, 0).leaving(KEEP_MS).collect::<Vec<_>>(), [0]);
        assert_eq!(filled(KEEP, 0).leaving(KEEP_MS - 1).count(), 0);
        assert_eq!(filled(KEEP + 9, 0).leaving(KEEP_MS).count(), 10);
        assert_eq!(filled(KEEP + 1000, 0).leaving(KEEP_MS).count(), FORGET_AT_ONCE);
        assert_eq!(filled(KEEP + 9, 1000).leaving(0).count(), 0, "a clock that went back forgets nothing");
    }

    #[test]
    fn beyond_the_cap_young_ones_are_forgotten_too() {
        assert_eq!(filled(MAX, 0).leaving(0).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn what_was_forgotten_is_not_found() {
        let mut requests = filled(3, 0);
        requests.forget(2);
        assert_eq!(requests.find(RequestId(1)), None);
        assert_eq!(requests.find(RequestId(2)), Some(2));
    }
}
