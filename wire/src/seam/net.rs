//! Listening and connecting as an input.

use std::io;
use std::net::SocketAddr;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A two-way byte stream.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A bound socket.
pub trait Listener: Send + Sync {
    /// The next connection and the address it came from.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>>;
    /// The address it is bound to (the port is known even when 0 was asked for).
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Makes connections and listeners. Addresses are `host:port`; names are resolved at every connect.
pub trait Net: Send + Sync + 'static {
    /// Connects to `address`. No deadline of its own: callers set one.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>>;
    /// Binds `address`.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// TCP with `TCP_NODELAY`.
pub struct TcpNet;

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the network seam")]
mod tcp {
    use super::*;

    impl Net for TcpNet {
        fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
            Box::pin(async move {
                let stream = tokio::net::TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as Box<dyn Connection>)
            })
        }

        fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            Box::pin(async move {
                let listener = tokio::net::TcpListener::bind(address).await?;
                Ok(Box::new(listener) as Box<dyn Listener>)
            })
        }
    }

    impl Listener for tokio::net::TcpListener {
        fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
            Box::pin(async move {
                let (stream, from) = tokio::net::TcpListener::accept(self).await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream) as Box<dyn Connection>, from))
            })
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            tokio::net::TcpListener::local_addr(self)
        }
    }
}
