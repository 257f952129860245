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
mod tests;
