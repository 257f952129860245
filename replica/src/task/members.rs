//! Moves each group that this node leads towards the voters that the map names: new ones first learn, entries and blobs,
//! then vote, in the same step in which old ones leave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::id::NodeId;
use openraft::ChangeMembers;
use tokio::time::{Instant, sleep};

use crate::group::{Group, MemberFacts};
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_millis(300);
/// A learner this close to the leader's last entry may vote.
const CLOSE: u64 = 200;

/// Looks after the groups that this node leads.
pub async fn run(host: Arc<Host>) {
    loop {
        let layout = host.layout().borrow().clone();
        for group in host.groups() {
            let Some(place) = layout.map.group(group.id()) else { continue };
            let Some(facts) = group.member_facts() else { continue };
            let alive = |node: NodeId| node == host.id() || host.neighbours().alive(node).is_some();
            let missing_blobs = |node: NodeId| {
                let heartbeat = host.neighbours().alive(node)?;
                heartbeat.groups.iter().find(|status| status.group == group.id()).map(|status| status.missing_blobs)
            };
            let step = decide(host.id(), &place.voters, &facts, alive, missing_blobs);
            if let Err(error) = take(&group, step).await {
                tracing::debug!(group = %group.id(), error, "a step towards the map's voters has to wait");
            }
        }
        sleep(EVERY).await;
    }
}

/// The next step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Let these learn.
    AddLearners(BTreeSet<NodeId>),
    /// Hand the leadership to one that stays: this leader is to leave.
    HandOver(NodeId),
    /// Make these, and only these, the voters; everybody else leaves.
    Vote(BTreeSet<NodeId>),
}

fn decide(
    own: NodeId,
    wanted: &[NodeId],
    facts: &MemberFacts,
    alive: impl Fn(NodeId) -> bool,
    missing_blobs: impl Fn(NodeId) -> Option<u64>,
) -> Step {
    let wanted: BTreeSet<NodeId> = wanted.iter().copied().collect();
    let settled = facts.voters == wanted && facts.members == wanted;
    if wanted.is_empty() || settled || facts.joint {
        return Step::Nothing;
    }
    let strangers: BTreeSet<NodeId> = wanted.difference(&facts.members).copied().collect();
    if !strangers.is_empty() {
        return Step::AddLearners(strangers);
    }
    let close = |node: &NodeId| {
        let matched = if *node == own { facts.last } else { facts.matched.get(node).copied().unwrap_or(0) };
        facts.last.saturating_sub(matched) <= CLOSE
    };
    let ready =
        wanted.difference(&facts.voters).all(|node| alive(*node) && close(node) && missing_blobs(*node) == Some(0));
    if !ready {
        return Step::Nothing;
    }
    if !wanted.contains(&own) {
        let heir = wanted.iter().find(|node| facts.voters.contains(node) && alive(**node) && close(node));
        if let Some(heir) = heir {
            return Step::HandOver(*heir);
        }
    }
    Step::Vote(wanted)
}

async fn take(group: &Group, step: Step) -> Result<(), String> {
    match step {
        Step::Nothing => Ok(()),
        Step::AddLearners(nodes) => {
            tracing::info!(group = %group.id(), ?nodes, "nodes join the group and learn");
            let nodes: BTreeMap<u64, ()> = nodes.into_iter().map(|node| (node.0, ())).collect();
            group.change_members(ChangeMembers::AddNodes(nodes), true).await
        }
        Step::HandOver(heir) => {
            let deadline = Instant::now() + Duration::from_secs(3);
            group.transfer(heir, deadline).await.map_err(|error| error.to_string())
        }
        Step::Vote(nodes) => {
            tracing::info!(group = %group.id(), ?nodes, "the group's voters change");
            let nodes: BTreeSet<u64> = nodes.into_iter().map(|node| node.0).collect();
            group.change_members(ChangeMembers::ReplaceAllVoters(nodes), false).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn facts(voters: &[u64], members: &[u64], matched: &[(u64, u64)]) -> MemberFacts {
        MemberFacts {
            voters: set(voters),
            members: set(members),
            joint: false,
            last: 1000,
            matched: matched.iter().map(|(id, at)| (NodeId(*id), *at)).collect(),
        }
    }

    fn step(wanted: &[u64], facts: &MemberFacts, missing: Option<u64>) -> Step {
        let wanted: Vec<NodeId> = wanted.iter().copied().map(NodeId).collect();
        decide(NodeId(1), &wanted, facts, |_| true, |_| missing)
    }

    #[test]
    fn a_replacement_learns_then_votes_while_the_old_one_leaves() {
        let at = [(2, 1000), (3, 1000), (4, 900)];
        assert_eq!(step(&[1, 2, 3], &facts(&[1, 2, 3], &[1, 2, 3], &at), Some(0)), Step::Nothing);
        assert_eq!(step(&[1, 2, 4], &facts(&[1, 2, 3], &[1, 2, 3], &at), Some(0)), Step::AddLearners(set(&[4])));
        let learning = facts(&[1, 2, 3], &[1, 2, 3, 4], &at);
        assert_eq!(step(&[1, 2, 4], &learning, Some(0)), Step::Vote(set(&[1, 2, 4])));
        assert_eq!(step(&[1, 2, 4], &learning, Some(7)), Step::Nothing, "blobs are still missing");
        assert_eq!(step(&[1, 2, 4], &learning, None), Step::Nothing, "it was not heard");
        let behind = facts(&[1, 2, 3], &[1, 2, 3, 4], &[(2, 1000), (3, 1000), (4, 10)]);
        assert_eq!(step(&[1, 2, 4], &behind, Some(0)), Step::Nothing);
    }

    #[test]
    fn a_leader_that_is_to_leave_hands_over_first() {
        let ready = facts(&[1, 2, 3], &[1, 2, 3, 4], &[(2, 1000), (3, 1000), (4, 1000)]);
        assert_eq!(step(&[2, 3, 4], &ready, Some(0)), Step::HandOver(NodeId(2)));
    }
}
