//! Blobs that this node, as a leader, has received and that are not yet named by a committed entry.

use std::collections::HashMap;

use holdfast_wire::id::{BlobId, GroupId, NodeId};
use parking_lot::Mutex;

/// Uploaded blobs and who has them on disk.
#[derive(Default)]
pub struct Staged {
    blobs: Mutex<HashMap<BlobId, (GroupId, Vec<NodeId>)>>,
}

impl Staged {
    /// A majority has the blob.
    pub fn uploaded(&self, group: GroupId, blob: BlobId, holders: Vec<NodeId>) {
        self.blobs.lock().insert(blob, (group, holders));
    }

    /// Who has it, if it was uploaded here.
    pub fn holders(&self, blob: BlobId) -> Option<Vec<NodeId>> {
        self.blobs.lock().get(&blob).map(|(_, holders)| holders.clone())
    }

    /// An entry names it now, or never will.
    pub fn committed(&self, blob: BlobId) {
        self.blobs.lock().remove(&blob);
    }

    /// Whether it waits for its entry.
    pub fn waits(&self, blob: BlobId) -> bool {
        self.blobs.lock().contains_key(&blob)
    }
}
