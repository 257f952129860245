//! The accepting side.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyDataStream, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::shared::serve_shared;
use super::{ALONE, SHARED, encode, join, split};
use crate::error::CallError;
use crate::handshake::{self, ClusterSecret, Identity};
use crate::seam::{Connection, Listener, Seams};
use crate::service::Body;

/// A connection must have shaken hands after this long.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(2);
/// How long requests under way may take to end after the order to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Answers requests of other nodes.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Dropped when the other side hangs up.
    fn handle(&self, path: &str, head: Bytes, payload: Body) -> BoxFuture<'static, Result<(Bytes, Body), CallError>>;
}

/// Who this process is at the moment; a fresh node learns it only after its first conversations.
pub trait Identities: Send + Sync + 'static {
    /// This process's identity.
    fn identity(&self) -> Identity;
}

/// Serves connections until `stop`, then waits for requests under way, up to ten seconds.
pub async fn serve(
    listener: Box<dyn Listener>,
    seams: Seams,
    secret: ClusterSecret,
    own: Arc<dyn Identities>,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let (seams, secret, own) = (seams.clone(), secret.clone(), own.clone());
                let (handler, stop) = (handler.clone(), stop.clone());
                tasks.spawn(async move {
                    if let Err(error) = connection(stream, seams, secret, own, handler, stop).await {
                        tracing::debug!(%from, error, "a peer connection was refused or broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a peer connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Whoever dials from now on is to be refused at once, not to wait for a handshake.
    drop(listener);
    tasks.close();
    if timeout(DRAIN_WITHIN, tasks.wait()).await.is_err() {
        tracing::warn!("peer requests were still under way when the time to stop had passed");
    }
}

async fn connection(
    mut stream: Box<dyn Connection>,
    seams: Seams,
    secret: ClusterSecret,
    own: Arc<dyn Identities>,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
) -> Result<(), String> {
    let shaking = async {
        handshake::accept(&mut *stream, &secret, &*seams.random, own.identity())
            .await
            .map_err(|error| error.to_string())?;
        stream.read_u8().await.map_err(|error| error.to_string())
    };
    match timeout(HANDSHAKE_WITHIN, shaking).await.map_err(|_| "no handshake in time".to_owned())?? {
        SHARED => return serve_shared(stream, handler, stop).await.map_err(|error| error.to_string()),
        ALONE => {}
        other => return Err(format!("a connection of unknown use {other:#x}")),
    }
    let service = service_fn(move |request| answer(handler.clone(), request));
    let serving = http1::Builder::new().max_buf_size(256 << 10).serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    ended.map_err(|error| error.to_string())
}

async fn answer(
    handler: Arc<dyn Handler>,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, CallError>>, Infallible> {
    let (parts, incoming) = request.into_parts();
    let body = Body {
        len: incoming.size_hint().exact(),
        stream: BodyDataStream::new(incoming).map(|chunk| chunk.map_err(|_| CallError::Aborted)).boxed(),
    };
    let answered = match split(body).await {
        Ok((head, payload)) => handler.handle(parts.uri.path(), head, payload).await,
        Err(error) => Err(error),
    };
    let (status, body) = match answered {
        Ok((head, payload)) => (StatusCode::OK, join(&head, payload)),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, join(&encode(&error), Body::empty())),
    };
    let mut response = Response::builder().status(status);
    if let Some(len) = body.len {
        response = response.header(http::header::CONTENT_LENGTH, len);
    }
    let frames = body.stream.map(|chunk| chunk.map(Frame::data));
    Ok(response.body(UnsyncBoxBody::new(StreamBody::new(frames))).expect("a response of constant parts is well formed"))
}
