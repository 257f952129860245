//! The one trait behind which a replica stands: in this process, or on another node.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};

use crate::error::CallError;
use crate::heartbeat::Heartbeat;
use crate::request::{Request, Response};

/// Raw bytes that follow a request or an answer.
pub struct Body {
    /// Bytes to come, where that is known beforehand.
    pub len: Option<u64>,
    /// The bytes. An error ends the stream; ending short of `len` is reported as one.
    pub stream: BoxStream<'static, Result<Bytes, CallError>>,
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self { len: Some(0), stream: futures::stream::empty().boxed() }
    }

    /// A stream of unknown length.
    pub fn streamed(stream: impl futures::Stream<Item = Result<Bytes, CallError>> + Send + 'static) -> Self {
        Self { len: None, stream: stream.boxed() }
    }

    /// Everything that is left, refusing more than `limit` bytes with [`CallError::Malformed`].
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, CallError> {
        let Some(first) = self.stream.next().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = self.stream.next().await.transpose()? else {
            return if first.len() <= limit { Ok(first) } else { Err(too_long(limit)) };
        };
        let mut all = bytes::BytesMut::with_capacity(self.len.unwrap_or(0).min(limit as u64) as usize);
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.stream.next().await.transpose()? {
            if all.len() + chunk.len() > limit {
                return Err(too_long(limit));
            }
            all.extend_from_slice(&chunk);
        }
        if all.len() > limit { Err(too_long(limit)) } else { Ok(all.freeze()) }
    }
}

fn too_long(limit: usize) -> CallError {
    CallError::Malformed { reason: format!("a body of at most {limit} bytes was expected") }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        let len = Some(bytes.len() as u64);
        Self { len, stream: futures::stream::once(async move { Ok(bytes) }).boxed() }
    }
}

/// An answer and the bytes that follow it.
pub type Answer = Result<(Response, Body), CallError>;

/// A replica, wherever it is.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. Dropping the future or the answer's body abandons the request.
    fn call(&self, request: Request, body: Body) -> BoxFuture<'static, Answer>;

    /// Its heartbeats, from now on; ends when the replica can no longer be heard.
    fn heartbeats(&self) -> BoxStream<'static, Heartbeat>;
}
