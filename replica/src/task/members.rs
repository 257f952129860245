//! Moves each group that this node leads towards the voters that the map names: new ones first learn, entries and blobs,
//! then vote, in the same step in which old ones leave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::id::NodeId;
use openraft::ChangeMembers;
use tokio::time::{Instant, sleep, timeout};

use crate::group::{Group, MemberFacts};
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_millis(300);
/// One step may take so long; the next look takes it up again.
const STEP_WITHIN: Duration = Duration::from_secs(8);
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
            // By one and the same heartbeat: up to where it has applied, and what it lacks for that.
            let whole = |node: NodeId| {
                if node == host.id() {
                    return host.repair().missing(group.id()) == 0;
                }
                let Some(heartbeat) = host.neighbours().alive(node) else { return false };
                let status = heartbeat.groups.iter().find(|status| status.group == group.id());
                status.is_some_and(|status| status.applied + CLOSE >= facts.last && status.missing_blobs == 0)
            };
            let step = decide(host.id(), &place.voters, &facts, alive, whole);
            match timeout(STEP_WITHIN, take(&group, step)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(group = %group.id(), error, "a step towards the map's voters has to wait");
                }
                Err(_) => tracing::warn!(group = %group.id(), "a step towards the map's voters is not committed yet"),
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
    /// Learners that are not to vote any more leave.
    Drop(BTreeSet<NodeId>),
}

fn decide(
    own: NodeId,
    wanted: &[NodeId],
    facts: &MemberFacts,
    alive: impl Fn(NodeId) -> bool,
    whole: impl Fn(NodeId) -> bool,
) -> Step {
    let wanted: BTreeSet<NodeId> = wanted.iter().copied().collect();
    if let Some(target) = &facts.target {
        // A change stopped half way, with its leader perhaps: nobody else finishes it.
        return Step::Vote(target.clone());
    }
    if wanted.is_empty() || (facts.voters == wanted && facts.members == wanted) {
        return Step::Nothing;
    }
    if facts.voters == wanted {
        return Step::Drop(facts.members.difference(&wanted).copied().collect());
    }
    let strangers: BTreeSet<NodeId> = wanted.difference(&facts.members).copied().collect();
    if !strangers.is_empty() {
        return Step::AddLearners(strangers);
    }
    let close = |node: &NodeId| {
        let matched = if *node == own { facts.last } else { facts.matched.get(node).copied().unwrap_or(0) };
        facts.last.saturating_sub(matched) <= CLOSE
    };
    // Those that leave take their copies with them: whoever stays and lives must have all of them first.
    let newcomers = wanted.difference(&facts.voters).all(|node| alive(*node) && close(node) && whole(*node));
    let others = wanted.intersection(&facts.voters).all(|node| !alive(*node) || whole(*node));
    if !newcomers || !others {
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
            group.transfer(heir, deadline).await.map(drop).map_err(|error| error.to_string())
        }
        Step::Vote(nodes) => {
            tracing::info!(group = %group.id(), ?nodes, "the group's voters change");
            let nodes: BTreeSet<u64> = nodes.into_iter().map(|node| node.0).collect();
            group.change_members(ChangeMembers::ReplaceAllVoters(nodes), false).await
        }
        Step::Drop(nodes) => {
            let nodes: BTreeSet<u64> = nodes.into_iter().map(|node| node.0).collect();
            group.change_members(ChangeMembers::RemoveNodes(nodes), false).await
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
            target: None,
            last: 1000,
            matched: matched.iter().map(|(id, at)| (NodeId(*id), *at)).collect(),
        }
    }

    fn step(wanted: &[u64], facts: &MemberFacts, whole: bool) -> Step {
        let wanted: Vec<NodeId> = wanted.iter().copied().map(NodeId).collect();
        decide(NodeId(1), &wanted, facts, |_| true, |_| whole)
    }

    #[test]
    fn a_replacement_learns_then_votes_while_the_old_one_leaves() {
        let at = [(2, 1000), (3, 1000), (4, 900)];
        assert_eq!(step(&[1, 2, 3], &facts(&[1, 2, 3], &[1, 2, 3], &at), true), Step::Nothing);
        assert_eq!(step(&[1, 2, 4], &facts(&[1, 2, 3], &[1, 2, 3], &at), true), Step::AddLearners(set(&[4])));
        let learning = facts(&[1, 2, 3], &[1, 2, 3, 4], &at);
        assert_eq!(step(&[1, 2, 4], &learning, true), Step::Vote(set(&[1, 2, 4])));
        assert_eq!(step(&[1, 2, 4], &learning, false), Step::Nothing, "blobs are still missing");
        let behind = facts(&[1, 2, 3], &[1, 2, 3, 4], &[(2, 1000), (3, 1000), (4, 10)]);
        assert_eq!(step(&[1, 2, 4], &behind, true), Step::Nothing);
    }

    #[test]
    fn a_leader_that_is_to_leave_hands_over_first() {
        let ready = facts(&[1, 2, 3], &[1, 2, 3, 4], &[(2, 1000), (3, 1000), (4, 1000)]);
        assert_eq!(step(&[2, 3, 4], &ready, true), Step::HandOver(NodeId(2)));
    }

    #[test]
    fn what_stopped_half_way_is_finished_and_leftovers_leave() {
        let at = [(2, 1000), (3, 1000), (4, 1000)];
        let half = MemberFacts { target: Some(set(&[1, 2, 4])), ..facts(&[1, 2, 3, 4], &[1, 2, 3, 4], &at) };
        assert_eq!(step(&[1, 2, 5], &half, false), Step::Vote(set(&[1, 2, 4])));
        let leftover = facts(&[1, 2, 3], &[1, 2, 3, 4], &at);
        assert_eq!(step(&[1, 2, 3], &leftover, true), Step::Drop(set(&[4])));
    }
}
