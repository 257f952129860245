//! A node whose disk is nearly full leads nothing while another voter has room: it refuses what brings bytes, and the
//! others need not. It takes leaderships again like any other node once there is space.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::id::GroupId;
use tokio::time::{Instant, sleep};

use super::heir::heirs;
use crate::group::Group;
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_millis(500);
/// A leadership that could not be handed over is tried again so much later.
const AGAIN: Duration = Duration::from_secs(3);
/// How long one transfer may take.
const WITHIN: Duration = Duration::from_secs(3);

/// Looks after this node's disk for ever.
pub async fn run(host: Arc<Host>) {
    let mut full = false;
    let mut tried: BTreeMap<GroupId, Instant> = BTreeMap::new();
    loop {
        sleep(EVERY).await;
        let now_full = !host.log().has_room(0) || host.blobs().check_space().is_err();
        if now_full != full {
            full = now_full;
            match full {
                true => tracing::warn!("this node's disk is nearly full: it hands its leaderships over"),
                false => tracing::info!("this node's disk has room again"),
            }
        }
        if !full {
            continue;
        }
        for group in host.groups() {
            let waits = tried.get(&group.id()).is_some_and(|at| at.elapsed() < AGAIN);
            if group.leads() && !waits {
                tried.insert(group.id(), Instant::now());
                hand_over(&host, &group).await;
            }
        }
    }
}

/// To the voter with the most room; to nobody where all are full.
async fn hand_over(host: &Host, group: &Group) {
    let Some(heir) = heirs(host, group).into_iter().max_by_key(|heir| heir.load.disk_free) else { return };
    match group.transfer(heir.node, Instant::now() + WITHIN).await {
        Ok(()) => {
            tracing::info!(group = %group.id(), heir = %heir.node, "a leadership was handed over, for this node's disk is full");
        }
        Err(error) => {
            tracing::info!(group = %group.id(), heir = %heir.node, %error, "a leadership was not handed over");
        }
    }
}
