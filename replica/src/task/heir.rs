//! Who could lead a group in this node's stead.

use holdfast_wire::heartbeat::Load;
use holdfast_wire::id::NodeId;

use crate::group::Group;
use crate::node::Host;

/// Entries that an heir may be behind: it leads only once it has them.
const BEHIND: u64 = 100;

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
