//! Frozen views over a store that has none: the writer keeps, in this process's memory, what it replaced for as long as a
//! view that is older is open.
//!
//! ```text
//! view of batch 7 asks for k:   Redis says "9's value"  ── then the overlay: replaced by batch 8, before it: X  ──▶ X
//!                               Redis says "5's value"  ── then the overlay: nothing                            ──▶ that
//! ```
//!
//! Redis is asked first and the overlay second: whatever Redis had seen by then is in the overlay, or under way, and what
//! is under way is waited for. Pure but for the lock that its owner holds.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use crate::index::engine::Space;

/// Which row.
pub type Place = (Space, Bytes);

/// Bookkeeping of one kept row beyond its bytes, about.
const OVERHEAD: usize = 96;

/// What a row was before it was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Old {
    /// This, or nothing.
    Was(Option<Bytes>),
    /// Not known: the answer to the batch that replaced it was lost.
    Unknown,
}

/// What a view has to do about a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Believe Redis.
    Current,
    /// Believe this.
    Kept(Option<Bytes>),
    /// Wait for the batch under way, and look again.
    UnderWay,
    /// Give up.
    Gone,
}

/// Open views and what they need.
#[derive(Debug)]
pub struct Undo {
    limit: usize,
    visible: u64,
    open: BTreeMap<u64, usize>,
    /// Per row: by which batch it was replaced, and what it was; in order of batches.
    kept: BTreeMap<Place, Vec<(u64, Old)>>,
    /// The rows of each batch, oldest first.
    batches: VecDeque<(u64, Vec<Place>)>,
    bytes: usize,
    under_way: BTreeMap<Place, ()>,
    /// Views of batches before this one are given up.
    given_up: u64,
}

impl Undo {
    /// No views; batch `visible` is the newest. At most about `limit` bytes are kept.
    pub fn new(visible: u64, limit: usize) -> Self {
        Self {
            limit,
            visible,
            open: BTreeMap::new(),
            kept: BTreeMap::new(),
            batches: VecDeque::new(),
            bytes: 0,
            under_way: BTreeMap::new(),
            given_up: 0,
        }
    }

    /// The newest batch.
    pub fn visible(&self) -> u64 {
        self.visible
    }

    /// Bytes kept, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Opens a view of now.
    pub fn open(&mut self) -> u64 {
        *self.open.entry(self.visible).or_default() += 1;
        self.visible
    }

    /// Opens another view of the same.
    pub fn reopen(&mut self, number: u64) {
        *self.open.entry(number).or_default() += 1;
    }

    /// Closes a view.
    pub fn close(&mut self, number: u64) {
        let Some(count) = self.open.get_mut(&number) else { return };
        *count -= 1;
        if *count == 0 {
            self.open.remove(&number);
            self.prune();
        }
    }

    /// A batch is about to be sent that changes these rows.
    pub fn depart(&mut self, places: impl Iterator<Item = Place>) {
        self.under_way = places.map(|place| (place, ())).collect();
    }

    /// It has arrived as batch `number`, and this is what it replaced.
    pub fn arrive(&mut self, number: u64, olds: Vec<(Place, Old)>) {
        self.under_way.clear();
        self.visible = number;
        if self.open.is_empty() {
            return;
        }
        let mut places = Vec::with_capacity(olds.len());
        for (place, old) in olds {
            self.bytes += cost(&place, &old);
            self.kept.entry(place.clone()).or_default().push((number, old));
            places.push(place);
        }
        self.batches.push_back((number, places));
        if self.bytes > self.limit {
            self.given_up = number;
            self.kept.clear();
            self.batches.clear();
            self.bytes = 0;
        }
    }

    /// What the view of batch `number` has to do about a row.
    pub fn look(&self, number: u64, place: &Place) -> Look {
        if number < self.given_up {
            return Look::Gone;
        }
        match self.kept.get(place).and_then(|olds| before(olds, number)) {
            Some(Old::Was(value)) => Look::Kept(value.clone()),
            Some(Old::Unknown) => Look::Gone,
            None if self.under_way.contains_key(place) => Look::UnderWay,
            None => Look::Current,
        }
    }

    /// The rows from `from` to `to` about which the view of batch `number` must not believe Redis, in order.
    pub fn look_between(
        &self,
        number: u64,
        from: &Place,
        to: Bound<&Place>,
    ) -> Result<Vec<(Bytes, Option<Bytes>)>, Look> {
        if number < self.given_up {
            return Err(Look::Gone);
        }
        let range = (Bound::Included(from), to);
        if is_empty(from, to) {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        for ((_, key), olds) in self.kept.range::<Place, _>(range) {
            match before(olds, number) {
                Some(Old::Was(value)) => rows.push((key.clone(), value.clone())),
                Some(Old::Unknown) => return Err(Look::Gone),
                None => {}
            }
        }
        let undecided = |place: &Place| self.kept.get(place).and_then(|olds| before(olds, number)).is_none();
        match self.under_way.range::<Place, _>(range).any(|(place, ())| undecided(place)) {
            true => Err(Look::UnderWay),
            false => Ok(rows),
        }
    }

    /// Drops what no open view needs any more.
    fn prune(&mut self) {
        let oldest = self.open.keys().next().copied().unwrap_or(self.visible);
        while let Some((number, _)) = self.batches.front()
            && *number <= oldest
        {
            let Some((number, places)) = self.batches.pop_front() else { return };
            for place in places {
                let Some(olds) = self.kept.get_mut(&place) else { continue };
                let gone = olds.iter().take_while(|(by, _)| *by <= number).count();
                for (_, old) in olds.drain(..gone) {
                    self.bytes = self.bytes.saturating_sub(cost(&place, &old));
                }
                if olds.is_empty() {
                    self.kept.remove(&place);
                }
            }
        }
    }
}

fn is_empty(from: &Place, to: Bound<&Place>) -> bool {
    match to {
        Bound::Included(to) => from > to,
        Bound::Excluded(to) => from >= to,
        Bound::Unbounded => false,
    }
}

/// What the first batch after `number` replaced.
fn before(olds: &[(u64, Old)], number: u64) -> Option<&Old> {
    let at = olds.partition_point(|(by, _)| *by <= number);
    olds.get(at).map(|(_, old)| old)
}

fn cost((_, key): &Place, old: &Old) -> usize {
    let value = match old {
        Old::Was(Some(value)) => value.len(),
        Old::Was(None) | Old::Unknown => 0,
    };
    OVERHEAD + 2 * key.len() + value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(key: &'static [u8]) -> Place {
        (Space::Records, Bytes::from_static(key))
    }

    fn was(value: &'static [u8]) -> Old {
        Old::Was(Some(Bytes::from_static(value)))
    }

    #[test]
    fn a_view_sees_what_the_first_batch_after_it_replaced() {
        let mut undo = Undo::new(7, 1 << 20);
        let early = undo.open();
        undo.arrive(8, vec![(place(b"a"), was(b"7's")), (place(b"b"), Old::Was(None))]);
        let late = undo.open();
        undo.arrive(9, vec![(place(b"a"), was(b"8's"))]);
        assert_eq!(undo.look(early, &place(b"a")), Look::Kept(Some(Bytes::from_static(b"7's"))));
        assert_eq!(undo.look(early, &place(b"b")), Look::Kept(None));
        assert_eq!(undo.look(late, &place(b"a")), Look::Kept(Some(Bytes::from_static(b"8's"))));
        assert_eq!(undo.look(late, &place(b"b")), Look::Current);
        let rows = undo.look_between(early, &place(b""), Bound::Unbounded).unwrap();
        assert_eq!(
            rows,
            [(Bytes::from_static(b"a"), Some(Bytes::from_static(b"7's"))), (Bytes::from_static(b"b"), None)]
        );
        undo.close(early);
        assert_eq!(undo.look(late, &place(b"a")), Look::Kept(Some(Bytes::from_static(b"8's"))));
        undo.close(late);
        assert!(undo.bytes() == 0 && undo.kept.is_empty() && undo.batches.is_empty());
    }

    #[test]
    fn what_is_under_way_is_waited_for_unless_the_view_knows_better() {
        let mut undo = Undo::new(1, 1 << 20);
        let view = undo.open();
        undo.arrive(2, vec![(place(b"a"), was(b"1's"))]);
        let newer = undo.open();
        undo.depart([place(b"a")].into_iter());
        assert_eq!(undo.look(view, &place(b"a")), Look::Kept(Some(Bytes::from_static(b"1's"))));
        assert_eq!(undo.look(newer, &place(b"a")), Look::UnderWay);
        assert_eq!(undo.look_between(newer, &place(b""), Bound::Unbounded), Err(Look::UnderWay));
        assert_eq!(undo.look_between(newer, &place(b"b"), Bound::Unbounded), Ok(vec![]));
        undo.arrive(3, vec![(place(b"a"), Old::Unknown)]);
        assert_eq!(undo.look(newer, &place(b"a")), Look::Gone);
    }

    #[test]
    fn too_much_is_not_kept_and_older_views_are_told() {
        let mut undo = Undo::new(1, 1000);
        let view = undo.open();
        undo.arrive(2, vec![(place(b"a"), Old::Was(Some(vec![0; 2000].into())))]);
        assert_eq!(undo.look(view, &place(b"b")), Look::Gone);
        let newer = undo.open();
        assert_eq!(undo.look(newer, &place(b"a")), Look::Current);
        assert_eq!(undo.bytes(), 0);
    }
}
