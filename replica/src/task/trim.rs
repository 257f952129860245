//! Keeps the log bounded: when a group holds more than its share, its index is synced and the entries that it covers are
//! purged, all but a tail for followers that are a little behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::group::Group;
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_secs(2);

/// Looks after the log of all groups.
pub async fn run(host: Arc<Host>) {
    loop {
        sleep(EVERY).await;
        if host.blobs().has_failed() {
            return host.fail("a sync of the blob store has failed".to_owned());
        }
        let groups = host.groups();
        let share = host.config().log_retain_bytes / groups.len().max(1) as u64;
        for group in groups {
            let keep = Keep { bytes: share, entries: host.config().log_retain_entries };
            if let Some(upto) = purge_point(&group, &keep)
                && let Err(error) = group.snapshot_and_purge(upto).await
            {
                tracing::warn!(group = %group.id(), error, "the log could not be trimmed");
            }
        }
    }
}

/// What a group may keep.
struct Keep {
    bytes: u64,
    entries: u64,
}

/// Up to where to purge, if the group holds twice what it may keep: what stays behind is about what it may keep.
fn purge_point(group: &Group, keep: &Keep) -> Option<u64> {
    let state = group.log().state();
    let last = state.last?.index;
    let purged = state.purged.map_or(0, |position| position.index);
    let entries = last - purged;
    let bytes = group.log().retained_bytes();
    if entries <= 2 * keep.entries && bytes <= 2 * keep.bytes {
        return None;
    }
    let by_bytes = (entries as u128 * u128::from(keep.bytes) / u128::from(bytes.max(1))) as u64;
    let stay = keep.entries.min(by_bytes);
    let upto = (last - stay.min(entries)).min(group.applied());
    (upto > purged).then_some(upto)
}
