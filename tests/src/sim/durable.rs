//! What would be left if all machines lost their power in this moment: looked at on copies of their disks, from time to
//! time, because every look costs as much as a start.
//!
//! - *durable quorum*: what anybody knows to be committed is on the disks of a majority of its group's voters;
//! - *durable copies*: what committed entries name is, too, with all its bytes;
//! - *log matching*: where two logs have an entry of one leader at one place, they are the same up to there;
//! - *what is durable stays*: a committed entry that was on a disk is there at every later look.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_replica::file::{Cut, Files, SimulatedFiles};
use holdfast_replica::position::Position;
use holdfast_replica::verify::{Marks, marks};
use holdfast_wire::id::{BlobId, GroupId, NodeId};

use super::cluster::{Cluster, name};
use super::invariants::Commit;
use super::scenario::Scenario;

/// What earlier looks saw.
#[derive(Default)]
pub struct Durable {
    /// Committed entries that were on a machine's disk: up to which index.
    held: BTreeMap<(GroupId, usize), u64>,
    /// Logs of which the beginning was gone, at whatever look.
    pub purged: BTreeSet<(GroupId, usize)>,
    /// A machine whose disk is known to be damaged, until it has another: its log cannot be read.
    pub damaged: Option<usize>,
}

/// A group as the most advanced of its members has it.
struct Known {
    applied: u64,
    voters: Vec<NodeId>,
    blobs: Vec<(BlobId, u64)>,
}

impl Durable {
    /// A machine has a new disk.
    pub fn forget(&mut self, at: usize) {
        self.held.retain(|(_, machine), _| *machine != at);
        self.damaged = self.damaged.filter(|damaged| *damaged != at);
    }

    /// Looks at `cluster`, in which the places in `committed` are known to be committed. `scenario` says what must be
    /// there.
    pub fn look(
        &mut self,
        cluster: &Cluster,
        committed: &BTreeMap<GroupId, Commit>,
        scenario: Scenario,
    ) -> Result<(), String> {
        let disks: Vec<SimulatedFiles> = cluster
            .machines
            .iter()
            .map(|machine| {
                let disk = machine.disk.fork();
                disk.set_capacity(1 << 40);
                disk.power_cut(Cut::Clean);
                disk
            })
            .collect();
        let ids: Vec<Option<NodeId>> = (0..disks.len()).map(|at| cluster.node_id(at)).collect();
        let mut lasts: BTreeMap<(GroupId, usize), u64> = BTreeMap::new();
        let mut leaders: BTreeMap<(GroupId, usize), (u64, u64)> = BTreeMap::new();
        let mut logs: BTreeMap<GroupId, Vec<(usize, Entries)>> = BTreeMap::new();
        for (at, disk) in disks.iter().enumerate() {
            let Some(found) = log_of(disk) else { continue };
            if found.is_err() && self.damaged == Some(at) {
                continue;
            }
            for Marks { group, last, leader, entries, .. } in
                found.map_err(|error| format!("what is durable of {}: {error}", name(at)))?
            {
                lasts.insert((group, at), last);
                leaders.insert((group, at), leader);
                if entries.first().is_none_or(|(first, _)| first.index > 1) && last > 0 {
                    self.purged.insert((group, at));
                }
                logs.entry(group).or_default().push((at, entries));
            }
        }
        for (group, logs) in &logs {
            for (number, (at, one)) in logs.iter().enumerate() {
                for (other, two) in &logs[number + 1..] {
                    matching(one, two).map_err(|place| {
                        let (at, other) = (name(*at), name(*other));
                        format!("log matching: group {group} on {at} and {other} agrees behind {place}, not there")
                    })?;
                }
            }
        }
        self.stays(&lasts, &leaders, committed)?;
        for (group, known) in known(cluster)? {
            // Machines that do not run now have a disk all the same.
            let holders = |voters: &[NodeId], holds: &dyn Fn(usize) -> bool| {
                let of_voter = |at: &usize| ids[*at].is_none_or(|id| voters.contains(&id));
                (0..disks.len()).filter(of_voter).filter(|at| holds(*at)).count()
            };
            let Commit { index, voters } = committed.get(&group).cloned().unwrap_or_default();
            let count = holders(&voters, &|at| lasts.get(&(group, at)).is_some_and(|last| *last >= index));
            // While one voter takes another's place both count, and half of them may be a majority.
            if count < voters.len().div_ceil(2) && scenario.keeps_logs() {
                return Err(format!(
                    "durable quorum: entry {index} of group {group} is committed, and on {count} of {} disks: {lasts:?}",
                    voters.len()
                ));
            }
            let majority = known.voters.len() / 2 + 1;
            for (blob, len) in known.blobs.iter().filter(|_| scenario.keeps_copies()) {
                let file = file_of(group, *blob);
                let count = holders(&known.voters, &|at| disks[at].len_of(&file).is_some_and(|held| held >= *len));
                if count < majority {
                    return Err(format!(
                        "durable copies: blob {blob} of {len} bytes is named by group {group} up to {}, and on {count} \
                         disks",
                        known.applied
                    ));
                }
            }
        }
        Ok(())
    }

    fn stays(
        &mut self,
        lasts: &BTreeMap<(GroupId, usize), u64>,
        leaders: &BTreeMap<(GroupId, usize), (u64, u64)>,
        committed: &BTreeMap<GroupId, Commit>,
    ) -> Result<(), String> {
        for ((group, at), held) in &self.held {
            // A group that has left the machine has no log there.
            if let Some(last) = lasts.get(&(*group, *at)).filter(|last| *last < held) {
                return Err(format!(
                    "what is durable stays: group {group} on {} had committed entries up to {held}, and ends at {last}",
                    name(*at)
                ));
            }
        }
        // A leader that was cut off has entries that nobody committed under numbers that others did. Logs that end with entries
        // of the newest leader are those that hold what was committed before it, and what of its own was.
        let newest =
            |of: GroupId| leaders.iter().filter(|((group, _), _)| *group == of).map(|(_, leader)| *leader).max();
        self.held = lasts
            .iter()
            .filter(|((group, at), _)| leaders.get(&(*group, *at)).copied() == newest(*group))
            .map(|((group, at), last)| {
                ((*group, *at), (*last).min(committed.get(group).map_or(0, |commit| commit.index)))
            })
            .collect();
        Ok(())
    }
}

/// Entries of a log in order: where each stands, and a hash of what it says.
type Entries = Vec<(Position, u64)>;

/// Whether two logs are the same up to the last place at which both have an entry of one leader; if not, where they
/// differ.
fn matching(one: &[(Position, u64)], two: &[(Position, u64)]) -> Result<(), u64> {
    let (Some((first, _)), Some((other, _))) = (one.first(), two.first()) else { return Ok(()) };
    let begin = first.index.max(other.index);
    let one = one.get((begin - first.index) as usize..).unwrap_or_default();
    let two = two.get((begin - other.index) as usize..).unwrap_or_default();
    let mut pairs = one.iter().zip(two);
    let common = pairs.clone().rposition(|(one, two)| one.0 == two.0).map_or(0, |last| last + 1);
    match pairs.by_ref().take(common).find(|(one, two)| one != two) {
        Some((differing, _)) => Err(differing.0.index),
        None => Ok(()),
    }
}

/// `None` while there is no log.
fn log_of(disk: &SimulatedFiles) -> Option<Result<Vec<Marks>, String>> {
    let data = Path::new("/data");
    disk.read_dir(&data.join("log")).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing that could be missing");
    Some(runtime.block_on(marks(Arc::new(disk.clone()), data)))
}

fn file_of(group: GroupId, blob: BlobId) -> PathBuf {
    let name = blob.to_string();
    Path::new("/data/blobs").join(group.to_string()).join(&name[..2]).join(name)
}

fn known(cluster: &Cluster) -> Result<BTreeMap<GroupId, Known>, String> {
    let mut all: BTreeMap<GroupId, Known> = BTreeMap::new();
    for machine in &cluster.machines {
        let node = machine.node.lock();
        let Some(node) = node.as_ref() else { continue };
        for status in node.statuses() {
            if all.get(&status.group).is_none_or(|known| known.applied < status.applied) {
                let blobs = node.named_blobs(status.group).map_err(|error| error.to_string())?;
                let known = Known { applied: status.applied, voters: status.voters, blobs };
                all.insert(status.group, known);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(first: u64, entries: &[(u64, u64)]) -> Entries {
        let at = |(number, (term, hash)): (usize, &(u64, u64))| {
            (Position { term: *term, node: NodeId(1), index: first + number as u64 }, *hash)
        };
        entries.iter().enumerate().map(at).collect()
    }

    #[test]
    fn logs_that_agree_at_a_place_are_the_same_up_to_there() {
        let one = log(5, &[(1, 10), (1, 11), (2, 12), (2, 13)]);
        assert_eq!(matching(&one, &one), Ok(()));
        assert_eq!(matching(&one, &log(5, &[(1, 10), (1, 11), (1, 99)])), Ok(()), "a tail that is another leader's");
        assert_eq!(matching(&one, &log(7, &[(2, 12)])), Ok(()), "one is purged further");
        assert_eq!(matching(&one, &log(9, &[(3, 1)])), Ok(()), "nothing in common");
        assert_eq!(matching(&one, &log(5, &[(1, 10), (1, 99), (2, 12)])), Err(6), "another content");
        assert_eq!(matching(&log(4, &[(1, 9), (1, 10), (2, 11), (2, 12)]), &one), Err(6), "another leader before it");
        assert_eq!(matching(&[], &one), Ok(()));
    }
}
