//! A small HTTP/1.1 server for JSON and text, used by the admin and the ops listener: bounded bodies, bounded time,
//! bounded connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use holdfast_wire::seam::{Connection, Listener};
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The largest request body, bytes.
const BODY_MAX: usize = 64 << 10;
/// A request's head must have arrived after this long; an idle connection is closed after it.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// A request's body must have arrived after this long.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Connections served at once; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 128;
/// How long requests under way may take to end after the order to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// What is answered.
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// As it comes; an error breaks the connection off, so that nobody takes the rest for the whole.
    Streamed(BoxStream<'static, io::Result<Bytes>>),
}

impl Content {
    /// Breaks a stream off when the server stops.
    fn body(self, stop: CancellationToken) -> UnsyncBoxBody<Bytes, io::Error> {
        match self {
            Self::Whole(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
            Self::Streamed(stream) => {
                let stopped = stop.clone();
                let broken = futures::stream::poll_fn(move |_| {
                    Poll::Ready(stopped.is_cancelled().then(|| Err(io::ErrorKind::ConnectionAborted.into())))
                });
                let stream = stream.take_until(stop.cancelled_owned()).chain(broken.take(1));
                StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync()
            }
        }
    }
}

/// The other end of a request's connection; in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'static, Response<Content>>;
}

/// A running server.
pub struct HttpServer {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl HttpServer {
    /// Serves `handler` on `listener` until it is stopped.
    pub fn start(listener: Box<dyn Listener>, handler: Arc<dyn Handler>) -> HttpServer {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(accept(listener, handler, stop.clone(), tasks.clone()));
        HttpServer { stop, tasks }
    }

    /// Takes no more connections and waits for requests under way, up to two seconds.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(DRAIN_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::debug!("admin or ops requests were still under way when the time to stop had passed");
        }
    }
}

async fn accept(listener: Box<dyn Listener>, handler: Arc<dyn Handler>, stop: CancellationToken, tasks: TaskTracker) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = async {
                let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
                (permit, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (permit, Ok((stream, peer))) => {
                let (handler, stop) = (handler.clone(), stop.clone());
                tasks.spawn(async move {
                    serve(stream, Peer(peer), handler, stop).await;
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "accepting an admin or ops connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: Box<dyn Connection>, peer: Peer, handler: Arc<dyn Handler>, stop: CancellationToken) {
    let stopped = stop.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        answer(handler.clone(), stopped.clone(), request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "an admin or ops connection ended");
    }
}

async fn answer(
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, io::Error>>, Infallible> {
    let (parts, body) = request.into_parts();
    let response = if body.size_hint().lower() > BODY_MAX as u64 {
        error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
    } else {
        match timeout(BODY_WITHIN, Limited::new(body, BODY_MAX).collect()).await {
            Ok(Ok(body)) => handler.handle(Request::from_parts(parts, body.to_bytes())).await,
            Ok(Err(_)) => error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broke off"),
            Err(_) => error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
        }
    };
    Ok(response.map(|content| content.body(stop)))
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Content> {
    let mut bytes = serde_json::to_vec(body).expect("answers are always serializable");
    bytes.push(b'\n');
    with_type(status, "application/json", Content::Whole(bytes.into()))
}

/// An answer with a text body.
pub fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Content> {
    with_type(status, content_type, Content::Whole(body.into()))
}

/// An answer that says what is wrong: `{"error": …}`.
pub fn error(status: StatusCode, message: &str) -> Response<Content> {
    json(status, &serde_json::json!({ "error": message }))
}

/// An answer that comes as it is made.
pub fn streamed(content_type: &'static str, stream: BoxStream<'static, io::Result<Bytes>>) -> Response<Content> {
    with_type(StatusCode::OK, content_type, Content::Streamed(stream))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Content) -> Response<Content> {
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CACHE_CONTROL, "no-store")
        .header("x-content-type-options", "nosniff");
    response.body(body).expect("a response of constant parts is well formed")
}

#[cfg(test)]
impl Content {
    /// What is answered as a whole.
    pub fn whole(&self) -> &Bytes {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Streamed(_) => panic!("a stream is not whole"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures::FutureExt;
    use holdfast_wire::seam::{Net, TcpNet};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Echo;

    impl Handler for Echo {
        fn handle(&self, request: Request<Bytes>) -> BoxFuture<'static, Response<Content>> {
            if request.uri().path() == "/endless" {
                let first = futures::stream::once(async { Ok(Bytes::from_static(b"tick")) });
                return async move { streamed("text/plain", first.chain(futures::stream::pending()).boxed()) }.boxed();
            }
            async move { with_type(StatusCode::OK, "text/plain", Content::Whole(request.into_body())) }.boxed()
        }
    }

    async fn start() -> (HttpServer, SocketAddr) {
        let listener = TcpNet.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (HttpServer::start(listener, Arc::new(Echo)), address)
    }

    async fn say(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpNet.connect(&address.to_string()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_and_refuses_large_bodies() {
        let (server, address) = start().await;
        let answer =
            say(address, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hi"), "{answer}");
        let answer =
            say(address, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9999999\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        server.stop().await;
    }

    #[tokio::test]
    async fn a_stream_comes_as_it_is_made_and_ends_with_the_server() {
        let (server, address) = start().await;
        let mut stream = TcpNet.connect(&address.to_string()).await.unwrap();
        stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut seen = Vec::new();
        while !seen.windows(4).any(|four| four == b"tick") {
            let mut some = [0; 512];
            let count = stream.read(&mut some).await.unwrap();
            assert_ne!(count, 0, "the stream ended early");
            seen.extend_from_slice(&some[..count]);
        }
        timeout(Duration::from_secs(5), server.stop()).await.expect("a stream does not hold the server up");
        timeout(Duration::from_secs(5), stream.read_to_end(&mut seen)).await.expect("the stream ends").unwrap();
    }

    #[tokio::test]
    async fn stopping_closes_idle_connections_and_frees_the_port() {
        let (server, address) = start().await;
        let mut idle = TcpNet.connect(&address.to_string()).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut some = [0; 8];
        idle.read_exact(&mut some).await.unwrap();
        server.stop().await;
        let mut rest = Vec::new();
        timeout(Duration::from_secs(5), idle.read_to_end(&mut rest)).await.expect("the connection was closed").unwrap();
        TcpNet.listen(&address.to_string()).await.expect("the port is free again");
    }
}
