//! What a gateway asks of a replica, and the answers.

mod read;
mod root;
mod write;

use serde::{Deserialize, Serialize};

use crate::backup::BackupRequest;
use crate::bucket::{AckMode, Bucket};
use crate::deleted::DeletedPage;
use crate::due::DuePage;
use crate::heartbeat::ClusterView;
use crate::id::{BlobId, ClusterId, GroupId, NodeId, Seq};
use crate::identity::Identities;
use crate::object::{Object, Part, Upload};
use crate::usage::BucketUsage;

pub use read::*;
pub use root::*;
pub use write::*;

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

impl Request {
    /// What kind it is of, for logs and traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Write(_) => "write",
            Self::UploadBlob { .. } => "upload-blob",
            Self::DropBlob { .. } => "drop-blob",
            Self::Read(_) => "read",
            Self::Root(_) => "root",
            Self::View => "view",
            Self::TransferLeader { .. } => "transfer-leader",
            Self::Backup(_) => "backup",
        }
    }
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
    /// To [`Read::Get`] of an object that is not there: the log index up to which the replica has looked.
    Absent(Seq),
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
    /// To [`Read::Usage`].
    Usage(Vec<BucketUsage>),
    /// To [`Read::Due`].
    Due(Box<DuePage>),
    /// To [`Read::Deleted`].
    Deleted(Box<DeletedPage>),
}
