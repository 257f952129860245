//! Orders to check all that a node holds, and what came of it.

use serde::{Deserialize, Serialize};

/// The path of a [`ScrubOrder`]; answered with a [`ScrubState`].
pub const SCRUB: &str = "/scrub";

/// What a node's scrub is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScrubOrder {
    /// Nothing: only say how it stands.
    Status,
    /// Begin now, unless one is under way.
    Start,
}

/// How it stands with a node's scrub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubState {
    /// What the one under way has found so far.
    pub running: Option<ScrubReport>,
    /// What the last one that was finished had found.
    pub last: Option<ScrubReport>,
}

/// What a scrub has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, Unix milliseconds; 0 while it is under way.
    pub finished_ms: u64,
    /// Blobs read to their ends.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Copies that were bad: handed to repair.
    pub corrupt: u64,
    /// Blobs that should be here and are not: handed to repair.
    pub missing: u64,
    /// Blobs that repair made whole meanwhile.
    pub repaired: u64,
    /// Bytes there are to be read, as of its beginning.
    pub total_bytes: u64,
    /// Log entries read again.
    pub log_entries: u64,
    /// Groups whose log cannot be read to its end.
    pub log_damaged: u64,
    /// Files of the index read again.
    pub index_files: u64,
    /// Those of them that do not verify.
    pub index_damaged: u64,
}
