//! C2: each key is a linearizable register with compare-and-set and delete, trusting nothing from the server.
//! [`search`](super::search) looks for an order.

use std::collections::{HashMap, HashSet};

use crate::check::Verdict;
use crate::check::search::{self, Item, Model, Search};
use crate::history::{Condition, History, NEVER, Op, Outcome, Record};

/// The check, over all keys.
pub fn check(history: &History, steps: u64) -> Verdict {
    let keys = history.by_key();
    search::verdict(keys.iter().map(|(key, records)| (*key, records.len(), Ok(of(records).run(steps)))))
}

/// What entity tag each write has, where that is known.
struct Register(HashMap<u64, Option<String>>);

#[derive(Clone, Debug)]
enum Step {
    /// Becomes this write, if the condition holds.
    Write(u64, Condition),
    Delete,
    /// Must be this.
    See(Option<u64>),
    /// A refused condition: must not hold, with a value there.
    Unmet(Condition),
}

impl Model for Register {
    /// Nothing, or the write with this id.
    type State = Option<u64>;
    type Step = Step;

    fn allows(&self, state: &Option<u64>, step: &Step) -> bool {
        match step {
            Step::Write(_, condition) => self.holds(*state, condition).unwrap_or(true),
            Step::Delete => true,
            Step::See(seen) => seen == state,
            Step::Unmet(condition) => state.is_some() && !self.holds(*state, condition).unwrap_or(false),
        }
    }

    fn change(&self, state: &mut Option<u64>, step: &Step) {
        match step {
            Step::Write(write, _) => *state = Some(*write),
            Step::Delete => *state = None,
            Step::See(_) | Step::Unmet(_) => {}
        }
    }

    fn only_looks(step: &Step) -> bool {
        matches!(step, Step::See(_) | Step::Unmet(_))
    }

    /// Only a condition that it fulfils can have needed it: anything else replaces it.
    fn needs_unseen(&self, step: &Step) -> bool {
        matches!(step, Step::Write(_, condition) if *condition != Condition::None)
    }
}

impl Register {
    /// `None` when the entity tag of the state is not known.
    fn holds(&self, state: Option<u64>, condition: &Condition) -> Option<bool> {
        match (condition, state) {
            (Condition::None, _) => Some(true),
            (Condition::Absent, state) => Some(state.is_none()),
            (Condition::Match(_), None) => Some(false),
            (Condition::Match(etag), Some(write)) => self.etag(write).map(|current| current == etag),
        }
    }

    fn etag(&self, write: u64) -> Option<&String> {
        self.0.get(&write).and_then(Option::as_ref)
    }
}

fn of<'a>(records: &[&'a Record]) -> Search<'a, Register> {
    let register = register(records);
    let mut items: Vec<Item<'a, Step>> = records.iter().filter_map(item).collect();
    drop_what_explains_nothing(&register, &mut items);
    Search::new(register, items)
}

fn register(records: &[&Record]) -> Register {
    let mut etags = HashMap::new();
    for write in records.iter().filter_map(|record| record.as_write()) {
        etags.insert(write.write, write.etag.clone());
    }
    for record in records {
        if let Outcome::Saw(Some(seen)) = &record.outcome {
            etags.entry(seen.write).or_insert(None).get_or_insert_with(|| seen.etag.clone());
        }
    }
    Register(etags)
}

/// An unknown write that nobody saw can only explain a refusal or a missing value; without such there is no need to try
/// it. Neither is there of an unknown delete where nothing was ever found missing.
fn drop_what_explains_nothing(register: &Register, items: &mut Vec<Item<'_, Step>>) {
    let seen: HashSet<u64> = items
        .iter()
        .filter_map(|item| match item.step {
            Step::See(Some(write)) => Some(write),
            _ => None,
        })
        .collect();
    let refusals = items.iter().any(|item| matches!(item.step, Step::Unmet(_)));
    let depends = items.iter().any(|item| register.needs_unseen(&item.step));
    let absences = items.iter().any(|item| matches!(item.step, Step::See(None)));
    items.retain(|item| {
        item.known
            || match &item.step {
                Step::Write(write, _) => seen.contains(write) || refusals || depends,
                Step::Delete => absences || depends,
                Step::See(_) | Step::Unmet(_) => true,
            }
    });
    let named: HashSet<String> = items
        .iter()
        .filter_map(|item| match &item.step {
            Step::Write(_, Condition::Match(etag)) | Step::Unmet(Condition::Match(etag)) => Some(etag.clone()),
            _ => None,
        })
        .collect();
    for item in items.iter_mut().filter(|item| !item.known) {
        item.any = match &item.step {
            Step::Write(write, condition) => {
                let unnamed = register.etag(*write).is_some_and(|etag| !named.contains(etag));
                (*condition == Condition::None && !seen.contains(write) && unnamed).then_some(0)
            }
            Step::Delete => Some(1),
            Step::See(_) | Step::Unmet(_) => None,
        };
    }
}

fn item<'a>(record: &&'a Record) -> Option<Item<'a, Step>> {
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
    Some(Item { step, start: record.start, end, known, any: None, said: record })
}

#[cfg(test)]
mod tests;
