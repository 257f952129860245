//! C1: what was acknowledged and not superseded is there at the end, and what was deleted stays away.
//!
//! Looks at the last read of each key, which must have started after everything acknowledged had ended.

use crate::check::Verdict;
use crate::history::{History, Op, Outcome, Record, Seen};

/// The check.
pub fn check(history: &History) -> Verdict {
    let (mut checked, mut doubts, mut violations) = (0, Vec::new(), Vec::new());
    for (key, records) in history.by_key() {
        let acked_end =
            records.iter().filter(|r| r.may_have_applied() && r.acknowledged()).map(|r| r.end).max().unwrap_or(0);
        let last = records
            .iter()
            .filter(|r| matches!(r.op, Op::Read) && matches!(r.outcome, Outcome::Saw(_)) && r.start >= acked_end)
            .max_by_key(|r| r.start);
        let Some(last) = last else {
            doubts.push(format!("{key}: never read after its last acknowledged write"));
            continue;
        };
        checked += 1;
        let Outcome::Saw(seen) = &last.outcome else { continue };
        let verdict = match seen {
            None => absent(&records),
            Some(seen) => present(&records, seen),
        };
        if let Err(why) = verdict {
            violations.push(format!("{key}: {why}"));
        }
    }
    Verdict::of(checked, doubts, violations)
}

/// A later acknowledged change that certainly came after `record`.
fn superseded<'a>(records: &[&'a Record], record: &Record) -> Option<&'a Record> {
    records.iter().copied().find(|later| later.may_have_applied() && later.acknowledged() && later.start > record.end)
}

fn absent(records: &[&Record]) -> Result<(), String> {
    let Some(newest) =
        records.iter().filter(|r| matches!(r.op, Op::Write(_)) && r.acknowledged()).max_by_key(|r| r.end)
    else {
        return Ok(());
    };
    let excused = records
        .iter()
        .filter(|r| matches!(r.op, Op::Delete) && r.may_have_applied())
        .any(|delete| !acked_write_after(records, delete));
    let id = newest.as_write().map_or(0, |write| write.write);
    if excused {
        Ok(())
    } else {
        Err(format!("lost acknowledged write {id}: no object and no delete that explains it"))
    }
}

fn acked_write_after(records: &[&Record], delete: &Record) -> bool {
    records.iter().any(|r| matches!(r.op, Op::Write(_)) && r.acknowledged() && r.start > delete.end)
}

fn present(records: &[&Record], seen: &Seen) -> Result<(), String> {
    let Some((record, write)) =
        records.iter().find_map(|r| r.as_write().filter(|write| write.write == seen.write).map(|write| (*r, write)))
    else {
        return Err(format!("holds {}, which nobody wrote", seen.write));
    };
    if !record.may_have_applied() {
        return Err(format!("holds {}, whose write had failed", seen.write));
    }
    if let Some(later) = superseded(records, record) {
        return Err(match &later.op {
            Op::Delete => format!("resurrected: holds {}, deleted afterwards", seen.write),
            _ => format!("lost acknowledged write {:?}: holds the older {}", later.as_write(), seen.write),
        });
    }
    if seen.size != write.size {
        return Err(format!("{} has {} bytes instead of {}", seen.write, seen.size, write.size));
    }
    if write.etag.as_ref().is_some_and(|etag| *etag != seen.etag) {
        return Err(format!("{} has entity tag {} instead of {:?}", seen.write, seen.etag, write.etag));
    }
    match &seen.fault {
        None => Ok(()),
        Some(fault) => Err(format!("{}: {fault}", seen.write)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::*;

    #[test]
    fn passes_what_is_there_and_what_unknown_writes_may_have_done() {
        for good in [
            vec![put("k", 1, (0, 1)), put("k", 2, (2, 3)), get("k", 2, (9, 10))],
            vec![put("k", 1, (0, 5)), put("k", 2, (2, 3)), get("k", 1, (9, 10))],
            vec![put("k", 1, (0, 1)), put_unknown("k", 2, 2), get("k", 2, (9, 10))],
            vec![put("k", 1, (0, 1)), put_unknown("k", 2, 2), get("k", 1, (9, 10))],
            vec![put("k", 1, (0, 1)), delete("k", (2, 3)), none("k", (9, 10))],
            vec![put("k", 1, (0, 1)), delete_unknown("k", 2), put("k", 3, (4, 5)), none("k", (9, 10))],
            vec![put_failed("k", 1, (0, 1)), none("k", (9, 10))],
        ] {
            let verdict = check(&history(good.clone()));
            assert!(verdict.passed(), "{verdict:?} {good:?}");
        }
    }

    #[test]
    fn catches_loss_resurrection_and_phantoms() {
        for bad in [
            vec![put("k", 1, (0, 1)), none("k", (9, 10))],
            vec![put("k", 1, (0, 1)), put("k", 2, (2, 3)), get("k", 1, (9, 10))],
            vec![put("k", 1, (0, 1)), delete("k", (2, 3)), get("k", 1, (9, 10))],
            vec![put("k", 1, (0, 1)), delete("k", (2, 3)), put("k", 4, (4, 5)), none("k", (9, 10))],
            vec![put_failed("k", 1, (0, 1)), get("k", 1, (9, 10))],
            vec![put("k", 1, (0, 1)), get("k", 77, (9, 10))],
        ] {
            let verdict = check(&history(bad.clone()));
            assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?} {bad:?}");
        }
    }

    #[test]
    fn does_not_pass_a_key_that_was_not_read_again() {
        let verdict = check(&history([put("k", 1, (0, 5)), get("k", 1, (2, 3))]));
        assert!(matches!(verdict, Verdict::Undecided(_)), "{verdict:?}");
    }
}
