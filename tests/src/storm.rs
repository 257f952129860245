//! Faults under load: the workload and the gap probes against a cluster while a test does harm to it, then the scan
//! and the verdict of all checkers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_wire::id::GroupId;
use http::Method;

use crate::check::Report;
use crate::client::raw::{Call, Raw};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::history::gap::{Probes, Through, percentile};
use crate::history::workload::{Plan, Workload};
use crate::wait;

/// The bucket of the workload.
pub const BUCKET: &str = "storm";

const PROBED: &str = "probed";

/// Load on a cluster.
pub struct Storm {
    workload: Workload,
    probes: Probes,
}

/// `TEST_ROUNDS`, or so many. What the harness reads does not begin with `HOLDFAST_`: the program refuses what it does not know.
pub fn rounds(otherwise: usize) -> usize {
    std::env::var("TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(otherwise)
}

impl Storm {
    /// Makes the buckets, starts the load and waits until it is under way. `change` adapts the plan.
    pub async fn start(cluster: &Cluster, shards: usize, change: impl FnOnce(&mut Plan)) -> Result<Self, Failure> {
        Self::through(Through::OneAtATime, cluster, shards, change).await
    }

    /// As [`start`](Self::start), with probes that go through these gateways.
    pub async fn through(
        through: Through,
        cluster: &Cluster,
        shards: usize,
        change: impl FnOnce(&mut Plan),
    ) -> Result<Self, Failure> {
        let (gateways, keys) = (cluster.gateways(), cluster.keys());
        let mut raw = Raw::new(&gateways[0], keys.clone(), Duration::from_secs(15));
        let mut plan = Plan::new(gateways.clone(), keys.clone(), BUCKET);
        change(&mut plan);
        for call in std::iter::once(Call::bucket(Method::PUT, PROBED)).chain(plan.preparations()) {
            let done = raw.call(call).await?;
            if !done.status.is_success() {
                return Err(Failure::new(format!("no bucket: {} {}", done.status, done.text())));
            }
        }
        let probes = Probes::start(&gateways, keys, PROBED, shards, through).await?;
        println!("seed {}", plan.seed);
        let storm = Self { workload: Workload::start(plan), probes };
        storm.goes_on(Instant::now(), 50).await?;
        Ok(storm)
    }

    /// Waits until every group has taken writes since `at`, and the workload has begun so many operations from now.
    pub async fn goes_on(&self, at: Instant, operations: u64) -> Result<(), Failure> {
        let wanted = self.workload.operations() + operations;
        let probe = || async {
            match self.probes.all_since(at) && self.workload.operations() >= wanted {
                true => Ok(()),
                false => Err(format!("{} of {wanted} operations; {:?}", self.workload.operations(), self.silent(at))),
            }
        };
        Ok(wait::until("writes to every group", Duration::from_secs(60), probe).await?)
    }

    /// Waits until the workload has begun so many operations from now, whatever group they are about.
    pub async fn proceeds(&self, operations: u64) -> Result<(), Failure> {
        let wanted = self.workload.operations() + operations;
        let probe = || async {
            let begun = self.workload.operations();
            if begun >= wanted { Ok(()) } else { Err(format!("{begun} of {wanted} operations")) }
        };
        Ok(wait::until("operations of the workload", Duration::from_secs(60), probe).await?)
    }

    fn silent(&self, at: Instant) -> String {
        format!("pauses since {:?} ago: {:?}", at.elapsed(), self.gaps(at))
    }

    /// The longest pause of writes, per group, that touched the time since `from`.
    pub fn gaps(&self, from: Instant) -> BTreeMap<GroupId, Duration> {
        self.probes.gaps(from)
    }

    /// The time that the longest request of the workload has taken so far, answered or not.
    pub fn longest(&self) -> Duration {
        self.workload.longest()
    }

    /// Ends the load, scans, waits until all replicas agree, ends the nodes, checks their directories, and judges. The
    /// cluster must be whole.
    pub async fn judge(self, cluster: &mut Cluster) -> Result<(), Failure> {
        self.probes.stop().await;
        let mut finished = self.workload.stop().await;
        let unread = finished.scan().await;
        finished.history.save(&cluster.dir().join("history.jsonl"))?;
        println!("{}", finished.summary());
        let mut report = Report::of(&finished.history);
        report.and_answers(&finished.statuses, finished.history.keys() as u64, &unread);
        match cluster.verified(rounds(1) > 1).await {
            Ok(replicas) => report.and_replicas(&replicas),
            Err(failure) => {
                println!("{report}");
                return Err(failure.into());
            }
        }
        println!("{report}");
        match report.passed() {
            true => Ok(()),
            false => Err(Failure::new(format!("it is not what was promised:\n{report}"))),
        }
    }
}

/// One line: count, median, 99th percentile, longest.
pub fn line(what: &str, gaps: &[Duration]) -> String {
    let ms = |percent| percentile(gaps, percent).as_millis();
    format!("{what}: {} times, write gap p50 {} ms, p99 {} ms, longest {} ms", gaps.len(), ms(50), ms(99), ms(100))
}
