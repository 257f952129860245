//! C5: every byte served with a 200 is the byte that was written.

use crate::check::Verdict;
use crate::history::{History, Outcome};

/// The check.
pub fn check(history: &History) -> Verdict {
    let (mut checked, mut violations) = (0, Vec::new());
    for record in &history.records {
        let Outcome::Saw(Some(seen)) = &record.outcome else { continue };
        checked += 1;
        if let Some(fault) = &seen.fault {
            violations.push(format!("{} at {} ns, write {}: {fault}", record.key, record.start, seen.write));
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
        assert!(matches!(check(&history(records)), Verdict::Violated(found) if found.len() == 1));
    }
}
