//! A node whose disk is nearly full leads nothing while another voter has room: it refuses what brings bytes, and the
//! others need not. It takes leaderships again like any other node once there is space.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::heir::{HandOver, heirs};
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_millis(500);
/// A leadership that could not be handed over is tried again so much later.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks after this node's disk for ever.
pub async fn run(host: Arc<Host>) {
    let mut full = false;
    let mut leaderships = HandOver::new("this node's disk is full", AGAIN);
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
        if full {
            // To the voter with the most room; to nobody where all are full.
            let most_room = |group: &_| heirs(&host, group).into_iter().max_by_key(|heir| heir.load.disk_free);
            leaderships.try_all(&host, |group| most_room(group).map(|heir| heir.node)).await;
        }
    }
}
