//! Which groups a node has: those that the map gives it, begun by whose turn it is, and left only with their consent.

use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::heartbeat::{Layout, Role};
use holdfast_wire::id::GroupId;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Host;
use crate::group::{Group, Parts};
use crate::index::{Effects, Index};
use crate::node::Identity;

/// How long a voter waits for each one before it to begin a new group.
const BEGIN_INSTEAD: Duration = Duration::from_secs(5);

impl Host {
    /// Starts the groups that the map gives to this node, and removes those that it has left.
    pub(super) async fn follow_layout(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let _one_at_a_time = self.changing.lock().await;
        let layout = self.layout.borrow().clone();
        let mut wanted: Vec<GroupId> = layout
            .map
            .groups
            .iter()
            .filter(|place| place.voters.contains(&self.id()))
            .map(|place| place.group)
            .collect();
        // What the log holds was promised to others: such a group is left only with its members' consent.
        wanted.extend(self.log.groups());
        wanted.sort();
        wanted.dedup();
        for group in wanted {
            if self.group(group).is_err()
                && let Err(reason) = self.start_group(group, tasks, stop).await
            {
                return self.fail(reason);
            }
        }
        for group in self.groups() {
            // Removing a group takes a while: look at the newest map for each.
            let layout = self.layout.borrow().clone();
            let given = layout.map.group(group.id()).is_none_or(|place| place.voters.contains(&self.id()));
            if layout.version > 0 && !given && self.has_left(&group, &layout) {
                self.remove_group(&group).await;
            }
        }
    }

    async fn start_group(
        self: &Arc<Self>,
        id: GroupId,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let index = Index::open(self.engine.clone(), id).map_err(|error| error.to_string())?;
        let weak = Arc::downgrade(self);
        let on_effects = Arc::new(move |effects: Effects| {
            if let Some(host) = weak.upgrade() {
                host.on_effects(id, effects);
            }
        });
        let group = Group::start(Parts {
            id,
            own: self.id(),
            log: &self.log,
            index,
            client: self.client.clone(),
            peers: self.peers.clone(),
            rounds: self.rounds.clone(),
            clock: self.clock.clone(),
            timings: self.config.timings,
            guards: self.config.guards,
            lane: self.log_reads.clone(),
            on_effects,
        })
        .await?;
        self.groups.write().insert(id, group.clone());
        if id == GroupId::ROOT {
            self.hear_layout(&group.index().layout());
        }
        self.repair.rescan(id);

        let token = stop.child_token();
        self.group_tasks.lock().insert(id, token.clone());
        let (host, watched) = (self.clone(), group.clone());
        tasks.spawn(token.clone().run_until_cancelled_owned(async move { host.fail(watched.failed().await) }));
        let (host, watched) = (self.clone(), group.clone());
        tasks.spawn(token.clone().run_until_cancelled_owned(async move {
            watched.role_changes(|| host.tell()).await;
        }));
        if let Some(founding) = &self.identity.founding
            && let Some(place) = founding.layout.map.group(id)
            && let Some(turn) = place.turn(self.id())
        {
            if turn == 0 {
                return group.initialize(&place.voters).await;
            }
            // Whoever should begin may have lost its disk since it was stamped. All begin with the same voters, so that it
            // does no harm when two do: the log of one gives way like any that was not committed.
            let (host, voters) = (self.clone(), place.voters.clone());
            tasks.spawn(token.run_until_cancelled_owned(async move {
                sleep(BEGIN_INSTEAD * turn).await;
                if let Err(reason) = group.initialize(&voters).await {
                    host.fail(reason);
                }
            }));
        }
        Ok(())
    }

    /// Whether the group goes on without this node: by its own committed membership, or by the leader's word (which a
    /// member that was removed no longer gets through the log).
    fn has_left(&self, group: &Group, layout: &Layout) -> bool {
        let Some(place) = layout.map.group(group.id()) else { return false };
        let leader = self.neighbours.leader_of(group.id()).and_then(|leader| self.neighbours.alive(leader));
        let by_leader = leader.is_some_and(|heartbeat| {
            heartbeat.layout.version == layout.version
                && heartbeat.groups.iter().any(|status| {
                    status.group == group.id()
                        && status.role == Role::Leader
                        && status.voters == place.voters
                        && status.term >= group.status(0).term
                })
        });
        by_leader || group.is_left_by(self.id())
    }

    async fn remove_group(&self, group: &Arc<Group>) {
        tracing::info!(group = %group.id(), "this node has left the group");
        // A directory that forgets a group must not take its first start for the cluster's: it would come back blank,
        // under an id whose votes others remember.
        let settled = Identity { founding: None, ..self.identity.clone() };
        if let Err(error) = settled.save(&*self.files, &self.config.data) {
            return self.fail(format!("group {}: it cannot be left: {error}", group.id()));
        }
        if let Some(token) = self.group_tasks.lock().remove(&group.id()) {
            token.cancel();
        }
        self.groups.write().remove(&group.id());
        group.stop().await;
        if let Err(error) = self.log.forget_group(group.id()).await {
            return self.fail(format!("group {}: the log cannot forget it: {error}", group.id()));
        }
        if let Err(error) = group.index().clear() {
            return self.fail(format!("group {}: the index cannot forget it: {error}", group.id()));
        }
        if let Err(error) = self.blobs.remove_group(group.id()).await {
            tracing::warn!(group = %group.id(), %error, "blobs of a group that was left remain");
        }
        self.tell();
    }
}
