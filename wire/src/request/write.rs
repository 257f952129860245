//! Writes to a shard, and what becomes of them.

use serde::{Deserialize, Serialize};

use crate::acl::Acl;
use crate::bucket::AckMode;
use crate::condition::{ReadCondition, Unmet, WriteCondition};
use crate::deleted::Undelete;
use crate::id::{BucketId, GroupId, ObjectKey, RequestId, Seq, UploadId, VersionId};
use crate::lock::Retention;
use crate::object::{Attributes, Checksum, NewBody, Upload};
use crate::sealed::Salt;
use crate::usage::Share;

/// A write to a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteRequest {
    /// The shard.
    pub group: GroupId,
    /// The request's identity: a repetition carries the same and gets the first outcome.
    pub request: RequestId,
    /// When to answer; `None`: as the bucket says.
    pub ack: Option<AckMode>,
    /// Give up after this many milliseconds (the result is then unknown).
    pub deadline_ms: u32,
    /// The write.
    pub write: Write,
}

/// The writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Creates or replaces an object.
    Put(PutObject),
    /// Deletes objects or versions of one bucket. What is missing counts as deleted.
    Delete {
        /// The bucket.
        bucket: BucketId,
        /// What, all of this shard; at most 1,000.
        keys: Vec<DeleteKey>,
        /// Delete even what is retained in governance mode. The gateway has made sure that the client may.
        bypass_governance: bool,
    },
    /// Copies an object within the shard without moving bytes.
    Copy(CopyObject),
    /// Makes an object within the shard a part of an upload without moving bytes.
    CopyPart(CopyPart),
    /// Gives an object of the shard another key of the shard, in one step and without moving bytes.
    Rename(RenameObject),
    /// Changes what is kept beside a version's bytes.
    Amend(Amend),
    /// Starts a multipart upload.
    CreateUpload {
        /// The bucket.
        bucket: BucketId,
        /// The upload; `initiated_ms` is set by the leader.
        upload: Upload,
    },
    /// Adds or replaces a part.
    PutPart(PutPart),
    /// Makes an object of parts.
    CompleteUpload(CompleteUpload),
    /// Drops an upload and its parts.
    AbortUpload {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The upload.
        upload: UploadId,
    },
    /// Brings an object back that is gone and kept.
    Undelete(Undelete),
}

impl Write {
    /// The bucket it is for.
    pub fn bucket(&self) -> BucketId {
        match self {
            Self::Put(put) => put.bucket,
            Self::Delete { bucket, .. } | Self::CreateUpload { bucket, .. } | Self::AbortUpload { bucket, .. } => {
                *bucket
            }
            Self::Copy(copy) => copy.bucket,
            Self::CopyPart(copy) => copy.bucket,
            Self::Rename(rename) => rename.bucket,
            Self::Amend(amend) => amend.bucket,
            Self::PutPart(part) => part.bucket,
            Self::CompleteUpload(complete) => complete.bucket,
            Self::Undelete(undelete) => undelete.bucket,
        }
    }

    /// Whether its outcome depends on the state it meets (such a write is never answered before commit).
    pub fn is_conditional(&self) -> bool {
        match self {
            Self::Put(put) => !put.condition.is_none(),
            Self::Delete { keys, .. } => keys.iter().any(|key| key.version.is_some() || !key.condition.is_none()),
            Self::CreateUpload { .. } => false,
            Self::Copy(_) | Self::CopyPart(_) | Self::Rename(_) | Self::Amend(_) => true,
            Self::PutPart(_) | Self::CompleteUpload(_) | Self::AbortUpload { .. } | Self::Undelete(_) => true,
        }
    }
}

/// Creates or replaces an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutObject {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// Judged against the current object when the entry is applied.
    pub condition: WriteCondition,
    /// Access-key id of the owner.
    pub owner: String,
    /// Headers, metadata, tags.
    pub attributes: Attributes,
    /// MD5 of the bytes in hex.
    pub etag: String,
    /// Checksum of the bytes.
    pub checksum: Option<Checksum>,
    /// The bytes.
    pub body: NewBody,
}

/// One key to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteKey {
    /// The key.
    pub key: ObjectKey,
    /// This version, for good; `None`: the object, which in a bucket with versions means that a delete marker covers it.
    pub version: Option<VersionId>,
    /// Judged against the version named, or against the current object.
    pub condition: WriteCondition,
}

impl DeleteKey {
    /// The object of this key.
    pub fn current(key: ObjectKey, condition: WriteCondition) -> Self {
        Self { key, version: None, condition }
    }
}

/// Makes a whole object a part, within a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyPart {
    /// The target's bucket.
    pub bucket: BucketId,
    /// The target.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// 1 to 10,000.
    pub number: u16,
    /// The source's bucket.
    pub from_bucket: BucketId,
    /// The source.
    pub from_key: ObjectKey,
    /// The source as the gateway saw it: refused with [`Refusal::SourceChanged`] when it is gone. It must not be of parts:
    /// its entity tag and checksum become the part's.
    pub from_seq: Seq,
}

/// Renames an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameObject {
    /// The bucket.
    pub bucket: BucketId,
    /// The new key.
    pub key: ObjectKey,
    /// The old key.
    pub from_key: ObjectKey,
    /// Judged against the object that now has the new key.
    pub condition: ReadCondition,
    /// Judged against the object that is renamed.
    pub from_condition: ReadCondition,
}

/// Changes what is kept beside a version's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amend {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The version; `None`: the current object.
    pub version: Option<VersionId>,
    /// What changes.
    pub change: Amendment,
}

/// What changes beside a version's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amendment {
    /// Replaces the tags.
    Tags(Vec<(String, String)>),
    /// Sets or takes back the retention.
    Retention {
        /// The new one.
        retention: Option<Retention>,
        /// Even where governance mode forbids it. The gateway has made sure that the client may.
        bypass_governance: bool,
    },
    /// Sets or takes back the legal hold.
    LegalHold(bool),
    /// Replaces the access control list.
    Acl(Option<Acl>),
}

/// Copies an object within a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyObject {
    /// The target's bucket.
    pub bucket: BucketId,
    /// The target.
    pub key: ObjectKey,
    /// Judged against the target's current object.
    pub condition: WriteCondition,
    /// The source's bucket.
    pub from_bucket: BucketId,
    /// The source; may be the target.
    pub from_key: ObjectKey,
    /// The version of the source; `None`: the current object.
    pub from_version: Option<VersionId>,
    /// The source as the gateway saw it: refused with [`Refusal::SourceChanged`] when it is another one now.
    pub from_seq: Seq,
    /// Access-key id of the owner.
    pub owner: String,
    /// What the target gets (the gateway resolves COPY and REPLACE directives).
    pub attributes: Attributes,
}

/// Adds or replaces a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutPart {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// 1 to 10,000.
    pub number: u16,
    /// MD5 of the bytes in hex.
    pub etag: String,
    /// Checksum of the bytes.
    pub checksum: Option<Checksum>,
    /// The bytes.
    pub body: NewBody,
    /// If they are encrypted, as the upload must say too.
    pub salt: Option<Salt>,
}

/// Makes an object of parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteUpload {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// Judged against the current object.
    pub condition: WriteCondition,
    /// Parts in ascending order: number and the entity tag that the client named.
    pub parts: Vec<(u16, String)>,
    /// `md5-of-md5s-N`.
    pub etag: String,
    /// Checksum of the whole, computed by the gateway from the parts' checksums.
    pub checksum: Option<Checksum>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteOutcome {
    /// The object (or part, or upload) is stored.
    Stored {
        /// The write's version number.
        seq: Seq,
        /// Its entity tag (empty for an upload).
        etag: String,
        /// Unix milliseconds.
        modified_ms: u64,
        /// The checksum kept with it.
        checksum: Option<Checksum>,
        /// Its version id, where the bucket has versions.
        version: Option<VersionId>,
    },
    /// Deleted, aborted: one answer per key in the order asked (one for an aborted upload).
    Deleted {
        /// The write's version number.
        seq: Seq,
        /// Per key.
        keys: Vec<Result<Deleted, Refusal>>,
    },
    /// Not applied.
    Refused(Refusal),
}

/// What a delete did to one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The version that was removed, or the delete marker that was made; `None` where the bucket has no versions.
    pub version: Option<VersionId>,
    /// Whether that is a delete marker.
    pub marker: bool,
}

/// Why the state machine refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The shard does not know the bucket (any more).
    #[error("no such bucket")]
    NoSuchBucket,
    /// The bucket is being deleted: try again shortly.
    #[error("the bucket is being deleted")]
    BucketFrozen,
    /// No such object.
    #[error("no such key")]
    NoSuchKey,
    /// The key has no such version.
    #[error("no such version")]
    NoSuchVersion,
    /// The version is a delete marker, which has nothing that could be changed.
    #[error("a delete marker")]
    IsMarker,
    /// The version is retained or held.
    #[error("protected by Object Lock")]
    Locked,
    /// The write brings a retention or a hold, and the bucket has no Object Lock.
    #[error("the bucket has no Object Lock")]
    NoLock,
    /// An object is renamed to its own name.
    #[error("the old and the new key are the same")]
    SameKey,
    /// A retention that would be over already.
    #[error("the retention's end is not in the future")]
    RetentionPast,
    /// No such upload.
    #[error("no such upload")]
    NoSuchUpload,
    /// A precondition does not hold.
    #[error("precondition not met: {0:?}")]
    Condition(Unmet),
    /// The source of a copy is not the one that the gateway saw.
    #[error("the copy's source has changed")]
    SourceChanged,
    /// Complete names a part that is not there or has another entity tag.
    #[error("part {number} is missing or has another entity tag")]
    InvalidPart {
        /// The part.
        number: u16,
    },
    /// Complete names parts out of order.
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is smaller than 5 MiB.
    #[error("part {number} has {size} bytes, fewer than the minimum")]
    PartTooSmall {
        /// The part.
        number: u16,
        /// Its bytes.
        size: u64,
    },
    /// The key does not live in this shard: the map has changed.
    #[error("the key lives in another shard")]
    WrongShard,
    /// The shard's share of the bucket's quota is used up; others may have some left.
    #[error("the shard's share of the bucket's quota is used up")]
    ShareUsedUp {
        /// What the write needs.
        need: Share,
    },
    /// The bucket's quota is used up.
    #[error("the bucket's quota is used up")]
    QuotaExceeded,
    /// Nothing that could be brought back is kept of the key.
    #[error("nothing is kept of that object any more")]
    NotKept,
    /// The key has an object, which bringing another back would replace.
    #[error("the key has an object now")]
    InTheWay,
}
