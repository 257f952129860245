//! The log's entries and the index's files, read again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::group::Group;
use crate::node::Host;

/// Payload read at once.
const CHUNK: usize = 1 << 20;

/// Waits until so many bytes may have been read since `began`.
async fn pace(host: &Host, began: Instant, bytes: u64) {
    let allowed = Duration::from_secs_f64(bytes as f64 / host.config().scrub_bytes_per_second.max(1) as f64);
    sleep(allowed.saturating_sub(began.elapsed())).await;
}

/// Every entry that is durable and not purged, of every group, with its checksum.
pub async fn log(host: &Host, groups: &[Arc<Group>]) {
    for group in groups {
        let log = host.log().group(group.id());
        let mut next = 0;
        loop {
            let (began, reading) = (Instant::now(), log.clone());
            match host.scrub_lane().run(move || reading.reread(next, CHUNK)).await {
                Ok(Some(found)) => {
                    host.scrub().note(|report| report.log_entries += found.count);
                    next = found.next;
                    pace(host, began, found.bytes).await;
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(group = %group.id(), %error, "the log is damaged: this node should be replaced");
                    host.scrub().note(|report| report.log_damaged += 1);
                    break;
                }
            }
        }
    }
}

/// Every file of the index, with its checksum.
pub async fn index(host: &Host) {
    for file in host.engine().stored() {
        let (began, len) = (Instant::now(), file.len);
        let found = host.scrub_lane().run(file.verify).await;
        host.scrub().note(|report| report.index_files += 1);
        if let Err(error) = found {
            tracing::error!(error, "the index is damaged: this node should be replaced");
            host.scrub().note(|report| report.index_damaged += 1);
        }
        pace(host, began, len).await;
    }
}
