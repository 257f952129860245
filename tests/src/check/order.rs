//! C3: time respects the log. `x-holdfast-seq` names the version that a write made or a read saw; per key and group,
//! whatever ended before a read started is not newer than what the read saw. O(n log n) over any length of history.

use std::collections::HashMap;

use holdfast_wire::id::{GroupId, Seq};

use crate::check::Verdict;
use crate::history::{History, Op, Outcome, Record};

/// The check. A history in which nothing carries a version is undecided.
pub fn check(history: &History) -> Verdict {
    let (mut checked, mut violations) = (0, Vec::new());
    let mut writer: HashMap<Seq, (u64, &str)> = HashMap::new();
    let mut placed: HashMap<&str, GroupId> = HashMap::new();
    for record in &history.records {
        let (Some(seq), Some(write)) = (record.seq, value(record)) else { continue };
        checked += 1;
        let first = *writer.entry(seq).or_insert((write, &record.key));
        if first != (write, record.key.as_str()) {
            violations.push(format!("{seq} is {} of {} and {write} of {}", first.0, first.1, record.key));
        }
        let group = *placed.entry(&record.key).or_insert(seq.group);
        if group != seq.group {
            violations.push(format!("{} lives in groups {group} and {}", record.key, seq.group));
        }
    }
    for (key, records) in history.by_key() {
        real_time(key, &records, &mut violations);
    }
    let doubts = if checked == 0 { vec!["nothing carries x-holdfast-seq".to_owned()] } else { Vec::new() };
    Verdict::of(checked, doubts, violations)
}

fn value(record: &Record) -> Option<u64> {
    match (&record.op, &record.outcome) {
        (Op::Write(write), Outcome::Done) => Some(write.write),
        (Op::Read, Outcome::Saw(Some(seen))) => Some(seen.write),
        _ => None,
    }
}

/// Sweeps starts and ends in order of time, keeping the newest version that anybody knows of.
fn real_time(key: &str, records: &[&Record], violations: &mut Vec<String>) {
    let known: Vec<(&Record, u64)> = records
        .iter()
        .filter(|r| matches!(r.outcome, Outcome::Done | Outcome::Saw(Some(_))))
        .filter_map(|r| r.seq.map(|seq| (*r, seq.index)))
        .collect();
    let mut by_end = known.clone();
    by_end.sort_by_key(|(record, _)| record.end);
    let mut ended = by_end.into_iter().peekable();
    let mut newest: Option<(u64, u64)> = None;
    for (record, index) in known {
        while let Some((earlier, known_index)) = ended.next_if(|(earlier, _)| earlier.end < record.start) {
            if newest.is_none_or(|(newest, _)| newest < known_index) {
                newest = Some((known_index, earlier.end));
            }
        }
        let Some((newest, at)) = newest else { continue };
        let stale = match record.op {
            Op::Read => index < newest,
            _ => index <= newest,
        };
        if stale {
            violations.push(format!(
                "{key}: {:?} started at {} ns with index {index}, but index {newest} was known at {at} ns",
                record.op, record.start
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::*;

    #[test]
    fn passes_rising_indexes_and_overlaps() {
        let good = history([
            seq(put("k", 1, (0, 1)), 1, 10),
            seq(put("k", 2, (2, 8)), 1, 12),
            seq(get("k", 1, (3, 4)), 1, 10),
            seq(get("k", 2, (9, 10)), 1, 12),
            seq(put("other", 3, (2, 3)), 2, 4),
        ]);
        assert_eq!(check(&good), Verdict::Passed(5));
    }

    #[test]
    fn catches_stale_reads_reordered_writes_and_one_index_for_two_writes() {
        for bad in [
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(put("k", 2, (2, 3)), 1, 12), seq(get("k", 1, (4, 5)), 1, 10)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(put("k", 2, (2, 3)), 1, 9)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(put("j", 2, (0, 3)), 1, 10)],
            vec![seq(put("k", 1, (0, 1)), 1, 10), seq(delete("k", (2, 3)), 1, 11), seq(get("k", 1, (4, 5)), 1, 10)],
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

    #[test]
    fn does_not_pass_a_history_without_versions() {
        assert!(matches!(check(&history([put("k", 1, (0, 1))])), Verdict::Undecided(_)));
    }
}
