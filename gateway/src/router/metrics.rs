//! What the router counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a client was told to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No leader, or no map, was known in time.
    NoLeader,
    /// Nobody could be reached, or nobody answered in time.
    Unreachable,
    /// Those who were asked were starting, draining, without quorum, or of another opinion about the map.
    Unavailable,
    /// No replica had the bytes, or could confirm its freshness.
    NotFresh,
    /// A disk is full.
    NoSpace,
    /// Too much at once.
    Overloaded,
    /// The other side did not understand.
    Malformed,
}

impl Cause {
    /// Every cause, in the order of [`RouterMetrics::slow_downs`].
    pub const ALL: [Cause; 7] = [
        Self::NoLeader,
        Self::Unreachable,
        Self::Unavailable,
        Self::NotFresh,
        Self::NoSpace,
        Self::Overloaded,
        Self::Malformed,
    ];

    /// As a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoLeader => "no_leader",
            Self::Unreachable => "unreachable",
            Self::Unavailable => "unavailable",
            Self::NotFresh => "not_fresh",
            Self::NoSpace => "no_space",
            Self::Overloaded => "overloaded",
            Self::Malformed => "malformed",
        }
    }
}

/// Counters, all since the process started.
#[derive(Debug, Default)]
pub struct RouterMetrics {
    /// Writes of shards and of root, uploads not counted.
    pub writes: AtomicU64,
    /// Uploads of large bodies.
    pub uploads: AtomicU64,
    /// Reads of one replica: objects, records, pages of listings per shard, buckets.
    pub reads: AtomicU64,
    /// Attempts after a failed one, of all of these.
    pub retries: AtomicU64,
    /// Reads sent to a second replica because the first was slow.
    pub hedges: AtomicU64,
    /// Hedges that answered first.
    pub hedges_won: AtomicU64,
    /// Objects whose bytes went on from another replica.
    pub continuations: AtomicU64,
    /// Writes whose outcome stayed unknown.
    pub unknown: AtomicU64,
    slow_downs: [AtomicU64; Cause::ALL.len()],
}

impl RouterMetrics {
    /// Requests that were answered with "try again", for one cause.
    pub fn slow_downs(&self, cause: Cause) -> u64 {
        self.slow_downs[cause as usize].load(Ordering::Relaxed)
    }

    pub(super) fn slow_down(&self, cause: Cause) {
        self.slow_downs[cause as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_counter_and_label() {
        let metrics = RouterMetrics::default();
        for (count, cause) in Cause::ALL.into_iter().enumerate() {
            for _ in 0..count {
                metrics.slow_down(cause);
            }
        }
        assert!(Cause::ALL.into_iter().enumerate().all(|(count, cause)| metrics.slow_downs(cause) == count as u64));
        let labels: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(labels.len(), Cause::ALL.len());
    }
}
