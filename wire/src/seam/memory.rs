//! A network inside one process, for tests: hosts that listen, connect, and can be cut off from one another.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::net::{Connection, Listener, Net};

/// Bytes under way in one direction of a connection.
const IN_FLIGHT: usize = 256 << 10;

/// The network. Cheap to clone; all clones are one network.
#[derive(Clone)]
pub struct MemoryNet {
    shared: Arc<Shared>,
}

struct Shared {
    listeners: Mutex<HashMap<String, mpsc::UnboundedSender<Accepted>>>,
    /// Directed pairs of hosts whose bytes are held back.
    cut: watch::Sender<HashSet<(String, String)>>,
    pumps: Mutex<Vec<Pump>>,
}

struct Pump {
    hosts: (String, String),
    _task: AbortOnDropHandle<()>,
}

type Accepted = (DuplexStream, SocketAddr);

impl Default for MemoryNet {
    fn default() -> Self {
        let cut = watch::channel(HashSet::new()).0;
        Self { shared: Arc::new(Shared { listeners: Mutex::default(), cut, pumps: Mutex::default() }) }
    }
}

impl MemoryNet {
    /// The network as `host` sees it. Addresses are `HOST:PORT`.
    pub fn host(&self, host: &str) -> Arc<dyn Net> {
        Arc::new(HostNet { net: self.clone(), host: host.to_owned() })
    }

    /// Holds back everything between two hosts, both ways, as a cut cable does; nothing is lost or reset.
    pub fn cut(&self, a: &str, b: &str) {
        self.shared.cut.send_modify(|cut| {
            cut.insert((a.to_owned(), b.to_owned()));
            cut.insert((b.to_owned(), a.to_owned()));
        });
    }

    /// Undoes [`cut`](Self::cut).
    pub fn heal(&self, a: &str, b: &str) {
        self.shared.cut.send_modify(|cut| {
            cut.remove(&(a.to_owned(), b.to_owned()));
            cut.remove(&(b.to_owned(), a.to_owned()));
        });
    }

    /// Breaks every connection of `host` and forgets its listeners, as the death of its process does.
    pub fn kill(&self, host: &str) {
        self.shared.listeners.lock().retain(|address, _| host_of(address) != host);
        self.shared.pumps.lock().retain(|pump| pump.hosts.0 != host && pump.hosts.1 != host);
    }
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

struct HostNet {
    net: MemoryNet,
    host: String,
}

impl Net for HostNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let (from, to) = (self.host.clone(), host_of(address).to_owned());
            let mut cut = self.net.shared.cut.subscribe();
            // A connection attempt over a cut cable hangs until the caller's deadline.
            let _ = cut.wait_for(|cut| !cut.contains(&(from.clone(), to.clone()))).await;
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let listener = self.net.shared.listeners.lock().get(address).cloned().ok_or_else(refused)?;
            let ((near, near_inner), (far, far_inner)) = (duplex(IN_FLIGHT), duplex(IN_FLIGHT));
            listener.send((far, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).map_err(|_| refused())?;
            let (near_read, near_write) = split(near_inner);
            let (far_read, far_write) = split(far_inner);
            let mut pumps = self.net.shared.pumps.lock();
            for (hosts, read, write) in
                [((from.clone(), to.clone()), near_read, far_write), ((to.clone(), from.clone()), far_read, near_write)]
            {
                let pumping = pump(hosts.clone(), cut.clone(), read, write);
                pumps.push(Pump { hosts, _task: AbortOnDropHandle::new(tokio::spawn(pumping)) });
            }
            Ok(Box::new(near) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (sender, accepted) = mpsc::unbounded_channel();
            let mut listeners = self.net.shared.listeners.lock();
            if listeners.get(address).is_some_and(|listener| !listener.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            listeners.insert(address.to_owned(), sender);
            Ok(Box::new(MemoryListener(tokio::sync::Mutex::new(accepted))) as Box<dyn Listener>)
        })
    }
}

async fn pump(
    hosts: (String, String),
    mut cut: watch::Receiver<HashSet<(String, String)>>,
    mut read: ReadHalf<DuplexStream>,
    mut write: WriteHalf<DuplexStream>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match read.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        if cut.wait_for(|cut| !cut.contains(&hosts)).await.is_err() || write.write_all(&buffer[..count]).await.is_err()
        {
            break;
        }
    }
    // The other side may be gone already.
    let _ = write.shutdown().await;
}

struct MemoryListener(tokio::sync::Mutex<mpsc::UnboundedReceiver<Accepted>>);

impl Listener for MemoryListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async move {
            match self.0.lock().await.recv().await {
                Some((stream, from)) => Ok((Box::new(stream) as Box<dyn Connection>, from)),
                // The host was killed: nothing comes any more.
                None => std::future::pending().await,
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
