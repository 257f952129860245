//! Where the other nodes are: node id → target, kept from the layout that heartbeats and root spread.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_wire::heartbeat::{Layout, NodeInfo};
use holdfast_wire::id::{ClusterId, NodeId};
use holdfast_wire::transport::Target;
use parking_lot::RwLock;

/// The address book. Cheap to clone; all clones are one book.
#[derive(Clone)]
pub struct Peers {
    cluster: ClusterId,
    book: Arc<RwLock<HashMap<NodeId, NodeInfo>>>,
}

impl Peers {
    /// The book of `cluster`, with `nodes` in it.
    pub fn new(cluster: ClusterId, nodes: impl IntoIterator<Item = NodeInfo>) -> Self {
        let book = nodes.into_iter().map(|node| (node.id, node)).collect();
        Self { cluster, book: Arc::new(RwLock::new(book)) }
    }

    /// Takes over configured addresses: they win over what was stamped at the founding.
    pub fn configure(&self, addresses: &[(String, String)]) {
        for node in self.book.write().values_mut() {
            if let Some((_, address)) = addresses.iter().find(|(name, _)| *name == node.name) {
                node.address = address.clone();
            }
        }
    }

    /// How to reach `node`, if it is known.
    pub fn target(&self, node: NodeId) -> Option<Target> {
        let book = self.book.read();
        let address = book.get(&node)?.address.clone();
        Some(Target { address, cluster: Some(self.cluster), node: Some(node) })
    }

    /// Takes over the nodes of a newer layout. Nodes that left stay known: they may still be asked for blobs.
    pub fn learn(&self, layout: &Layout) {
        let mut book = self.book.write();
        for node in &layout.nodes {
            book.insert(node.id, node.clone());
        }
    }

    /// Takes over one node's own word about itself.
    pub fn learn_one(&self, node: &NodeInfo) {
        if self.book.read().get(&node.id) != Some(node) {
            self.book.write().insert(node.id, node.clone());
        }
    }
}
