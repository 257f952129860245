//! Buckets as root keeps them and every shard copies them.

use serde::{Deserialize, Serialize};

use crate::configuration::{Configuration, Document, Versioning};
use crate::id::{BucketId, BucketName};
use crate::placement::Placement;

/// When a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AckMode {
    /// After commit and apply: fsynced on a majority (the default).
    #[default]
    Majority,
    /// When the leader's own log has it on disk: what the leader had not replicated is lost with it.
    Leader,
    /// When every voter has it.
    All,
}

/// How fresh a read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadMode {
    /// Linearizable (the default).
    #[default]
    Strong,
    /// Whatever the replica has applied.
    Eventual,
    /// At least as new as the `x-holdfast-seq` the client sends back; strong without one.
    Session,
}

impl AckMode {
    /// The bucket tag and, with an `x-` before it and `-` for `.`, the request header that set it.
    pub const TAG: &str = "holdfast.ack";

    /// `majority`, `leader` or `all`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "majority" => Some(Self::Majority),
            "leader" => Some(Self::Leader),
            "all" => Some(Self::All),
            _ => None,
        }
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::Leader => "leader",
            Self::All => "all",
        }
    }
}

impl ReadMode {
    /// The bucket tag that sets it.
    pub const TAG: &str = "holdfast.read";

    /// `strong`, `eventual` or `session`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "strong" => Some(Self::Strong),
            "eventual" => Some(Self::Eventual),
            "session" => Some(Self::Session),
            _ => None,
        }
    }

    /// The inverse of [`parse`](Self::parse).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Eventual => "eventual",
            Self::Session => "session",
        }
    }
}

/// Where a bucket stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketState {
    /// Known to root, not yet to every shard; not visible.
    Creating,
    /// In use.
    Active,
    /// Frozen while its emptiness is checked, shard by shard: reads go on, writes are refused.
    Deleting,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Immutable identity; objects are stored under it.
    pub id: BucketId,
    /// Its name.
    pub name: BucketName,
    /// Access-key id of the owner.
    pub owner: String,
    /// Creation, Unix milliseconds.
    pub created_ms: u64,
    /// Moves with every change of this record.
    pub revision: u64,
    /// Where it stands in its life.
    pub state: BucketState,
    /// What the placement hash sees of its keys; fixed at creation.
    pub placement: Placement,
    /// Tags, in the order they were set.
    pub tags: Vec<(String, String)>,
    /// What else is configured.
    pub configuration: Configuration,
}

impl Bucket {
    /// The value of one tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str())
    }

    /// Whether its objects have versions.
    pub fn versioning(&self) -> Versioning {
        self.configuration.versioning
    }

    /// One of its documents.
    pub fn document(&self, kind: Document) -> Option<&str> {
        self.configuration.documents.get(&kind).map(String::as_str)
    }

    /// The ack mode that its tags ask for.
    pub fn ack(&self) -> AckMode {
        self.tag(AckMode::TAG).and_then(AckMode::parse).unwrap_or_default()
    }

    /// The read mode that its tags ask for.
    pub fn read(&self) -> ReadMode {
        self.tag(ReadMode::TAG).and_then(ReadMode::parse).unwrap_or_default()
    }
}
