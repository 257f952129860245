//! Followers that were away: by entries, by a snapshot, and the blobs behind it; copies that went bad.

use std::path::Path;

use super::*;

fn agree(cluster: &Cluster) -> bool {
    let states: Vec<Vec<_>> = cluster
        .running()
        .map(|node| {
            let groups = node.inner.host().map(|host| host.groups()).unwrap_or_default();
            groups.iter().map(|group| (group.id(), group.index().applied())).collect()
        })
        .collect();
    states.iter().all(|state| *state == states[0])
}

fn whole(cluster: &Cluster) -> bool {
    cluster.running().all(|node| node.metrics().is_some_and(|metrics| metrics.missing_blobs == 0))
}

#[tokio::test(start_paused = true)]
async fn a_follower_behind_the_retained_log_gets_a_snapshot_and_its_blobs_while_writes_go_on() {
    let config = NodeConfig { log_retain_entries: 50, ..NodeConfig::default() };
    let mut cluster = Cluster::start(3, config).await;
    let bucket = cluster.create_bucket("photos").await;
    cluster.stop_node(2).await;
    let body = Bytes::from(vec![7; 300_000]);
    cluster.put_blob(bucket.id, "d/blob", body.clone()).await;
    for i in 0..400 {
        cluster.put(bucket.id, &format!("d/{i}"), b"small").await;
    }
    let shard = cluster.shard_of(bucket.id, &"d/blob".parse().unwrap());
    cluster
        .until("the log is trimmed", || {
            let groups = cluster.running().filter_map(|node| node.inner.host().ok()?.group(shard).ok());
            groups.into_iter().all(|group| group.log().state().purged.is_some_and(|position| position.index > 300))
        })
        .await;
    for group in cluster.running().filter_map(|node| node.inner.host().ok()?.group(shard).ok()) {
        let state = group.log().state();
        let kept = state.last.unwrap().index - state.purged.unwrap().index;
        assert!((40..=200).contains(&kept), "a tail stays for followers that are a little behind: {kept}");
    }
    cluster.start_node(2).await;
    for i in 400..450 {
        cluster.put(bucket.id, &format!("d/{i}"), b"small").await;
    }
    cluster.until("all three agree", || agree(&cluster) && whole(&cluster)).await;
    let read = cluster.get(2, bucket.id, "d/blob", ReadMode::Eventual).await.expect("it has record and bytes");
    assert_eq!(read, Some(body));
    assert_eq!(cluster.get(2, bucket.id, "d/449", ReadMode::Eventual).await.unwrap().as_deref(), Some(&b"small"[..]));
}

#[tokio::test(start_paused = true)]
async fn after_power_cuts_of_all_nodes_every_acknowledged_write_is_there() {
    let mut cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await;
    for round in 0..5 {
        let body = Bytes::from(vec![round; 200_000]);
        cluster.put_blob(bucket.id, &format!("blob{round}/x"), body).await;
        for i in 0..10 {
            cluster.put(bucket.id, &format!("small{round}/{i}"), &[round, i]).await;
        }
        for at in 0..3 {
            cluster.cut_power(at);
        }
        for at in 0..3 {
            cluster.start_node(at).await;
        }
        cluster.wait_ready().await;
        for seen in 0..=round {
            let blob = cluster.get(0, bucket.id, &format!("blob{seen}/x"), ReadMode::Strong).await;
            if blob != Err(CallError::NotHeld) {
                let read = blob.unwrap_or_else(|error| panic!("round {round}: {error}"));
                assert!(
                    read == Some(Bytes::from(vec![seen; 200_000])),
                    "round {round}, blob {seen}: {:?}",
                    read.map(|read| read.len())
                );
            }
            for i in 0..10 {
                let read = cluster.get(1, bucket.id, &format!("small{seen}/{i}"), ReadMode::Strong).await.unwrap();
                assert_eq!(read.as_deref(), Some(&[seen, i][..]));
            }
        }
        cluster.until("all copies are there", || agree(&cluster) && whole(&cluster)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_copy_is_never_served_and_is_replaced() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await;
    let body = Bytes::from(vec![3; 200_000]);
    let blob = cluster.put_blob(bucket.id, "d/blob", body.clone()).await;
    cluster.until("all copies are there", || agree(&cluster) && whole(&cluster)).await;
    let group = cluster.shard_of(bucket.id, &"d/blob".parse().unwrap());
    let id = blob.to_string();
    let path = format!("/data/blobs/{group}/{}/{id}", &id[..2]);
    cluster.disks[1].corrupt(Path::new(&path), |bytes| bytes[70_000] ^= 1).expect("the copy is where it should be");
    let read = cluster.get(1, bucket.id, "d/blob", ReadMode::Strong).await;
    assert!(read.is_err(), "a broken copy ends in an error, never in bytes: {read:?}");
    cluster
        .until("the copy is replaced", || {
            cluster.nodes[1].as_ref().and_then(Node::metrics).is_some_and(|metrics| metrics.blobs.repaired == 1)
        })
        .await;
    assert_eq!(cluster.get(1, bucket.id, "d/blob", ReadMode::Strong).await.unwrap(), Some(body));
}
