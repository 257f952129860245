//! Hands leaderships to the voters that the map prefers, so that they spread over the nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::id::GroupId;
use tokio::time::{Instant, sleep};

use super::heir::{Heir, heirs};
use super::slow::SLOW_MEAN_US;
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_secs(1);
/// A leadership that came here stays at least so long, and so does one that could not be handed over.
const SETTLE: Duration = Duration::from_secs(10);

/// Looks after the leaderships of this node.
pub async fn run(host: Arc<Host>) {
    let mut since: BTreeMap<GroupId, Instant> = BTreeMap::new();
    loop {
        sleep(EVERY).await;
        let layout = host.layout().borrow().clone();
        for group in host.groups() {
            if !group.leads() {
                since.remove(&group.id());
                continue;
            }
            let held = since.entry(group.id()).or_insert_with(Instant::now);
            let preferred = layout.map.group(group.id()).and_then(|place| place.preferred_leader());
            let Some(heir) = preferred.filter(|heir| *heir != host.id()) else { continue };
            let fit = |other: &Heir| other.node == heir && u64::from(other.load.sync_us) < SLOW_MEAN_US;
            if held.elapsed() < SETTLE || !heirs(&host, &group).iter().any(fit) {
                continue;
            }
            *held = Instant::now();
            if let Err(error) = group.transfer(heir, Instant::now() + Duration::from_secs(3)).await {
                tracing::info!(group = %group.id(), %heir, %error, "a leadership was not handed over");
            }
        }
    }
}
