//! What root is asked, and why it refuses.

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::configuration::{BucketChange, Document};
use crate::heartbeat::NodeInfo;
use crate::id::{BucketId, BucketName, GroupId, NodeId, RequestId};
use crate::identity::{IdentityChange, IdentityRefusal};
use crate::placement::Placement;
use crate::usage::Share;

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
        /// First documents.
        documents: Vec<(Document, String)>,
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
    /// A shard has used up its share of a bucket's quota and needs so much more of it: `Done` when it has it,
    /// [`RootRefusal::QuotaExceeded`] when the bucket is full.
    ShareQuota {
        /// The bucket.
        bucket: BucketId,
        /// The shard.
        group: GroupId,
        /// What it needs beyond what it holds.
        need: Share,
    },
    /// One bucket as the replica that is asked has it, however old that is.
    KnownBucket {
        /// The name.
        name: BucketName,
    },
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
    /// All shards together have not so much of the bucket's quota left.
    #[error("the bucket's quota is used up")]
    QuotaExceeded,
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
