//! Any list of calls, crashes and reopenings against a model: what was done is there, what was not done may be, and what
//! is found is what the log was told up to some moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::id::{GroupId, NodeId};
use proptest::prelude::*;

use super::{open, small};
use crate::file::{Cut, SimulatedFiles};
use crate::log::{GroupLog, GroupLogState, Log, LogEntry};
use crate::position::{Ballot, Position};

#[derive(Clone, Debug)]
pub enum Step {
    /// Entries: how many, of how many bytes.
    Append(u32, u64, usize),
    /// Cuts so many entries off the end.
    Truncate(u32, u64),
    /// Purges all but so many entries; below zero: beyond the end.
    Purge(u32, i64),
    Ballot(u32),
    Committed(u32, u64),
    /// Lets the writer work.
    Yield,
    Flush(u32),
    Forget(u32),
    /// A quiet time.
    Idle,
    Reopen,
    /// After so many file operations the machine stops.
    CrashAfter(u64),
    Cut(Cut),
}

/// What one group has.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    ballot: Option<Ballot>,
    state: GroupLogState,
    entries: Vec<LogEntry>,
    term: u64,
}

impl Model {
    fn next(&self) -> u64 {
        self.state.last.map_or(1, |last| last.index + 1)
    }

    fn same(&self, other: &Model) -> bool {
        (self.ballot, self.state, &self.entries) == (other.ballot, other.state, &other.entries)
    }

    fn settle(&mut self) {
        self.state.last = self.entries.last().map(|entry| entry.position).or(self.state.purged);
    }
}

type Models = BTreeMap<u32, Model>;

/// A log on simulated files beside its model.
pub struct Harness {
    pub files: SimulatedFiles,
    log: Option<Log>,
    cache: u64,
    /// The model after each call since the log was opened.
    past: Vec<Models>,
    /// The call up to which everything is known to be durable.
    done: Arc<AtomicUsize>,
    serial: u64,
}

impl Harness {
    pub async fn new(files: SimulatedFiles, cache: u64) -> Self {
        let log = open(&files, small(cache)).await.unwrap();
        Self { files, log: Some(log), cache, past: vec![Models::new()], done: Arc::default(), serial: 0 }
    }

    fn now(&self) -> &Models {
        self.past.last().unwrap()
    }

    fn group(&self, id: u32) -> GroupLog {
        self.log.as_ref().unwrap().group(GroupId(id))
    }

    /// Notes a call and returns what to call when it is durable.
    fn told(&mut self, id: u32, change: impl FnOnce(&mut Model)) -> Box<dyn FnOnce() + Send> {
        let mut models = self.now().clone();
        change(models.entry(id).or_default());
        self.past.push(models);
        let (call, done) = (self.past.len() - 1, self.done.clone());
        Box::new(move || {
            done.fetch_max(call, Ordering::SeqCst);
        })
    }

    pub async fn step(&mut self, step: Step) {
        let model = |harness: &Self, id| harness.now().get(&id).cloned().unwrap_or_default();
        match step {
            Step::Append(id, count, len) => {
                let old = model(self, id);
                let mut entries = Vec::new();
                for index in old.next()..old.next() + count {
                    self.serial += 1;
                    let mut payload = vec![self.serial as u8; len.max(8)];
                    payload[..8].copy_from_slice(&self.serial.to_le_bytes());
                    let position = Position { term: old.term, node: NodeId(old.term % 3), index };
                    entries.push(LogEntry { position, payload: Bytes::from(payload) });
                }
                let new = entries.clone();
                let done = self.told(id, |model| {
                    model.entries.extend(new);
                    model.settle();
                });
                self.group(id).append(entries, move |result| result.map_or((), |()| done()));
            }
            Step::Truncate(id, count) => {
                let old = model(self, id);
                let left = old.entries.len().saturating_sub(count as usize);
                let keep = old.entries[..left].last().map(|entry| entry.position).or(old.state.purged);
                let _ = self.told(id, |model| {
                    model.entries.truncate(left);
                    model.term += 1;
                    model.settle();
                });
                self.group(id).truncate_after(keep);
            }
            Step::Purge(id, left) => {
                let old = model(self, id);
                let index = (old.next() as i64 - 1 - left).max(1) as u64;
                if old.state.purged.is_some_and(|purged| purged.index >= index) {
                    return;
                }
                let known = old.entries.iter().find(|entry| entry.position.index == index);
                let upto = known.map_or(Position { term: old.term, node: NodeId(0), index }, |entry| entry.position);
                let _ = self.told(id, |model| {
                    model.entries.retain(|entry| entry.position.index > index);
                    model.state.purged = Some(upto);
                    model.settle();
                });
                self.group(id).purge(upto);
            }
            Step::Ballot(id) => {
                self.serial += 1;
                let ballot = Ballot { term: self.serial, node: NodeId(1), committed: self.serial.is_multiple_of(2) };
                let done = self.told(id, |model| model.ballot = Some(ballot));
                if self.group(id).save_ballot(ballot).await.is_ok() {
                    done();
                }
            }
            Step::Committed(id, back) => {
                let old = model(self, id);
                let committed = old.entries.iter().rev().nth(back as usize).map(|entry| entry.position);
                let _ = self.told(id, |model| model.state.committed = committed);
                self.group(id).save_committed(committed);
            }
            Step::Yield => {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
            Step::Flush(id) => {
                let call = self.past.len() - 1;
                if self.group(id).flushed().await.is_ok() {
                    self.done.fetch_max(call, Ordering::SeqCst);
                }
            }
            Step::Forget(id) => {
                let mut models = self.now().clone();
                if models.remove(&id).is_none() {
                    return;
                }
                self.past.push(models);
                let call = self.past.len() - 1;
                if self.log.as_ref().unwrap().forget_group(GroupId(id)).await.is_ok() {
                    self.done.fetch_max(call, Ordering::SeqCst);
                }
            }
            Step::Idle => tokio::time::sleep(Duration::from_secs(3)).await,
            Step::Reopen => {
                self.log.take().unwrap().close().await;
                if self.files.has_crashed() {
                    self.cut(Cut::Clean).await;
                } else {
                    self.done.fetch_max(self.past.len() - 1, Ordering::SeqCst);
                    self.reopen().await;
                }
            }
            Step::CrashAfter(count) => self.files.crash_after(count),
            Step::Cut(cut) => self.cut(cut).await,
        }
        self.check();
    }

    /// What the log says now must be what it was told, however much of it is durable.
    fn check(&self) {
        if self.files.has_crashed() {
            return;
        }
        for (id, model) in self.now() {
            let found = self.found(*id);
            assert!(found.same(model), "group {id}: {found:?} instead of {model:?}");
        }
    }

    fn found(&self, id: u32) -> Model {
        let group = self.group(id);
        let entries = group.read(0, u64::MAX, None).unwrap();
        Model { ballot: group.ballot(), state: group.state(), entries, term: 0 }
    }

    pub async fn cut(&mut self, cut: Cut) {
        // The writer's task may still be there; its files are dead.
        drop(self.log.take());
        self.files.power_cut(cut);
        self.reopen().await;
    }

    async fn reopen(&mut self) {
        let log = loop {
            match open(&self.files, small(self.cache)).await {
                Ok(log) => break log,
                Err(_) if self.files.has_crashed() => self.files.power_cut(Cut::Torn),
                Err(error) => panic!("{error}"),
            }
        };
        let ids = log.groups().into_iter().map(|id| id.0).collect::<Vec<_>>();
        self.log = Some(log);
        let found = ids.into_iter().map(|id| (id, self.found(id))).collect::<Models>();
        let floor = self.done.load(Ordering::SeqCst);
        let blank = Model::default();
        let same = |models: &Models| {
            let ids = models.keys().chain(found.keys());
            ids.into_iter().all(|id| found.get(id).unwrap_or(&blank).same(models.get(id).unwrap_or(&blank)))
        };
        let moment = self.past[floor..].iter().rev().find(|models| same(models));
        let Some(moment) = moment else {
            panic!("found {found:?}, which is at no moment since call {floor}: {:?}", &self.past[floor..]);
        };
        // What was cut may come again in a later term only.
        let mut moment = moment.clone();
        let terms = self.now().iter().map(|(id, model)| (*id, model.term)).collect::<Vec<_>>();
        for (id, term) in terms {
            if let Some(model) = moment.get_mut(&id) {
                model.term = term + 1;
            }
        }
        self.past = vec![moment];
        self.done = Arc::default();
    }
}

/// Runs `work` in a simulated second hand: time stands still unless everybody waits.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = || 1..4u32;
    let cut = || prop_oneof![Just(Cut::Clean), Just(Cut::Torn), Just(Cut::Torn)];
    let step = prop_oneof![
        8 => (group(), 1..5u64, 0..3000usize).prop_map(|(id, count, len)| Step::Append(id, count, len)),
        1 => (group(), 1..3u64, 3000..20_000usize).prop_map(|(id, count, len)| Step::Append(id, count, len)),
        2 => (group(), 0..6u64).prop_map(|(id, count)| Step::Truncate(id, count)),
        3 => (group(), -2..6i64).prop_map(|(id, left)| Step::Purge(id, left)),
        2 => group().prop_map(Step::Ballot),
        2 => (group(), 0..3u64).prop_map(|(id, back)| Step::Committed(id, back)),
        6 => Just(Step::Yield),
        1 => group().prop_map(Step::Flush),
        1 => group().prop_map(Step::Forget),
        1 => Just(Step::Idle),
        1 => Just(Step::Reopen),
        2 => (0..12u64).prop_map(Step::CrashAfter),
        2 => cut().prop_map(Step::Cut),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_done_is_there(steps in steps(), seed: u64, cache in prop_oneof![Just(0), Just(5000), Just(1u64 << 20)]) {
        run(async {
            let mut harness = Harness::new(SimulatedFiles::new(seed), cache).await;
            for step in steps {
                harness.step(step).await;
            }
            harness.cut(Cut::Torn).await;
        });
    }
}
