//! Why a log cannot be opened.

use std::io;
use std::path::PathBuf;

use holdfast_wire::id::GroupId;

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// A record is damaged although a later batch, written after this one was synced, is intact.
    #[error("a damaged record in front of intact ones")]
    Damaged,
    /// The next segment says that this one ended somewhere else.
    #[error("the segment does not end where its successor says")]
    End,
    /// The file is shorter than it was when it was prepared.
    #[error("the file was cut short")]
    Short,
    /// A record is intact but does not follow from what precedes it.
    #[error("a record that contradicts what precedes it")]
    Order,
    /// An entry that the log should have is in no segment.
    #[error("entry {index} of group {group} is missing")]
    Missing {
        /// The group that lacks it.
        group: GroupId,
        /// Its index.
        index: u64,
    },
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Synced bytes changed or vanished. Nothing was cut and nothing was repaired.
    #[error(
        "log segment {} is corrupt at byte {offset}: {what}. This node must not start from it. Replace the node: empty \
         its data directory and start it again; it rejoins as a new node and gets its data from its peers",
        segment.display()
    )]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: Corruption,
    },
    /// A segment was written by a later version of this program.
    #[error("log segment {} has format {found}, this program knows up to {known}", segment.display())]
    Version {
        /// The file.
        segment: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format known.
        known: u32,
    },
    /// The disk has no room for a segment.
    #[error("no room on the disk for a log segment in {}: free some space and start again", dir.display())]
    NoSpace {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The file system failed.
    #[error("log in {}: {source}", dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What it said.
        source: io::Error,
    },
}
