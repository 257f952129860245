//! The router over real connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use holdfast_wire::error::CallError;
use holdfast_wire::handshake::{ClusterSecret, Identity};
use holdfast_wire::id::NodeId;
use holdfast_wire::request::{GetObject, RangeSpec};
use holdfast_wire::service::{Body, Service};
use holdfast_wire::transport::{CALL, Client, Handler, Identities, serve, serve_call, serve_heartbeats};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fake::{CLUSTER, FakeNode};

struct Peer(Arc<FakeNode>);

impl Handler for Peer {
    fn handle(&self, path: &str, head: Bytes, payload: Body) -> BoxFuture<'static, Result<(Bytes, Body), CallError>> {
        let node = self.0.clone();
        let call = path == CALL;
        async move { if call { serve_call(node, head, payload).await } else { Ok(serve_heartbeats(node.heartbeats())) } }.boxed()
    }
}

impl Identities for Peer {
    fn identity(&self) -> Identity {
        Identity { cluster: Some(CLUSTER), node: Some(self.0.id) }
    }
}

#[tokio::test]
async fn writes_reads_and_uploads_survive_the_leaders_end() {
    let fleet = Fleet::new(3, 1);
    let secret = ClusterSecret::new("secret");
    let mut servers = JoinSet::new();
    let (mut addresses, mut stops) = (Vec::new(), Vec::new());
    for node in &fleet.nodes {
        let seams = Seams::real();
        let listener = seams.net.listen("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap().to_string());
        let (peer, stop) = (Arc::new(Peer(node.clone())), CancellationToken::new());
        servers.spawn(serve(listener, seams, secret.clone(), peer.clone(), peer, stop.clone()));
        stops.push(stop);
    }
    let known = addresses.clone();
    fleet.relayout(move |layout| {
        layout.nodes.iter_mut().zip(known).for_each(|(node, address)| node.address = address);
    });

    let client = Client::new(Seams::real(), secret);
    let membership = Membership::start(client, None, vec![addresses[1].clone()], Seams::real());
    let heard = membership.until(|view| view.nodes().filter(|node| node.heard.is_some()).count() == 3);
    timeout(Duration::from_secs(5), heard).await.unwrap();
    let router = Router::new(membership.clone(), Seams::real(), RouterOptions::default());
    let bucket = bucket(7, "bucket");
    fleet.put_bucket(bucket.clone());
    assert_eq!(router.bucket(&bucket.name).await.unwrap().id, bucket.id);
    router.write(&bucket, &key("k"), Modes::default(), put(&bucket, "k")).await.unwrap();

    fleet.node(1).die();
    fleet.lead(GroupId(1), 2, 2);
    router.write(&bucket, &key("k"), Modes::default(), put(&bucket, "k")).await.unwrap();
    assert_eq!(fleet.node(2).calls().iter().filter(|call| matches!(call, Request::Write(_))).count(), 1);

    fleet.node(2).script(|_| {
        Reply::Body(Box::new(|body| {
            async move {
                let unframed = holdfast_wire::frame::Unframer::new(body.stream);
                let len = unframed.map(|chunk| chunk.unwrap().len()).fold(0, |a, b| async move { a + b }).await;
                assert_eq!(len, 8 << 20);
                Ok((Response::Uploaded { holders: vec![NodeId(2)] }, Body::empty()))
            }
            .boxed()
        }))
    });
    let body = futures::stream::iter((0..128).map(|_| Ok(Bytes::from(vec![1; 64 << 10])))).boxed();
    router.upload(&bucket, &key("k"), body).await.unwrap();

    fleet.node(2).script(|_| Reply::Soundly);
    for _ in 0..20 {
        let get = GetObject {
            bucket: bucket.id,
            key: key("k"),
            head: false,
            range: RangeSpec::All,
            condition: Default::default(),
            version: None,
            seq: None,
        };
        let got = router.get(&bucket, Modes::default(), get).await.unwrap();
        let bytes: Vec<Bytes> = got.body.map(Result::unwrap).collect().await;
        assert!(matches!(&bytes.concat()[..], b"from 2" | b"from 3"));
    }
    timeout(Duration::from_secs(5), membership.stop()).await.unwrap();
    drop(router);
    stops.iter().for_each(CancellationToken::cancel);
    servers.abort_all();
}
