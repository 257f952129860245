//! What uploads and reads cost. Asserts nothing: `cargo test --release -p holdfast-replica blob::measure -- --ignored
//! --nocapture`. Everything runs in this process, so figures of an upload are those of all three nodes together.
#![expect(clippy::disallowed_methods, reason = "reads its own CPU time from the system")]

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use holdfast_wire::id::{BlobId, NodeId};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::testing::{GROUP, Node, Rig, body, bytes, client};
use super::{fanout, format, peer};
use crate::file::{Files, Open, RealFiles};

const SIZE: usize = 64 << 20;
const CHUNK: usize = 256 << 10;

/// Milliseconds of user and of system time.
fn cpu() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() * 10, fields[12].parse::<u64>().unwrap() * 10)
}

fn memory(what: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with(what)).unwrap_or_default().replace('\t', " ")
}

async fn measured(what: &str, mib: usize, work: impl Future<Output = ()>) {
    let (began, (user, system)) = (Instant::now(), cpu());
    work.await;
    let (took, after) = (began.elapsed().as_secs_f64(), cpu());
    let per = |ms: u64| ms as f64 / mib as f64;
    let (user, system) = (per(after.0 - user), per(after.1 - system));
    let all = user + system;
    let (rate, peak) = (mib as f64 / took, memory("VmHWM"));
    println!("{what:34} {all:.3} ms CPU/MiB (user {user:.3}, system {system:.3}), {rate:.0} MiB/s, {peak}");
}

async fn upload(own: &Rig, followers: &[Node], client: &holdfast_wire::transport::Client, id: u128, data: &Bytes) {
    let targets = followers.iter().enumerate().map(|(n, node)| (NodeId(n as u64 + 2), node.target.clone())).collect();
    let body = body(data, CHUNK);
    let majority = followers.len().div_ceil(2) + 1;
    let receiving = fanout::receive(&own.store, client, targets, NodeId(1), GROUP, BlobId(id), body, majority);
    let got = receiving.await.unwrap();
    assert!(got.0.len() >= majority);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn the_cost_of_uploads_and_reads() {
    let data = bytes(SIZE, 1);
    let mib = SIZE >> 20;
    measured("CRC-32C of blocks", 16 * mib, async {
        for _ in 0..16 {
            let mut sums = format::Summing::new(BlobId(1));
            sums.update(&data);
            std::hint::black_box(sums.footer(GROUP, 0));
        }
    })
    .await;

    let dir = tempfile::tempdir().unwrap();
    measured("floor: write and fdatasync alone", 8 * mib, async {
        for n in 0..8 {
            let file = RealFiles.open(&dir.path().join(n.to_string()), Open::Create).unwrap();
            for (at, chunk) in (0..).step_by(CHUNK).zip(data.chunks(CHUNK)) {
                file.write_all_at(chunk, at).unwrap();
            }
            file.sync_data().unwrap();
        }
    })
    .await;
    drop(dir);

    let tasks = TaskTracker::new();
    let followers = [Node::new(&tasks).await, Node::new(&tasks).await];
    let (own, client) = (Rig::new().await, client());
    measured("upload, this node alone", 8 * mib, async {
        for id in 0..8 {
            upload(&own, &[], &client, id, &data).await;
        }
    })
    .await;
    measured("upload, three nodes", 8 * mib, async {
        for id in 10..18 {
            upload(&own, &followers, &client, id, &data).await;
        }
    })
    .await;
    measured("upload, three nodes, 4 at a time", 8 * mib, async {
        let ids = futures::stream::iter(20..28);
        ids.for_each_concurrent(4, |id| upload(&own, &followers, &client, id, &data)).await;
    })
    .await;
    let small = data.slice(..128 << 10);
    let began = Instant::now();
    for id in 100..200 {
        upload(&own, &followers, &client, id, &small).await;
    }
    println!("{:34} {:?} each", "128 KiB uploads, one after another", began.elapsed() / 100);

    measured("read, this node", 16 * mib, async {
        for _ in 0..16 {
            own.store.verify(GROUP, BlobId(10)).await.unwrap();
        }
    })
    .await;
    measured("read, over a connection", 16 * mib, async {
        for _ in 0..16 {
            let range = (0, u64::MAX);
            let (_, chunks) = peer::read(&client, &followers[0].target, GROUP, BlobId(10), range).await.unwrap();
            chunks.try_for_each(|_| futures::future::ready(Ok(()))).await.unwrap();
        }
    })
    .await;
    measured("upload, three nodes, 64 at a time", 64 * mib, async {
        let ids = futures::stream::iter(1000..1064);
        ids.for_each_concurrent(64, |id| upload(&own, &followers, &client, id, &data)).await;
    })
    .await;
    println!("{:?}", own.store.stats());
    followers.iter().for_each(|node| node.stop.cancel());
}
