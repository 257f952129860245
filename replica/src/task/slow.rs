//! A leader whose disk has become slow hands its leaderships to a healthy voter: then a majority of the fast disks decides
//! how long writes take, and the slow one catches up behind.
//!
//! It judges itself by the log's syncs of the last seconds, and says so in its heartbeats: their `sync_us` is then the
//! 99th percentile rather than the mean. Nobody hands anything over to a node that says so, and a node that once said so
//! goes on for a while, so that leaderships do not go to and fro; where all disks are slow, nobody hands over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_wire::histogram::{BOUNDS, Counts};
use holdfast_wire::id::NodeId;
use tokio::time::{Instant, sleep};

use super::heir::{HandOver, heirs};
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_millis(500);
/// Looks that a judgement goes back.
const LOOKS: usize = 6;
/// Fewer syncs than this in that time say nothing.
const SYNCS_MIN: u64 = 5;
/// A disk is slow when the mean of its syncs is above this, microseconds…
pub const SLOW_MEAN_US: u64 = 50_000;
/// …and the 99th percentile above this.
pub const SLOW_P99_US: u64 = 100_000;
/// A disk that was slow is held to be so for so long after it last was.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Whoever takes over must be so many times faster.
const FASTER: u64 = 4;
/// A leadership that could not be handed over is tried again so much later.
const AGAIN: Duration = Duration::from_secs(10);

/// What a node thinks of its disk.
#[derive(Debug, Default)]
pub struct SlowDisk {
    p99_us: AtomicU64,
    handed_over: AtomicU64,
}

impl SlowDisk {
    /// The 99th percentile of a sync while the disk is slow, microseconds; 0 while it is not.
    pub fn p99_us(&self) -> u64 {
        self.p99_us.load(Ordering::Relaxed)
    }

    /// Leaderships given away for it since the start.
    pub fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }
}

/// Mean and 99th percentile of the syncs between two counts, microseconds; the latter as a bucket's upper bound.
fn recent(before: &Counts, now: &Counts) -> Option<(u64, u64)> {
    let total = now.total() - before.total();
    if total < SYNCS_MIN {
        return None;
    }
    let mean = (now.sum_micros - before.sum_micros) / total;
    let mut below = 0;
    for (at, count) in now.buckets.iter().enumerate() {
        below += count - before.buckets[at];
        if below * 100 >= total * 99 {
            return Some((mean, BOUNDS.get(at).copied().unwrap_or(BOUNDS[BOUNDS.len() - 1])));
        }
    }
    None
}

/// Whether that is slow.
fn is_slow((mean, p99): (u64, u64)) -> bool {
    mean > SLOW_MEAN_US && p99 > SLOW_P99_US
}

/// Looks after this node's disk for ever.
pub async fn run(host: Arc<Host>) {
    let mut looks: VecDeque<Counts> = VecDeque::new();
    let mut until: Option<Instant> = None;
    let mut leaderships = HandOver::new("this node's disk is slow", AGAIN);
    loop {
        sleep(EVERY).await;
        let now = host.log().stats().took;
        let found = looks.front().and_then(|before| recent(before, &now));
        looks.push_back(now);
        if looks.len() > LOOKS {
            looks.pop_front();
        }
        let (clock, own) = (Instant::now(), &host.slow_disk().p99_us);
        if let Some(found) = found.filter(|found| is_slow(*found)) {
            if until.is_none() {
                tracing::warn!(
                    mean_us = found.0,
                    p99_us = found.1,
                    "this node's disk is slow: it hands its leaderships over"
                );
            }
            until = Some(clock + REMEMBERED);
            own.store(found.1, Ordering::Relaxed);
        } else if until.is_some_and(|until| until <= clock) {
            tracing::info!("this node's disk is not slow any more");
            until = None;
            own.store(0, Ordering::Relaxed);
        }
        if until.is_some() {
            let own_p99 = own.load(Ordering::Relaxed);
            let pick = |group: &_| {
                let fit = heirs(&host, group).into_iter().map(|heir| (u64::from(heir.load.sync_us), heir.node));
                fastest(fit, own_p99)
            };
            let moved = leaderships.try_all(&host, pick).await;
            host.slow_disk().handed_over.fetch_add(moved, Ordering::Relaxed);
        }
    }
}

/// The fastest, if it is fast enough to be worth it.
fn fastest(candidates: impl Iterator<Item = (u64, NodeId)>, own_p99_us: u64) -> Option<NodeId> {
    let (sync_us, heir) = candidates.min()?;
    (sync_us < SLOW_MEAN_US && sync_us * FASTER < own_p99_us).then_some(heir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(syncs: &[(u64, u64)]) -> Counts {
        let mut counts = Counts::default();
        for (count, micros) in syncs {
            (0..*count).for_each(|_| counts.record(Duration::from_micros(*micros)));
        }
        counts
    }

    #[test]
    fn a_disk_is_slow_by_its_recent_syncs_alone() {
        let before = counts(&[(1000, 900)]);
        let now = counts(&[(1000, 900), (12, 240_000)]);
        let found = recent(&before, &now).unwrap();
        assert_eq!(found, (240_000, 250_000));
        assert!(is_slow(found));
        assert_eq!(recent(&now, &counts(&[(1000, 900), (16, 240_000)])), None, "too few");
        let stall = recent(&before, &counts(&[(1900, 900), (2, 400_000)])).unwrap();
        assert!(!is_slow(stall), "a stall now and then is none: {stall:?}");
    }

    #[test]
    fn only_a_much_faster_one_takes_over() {
        let fastest = |all: &[(u64, u64)]| fastest(all.iter().map(|(us, node)| (*us, NodeId(*node))), 250_000);
        assert_eq!(fastest(&[(900, 2), (700, 3)]), Some(NodeId(3)));
        assert_eq!(fastest(&[(250_000, 2), (60_000, 3)]), None, "all are slow");
        assert_eq!(fastest(&[]), None);
    }
}
