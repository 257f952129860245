//! C5: every byte served with a 200 is the byte that was written, size and entity tag are the written object's, and no
//! body is accepted that was tampered with on its way.

use std::collections::HashMap;

use crate::check::Verdict;
use crate::history::{History, Outcome, Record, Written};

/// The check.
pub fn check(history: &History) -> Verdict {
    let (mut checked, mut violations) = (0, Vec::new());
    let written: HashMap<u64, &Written> =
        history.records.iter().filter_map(Record::as_write).map(|write| (write.write, write)).collect();
    for record in &history.records {
        if let Outcome::Forged(how) = &record.outcome {
            violations.push(format!("{} at {} ns: a tampered body was accepted: {how}", record.key, record.start));
        }
        let Outcome::Saw(Some(seen)) = &record.outcome else { continue };
        checked += 1;
        let mut found = |fault: &str| {
            violations.push(format!("{} at {} ns, write {}: {fault}", record.key, record.start, seen.write));
        };
        if let Some(fault) = &seen.fault {
            found(fault);
        }
        let Some(write) = written.get(&seen.write) else { continue };
        if write.size != seen.size {
            found(&format!("{} bytes instead of {}", seen.size, write.size));
        }
        if write.etag.as_ref().is_some_and(|etag| *etag != seen.etag) {
            found(&format!("entity tag {} instead of {:?}", seen.etag, write.etag));
        }
    }
    Verdict::of(checked, Vec::new(), violations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::*;

    #[test]
    fn catches_wrong_bytes_in_any_read() {
        let mut records = vec![put("k", 1, (0, 1)), get("k", 1, (2, 3)), get("k", 1, (4, 5))];
        assert_eq!(check(&history(records.clone())), Verdict::Passed(2));
        if let Outcome::Saw(Some(seen)) = &mut records[1].outcome {
            seen.fault = Some("wrong bytes".into());
        }
        assert!(matches!(check(&history(records.clone())), Verdict::Violated(found) if found.len() == 1));
        if let Outcome::Saw(Some(seen)) = &mut records[2].outcome {
            seen.etag = "another".into();
        }
        assert!(matches!(check(&history(records)), Verdict::Violated(found) if found.len() == 2));
    }
}
