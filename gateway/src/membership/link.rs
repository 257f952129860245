//! A node that can be called, and how many calls to it are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use holdfast_wire::context::{self, Side};
use holdfast_wire::id::NodeId;
use holdfast_wire::request::Request;
use holdfast_wire::service::{Answer, Body, Service};
use holdfast_wire::transport::{Client, Remote, Target};

/// Makes services out of addresses.
pub trait Dial: Send + Sync + 'static {
    /// The replica at `target`. Connects when it is called, not before.
    fn dial(&self, target: Target) -> Arc<dyn Service>;
}

impl Dial for Client {
    fn dial(&self, target: Target) -> Arc<dyn Service> {
        Arc::new(Remote::new(self.clone(), target))
    }
}

/// A node that can be called.
pub struct Link {
    /// The node.
    pub node: NodeId,
    /// Whether it lives in this process.
    pub local: bool,
    /// Where it is called.
    pub address: String,
    service: Arc<dyn Service>,
    open: AtomicU32,
}

impl Link {
    /// A link to `node` behind `service`.
    pub fn new(node: NodeId, local: bool, address: String, service: Arc<dyn Service>) -> Self {
        Self { node, local, address, service, open: AtomicU32::new(0) }
    }

    /// Calls from this process that are not answered to the end.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Calls the node. The guard counts the call as open until it is dropped.
    pub fn call(
        self: &Arc<Self>,
        request: Request,
        body: Body,
    ) -> (impl Future<Output = Answer> + Send + 'static, OpenCall) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let (service, kind, node) = (self.service.clone(), request.kind(), self.node.0);
        let call = async move {
            // Asked for within the span: the replica's is its child.
            context::traced(Side::Client, kind, node, async move { service.call(request, body).await }).await
        };
        (call, OpenCall { link: self.clone() })
    }
}

/// Counts a call as open while it lives.
pub struct OpenCall {
    link: Arc<Link>,
}

impl OpenCall {
    /// Who was called.
    pub fn node(&self) -> NodeId {
        self.link.node
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.link.open.fetch_sub(1, Ordering::Relaxed);
    }
}
