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
async fn an_upload_without_its_entry_yet_is_nobodys_orphan() {
    let cluster = Cluster::start(3, busy()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    let bytes = Bytes::from(vec![7; 300_000]);
    let blob = cluster.upload(bucket, "a/k", bytes.clone()).await;
    // Sixty rounds of every node's collector, in simulated time.
    sleep(Duration::from_secs(3)).await;
    cluster.commit(bucket, "a/k", blob, bytes.len() as u64).await;
    let found = cluster.get(0, bucket, "a/k", ReadMode::Strong).await;
    assert!(found.is_ok_and(|found| found == Some(bytes)), "it was collected");
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
