//! What lifecycle rules will make go: a look into the expiry index, and what was done last.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, UploadId, VersionId};

/// Something that a rule makes go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// When it is looked at, Unix milliseconds.
    pub due_ms: u64,
    /// Its key.
    pub key: String,
    /// What it is.
    pub what: DueKind,
    /// Its bytes.
    pub size: u64,
    /// Object Lock protects it at that time: it stays for longer.
    pub held: bool,
}

/// What goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DueKind {
    /// A current object: removed, or covered by a delete marker.
    Object(VersionId),
    /// A version that is not current.
    Version(VersionId),
    /// A delete marker that is all there is of its key.
    Marker(VersionId),
    /// An open upload.
    Upload(UploadId),
}

/// What a shard has to tell of a bucket's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuePage {
    /// In the order of their times.
    pub due: Vec<Due>,
    /// Whether there is more behind the last.
    pub more: bool,
    /// Whether the rules are so new that not all that was there before them is in the index yet.
    pub indexing: bool,
    /// The node that answers, and what it has done for rules since it started.
    pub done: (NodeId, LifecycleReport),
}

/// What a node has done for lifecycle rules since it started, in the groups that it led.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleReport {
    /// Current objects that went, or were covered by a delete marker.
    pub objects: u64,
    /// Versions that went.
    pub versions: u64,
    /// Delete markers that went.
    pub markers: u64,
    /// Uploads that were aborted.
    pub uploads: u64,
    /// When something was looked at last, Unix milliseconds; 0: never.
    pub last_ms: u64,
}
