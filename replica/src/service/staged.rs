//! Blobs that this node, as a leader, has received and that are not yet named by a committed entry.

use std::collections::HashMap;
use std::time::Duration;

use holdfast_wire::id::{BlobId, NodeId};
use parking_lot::Mutex;
use tokio::time::Instant;

/// An upload may take so long from its last byte to its entry.
const WAIT: Duration = Duration::from_secs(3600);

struct Upload {
    holders: Vec<NodeId>,
    at: Instant,
}

/// Uploaded blobs and who has them on disk.
#[derive(Default)]
pub struct Staged {
    blobs: Mutex<HashMap<BlobId, Upload>>,
}

impl Staged {
    /// A majority has the blob.
    pub fn uploaded(&self, blob: BlobId, holders: Vec<NodeId>) {
        let mut blobs = self.blobs.lock();
        // Of a gateway that died in between nothing more is heard.
        blobs.retain(|_, upload| upload.at.elapsed() < WAIT);
        blobs.insert(blob, Upload { holders, at: Instant::now() });
    }

    /// Who has it, if it was uploaded here.
    pub fn holders(&self, blob: BlobId) -> Option<Vec<NodeId>> {
        self.blobs.lock().get(&blob).map(|upload| upload.holders.clone())
    }

    /// An entry names it now, or never will.
    pub fn committed(&self, blob: BlobId) {
        self.blobs.lock().remove(&blob);
    }

    /// Whether it waits for its entry.
    pub fn waits(&self, blob: BlobId) -> bool {
        self.blobs.lock().get(&blob).is_some_and(|upload| upload.at.elapsed() < WAIT)
    }
}
