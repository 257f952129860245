//! What is done to a cluster, drawn from the seed. Within a run the faults stay such that nothing acknowledged may be
//! lost: any set of machines may lose its power, but at most one replica at a time loses its disk, and only when the
//! others are whole.

use std::fmt;

use holdfast_replica::file::Fault;
use holdfast_wire::id::NodeId;
use holdfast_wire::request::Request;
use holdfast_wire::service::Body;

use super::cluster::{Cluster, name};
use crate::rng::Rng;

/// Which faults a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Any of the others, one after the other.
    Mixed,
    /// Processes die and come back.
    Kill,
    /// Machines lose their power, one, two or all at once.
    Power,
    /// Links are cut, both ways and one way.
    Partition,
    /// Processes are paused.
    Pause,
    /// Latency and loss.
    Weather,
    /// Disks fill up, or fail to sync.
    Disk,
    /// Copies of blobs rot.
    Rot,
    /// Leaderships are handed over all the time.
    Transfer,
    /// A replica loses its disk.
    Wipe,
    /// Nothing: the workload alone.
    Calm,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 11] = [
        Self::Mixed,
        Self::Kill,
        Self::Power,
        Self::Partition,
        Self::Pause,
        Self::Weather,
        Self::Disk,
        Self::Rot,
        Self::Transfer,
        Self::Wipe,
        Self::Calm,
    ];

    /// By its name.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.to_string() == text)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

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
    /// Faults of each kind that were really there.
    pub installed: u64,
}

impl Adversary {
    /// For a scenario and a seed.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        let rng = Rng::new(seed ^ 0x6661_756c_7473_0000);
        Self { scenario, rng, next_ms: 0, down: Vec::new(), heal_ms: None, wiped: Vec::new(), installed: 0 }
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
        if now < self.next_ms || self.heal_ms.is_some() || !self.down.is_empty() {
            return None;
        }
        self.next_ms = now + 400 + self.rng.below(1500);
        let event = self.strike(cluster, now)?;
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
    }

    fn strike(&mut self, cluster: &mut Cluster, now: u64) -> Option<Event> {
        let count = cluster.machines.len();
        let scenario = match self.scenario {
            Scenario::Mixed => *self.rng.pick(&Scenario::ALL[1..9]),
            scenario => scenario,
        };
        let one = self.rng.below(count as u64) as usize;
        let outage = 50 + self.rng.below(2500);
        match scenario {
            Scenario::Mixed | Scenario::Calm => None,
            Scenario::Kill => {
                cluster.kill(one);
                self.down.push((one, now + outage));
                Some(format!("{} is killed for {outage} ms", name(one)))
            }
            Scenario::Power => {
                let how_many = 1 + self.rng.below(count as u64) as usize;
                let torn = self.rng.percent(60);
                let mut names = Vec::new();
                for at in (one..count).chain(0..one).take(how_many) {
                    cluster.cut_power(at, torn, &mut self.rng);
                    self.down.push((at, now + outage + self.rng.below(300)));
                    names.push(name(at));
                }
                Some(format!("{} without power for {outage} ms, torn: {torn}", names.join(" ")))
            }
            Scenario::Partition => {
                self.heal_ms = Some(now + 500 + self.rng.below(4000));
                let other = (one + 1 + self.rng.below(count as u64 - 1) as usize) % count;
                let (one, other) = (name(one), name(other));
                let mut hosts: Vec<String> = (0..count).map(name).collect();
                hosts.extend(["g1".to_owned(), "g2".to_owned()]);
                match self.rng.below(4) {
                    0 => {
                        cluster.net.cut(&one, &other);
                        Some(format!("{one} is not heard by {other}"))
                    }
                    1 => {
                        cluster.net.cut(&one, &other);
                        cluster.net.cut(&other, &one);
                        Some(format!("{one} and {other} are cut off from each other"))
                    }
                    2 => {
                        for host in hosts.iter().filter(|host| **host != one) {
                            cluster.net.cut(&one, host);
                        }
                        Some(format!("nobody hears {one}"))
                    }
                    _ => {
                        for host in hosts.iter().filter(|host| **host != one) {
                            cluster.net.cut(&one, host);
                            cluster.net.cut(host, &one);
                        }
                        Some(format!("{one} is cut off from everybody"))
                    }
                }
            }
            Scenario::Pause => {
                let ms = 100 + self.rng.below(3000);
                cluster.machines[one].host.pause(ms);
                self.heal_ms = Some(now + ms + 500);
                Some(format!("{} is paused for {ms} ms", name(one)))
            }
            Scenario::Weather => {
                let (max, loss) = (5_000 + self.rng.below(80_000), self.rng.below(50));
                cluster.net.weather(500, max, loss);
                self.heal_ms = Some(now + 1000 + self.rng.below(3000));
                Some(format!("latency up to {max} µs, {loss} of 1000 segments lost"))
            }
            Scenario::Disk if self.rng.percent(50) => {
                let disk = &cluster.machines[one].disk;
                let room = self.rng.below(3 << 20);
                disk.set_capacity(disk.used() + room);
                self.heal_ms = Some(now + 1000 + self.rng.below(3000));
                Some(format!("the disk of {} has {room} bytes left", name(one)))
            }
            Scenario::Disk => {
                let count = self.rng.below(20);
                cluster.machines[one].disk.fail_after(Fault::Sync, count);
                Some(format!("the disk of {} fails after {count} syncs", name(one)))
            }
            Scenario::Rot => {
                let files = cluster.blob_files(one);
                if files.is_empty() {
                    return None;
                }
                let file = self.rng.pick(&files).clone();
                let at = self.rng.next_u64();
                let rotten = cluster.machines[one].disk.corrupt(&file, |bytes| {
                    let at = (at % bytes.len().max(1) as u64) as usize;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << (at % 8);
                    }
                });
                rotten.ok().map(|()| format!("a bit of a blob of {} flips", name(one)))
            }
            Scenario::Transfer => {
                let group = {
                    let node = cluster.machines[one].node.lock();
                    let statuses = node.as_ref().map(|node| node.statuses()).unwrap_or_default();
                    let led = statuses
                        .into_iter()
                        .find(|s| s.leader.is_some() && s.role == holdfast_wire::heartbeat::Role::Leader);
                    led.and_then(|status| {
                        let to = *status.voters.iter().find(|voter| Some(**voter) != status.leader)?;
                        Some((status.group, to, node.as_ref()?.service()))
                    })
                };
                let (group, to, service): (_, NodeId, _) = group?;
                let asked = service.call(Request::TransferLeader { group, to }, Body::empty());
                cluster.machines[one].host.spawn(async move {
                    // Refused or done, both are fine.
                    let _ = asked.await;
                });
                Some(format!("{} hands group {group} over to node {to}", name(one)))
            }
            Scenario::Wipe => {
                if !self.wiped.is_empty() || !cluster.is_ready() || now < 4000 {
                    return None;
                }
                cluster.kill(one);
                cluster.wipe(one);
                self.wiped.push(one);
                self.down.push((one, now + outage));
                Some(format!("{} loses everything and is away for {outage} ms", name(one)))
            }
        }
    }
}
