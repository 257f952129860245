//! A small S3 in memory that counts what reaches it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use holdfast_wire::bucket;
use holdfast_wire::id::BucketId;
use parking_lot::Mutex;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::sync::Semaphore;

use crate::auth::{Buckets, Forbidden, Lookup, Record, Unreadable};
use crate::guard::request_id::RequestId;
use crate::s3::ResponseDocument;

#[derive(Clone, Default)]
pub struct Fake(Arc<Inner>);

struct Inner {
    /// The only bucket.
    bucket: Mutex<Arc<bucket::Bucket>>,
    objects: Mutex<BTreeMap<String, Bytes>>,
    /// User metadata of the last PUT.
    metadata: Mutex<Metadata>,
    calls: AtomicUsize,
    ids: Mutex<Vec<String>>,
    /// `GET /bucket/held` waits for a permit.
    hold: Semaphore,
    held: AtomicUsize,
}

impl Default for Inner {
    fn default() -> Self {
        let bucket = bucket::Bucket {
            id: BucketId(1),
            name: "bucket".parse().expect("a bucket's name"),
            owner: "olga".to_owned(),
            created_ms: 0,
            revision: 1,
            state: bucket::BucketState::Active,
            placement: Default::default(),
            tags: Vec::new(),
            configuration: Default::default(),
        };
        Self {
            bucket: Mutex::new(Arc::new(bucket)),
            objects: Mutex::default(),
            metadata: Mutex::default(),
            calls: AtomicUsize::new(0),
            ids: Mutex::default(),
            hold: Semaphore::new(0),
            held: AtomicUsize::new(0),
        }
    }
}

impl Fake {
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::SeqCst)
    }

    pub fn release(&self) {
        self.0.hold.add_permits(1);
    }

    pub fn ids(&self) -> Vec<String> {
        self.0.ids.lock().clone()
    }

    pub fn put(&self, key: &str, value: impl Into<Bytes>) {
        self.0.objects.lock().insert(key.to_owned(), value.into());
    }

    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.0.objects.lock().get(key).cloned()
    }

    pub fn metadata(&self) -> Metadata {
        self.0.metadata.lock().clone()
    }

    /// Changes the only bucket.
    pub fn configure(&self, change: impl FnOnce(&mut bucket::Bucket)) {
        let mut bucket = self.0.bucket.lock();
        change(Arc::make_mut(&mut bucket));
        Arc::make_mut(&mut bucket).revision += 1;
    }

    fn called<T>(&self, request: &S3Request<T>) {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let id = request.extensions.get::<RequestId>().expect("the request's id is in its extensions");
        self.0.ids.lock().push(id.to_string());
    }
}

#[async_trait::async_trait]
impl Buckets for Fake {
    async fn find(&self, name: &str) -> Lookup {
        match name {
            "unknown" => Lookup::Unknown,
            "bucket" => Lookup::Found(self.0.bucket.lock().clone()),
            _ => Lookup::Missing,
        }
    }

    async fn record(
        &self,
        _bucket: &bucket::Bucket,
        key: &str,
        _version: Option<&str>,
    ) -> Result<Option<Record>, Unreadable> {
        Ok(Some(Record { tags: vec![("key".to_owned(), key.to_owned())], ..Record::default() }))
    }
}

#[async_trait::async_trait]
impl S3 for Fake {
    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.called(&request);
        Ok(S3Response::new(ListBucketsOutput::default()))
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.called(&request);
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.called(&request);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.called(&request);
        let refused = |object| Forbidden::refuses(&request.extensions, object);
        let errors = request.input.delete.objects.iter().filter_map(refused);
        let errors: Vec<_> =
            errors.map(|error| Error { code: Some(error.code().as_str().to_owned()), ..Default::default() }).collect();
        Ok(S3Response::new(DeleteObjectsOutput { errors: Some(errors), ..Default::default() }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.called(&request);
        let object = self.object(&request.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let output = HeadObjectOutput { content_length: Some(object.len() as i64), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.called(&request);
        if request.input.key == "held" {
            self.0.held.fetch_add(1, Ordering::SeqCst);
            self.0.hold.acquire().await.expect("the semaphore is never closed").forget();
        }
        if request.input.key == "busy" {
            return Err(s3_error!(SlowDown));
        }
        let object = self.object(&request.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let output = GetObjectOutput {
            content_length: Some(object.len() as i64),
            content_range: request.input.range.map(|range| range.to_header_string()),
            body: Some(StreamingBlob::from(s3s::Body::from(object))),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.called(&request);
        let mut bytes = BytesMut::new();
        let mut body = request.input.body.expect("a PUT has a body");
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| s3_error!(IncompleteBody, "{error}"))?);
        }
        self.put(&request.input.key, bytes.freeze());
        *self.0.metadata.lock() = request.input.metadata.unwrap_or_default();
        let mut response = S3Response::new(PutObjectOutput::default());
        if request.input.key == "told" {
            response.extensions.insert(ResponseDocument(Bytes::from_static(b"<Told/>")));
        }
        Ok(response)
    }
}
