//! The connecting side: for each target one connection that small requests share, and a pool of kept-alive ones for
//! everything else.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Request, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::shared::{Answered, SHARED_MAX, SharedConnection};
use super::{ALONE, Complaints, SHARED, decode, join, split};
use crate::error::CallError;
use crate::handshake::{self, ClusterSecret, HandshakeError, Identity};
use crate::id::{ClusterId, NodeId};
use crate::seam::{Connection, Seams};
use crate::service::Body;

/// Connecting and shaking hands together take at most this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Idle connections kept per target.
const IDLE_MAX: usize = 64;
/// An idle connection older than this is not used again.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// A kept-alive connection, and since when it is idle.
type Idle = (SendRequest<OutBody>, Instant);
type OutBody = UnsyncBoxBody<Bytes, CallError>;
/// The connection that a target's small requests share; locked while one is made.
type InCommon = Arc<tokio::sync::Mutex<Option<Arc<SharedConnection>>>>;

/// Whom a request is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// `host:port`
    pub address: String,
    /// The cluster and node that must answer there, where they are known.
    pub cluster: Option<ClusterId>,
    /// As `cluster`.
    pub node: Option<NodeId>,
}

/// Makes requests to other nodes. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    seams: Seams,
    secret: ClusterSecret,
    idle: Mutex<HashMap<Target, Vec<Idle>>>,
    in_common: Mutex<HashMap<Target, InCommon>>,
    complaints: Complaints,
    /// Owns the tasks that drive connections; each ends with its connection.
    tasks: TaskTracker,
}

impl Client {
    /// A client that proves its membership with `secret`.
    pub fn new(seams: Seams, secret: ClusterSecret) -> Self {
        Self {
            shared: Arc::new(Shared {
                seams,
                secret,
                idle: Mutex::default(),
                in_common: Mutex::default(),
                complaints: Complaints::default(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Who answers at `address`, if it knows the secret.
    pub async fn identify(&self, address: &str) -> Result<Identity, CallError> {
        let target = Target { address: address.to_owned(), cluster: None, node: None };
        self.open(&target, ALONE).await.map(|(_, identity)| identity)
    }

    /// Makes one request whose payload is at hand, on the connection that all such requests to `target` share where it
    /// is small; otherwise as [`exchange`](Self::exchange).
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub async fn ask(
        &self,
        target: &Target,
        path: &'static str,
        head: Bytes,
        payload: Bytes,
        within: Duration,
    ) -> Result<(Bytes, Body), CallError> {
        let deadline = Instant::now() + within;
        while head.len() + payload.len() <= SHARED_MAX {
            let connection = timeout_at(deadline, self.in_common(target)).await.map_err(|_| {
                CallError::Unreachable { reason: format!("{}: no connection within {within:?}", target.address) }
            })??;
            match connection.ask(path, head.clone(), payload.clone(), deadline).await {
                Some(Ok(Answered::Here(head, payload))) => return Ok((head, payload.into())),
                Some(Ok(Answered::TooLong)) => break,
                Some(Err(error)) => return Err(error),
                // It went down in this moment: nothing was sent.
                None => {}
            }
        }
        self.exchange(target, path, head, payload.into(), deadline.saturating_duration_since(Instant::now())).await
    }

    /// Sends one request. `within` bounds the time to the answer's head; the payload behind it has no deadline.
    ///
    /// # Errors
    /// [`CallError::Unreachable`]: nothing was sent. [`CallError::Unknown`]: no answer, or time ran out. Everything
    /// else is the other side's own word.
    pub async fn exchange(
        &self,
        target: &Target,
        path: &'static str,
        head: Bytes,
        payload: Body,
        within: Duration,
    ) -> Result<(Bytes, Body), CallError> {
        let deadline = Instant::now() + within;
        let body = join(&head, payload);
        let mut request = Request::post(path);
        if let Some(len) = body.len {
            request = request.header(http::header::CONTENT_LENGTH, len);
        }
        let frames = body.stream.map(|chunk| chunk.map(Frame::data));
        let mut request = request
            .header(http::header::HOST, "replica")
            .body(UnsyncBoxBody::new(StreamBody::new(frames)))
            .expect("a request of constant parts is well formed");
        let sent = async {
            loop {
                let mut sender = match self.idle(target) {
                    Some(sender) => sender,
                    None => self.connect(target).await?,
                };
                match sender.try_send_request(request).await {
                    Ok(response) => return Ok((sender, response)),
                    // A kept-alive connection that the other side had closed: nothing was sent.
                    Err(mut failed) => match failed.take_message() {
                        Some(unsent) => request = unsent,
                        None => return Err(unknown(failed.error())),
                    },
                }
            }
        };
        let (sender, response) = timeout_at(deadline, sent)
            .await
            .map_err(|_| CallError::Unknown { reason: format!("no answer within {within:?}") })??;
        let status = response.status();
        let incoming = response.into_body();
        let body = Body {
            len: incoming.size_hint().exact(),
            stream: Returning { incoming, sender: Some(sender), shared: self.shared.clone(), target: target.clone() }
                .boxed(),
        };
        let (head, payload) = timeout_at(deadline, split(body))
            .await
            .map_err(|_| CallError::Unknown { reason: format!("no answer within {within:?}") })??;
        match status {
            StatusCode::OK => Ok((head, payload)),
            _ => Err(decode::<CallError>(&head)?),
        }
    }

    fn idle(&self, target: &Target) -> Option<SendRequest<OutBody>> {
        let mut idle = self.shared.idle.lock();
        let connections = idle.get_mut(target)?;
        while let Some((sender, since)) = connections.pop() {
            if since.elapsed() < IDLE_FOR && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// The connection that small requests to `target` share.
    async fn in_common(&self, target: &Target) -> Result<Arc<SharedConnection>, CallError> {
        let in_common = self.shared.in_common.lock().entry(target.clone()).or_default().clone();
        let mut connection = in_common.lock().await;
        if let Some(connection) = connection.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        *connection = None;
        let (stream, _) = self.open(target, SHARED).await?;
        let (new, driving) = SharedConnection::new(stream);
        self.shared.tasks.spawn(driving);
        *connection = Some(new.clone());
        Ok(new)
    }

    /// A connection for one request after the other.
    async fn connect(&self, target: &Target) -> Result<SendRequest<OutBody>, CallError> {
        let (stream, _) = self.open(target, ALONE).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(256 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| CallError::Unreachable { reason: format!("{}: {error}", target.address) })?;
        self.shared.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a peer connection ended");
            }
        });
        Ok(sender)
    }

    /// A connection that has shaken hands, for the use that `mode` says.
    async fn open(&self, target: &Target, mode: u8) -> Result<(Box<dyn Connection>, Identity), CallError> {
        let shared = &self.shared;
        let connecting = async {
            let mut stream = shared.seams.net.connect(&target.address).await.map_err(|error| error.to_string())?;
            let wanted = Identity { cluster: target.cluster, node: target.node };
            let identity = handshake::connect(&mut *stream, &shared.secret, &*shared.seams.random, wanted)
                .await
                .map_err(|error| self.refused(&target.address, &error))?;
            shared.complaints.settle(&target.address);
            stream.write_u8(mode).await.map_err(|error| error.to_string())?;
            Ok::<_, String>((stream, identity))
        };
        match timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(reason)) => Err(CallError::Unreachable { reason: format!("{}: {reason}", target.address) }),
            Err(_) => Err(CallError::Unreachable {
                reason: format!("{}: no connection within {CONNECT_WITHIN:?}", target.address),
            }),
        }
    }

    /// What does not mend itself is told to whoever reads the log.
    fn refused(&self, address: &str, error: &HandshakeError) -> String {
        let said = error.to_string();
        let lasting = matches!(
            error,
            HandshakeError::OtherVersion { .. } | HandshakeError::OtherCluster | HandshakeError::WrongSecret
        );
        if lasting && self.shared.complaints.is_news(address, &said) {
            tracing::warn!(peer = address, "no connection: {said}");
        }
        said
    }
}

fn unknown(error: &(dyn std::error::Error + 'static)) -> CallError {
    // An error of our own body stream (the uploading client left) tells more than the connection's.
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(own) = error.downcast_ref::<CallError>() {
            return own.clone();
        }
        cause = error.source();
    }
    CallError::Unknown { reason: error.to_string() }
}

/// An answer's body; gives its connection back when it has been read to the end.
struct Returning {
    incoming: Incoming,
    sender: Option<SendRequest<OutBody>>,
    shared: Arc<Shared>,
    target: Target,
}

impl Returning {
    fn give_back(&mut self) {
        let Some(sender) = self.sender.take() else { return };
        let mut idle = self.shared.idle.lock();
        let connections = idle.entry(self.target.clone()).or_default();
        if connections.len() < IDLE_MAX {
            connections.push((sender, Instant::now()));
        }
    }
}

impl Stream for Returning {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.incoming.is_end_stream() {
                self.give_back();
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        if self.incoming.is_end_stream() {
                            self.give_back();
                        }
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => {
                    self.sender = None;
                    return Poll::Ready(Some(Err(unknown(&error))));
                }
                None => {
                    self.give_back();
                    return Poll::Ready(None);
                }
            }
        }
    }
}
