//! C5: every byte served with a 200 is the byte that was written, size and entity tag are the written object's, and no
//! body is accepted that was tampered with on its way.

use std::collections::HashMap;

use crate::check::Verdict;
use crate::history::{History, Op, Outcome, Record, Written};

/// The check. Reads of which none found a value that somebody is known to have written are a doubt.
pub fn check(history: &History) -> Verdict {
    let (mut checked, mut strange, mut reads, mut violations) = (0, 0, 0, Vec::new());
    let written: HashMap<u64, &Written> =
        history.records.iter().filter_map(Record::as_write).map(|write| (write.write, write)).collect();
    for record in &history.records {
        if let Outcome::Forged(how) = &record.outcome {
            violations.push(format!("{} at {} ns: a tampered body was accepted: {how}", record.key, record.start));
        }
        reads += u64::from(matches!(record.op, Op::Read));
        let Outcome::Saw(Some(seen)) = &record.outcome else { continue };
        let mut found = |fault: &str| {
            violations.push(format!("{} at {} ns, write {}: {fault}", record.key, record.start, seen.write));
        };
        if let Some(fault) = &seen.fault {
            found(fault);
        }
        let Some(write) = written.get(&seen.write) else {
            strange += 1;
            continue;
        };
        checked += 1;
        if write.size != seen.size {
            found(&format!("{} bytes instead of {}", seen.size, write.size));
        }
        if write.etag.as_ref().is_some_and(|etag| *etag != seen.etag) {
            found(&format!("entity tag {} instead of {:?}", seen.etag, write.etag));
        }
    }
    let none = checked == 0 && reads > 0;
    let doubts = none.then(|| format!("none of {reads} reads found what somebody wrote")).into_iter().collect();
    Verdict::of(checked, doubts, violations).beside(strange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::*;

    #[test]
    fn catches_wrong_bytes_in_any_read() {
        let mut records = vec![put("k", 1, (0, 1)), get("k", 1, (2, 3)), get("k", 1, (4, 5))];
        assert_eq!(check(&history(records.clone())), passed(2));
        if let Outcome::Saw(Some(seen)) = &mut records[1].outcome {
            seen.fault = Some("wrong bytes".into());
        }
        assert!(matches!(check(&history(records.clone())), Verdict::Violated(found) if found.len() == 1));
        if let Outcome::Saw(Some(seen)) = &mut records[2].outcome {
            seen.etag = "another".into();
        }
        assert!(matches!(check(&history(records)), Verdict::Violated(found) if found.len() == 2));
    }

    #[test]
    fn does_not_pass_reads_that_found_nothing() {
        let verdict = check(&history([put("k", 1, (0, 1)), none("k", (2, 3))]));
        assert!(matches!(verdict, Verdict::Undecided(_)), "{verdict:?}");
        let verdict = check(&history([put("k", 1, (0, 1)), get("k", 1, (2, 3)), get("k", 7, (4, 5))]));
        assert_eq!(verdict, Verdict::Passed { checked: 1, undecided: 1 });
    }
}
