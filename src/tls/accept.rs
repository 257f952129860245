//! The accepting side: a listener whose connections are TLS. The handshake is made by whoever first reads, so that a
//! slow client holds up nobody's accepting, and must be over after ten seconds.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_wire::seam::{Connection, Listener};
use holdfast_wire::transport::Complaints;
use parking_lot::RwLock;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::explain::explain;

const SHAKE_WITHIN: Duration = Duration::from_secs(10);

/// What a listener presents. Replaced while it runs; connections that are open stay as they are.
pub struct Acceptor {
    purpose: &'static str,
    /// Whether failed handshakes are worth a line: those of nodes are, those of the world's scanners are not.
    loud: bool,
    current: RwLock<Arc<ServerConfig>>,
    complaints: Complaints,
}

impl Acceptor {
    /// For a listener with this purpose.
    pub fn new(purpose: &'static str, loud: bool, config: ServerConfig) -> Self {
        Self { purpose, loud, current: RwLock::new(Arc::new(config)), complaints: Complaints::default() }
    }

    /// New connections get this from now on.
    pub fn replace(&self, config: ServerConfig) {
        *self.current.write() = Arc::new(config);
    }

    fn failed(&self, from: SocketAddr, error: &io::Error) {
        let (purpose, reason) = (self.purpose, explain(error).unwrap_or_else(|| error.to_string()));
        if self.loud && explain(error).is_some() && self.complaints.is_news(&from.ip().to_string(), &reason) {
            tracing::warn!(purpose, from = %from.ip(), reason, "a TLS connection was refused");
        } else {
            tracing::debug!(purpose, %from, reason, "a TLS handshake failed");
        }
    }
}

/// A listener that speaks TLS.
pub struct TlsListener {
    /// The socket.
    pub inner: Box<dyn Listener>,
    /// What it presents.
    pub acceptor: Arc<Acceptor>,
}

impl Listener for TlsListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        async move {
            let (stream, from) = self.inner.accept().await?;
            let shaking = TlsAcceptor::from(self.acceptor.current.read().clone()).accept(stream);
            let state = State::Shaking(Box::new(shaking), Box::pin(sleep(SHAKE_WITHIN)));
            let incoming = Incoming { state, from, acceptor: self.acceptor.clone() };
            Ok((Box::new(incoming) as Box<dyn Connection>, from))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

type Stream = TlsStream<Box<dyn Connection>>;

enum State {
    Shaking(Box<Accept<Box<dyn Connection>>>, Pin<Box<Sleep>>),
    Open(Box<Stream>),
    Failed,
}

/// A connection whose handshake may not have begun.
struct Incoming {
    state: State,
    from: SocketAddr,
    acceptor: Arc<Acceptor>,
}

impl Incoming {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut Stream>>> {
        if let State::Shaking(shaking, deadline) = &mut self.state {
            let shaken = match Pin::new(shaking).poll(cx) {
                Poll::Ready(shaken) => shaken,
                Poll::Pending => {
                    ready!(deadline.as_mut().poll(cx));
                    Err(io::ErrorKind::TimedOut.into())
                }
            };
            match shaken {
                Ok(stream) => {
                    if self.acceptor.loud {
                        self.acceptor.complaints.settle(&self.from.ip().to_string());
                    }
                    self.state = State::Open(Box::new(stream));
                }
                Err(error) => {
                    self.acceptor.failed(self.from, &error);
                    self.state = State::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        match &mut self.state {
            State::Open(stream) => Poll::Ready(Ok(Pin::new(&mut **stream))),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Incoming {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.poll_open(cx)?).poll_read(cx, buffer);
        match read {
            // Many clients hang up without saying goodbye. HTTP knows by itself where a message ends.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx)?).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx)?).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(&mut **stream).poll_flush(cx),
            // Nothing has been written.
            State::Shaking(..) | State::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            State::Shaking(..) | State::Failed => {
                self.state = State::Failed;
                Poll::Ready(Ok(()))
            }
        }
    }
}
