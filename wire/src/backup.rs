//! What a backup asks of replicas: frozen rows, whole blobs, and time to fetch them.

use serde::{Deserialize, Serialize};

use crate::id::{BlobId, GroupId};

/// One request of a backup. Any member answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupRequest {
    /// All rows of a group as of one moment: everything acknowledged before this request is in them. Answered with
    /// [`Response::Cut`](crate::request::Response::Cut); the body is `chunk length u32 LE | chunk`, again and again.
    Cut {
        /// The group.
        group: GroupId,
    },
    /// A whole blob, every byte verified; the body's length is the blob's.
    Blob {
        /// The group.
        group: GroupId,
        /// The blob.
        blob: BlobId,
    },
    /// Removes no blob from this node for so long: a backup is fetching what its rows name. A disk that is nearly
    /// full, and a restart, end it.
    Hold {
        /// Milliseconds; at most 15 minutes are granted.
        for_ms: u32,
    },
}
