//! Who could lead a group in this node's stead, and giving leaderships away.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use holdfast_wire::heartbeat::Load;
use holdfast_wire::id::{GroupId, NodeId};
use tokio::time::Instant;

use crate::group::Group;
use crate::node::Host;

/// Entries that an heir may be behind: it leads only once it has them.
const BEHIND: u64 = 100;
/// How long one transfer may take: an election, with some room.
const WITHIN: Duration = Duration::from_secs(2);

/// A voter that could lead.
#[derive(Clone, Copy, Debug)]
pub struct Heir {
    /// The node.
    pub node: NodeId,
    /// What it said of itself last.
    pub load: Load,
}

/// All voters but this node that are alive, ready, hardly behind, and have room on their disks.
pub fn heirs(host: &Host, group: &Group) -> Vec<Heir> {
    let Some(facts) = group.member_facts() else { return Vec::new() };
    let others = facts.voters.iter().filter(|voter| **voter != host.id());
    let fit = others.filter_map(|voter| {
        let heartbeat = host.neighbours().alive(*voter)?;
        let behind = facts.last.saturating_sub(facts.matched.get(voter).copied().unwrap_or(0));
        let fit = heartbeat.not_ready.is_none() && behind < BEHIND && !is_full(host, &heartbeat.load);
        fit.then_some(Heir { node: *voter, load: heartbeat.load })
    });
    fit.collect()
}

/// Whether a node has told that its disk is as full as the blob store lets it become.
pub fn is_full(host: &Host, load: &Load) -> bool {
    load.disk_total > 0 && load.disk_free < host.blobs().reserve(load.disk_total)
}

/// Gives all leaderships of this node away, for a reason that is logged.
pub struct HandOver {
    why: &'static str,
    /// One that could not be handed over is tried again so much later.
    again: Duration,
    tried: BTreeMap<GroupId, Instant>,
}

impl HandOver {
    /// Nothing was tried yet.
    pub fn new(why: &'static str, again: Duration) -> Self {
        Self { why, again, tried: BTreeMap::new() }
    }

    /// One attempt for each group that this node leads, side by side: one that does not move must not hold up the
    /// others. `pick` says to whom; a group for which nobody is fit is looked at again next time. Returns how many
    /// leaderships were given away.
    pub async fn try_all(&mut self, host: &Host, pick: impl Fn(&Group) -> Option<NodeId>) -> u64 {
        let (why, now) = (self.why, Instant::now());
        let waits = |group: &Group| self.tried.get(&group.id()).is_some_and(|at| *at + self.again > now);
        let led = host.groups().into_iter().filter(|group| group.leads() && !waits(group));
        let offers: Vec<_> = led.filter_map(|group| pick(&group).map(|heir| (group, heir))).collect();
        self.tried.extend(offers.iter().map(|(group, _)| (group.id(), now)));
        let moves = offers.iter().map(|(group, heir)| async move {
            let moved = group.transfer(*heir, now + WITHIN).await;
            match &moved {
                Ok(leader) => tracing::info!(group = %group.id(), %leader, why, "a leadership was handed over"),
                Err(error) => {
                    tracing::info!(group = %group.id(), %heir, why, %error, "a leadership was not handed over")
                }
            }
            moved.is_ok()
        });
        join_all(moves).await.into_iter().filter(|moved| *moved).count() as u64
    }
}
