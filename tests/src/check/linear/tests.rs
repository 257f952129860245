use proptest::prelude::*;

use super::*;
use crate::check::example::*;
use crate::check::search::brute;
use crate::rng::Rng;

fn verdict(records: &[Record]) -> Verdict {
    check(&history(records.to_vec()), 100_000)
}

#[test]
fn passes_what_some_order_explains() {
    for good in [
        vec![none("k", (0, 1)), put("k", 1, (2, 3)), get("k", 1, (4, 5))],
        // Two overlapping writes, seen in either order.
        vec![put("k", 1, (0, 9)), put("k", 2, (0, 9)), get("k", 2, (1, 2)), get("k", 1, (3, 4))],
        // An unknown write shows late, or never.
        vec![put("k", 1, (0, 1)), put_unknown("k", 2, 2), get("k", 1, (3, 4)), get("k", 2, (5, 6))],
        vec![put("k", 1, (0, 1)), put_unknown("k", 2, 2), get("k", 1, (3, 4))],
        vec![put("k", 1, (0, 1)), delete_unknown("k", 2), get("k", 1, (3, 4)), none("k", (5, 6))],
        vec![put("k", 1, (0, 1)), put_failed("k", 2, (2, 3)), get("k", 1, (4, 5))],
        vec![
            put("k", 1, (0, 1)),
            put_if("k", 2, Condition::Match("e1".into()), (2, 9), Outcome::Done),
            put_if("k", 3, Condition::Match("e1".into()), (2, 9), Outcome::RefusedPresent),
            get("k", 2, (10, 11)),
        ],
        vec![put_unknown("k", 1, 0), put_if("k", 2, Condition::Absent, (2, 3), Outcome::RefusedPresent)],
        vec![put_if("k", 2, Condition::Match("e1".into()), (2, 3), Outcome::RefusedAbsent)],
    ] {
        assert!(verdict(&good).passed(), "{:?} {good:?}", verdict(&good));
    }
}

#[test]
fn catches_planted_faults() {
    for (fault, bad) in [
        ("stale read", vec![put("k", 1, (0, 1)), put("k", 2, (2, 3)), get("k", 1, (4, 5))]),
        ("lost write", vec![put("k", 1, (0, 1)), none("k", (4, 5))]),
        ("resurrected delete", vec![put("k", 1, (0, 1)), delete("k", (2, 3)), get("k", 1, (4, 5))]),
        ("phantom", vec![get("k", 9, (4, 5))]),
        ("failed write seen", vec![put_failed("k", 1, (0, 1)), get("k", 1, (4, 5))]),
        ("back in time", vec![put("k", 1, (0, 1)), put("k", 2, (2, 20)), get("k", 2, (4, 5)), get("k", 1, (6, 7))]),
        ("unknown write seen before it began", vec![get("k", 1, (0, 1)), put_unknown("k", 1, 2), get("k", 1, (3, 4))]),
        (
            "unknown write came and went",
            vec![put("k", 1, (0, 1)), put_unknown("k", 2, 2), get("k", 2, (3, 4)), get("k", 1, (5, 6))],
        ),
        (
            "two winners",
            vec![
                put_if("k", 1, Condition::Absent, (0, 9), Outcome::Done),
                put_if("k", 2, Condition::Absent, (0, 9), Outcome::Done),
            ],
        ),
        (
            "two compare-and-sets of one value",
            vec![
                put("k", 1, (0, 1)),
                put_if("k", 2, Condition::Match("e1".into()), (2, 9), Outcome::Done),
                put_if("k", 3, Condition::Match("e1".into()), (2, 9), Outcome::Done),
            ],
        ),
        ("refused for nothing", vec![put_if("k", 2, Condition::Absent, (2, 3), Outcome::RefusedPresent)]),
    ] {
        assert!(matches!(verdict(&bad), Verdict::Violated(_)), "{fault}: {:?}", verdict(&bad));
    }
}

#[test]
fn says_so_when_the_search_is_cut_short() {
    let many: Vec<Record> = (1..30).map(|id| put("k", id, (0, 100))).chain([get("k", 99, (200, 201))]).collect();
    assert!(matches!(check(&history(many), 1000), Verdict::Undecided(_)));
}

fn brute_force(records: &[Record]) -> bool {
    let owned = history(records.to_vec());
    let by_key = owned.by_key();
    let items: Vec<Item<'_, Step>> = by_key["k"].iter().filter_map(item).collect();
    brute::finds(&register(&by_key["k"]), &items)
}

/// Anything at all, true or not.
fn anything(seed: u64, ops: u64) -> Vec<Record> {
    let mut rng = Rng::new(seed);
    (1..=ops)
        .map(|id| {
            let start = rng.below(12);
            let at = (start, start + 1 + rng.below(8));
            let seen = 1 + rng.below(ops);
            match rng.below(12) {
                0 | 1 => put("k", id, at),
                2 => put_unknown("k", id, start),
                3 => delete("k", at),
                4 => delete_unknown("k", start),
                5 => put_if("k", id, Condition::Absent, at, Outcome::Done),
                6 => put_if("k", id, Condition::Match(format!("e{seen}")), at, Outcome::Done),
                7 => put_if("k", id, Condition::Absent, at, Outcome::RefusedPresent),
                8 => put_if("k", id, Condition::Match(format!("e{seen}")), at, Outcome::Unknown("lost".into())),
                9 => none("k", at),
                _ => get("k", seen, at),
            }
        })
        .collect()
}

/// Runs random operations of some clients against a true register, each taking effect at one point within its
/// interval; some answers get lost.
fn simulate(seed: u64, clients: u64, ops: u64) -> Vec<Record> {
    let mut rng = Rng::new(seed);
    let mut free = vec![0_u64; clients as usize];
    let mut pending: Vec<(u64, Record, bool)> = Vec::new();
    for id in 1..=ops {
        let client = rng.below(clients) as usize;
        let start = free[client] + 1 + rng.below(5);
        let end = start + 2 + rng.below(20);
        free[client] = end;
        let point = start + 1 + rng.below(end - start - 1);
        let mut record = match rng.below(10) {
            0..=3 => put("k", id, (start, end)),
            4 => delete("k", (start, end)),
            5 => put_if("k", id, Condition::Absent, (start, end), Outcome::Done),
            _ => none("k", (start, end)),
        };
        record.client = client as u32;
        let lost = rng.percent(15) && !matches!(record.op, Op::Read);
        pending.push((point, record, lost));
    }
    pending.sort_by_key(|(point, ..)| *point);
    let mut state: Option<u64> = None;
    let mut records = Vec::new();
    for (_, mut record, lost) in pending {
        let applies = !lost || rng.percent(50);
        match &record.op {
            Op::Write(write) if write.condition == Condition::Absent && state.is_some() => {
                record.outcome = Outcome::RefusedPresent;
            }
            Op::Write(write) if applies => state = Some(write.write),
            Op::Delete if applies => state = None,
            Op::Read => {
                let (start, end) = (record.start, record.end);
                record = state.map_or(none("k", (start, end)), |id| get("k", id, (start, end)));
            }
            _ => {}
        }
        if lost {
            record.outcome = Outcome::Unknown("lost".into());
            record.end = NEVER;
        }
        records.push(record);
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_true_register_always_passes(seed in any::<u64>()) {
        let records = simulate(seed, 8, 150);
        let verdict = verdict(&records);
        prop_assert!(verdict.passed(), "{:?}", verdict);
    }

    #[test]
    fn agrees_with_trying_every_order(seed in any::<u64>()) {
        for round in 0..60 {
            let records = anything(seed.wrapping_add(round), 6);
            prop_assert_eq!(verdict(&records).passed(), brute_force(&records), "{:?}", records);
        }
    }

    #[test]
    fn a_read_of_a_value_overwritten_long_before_is_caught(seed in any::<u64>()) {
        let mut records = simulate(seed, 4, 60);
        let end = records.iter().map(|r| r.end).filter(|end| *end != NEVER).max().unwrap_or(0);
        records.push(put("k", 1001, (end + 1, end + 2)));
        records.push(put("k", 1002, (end + 3, end + 4)));
        records.push(get("k", 1001, (end + 5, end + 6)));
        prop_assert!(matches!(verdict(&records), Verdict::Violated(_)));
    }
}
