//! What a run did: every operation with the interval in which it ran and what is known of its outcome.
//!
//! *Unknown is not failed*: a write without a clear answer may apply later, or never.

use std::io::Write;
use std::path::Path;

use holdfast_wire::id::Seq;
use serde::{Deserialize, Serialize};

use crate::history::versioned::Versioned;

mod answer;
pub mod client;
pub mod gap;
pub mod pretend;
pub mod statuses;
pub mod versioned;
pub mod workload;

/// The end of what has no answer.
pub const NEVER: u64 = u64::MAX;

/// One operation on one key (or one listing).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Who did it. Each client does one thing at a time.
    pub client: u32,
    /// The key; of a listing its prefix.
    pub key: String,
    /// What was asked.
    pub op: Op,
    /// Nanoseconds since the run's start.
    pub start: u64,
    /// Likewise; [`NEVER`] for an unknown write.
    pub end: u64,
    /// What is known of it.
    pub outcome: Outcome,
    /// `x-holdfast-seq` of the answer: the place in the log that a change got, or up to which a read looked.
    pub seq: Option<Seq>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Put, copy or complete-multipart: makes `write` the key's value.
    Write(Written),
    /// Takes the key's value away.
    Delete,
    /// Get, range get or head.
    Read,
    /// All pages of a listing.
    List {
        /// The delimiter, if any.
        delimiter: Option<String>,
    },
}

/// What a write writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Unique over the run.
    pub write: u64,
    /// Bytes.
    pub size: u64,
    /// Entity tag without quotes, where the client knows it.
    pub etag: Option<String>,
    /// On what it depends.
    pub condition: Condition,
}

/// A precondition of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// None.
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match` with this entity tag.
    Match(String),
}

/// What is known of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// A write that was acknowledged.
    Done,
    /// A read that found this.
    Saw(Option<Seen>),
    /// A conditional write: refused because of the value that was there (412).
    RefusedPresent,
    /// A conditional write: refused because no value was there (404 on `If-Match`).
    RefusedAbsent,
    /// A listing.
    Listed {
        /// Keys in the order given, over all pages.
        keys: Vec<String>,
        /// Common prefixes likewise.
        prefixes: Vec<String>,
        /// What was wrong with the pages themselves.
        faults: Vec<String>,
        /// The pages, where there is no delimiter.
        #[serde(default)]
        pages: Vec<Page>,
    },
    /// Certainly without effect, and nothing learnt.
    Failed(String),
    /// A write that was tampered with on its way was acknowledged.
    Forged(String),
    /// Nobody knows.
    Unknown(String),
}

/// One page of a listing without a delimiter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Nanoseconds since the run's start.
    pub start: u64,
    /// Likewise.
    pub end: u64,
    /// It begins behind this key.
    pub after: Option<String>,
    /// It ends with this key; `None`: nothing comes behind it.
    pub last: Option<String>,
    /// Keys and entity tags without quotes, in the order given.
    pub entries: Vec<(String, String)>,
}

/// A value read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The write that made it, by the object's metadata.
    pub write: u64,
    /// Bytes of the whole object.
    pub size: u64,
    /// Entity tag without quotes.
    pub etag: String,
    /// What is wrong with its bytes.
    pub fault: Option<String>,
}

/// All records of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In no particular order.
    pub records: Vec<Record>,
    /// What was done to the bucket that keeps versions, likewise.
    pub versioned: Vec<Versioned>,
}

impl History {
    /// Adds another.
    pub fn extend(&mut self, other: Self) {
        self.records.extend(other.records);
        self.versioned.extend(other.versioned);
    }

    /// Operations.
    pub fn operations(&self) -> usize {
        self.records.len() + self.versioned.len()
    }

    /// Changes that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let changes = self.records.iter().filter(|record| record.may_have_applied() && record.acknowledged());
        changes.count() + self.versioned.iter().filter(|record| record.acknowledged()).count()
    }

    /// Keys of both buckets.
    pub fn keys(&self) -> usize {
        self.by_key().len() + versioned::by_key(&self.versioned).len()
    }

    /// The records of each key, listings left out, in order of key and start.
    pub fn by_key(&self) -> std::collections::BTreeMap<&str, Vec<&Record>> {
        let mut keys = std::collections::BTreeMap::<&str, Vec<&Record>>::new();
        for record in self.records.iter().filter(|record| !matches!(record.op, Op::List { .. })) {
            keys.entry(&record.key).or_default().push(record);
        }
        for records in keys.values_mut() {
            records.sort_by_key(|record| (record.start, record.end));
        }
        keys
    }

    /// Writes it down, one JSON object a line.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for record in &self.records {
            serde_json::to_writer(&mut file, record)?;
            file.write_all(b"\n")?;
        }
        for record in &self.versioned {
            serde_json::to_writer(&mut file, record)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }
}

impl Record {
    /// The write, if it is one.
    pub fn as_write(&self) -> Option<&Written> {
        match &self.op {
            Op::Write(write) => Some(write),
            _ => None,
        }
    }

    /// Whether it may have changed its key: acknowledged, or nobody knows.
    pub fn may_have_applied(&self) -> bool {
        matches!(self.op, Op::Write(_) | Op::Delete) && matches!(self.outcome, Outcome::Done | Outcome::Unknown(_))
    }

    /// Whether it was acknowledged.
    pub fn acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Done)
    }
}
