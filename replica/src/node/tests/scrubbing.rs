//! When a node reads everything again, how fast, and what it tells of it.

use std::path::Path;

use super::*;
use crate::file::Files;
use holdfast_wire::scrub::{ScrubOrder, ScrubReport, ScrubState};

fn order(cluster: &Cluster, order: ScrubOrder) -> ScrubState {
    let host = cluster.nodes[0].as_ref().expect("it runs").inner.host().expect("it is a member");
    host.scrub().obey(order, host.seams().clock.unix_millis())
}

fn last(cluster: &Cluster) -> ScrubReport {
    order(cluster, ScrubOrder::Status).last.unwrap_or_default()
}

/// Longer than it takes until a node looks twice whether a scrub is due.
const TWO_LOOKS: Duration = Duration::from_secs(130);

async fn wait(cluster: &Cluster, what: &str, within: Duration, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        let state = order(cluster, ScrubOrder::Status);
        assert!(began.elapsed() < within, "waited {within:?} in vain until {what}: {state:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// One node that holds so many blobs of so many bytes.
async fn holding(blobs: u32, len: usize, config: NodeConfig) -> Cluster {
    let cluster = Cluster::start(1, config).await;
    let bucket = cluster.create_bucket("photos").await.id;
    for number in 0..blobs {
        cluster.put_blob(bucket, &format!("a{number}/k"), Bytes::from(vec![number as u8; len])).await;
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn it_begins_by_itself_when_its_time_has_come_and_not_before() {
    let week = holding(3, 1000, NodeConfig::default()).await;
    sleep(TWO_LOOKS).await;
    let state = order(&week, ScrubOrder::Status);
    assert!(state.running.is_none() && last(&week).blobs == 0, "nothing is due within a week: {state:?}");

    // Real time passes too, some of it.
    let always = holding(3, 1000, NodeConfig { scrub_every: Duration::from_millis(1), ..NodeConfig::default() }).await;
    wait(&always, "a scrub that nobody ordered has read all blobs", TWO_LOOKS, || last(&always).blobs == 3).await;
}

#[tokio::test(start_paused = true)]
async fn it_reads_no_faster_than_it_may() {
    const BLOBS: u32 = 10;
    const LEN: usize = 300_000;
    const RATE: u64 = 100_000;
    let cluster = holding(BLOBS, LEN, NodeConfig { scrub_bytes_per_second: RATE, ..NodeConfig::default() }).await;
    let (began, allowed) = (Instant::now(), Duration::from_secs(u64::from(BLOBS) * LEN as u64 / RATE));
    order(&cluster, ScrubOrder::Start);
    wait(&cluster, "it has read everything", 2 * allowed, || last(&cluster).blobs > 0).await;
    assert!(began.elapsed() >= allowed, "{BLOBS} blobs of {LEN} bytes within {:?}", began.elapsed());
    assert_eq!((last(&cluster).blobs, last(&cluster).bytes), (u64::from(BLOBS), u64::from(BLOBS) * LEN as u64));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_it_goes_on_where_it_was() {
    const BLOBS: u32 = 260;
    let mut cluster =
        holding(BLOBS, 1000, NodeConfig { scrub_bytes_per_second: 10_000, ..NodeConfig::default() }).await;
    order(&cluster, ScrubOrder::Start);
    // Its place is kept after every 200.
    let running = || order(&cluster, ScrubOrder::Status).running;
    let far = || running().is_some_and(|report| (210..250).contains(&report.blobs));
    wait(&cluster, "it has come far", Duration::from_secs(60), far).await;
    cluster.stop_node(0).await;
    cluster.start_node(0).await;
    cluster.wait_ready().await;
    let state = order(&cluster, ScrubOrder::Status);
    assert!(state.running.is_some_and(|report| report.blobs >= 200), "it has begun anew: {state:?}");
    let ended = || order(&cluster, ScrubOrder::Status).running.is_none();
    wait(&cluster, "it has ended", Duration::from_secs(60), ended).await;
    assert_eq!(last(&cluster).blobs, u64::from(BLOBS), "each once: {:?}", last(&cluster));
}

#[tokio::test(start_paused = true)]
async fn it_tells_of_a_log_that_has_rotted_since_it_was_written() {
    let cluster = holding(3, 1000, NodeConfig::default()).await;
    order(&cluster, ScrubOrder::Start);
    let within = Duration::from_secs(20);
    wait(&cluster, "a scrub of a sound log has ended", within, || last(&cluster).log_entries > 0).await;
    assert_eq!(last(&cluster).log_damaged, 0);
    let before = last(&cluster).finished_ms;
    let root = Path::new("/data/log");
    for file in cluster.disks[0].read_dir(root).unwrap() {
        // Behind the header of a segment.
        let flip = |bytes: &mut Vec<u8>| bytes.iter_mut().skip(4096).step_by(61).for_each(|byte| *byte ^= 4);
        cluster.disks[0].corrupt(&root.join(&file.name), flip).unwrap();
    }
    // Unlike the one before by the clock, too.
    std::thread::sleep(Duration::from_millis(2));
    order(&cluster, ScrubOrder::Start);
    wait(&cluster, "the next one has ended", within, || last(&cluster).finished_ms > before).await;
    assert!(last(&cluster).log_damaged > 0, "{:?}", last(&cluster));
}
