use proptest::prelude::*;

use super::*;
use crate::check::search::brute;
use crate::rng::Rng;

fn record(op: Op, (start, end): (u64, u64), outcome: Outcome) -> Versioned {
    Versioned { client: start as u32, key: "k".into(), op, start, end, outcome }
}

fn op(write: u64) -> Op {
    Op::Put { write, etag: format!("e{write}") }
}

fn put(write: u64, at: (u64, u64)) -> Versioned {
    record(op(write), at, Outcome::Made(format!("v{write}")))
}

fn put_unknown(write: u64, start: u64) -> Versioned {
    record(op(write), (start, NEVER), Outcome::Unknown("lost".into()))
}

fn mark(id: u64, at: (u64, u64)) -> Versioned {
    record(Op::Mark, at, Outcome::Made(format!("m{id}")))
}

fn mark_unknown(start: u64) -> Versioned {
    record(Op::Mark, (start, NEVER), Outcome::Unknown("lost".into()))
}

fn remove(id: &str, at: (u64, u64)) -> Versioned {
    record(Op::Remove(id.into()), at, Outcome::Removed)
}

fn remove_unknown(id: &str, start: u64) -> Versioned {
    record(Op::Remove(id.into()), (start, NEVER), Outcome::Unknown("lost".into()))
}

fn object(write: u64) -> Shown {
    Shown::Object { version: format!("v{write}"), etag: format!("e{write}"), fault: None }
}

fn get(shown: Shown, at: (u64, u64)) -> Versioned {
    record(Op::Read(None), at, Outcome::Saw(shown))
}

fn get_version(id: &str, shown: Shown, at: (u64, u64)) -> Versioned {
    record(Op::Read(Some(id.into())), at, Outcome::Saw(shown))
}

/// Ids newest first: `v` objects, anything else markers.
fn list(ids: &[&str], at: (u64, u64)) -> Versioned {
    let is_object = |id: &&&str| id.starts_with('v');
    let listing = Listing {
        objects: ids.iter().filter(is_object).map(|id| ((*id).into(), id.replace('v', "e"))).collect(),
        markers: ids.iter().filter(|id| !is_object(id)).map(|id| (*id).into()).collect(),
        latest: ids.first().map(|id| (*id).into()).into_iter().collect(),
    };
    record(Op::List, at, Outcome::Listed(listing))
}

fn verdict(records: &[Versioned]) -> Verdict {
    check(&History { versioned: records.to_vec(), ..History::default() }, 100_000)
}

#[test]
fn passes_what_some_order_explains() {
    for good in [
        vec![
            list(&[], (0, 1)),
            get(Shown::Nothing, (0, 1)),
            put(1, (2, 3)),
            get(object(1), (4, 5)),
            list(&["v1"], (6, 7)),
        ],
        vec![put(1, (0, 1)), put(2, (2, 3)), list(&["v2", "v1"], (4, 5)), get_version("v1", object(1), (6, 7))],
        // Two overlapping puts, in either order.
        vec![put(1, (0, 9)), put(2, (0, 9)), list(&["v1", "v2"], (10, 11))],
        // A marker hides, and its removal brings back.
        vec![
            put(1, (0, 1)),
            mark(2, (2, 3)),
            get(Shown::Marker, (4, 5)),
            list(&["m2", "v1"], (4, 5)),
            get_version("m2", Shown::Marker, (4, 5)),
            remove("m2", (6, 7)),
            get(object(1), (8, 9)),
            list(&["v1"], (8, 9)),
        ],
        // One out of the middle, whose removal may be repeated.
        vec![
            put(1, (0, 1)),
            put(2, (2, 3)),
            put(3, (4, 5)),
            remove("v2", (6, 7)),
            remove("v2", (8, 9)),
            list(&["v3", "v1"], (10, 11)),
        ],
        // The last one leaves nothing.
        vec![put(1, (0, 1)), remove("v1", (2, 3)), get(Shown::Nothing, (4, 5)), list(&[], (4, 5))],
        // Unknown ones show late, once covered, or never.
        vec![put_unknown(1, 0), put(2, (2, 3)), list(&["v2", "v1"], (4, 5))],
        vec![put_unknown(1, 0), put(2, (2, 3)), list(&["v2"], (4, 5)), list(&["v1", "v2"], (6, 7))],
        vec![put(1, (0, 1)), put_unknown(2, 2), list(&["v1"], (4, 5))],
        vec![put(1, (0, 1)), mark_unknown(2), list(&["m77", "v1"], (4, 5)), get(Shown::Marker, (6, 7))],
        vec![put(1, (0, 1)), mark_unknown(2), put(3, (4, 5)), list(&["v3", "m77", "v1"], (6, 7))],
        vec![put(1, (0, 1)), remove_unknown("v1", 2), get(object(1), (3, 4)), list(&[], (5, 6))],
    ] {
        assert!(verdict(&good).passed(), "{:?} {good:?}", verdict(&good));
    }
}

#[test]
fn catches_planted_faults() {
    let wrong = Shown::Object { version: "v1".into(), etag: "e1".into(), fault: Some("wrong bytes".into()) };
    for (fault, bad) in [
        ("lost version", vec![put(1, (0, 1)), put(2, (2, 3)), list(&["v2"], (4, 5))]),
        ("lost put", vec![put(1, (0, 1)), get(Shown::Nothing, (4, 5))]),
        ("lost marker", vec![put(1, (0, 1)), mark(2, (2, 3)), get(object(1), (4, 5))]),
        ("nothing instead of a marker", vec![mark(2, (2, 3)), get(Shown::Nothing, (4, 5))]),
        ("removed and back", vec![put(1, (0, 1)), remove("v1", (2, 3)), get_version("v1", object(1), (4, 5))]),
        ("removed and listed", vec![put(1, (0, 1)), put(2, (0, 1)), remove("v1", (2, 3)), list(&["v2", "v1"], (4, 5))]),
        ("wrong order", vec![put(1, (0, 1)), put(2, (2, 3)), list(&["v1", "v2"], (4, 5))]),
        ("stale read", vec![put(1, (0, 1)), put(2, (2, 3)), get(object(1), (4, 5))]),
        ("stale list", vec![put(1, (0, 1)), put(2, (2, 3)), list(&["v2", "v1"], (4, 5)), list(&["v1"], (6, 7))]),
        ("another version", vec![put(1, (0, 1)), put(2, (2, 3)), get_version("v1", object(2), (4, 5))]),
        ("a put under two ids", vec![put(1, (0, 1)), record(op(1), (2, 3), Outcome::Made("v9".into()))]),
        ("one id for two puts", vec![put(1, (0, 1)), record(op(2), (2, 3), Outcome::Made("v1".into()))]),
        ("no id", vec![record(op(2), (2, 3), Outcome::Made(String::new()))]),
        ("a marker that nobody put", vec![put(1, (0, 1)), list(&["m9", "v1"], (2, 3))]),
        ("an object that nobody put", vec![list(&["v9"], (2, 3))]),
        ("wrong bytes", vec![put(1, (0, 1)), get(wrong, (2, 3))]),
        ("unknown before it began", vec![list(&["v1"], (0, 1)), put_unknown(1, 2)]),
        ("came and went", vec![put_unknown(1, 0), list(&["v1"], (2, 3)), list(&[], (4, 5))]),
    ] {
        assert!(matches!(verdict(&bad), Verdict::Violated(_)), "{fault}: {:?}", verdict(&bad));
    }
    let mut two = list(&["v2", "v1"], (4, 5));
    if let Outcome::Listed(listing) = &mut two.outcome {
        listing.latest = vec!["v2".into(), "v1".into()];
    }
    assert!(matches!(verdict(&[put(1, (0, 1)), put(2, (2, 3)), two.clone()]), Verdict::Violated(_)));
    if let Outcome::Listed(listing) = &mut two.outcome {
        listing.latest = vec!["v1".into()];
    }
    assert!(matches!(verdict(&[put(1, (0, 1)), put(2, (2, 3)), two]), Verdict::Violated(_)));
}

/// Runs random operations of some clients against a true stack of versions, each taking effect at one point within its
/// interval; some answers get lost. The last listing tells all.
fn simulate(seed: u64, clients: u64, ops: u64) -> Vec<Versioned> {
    let mut rng = Rng::new(seed);
    let mut free = vec![0_u64; clients as usize];
    let mut points = Vec::new();
    for id in 1..=ops {
        let client = rng.below(clients) as usize;
        let start = free[client] + 1 + rng.below(5);
        let end = start + 2 + rng.below(20);
        free[client] = end;
        points.push((start + 1 + rng.below(end - start - 1), client as u32, id, (start, end)));
    }
    points.sort_unstable();
    // With the time from which on clients can know of it.
    let (mut held, mut told): (Vec<String>, Vec<(String, u64)>) = (Vec::new(), Vec::new());
    let mut records = Vec::new();
    for (_, client, id, at) in points {
        let shown = |id: Option<&String>| match id {
            None => Shown::Nothing,
            Some(id) => id.strip_prefix('v').map_or(Shown::Marker, |write| object(write.parse().unwrap_or(0))),
        };
        let known: Vec<&String> = told.iter().filter(|(_, end)| *end < at.0).map(|(id, _)| id).collect();
        let lost = rng.percent(12);
        let happens = !lost || rng.percent(50);
        let mut record = match rng.below(10) {
            0..=2 => put(id, at),
            3 => mark(id, at),
            4 if !known.is_empty() => remove(rng.pick(&known), at),
            5 if !known.is_empty() => {
                let id = (*rng.pick(&known)).clone();
                get_version(&id, shown(held.iter().find(|one| **one == id)), at)
            }
            6 | 7 => list(&held.iter().rev().map(String::as_str).collect::<Vec<_>>(), at),
            _ => get(shown(held.last()), at),
        };
        match (&record.op, &record.outcome) {
            (Op::Put { .. } | Op::Mark, Outcome::Made(id)) if happens => held.push(id.clone()),
            (Op::Remove(id), _) if happens => held.retain(|one| one != id),
            _ => {}
        }
        if let (Outcome::Made(id), false) = (&record.outcome, lost) {
            told.push((id.clone(), at.1));
        }
        record.client = client;
        if lost && matches!(record.op, Op::Put { .. } | Op::Mark | Op::Remove(_)) {
            record.outcome = Outcome::Unknown("lost".into());
            record.end = NEVER;
        }
        records.push(record);
    }
    let end = free.into_iter().max().unwrap_or(0);
    records.push(list(&held.iter().rev().map(String::as_str).collect::<Vec<_>>(), (end + 1, end + 2)));
    records
}

/// Changes one thing that an answer showed; whether there was one.
fn lie(records: &mut [Versioned], rng: &mut Rng) -> bool {
    let at = rng.below(records.len() as u64) as usize;
    match &mut records[at].outcome {
        Outcome::Listed(listing) if !listing.objects.is_empty() => {
            listing.objects.remove(0);
            true
        }
        Outcome::Saw(shown) => {
            *shown = if *shown == Shown::Nothing { Shown::Marker } else { Shown::Nothing };
            true
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_true_stack_always_passes(seed in any::<u64>()) {
        let records = simulate(seed, 5, 60);
        let verdict = verdict(&records);
        prop_assert!(verdict.passed(), "{:?}", verdict);
    }

    #[test]
    fn agrees_with_trying_every_order(seed in any::<u64>()) {
        for round in 0..60 {
            let mut rng = Rng::new(seed ^ round);
            let mut records = simulate(seed.wrapping_add(round), 3, 6);
            lie(&mut records, &mut rng);
            let found = verdict(&records).passed();
            let owned = records.clone();
            let by_key = by_key(&owned);
            let Ok(names) = Names::of(&by_key["k"]) else {
                prop_assert!(!found);
                continue;
            };
            let expected = names.items(&by_key["k"]).is_ok_and(|items| brute::finds(&names, &items));
            prop_assert_eq!(found, expected, "{:?}", records);
        }
    }

    #[test]
    fn a_version_that_is_missing_from_the_last_listing_is_noticed(seed in any::<u64>()) {
        let mut records = simulate(seed, 5, 60);
        let end = records.iter().map(|r| r.end).filter(|end| *end != NEVER).max().unwrap_or(0);
        records.push(put(1001, (end + 1, end + 2)));
        let last = records.iter().rev().find_map(|record| match &record.outcome {
            Outcome::Listed(listing) => Some(listing.clone()),
            _ => None,
        });
        records.push(record(Op::List, (end + 3, end + 4), Outcome::Listed(last.unwrap_or_default())));
        // That no order at all explains it may be too much to try; then it is undecided, which is no pass.
        prop_assert!(!verdict(&records).passed());
    }
}
