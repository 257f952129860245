//! Where backups are kept: named, immutable files, in a directory or in an S3 bucket.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use holdfast_replica::file::Files;

use super::directory::Directory;
use super::s3::S3;
use crate::sdk::NoKeys;

/// Why a store did not do what was asked; one line each.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An S3 request.
    #[error("s3://{bucket}/{key}: {reason}")]
    S3 {
        /// The bucket.
        bucket: String,
        /// The key or prefix.
        key: String,
        /// What the SDK says.
        reason: String,
    },
    /// S3 without keys.
    #[error(transparent)]
    NoKeys(#[from] NoKeys),
    /// A URL that names no bucket.
    #[error("{0:?}: expected a directory or s3://BUCKET/PREFIX")]
    Url(String),
}

/// Named, immutable files. Names are relative paths with `/`.
#[async_trait]
pub trait Store: Send + Sync {
    /// As the user named it.
    fn url(&self) -> &str;
    /// Names and lengths of all files whose names begin with this directory (which ends with `/`).
    async fn list(&self, directory: &str) -> Result<Vec<(String, u64)>, StoreError>;
    /// Begins a file; it is there when its writer is finished, and not at all if that is dropped before.
    async fn create(&self, name: &str) -> Result<Box<dyn Writer>, StoreError>;
    /// Makes a file be there no more, which it may be already.
    async fn remove(&self, name: &str) -> Result<(), StoreError>;
    /// A file's bytes; `None` if there is no such file.
    async fn read(&self, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError>;
}

/// A file being written.
#[async_trait]
pub trait Writer: Send {
    /// Adds bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;
    /// Makes the file be there, whole and durable.
    async fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// The store that `url` names: `s3://BUCKET/PREFIX`, or a directory. `endpoint` is for S3 elsewhere than at AWS.
pub fn open(
    url: &str,
    endpoint: Option<String>,
    files: Arc<dyn Files>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once("://") {
        None if !url.is_empty() => Ok(Arc::new(Directory::new(url, files))),
        Some(("s3", rest)) => Ok(Arc::new(S3::new(url, rest, endpoint, variable)?)),
        _ => Err(StoreError::Url(url.to_owned())),
    }
}
