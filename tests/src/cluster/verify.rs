//! What the nodes of a cluster hold, by `holdfast verify` of their data directories.

use futures::future::try_join_all;
use holdfast_replica::verify::State;
use holdfast_wire::id::GroupId;
use serde::Deserialize;
use tokio::process::Command;

use super::{Cluster, ClusterError, READY_WITHIN};
use crate::check::Verdict;
use crate::check::replicas::{Replica, agreement};
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

impl Cluster {
    /// Waits until all members of each group have applied as much, ends the nodes that run, and checks their data. What
    /// one of them ends with another may not have any more, or not yet: then once more.
    pub async fn verified(&mut self) -> Result<Vec<Replica>, ClusterError> {
        let running = self.running();
        let mut again = 3;
        loop {
            self.converge().await?;
            let ends = self.nodes.iter_mut().enumerate().filter(|(at, _)| running.contains(at));
            try_join_all(ends.map(|(_, node)| node.terminate(READY_WITHIN))).await?;
            let replicas = try_join_all(running.iter().map(|&at| self.verify(at))).await?;
            again -= 1;
            if again == 0 || !matches!(agreement(&replicas), Verdict::Undecided(_)) {
                return Ok(replicas);
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
