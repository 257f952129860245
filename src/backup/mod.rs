//! Backups of the store itself: made of a running cluster through its admin API, kept in a directory or an S3 bucket,
//! restored into an empty data directory.
//!
//! ```text
//! holdfast-backup                      what this is: the line below
//! blobs/<2 hex>/<32 hex>               bytes of large objects, named by their ids: written once, shared by all backups
//! backups/<name>/group-<id>            a group's rows: chunks as the admin API streams them
//! backups/<name>/manifest.json         written last: without it there is no backup of that name
//! removing                             there while old backups are removed
//! ```
//! Every file of rows and every blob ends with a trailer: the SHA-256 of what is before it, its length, and eight bytes
//! that say so. Nothing is restored that does not match.

mod create;
mod directory;
mod manifest;
pub mod progress;
mod remove;
mod restore;
mod s3;
mod seal;
mod store;

use std::path::PathBuf;

use holdfast_replica::index::IndexError;
use holdfast_replica::index::engine::EngineError;
use holdfast_replica::node::RestoreError;

use crate::client::ClientError;
use crate::lock::LockError;

pub use create::create;
pub use manifest::{Manifest, list};
pub use remove::{Choose, remove};
pub use restore::{Restored, restore};
pub use store::{Store, StoreError, open};

/// The content of `holdfast-backup`.
const FORMAT: &[u8] = b"holdfast-backup 1\n";

/// Why a backup was not made, listed or restored; one line each.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Where it is kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClientError),
    /// What the cluster sent are no rows of this version.
    #[error("group {group}: {source}")]
    Rows {
        /// The group.
        group: u32,
        /// What is wrong.
        source: IndexError,
    },
    /// Fewer or more bytes than the rows say.
    #[error("blob {blob} of group {group}: {found} bytes came, {wanted} were expected")]
    Length {
        /// The group.
        group: u32,
        /// The blob.
        blob: String,
        /// What came.
        found: u64,
        /// What the rows say.
        wanted: u64,
    },
    /// Something else is kept there.
    #[error("{0} holds something else than backups of this format")]
    OtherFormat(String),
    /// Bytes that are not what was written.
    #[error("{name}: damaged or cut off")]
    Damaged {
        /// The file.
        name: String,
    },
    /// No such backup.
    #[error("there is no backup {0:?} (`holdfast backup list` shows those that are there)")]
    NoSuchBackup(String),
    /// Blobs that it counts on would look as if nothing named them.
    #[error(
        "the backup {0} is being made, or was broken off: wait for it, or remove what there is of it \
         (`holdfast backup remove`)"
    )]
    Unfinished(String),
    /// Blobs that were found may be gone in a moment.
    #[error(
        "{0}: old backups are being removed; try again when that is over (if it was broken off: `holdfast backup prune`)"
    )]
    Removing(String),
    /// No backup at all.
    #[error("there is no backup in {0}")]
    Empty(String),
    /// A manifest that this version cannot read.
    #[error("{name}: not a manifest of a known version")]
    Manifest {
        /// The file.
        name: String,
    },
    /// The data directory is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The index cannot be opened.
    #[error("data directory {}: {source}", path.display())]
    Index {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: EngineError,
    },
    /// The directory cannot be made.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}
