//! What was done to keys of a bucket that keeps versions: every change adds one or takes one away, and nothing replaces
//! another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One operation on one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versioned {
    /// Who did it. Each client does one thing at a time.
    pub client: u32,
    /// The key.
    pub key: String,
    /// What was asked.
    pub op: Op,
    /// Nanoseconds since the run's start.
    pub start: u64,
    /// Likewise; [`NEVER`](super::NEVER) for an unknown change.
    pub end: u64,
    /// What is known of it.
    pub outcome: Outcome,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Puts an object, the newest version from then on.
    Put {
        /// Unique over the run.
        write: u64,
        /// Entity tag without quotes, of no other write.
        etag: String,
    },
    /// Deletes without a version: puts a delete marker.
    Mark,
    /// Deletes the version with this id for good.
    Remove(String),
    /// Reads the version with this id, or the newest.
    Read(Option<String>),
    /// Lists all versions.
    List,
}

/// What is known of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The id of the version that a put or a delete made.
    Made(String),
    /// A removal was acknowledged.
    Removed,
    /// What a read showed.
    Saw(Shown),
    /// What a listing showed.
    Listed(Listing),
    /// Certainly without effect, and nothing learnt.
    Failed(String),
    /// Nobody knows.
    Unknown(String),
}

/// What a read shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shown {
    /// No such key, or no such version.
    Nothing,
    /// A delete marker.
    Marker,
    /// An object.
    Object {
        /// The id of its version.
        version: String,
        /// Its entity tag without quotes.
        etag: String,
        /// What is wrong with its bytes.
        fault: Option<String>,
    },
}

/// All versions of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// Version ids and entity tags without quotes of the objects, newest first.
    pub objects: Vec<(String, String)>,
    /// Version ids of the delete markers, newest first.
    pub markers: Vec<String>,
    /// The ids of those that are called the newest.
    pub latest: Vec<String>,
}

impl Versioned {
    /// Whether it was an acknowledged change.
    pub fn acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Made(_) | Outcome::Removed)
    }
}

/// By key, in order of start.
pub fn by_key(records: &[Versioned]) -> BTreeMap<&str, Vec<&Versioned>> {
    let mut keys = BTreeMap::<&str, Vec<&Versioned>>::new();
    for record in records {
        keys.entry(&record.key).or_default().push(record);
    }
    keys.values_mut().for_each(|records| records.sort_by_key(|record| (record.start, record.end)));
    keys
}
