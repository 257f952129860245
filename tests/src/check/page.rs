//! L5: a page of one shard shows that shard as it was at one place of its log, and at one between the page's question
//! and its answer. Places are those that writes and deletes were answered with (`x-holdfast-seq`); a change whose place is
//! not known may have any that its time allows, and its key may be either way from there to the next change that is
//! certainly later.

use std::collections::BTreeMap;

use holdfast_wire::id::{GroupId, Seq};

use crate::check::Verdict;
use crate::history::{History, Op, Outcome, Page, Record};

/// The check. Pages of which nothing is known, or that are not of one shard, are counted as undecided.
pub fn check(history: &History) -> Verdict {
    let mut floors: BTreeMap<GroupId, Floor> = BTreeMap::new();
    for record in &history.records {
        if let Some(seq) = place(record) {
            let floor = floors.entry(seq.group).or_default();
            floor.ended.push((record.end, seq.index));
            if matches!(record.op, Op::Write(_) | Op::Delete) {
                floor.begun.push((record.start, seq.index));
            }
        }
    }
    floors.values_mut().for_each(Floor::sort);
    let by_key = history.by_key();
    let keys: BTreeMap<&str, Option<Key<'_>>> =
        by_key.iter().map(|(key, records)| (*key, Key::of(records, &floors))).collect();
    let (mut checked, mut undecided, mut violations) = (0, 0, Vec::new());
    for listing in &history.records {
        let Outcome::Listed { pages, .. } = &listing.outcome else { continue };
        for page in pages {
            match judge(listing, page, &keys, &floors) {
                None => undecided += 1,
                Some(Ok(())) => checked += 1,
                Some(Err(what)) => {
                    violations.push(format!("L5: list {:?} {}..{} ns: {what}", listing.key, page.start, page.end));
                }
            }
        }
    }
    Verdict::of(checked, Vec::new(), violations).beside(undecided)
}

/// The place that its answer states.
fn place(record: &Record) -> Option<Seq> {
    record.seq.filter(|_| matches!(record.outcome, Outcome::Done | Outcome::Saw(_)))
}

/// What is known of a group's places at a time.
#[derive(Default)]
struct Floor {
    /// Ends of operations, and the highest place known by then.
    ended: Vec<(u64, u64)>,
    /// Beginnings of changes, and the lowest place of any that begins then or later.
    begun: Vec<(u64, u64)>,
}

impl Floor {
    fn sort(&mut self) {
        self.ended.sort_unstable();
        let mut highest = 0;
        for (_, place) in &mut self.ended {
            highest = highest.max(*place);
            *place = highest;
        }
        self.begun.sort_unstable();
        let mut lowest = u64::MAX;
        for (_, place) in self.begun.iter_mut().rev() {
            lowest = lowest.min(*place);
            *place = lowest;
        }
    }

    /// The highest place that somebody had an answer from before `start`.
    fn before(&self, start: u64) -> u64 {
        let count = self.ended.partition_point(|(end, _)| *end < start);
        count.checked_sub(1).map_or(0, |at| self.ended[at].1)
    }

    /// The lowest place of a change that began after `end`; what is shown is below.
    fn after(&self, end: u64) -> u64 {
        let at = self.begun.partition_point(|(start, _)| *start <= end);
        self.begun.get(at).map_or(u64::MAX, |(_, place)| *place)
    }
}

/// A key whose shard is known: what it holds from which place on.
struct Key<'a> {
    group: GroupId,
    changes: BTreeMap<u64, Option<&'a str>>,
    unplaced: Vec<Unplaced<'a>>,
}

/// A change whose place is not known.
struct Unplaced<'a> {
    start: u64,
    /// It is behind this place, if it is anywhere.
    behind: u64,
    /// And before this one.
    before: u64,
    left: Left<'a>,
}

/// What a change leaves.
#[derive(Clone, Copy)]
enum Left<'a> {
    Nothing,
    Value(&'a str),
    /// One whose entity tag is not known.
    SomeValue,
}

impl<'a> Left<'a> {
    fn by(record: &'a Record) -> Self {
        match record.as_write() {
            None => Self::Nothing,
            Some(write) => write.etag.as_deref().map_or(Self::SomeValue, Self::Value),
        }
    }

    fn may_be(self, wanted: Option<&str>) -> bool {
        match (self, wanted) {
            (Self::Nothing, None) | (Self::SomeValue, Some(_)) => true,
            (Self::Value(etag), Some(wanted)) => etag == wanted,
            (Self::Nothing, Some(_)) | (Self::Value(_) | Self::SomeValue, None) => false,
        }
    }
}

impl<'a> Key<'a> {
    fn of(records: &[&'a Record], floors: &BTreeMap<GroupId, Floor>) -> Option<Self> {
        let group = records.iter().find_map(|record| place(record))?.group;
        let floor = floors.get(&group)?;
        let mut key = Self { group, changes: BTreeMap::new(), unplaced: Vec::new() };
        for record in records.iter().filter(|record| record.may_have_applied()) {
            let (start, left) = (record.start, Left::by(record));
            let Some(seq) = place(record) else {
                let (behind, before) = (floor.before(start), floor.after(record.end));
                key.unplaced.push(Unplaced { start, behind, before, left });
                continue;
            };
            let holds = match left {
                Left::Nothing => None,
                Left::Value(etag) => Some(etag),
                Left::SomeValue => return None,
            };
            if seq.group != group {
                return None;
            }
            key.changes.insert(seq.index, holds);
        }
        Some(key)
    }

    /// Where it may hold this as it was shown by `end`: ranges of places, the first included, the last not.
    fn places_of(&self, wanted: Option<&str>, end: u64) -> Vec<(u64, u64)> {
        let mut places = Vec::new();
        let (mut from, mut holds) = (0, None);
        for (at, next) in self.changes.iter().map(|(at, next)| (*at, *next)).chain([(u64::MAX, None)]) {
            if holds == wanted && from < at {
                places.push((from, at));
            }
            (from, holds) = (at, next);
        }
        for change in self.unplaced.iter().filter(|change| change.start <= end && change.left.may_be(wanted)) {
            let later = self.changes.range(change.before..).next().map_or(u64::MAX, |(at, _)| *at);
            places.push((change.behind + 1, later));
        }
        places
    }
}

/// `None`: not of one shard, or nothing is known of it.
fn judge(
    listing: &Record,
    page: &Page,
    keys: &BTreeMap<&str, Option<Key<'_>>>,
    floors: &BTreeMap<GroupId, Floor>,
) -> Option<Result<(), String>> {
    let inside = |key: &str| {
        page.after.as_deref().is_none_or(|after| key > after) && page.last.as_deref().is_none_or(|last| key <= last)
    };
    let prefix = listing.key.as_str();
    let under = keys.range(prefix..).take_while(|(key, _)| key.starts_with(prefix)).filter(|(key, _)| inside(key));
    let known: Vec<(&str, &Key<'_>)> = under.filter_map(|(key, known)| Some((*key, known.as_ref()?))).collect();
    let group = known.first()?.1.group;
    if known.len() < 2 || known.iter().any(|(_, key)| key.group != group) {
        return None;
    }
    let floor = floors.get(&group)?;
    let mut possible = vec![(floor.before(page.start), floor.after(page.end))];
    for (name, key) in known {
        let listed = page.entries.iter().find(|(listed, _)| listed == name).map(|(_, etag)| etag.as_str());
        let fits = both(&possible, &key.places_of(listed, page.end));
        if fits.is_empty() {
            return Some(Err(format!(
                "{name} is shown as {listed:?}, which it was at none of the places {possible:?}"
            )));
        }
        possible = fits;
    }
    Some(Ok(()))
}

/// What lies in both.
fn both(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let pairs = a.iter().flat_map(|one| b.iter().map(move |other| (one.0.max(other.0), one.1.min(other.1))));
    pairs.filter(|(from, to)| from < to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::*;

    /// Entries, start and end.
    type Paged<'a> = (&'a [(&'a str, u64)], u64, u64);

    fn paged(pages: &[Paged<'_>]) -> Record {
        let mut record = list("", &[], (pages[0].1, pages[pages.len() - 1].2));
        let mut after = None;
        let mut made = Vec::new();
        for (at, (entries, start, end)) in pages.iter().enumerate() {
            let entries: Vec<_> = entries.iter().map(|(key, write)| ((*key).to_owned(), format!("e{write}"))).collect();
            let last = (at + 1 < pages.len()).then(|| entries[entries.len() - 1].0.clone());
            made.push(Page { start: *start, end: *end, after: after.clone(), last: last.clone(), entries });
            after = last;
        }
        if let Outcome::Listed { pages, .. } = &mut record.outcome {
            *pages = made;
        }
        record
    }

    /// `a` is 1, from place 30 on 3; `b` is 2, from 40 on gone.
    fn base() -> Vec<Record> {
        vec![
            seq(put("a", 1, (0, 1)), 1, 10),
            seq(put("b", 2, (2, 3)), 1, 20),
            seq(put("a", 3, (4, 20)), 1, 30),
            seq(delete("b", (4, 20)), 1, 40),
        ]
    }

    fn with(record: Record) -> Verdict {
        check(&history(base().into_iter().chain([record])))
    }

    #[test]
    fn passes_what_the_shard_was_at_one_place() {
        for shown in [&[("a", 1), ("b", 2)][..], &[("a", 3), ("b", 2)], &[("a", 3)]] {
            assert_eq!(with(paged(&[(shown, 5, 15)])), passed(1), "{shown:?}");
        }
        assert_eq!(with(paged(&[(&[("a", 3)], 21, 22)])), passed(1));
        // One key a page: each is of a place of its own, and says nothing alone.
        let apart = paged(&[(&[("a", 1)], 5, 6), (&[("b", 2)], 7, 8)]);
        assert_eq!(with(apart), Verdict::Passed { checked: 0, undecided: 2 });
    }

    #[test]
    fn catches_what_it_never_was_and_what_it_was_before_or_after() {
        // `b` was gone only after `a` had changed.
        assert!(matches!(with(paged(&[(&[("a", 1)], 5, 15)])), Verdict::Violated(_)));
        // Too old, and not yet.
        assert!(matches!(with(paged(&[(&[("a", 1), ("b", 2)], 21, 22)])), Verdict::Violated(_)));
        assert!(matches!(with(paged(&[(&[("a", 3)], 3, 3)])), Verdict::Violated(_)));
    }

    fn without_a_place(change: Record, page: Record) -> Verdict {
        check(&history(base().into_iter().chain([change, page])))
    }

    #[test]
    fn a_change_without_a_place_may_stand_wherever_time_allows() {
        // As long as `a` is 1, `b` is there.
        let gone = paged(&[(&[("a", 1)], 5, 15)]);
        assert!(matches!(with(gone.clone()), Verdict::Violated(_)));
        for explains in [delete("b", (4, 5)), delete("b", (3, 30)), delete_unknown("b", 0), delete_unknown("b", 15)] {
            assert_eq!(without_a_place(explains.clone(), gone.clone()), passed(1), "{explains:?}");
        }
        let mut overwritten = paged(&[(&[("a", 1), ("b", 9)], 5, 15)]);
        assert!(matches!(with(overwritten.clone()), Verdict::Violated(_)));
        for explains in [put("b", 9, (4, 5)), put_unknown("b", 9, 2)] {
            assert_eq!(without_a_place(explains.clone(), overwritten.clone()), passed(1), "{explains:?}");
        }
        // A copy tells its entity tag only in its answer.
        let mut copied = put_unknown("b", 8, 2);
        if let Op::Write(write) = &mut copied.op {
            write.etag = None;
        }
        assert_eq!(without_a_place(copied.clone(), overwritten.clone()), passed(1));
        assert!(matches!(without_a_place(copied, gone.clone()), Verdict::Violated(_)));
        // It leaves something else, was overwritten before, comes later, or is of another key.
        for other in [put_unknown("b", 9, 2), delete("b", (0, 1)), delete_unknown("b", 16), delete("a", (4, 5))] {
            let verdict = without_a_place(other.clone(), gone.clone());
            assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?} {other:?}");
        }
        overwritten.key = "none/".into();
        assert_eq!(with(overwritten), Verdict::Passed { checked: 0, undecided: 1 });
    }
}
