//! What every request of the router shares: the view, chance, pauses, deadlines, and how it ends in failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use holdfast_wire::error::CallError;
use holdfast_wire::id::{GroupId, RequestId};
use holdfast_wire::request::{Request, Response};
use holdfast_wire::seam::Seams;
use holdfast_wire::service::{Answer, Body};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::buckets::BucketCache;
use super::metrics::{Cause, RouterMetrics};
use super::retry::Backoff;
use super::{RouteError, RouterOptions};
use crate::hedge::{Budget, P95};
use crate::membership::{Leader, Link, Membership, OpenCall, View};

/// How long a caller that was told a deadline may overrun it before it is given up.
const SLACK: Duration = Duration::from_millis(250);
/// A leader that was replaced gets so much longer to answer what it was asked.
const GRACE: Duration = Duration::from_millis(100);

/// Requests of one kind take similarly long; each kind has its own idea of slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Objects and records.
    Object,
    /// Pages of listings.
    Page,
    /// Buckets, from root.
    Root,
}

pub(super) struct Core {
    pub membership: Arc<Membership>,
    pub seams: Seams,
    pub options: RouterOptions,
    pub metrics: Arc<RouterMetrics>,
    pub buckets: BucketCache,
    pub budget: Mutex<Budget>,
    paces: [AtomicU32; 3],
    /// A counter whose mixed values are random enough for choosing replicas, without a system call for each.
    dice: AtomicU64,
    /// The upper half of this process's request ids, from the seam; the lower half counts. No system call for each.
    requests: (u64, AtomicU64),
}

impl Core {
    pub fn new(membership: Arc<Membership>, seams: Seams, options: RouterOptions) -> Self {
        let dice = AtomicU64::new(seams.random.next_u64());
        let paces = std::array::from_fn(|_| AtomicU32::new(P95::default().to_bits()));
        let metrics = options.metrics.clone();
        let (buckets, budget) = (BucketCache::default(), Mutex::default());
        let requests = (seams.random.next_u64(), AtomicU64::new(seams.random.next_u64()));
        Self { membership, seams, options, metrics, buckets, budget, paces, dice, requests }
    }

    pub fn view(&self) -> Arc<View> {
        self.membership.view()
    }

    pub fn deadline(&self) -> Instant {
        Instant::now() + self.options.deadline
    }

    /// A number that is uniform enough to spread load (SplitMix64). Ids come from the seam instead.
    pub fn chance(&self) -> u64 {
        let mut z = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn request_id(&self) -> RequestId {
        let count = self.requests.1.fetch_add(1, Ordering::Relaxed);
        RequestId(u128::from(self.requests.0) << 64 | u128::from(count))
    }

    pub fn pace(&self, pace: Pace) -> P95 {
        P95::from_bits(self.paces[pace as usize].load(Ordering::Relaxed))
    }

    /// Two samples at the same moment may become one: it is an estimate.
    pub fn observe(&self, pace: Pace, first_byte: Duration) {
        self.paces[pace as usize].store(self.pace(pace).after(first_byte).to_bits(), Ordering::Relaxed);
    }

    /// Waits until `until`, or until the view satisfies `enough`.
    pub async fn pause(&self, until: Instant, enough: impl Fn(&View) -> bool) {
        // Elapsed or enough: both mean going on.
        let _ = tokio::time::timeout_at(until, self.membership.until(enough)).await;
    }

    /// Waits until a leader of the group is known, until `until` at most. Where one is already it cannot be called yet,
    /// since no layout names it, or a hint named such a node: then only time helps.
    pub async fn leader_appears(
        &self,
        group: &(dyn Fn(&View) -> Option<GroupId> + Send + Sync),
        backoff: &mut Backoff,
        until: Instant,
    ) {
        let known = |view: &View| group(view).is_some_and(|group| view.leader(group).is_some());
        if known(&self.view()) {
            tokio::time::sleep_until(until.min(Instant::now() + backoff.pause(self.chance()))).await;
        } else {
            self.pause(until, known).await;
        }
    }

    /// Ends when another node than `asked` has come to lead the group, and had a little time to show that the old
    /// leader's answer is not under way.
    pub async fn superseded(&self, group: GroupId, asked: Leader) {
        let other = |view: &View| {
            view.leader(group).is_some_and(|leader| leader.term > asked.term && leader.node != asked.node)
        };
        self.membership.until(other).await;
        tokio::time::sleep(GRACE).await;
    }

    /// Calls a node, which was told to answer within `within`.
    pub async fn call(
        &self,
        link: &Arc<Link>,
        request: Request,
        body: Body,
        within: Duration,
    ) -> Result<(Response, Body, OpenCall), CallError> {
        let (answer, open) = link.call(request, body);
        let answer: Answer = tokio::time::timeout(within + SLACK, answer)
            .await
            .unwrap_or_else(|_| Err(CallError::Unknown { reason: format!("no answer within {within:?}") }));
        answer.map(|(response, body)| (response, body, open))
    }

    /// Nothing was applied: the client should try again.
    pub fn slow_down(&self, cause: Cause, what: impl std::fmt::Display) -> RouteError {
        self.metrics.slow_down(cause);
        RouteError::SlowDown(what.to_string())
    }

    /// As [`slow_down`](Self::slow_down), for the last error met.
    pub fn failed(&self, error: &CallError) -> RouteError {
        self.slow_down(super::retry::cause(error), error)
    }

    /// A write may have been applied.
    pub fn unknown(&self, what: impl std::fmt::Display) -> RouteError {
        super::metrics::count(&self.metrics.unknown);
        tracing::warn!(%what, "the outcome of a write is unknown");
        RouteError::Unknown(what.to_string())
    }

    /// An answer of a kind that was not asked for.
    pub fn nonsense(&self, response: &Response) -> RouteError {
        tracing::error!(?response, "a replica gave an answer of another kind than was asked for");
        self.slow_down(Cause::Malformed, "a replica gave an answer of another kind than was asked for")
    }
}
