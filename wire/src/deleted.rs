//! Objects that are gone and can still be brought back.

use serde::{Deserialize, Serialize};

use crate::id::{BucketId, ObjectKey, Seq};

/// Why an object is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It was deleted.
    Deleted,
    /// Another one was written in its place.
    Overwritten,
    /// A lifecycle rule made it go.
    Expired,
}

impl Why {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Overwritten => "overwritten",
            Self::Expired => "expired",
        }
    }
}

/// An object that is gone, and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedObject {
    /// Its key.
    pub key: String,
    /// Its number.
    pub seq: Seq,
    /// Its bytes as the client sent them.
    pub size: u64,
    /// Its entity tag.
    pub etag: String,
    /// When it was written, Unix milliseconds.
    pub modified_ms: u64,
    /// Since when it is gone, Unix milliseconds.
    pub since_ms: u64,
    /// Why it is gone.
    pub why: Why,
    /// Whether its key has an object now.
    pub covered: bool,
}

/// Asks for objects that are gone and kept, ordered by key, of each key the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDeleted {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys with this prefix.
    pub prefix: String,
    /// Only behind this object.
    pub after: Option<(String, Seq)>,
    /// At most this many.
    pub limit: u32,
}

/// A page of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedPage {
    /// In order.
    pub deleted: Vec<DeletedObject>,
    /// Whether there is more behind the last.
    pub more: bool,
}

/// Brings an object back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelete {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The object of this number; `None`: the newest that is kept.
    pub seq: Option<Seq>,
    /// Even if the key has an object now, which then goes in its stead.
    pub replace: bool,
}

/// What a shard keeps of objects that are gone. Exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Objects.
    pub objects: u64,
    /// Bytes of them, as they are stored.
    pub bytes: u64,
}
