//! The search of Wing and Gong as Lowe improved it ("Testing for linearizability", 2017), over what a [`Model`] says
//! that operations do: take any operation that nothing unfinished precedes, if the model allows it, until all known
//! outcomes are explained; remember every pair (operations taken, state) that led nowhere. What changes nothing is taken
//! as soon as it fits, which loses nothing. Changes of unknown outcome may be taken at any point after their start, or
//! never.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

use crate::check::Verdict;
use crate::history::NEVER;

/// Steps of the search per key after which the verdict is "undecided".
pub const STEPS: u64 = 3_000_000;

/// What is promised of a key.
pub(super) trait Model {
    /// What a key holds.
    type State: Clone + Debug + Default + Eq + Hash;
    /// What an operation did, or saw.
    type Step;

    /// Whether this may come next.
    fn allows(&self, state: &Self::State, step: &Self::Step) -> bool;

    /// Does it.
    fn change(&self, state: &mut Self::State, step: &Self::Step);

    /// Whether it changes nothing, whatever the state.
    fn only_looks(step: &Self::Step) -> bool;

    /// Whether this may have needed the change of unknown outcome just before it, which nothing saw while it was newest.
    fn needs_unseen(&self, step: &Self::Step) -> bool;
}

/// An operation.
pub(super) struct Item<'a, Step> {
    pub step: Step,
    pub start: u64,
    /// [`NEVER`] where its outcome is not known.
    pub end: u64,
    pub known: bool,
    /// Unknown, and as good as any other such item of this class.
    pub any: Option<u8>,
    /// The record, for those who read of it.
    pub said: &'a dyn Debug,
}

/// What it came to.
pub(super) enum Found {
    Order,
    None(String),
    GaveUp,
}

/// One key's operations.
pub(super) struct Search<'a, M: Model> {
    pub model: M,
    /// In order of start.
    items: Vec<Item<'a, M::Step>>,
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

struct Frame<State> {
    taken: Taken,
    state: State,
    /// Known operations left.
    left: usize,
    /// What may be tried next, last one first.
    options: Vec<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    pub(super) fn new(model: M, mut items: Vec<Item<'a, M::Step>>) -> Self {
        items.sort_by_key(|item| (item.start, item.end));
        Self { model, items }
    }

    pub(super) fn run(&self, limit: u64) -> Found {
        let words = self.items.len().div_ceil(64).max(1);
        let mut first = Frame {
            taken: Taken(vec![0; words]),
            state: M::State::default(),
            left: self.items.iter().filter(|item| item.known).count(),
            options: Vec::new(),
        };
        self.settle(&mut first);
        if first.left == 0 {
            return Found::Order;
        }
        let mut tried: HashSet<(Taken, M::State, bool)> = HashSet::new();
        let mut nearest = (first.left, first.taken.clone(), first.state.clone());
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
            let mut next =
                Frame { taken: top.taken.clone(), state: top.state.clone(), left: top.left, options: Vec::new() };
            self.take(&mut next, at);
            let settled = self.settle(&mut next);
            let unseen = !self.items[at].known && !settled;
            if unseen {
                next.options.retain(|&next| self.model.needs_unseen(&self.items[next].step));
            }
            if next.left == 0 {
                return Found::Order;
            }
            if next.left < nearest.0 {
                nearest = (next.left, next.taken.clone(), next.state.clone());
            }
            if tried.insert((next.taken.clone(), next.state.clone(), unseen)) {
                stack.push(next);
            }
        }
        Found::None(self.explain(&nearest.1, &nearest.2))
    }

    fn take(&self, frame: &mut Frame<M::State>, at: usize) {
        let item = &self.items[at];
        frame.taken.take(at);
        frame.left -= usize::from(item.known);
        self.model.change(&mut frame.state, &item.step);
    }

    /// Takes all that only looks and fits, and lists the changes that may come next: unknown ones are tried last, and of
    /// those that stand for one another only one. Says whether anything looked.
    fn settle(&self, frame: &mut Frame<M::State>) -> bool {
        let mut settled = false;
        loop {
            let bound = self.bound(&frame.taken);
            let (mut moved, mut classes) = (false, 0_u8);
            frame.options.clear();
            for (at, item) in self.items.iter().enumerate() {
                if item.start > bound {
                    break;
                }
                if frame.taken.has(at) || !self.model.allows(&frame.state, &item.step) {
                    continue;
                }
                if M::only_looks(&item.step) {
                    self.take(frame, at);
                    moved = true;
                    continue;
                }
                let class = item.any.map_or(0, |class| 1 << class);
                if classes & class == 0 {
                    classes |= class;
                    frame.options.push(at);
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

    fn explain(&self, taken: &Taken, state: &M::State) -> String {
        let open = self.items.iter().enumerate().filter(|(at, _)| !taken.has(*at)).take(6);
        let open: Vec<String> = open.map(|(_, item)| format!("[{:?}]", item.said)).collect();
        format!("no order explains it; with the key at {state:?} none of these can be next: {}", open.join(" "))
    }
}

/// The verdict over all keys.
pub(super) fn verdict<'k>(found: impl Iterator<Item = (&'k str, usize, Result<Found, String>)>) -> Verdict {
    let (mut checked, mut doubts, mut violations) = (0, Vec::new(), Vec::new());
    for (key, operations, found) in found {
        checked += 1;
        match found {
            Ok(Found::Order) => {}
            Ok(Found::None(why)) | Err(why) => violations.push(format!("{key}: {why}")),
            Ok(Found::GaveUp) => doubts.push(format!("{key}: no verdict on {operations} operations: too many orders")),
        }
    }
    Verdict::of(checked, doubts, violations)
}

#[cfg(test)]
pub(super) mod brute {
    //! Every order of every subset that holds all known outcomes, tried one after the other.
    use super::*;

    /// Whether there is one.
    pub fn finds<M: Model>(model: &M, items: &[Item<'_, M::Step>]) -> bool {
        extend(model, items, &mut Vec::new(), &M::State::default())
    }

    fn extend<M: Model>(model: &M, items: &[Item<'_, M::Step>], taken: &mut Vec<usize>, state: &M::State) -> bool {
        let open: Vec<usize> = (0..items.len()).filter(|at| !taken.contains(at)).collect();
        if open.iter().all(|&at| !items[at].known) {
            return true;
        }
        open.iter().any(|&at| {
            let item = &items[at];
            if open.iter().any(|&other| items[other].end < item.start) || !model.allows(state, &item.step) {
                return false;
            }
            let mut next = state.clone();
            model.change(&mut next, &item.step);
            taken.push(at);
            let found = extend(model, items, taken, &next);
            taken.pop();
            found
        })
    }
}
