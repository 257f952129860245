//! What must be true after every tick, by the names of `docs/invariants.md`. Looked at from outside, over all replicas
//! and over time.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_wire::heartbeat::{GroupStatus, Role};
use holdfast_wire::id::{GroupId, NodeId};

use super::cluster::{Cluster, name};

#[derive(Clone, Copy, Default)]
struct Seen {
    term: u64,
    committed: u64,
    applied: u64,
    life: u64,
}

/// The highest place of a group that is known to be committed.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Its index.
    pub index: u64,
    /// The voters, as who knew of it first knew them then; while they change, those before and after.
    pub voters: Vec<NodeId>,
}

/// What has been seen so far.
#[derive(Default)]
pub struct Watch {
    /// Who led in each term.
    leaders: BTreeSet<(GroupId, u64, NodeId)>,
    /// Who began to lead in a term in which a higher node had begun, and what was committed there then.
    late: BTreeMap<(GroupId, u64, NodeId), u64>,
    members: BTreeMap<(GroupId, usize), Seen>,
    /// The hash over all changes up to each place that somebody was seen at, and who was first.
    applied: BTreeMap<(GroupId, u64), (u64, usize)>,
    /// What is known to be committed.
    pub committed: BTreeMap<GroupId, Commit>,
    /// Places and terms compared.
    pub checks: u64,
}

impl Watch {
    /// A replica lost everything: what it forgets is no violation.
    pub fn forget(&mut self, at: usize) {
        self.members.retain(|(_, member), _| *member != at);
    }

    /// Checks the cluster as it is now; what is wrong, if anything.
    pub fn check(&mut self, cluster: &Cluster) -> Result<(), String> {
        for (at, machine) in cluster.machines.iter().enumerate() {
            let node = machine.node.lock();
            let Some(node) = node.as_ref() else { continue };
            let statuses = node.statuses();
            // A group that has left a running node may come back, and begins anew.
            self.members.retain(|(group, member), seen| {
                *member != at || seen.life != machine.lives || statuses.iter().any(|status| status.group == *group)
            });
            for status in statuses {
                self.checks += 1;
                let group = status.group;
                let who = || format!("group {group} on {}", name(at));
                self.election(&status, &who())?;
                if status.applied > status.committed || status.committed > status.last_log {
                    return Err(format!(
                        "order of marks: {}: applied {}, committed {}, last {}",
                        who(),
                        status.applied,
                        status.committed,
                        status.last_log
                    ));
                }
                let before = self.members.entry((group, at)).or_default();
                if status.term < before.term {
                    return Err(format!("term goes back: {}: {} → {}", who(), before.term, status.term));
                }
                // Within a life what is committed and applied only grows; after a restart it may be found out anew.
                if before.life == machine.lives
                    && (status.committed < before.committed || status.applied < before.applied)
                {
                    return Err(format!(
                        "marks go back: {}: committed {} → {}, applied {} → {}",
                        who(),
                        before.committed,
                        status.committed,
                        before.applied,
                        status.applied
                    ));
                }
                *before = Seen {
                    term: status.term,
                    committed: status.committed,
                    applied: status.applied,
                    life: machine.lives,
                };
                // State-machine safety, as far as places are seen between ticks.
                if let Some((place, hash)) = node.applied_hash(group) {
                    let (known, by) = *self.applied.entry((group, place)).or_insert((hash, at));
                    if known != hash {
                        return Err(format!(
                            "state-machine safety: what is applied up to {place} in group {group} differs on {} and {}",
                            name(by),
                            name(at)
                        ));
                    }
                }
                let highest = self.committed.entry(group).or_default();
                if status.committed > highest.index {
                    *highest = Commit { index: status.committed, voters: status.voters };
                }
            }
        }
        Ok(())
    }

    /// Election safety. Votes are ordered by term, then node: within a term a later leader has a higher id, and the one
    /// before it may believe in itself for a while. Who hears late of votes that were given before a higher node got them
    /// may begin to lead even then, but nothing is committed by it: every majority has promised the higher one otherwise.
    fn election(&mut self, status: &GroupStatus, who: &str) -> Result<(), String> {
        let (Role::Leader, Some(own)) = (status.role, status.leader) else { return Ok(()) };
        let led = (status.group, status.term, own);
        if self.leaders.insert(led)
            && self.leaders.range(led..=(status.group, status.term, NodeId(u64::MAX))).nth(1).is_some()
        {
            self.late.insert(led, status.committed);
        }
        match self.late.get(&led) {
            Some(began) if status.committed > *began => Err(format!(
                "election safety: {who} commits up to {} in term {} although it began at {began}, after a higher node",
                status.committed, status.term
            )),
            _ => Ok(()),
        }
    }

    /// Leader completeness, for a moment at which everybody is whole: whoever leads has all that was ever committed.
    pub fn complete(&self, cluster: &Cluster) -> Result<(), String> {
        for (at, machine) in cluster.machines.iter().enumerate() {
            let node = machine.node.lock();
            for status in node.iter().flat_map(|node| node.statuses()).filter(|status| status.role == Role::Leader) {
                let highest = self.committed.get(&status.group).map_or(0, |commit| commit.index);
                if status.last_log < highest {
                    return Err(format!(
                        "leader completeness: {} leads group {} with {} entries of {highest} committed",
                        name(at),
                        status.group,
                        status.last_log
                    ));
                }
            }
        }
        Ok(())
    }
}
