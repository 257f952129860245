//! What a gateway asks of a replica, and the answers.

use serde::{Deserialize, Serialize};

use crate::backup::BackupRequest;
use crate::bucket::{AckMode, Bucket, ReadMode};
use crate::condition::{ReadCondition, ReadRefusal, Unmet, WriteCondition};
use crate::configuration::BucketChange;
use crate::heartbeat::{ClusterView, NodeInfo};
use crate::id::{
    BlobId, BucketId, BucketName, ClusterId, GroupId, NodeId, ObjectKey, RequestId, Seq, UploadId, VersionId,
};
use crate::identity::{Identities, IdentityChange, IdentityRefusal};
use crate::lock::Retention;
use crate::object::{Attributes, Checksum, NewBody, Object, Part, Summary, Upload};
use crate::placement::Placement;
use crate::sealed::Salt;

/// One request.
#[expect(clippy::large_enum_variant, reason = "made once, moved once; most requests are of the large kinds")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A write to a shard. Leader only.
    Write(WriteRequest),
    /// Streams a large body to the leader of `group`, framed as in [`crate::frame`]; answered with
    /// [`Response::Uploaded`] once a majority of voters, the leader included, has it on disk.
    UploadBlob {
        /// The shard whose object will name the blob.
        group: GroupId,
        /// A fresh id, chosen by the gateway.
        blob: BlobId,
    },
    /// A blob that was uploaded will not be committed: reclaim it at once.
    DropBlob {
        /// The shard.
        group: GroupId,
        /// The blob.
        blob: BlobId,
    },
    /// A read of a shard. Any replica.
    Read(ReadRequest),
    /// Something of root. Writes: leader only; reads: any member of root.
    Root(RootRequest),
    /// The cluster as this node sees it.
    View,
    /// Hands the leadership of a group to another voter; leader only, answered with `Done` when it was handed over.
    TransferLeader {
        /// The group.
        group: GroupId,
        /// The voter that is to lead.
        to: NodeId,
    },
    /// Something that a backup reads. Any member.
    Backup(BackupRequest),
}

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
        }
    }

    /// Whether its outcome depends on the state it meets (such a write is never answered before commit).
    pub fn is_conditional(&self) -> bool {
        match self {
            Self::Put(put) => !put.condition.is_none(),
            Self::Delete { keys, .. } => keys.iter().any(|key| key.version.is_some() || !key.condition.is_none()),
            Self::CreateUpload { .. } => false,
            Self::Copy(_) | Self::CopyPart(_) | Self::Rename(_) | Self::Amend(_) => true,
            Self::PutPart(_) | Self::CompleteUpload(_) | Self::AbortUpload { .. } => true,
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
}

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

/// Something of root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootRequest {
    /// Creates a bucket, or answers that it exists. Answered when every shard knows it.
    CreateBucket {
        /// The request's identity.
        request: RequestId,
        /// The name.
        name: BucketName,
        /// Access-key id of the owner.
        owner: String,
        /// What of its keys is hashed.
        placement: Placement,
        /// First tags.
        tags: Vec<(String, String)>,
        /// Whether it has Object Lock, and with it versioning.
        lock: bool,
    },
    /// Deletes an empty bucket.
    DeleteBucket {
        /// The request's identity.
        request: RequestId,
        /// The name.
        name: BucketName,
    },
    /// Changes a bucket. Answered when every shard knows of it.
    ChangeBucket {
        /// The request's identity.
        request: RequestId,
        /// The name.
        name: BucketName,
        /// What changes.
        change: BucketChange,
    },
    /// One bucket (linearizable).
    Bucket {
        /// The name.
        name: BucketName,
    },
    /// All buckets, by name (linearizable).
    Buckets,
    /// Everybody whom the cluster knows, if there are newer ones than this version (linearizable).
    Identities {
        /// The version that the caller has; 0: none.
        known: u64,
    },
    /// Changes whom the cluster knows: all at once or not at all.
    ChangeIdentities {
        /// The request's identity.
        request: RequestId,
        /// The version that the changes were made for.
        expect: u64,
        /// The changes.
        changes: Vec<IdentityChange>,
    },
    /// A new node asks for an id. A name that is taken means: replace that node.
    Join {
        /// The request's identity.
        request: RequestId,
        /// Who asks.
        node: NodeInfo,
    },
    /// Takes a node out of every group and out of the cluster.
    RemoveNode {
        /// The request's identity.
        request: RequestId,
        /// The node.
        node: NodeId,
    },
    /// Lets a node give everything away that it holds, or lets it hold things again.
    DrainNode {
        /// The request's identity.
        request: RequestId,
        /// The node.
        node: NodeId,
        /// Whether it is to give everything away.
        drain: bool,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Write`].
    Written {
        /// The outcome.
        outcome: WriteOutcome,
        /// The mode that answered.
        ack: AckMode,
    },
    /// To [`Request::UploadBlob`].
    Uploaded {
        /// Who has it on disk.
        holders: Vec<NodeId>,
    },
    /// To [`Read::Get`]; the body carries the bytes of `range`.
    Object {
        /// The object.
        object: Box<Object>,
        /// First byte and count of the bytes that follow.
        range: (u64, u64),
        /// The log index up to which the replica had applied.
        applied: u64,
    },
    /// To a read that ends otherwise.
    NotRead(NotRead),
    /// To [`Read::List`].
    Listed(ListPage),
    /// To [`Read::ListVersions`].
    ListedVersions(VersionPage),
    /// To [`Read::ListUploads`].
    Uploads {
        /// Uploads in order.
        uploads: Vec<Upload>,
        /// Common prefixes in order.
        prefixes: Vec<String>,
        /// Whether there is more.
        more: bool,
    },
    /// To [`Read::ListParts`].
    Parts {
        /// The upload.
        upload: Box<Upload>,
        /// Parts, ascending.
        parts: Vec<Part>,
        /// Whether there is more.
        more: bool,
    },
    /// To requests about one bucket.
    Bucket(Box<Bucket>),
    /// To [`RootRequest::Buckets`].
    Buckets(Vec<Bucket>),
    /// To [`RootRequest::Identities`]; `None`: there are no newer ones.
    Identities(Option<Box<Identities>>),
    /// Refused by root.
    RootRefused(RootRefusal),
    /// To [`RootRequest::Join`].
    Joined {
        /// The cluster.
        cluster: ClusterId,
        /// The new node's id.
        node: NodeId,
    },
    /// To [`Request::View`].
    View(Box<ClusterView>),
    /// To requests with nothing to tell.
    Done,
    /// To [`BackupRequest::Cut`]; the rows follow.
    Cut {
        /// The log index of which they are.
        index: u64,
    },
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

/// Why root refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RootRefusal {
    /// No such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// The bucket exists.
    #[error("the bucket exists")]
    BucketExists(Box<Bucket>),
    /// The bucket is being created or deleted by somebody else right now.
    #[error("another operation on the bucket is under way")]
    BucketBusy,
    /// The bucket holds objects or open uploads.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The bucket is in no state for that change of its configuration.
    #[error("{0}")]
    BucketState(StateConflict),
    /// The identities cannot be changed so.
    #[error(transparent)]
    Identity(IdentityRefusal),
    /// No such node.
    #[error("no such node")]
    NoSuchNode,
    /// Without that node a group could not keep its voters.
    #[error("too few nodes would be left for the copies that every group should have")]
    TooFewNodes,
}

/// Why a bucket's configuration cannot be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StateConflict {
    /// Versioning that was enabled can be suspended, not taken back.
    #[error("versioning cannot be turned off, only suspended")]
    VersioningOff,
    /// Object Lock needs versions.
    #[error("versioning cannot be suspended on a bucket with Object Lock")]
    Locked,
    /// Object Lock needs versions.
    #[error("Object Lock needs a bucket with versioning enabled")]
    NotVersioned,
}
