//! C4: listings. L1: every key that was certainly there during the whole listing is in it. L2: no key that was
//! certainly absent during all of it is in it. L3: UTF-8 byte order, no duplicates, common prefixes exact. L4: pages
//! neither skip nor repeat (a listing is recorded as one operation over all its pages, so L1–L3 say it). L5 is in
//! [`page`](super::page).

use crate::check::Verdict;
use crate::history::{History, Op, Outcome, Record};

/// The check. Listings of which none was answered are a doubt.
pub fn check(history: &History) -> Verdict {
    let by_key = history.by_key();
    let (mut checked, mut unanswered, mut violations) = (0, 0, Vec::new());
    for listing in &history.records {
        let Op::List { delimiter } = &listing.op else { continue };
        let Outcome::Listed { keys, prefixes, faults, .. } = &listing.outcome else {
            unanswered += 1;
            continue;
        };
        checked += 1;
        let found = &mut |what: String| {
            violations.push(format!("list {:?} {}..{} ns: {what}", listing.key, listing.start, listing.end));
        };
        faults.iter().for_each(|fault| found(fault.clone()));
        for names in [keys, prefixes] {
            names.windows(2).filter(|pair| pair[0] >= pair[1]).for_each(|pair| found(format!("L3: {pair:?}")));
        }
        let mut roll_up = std::collections::BTreeMap::<String, Vec<&str>>::new();
        for (key, records) in by_key.range(listing.key.as_str()..).take_while(|(key, _)| key.starts_with(&listing.key))
        {
            let listed = keys.binary_search_by(|listed| listed.as_str().cmp(key)).is_ok();
            if let Some(prefix) = common_prefix(key, &listing.key, delimiter.as_deref()) {
                if listed {
                    found(format!("L3: {key} belongs under {prefix}"));
                }
                roll_up.entry(prefix).or_default().push(key);
                continue;
            }
            if !listed && certainly_present(records, listing) {
                found(format!("L1: {key} is missing"));
            }
            if listed && certainly_absent(records, listing) {
                found(format!("L2: {key} should not be there"));
            }
        }
        for (prefix, under) in &roll_up {
            let listed = prefixes.contains(prefix);
            if !listed && under.iter().any(|key| certainly_present(&by_key[*key], listing)) {
                found(format!("L1: common prefix {prefix} is missing"));
            }
            if listed && under.iter().all(|key| certainly_absent(&by_key[*key], listing)) {
                found(format!("L2: nothing is under common prefix {prefix}"));
            }
        }
        for stray in keys.iter().filter(|key| !by_key.contains_key(key.as_str())) {
            found(format!("L2: nobody wrote {stray}"));
        }
        for stray in prefixes.iter().filter(|prefix| !roll_up.contains_key(prefix.as_str())) {
            found(format!("L2: nothing makes common prefix {stray}"));
        }
    }
    let none = checked == 0 && unanswered > 0;
    let doubts = none.then(|| format!("none of {unanswered} listings was answered")).into_iter().collect();
    Verdict::of(checked, doubts, violations).beside(unanswered)
}

fn common_prefix(key: &str, prefix: &str, delimiter: Option<&str>) -> Option<String> {
    let delimiter = delimiter?;
    let at = key[prefix.len()..].find(delimiter)?;
    Some(key[..prefix.len() + at + delimiter.len()].to_owned())
}

/// Some write was acknowledged before the listing, and no delete may have come after it and before the listing's end.
fn certainly_present(records: &[&Record], listing: &Record) -> bool {
    records.iter().filter(|r| matches!(r.op, Op::Write(_)) && r.acknowledged() && r.end < listing.start).any(|write| {
        !records
            .iter()
            .filter(|r| matches!(r.op, Op::Delete) && r.may_have_applied())
            .any(|delete| delete.end > write.start && delete.start < listing.end)
    })
}

/// No write may have come before the listing's end, or a delete was acknowledged before it and none may have followed.
fn certainly_absent(records: &[&Record], listing: &Record) -> bool {
    let writes =
        || records.iter().filter(|r| matches!(r.op, Op::Write(_)) && r.may_have_applied() && r.start < listing.end);
    writes().next().is_none()
        || records
            .iter()
            .filter(|r| matches!(r.op, Op::Delete) && r.acknowledged() && r.end < listing.start)
            .any(|delete| !writes().any(|write| write.end > delete.start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::*;

    fn delimited(mut record: Record, prefixes: &[&str]) -> Record {
        record.op = Op::List { delimiter: Some("/".into()) };
        if let Outcome::Listed { prefixes: listed, .. } = &mut record.outcome {
            *listed = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        }
        record
    }

    fn base() -> Vec<Record> {
        vec![
            put("a/1", 1, (0, 1)),
            put("a/2", 2, (0, 1)),
            delete("a/2", (2, 3)),
            put("b", 3, (0, 1)),
            put_unknown("b2", 4, 2),
        ]
    }

    #[test]
    fn passes_true_listings() {
        for good in [
            list("", &["a/1", "b"], (5, 6)),
            list("", &["a/1", "b", "b2"], (5, 6)),
            list("a/", &["a/1"], (5, 6)),
            list("a/", &["a/1", "a/2"], (2, 6)),
            delimited(list("", &["b"], (5, 6)), &["a/"]),
        ] {
            let verdict = check(&history(base().into_iter().chain([good.clone()])));
            assert!(verdict.passed(), "{verdict:?} {good:?}");
        }
    }

    #[test]
    fn catches_short_stale_disordered_and_invented_listings() {
        for bad in [
            list("", &["b"], (5, 6)),
            list("", &["a/1", "a/2", "b"], (5, 6)),
            list("", &["b", "a/1"], (5, 6)),
            list("", &["a/1", "a/1", "b"], (5, 6)),
            list("", &["a/1", "b", "c"], (5, 6)),
            delimited(list("", &["b"], (5, 6)), &[]),
            delimited(list("", &["b"], (5, 6)), &["a/", "z/"]),
            delimited(list("", &["a/1", "b"], (5, 6)), &["a/"]),
        ] {
            let verdict = check(&history(base().into_iter().chain([bad.clone()])));
            assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?} {bad:?}");
        }
    }

    #[test]
    fn does_not_pass_listings_without_an_answer() {
        let mut failed = list("", &[], (5, 6));
        failed.outcome = Outcome::Failed("503 SlowDown".into());
        let verdict = check(&history(base().into_iter().chain([failed.clone()])));
        assert!(matches!(verdict, Verdict::Undecided(_)), "{verdict:?}");
        let verdict = check(&history(base().into_iter().chain([failed, list("a/", &["a/1"], (7, 8))])));
        assert_eq!(verdict, Verdict::Passed { checked: 1, undecided: 1 });
    }
}
