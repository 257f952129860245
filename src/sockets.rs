//! Every listening socket of the process is bound here, before anything else happens: a port that is in use is one
//! clear line at once, and the ports are known before the parts that serve them start.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_wire::seam::{Connection, Listener, Net};
use parking_lot::Mutex;

use crate::tls::{Acceptor, TlsListener};

/// A network that hands out listeners bound beforehand.
pub struct Sockets {
    net: Arc<dyn Net>,
    bound: Mutex<HashMap<String, Box<dyn Listener>>>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {purpose}: {}", reason(.error))]
pub struct BindError {
    /// The address.
    pub address: String,
    /// What would be served there.
    pub purpose: &'static str,
    /// Why.
    pub error: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => "the port needs privileges".to_owned(),
        _ => error.to_string(),
    }
}

impl Sockets {
    /// Over a real network.
    pub fn new(net: Arc<dyn Net>) -> Self {
        Self { net, bound: Mutex::default() }
    }

    /// Binds `address` and keeps the listener for the one who will ask for the returned address (which has the real
    /// port where 0 was asked for).
    pub async fn bind(&self, address: &str, purpose: &'static str) -> Result<String, BindError> {
        let failed = |error| BindError { address: address.to_owned(), purpose, error };
        let listener = self.net.listen(address).await.map_err(failed)?;
        let bound = match listener.local_addr().map_err(failed)? {
            bound if address.ends_with(":0") => bound.to_string(),
            _ => address.to_owned(),
        };
        self.bound.lock().insert(bound.clone(), listener);
        Ok(bound)
    }

    /// From now on the listener bound for `address` speaks TLS.
    pub fn protect(&self, address: &str, acceptor: Arc<Acceptor>) {
        let mut bound = self.bound.lock();
        if let Some(inner) = bound.remove(address) {
            bound.insert(address.to_owned(), Box::new(TlsListener { inner, acceptor }));
        }
    }

    /// The listener bound for `address`.
    pub fn take(&self, address: &str) -> Option<Box<dyn Listener>> {
        self.bound.lock().remove(address)
    }
}

impl Net for Sockets {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        self.net.connect(address)
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        match self.take(address) {
            Some(listener) => async move { Ok(listener) }.boxed(),
            None => self.net.listen(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_wire::seam::TcpNet;

    use super::*;

    #[tokio::test]
    async fn a_bound_listener_is_handed_out_once_and_a_taken_port_is_named() {
        let sockets = Sockets::new(Arc::new(TcpNet));
        let address = sockets.bind("127.0.0.1:0", "S3").await.unwrap();
        assert!(!address.ends_with(":0"));
        let error = sockets.bind(&address, "the admin API").await.unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on {address} for the admin API: the port is in use"));
        let listener = sockets.listen(&address).await.unwrap();
        assert_eq!(listener.local_addr().unwrap().to_string(), address);
        assert!(sockets.listen(&address).await.is_err(), "the port is still held by the first");
    }
}
