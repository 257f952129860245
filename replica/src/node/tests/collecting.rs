//! What the collector may take, and what not.

use super::*;
use crate::index::command::Command;
use holdfast_wire::bucket::AckMode;
use holdfast_wire::deleted::Undelete;
use holdfast_wire::request::{DeleteKey, Refusal};

/// A collector that hardly rests.
fn busy() -> NodeConfig {
    NodeConfig { gc_every: Duration::from_millis(50), gc_grace: Duration::ZERO, ..NodeConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_kept_until_its_time_is_over_and_then_its_bytes_go_everywhere() {
    let cluster = Cluster::start(3, busy()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    let bytes = Bytes::from(vec![7; 300_000]);
    cluster.put_blob(bucket, "a/k", bytes.clone()).await;
    let key: ObjectKey = "a/k".parse().unwrap();
    let group = cluster.shard_of(bucket, &key);
    let write = async |write: Write| {
        let request = RequestId(OsRandom.next_u128());
        let write = WriteRequest { group, request, ack: None, deadline_ms: 3000, write };
        match cluster.ask(Request::Write(write)).await {
            Response::Written { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    };
    let delete = || {
        let keys = vec![DeleteKey::current(key.clone(), Default::default())];
        Write::Delete { bucket, keys, bypass_governance: false }
    };
    let undelete = || Write::Undelete(Undelete { bucket, key: key.clone(), seq: None, replace: false });
    write(delete()).await;
    let back = write(undelete()).await;
    assert!(matches!(back, WriteOutcome::Stored { .. }), "{back:?}");
    let found = cluster.get(0, bucket, "a/k", ReadMode::Strong).await;
    assert!(found.is_ok_and(|found| found == Some(bytes)), "its bytes are there");

    write(delete()).await;
    let used = |at: usize| cluster.disks[at].used();
    let before: Vec<u64> = (0..3).map(used).collect();
    // Its time is over, as the leader's collector would say.
    for at in 0..3 {
        let Ok(member) = cluster.nodes[at].as_ref().expect("it runs").inner.host().and_then(|host| host.group(group))
        else {
            continue;
        };
        if member.leads() {
            let deadline = Instant::now() + Duration::from_secs(5);
            let forget = Command::Forget { before_ms: u64::MAX };
            member.propose(None, forget, AckMode::Majority, deadline).await.unwrap();
        }
    }
    let gone = || (0..3).all(|at| used(at) + 250_000 < before[at]);
    cluster.until("its bytes are gone from every disk", gone).await;
    assert_eq!(write(undelete()).await, WriteOutcome::Refused(Refusal::NotKept));
}

#[tokio::test(start_paused = true)]
async fn what_can_be_brought_back_takes_a_bounded_part_of_the_disk_and_the_oldest_goes_first() {
    const LEN: usize = 300_000;
    let cluster = Cluster::start(3, busy()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    let key = |number: u32| format!("a/{number}");
    let group = cluster.shard_of(bucket, &key(0).parse().unwrap());
    let groups = cluster.running().next().unwrap().inner.host().unwrap().groups().len() as u64;
    // Room for five in each group, and a little.
    let most = 5 * LEN as u64 + 1000;
    (0..3).for_each(|at| cluster.disks[at].set_capacity(most * groups * 20));
    for number in 0..9 {
        cluster.put_blob(bucket, &key(number), Bytes::from(vec![number as u8; LEN])).await;
        let keys = vec![DeleteKey::current(key(number).parse().unwrap(), Default::default())];
        let write = Write::Delete { bucket, keys, bypass_governance: false };
        let request = RequestId(OsRandom.next_u128());
        cluster.ask(Request::Write(WriteRequest { group, request, ack: None, deadline_ms: 3000, write })).await;
        sleep(Duration::from_millis(5)).await;
    }
    let member = |at: usize| cluster.nodes[at].as_ref()?.inner.host().ok()?.group(group).ok();
    let kept = || (0..3).all(|at| member(at).is_some_and(|member| member.index().kept().bytes == 5 * LEN as u64));
    cluster.until("five are kept", kept).await;
    // Many rounds later, too.
    sleep(Duration::from_secs(3)).await;
    assert!(kept());
    for (number, expected) in [(3, false), (4, true), (8, true)] {
        let key = key(number).parse().unwrap();
        let write = Write::Undelete(Undelete { bucket, key, seq: None, replace: false });
        let request = RequestId(OsRandom.next_u128());
        let write = WriteRequest { group, request, ack: None, deadline_ms: 3000, write };
        let answer = cluster.ask(Request::Write(write)).await;
        let back = matches!(answer, Response::Written { outcome: WriteOutcome::Stored { .. }, .. });
        assert_eq!(back, expected, "object {number}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_nobodys_orphan_before_its_entry_comes() {
    let cluster = Cluster::start(3, busy()).await;
    for disk in &cluster.disks {
        drop(disk.clone().with_clock(Arc::new(SystemClock)));
    }
    let bucket = cluster.create_bucket("photos").await.id;
    let bytes = Bytes::from(vec![7; 300_000]);
    let blob = cluster.upload(bucket, "a/k", bytes.clone()).await;
    let group = cluster.shard_of(bucket, &"a/k".parse().unwrap());
    let held = async || {
        let mut held = 0;
        for node in cluster.running() {
            let host = node.inner.host().expect("it runs");
            held += host.blobs().list(group, None, 10).await.unwrap().iter().filter(|held| held.id == blob).count();
        }
        held
    };
    let before = held().await;
    assert!(before >= 2, "a majority has it: {before}");
    // Long enough for three looks at what nothing names.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(held().await, before, "no copy may go");
    cluster.commit(bucket, "a/k", blob, bytes.len() as u64).await;
    let found = cluster.get(0, bucket, "a/k", ReadMode::Strong).await;
    assert!(found.is_ok_and(|found| found == Some(bytes)), "its bytes are there");
}
