//! What a running node tells those who audit it: tests, simulations, operators with doubts.

use holdfast_wire::id::{BlobId, GroupId, NodeId};

use super::Node;
use crate::index::IndexError;

/// Rows read in one go.
const PAGE: usize = 1000;

impl Node {
    /// Its id, once it has one and its groups run.
    pub fn id(&self) -> Option<NodeId> {
        self.inner.host().ok().map(|host| host.id())
    }

    /// The last entry that a group has applied: its place, and a hash over all changes up to there. `None` before the
    /// first.
    pub fn applied_hash(&self, group: GroupId) -> Option<(u64, u64)> {
        self.inner.host().ok()?.group(group).ok()?.applied_hash()
    }

    /// A digest of each group's whole state, and the place up to which it is applied there: equal for replicas at the
    /// same place. Reads everything: for tests and audits.
    pub fn digests(&self) -> Vec<(GroupId, u64, u64)> {
        let groups = self.inner.host().map(|host| host.groups()).unwrap_or_default();
        groups.iter().filter_map(|group| group.digest().map(|(place, digest)| (group.id(), place, digest))).collect()
    }

    /// The blobs that a group's entries name here, and their lengths. Empty for a group that is not here.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn named_blobs(&self, group: GroupId) -> Result<Vec<(BlobId, u64)>, IndexError> {
        let Some(group) = self.inner.host().ok().and_then(|host| host.group(group).ok()) else { return Ok(Vec::new()) };
        let mut named: Vec<(BlobId, u64)> = Vec::new();
        loop {
            let page = group.index().blobs(named.last().map(|(blob, _)| *blob), PAGE)?;
            if page.is_empty() {
                return Ok(named);
            }
            named.extend(page);
        }
    }
}
