//! Power cuts on real file systems: `FS_IOC_SHUTDOWN` without a flush of the journal, under a node's process, on a disk
//! of its own. Needs root and loop devices; where they are missing, the test says `skipped` and proves nothing.
//! `TEST_ROUNDS=200` runs the figures of the report.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, Instant};

use holdfast_tests::cluster::disk::{Disk, Kind};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::Failure;
use holdfast_tests::fault;
use holdfast_tests::history::gap::percentile;
use holdfast_tests::storm::{Storm, line, rounds};

type Test = Result<(), Failure>;

const SHARDS: usize = 4;
const BYTES: u64 = 4 << 30;

/// Cuts the power of `victims` at once, lets the rest go on if there is a majority, and brings them back.
async fn cut(cluster: &mut Cluster, disks: &mut [Disk], storm: &Storm, victims: &[usize]) -> Result<Duration, Failure> {
    let began = Instant::now();
    for &at in victims {
        disks[at].cut()?;
        cluster.node(at).kill();
    }
    if victims.len() * 2 < disks.len() {
        storm.goes_on(began + Duration::from_millis(100), 100).await?;
    }
    for &at in victims {
        disks[at].restore()?;
        cluster.node(at).start()?;
    }
    cluster.ready().await?;
    storm.goes_on(Instant::now(), 100).await?;
    Ok(storm.gaps(began).into_values().max().unwrap_or_default())
}

async fn power_cuts(kind: Kind) -> Test {
    let home = tempfile::TempDir::with_prefix("holdfast-power-")?;
    let disks: Result<Vec<Disk>, _> =
        (0..3).map(|at| Disk::make(home.path(), &format!("disk{at}"), kind, BYTES)).collect();
    let mut disks = match disks {
        Ok(disks) => disks,
        Err(error) => {
            fault::skipped("4, 5", &format!("power cuts on {kind:?}"), &error);
            return Ok(());
        }
    };
    let data = disks.iter().enumerate().map(|(at, disk)| (at, disk.path().join("data"))).collect();
    let mut cluster = Cluster::lay_out(Options { data, ..Options::default() }).await?;
    for at in 0..3 {
        let log = cluster.dir().join(format!("n{}.log", at + 1));
        cluster.node(at).log = log;
        cluster.node(at).start()?;
    }
    cluster.ready().await?;
    let storm = Storm::start(&cluster, SHARDS, |plan| plan.seed = 31).await?;
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for round in 0..rounds(2) {
        let victim = match round % 2 {
            0 => cluster.leader(1 + (round / 2 % SHARDS) as u32, Duration::from_secs(10)).await?,
            _ => round / 2 % 3,
        };
        one.push(cut(&mut cluster, &mut disks, &storm, &[victim]).await?);
        all.push(cut(&mut cluster, &mut disks, &storm, &[0, 1, 2]).await?);
    }
    fault::counted("4, 5", &format!("power cuts on {kind:?}"), (one.len() + 3 * all.len()) as u64, "disks cut")?;
    println!("{}", line(&format!("power of one node cut on {kind:?}"), &one));
    println!("{}", line(&format!("power of all nodes cut on {kind:?}"), &all));
    storm.judge(&mut cluster).await?;
    assert!(percentile(&one, 99) < Duration::from_secs(6), "{one:?}");
    assert!(percentile(&all, 99) < Duration::from_secs(10), "{all:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_ext4_loses_its_power() {
    if let Err(failure) = power_cuts(Kind::Ext4).await {
        panic!("{failure}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_xfs_loses_its_power() {
    if let Err(failure) = power_cuts(Kind::Xfs).await {
        panic!("{failure}");
    }
}
