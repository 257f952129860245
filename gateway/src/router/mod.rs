//! From buckets and keys to replicas: finds shard and leader, balances reads, hides failovers, merges listings.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use holdfast_wire::bucket::{AckMode, Bucket, ReadMode};
use holdfast_wire::condition::WriteCondition;
use holdfast_wire::error::CallError;
use holdfast_wire::heartbeat::ClusterView;
use holdfast_wire::id::{BlobId, BucketName, ObjectKey, Seq, UploadId};
use holdfast_wire::object::{Object, Part, Upload};
use holdfast_wire::placement::Placement;
use holdfast_wire::request::{
    GetObject, ListObjects, ListPage, ListUploads, NotRead, Refusal, RootRefusal, Write, WriteOutcome,
};

/// What a client asked for beyond plain S3, per request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Modes {
    /// `x-holdfast-ack`; `None`: as the bucket says.
    pub ack: Option<AckMode>,
    /// `x-holdfast-read`; `None`: as the bucket says.
    pub read: Option<ReadMode>,
    /// `x-holdfast-seq`: the newest version that the client has seen.
    pub seq: Option<Seq>,
}

/// Why a request could not be carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// No such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// Root refuses.
    #[error(transparent)]
    Root(RootRefusal),
    /// The shard's state machine refuses.
    #[error(transparent)]
    Refused(Refusal),
    /// A read that ends without an object.
    #[error("not read: {0:?}")]
    NotRead(NotRead),
    /// Nothing was applied; the client should try again: 503 `SlowDown` with `Retry-After`.
    #[error("try again: {0}")]
    SlowDown(String),
    /// A write may or may not have been applied: 503 `SlowDown` too, and the log says so.
    #[error("unknown outcome: {0}")]
    Unknown(String),
    /// The client's body ended early or was refused while it was read; the cause is with whoever made the body.
    #[error("the body was aborted")]
    Aborted,
}

/// A write's outcome and the mode that answered it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The outcome; never `Refused` (that is an error).
    pub outcome: WriteOutcome,
    /// The mode that answered.
    pub ack: AckMode,
}

/// An object being read.
pub struct Got {
    /// The object.
    pub object: Object,
    /// First byte and count of the bytes that follow.
    pub range: (u64, u64),
    /// The log index up to which the replica had applied.
    pub applied: u64,
    /// The bytes, checksums verified; continues on another replica when one fails. Empty for HEAD.
    pub body: BoxStream<'static, Result<Bytes, CallError>>,
}

/// Finds replicas and talks to them. Cheap to clone.
#[derive(Clone)]
pub struct Router {}

#[allow(unused_variables, missing_docs, clippy::todo)]
impl Router {
    /// The bucket of this name, from the cache or from root.
    pub async fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, RouteError> {
        todo!()
    }
    /// The bucket of this name, from root.
    pub async fn bucket_now(&self, name: &BucketName) -> Result<Arc<Bucket>, RouteError> {
        todo!()
    }
    /// All buckets, by name.
    pub async fn buckets(&self) -> Result<Vec<Bucket>, RouteError> {
        todo!()
    }
    /// Creates a bucket; `Root(BucketExists)` when it exists.
    pub async fn create_bucket(
        &self,
        name: BucketName,
        owner: String,
        placement: Placement,
        tags: Vec<(String, String)>,
    ) -> Result<Arc<Bucket>, RouteError> {
        todo!()
    }
    pub async fn delete_bucket(&self, name: BucketName) -> Result<(), RouteError> {
        todo!()
    }
    pub async fn set_bucket_tags(
        &self,
        name: BucketName,
        tags: Vec<(String, String)>,
    ) -> Result<Arc<Bucket>, RouteError> {
        todo!()
    }

    /// Carries out a write of one key. Retries what is certain not to have been applied, and repeats with the same
    /// request id what may have been. On `NoSuchBucket` forgets the cached bucket.
    pub async fn write(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        modes: Modes,
        write: Write,
    ) -> Result<Written, RouteError> {
        todo!()
    }
    /// Deletes many keys, shard by shard side by side; one answer per key in the order given.
    pub async fn delete_many(
        &self,
        bucket: &Bucket,
        modes: Modes,
        keys: Vec<(ObjectKey, WriteCondition)>,
    ) -> Vec<Result<Option<Seq>, RouteError>> {
        todo!()
    }
    /// Streams a large body to the leader of the key's shard: on disk on a majority when it returns.
    /// `retry` gives the body a second time if it was kept (small enough); otherwise a failure is final.
    pub async fn upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        body: BoxStream<'static, Result<Bytes, CallError>>,
    ) -> Result<BlobId, RouteError> {
        todo!()
    }
    /// Reclaims an uploaded blob that will not be committed. Best effort.
    pub async fn drop_blob(&self, bucket: &Bucket, key: &ObjectKey, blob: BlobId) {
        todo!()
    }
    /// Reads an object; `get.bucket` and `get.key` are those of the arguments.
    pub async fn get(&self, bucket: &Bucket, modes: Modes, get: GetObject) -> Result<Got, RouteError> {
        todo!()
    }
    /// A page of a listing, merged over every shard that can hold the prefix.
    pub async fn list(&self, bucket: &Bucket, modes: Modes, list: ListObjects) -> Result<ListPage, RouteError> {
        todo!()
    }
    /// Open uploads, merged likewise: uploads in order, common prefixes in order, whether there is more.
    pub async fn list_uploads(
        &self,
        bucket: &Bucket,
        list: ListUploads,
    ) -> Result<(Vec<Upload>, Vec<String>, bool), RouteError> {
        todo!()
    }
    /// An upload and its parts above number `after`, at most `limit`, and whether there is more. Always strong.
    pub async fn list_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        after: u16,
        limit: u32,
    ) -> Result<(Upload, Vec<Part>, bool), RouteError> {
        todo!()
    }
    /// Whether two keys live in one shard, so that a copy moves no bytes.
    pub fn same_shard(&self, a: (&Bucket, &ObjectKey), b: (&Bucket, &ObjectKey)) -> bool {
        todo!()
    }
    /// The cluster as this gateway sees it.
    pub fn view(&self) -> Option<Arc<ClusterView>> {
        todo!()
    }
}
