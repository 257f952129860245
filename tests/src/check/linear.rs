//! C2: each key is a linearizable register with compare-and-set and delete, trusting nothing from the server.
//!
//! The search of Wing and Gong as Lowe improved it ("Testing for linearizability", 2017): take any operation that
//! nothing unfinished precedes, if the register allows it, until all known outcomes are explained; remember every pair
//! (operations taken, register) that led nowhere. Reads that fit are taken at once, which loses nothing because they
//! change nothing. Writes of unknown outcome may be taken at any point after their start, or never.

use std::collections::{HashMap, HashSet};

use crate::check::Verdict;
use crate::history::{Condition, History, NEVER, Op, Outcome, Record};

/// Steps of the search per key after which the verdict is "undecided".
pub const STEPS: u64 = 3_000_000;

/// The check, over all keys.
pub fn check(history: &History, steps: u64) -> Verdict {
    let (mut checked, mut doubts, mut violations) = (0, Vec::new(), Vec::new());
    for (key, records) in history.by_key() {
        checked += 1;
        match Search::new(&records).run(steps) {
            Found::Order => {}
            Found::None(why) => violations.push(format!("{key}: {why}")),
            Found::GaveUp => doubts.push(format!("{key}: no verdict on {} operations in {steps} steps", records.len())),
        }
    }
    Verdict::of(checked, doubts, violations)
}

/// The register: nothing, or the write with this id.
type State = Option<u64>;

#[derive(Clone, Debug)]
enum Step {
    /// Becomes this write, if the condition holds.
    Write(u64, Condition),
    Delete,
    /// Must be this.
    See(State),
    /// A refused condition: must not hold, with a value there.
    Unmet(Condition),
}

struct Item<'a> {
    step: Step,
    start: u64,
    end: u64,
    known: bool,
    /// Unknown, and as good as any other such item with the same effect.
    any: bool,
    record: &'a Record,
}

struct Search<'a> {
    /// In order of start.
    items: Vec<Item<'a>>,
    etags: HashMap<u64, Option<String>>,
}

enum Found {
    Order,
    None(String),
    GaveUp,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Taken(Vec<u64>);

impl Taken {
    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn take(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }
}

struct Frame {
    taken: Taken,
    state: State,
    /// Known operations left.
    left: usize,
    /// What may be tried next, last one first.
    options: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(records: &[&'a Record]) -> Self {
        let mut etags = HashMap::new();
        for write in records.iter().filter_map(|record| record.as_write()) {
            etags.insert(write.write, write.etag.clone());
        }
        for record in records {
            if let Outcome::Saw(Some(seen)) = &record.outcome {
                etags.entry(seen.write).or_insert(None).get_or_insert_with(|| seen.etag.clone());
            }
        }
        let mut items: Vec<Item<'a>> = records.iter().filter_map(item).collect();
        items.sort_by_key(|item| (item.start, item.end));
        let mut search = Self { items, etags };
        search.drop_what_explains_nothing();
        search
    }

    /// An unknown write that nobody saw can only explain a refusal or a missing value; without such there is no need
    /// to try it. Neither is there of an unknown delete where nothing was ever found missing.
    fn drop_what_explains_nothing(&mut self) {
        let seen: HashSet<u64> = self
            .items
            .iter()
            .filter_map(|item| match item.step {
                Step::See(Some(write)) => Some(write),
                _ => None,
            })
            .collect();
        let refusals = self.items.iter().any(|item| matches!(item.step, Step::Unmet(_)));
        let depends = self
            .items
            .iter()
            .any(|item| matches!(&item.step, Step::Write(_, condition) if *condition != Condition::None));
        let absences = self.items.iter().any(|item| matches!(item.step, Step::See(None)));
        self.items.retain(|item| {
            item.known
                || match &item.step {
                    Step::Write(write, _) => seen.contains(write) || refusals || depends,
                    Step::Delete => absences || depends,
                    Step::See(_) | Step::Unmet(_) => true,
                }
        });
        let named: HashSet<String> = self
            .items
            .iter()
            .filter_map(|item| match &item.step {
                Step::Write(_, Condition::Match(etag)) | Step::Unmet(Condition::Match(etag)) => Some(etag.clone()),
                _ => None,
            })
            .collect();
        for item in self.items.iter_mut().filter(|item| !item.known) {
            item.any = match &item.step {
                Step::Write(write, condition) => {
                    let etag = self.etags.get(write).and_then(Option::as_ref);
                    *condition == Condition::None
                        && !seen.contains(write)
                        && etag.is_some_and(|etag| !named.contains(etag))
                }
                Step::Delete => true,
                Step::See(_) | Step::Unmet(_) => false,
            };
        }
    }

    fn run(&self, limit: u64) -> Found {
        let words = self.items.len().div_ceil(64).max(1);
        let mut first = Frame {
            taken: Taken(vec![0; words]),
            state: None,
            left: self.items.iter().filter(|item| item.known).count(),
            options: Vec::new(),
        };
        self.settle(&mut first);
        if first.left == 0 {
            return Found::Order;
        }
        let mut tried: HashSet<(Taken, State, bool)> = HashSet::new();
        let mut nearest = (first.left, first.taken.clone(), first.state);
        let mut stack = vec![first];
        let mut steps = 0;
        while let Some(top) = stack.last_mut() {
            let Some(at) = top.options.pop() else {
                stack.pop();
                continue;
            };
            steps += 1;
            if steps > limit {
                return Found::GaveUp;
            }
            let mut next = Frame { taken: top.taken.clone(), state: top.state, left: top.left, options: Vec::new() };
            self.take(&mut next, at);
            let settled = self.settle(&mut next);
            let unseen = !self.items[at].known && !settled;
            if unseen {
                // Nothing saw its effect, so only a condition that it fulfils can have needed it.
                next.options.retain(|&next| self.conditional(next));
            }
            if next.left == 0 {
                return Found::Order;
            }
            if next.left < nearest.0 {
                nearest = (next.left, next.taken.clone(), next.state);
            }
            if tried.insert((next.taken.clone(), next.state, unseen)) {
                stack.push(next);
            }
        }
        Found::None(self.explain(&nearest.1, nearest.2))
    }

    fn take(&self, frame: &mut Frame, at: usize) {
        let item = &self.items[at];
        frame.taken.take(at);
        frame.left -= usize::from(item.known);
        match item.step {
            Step::Write(write, _) => frame.state = Some(write),
            Step::Delete => frame.state = None,
            Step::See(_) | Step::Unmet(_) => {}
        }
    }

    fn conditional(&self, at: usize) -> bool {
        matches!(&self.items[at].step, Step::Write(_, condition) if *condition != Condition::None)
    }

    /// Takes all reads that fit and lists the changes that may come next: unknown ones are tried last, and of those
    /// that stand for one another only one. Says whether there was such a read.
    fn settle(&self, frame: &mut Frame) -> bool {
        let mut settled = false;
        loop {
            let bound = self.bound(&frame.taken);
            let (mut moved, mut any_write, mut any_delete) = (false, false, false);
            frame.options.clear();
            for (at, item) in self.items.iter().enumerate() {
                if item.start > bound {
                    break;
                }
                if frame.taken.has(at) || !self.allows(frame.state, &item.step) {
                    continue;
                }
                match item.step {
                    Step::See(_) | Step::Unmet(_) => {
                        self.take(frame, at);
                        moved = true;
                    }
                    Step::Write(..) if item.any && std::mem::replace(&mut any_write, true) => {}
                    Step::Delete if item.any && std::mem::replace(&mut any_delete, true) => {}
                    Step::Write(..) | Step::Delete => frame.options.push(at),
                }
            }
            settled |= moved;
            if !moved {
                break;
            }
        }
        frame.options.sort_by_key(|&at| (self.items[at].known, std::cmp::Reverse(self.items[at].end)));
        settled
    }

    /// The earliest end of what is not yet taken: nothing that starts later can come before it.
    fn bound(&self, taken: &Taken) -> u64 {
        let mut bound = NEVER;
        for (at, item) in self.items.iter().enumerate() {
            if item.start > bound {
                break;
            }
            if !taken.has(at) {
                bound = bound.min(item.end);
            }
        }
        bound
    }

    fn allows(&self, state: State, step: &Step) -> bool {
        match step {
            Step::Write(_, condition) => self.holds(state, condition).unwrap_or(true),
            Step::Delete => true,
            Step::See(seen) => *seen == state,
            Step::Unmet(condition) => state.is_some() && !self.holds(state, condition).unwrap_or(false),
        }
    }

    /// `None` when the entity tag of the state is not known.
    fn holds(&self, state: State, condition: &Condition) -> Option<bool> {
        match (condition, state) {
            (Condition::None, _) => Some(true),
            (Condition::Absent, state) => Some(state.is_none()),
            (Condition::Match(_), None) => Some(false),
            (Condition::Match(etag), Some(write)) => {
                self.etags.get(&write).and_then(Option::as_ref).map(|current| current == etag)
            }
        }
    }

    fn explain(&self, taken: &Taken, state: State) -> String {
        let open: Vec<String> = self
            .items
            .iter()
            .enumerate()
            .filter(|(at, _)| !taken.has(*at))
            .take(6)
            .map(|(_, item)| {
                let r = item.record;
                format!("[client {} {}..{} {:?} -> {:?}]", r.client, r.start, r.end, r.op, r.outcome)
            })
            .collect();
        format!("no order explains it; with the value at {state:?} none of these can be next: {}", open.join(" "))
    }
}

fn item<'a>(record: &&'a Record) -> Option<Item<'a>> {
    let record: &'a Record = record;
    let condition = |record: &'a Record| record.as_write().map(|write| write.condition.clone());
    let (step, known) = match (&record.op, &record.outcome) {
        (Op::Write(write), Outcome::Done) => (Step::Write(write.write, write.condition.clone()), true),
        (Op::Write(write), Outcome::Unknown(_)) => (Step::Write(write.write, write.condition.clone()), false),
        (Op::Delete, Outcome::Done) => (Step::Delete, true),
        (Op::Delete, Outcome::Unknown(_)) => (Step::Delete, false),
        (Op::Read, Outcome::Saw(seen)) => (Step::See(seen.as_ref().map(|seen| seen.write)), true),
        (Op::Write(_), Outcome::RefusedPresent) => (Step::Unmet(condition(record)?), true),
        (Op::Write(_), Outcome::RefusedAbsent) => (Step::See(None), true),
        _ => return None,
    };
    let end = if known { record.end } else { NEVER };
    Some(Item { step, start: record.start, end, known, any: false, record })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::example::*;
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
            (
                "unknown write seen before it began",
                vec![get("k", 1, (0, 1)), put_unknown("k", 1, 2), get("k", 1, (3, 4))],
            ),
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

    /// Every order of every subset that holds all known outcomes, tried one after the other.
    fn brute_force(records: &[Record]) -> bool {
        let owned = history(records.to_vec());
        let by_key = owned.by_key();
        let items: Vec<Item<'_>> = by_key["k"].iter().filter_map(item).collect();
        let search = Search { etags: Search::new(&by_key["k"]).etags, items };
        fn extend(search: &Search<'_>, taken: &mut Vec<usize>, state: State) -> bool {
            let open: Vec<usize> = (0..search.items.len()).filter(|at| !taken.contains(at)).collect();
            if open.iter().all(|&at| !search.items[at].known) {
                return true;
            }
            for &at in &open {
                let item = &search.items[at];
                let blocked = open.iter().any(|&other| search.items[other].end < item.start);
                if blocked || !search.allows(state, &item.step) {
                    continue;
                }
                let next = match item.step {
                    Step::Write(write, _) => Some(write),
                    Step::Delete => None,
                    Step::See(_) | Step::Unmet(_) => state,
                };
                taken.push(at);
                let found = extend(search, taken, next);
                taken.pop();
                if found {
                    return true;
                }
            }
            false
        }
        extend(&search, &mut Vec::new(), None)
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
}
