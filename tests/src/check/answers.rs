//! C8 and C9: that everything can be read once everything has healed, and that clients were told nothing on the way that
//! no fault excuses.

use super::Verdict;
use crate::history::statuses::{Asked, Statuses, Told};

/// C8: of so many keys none is left that cannot be read after healing.
pub fn liveness(read: u64, unread: &[String]) -> Verdict {
    Verdict::of(read, Vec::new(), unread.iter().map(|key| format!("cannot be read after healing: {key}")).collect())
}

/// C9: no answer but those that the state of a key explains, and 503.
pub fn availability(statuses: &Statuses) -> Verdict {
    let (mut answers, mut odd) = (0, Vec::new());
    for (told, count) in statuses.iter() {
        answers += count;
        if !is_explained(told) {
            odd.push(format!("{count} times {:?} was answered {} {}", told.asked, told.status, told.code));
        }
    }
    Verdict::of(answers, Vec::new(), odd)
}

/// Whether an answer can be right: what was asked for, what only the state of the key decides, or that a fault stands in
/// the way (503, or no answer). The buckets of the workload are there throughout, and so is an upload until its end.
fn is_explained(told: &Told) -> bool {
    let success = match told.asked {
        Asked::GetRange => 206,
        Asked::Delete | Asked::AbortUpload => 204,
        _ => 200,
    };
    match (told.status, told.code.as_str()) {
        (0, _) => true,
        // An answer to HEAD has no body that could hold a code.
        (503, "") => told.asked == Asked::Head,
        (503, code) => matches!(code, "SlowDown" | "ServiceUnavailable"),
        (status, "") if status == success => true,
        // The 200 was sent before the outcome was known, or speaks of one key of several.
        (200, "SlowDown") => matches!(told.asked, Asked::Copy | Asked::CompleteUpload | Asked::DeleteMany),
        (404, "") => told.asked == Asked::Head,
        (404, "NoSuchKey") => {
            matches!(told.asked, Asked::Get | Asked::GetRange | Asked::PutIfMatch | Asked::Copy)
        }
        // The version is gone, or a delete marker.
        (404, "NoSuchVersion") | (405, "MethodNotAllowed") => told.asked == Asked::GetVersion,
        (412, "PreconditionFailed") => {
            matches!(told.asked, Asked::PutIfAbsent | Asked::PutIfMatch | Asked::Copy)
        }
        (416, "InvalidRange") => told.asked == Asked::GetRange,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::passed;

    fn told(asked: Asked, status: u16, code: &str) -> Statuses {
        let mut statuses = Statuses::default();
        statuses.extend([(Told { asked, status, code: code.into() }, 2)]);
        statuses
    }

    #[test]
    fn what_the_state_of_a_key_or_a_fault_explains_passes() {
        for (asked, status, code) in [
            (Asked::Put, 0, ""),
            (Asked::Put, 200, ""),
            (Asked::Put, 503, "SlowDown"),
            (Asked::Head, 503, ""),
            (Asked::Head, 404, ""),
            (Asked::PutIfAbsent, 412, "PreconditionFailed"),
            (Asked::PutIfMatch, 404, "NoSuchKey"),
            (Asked::Copy, 200, "SlowDown"),
            (Asked::Get, 404, "NoSuchKey"),
            (Asked::GetRange, 206, ""),
            (Asked::GetRange, 416, "InvalidRange"),
            (Asked::GetVersion, 404, "NoSuchVersion"),
            (Asked::GetVersion, 405, "MethodNotAllowed"),
            (Asked::Delete, 204, ""),
            (Asked::DeleteMany, 200, "SlowDown"),
        ] {
            assert_eq!(availability(&told(asked, status, code)), passed(2), "{asked:?} {status} {code}");
        }
        assert_eq!(liveness(3, &[]), passed(3));
    }

    #[test]
    fn what_no_fault_excuses_is_a_violation() {
        for (asked, status, code) in [
            (Asked::Get, 500, "InternalError"),
            (Asked::Get, 503, "InternalError"),
            (Asked::Get, 503, ""),
            // The bucket is there.
            (Asked::Put, 404, "NoSuchBucket"),
            (Asked::Get, 404, "NoSuchBucket"),
            (Asked::List, 404, "NoSuchBucket"),
            (Asked::DeleteMany, 200, "NoSuchBucket"),
            (Asked::CompleteUpload, 404, "NoSuchUpload"),
            // Nothing that was asked for can end so.
            (Asked::Put, 404, "NoSuchKey"),
            (Asked::Put, 412, "PreconditionFailed"),
            (Asked::PutIfAbsent, 409, "OperationAborted"),
            (Asked::Get, 405, "MethodNotAllowed"),
            (Asked::Get, 416, "InvalidRange"),
            (Asked::Get, 404, "NoSuchVersion"),
            (Asked::GetVersion, 404, "NoSuchKey"),
            (Asked::Get, 206, ""),
            (Asked::GetRange, 200, ""),
            (Asked::Delete, 404, "NoSuchKey"),
            (Asked::Put, 200, "SlowDown"),
        ] {
            let found = format!("2 times {asked:?} was answered {status} {code}");
            assert_eq!(availability(&told(asked, status, code)), Verdict::Violated(vec![found]));
        }
        assert!(matches!(liveness(2, &["k".into()]), Verdict::Violated(found) if found.len() == 1));
    }
}
