//! The router against scripted replicas, in stepped time.

mod body;
mod bucket;
mod delete;
mod list;
mod loopback;
mod read;
mod upload;
mod write;

use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::id::{GroupId, ObjectKey, RequestId};
use holdfast_wire::object::{Attributes, NewBody};
use holdfast_wire::request::{PutObject, Request, Response, Write, WriteOutcome, WriteRequest};
use holdfast_wire::seam::Seams;
use tokio::time::Instant;

use super::write::{point_of, shard_of};
use super::*;
use crate::fake::{Fleet, Reply, bucket, ok};

/// No request takes longer than this.
const NEVER_LONGER: Duration = Duration::from_secs(10);

struct Bench {
    fleet: Arc<Fleet>,
    membership: Arc<Membership>,
    router: Router,
    bucket: Bucket,
}

/// Three nodes, all heard, and a bucket.
async fn bench(shards: u32) -> Bench {
    bench_of(Fleet::new(3, shards), None).await
}

async fn bench_of(fleet: Arc<Fleet>, local: Option<u64>) -> Bench {
    let bucket = bucket(7, "bucket");
    fleet.put_bucket(bucket.clone());
    let local = local.map(|id| fleet.node(id).clone() as Arc<dyn holdfast_wire::service::Service>);
    let membership = Membership::start_with(fleet.clone(), local, vec!["n1".to_owned()], Seams::real());
    let nodes = fleet.nodes.len();
    membership.until(|view| view.nodes().filter(|node| node.heard.is_some()).count() == nodes).await;
    let router = Router::new(membership.clone(), Seams::real(), RouterOptions::default());
    Bench { fleet, membership, router, bucket }
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn put(bucket: &Bucket, text: &str) -> Write {
    Write::Put(PutObject {
        bucket: bucket.id,
        key: key(text),
        condition: Default::default(),
        owner: String::new(),
        attributes: Attributes::default(),
        etag: String::new(),
        checksum: None,
        body: NewBody::Inline("x".into()),
    })
}

fn refused(refusal: Refusal) -> Reply {
    ok(Response::Written { outcome: WriteOutcome::Refused(refusal), ack: AckMode::Majority })
}

fn write_of(request: &Request) -> &WriteRequest {
    match request {
        Request::Write(write) => write,
        other => panic!("no write: {other:?}"),
    }
}

fn ids(requests: &[Request]) -> Vec<RequestId> {
    requests.iter().map(|request| write_of(request).request).collect()
}

impl Bench {
    async fn write(&self) -> Result<Written, RouteError> {
        self.router.write(&self.bucket, &key("k"), Modes::default(), put(&self.bucket, "k")).await
    }

    /// The shard of a key.
    fn shard(&self, text: &str) -> GroupId {
        shard_of(&self.membership.view(), point_of(&self.bucket, &key(text))).unwrap()
    }
}

/// What it came to, and how long it took.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (work.await, start.elapsed())
}
