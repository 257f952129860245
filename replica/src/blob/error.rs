//! What can go wrong with a blob.

use std::io;

use holdfast_wire::error::CallError;
use holdfast_wire::id::{BlobId, GroupId};

use crate::file::is_full;

/// Why a blob could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The copy on this node is not what was written. Its bytes were not handed out: read another copy.
    #[error("blob {group}/{id} is corrupt: {damage}")]
    Corrupt {
        /// The blob's group.
        group: GroupId,
        /// The blob.
        id: BlobId,
        /// What does not fit.
        damage: Damage,
    },
    /// The device could not read the copy on this node: read another copy.
    #[error("blob {group}/{id} cannot be read")]
    Unreadable {
        /// The blob's group.
        group: GroupId,
        /// The blob.
        id: BlobId,
        /// What the system said.
        source: io::Error,
    },
    /// The file system is full, or so nearly that no new blob is begun. Nothing was kept.
    #[error("no space left for blobs")]
    NoSpace,
    /// A blob of this id is here, or being written. Ids are never reused.
    #[error("blob {group}/{id} exists already")]
    Exists {
        /// The blob's group.
        group: GroupId,
        /// The blob.
        id: BlobId,
    },
    /// A sync failed, now or earlier: what the system still holds of earlier writes is unknown. Nothing is written any
    /// more; the process should end.
    #[error("a sync of the blob store failed: it takes no more writes")]
    SyncFailed,
    /// A write failed. Nothing was kept.
    #[error("{doing} failed")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What about a blob's file is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Shorter than any blob's file.
    #[error("the file is cut off")]
    CutOff,
    /// The trailer or the checksum table.
    #[error("the footer does not verify")]
    Footer,
    /// A sound file of another blob.
    #[error("the file is that of blob {group}/{id}")]
    Foreign {
        /// Its group.
        group: GroupId,
        /// Its id.
        id: BlobId,
    },
    /// One block, counted from 0.
    #[error("block {0} does not verify")]
    Block(u64),
    /// The bytes are sound by themselves and differ from those of the copy they were fetched from.
    #[error("the checksums differ from those of the source")]
    Differs,
}

impl BlobError {
    pub(super) fn write(doing: &'static str, source: io::Error) -> Self {
        if is_full(source.kind()) { Self::NoSpace } else { Self::Io { doing, source } }
    }

    /// Whether this node's copy is bad while another may be good.
    pub fn is_bad_copy(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Unreadable { .. })
    }
}

impl From<&BlobError> for CallError {
    fn from(error: &BlobError) -> Self {
        match error {
            BlobError::Corrupt { .. } | BlobError::Unreadable { .. } => Self::NotHeld,
            BlobError::NoSpace => Self::NoSpace,
            BlobError::Exists { .. } => Self::Malformed { reason: error.to_string() },
            BlobError::SyncFailed => Self::Unavailable { reason: error.to_string() },
            BlobError::Io { source, .. } => Self::Unavailable { reason: format!("{error}: {source}") },
        }
    }
}

impl From<BlobError> for CallError {
    fn from(error: BlobError) -> Self {
        (&error).into()
    }
}
