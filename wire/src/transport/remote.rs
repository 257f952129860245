//! A replica on another node as a [`Service`], and the accepting side of the same two paths.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use super::shared::SHARED_MAX;
use super::{Client, Target, decode, encode};
use crate::context;
use crate::error::CallError;
use crate::heartbeat::Heartbeat;
use crate::request::{Request, RootRequest};
use crate::service::{Answer, Body, Service};

/// The path of requests.
pub const CALL: &str = "/call";
/// The path of heartbeats.
pub const HEARTBEATS: &str = "/heartbeats";
/// Time on the way and in queues on top of a request's own deadline.
const SLACK: Duration = Duration::from_millis(500);
/// For requests without a deadline of their own.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// A stream of heartbeats that is silent for so long has ended.
const SILENCE: Duration = Duration::from_millis(1500);
/// The longest heartbeat.
const HEARTBEAT_MAX: usize = 16 << 20;

/// A replica on another node.
#[derive(Clone)]
pub struct Remote {
    client: Client,
    target: Target,
}

impl Remote {
    /// The replica at `target`.
    pub fn new(client: Client, target: Target) -> Self {
        Self { client, target }
    }
}

impl Service for Remote {
    fn call(&self, request: Request, body: Body) -> BoxFuture<'static, Answer> {
        let (client, target) = (self.client.clone(), self.target.clone());
        async move {
            let context = context::current();
            let within = match &request {
                Request::Write(write) => Duration::from_millis(write.deadline_ms.into()) + SLACK,
                Request::Read(read) => Duration::from_millis(read.deadline_ms.into()) + SLACK,
                // Bounded by the progress of the body, which both sides watch.
                Request::UploadBlob { .. } => Duration::from_secs(24 * 3600),
                Request::Root(RootRequest::DeleteBucket { .. } | RootRequest::CreateBucket { .. }) => {
                    CALL_WITHIN + SLACK
                }
                Request::DropBlob { .. }
                | Request::Root(_)
                | Request::View
                | Request::TransferLeader { .. }
                | Request::Backup(_) => CALL_WITHIN,
            };
            let head = encode(&(context, request));
            let (head, payload) = match body.len {
                Some(len) if len <= SHARED_MAX as u64 => {
                    let payload = body.collect(SHARED_MAX).await?;
                    client.ask(&target, CALL, head, payload, within).await?
                }
                _ => client.exchange(&target, CALL, head, body, within).await?,
            };
            Ok((decode(&head)?, payload))
        }
        .boxed()
    }

    fn heartbeats(&self) -> BoxStream<'static, Heartbeat> {
        let (client, target) = (self.client.clone(), self.target.clone());
        async move {
            match client.exchange(&target, HEARTBEATS, Bytes::new(), Body::empty(), CALL_WITHIN).await {
                Ok((_, payload)) => read_heartbeats(payload).boxed(),
                Err(error) => {
                    tracing::trace!(%error, address = target.address, "no heartbeats");
                    futures::stream::empty().boxed()
                }
            }
        }
        .flatten_stream()
        .boxed()
    }
}

/// Heartbeats out of `length u32 LE | postcard` records, until silence, a broken record or the end.
fn read_heartbeats(payload: Body) -> impl futures::Stream<Item = Heartbeat> + Send {
    futures::stream::unfold((payload.stream, BytesMut::new()), |(mut stream, mut buffer)| async move {
        loop {
            if buffer.len() >= 4 {
                let len = u32::from_le_bytes(buffer[..4].try_into().expect("4 bytes")) as usize;
                if len > HEARTBEAT_MAX {
                    return None;
                }
                if buffer.len() >= 4 + len {
                    buffer.advance(4);
                    let heartbeat = decode(&buffer.split_to(len)).ok()?;
                    return Some((heartbeat, (stream, buffer)));
                }
            }
            match tokio::time::timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(chunk))) => buffer.extend_from_slice(&chunk),
                _ => return None,
            }
        }
    })
}

/// Answers a request to [`CALL`]: its head is whose request it is, and the request.
pub async fn serve_call(service: Arc<dyn Service>, head: Bytes, payload: Body) -> Result<(Bytes, Body), CallError> {
    let (context, request) = decode(&head)?;
    let (response, body) = context::within(context, service.call(request, payload)).await?;
    Ok((encode(&response), body))
}

/// Answers a request to [`HEARTBEATS`].
pub fn serve_heartbeats(heartbeats: BoxStream<'static, Heartbeat>) -> (Bytes, Body) {
    let records = heartbeats.map(|heartbeat| {
        let record = encode(&heartbeat);
        let mut bytes = BytesMut::with_capacity(4 + record.len());
        bytes.put_u32_le(record.len() as u32);
        bytes.put_slice(&record);
        Ok(bytes.freeze())
    });
    (Bytes::new(), Body::streamed(records))
}
