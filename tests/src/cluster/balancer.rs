//! What stands in front of gateways in real life: each connection goes to one that says that it is ready, in turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::client::plain;
use crate::cluster::ports::NodePorts;

/// Between two looks at who is ready, as a Service of Kubernetes would hear of it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Balances until it is dropped.
pub struct Balancer {
    address: String,
    _tasks: JoinSet<()>,
}

impl Balancer {
    /// In front of the gateways with these ports.
    pub async fn start(nodes: Vec<NodePorts>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let ready = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(look(nodes, ready.clone()));
        tasks.spawn(accept(listener, ready));
        Ok(Self { address, _tasks: tasks })
    }

    /// `http://host:port`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn look(nodes: Vec<NodePorts>, ready: Arc<Mutex<Vec<u16>>>) {
    loop {
        let asked = nodes.iter().map(async |node| {
            let ops = format!("127.0.0.1:{}", node.ops);
            let answer = plain::get(&ops, "/health/ready", None).await;
            answer.is_ok_and(|(status, _)| status.is_success()).then_some(node.s3)
        });
        *ready.lock() = futures::future::join_all(asked).await.into_iter().flatten().collect();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn accept(listener: TcpListener, ready: Arc<Mutex<Vec<u16>>>) {
    let turn = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (ready, turn) = (ready.clone(), turn.clone());
        connections.spawn(async move {
            let gateways = ready.lock().clone();
            let first = turn.fetch_add(1, Ordering::Relaxed);
            for step in 0..gateways.len() {
                let port = gateways[(first + step) % gateways.len()];
                if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    return;
                }
            }
        });
    }
}
