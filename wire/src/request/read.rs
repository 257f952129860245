//! Reads of a shard, and their answers.

use serde::{Deserialize, Serialize};

use crate::bucket::ReadMode;
use crate::condition::{ReadCondition, ReadRefusal};
use crate::deleted::ListDeleted;
use crate::id::{BucketId, GroupId, ObjectKey, Seq, UploadId, VersionId};
use crate::object::{Object, Summary};

/// A read of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRequest {
    /// The shard.
    pub group: GroupId,
    /// How fresh.
    pub freshness: Freshness,
    /// Give up after this many milliseconds.
    pub deadline_ms: u32,
    /// The read.
    pub read: Read,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freshness {
    /// As this mode says; `AtLeast` bounds `Session`.
    Mode(ReadMode),
    /// The replica must have applied this log index.
    AtLeast(u64),
    /// As the bucket's tags say; the number is the session's log index, if the client sent one for this shard.
    AsBucketSays(Option<u64>),
}

/// The reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Read {
    /// An object's record and, unless `head`, its bytes.
    Get(GetObject),
    /// A page of a listing.
    List(ListObjects),
    /// A page of a listing of versions.
    ListVersions(ListVersions),
    /// Open uploads of a bucket.
    ListUploads(ListUploads),
    /// An upload and its parts.
    ListParts {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The upload.
        upload: UploadId,
        /// Only parts above this number.
        after: u16,
        /// At most this many.
        limit: u32,
    },
    /// What the shard holds of one bucket, or of every one.
    Usage {
        /// The bucket; `None`: all.
        bucket: Option<BucketId>,
    },
    /// What lifecycle rules will make go, from the expiry index.
    Due {
        /// The bucket.
        bucket: BucketId,
        /// At most this many.
        limit: u32,
    },
    /// Objects that are gone and kept.
    Deleted(ListDeleted),
}

/// Reads an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetObject {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// Only the record.
    pub head: bool,
    /// Which bytes.
    pub range: RangeSpec,
    /// What must hold.
    pub condition: ReadCondition,
    /// This version; `None`: the current object.
    pub version: Option<VersionId>,
    /// Only this very one, current or not (continuing an interrupted read); otherwise `NoSuchKey`.
    pub seq: Option<Seq>,
}

/// Which bytes of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangeSpec {
    /// All.
    #[default]
    All,
    /// `bytes=first-last`
    FromTo {
        /// First byte.
        first: u64,
        /// Last byte, included.
        last: u64,
    },
    /// `bytes=first-`
    From(u64),
    /// `bytes=-count`
    Suffix(u64),
    /// One part of a multipart object.
    Part(u16),
    /// Bytes as they are stored, wherever they lie in what is encrypted: to go on with a read.
    Stored {
        /// First byte.
        first: u64,
        /// How many.
        count: u64,
    },
}

impl RangeSpec {
    /// First byte and count of what it asks of an object.
    pub fn of(self, object: &Object) -> Result<(u64, u64), NotRead> {
        let size = object.summary.size;
        let unsatisfiable = NotRead::RangeNotSatisfiable { size };
        match self {
            RangeSpec::All => Ok((0, size)),
            RangeSpec::FromTo { first, last } if first <= last && first < size => {
                Ok((first, last.min(size - 1) - first + 1))
            }
            RangeSpec::From(first) if first < size => Ok((first, size - first)),
            RangeSpec::Suffix(count) if count > 0 && size > 0 => Ok((size - count.min(size), count.min(size))),
            RangeSpec::FromTo { .. } | RangeSpec::From(_) | RangeSpec::Suffix(_) => Err(unsatisfiable),
            RangeSpec::Stored { first, count } => {
                let stored: u64 = object.detail.pieces.iter().map(|piece| piece.len).sum();
                let inside = first.checked_add(count).is_some_and(|end| end <= stored);
                if inside { Ok((first, count)) } else { Err(unsatisfiable) }
            }
            RangeSpec::Part(number) => {
                let parts = &object.detail.parts;
                if parts.is_empty() && number == 1 {
                    return Ok((0, size));
                }
                let mut first = 0;
                for part in parts {
                    if part.number == number {
                        return Ok((first, part.size));
                    }
                    first += part.size;
                }
                Err(NotRead::NoSuchPart { parts: parts.len() as u16 })
            }
        }
    }
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListObjects {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys with this prefix.
    pub prefix: String,
    /// Keys that go on behind the prefix with text up to this delimiter count once, as a common prefix.
    pub delimiter: Option<String>,
    /// Where to go on.
    pub after: ListFrom,
    /// At most this many keys and common prefixes together.
    pub limit: u32,
}

/// Where a listing goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListFrom {
    /// At its beginning.
    #[default]
    Start,
    /// Behind this text (which need not be a key that exists).
    After(String),
    /// Behind every key that has this prefix.
    AfterPrefix(String),
}

/// Versions and delete markers of a bucket, ordered by key, of each key the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVersions {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys with this prefix.
    pub prefix: String,
    /// As in [`ListObjects`].
    pub delimiter: Option<String>,
    /// Where to go on.
    pub after: ListFrom,
    /// With [`ListFrom::After`]: only behind this version of that very key, not behind all of them.
    pub after_version: Option<VersionId>,
    /// At most this many versions and common prefixes together.
    pub limit: u32,
}

/// Open uploads of a bucket, ordered by key, then by time of initiation, then by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListUploads {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys with this prefix.
    pub prefix: String,
    /// As in [`ListObjects`].
    pub delimiter: Option<String>,
    /// Only behind this text, and behind this upload of that very key.
    pub after: Option<(String, Option<UploadId>)>,
    /// At most this many uploads and common prefixes together.
    pub limit: u32,
}

/// How a read ends without an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotRead {
    /// The shard does not know the bucket (any more).
    NoSuchBucket,
    /// No such object.
    NoSuchKey,
    /// The key has no such version.
    NoSuchVersion,
    /// A delete marker.
    DeleteMarker {
        /// The marker.
        summary: Box<Summary>,
        /// Whether the request named it by its version id, rather than found it in the object's place.
        named: bool,
    },
    /// No such upload.
    NoSuchUpload,
    /// A condition does not hold.
    Condition {
        /// Which answer.
        refusal: ReadRefusal,
        /// The object.
        summary: Box<Summary>,
    },
    /// The range lies behind the object's end.
    RangeNotSatisfiable {
        /// The object's bytes.
        size: u64,
    },
    /// The object has no such part.
    NoSuchPart {
        /// How many it has.
        parts: u16,
    },
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPage {
    /// Keys in byte order.
    pub objects: Vec<(String, Summary)>,
    /// Common prefixes in byte order.
    pub prefixes: Vec<String>,
    /// Whether there is more behind the last of either.
    pub more: bool,
}

/// One version in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedVersion {
    /// The key.
    pub key: String,
    /// Whether it is the newest of its key.
    pub latest: bool,
    /// The version, or delete marker.
    pub summary: Summary,
}

/// A page of a listing of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionPage {
    /// In byte order of their keys, of each key the newest first.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes in byte order.
    pub prefixes: Vec<String>,
    /// Whether there is more behind the last of either.
    pub more: bool,
}
