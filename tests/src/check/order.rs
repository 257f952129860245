//! C3: time respects the log. `x-holdfast-seq` is the place in its group's log that a write or delete got, or up to
//! which the replica that answered a read had applied. Hence, over any length of history, in O(n log n):
//!
//! - one place belongs to one write, and a key lives in one group;
//! - whatever ended before an operation started has a lower place in the group than a write, and none above a read;
//! - a read shows the newest change of its key up to its place, be it a value or none (404). A delete whose own place is
//!   not known explains a 404 as far as time allows that it stands between the newest write and the read's place.

use std::collections::{BTreeMap, HashMap};

use holdfast_wire::id::{GroupId, Seq};

use crate::check::Verdict;
use crate::history::{History, Op, Outcome, Record};

/// The check. A history in which nothing carries a place is undecided.
pub fn check(history: &History) -> Verdict {
    let placed: Vec<(&Record, Seq)> = history
        .records
        .iter()
        .filter(|record| matches!(record.outcome, Outcome::Done | Outcome::Saw(_)))
        .filter_map(|record| record.seq.map(|seq| (record, seq)))
        .collect();
    let mut violations = Vec::new();
    uniqueness(&placed, &mut violations);
    let mut groups: HashMap<GroupId, Vec<(&Record, u64)>> = HashMap::new();
    for (record, seq) in &placed {
        groups.entry(seq.group).or_default().push((record, seq.index));
    }
    for (group, records) in groups {
        real_time(group, records, &mut violations);
    }
    let mut undecided = 0;
    for (key, records) in history.by_key() {
        undecided += values(key, &records, &mut violations);
    }
    let doubts = if placed.is_empty() { vec!["nothing carries x-holdfast-seq".to_owned()] } else { Vec::new() };
    Verdict::of(placed.len() as u64, doubts, violations).beside(undecided)
}

fn uniqueness(placed: &[(&Record, Seq)], violations: &mut Vec<String>) {
    let mut owner: HashMap<Seq, &Record> = HashMap::new();
    let mut home: HashMap<&str, GroupId> = HashMap::new();
    for (record, seq) in placed {
        let group = *home.entry(&record.key).or_insert(seq.group);
        if group != seq.group {
            violations.push(format!("{} lives in groups {group} and {}", record.key, seq.group));
        }
        if matches!(record.op, Op::Write(_))
            && let Some(other) = owner.insert(*seq, record)
        {
            violations.push(format!("{seq} is {:?} of {} and {:?} of {}", other.op, other.key, record.op, record.key));
        }
    }
}

/// Sweeps starts and ends in order of time, keeping the highest place that anybody knows of.
fn real_time(group: GroupId, mut records: Vec<(&Record, u64)>, violations: &mut Vec<String>) {
    let mut by_end = records.clone();
    by_end.sort_by_key(|(record, _)| record.end);
    records.sort_by_key(|(record, _)| record.start);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<(u64, &Record)> = None;
    for (record, index) in records {
        while let Some((earlier, known)) = ended.next_if(|(earlier, _)| earlier.end < record.start) {
            if highest.is_none_or(|(highest, _)| highest < known) {
                highest = Some((known, earlier));
            }
        }
        let Some((highest, earlier)) = highest else { continue };
        let late = match record.op {
            Op::Read => index < highest,
            _ => index <= highest,
        };
        if late {
            violations.push(format!(
                "group {group}: {} {:?} of client {} started at {} ns and has place {index}, but {highest} was known \
                 at {} ns ({} {:?})",
                record.key, record.op, record.client, record.start, earlier.end, earlier.key, earlier.op
            ));
        }
    }
}

/// Compares what reads saw with the changes of the key whose places are known. How many reads that leaves open.
fn values(key: &str, records: &[&Record], violations: &mut Vec<String>) -> u64 {
    let changes: BTreeMap<u64, &Record> = records
        .iter()
        .filter(|record| !matches!(record.op, Op::Read) && record.acknowledged())
        .filter_map(|record| record.seq.map(|seq| (seq.index, *record)))
        .collect();
    let place: HashMap<u64, u64> =
        changes.iter().filter_map(|(index, record)| record.as_write().map(|write| (write.write, *index))).collect();
    let unplaced: Vec<&Record> = records
        .iter()
        .filter(|record| matches!(record.op, Op::Delete) && record.may_have_applied())
        .filter(|record| !(record.acknowledged() && record.seq.is_some()))
        .copied()
        .collect();
    let mut undecided = 0;
    for record in records {
        let (Outcome::Saw(seen), Some(seq)) = (&record.outcome, record.seq) else { continue };
        let Some(seen) = seen else {
            let newest = changes.range(..=seq.index).next_back();
            let Some((at, change)) = newest.filter(|(_, change)| matches!(change.op, Op::Write(_))) else { continue };
            if unplaced.iter().any(|delete| may_stand_between(change, delete, record)) {
                undecided += 1;
            } else {
                violations.push(format!(
                    "{key}: a read at place {} of client {} ({}..{} ns) found nothing, but {:?} has place {at}",
                    seq.index, record.client, record.start, record.end, change.op
                ));
            }
            continue;
        };
        // Of a write whose outcome is unknown, the place is too.
        let Some(&written) = place.get(&seen.write) else {
            undecided += 1;
            continue;
        };
        if written > seq.index {
            violations
                .push(format!("{key}: a read at place {} saw write {} of place {written}", seq.index, seen.write));
        } else if let Some((between, change)) = changes.range(..=seq.index).next_back().filter(|(at, _)| **at > written)
        {
            violations.push(format!(
                "{key}: a read at place {} of client {} ({}..{} ns) saw write {} of place {written}, but {:?} has \
                 place {between}",
                seq.index, record.client, record.start, record.end, seen.write, change.op
            ));
        }
    }
    undecided
}

/// Whether a delete may have a place above the write's and not above the read's: not if it had ended before the write began,
/// nor if it began after the read had ended. One of unknown outcome never ends.
fn may_stand_between(write: &Record, delete: &Record, read: &Record) -> bool {
    delete.end >= write.start && delete.start <= read.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::*;

    #[test]
    fn passes_rising_places_and_overlaps() {
        let good = history([
            seq(put("k", 1, (0, 1)), 1, 10),
            seq(put("k", 2, (2, 8)), 1, 12),
            seq(get("k", 1, (3, 4)), 1, 11),
            seq(get("k", 2, (9, 10)), 1, 15),
            seq(put("j", 4, (11, 12)), 1, 16),
            seq(get("k", 2, (13, 14)), 1, 16),
            seq(put("other", 3, (2, 3)), 2, 4),
            seq(none("other", (2, 3)), 2, 3),
            seq(delete("k", (15, 16)), 1, 17),
            seq(none("k", (17, 18)), 1, 17),
        ]);
        assert_eq!(check(&good), passed(10));
    }

    #[test]
    fn catches_stale_reads_reordered_writes_and_one_place_for_two_writes() {
        for bad in [
            // A replica that is behind.
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(put("k", 2, (2, 3)), 1, 12), seq(get("k", 1, (4, 5)), 1, 11)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(put("j", 2, (2, 3)), 1, 12), seq(get("k", 1, (4, 5)), 1, 11)],
            // A replica that lies about how far it is.
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(put("k", 2, (2, 3)), 1, 12), seq(get("k", 1, (4, 5)), 1, 12)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(delete("k", (2, 3)), 1, 11), seq(get("k", 1, (4, 5)), 1, 11)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(get("k", 1, (0, 5)), 1, 9)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(none("k", (0, 5)), 1, 10)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(none("k", (2, 5)), 1, 9)],
            // Writes.
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(put("k", 2, (2, 3)), 1, 9)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(put("j", 2, (0, 3)), 1, 10)],
            // Back in time between clients.
            vec![
                seq(put("k", 1, (0, 1)), 1, 10),
                seq(put("k", 2, (0, 20)), 1, 12),
                seq(get("k", 2, (4, 5)), 1, 12),
                seq(get("k", 1, (6, 7)), 1, 10),
            ],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(get("k", 1, (2, 3)), 2, 10)],
        ] {
            let verdict = check(&history(bad.clone()));
            assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?} {bad:?}");
        }
    }

    /// Write 1 is at place 10, from 10 to 11 ns, and nothing is found at place 12, from 20 to 21 ns.
    fn missing(delete: Record) -> Verdict {
        check(&history([seq(put("k", 1, (10, 11)), 1, 10), delete, seq(none("k", (20, 21)), 1, 12)]))
    }

    #[test]
    fn a_delete_without_a_place_explains_a_404_where_time_allows_it() {
        for explains in [
            delete("k", (12, 13)),
            // They overlap: it may be the later one.
            delete("k", (9, 10)),
            delete("k", (11, 30)),
            delete("k", (21, 22)),
            // Nobody knows how late it was carried out.
            delete_unknown("k", 0),
            delete_unknown("k", 15),
        ] {
            let verdict = missing(explains.clone());
            assert_eq!(verdict, Verdict::Passed { checked: 2, undecided: 1 }, "{explains:?}");
        }
        for other in [delete("k", (0, 9)), delete("k", (22, 23)), delete_unknown("k", 22), delete("j", (12, 13))] {
            let verdict = missing(other.clone());
            assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?} {other:?}");
        }
    }

    #[test]
    fn does_not_pass_a_history_without_places() {
        assert!(matches!(check(&history([put("k", 1, (0, 1))])), Verdict::Undecided(_)));
    }
}
