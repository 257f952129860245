//! What a node counts.

use holdfast_wire::deleted::Kept;
use holdfast_wire::due::LifecycleReport;
use holdfast_wire::heartbeat::Heartbeat;
use holdfast_wire::scrub::{ScrubOrder, ScrubState};

use super::Host;
use crate::blob::BlobStats;
use crate::index::engine::EngineStats;
use crate::log::LogStats;
use crate::node::usage::BucketMetrics;

/// A node's numbers.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    /// As its heartbeat says.
    pub heartbeat: Heartbeat,
    /// The log's.
    pub log: LogStats,
    /// The blobs'.
    pub blobs: BlobStats,
    /// The engine's.
    pub engine: EngineStats,
    /// Blobs that are waited for.
    pub missing_blobs: u64,
    /// Blobs fetched from other nodes since the start.
    pub repaired_blobs: u64,
    /// What the node keeps of objects that are gone.
    pub kept: Kept,
    /// Objects let go of since the start that could have been brought back, in the groups that this node led.
    pub forgotten: u64,
    /// Blobs reclaimed since the start that nothing named any more.
    pub collected_blobs: u64,
    /// Blobs reclaimed since the start that nothing ever named.
    pub collected_orphans: u64,
    /// The 99th percentile of the log's syncs while the disk is slow, microseconds; 0 while it is not.
    pub slow_disk_us: u64,
    /// Leaderships given away since the start because the disk was slow.
    pub handed_over: u64,
    /// The scrub under way and the last one.
    pub scrub: ScrubState,
    /// What lifecycle rules made go since the start, in the groups that this node led.
    pub lifecycle: LifecycleReport,
    /// What buckets hold in the shards that it leads.
    pub buckets: BucketMetrics,
}

impl Host {
    fn kept(&self) -> Kept {
        self.groups().iter().map(|group| group.index().kept()).fold(Kept::default(), |sum, kept| Kept {
            objects: sum.objects + kept.objects,
            bytes: sum.bytes + kept.bytes,
        })
    }

    /// The node's numbers.
    pub fn metrics(&self) -> NodeMetrics {
        NodeMetrics {
            heartbeat: self.heartbeat(),
            log: self.log.stats(),
            blobs: self.blobs.stats(),
            engine: self.engine.stats(),
            missing_blobs: self.groups().iter().map(|group| self.repair.missing(group.id())).sum(),
            repaired_blobs: self.repair.fetched(),
            kept: self.kept(),
            forgotten: self.collected.forgotten(),
            collected_blobs: self.collected.trash(),
            collected_orphans: self.collected.orphans(),
            slow_disk_us: self.slow_disk.p99_us(),
            handed_over: self.slow_disk.handed_over(),
            scrub: self.scrub.obey(ScrubOrder::Status, 0),
            lifecycle: self.lifecycle.report(),
            buckets: self.bucket_metrics(),
        }
    }
}
