//! A run: the workload under faults with the invariants after every tick (safety), then without faults until everything
//! is whole and serves (liveness), then the verdict of all checkers.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_replica::verify::{State, verify};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::cluster::{Cluster, keys, name};
use super::durable::Durable;
use super::faults::{Adversary, GROWN};
use super::invariants::Watch;
use super::scenario::Scenario;
use super::undelete::{self, Regret};
use crate::check::replicas::{self, Replica};
use crate::check::{Report, Verdict};
use crate::client::raw::{Raw, Wire};
use crate::history::workload::{Finished, Plan, Workload};
use crate::rng::Rng;

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is done to the cluster.
    pub scenario: Scenario,
    /// Everything follows from it.
    pub seed: u64,
    /// Length of the safety phase.
    pub safety: Duration,
    /// Replicas.
    pub nodes: usize,
    /// Shards.
    pub shards: u32,
}

/// Between looks at what is durable, ms.
const LOOK_EVERY: u64 = 457;
/// Forming the cluster may take this long.
const FORMED_WITHIN: u64 = 20_000;
/// After the last fault everything must be whole after this long, and have served.
const WHOLE_WITHIN: u64 = 40_000;
/// Operations that must go through after healing.
const SERVED: u64 = 60;
/// The final scan may take this long.
const SCAN_WITHIN: u64 = 120_000;

/// What a run came to.
pub struct Run {
    /// Lines of what happened.
    pub trace: Vec<String>,
    /// What was wrong; `None`: nothing.
    pub violation: Option<String>,
    /// Things that happened.
    pub figures: Figures,
}

/// Numbers of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Faults that were there.
    pub faults: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Acknowledged writes among them.
    pub acknowledged: u64,
    /// Invariants looked at.
    pub checks: u64,
    /// Logs of groups that were purged on some machine.
    pub purged: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { simulated_ms, faults, operations, acknowledged, checks, purged } = self;
        write!(
            f,
            "{:.1} s simulated, {faults} faults, {operations} operations, {acknowledged} acknowledged writes, {checks} \
             looks at a group, {purged} logs purged",
            *simulated_ms as f64 / 1000.0
        )
    }
}

impl Run {
    /// A digest of the trace: equal for equal runs.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        self.trace.iter().for_each(|line| hash.update(format!("{line}\n")));
        hex::encode(&hash.finalize()[..8])
    }
}

/// Runs.
pub fn run(options: &Options) -> Run {
    let mut course = Course {
        cluster: Cluster::new(options.seed, options.scenario.nodes(options.nodes), options.shards, options.scenario),
        watch: Watch::default(),
        durable: Durable::default(),
        look_ms: 0,
        scenario: options.scenario,
        adversary: Adversary::new(options.scenario, options.seed),
        trace: vec![format!("scenario {} seed {}", options.scenario, options.seed)],
    };
    let mut figures = Figures::default();
    let violation = course.through(options, &mut figures).err();
    if let Some(violation) = &violation {
        course.note(format!("VIOLATION: {violation}"));
    }
    figures.simulated_ms = course.cluster.now_ms();
    figures.faults = course.adversary.installed;
    figures.checks = course.watch.checks;
    figures.purged = course.durable.purged.len() as u64;
    Run { trace: course.trace, violation, figures }
}

struct Course {
    cluster: Cluster,
    watch: Watch,
    durable: Durable,
    /// When to look at what is durable.
    look_ms: u64,
    scenario: Scenario,
    adversary: Adversary,
    trace: Vec<String>,
}

/// Where work of the clients' host leaves its result.
type Slot<T> = Arc<Mutex<Option<T>>>;

impl Course {
    fn note(&mut self, what: String) {
        self.trace.push(format!("{:>7} {what}", self.cluster.now_ms()));
    }

    fn tick(&mut self) -> Result<(), String> {
        self.cluster.tick();
        self.watch.check(&self.cluster)?;
        if self.cluster.now_ms() < self.look_ms {
            return Ok(());
        }
        self.look_ms = self.cluster.now_ms() + LOOK_EVERY;
        self.durable.look(&self.cluster, &self.watch.committed, self.scenario)
    }

    fn until(&mut self, what: &str, within: u64, mut done: impl FnMut(&Cluster) -> bool) -> Result<(), String> {
        let deadline = self.cluster.now_ms() + within;
        while !done(&self.cluster) {
            if self.cluster.now_ms() > deadline {
                return Err(format!("liveness: waited {within} ms in vain for {what}: {:?}", self.complaints()));
            }
            self.tick()?;
        }
        self.note(what.to_owned());
        Ok(())
    }

    fn complaints(&self) -> Vec<String> {
        let machines = self.cluster.machines.iter().enumerate();
        machines
            .map(|(at, machine)| {
                let node = machine.node.lock();
                let state = match (&*machine.died.lock(), &*node) {
                    (Some(why), _) => format!("has ended: {why}"),
                    (None, None) => "is starting".to_owned(),
                    (None, Some(node)) => node.not_ready().unwrap_or_else(|| "is ready".to_owned()),
                };
                format!("{} {state}", name(at))
            })
            .collect()
    }

    fn through(&mut self, options: &Options, figures: &mut Figures) -> Result<(), String> {
        self.until("the cluster is formed", FORMED_WITHIN, Cluster::is_ready)?;
        let wire = Wire(self.cluster.client_net());
        let gateways = self.cluster.gateways();
        let made: Slot<()> = Slot::default();
        let plan = Plan {
            clients: 5,
            generation: 600,
            think: Duration::from_millis(30),
            early: options.scenario == Scenario::Early,
            large: options.scenario.needs_blobs() || options.seed.is_multiple_of(4),
            seed: options.seed,
            net: wire.clone(),
            ..Plan::new(gateways.clone(), keys(), "simulated")
        };
        let (slot, preparations, gateway) = (made.clone(), plan.preparations(), gateways[0].clone());
        self.cluster.clients.start(async move {
            let mut raw = Raw::over(wire, &gateway, keys(), Duration::from_secs(15));
            for call in preparations {
                while !raw.call(call.clone()).await.is_ok_and(|reply| reply.status.is_success()) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            *slot.lock() = Some(());
        });
        self.until("the buckets are made", FORMED_WITHIN, |_| made.lock().is_some())?;

        let workload: Arc<Mutex<Option<Workload>>> = Arc::default();
        let slot = workload.clone();
        self.cluster.clients.spawn(async move { *slot.lock() = Some(Workload::start(plan)) });
        self.until("clients run", 1000, |_| workload.lock().is_some())?;

        let regret: Arc<Mutex<Regret>> = Arc::default();
        if options.scenario == Scenario::Undelete {
            let (router, told, rng) =
                (self.cluster.router(), regret.clone(), Rng::new(options.seed ^ 0x7265_6772_6574));
            self.cluster.clients.spawn(async move { undelete::regret(router.await, rng, told).await });
        }
        let end = self.cluster.now_ms() + options.safety.as_millis() as u64;
        while self.cluster.now_ms() < end {
            let wiped = self.adversary.wiped.len();
            if let Some(event) = self.adversary.act(&mut self.cluster) {
                self.note(event);
            }
            if self.adversary.wiped.is_empty() {
                self.durable.damaged = self.adversary.rotten;
            }
            for at in self.adversary.wiped[wiped..].iter().copied() {
                self.watch.forget(at);
                self.durable.forget(at);
            }
            self.tick()?;
        }
        self.adversary.relent(&mut self.cluster);
        self.note("all faults end".to_owned());
        self.until("every replica is ready", WHOLE_WITHIN, Cluster::is_ready)?;
        let operations = |workload: &Mutex<Option<Workload>>| workload.lock().as_ref().map_or(0, Workload::operations);
        let wanted = operations(&workload) + SERVED;
        self.until("operations go on", WHOLE_WITHIN, |_| operations(&workload) >= wanted)?;
        if options.scenario == Scenario::Undelete {
            let wanted = regret.lock().back + 3;
            self.until("objects come back", WHOLE_WITHIN, |_| {
                let told = regret.lock();
                told.back >= wanted || !told.violations.is_empty()
            })?;
            regret.lock().enough = true;
            self.until("nobody regrets anything", WHOLE_WITHIN, |_| regret.lock().ended)?;
            let told = std::mem::take(&mut *regret.lock());
            self.note(format!("{} objects were brought back, {} were too old", told.back, told.too_late));
            if let Some(violation) = told.violations.first() {
                return Err(format!("what is gone can be brought back: {violation}"));
            }
            figures.acknowledged += told.back;
        }
        self.judge(workload, figures)
    }

    fn judge(&mut self, workload: Arc<Mutex<Option<Workload>>>, figures: &mut Figures) -> Result<(), String> {
        let scanned: Slot<(Finished, Vec<String>)> = Slot::default();
        let slot = scanned.clone();
        let running = workload.lock().take();
        self.cluster.clients.spawn(async move {
            if let Some(running) = running {
                let mut finished = running.stop().await;
                let unread = finished.scan().await;
                *slot.lock() = Some((finished, unread));
            }
        });
        self.until("everything is read again", SCAN_WITHIN, |_| scanned.lock().is_some())?;
        let (finished, unread) = scanned.lock().take().ok_or("the scan has no result")?;
        self.watch.complete(&self.cluster)?;
        figures.operations = finished.history.operations() as u64;
        figures.acknowledged += finished.history.acknowledged() as u64;
        self.trace.extend(finished.history.records.iter().map(|record| format!("{record:?}")));
        self.trace.extend(finished.history.versioned.iter().map(|record| format!("{record:?}")));
        let mut report = Report::of(&finished.history);
        report.and_answers(&finished.statuses, finished.history.keys() as u64, &unread);
        if !report.passed() {
            return Err(format!("the history is not what was promised:\n{report}"));
        }
        self.agreement()?;
        self.sound()
    }

    /// C7: when everybody is off, each data directory passes `holdfast verify`; where blobs rot, but for those that rotted
    /// and that nobody, no scrub either, has read since.
    fn sound(&mut self) -> Result<(), String> {
        for at in 0..self.cluster.machines.len() {
            self.cluster.kill(at);
            let machine = &self.cluster.machines[at];
            let (files, engine) = (Arc::new(machine.disk.clone()), Arc::new(machine.engine.clone()));
            let clock = Arc::new(machine.clock.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let runtime = runtime.expect("a runtime without I/O needs nothing that could be missing");
            let report = runtime.block_on(verify(files, Path::new("/data"), engine, clock));
            let mut replica = Replica::new(&name(at), report);
            let rots = self.scenario.rots();
            replica.problems.retain(|problem| {
                let bad = problem.contains(" is corrupt: ") || problem.ends_with(" cannot be read");
                !(rots && problem.starts_with("blob ") && bad)
            });
            if let Verdict::Violated(found) | Verdict::Undecided(found) = replicas::sound(&[replica]) {
                return Err(format!("C7 sound: {}", found.join("; ")));
            }
        }
        self.note("every data directory is sound".to_owned());
        Ok(())
    }

    /// C6: replicas that have applied as much hold the same, and no blob is missing anywhere.
    fn agreement(&mut self) -> Result<(), String> {
        let scenario = self.scenario;
        let whole = |cluster: &Cluster| {
            let nodes: Vec<_> = cluster.machines.iter().map(|machine| machine.node.lock()).collect();
            let statuses: Vec<_> = nodes.iter().flat_map(|node| node.iter().flat_map(|node| node.statuses())).collect();
            statuses.iter().all(|status| {
                let grown = scenario != Scenario::Grow || nodes.len() < GROWN || status.voters.len() == GROWN;
                let same = statuses.iter().filter(|other| other.group == status.group);
                grown && status.missing_blobs == 0 && same.clone().all(|other| other.applied == status.applied)
            })
        };
        self.until("all replicas have applied everything and hold every blob", WHOLE_WITHIN, whole)?;
        let held = self.cluster.machines.iter().enumerate().map(|(at, machine)| {
            let node = machine.node.lock();
            let digests = node.iter().flat_map(|node| node.digests());
            let states = digests.map(|(group, applied, hash)| State { group, applied, hash }).collect();
            Replica { node: name(at), problems: Vec::new(), states }
        });
        let held: Vec<Replica> = held.collect();
        if let Verdict::Violated(found) | Verdict::Undecided(found) = replicas::agreement(&held) {
            return Err(format!("C6 agreement: {}", found.join("; ")));
        }
        Ok(())
    }
}
