//! From buckets and keys to replicas: finds shard and leader, balances reads, hides failovers, merges listings.
//!
//! Every request has a deadline. Writes go to the leader ([`lead`]) and keep apart what is certain not to have been
//! applied from what may have been; reads go to any replica ([`ask`]).

mod ask;
mod body;
mod buckets;
mod core;
mod lead;
mod list;
mod merge;
mod metrics;
mod read;
mod retry;
mod upload;
mod write;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use holdfast_wire::bucket::{AckMode, Bucket, ReadMode};
use holdfast_wire::error::CallError;
use holdfast_wire::heartbeat::ClusterView;
use holdfast_wire::id::{ObjectKey, Seq};
use holdfast_wire::object::Object;
use holdfast_wire::request::{NotRead, Refusal, RootRefusal, WriteOutcome};
use holdfast_wire::seam::Seams;
use tokio::time::Instant;

use self::core::Core;
use crate::membership::Membership;

pub use metrics::{Cause, RouterMetrics};
pub use upload::Uploaded;

/// What a client asked for beyond plain S3, per request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Modes {
    /// `x-holdfast-ack`; `None`: as the bucket says.
    pub ack: Option<AckMode>,
    /// `x-holdfast-read`; `None`: as the bucket says.
    pub read: Option<ReadMode>,
    /// `x-holdfast-seq`: the newest version that the client has seen.
    pub seq: Option<Seq>,
}

/// Why a request could not be carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// No such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// Root refuses.
    #[error(transparent)]
    Root(RootRefusal),
    /// The shard's state machine refuses.
    #[error(transparent)]
    Refused(Refusal),
    /// There is no such object, as far as this place in its shard's log.
    #[error("no such object up to {0}")]
    Absent(Seq),
    /// A read that ends without an object.
    #[error("not read: {0:?}")]
    NotRead(NotRead),
    /// Nothing was applied; the client should try again: 503 `SlowDown` with `Retry-After`.
    #[error("try again: {0}")]
    SlowDown(String),
    /// A write may or may not have been applied: 503 `SlowDown` too, and the log says so.
    #[error("unknown outcome: {0}")]
    Unknown(String),
    /// The client's body ended early or was refused while it was read; the cause is with whoever made the body.
    #[error("the body was aborted")]
    Aborted,
}

/// A write's outcome and the mode that answered it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The outcome; never `Refused` (that is an error).
    pub outcome: WriteOutcome,
    /// The mode that answered.
    pub ack: AckMode,
}

/// An object being read.
pub struct Got {
    /// The object.
    pub object: Object,
    /// First byte and count of the bytes that follow.
    pub range: (u64, u64),
    /// The log index up to which the replica had applied.
    pub applied: u64,
    /// The bytes, checksums verified; continues on another replica when one fails. Empty for HEAD.
    pub body: BoxStream<'static, Result<Bytes, CallError>>,
}

/// How patient the router is, and where it counts.
#[derive(Clone)]
pub struct RouterOptions {
    /// When a request is given up.
    pub deadline: Duration,
    /// How long one attempt of it may take.
    pub attempt: Duration,
    /// Counters, for operators.
    pub metrics: Arc<RouterMetrics>,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(8),
            attempt: Duration::from_millis(2500),
            metrics: Arc::new(RouterMetrics::default()),
        }
    }
}

/// Finds replicas and talks to them. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    core: Arc<Core>,
}

impl Router {
    /// Routes by what `membership` hears.
    pub fn new(membership: Arc<Membership>, seams: Seams, options: RouterOptions) -> Self {
        Self { core: Arc::new(Core::new(membership, seams, options)) }
    }

    /// Whether two keys live in one shard, so that a copy moves no bytes. False while no map is known.
    pub fn same_shard(&self, a: (&Bucket, &ObjectKey), b: (&Bucket, &ObjectKey)) -> bool {
        let view = self.core.view();
        let shard = |(bucket, key)| write::shard_of(&view, write::point_of(bucket, key));
        shard(a).is_some() && shard(a) == shard(b)
    }

    /// The cluster as this gateway sees it; `None` before the first heartbeat.
    pub fn view(&self) -> Option<Arc<ClusterView>> {
        self.core.view().report(Instant::now()).map(Arc::new)
    }

    /// What was counted so far.
    pub fn metrics(&self) -> &Arc<RouterMetrics> {
        &self.core.metrics
    }
}

#[cfg(test)]
mod tests;
