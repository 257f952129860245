//! Uploads over real connections on loopback.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{BlobId, NodeId};
use holdfast_wire::transport::{Client, Target};
use tokio_util::task::TaskTracker;

use super::super::peer::{self, FetchError};
use super::super::testing::{GROUP, Node, Rig, body, bytes, client, read, until};
use super::super::{BlobError, Damage};
use super::receive;

const ID: BlobId = BlobId(0xabc << 100);

/// This node and two followers.
struct Three {
    own: Rig,
    followers: [Node; 2],
    client: Client,
    tasks: TaskTracker,
}

impl Three {
    async fn new() -> Self {
        let tasks = TaskTracker::new();
        let followers = [Node::new(&tasks).await, Node::new(&tasks).await];
        Self { own: Rig::new().await, followers, client: client(), tasks }
    }

    async fn receive(
        &self,
        body: BoxStream<'static, Result<Bytes, CallError>>,
    ) -> Result<(Vec<NodeId>, u64), CallError> {
        let targets = [0, 1].map(|n| (NodeId(n as u64 + 2), self.followers[n].target.clone()));
        let receiving = receive(&self.own.store, &self.client, targets.into(), NodeId(1), GROUP, ID, body, 2);
        tokio::time::timeout(Duration::from_secs(60), receiving).await.expect("an upload does not hang")
    }

    async fn kill(&mut self, n: usize) {
        self.followers[n].stop.cancel();
        self.followers[n].target = dead();
    }

    async fn nothing_is_kept(&self) {
        for rig in [&self.own, &self.followers[0].rig, &self.followers[1].rig] {
            rig.becomes_empty().await;
        }
    }

    async fn end(self) {
        self.followers.iter().for_each(|node| node.stop.cancel());
        drop(self.client);
        self.tasks.close();
    }
}

/// Nobody listens there.
fn dead() -> Target {
    Target { address: "127.0.0.1:1".to_owned(), cluster: None, node: None }
}

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

#[tokio::test]
async fn all_replicas_have_the_same_file() {
    let three = Three::new().await;
    let data = bytes(5_000_000, 1);
    assert_eq!(three.receive(body(&data, 70_000)).await, Ok((nodes(&[1, 2, 3]), 5_000_000)));
    let mut files = Vec::new();
    for rig in [&three.own, &three.followers[0].rig, &three.followers[1].rig] {
        assert_eq!(read(&rig.store, ID, 0..u64::MAX).await.unwrap(), data);
        files.push(crate::file::read(&crate::file::RealFiles, &rig.file(ID)).unwrap().unwrap());
    }
    assert!(files[0] == files[1] && files[1] == files[2], "byte for byte");
    three.end().await;
}

#[tokio::test]
async fn one_dead_follower_is_done_without() {
    let mut three = Three::new().await;
    three.kill(0).await;
    let data = bytes(3_000_000, 1);
    assert_eq!(three.receive(body(&data, 100_000)).await, Ok((nodes(&[1, 3]), 3_000_000)));
    assert_eq!(read(&three.followers[1].rig.store, ID, 0..u64::MAX).await.unwrap(), data);
    three.end().await;
}

#[tokio::test]
async fn a_stalled_follower_is_dropped_and_keeps_nothing() {
    let three = Three::new().await;
    three.followers[1].stalled.store(true, Ordering::Relaxed);
    // More than fits into buffers and sockets on the way.
    let data = bytes(40_000_000, 1);
    assert_eq!(three.receive(body(&data, 100_000)).await, Ok((nodes(&[1, 2]), 40_000_000)));
    assert_eq!(read(&three.followers[0].rig.store, ID, 0..u64::MAX).await.unwrap(), data);
    assert_eq!(three.own.store.stats().followers_dropped, 1);
    assert!(!three.followers[1].rig.store.holds(GROUP, ID).await.unwrap());
    three.followers[1].stalled.store(false, Ordering::Relaxed);
    three.followers[1].rig.becomes_empty().await;
    three.end().await;
}

#[tokio::test]
async fn two_dead_followers_are_too_many() {
    let mut three = Three::new().await;
    three.kill(0).await;
    three.kill(1).await;
    let failed = three.receive(body(&bytes(3_000_000, 1), 100_000)).await;
    assert!(matches!(failed, Err(CallError::Unavailable { .. })), "{failed:?}");
    three.nothing_is_kept().await;
    three.end().await;
}

#[tokio::test]
async fn what_a_follower_kept_of_a_failed_upload_is_dropped() {
    let three = Three::new().await;
    three.own.faults.fail_sync.store(true, Ordering::Relaxed);
    let failed = three.receive(body(&bytes(300_000, 1), 100_000)).await;
    assert!(matches!(failed, Err(CallError::Unavailable { .. })), "{failed:?}");
    three.own.becomes_empty().await;
    three.end().await;
}

#[tokio::test]
async fn an_aborted_body_leaves_nothing_anywhere() {
    for error in [CallError::Aborted, CallError::Malformed { reason: "end frame".to_owned() }] {
        let three = Three::new().await;
        let last = error.clone();
        let body = body(&bytes(3_000_000, 1), 100_000).chain(futures::stream::once(async { Err(last) })).boxed();
        assert_eq!(three.receive(body).await, Err(error));
        three.nothing_is_kept().await;
        three.end().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_leaves_nothing_anywhere() {
    let three = Three::new().await;
    let body = body(&bytes(3_000_000, 1), 100_000).chain(futures::stream::pending()).boxed();
    {
        let mut receiving = std::pin::pin!(three.receive(body));
        let arrived = until(|| three.followers.iter().all(|node| !node.rig.all_files().is_empty()));
        tokio::select! {
            _ = &mut receiving => panic!("the body has not ended"),
            () = arrived => {}
        }
    }
    three.nothing_is_kept().await;
    three.end().await;
}

#[tokio::test]
async fn a_full_follower_is_done_without_and_two_are_no_space() {
    let three = Three::new().await;
    let data = bytes(3_000_000, 1);
    three.followers[0].rig.faults.room.store(500_000, Ordering::Relaxed);
    assert_eq!(three.receive(body(&data, 100_000)).await, Ok((nodes(&[1, 3]), 3_000_000)));
    three.followers[0].rig.becomes_empty().await;
    three.end().await;

    let three = Three::new().await;
    three.followers.iter().for_each(|node| node.rig.faults.full.store(true, Ordering::Relaxed));
    assert_eq!(three.receive(body(&data, 100_000)).await, Err(CallError::NoSpace));
    three.nothing_is_kept().await;
    three.end().await;

    let three = Three::new().await;
    three.own.faults.room.store(500_000, Ordering::Relaxed);
    assert_eq!(three.receive(body(&data, 100_000)).await, Err(CallError::NoSpace));
    three.nothing_is_kept().await;
    three.end().await;
}

#[tokio::test]
async fn a_fetched_copy_is_the_holders() {
    let three = Three::new().await;
    let (holder, data) = (&three.followers[0], bytes(1_000_000, 1));
    holder.rig.put(ID, &data).await;
    let fetched = peer::fetch(&three.own.store, &three.client, &holder.target, GROUP, ID).await;
    assert_eq!(fetched.unwrap(), 1_000_000);
    assert_eq!(read(&three.own.store, ID, 0..u64::MAX).await.unwrap(), data);
    let absent = peer::fetch(&three.own.store, &three.client, &holder.target, GROUP, BlobId(9)).await;
    assert!(matches!(absent, Err(FetchError::Holder(CallError::NotHeld))));

    let (len, chunks) = peer::read(&three.client, &holder.target, GROUP, ID, (70_000, 5)).await.unwrap();
    let chunks: Vec<_> = chunks.map(Result::unwrap).collect().await;
    assert_eq!((len, chunks.concat()), (1_000_000, data[70_000..70_005].to_vec()));
    three.end().await;
}

#[tokio::test]
async fn a_bad_copy_is_repaired_from_the_first_good_one_and_a_good_one_is_left_alone() {
    let three = Three::new().await;
    let data = bytes(1_000_000, 1);
    let targets: Vec<Target> = three.followers.iter().map(|node| node.target.clone()).collect();
    for rig in [&three.own, &three.followers[0].rig, &three.followers[1].rig] {
        rig.put(ID, &data).await;
    }
    for rig in [&three.own, &three.followers[0].rig] {
        let file = crate::file::Files::open(&crate::file::RealFiles, &rig.file(ID), crate::file::Open::Write).unwrap();
        file.write_all_at(b"rot", 500_000).unwrap();
    }
    let repair = |targets| peer::repair(&three.own.store, &three.client, targets, GROUP, ID);
    assert!(repair(&targets[..1]).await.is_err(), "the only other copy is bad too");
    assert!(matches!(
        three.own.store.verify(GROUP, ID).await,
        Err(BlobError::Corrupt { damage: Damage::Block(_), .. })
    ));
    assert!(repair(&targets).await.unwrap());
    assert_eq!(read(&three.own.store, ID, 0..u64::MAX).await.unwrap(), data);
    assert_eq!(three.own.store.stats().repaired, 1);
    assert!(!repair(&targets).await.unwrap());
    three.end().await;
}
