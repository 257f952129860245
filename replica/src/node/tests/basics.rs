//! Founding, writing and reading everywhere, restarting, replacing a node.

use holdfast_wire::id::ClusterId;

use super::*;
use crate::file::Files as _;
use crate::node::founding;
use crate::node::identity::Identity;

#[tokio::test(start_paused = true)]
async fn three_nodes_found_a_cluster_and_every_replica_reads_what_was_acknowledged() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await;
    for i in 0..20 {
        let key = format!("d{i}/k");
        cluster.put(bucket.id, &key, key.as_bytes()).await;
        for at in 0..3 {
            let read = cluster.get(at, bucket.id, &key, ReadMode::Strong).await.expect("a replica answers");
            assert_eq!(read.as_deref(), Some(key.as_bytes()), "node {at}");
        }
    }
    let leaders: std::collections::BTreeSet<_> =
        (0..3).map(|group| cluster.running().next().unwrap().inner.host().unwrap().leader_of(GroupId(group))).collect();
    assert_eq!(leaders.len(), 3, "three groups on three nodes have three leaders: {leaders:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_all_nodes_keeps_everything() {
    let mut cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await;
    cluster.put(bucket.id, "a/b", b"one").await;
    for at in 0..3 {
        cluster.stop_node(at).await;
    }
    for at in 0..3 {
        cluster.start_node(at).await;
    }
    cluster.wait_ready().await;
    assert_eq!(cluster.get(1, bucket.id, "a/b", ReadMode::Strong).await.unwrap().as_deref(), Some(&b"one"[..]));
    cluster.put(bucket.id, "a/b", b"two").await;
    assert_eq!(cluster.get(2, bucket.id, "a/b", ReadMode::Strong).await.unwrap().as_deref(), Some(&b"two"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_wiped_node_comes_back_as_another_and_replaces_itself() {
    let mut cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await;
    cluster.put(bucket.id, "a/b", b"one").await;
    cluster.stop_node(2).await;
    cluster.put(bucket.id, "a/c", b"while away").await;
    cluster.disks[2] = SimulatedFiles::new(9);
    cluster.engines[2] = Arc::new(Memory::with_power_cuts());
    cluster.start_node(2).await;
    cluster.wait_ready().await;
    let id = cluster.nodes[2].as_ref().unwrap().inner.host().unwrap().id();
    assert!(id.0 > 3, "a new id, not {id}");
    cluster
        .until("it votes everywhere and the old one is gone", || {
            cluster.running().all(|node| {
                let host = node.inner.host().unwrap();
                let groups = host.groups();
                groups.len() == 3
                    && groups.iter().all(|group| {
                        let voters = group.status(0).voters;
                        voters.contains(&id) && voters.len() == 3
                    })
            })
        })
        .await;
    cluster.stop_node(0).await;
    cluster.start_node(0).await;
    cluster.wait_ready().await;
    assert_eq!(cluster.get(2, bucket.id, "a/c", ReadMode::Strong).await.unwrap().as_deref(), Some(&b"while away"[..]));
}

#[tokio::test(start_paused = true)]
async fn groups_begin_although_whoever_should_begin_them_lost_its_disk_after_it_was_stamped() {
    let mut cluster = Cluster::prepare(3, NodeConfig::default());
    let founder = NodeConfig { name: name(0), address: format!("{}:1", name(0)), ..cluster.config.clone() };
    let mut first = founding::draw(&founder, ClusterId(7));
    first.founding.as_mut().unwrap().begun = true;
    let nodes = first.founding.as_ref().unwrap().layout.nodes.clone();
    // n1 should begin one of the groups: its disk is empty again.
    for at in [1, 2] {
        let identity = Identity { node: nodes[at].id, name: name(at), ..first.clone() };
        let disk = cluster.disks[at].process();
        disk.create_dir_all("/data".as_ref()).unwrap();
        identity.save(&disk, "/data".as_ref()).unwrap();
        cluster.start_node(at).await;
    }
    cluster.start_node(0).await;
    cluster.wait_ready().await;
    let id = cluster.nodes[0].as_ref().unwrap().inner.host().unwrap().id();
    assert!(id.0 > 3, "a new id, not {id}");
    let bucket = cluster.create_bucket("photos").await;
    cluster.put(bucket.id, "a/b", b"one").await;
    assert_eq!(cluster.get(0, bucket.id, "a/b", ReadMode::Strong).await.unwrap().as_deref(), Some(&b"one"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_that_is_started_again_is_a_member_of_nothing() {
    let mut cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await;
    cluster.put(bucket.id, "a/b", b"one").await;
    let peers = cluster.config.peers.clone();
    cluster.config.peers.push((name(3), format!("{}:1", name(3))));
    cluster.nodes.push(None);
    cluster.disks.push(SimulatedFiles::new(3));
    cluster.engines.push(Arc::new(Memory::with_power_cuts()));
    cluster.over.push(Arc::default());
    cluster.start_node(3).await;
    cluster.until("the fourth node has joined", || cluster.nodes[3].as_ref().unwrap().inner.host().is_ok()).await;
    let removed = cluster.nodes[2].as_ref().unwrap().inner.host().unwrap().id();
    let remove = RootRequest::RemoveNode { request: RequestId(OsRandom.next_u128()), node: removed };
    assert_eq!(cluster.ask(Request::Root(remove)).await, Response::Done);
    let groups = |cluster: &Cluster, at: usize| {
        cluster.nodes[at].as_ref().and_then(|node| node.inner.host().ok()).map_or(9, |host| host.groups().len())
    };
    cluster.until("the fourth has taken over", || groups(&cluster, 3) == 3 && groups(&cluster, 2) == 0).await;
    cluster.stop_node(2).await;
    cluster.config.peers = peers;
    cluster.start_node(2).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(groups(&cluster, 2), 0, "it must not found its old groups anew");
    assert_eq!(cluster.get(3, bucket.id, "a/b", ReadMode::Strong).await.unwrap().as_deref(), Some(&b"one"[..]));
}

/// Whoever reports what it lacks, and whoever waits until a node lacks nothing, must not see what has come.
#[tokio::test(start_paused = true)]
async fn a_blob_that_is_here_is_not_missing_once_an_entry_names_it() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    let group = cluster.shard_of(bucket, &"a/k".parse().unwrap());
    // What was looked for at the start is settled.
    sleep(Duration::from_secs(1)).await;
    cluster.put_blob(bucket, "a/k", Bytes::from(vec![7; 300_000])).await;
    let named = Instant::now();
    let lacks = |node: &Node| node.inner.host().is_ok_and(|host| host.repair().missing(group) > 0);
    cluster.until("nobody lacks it", || !cluster.running().any(lacks)).await;
    let took = named.elapsed();
    assert!(took < Duration::from_millis(150), "{took:?}");
}
