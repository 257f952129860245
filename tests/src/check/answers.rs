//! C8 and C9: that everything can be read once everything has healed, and that clients were told nothing on the way that
//! no fault excuses.

use super::Verdict;
use crate::history::workload::Statuses;

/// Statuses that a client may see at any time: 0 is no answer, 405 that of a version which is a delete marker.
const EXCUSED: [u16; 10] = [0, 200, 204, 206, 404, 405, 409, 412, 416, 503];

/// C8: of so many keys none is left that cannot be read after healing.
pub fn liveness(read: u64, unread: &[String]) -> Verdict {
    Verdict::of(read, Vec::new(), unread.iter().map(|key| format!("cannot be read after healing: {key}")).collect())
}

/// C9: no answer but those that say what they should, and 503.
pub fn availability(statuses: &Statuses) -> Verdict {
    let odd = statuses.iter().filter(|(status, _)| !EXCUSED.contains(status));
    let odd = odd.map(|(status, count)| format!("{count} clients were answered {status}")).collect();
    Verdict::of(statuses.values().sum(), Vec::new(), odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_fault_excuses_is_a_violation() {
        assert_eq!(availability(&[(0, 2), (200, 7), (503, 1)].into()), Verdict::Passed(10));
        assert_eq!(
            availability(&[(200, 7), (500, 2)].into()),
            Verdict::Violated(vec!["2 clients were answered 500".into()])
        );
        assert_eq!(liveness(3, &[]), Verdict::Passed(3));
        assert!(matches!(liveness(2, &["k".into()]), Verdict::Violated(found) if found.len() == 1));
    }
}
