//! The single faults.

use std::path::{Path, PathBuf};

use holdfast_replica::file::{Fault, Files};
use holdfast_wire::heartbeat::Role;
use holdfast_wire::id::{GroupId, NodeId, RequestId};
use holdfast_wire::request::{Request, RootRequest};
use holdfast_wire::service::Body;

use super::{Adversary, Event, GROWN, leader};
use crate::sim::cluster::{Cluster, name};
use crate::sim::scenario::Scenario;

impl Adversary {
    /// Does something of this kind; `None` if that is not possible now.
    pub(super) fn strike(&mut self, scenario: Scenario, cluster: &mut Cluster, now: u64) -> Option<Event> {
        let count = cluster.machines.len();
        let any = self.rng.below(count as u64) as usize;
        // Who leads is hit half of the time.
        let one = if self.rng.percent(50) { leader(cluster, &mut self.rng).unwrap_or(any) } else { any };
        let outage = 50 + self.rng.below(2500);
        if self.is_down(one) {
            return None;
        }
        match scenario {
            Scenario::Mixed | Scenario::Collect | Scenario::Election | Scenario::Calm | Scenario::Undelete => None,
            Scenario::Kill if self.rng.percent(15) => {
                let gateway = self.rng.below(cluster.gateways().len() as u64) as usize;
                cluster.restart_gateway(gateway);
                Some(format!("g{} is killed and starts again", gateway + 1))
            }
            Scenario::Kill => {
                cluster.kill(one);
                self.down.push((one, now + outage));
                Some(format!("{} is killed for {outage} ms", name(one)))
            }
            Scenario::Power => {
                let how_many = 1 + self.rng.below(count as u64) as usize;
                let torn = self.rng.percent(60);
                let mut names = Vec::new();
                let on = (one..count).chain(0..one).filter(|at| !self.is_down(*at));
                for at in on.take(how_many).collect::<Vec<_>>() {
                    cluster.cut_power(at, torn, &mut self.rng);
                    self.down.push((at, now + outage + self.rng.below(300)));
                    names.push(name(at));
                }
                Some(format!("{} without power for {outage} ms, torn: {torn}", names.join(" ")))
            }
            Scenario::Early => {
                let one = leader(cluster, &mut self.rng)?;
                cluster.cut_power(one, false, &mut self.rng);
                self.down.push((one, now + outage));
                Some(format!("{}, which leads, without power for {outage} ms", name(one)))
            }
            Scenario::Partition => Some(self.partition(cluster, one, now)),
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
                let room = self.rng.below(3 << 20);
                let many = if self.rng.percent(25) { count } else { 1 };
                for at in (one..count).chain(0..one).take(many) {
                    let disk = &cluster.machines[at].disk;
                    disk.set_capacity(disk.used() + room);
                }
                self.heal_ms = Some(now + 1000 + self.rng.below(3000));
                Some(format!("{many} disks from {} on have {room} bytes left", name(one)))
            }
            Scenario::Disk => {
                let many = 1 + self.rng.below(count as u64 - 1) as usize;
                for at in (one..count).chain(0..one).take(many) {
                    cluster.machines[at].disk.fail_after(Fault::Sync, self.rng.below(20));
                }
                Some(format!("{many} disks from {} on fail to sync soon", name(one)))
            }
            Scenario::Rot => {
                // One of three may have been away when it was written.
                let most = if self.scenario == Scenario::Rot { count - 1 } else { 1 };
                let files = self.spoilable(cluster, one, most);
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
                rotten.ok()?;
                self.spoilt.entry(file.clone()).or_default().insert(one);
                Some(format!("a bit of {} of {} flips", file.display(), name(one)))
            }
            Scenario::Latent => {
                // One of three may have been away when it was written.
                let files = self.spoilable(cluster, one, 1);
                if files.is_empty() {
                    return None;
                }
                let file = self.rng.pick(&files).clone();
                cluster.machines[one].disk.spoil(&file).ok()?;
                self.spoilt.entry(file.clone()).or_default().insert(one);
                Some(format!("{} of {} cannot be read", file.display(), name(one)))
            }
            Scenario::Clocks => {
                let skew_ms = *self.rng.pick(&[3_600_000, -3_600_000, 60_000, -120_000, 0]);
                cluster.machines[one].clock.jump(skew_ms);
                Some(format!("the clock of {} is {skew_ms} ms off", name(one)))
            }
            Scenario::Grow => {
                if count >= GROWN || now < 2500 {
                    return None;
                }
                let at = cluster.add();
                Some(format!("{} asks to join", name(at)))
            }
            Scenario::Transfer => {
                let group = {
                    let node = cluster.machines[one].node.lock();
                    let statuses = node.as_ref().map(|node| node.statuses()).unwrap_or_default();
                    let led = statuses.into_iter().find(|s| s.leader.is_some() && s.role == Role::Leader);
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
            Scenario::Members => {
                let node = match self.drained {
                    Some(node) => node,
                    None => one,
                };
                self.drained = match self.drained {
                    Some(_) => None,
                    None => Some(node),
                };
                drain(cluster, node, self.drained.is_some());
                Some(format!(
                    "{} is asked to hold {}",
                    name(node),
                    if self.drained.is_some() { "nothing" } else { "its share" }
                ))
            }
            Scenario::LogRot => {
                if self.rotten.is_some() {
                    cluster.kill(one);
                    self.down.push((one, now + outage));
                    return Some(format!("{} is killed for {outage} ms", name(one)));
                }
                if !cluster.is_ready() || now < 2500 {
                    return None;
                }
                let event = self.rot_log(cluster, one)?;
                self.down.push((one, now + outage));
                Some(event)
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

    fn partition(&mut self, cluster: &mut Cluster, one: usize, now: u64) -> Event {
        self.heal_ms = Some(now + 500 + self.rng.below(4000));
        let count = cluster.machines.len();
        let other = (one + 1 + self.rng.below(count as u64 - 1) as usize) % count;
        let (one, other) = (name(one), name(other));
        let replicas: Vec<String> = (0..count).map(name).filter(|host| *host != one).collect();
        let hosts: Vec<String> = replicas.iter().cloned().chain(["g1".to_owned(), "g2".to_owned()]).collect();
        let apart = |cluster: &mut Cluster, hosts: &[String]| {
            for host in hosts {
                cluster.net.cut(&one, host);
                cluster.net.cut(host, &one);
            }
        };
        match self.rng.below(8) {
            0 => {
                cluster.net.cut(&one, &other);
                format!("{one} is not heard by {other}")
            }
            1 => {
                apart(cluster, std::slice::from_ref(&other));
                format!("{one} and {other} are cut off from each other")
            }
            2 => {
                hosts.iter().for_each(|host| cluster.net.cut(&one, host));
                format!("nobody hears {one}")
            }
            3 => {
                apart(cluster, &hosts);
                format!("{one} is cut off from everybody")
            }
            // It may believe that it leads, and clients reach it.
            4 | 5 => {
                apart(cluster, &replicas);
                format!("{one} is cut off from the other replicas")
            }
            6 => {
                apart(cluster, &["g1".to_owned()]);
                format!("{one} and g1 are cut off from each other")
            }
            _ => {
                for host in (0..count).map(name) {
                    cluster.net.cut("g1", &host);
                    cluster.net.cut(&host, "g1");
                }
                "g1 is cut off from all replicas".to_owned()
            }
        }
    }

    fn is_down(&self, at: usize) -> bool {
        self.down.iter().any(|(down, _)| *down == at)
    }

    /// The blobs on a machine of which a copy may be spoilt, with copies on so many machines at most: where all are, there
    /// is nothing to serve.
    fn spoilable(&self, cluster: &Cluster, at: usize, most: usize) -> Vec<PathBuf> {
        let mut files = cluster.blob_files(at);
        files.retain(|file| {
            self.spoilt.get(file).is_none_or(|machines| machines.contains(&at) || machines.len() < most)
        });
        files
    }

    /// Flips a bit in a log segment behind which others were written: bytes that were synced, beyond any doubt.
    fn rot_log(&mut self, cluster: &mut Cluster, at: usize) -> Option<Event> {
        let (disk, root) = (&cluster.machines[at].disk, Path::new("/data/log"));
        let mut files: Vec<String> = disk.read_dir(root).ok()?.into_iter().map(|entry| entry.name).collect();
        files.sort();
        // The newest ones are written to, or prepared for their turn.
        files.truncate(files.len().saturating_sub(3));
        let file = root.join(files.last()?);
        let place = self.rng.next_u64();
        cluster.kill(at);
        let flipped = cluster.machines[at].disk.corrupt(&file, |bytes| {
            let place = (place % (bytes.len() as u64 / 2).max(1)) as usize;
            bytes[place] ^= 1 << (place % 8);
        });
        flipped.ok()?;
        self.rotten = Some(at);
        Some(format!("a bit of the log of {} flips while it is off", name(at)))
    }
}

/// Asks root, wherever it is led, to let a node give everything away, or to let it hold things again.
pub(super) fn drain(cluster: &Cluster, node: usize, drain: bool) {
    let Some(id) = cluster.node_id(node) else { return };
    for machine in &cluster.machines {
        let running = machine.node.lock();
        let Some(running) = running.as_ref() else { continue };
        let statuses = running.statuses();
        let leads = statuses.iter().any(|status| status.group == GroupId::ROOT && status.role == Role::Leader);
        if !leads {
            continue;
        }
        let request = RequestId(u128::from(cluster.now_ms()) << 32 | node as u128);
        let asked = Request::Root(RootRequest::DrainNode { request, node: id, drain });
        let asked = running.service().call(asked, Body::empty());
        machine.host.spawn(async move {
            // Refused or done, both are fine.
            let _ = asked.await;
        });
    }
}
