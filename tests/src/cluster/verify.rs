//! What the nodes of a cluster hold, by `holdfast verify` of their data directories.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use holdfast_replica::verify::State;
use holdfast_wire::id::GroupId;
use serde::Deserialize;
use tokio::process::Command;

use super::{Cluster, ClusterError, READY_WITHIN};
use crate::check::Verdict;
use crate::check::replicas::{Replica, agreement, sound};
use crate::wait;

/// What `holdfast verify -o json` prints, as far as tests look at it.
#[derive(Debug, Deserialize)]
struct Printed {
    problems: Vec<String>,
    states: Vec<PrintedState>,
}

#[derive(Debug, Deserialize)]
struct PrintedState {
    group: u32,
    applied: u64,
    hash: String,
}

/// How often replicas are looked at before it is taken that some cannot be compared.
const LOOKS: u32 = 3;

/// Members of groups, by the names of their nodes.
type Members = BTreeSet<(String, GroupId)>;

/// Members that are not their group's only one, and those of them that have applied as much as another one, with which they
/// can be compared.
fn comparable(replicas: &[Replica]) -> (Members, Members) {
    let states = || replicas.iter().flat_map(|replica| replica.states.iter().map(move |state| (&replica.node, state)));
    let chosen = |alike: fn(&State, &State) -> bool| {
        let several = |one: &State| states().filter(|(_, other)| alike(one, other)).count() > 1;
        states().filter(|(_, state)| several(state)).map(|(node, state)| (node.clone(), state.group)).collect()
    };
    let members = chosen(|one, other| one.group == other.group);
    (members, chosen(|one, other| (one.group, one.applied) == (other.group, other.applied)))
}

impl Cluster {
    /// Waits until all members of each group have applied as much, ends the nodes that run, and checks their data. What
    /// one of them ends with another may not have any more, or not yet: then once more, until some could be compared with
    /// another one; if `all`, until each could be. How many could is said.
    pub async fn verified(&mut self, all: bool) -> Result<Vec<Replica>, ClusterError> {
        let running = self.running();
        let (mut looks, mut compared, mut decided, mut held) = (0, Members::new(), false, Vec::new());
        loop {
            self.converge().await?;
            let ends = self.nodes.iter_mut().enumerate().filter(|(at, _)| running.contains(at));
            try_join_all(ends.map(|(_, node)| node.terminate(READY_WITHIN))).await?;
            let replicas = try_join_all(running.iter().map(|&at| self.verify(at))).await?;
            let verdict = agreement(&replicas);
            if matches!(verdict, Verdict::Violated(_)) || !sound(&replicas).passed() {
                return Ok(replicas);
            }
            looks += 1;
            let (members, now) = comparable(&replicas);
            compared.extend(now);
            if verdict.passed() || !decided {
                (decided, held) = (verdict.passed(), replicas);
            }
            if looks == LOOKS || decided && (!all || compared.len() == members.len()) {
                println!(
                    "C6: {} of {} members compared with another one, {looks} looks",
                    compared.len(),
                    members.len()
                );
                return Ok(held);
            }
            running.iter().try_for_each(|&at| self.node(at).start())?;
        }
    }

    /// Waits until all members of each group have applied as much.
    async fn converge(&mut self) -> Result<(), ClusterError> {
        self.ready().await?;
        let Some(&first) = self.running().first() else { return Ok(()) };
        let probe = || async {
            let status = self.status(first).await.map_err(|error| error.to_string())?;
            let apart = status.groups.iter().find(|group| {
                let mut applied = group.members.iter().map(|member| member.applied);
                let first = applied.next();
                applied.any(|other| Some(other) != first)
            });
            apart.map_or(Ok(()), |group| Err(format!("group {}: {:?}", group.id, group.members)))
        };
        Ok(wait::until("replicas that have applied as much", READY_WITHIN, probe).await?)
    }

    async fn verify(&self, at: usize) -> Result<Replica, ClusterError> {
        let node = &self.nodes[at];
        // Where it keeps its index, if not in its directory.
        let index = node.env.iter().filter(|(name, _)| name.starts_with("HOLDFAST_INDEX"));
        let output = Command::new(&self.binary)
            .args(["verify", "-o", "json", "--data"])
            .arg(&node.data)
            .env_clear()
            .envs(index.map(|(name, value)| (name, value)))
            .kill_on_drop(true)
            .output()
            .await?;
        let unchecked = |said: String| ClusterError::Unchecked { node: node.name.clone(), said };
        let printed: Printed = serde_json::from_slice(&output.stdout)
            .map_err(|_| unchecked(String::from_utf8_lossy(&output.stderr).into_owned()))?;
        let states = printed.states.iter().map(|state| {
            let hash = u64::from_str_radix(&state.hash, 16).map_err(|_| unchecked(format!("no hash: {state:?}")))?;
            Ok(State { group: GroupId(state.group), applied: state.applied, hash })
        });
        let states = states.collect::<Result<_, ClusterError>>()?;
        Ok(Replica { node: node.name.clone(), problems: printed.problems, states })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_have_applied_more_or_less_cannot_be_compared() {
        let replica = |node: &str, applied: &[(u32, u64)]| {
            let state = |&(group, applied)| State { group: GroupId(group), applied, hash: 7 };
            Replica { node: node.to_owned(), states: applied.iter().map(state).collect(), ..Replica::default() }
        };
        let replicas =
            [replica("n1", &[(0, 5), (1, 9), (2, 1)]), replica("n2", &[(0, 5), (1, 8)]), replica("n3", &[(1, 9)])];
        let (members, compared) = comparable(&replicas);
        let named = |nodes: &[(&str, u32)]| -> Members {
            nodes.iter().map(|&(node, group)| (node.to_owned(), GroupId(group))).collect()
        };
        assert_eq!(members, named(&[("n1", 0), ("n1", 1), ("n2", 0), ("n2", 1), ("n3", 1)]));
        assert_eq!(compared, named(&[("n1", 0), ("n1", 1), ("n2", 0), ("n3", 1)]));
    }
}
