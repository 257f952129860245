//! Whole nodes in one thread, on a network, disks and time that are simulated.

mod basics;
mod catching_up;
mod collecting;
mod handing_over;
mod hazards;
mod life;
mod modes;
mod reads;
mod restore;
mod scrubbing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::bucket::{Bucket, ReadMode};
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Framer;
use holdfast_wire::id::{BlobId, BucketId, GroupId, ObjectKey, RequestId};
use holdfast_wire::object::{Attributes, NewBody};
use holdfast_wire::placement::{Placement, hash};
use holdfast_wire::request::{
    Freshness, GetObject, PutObject, RangeSpec, Read, ReadRequest, Request, Response, RootRequest, Write, WriteOutcome,
    WriteRequest,
};
use holdfast_wire::seam::{MemoryNet, OsRandom, Random, Seams, SystemClock};
use holdfast_wire::service::{Answer, Body};
use tokio::time::{Instant, sleep};

use super::{Node, NodeConfig};
use crate::file::{Cut, SimulatedFiles};
use crate::group::Timings;
use crate::index::engine::Memory;
use life::Life;

/// Nodes n1, n2, … of one cluster.
struct Cluster {
    net: MemoryNet,
    config: NodeConfig,
    nodes: Vec<Option<Node>>,
    disks: Vec<SimulatedFiles>,
    engines: Vec<Arc<Memory>>,
    /// Set when the life of a node is over.
    over: Vec<Arc<AtomicBool>>,
}

fn name(at: usize) -> String {
    format!("n{}", at + 1)
}

impl Cluster {
    async fn start(count: usize, config: NodeConfig) -> Self {
        let mut cluster = Self::prepare(count, config);
        for at in 0..count {
            cluster.start_node(at).await;
        }
        cluster.wait_ready().await;
        cluster
    }

    /// Nodes that have not been started yet.
    fn prepare(count: usize, config: NodeConfig) -> Self {
        let peers = (0..count).map(|at| (name(at), format!("{}:1", name(at)))).collect();
        let timings = Timings { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 };
        let mut cluster = Self {
            net: MemoryNet::default(),
            config: NodeConfig { peers, timings, shards: 2, ..config },
            nodes: Vec::new(),
            disks: Vec::new(),
            engines: Vec::new(),
            over: Vec::new(),
        };
        for at in 0..count {
            cluster.nodes.push(None);
            cluster.disks.push(SimulatedFiles::new(at as u64));
            cluster.engines.push(Arc::new(Memory::with_power_cuts()));
            cluster.over.push(Arc::default());
        }
        cluster
    }

    async fn start_node(&mut self, at: usize) {
        let config = NodeConfig {
            name: name(at),
            data: "/data".into(),
            listen: format!("{}:1", name(at)),
            address: format!("{}:1", name(at)),
            ..self.config.clone()
        };
        self.over[at] = Arc::default();
        let engine = Arc::new(Life::new(self.engines[at].clone(), self.over[at].clone()));
        let seams = Seams { net: self.net.host(&name(at)), clock: Arc::new(SystemClock), random: Arc::new(OsRandom) };
        let node = Node::start(config, seams, Arc::new(self.disks[at].process()), engine).await;
        self.nodes[at] = Some(node.expect("the node starts"));
    }

    async fn stop_node(&mut self, at: usize) {
        self.nodes[at].take().expect("it runs").stop().await;
        self.net.kill(&name(at));
    }

    /// The node dies and loses what it had not synced.
    fn cut_power(&mut self, at: usize) {
        drop(self.nodes[at].take().expect("it runs"));
        self.over[at].store(true, Ordering::Relaxed);
        self.net.kill(&name(at));
        self.disks[at].power_cut(Cut::Clean);
        self.engines[at].cut_power(0);
    }

    /// The first shard's member on a node, once it runs.
    fn group(&self, at: usize) -> Option<Arc<crate::group::Group>> {
        self.nodes[at].as_ref()?.inner.host().ok()?.group(GroupId(1)).ok()
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    async fn wait_ready(&self) {
        self.until("every node is ready", || self.running().all(|node| node.not_ready().is_none())).await;
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", self.complaints());
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn complaints(&self) -> Vec<Option<String>> {
        self.running().map(Node::not_ready).collect()
    }

    /// Asks node after node until one answers otherwise than "not me" or "not now".
    async fn ask(&self, request: Request) -> Response {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            for node in self.running() {
                match node.service().call(request.clone(), Body::empty()).await {
                    Ok((response, _)) => return response,
                    Err(error) => assert!(Instant::now() < deadline, "{request:?}: {error}"),
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn create_bucket(&self, name: &str) -> Bucket {
        let request = RootRequest::CreateBucket {
            request: RequestId(OsRandom.next_u128()),
            name: name.parse().expect("a bucket name"),
            owner: "owner".to_owned(),
            placement: Placement::RootDirectory,
            tags: Vec::new(),
            lock: false,
            documents: Vec::new(),
        };
        match self.ask(Request::Root(request)).await {
            Response::Bucket(bucket) => *bucket,
            other => panic!("{other:?}"),
        }
    }

    fn shard_of(&self, bucket: BucketId, key: &ObjectKey) -> GroupId {
        let layout = self.running().next().and_then(|node| node.inner.host().ok()).expect("a node").layout();
        let layout = layout.borrow();
        layout.map.shard_of(hash(bucket, Placement::RootDirectory, key)).expect("the ranges tile the space").group
    }

    /// Streams a body to the shard's leader, as a gateway does, and commits it.
    async fn put_blob(&self, bucket: BucketId, key: &str, bytes: Bytes) -> BlobId {
        let blob = self.upload(bucket, key, bytes.clone()).await;
        self.commit(bucket, key, blob, bytes.len() as u64).await;
        blob
    }

    /// Streams a body to the shard's leader.
    async fn upload(&self, bucket: BucketId, key: &str, bytes: Bytes) -> BlobId {
        let key: ObjectKey = key.parse().expect("a key");
        let group = self.shard_of(bucket, &key);
        let blob = BlobId(OsRandom.next_u128());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            for node in self.running() {
                let chunks: Vec<_> = bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
                let body = Body::streamed(Framer::new(futures::stream::iter(chunks)));
                match node.service().call(Request::UploadBlob { group, blob }, body).await {
                    Ok(_) => return blob,
                    Err(error) => assert!(Instant::now() < deadline, "{error}"),
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Writes the object that names a blob.
    async fn commit(&self, bucket: BucketId, key: &str, blob: BlobId, len: u64) {
        let key: ObjectKey = key.parse().expect("a key");
        let write = WriteRequest {
            group: self.shard_of(bucket, &key),
            request: RequestId(OsRandom.next_u128()),
            ack: None,
            deadline_ms: 3000,
            write: Write::Put(put(bucket, key, NewBody::Blob { id: blob, len })),
        };
        match self.ask(Request::Write(write)).await {
            Response::Written { outcome: WriteOutcome::Stored { .. }, .. } => {}
            other => panic!("{other:?}"),
        }
    }

    async fn put(&self, bucket: BucketId, key: &str, bytes: &[u8]) -> u64 {
        let key: ObjectKey = key.parse().expect("a key");
        let write = WriteRequest {
            group: self.shard_of(bucket, &key),
            request: RequestId(OsRandom.next_u128()),
            ack: None,
            deadline_ms: 3000,
            write: Write::Put(put(bucket, key, NewBody::Inline(Bytes::copy_from_slice(bytes)))),
        };
        match self.ask(Request::Write(write)).await {
            Response::Written { outcome: WriteOutcome::Stored { seq, .. }, .. } => seq.index,
            other => panic!("{other:?}"),
        }
    }

    async fn get(&self, at: usize, bucket: BucketId, key: &str, mode: ReadMode) -> Result<Option<Bytes>, CallError> {
        let key: ObjectKey = key.parse().expect("a key");
        let read = ReadRequest {
            group: self.shard_of(bucket, &key),
            freshness: Freshness::Mode(mode),
            deadline_ms: 2000,
            read: Read::Get(GetObject {
                bucket,
                key,
                head: false,
                range: RangeSpec::All,
                condition: Default::default(),
                version: None,
                seq: None,
            }),
        };
        let answer: Answer =
            self.nodes[at].as_ref().expect("it runs").service().call(Request::Read(read), Body::empty()).await;
        match answer? {
            (Response::Object { .. }, body) => body.collect(1 << 30).await.map(Some),
            (Response::Absent(_), _) => Ok(None),
            (other, _) => panic!("{other:?}"),
        }
    }
}

fn put(bucket: BucketId, key: ObjectKey, body: NewBody) -> PutObject {
    PutObject {
        bucket,
        key,
        condition: Default::default(),
        owner: "owner".to_owned(),
        attributes: Attributes::default(),
        etag: "etag".to_owned(),
        checksum: None,
        body,
    }
}
