//! What is done to a cluster, drawn from the seed. Within a run the faults stay such that nothing acknowledged may be
//! lost: any set of machines may lose its power, but at most one replica at a time loses its disk, and only when the
//! others are whole.

mod strike;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use holdfast_wire::heartbeat::Role;
use holdfast_wire::id::GroupId;

use super::cluster::{Cluster, name};
use super::scenario::Scenario;
use crate::rng::Rng;

/// So many nodes a cluster that grows comes to.
pub const GROWN: usize = 5;

/// What happened, for the trace.
pub type Event = String;

/// The one who does it.
pub struct Adversary {
    scenario: Scenario,
    rng: Rng,
    next_ms: u64,
    /// Replicas that are down, and when they come back.
    down: Vec<(usize, u64)>,
    heal_ms: Option<u64>,
    /// Replicas that lost everything.
    pub wiped: Vec<usize>,
    /// The replica whose log rots, once it does.
    pub rotten: Option<usize>,
    /// Blobs of which copies were spoilt, and on which machines.
    spoilt: BTreeMap<PathBuf, BTreeSet<usize>>,
    /// The one that is to hold nothing.
    drained: Option<usize>,
    /// The highest term of each group, and when the power goes because one rose.
    terms: BTreeMap<GroupId, u64>,
    cut_ms: Option<u64>,
    /// Faults of each kind that were really there.
    pub installed: u64,
}

impl Adversary {
    /// For a scenario and a seed.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        let rng = Rng::new(seed ^ 0x6661_756c_7473_0000);
        Self {
            scenario,
            rng,
            next_ms: 0,
            down: Vec::new(),
            heal_ms: None,
            wiped: Vec::new(),
            rotten: None,
            spoilt: BTreeMap::new(),
            drained: None,
            terms: BTreeMap::new(),
            cut_ms: None,
            installed: 0,
        }
    }

    /// Does what is due; what it did.
    pub fn act(&mut self, cluster: &mut Cluster) -> Option<Event> {
        let now = cluster.now_ms();
        if self.next_ms == 0 {
            self.next_ms = now + 300;
        }
        if let Some(at) = self.down.iter().position(|(_, back)| *back <= now) {
            let (machine, _) = self.down.remove(at);
            cluster.machines[machine].disk.heal();
            cluster.start(machine);
            return Some(format!("{} starts", name(machine)));
        }
        // A process that ended by itself is started again, as a supervisor does.
        for at in 0..cluster.machines.len() {
            let ended = !cluster.machines[at].host.runs() && !self.down.iter().any(|(down, _)| *down == at);
            if ended {
                let why = cluster.machines[at].died.lock().clone().unwrap_or_default();
                if self.rotten == Some(at) && why.starts_with("not started") && self.wiped.is_empty() {
                    // It says that it cannot be trusted; whoever runs it gives it an empty disk.
                    cluster.wipe(at);
                    self.wiped.push(at);
                    self.down.push((at, now + 200));
                    return Some(format!("{} is replaced: {why}", name(at)));
                }
                // What a failed sync left is as good as lost.
                cluster.cut_power(at, true, &mut self.rng);
                self.down.push((at, now + 200));
                return Some(format!("{} has ended: {why}", name(at)));
            }
        }
        if self.heal_ms.is_some_and(|at| at <= now) {
            self.heal_ms = None;
            cluster.net.heal();
            for machine in &mut cluster.machines {
                machine.disk.set_capacity(1 << 40);
                machine.host.resume();
            }
            return Some("links, clocks and disks heal".to_owned());
        }
        if self.scenario == Scenario::Election
            && let Some(event) = self.watch_elections(cluster, now)
        {
            return Some(event);
        }
        let struck = self.heal_ms.is_some() || !self.down.is_empty();
        if now < self.next_ms || (struck && !self.scenario.overlaps()) {
            return None;
        }
        self.next_ms = now + 400 + self.rng.below(1500);
        let scenario = match self.scenario {
            // What the others are to happen among comes first.
            Scenario::Grow if cluster.machines.len() < GROWN => Scenario::Grow,
            Scenario::Wipe if self.wiped.is_empty() => Scenario::Wipe,
            of => *self.rng.pick(&of.strikes()),
        };
        let event = self.strike(scenario, cluster, now)?;
        self.installed += 1;
        Some(event)
    }

    /// Undoes everything.
    pub fn relent(&mut self, cluster: &mut Cluster) {
        cluster.net.heal();
        for at in 0..cluster.machines.len() {
            let machine = &mut cluster.machines[at];
            machine.disk.heal();
            machine.disk.set_capacity(1 << 40);
            machine.host.resume();
            if !machine.host.runs() {
                cluster.start(at);
            }
        }
        self.down.clear();
        if let Some(node) = self.drained.take() {
            strike::drain(cluster, node, false);
        }
    }

    /// Cuts the power a few milliseconds after a term has risen: votes have just been given, and perhaps not yet stored.
    fn watch_elections(&mut self, cluster: &mut Cluster, now: u64) -> Option<Event> {
        for machine in &cluster.machines {
            let node = machine.node.lock();
            for status in node.iter().flat_map(|node| node.statuses()) {
                let term = self.terms.entry(status.group).or_insert(status.term);
                if status.term > *term {
                    *term = status.term;
                    self.cut_ms.get_or_insert(now + self.rng.below(6));
                }
            }
        }
        if self.cut_ms.is_none_or(|at| now < at) {
            return None;
        }
        self.cut_ms = None;
        let running = cluster.machines.iter().enumerate().filter(|(_, machine)| machine.host.runs());
        let running: Vec<usize> = running.map(|(at, _)| at).collect();
        let count = 1 + self.rng.below(running.len().max(1) as u64) as usize;
        let first = self.rng.below(running.len().max(1) as u64) as usize;
        let mut names = Vec::new();
        for at in running.iter().cycle().skip(first).take(count.min(running.len())) {
            cluster.cut_power(*at, false, &mut self.rng);
            self.down.push((*at, now + 10 + self.rng.below(500)));
            names.push(name(*at));
        }
        self.installed += 1;
        Some(format!("an election: {} without power", names.join(" ")))
    }
}

/// A machine that leads something, if one does.
fn leader(cluster: &Cluster, rng: &mut Rng) -> Option<usize> {
    let leads = |at: &usize| {
        let node = cluster.machines[*at].node.lock();
        node.iter().flat_map(|node| node.statuses()).any(|status| status.role == Role::Leader)
    };
    let leading: Vec<usize> = (0..cluster.machines.len()).filter(leads).collect();
    (!leading.is_empty()).then(|| *rng.pick(&leading))
}
