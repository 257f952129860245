//! What stands in the log: commands in their envelopes, and the outcomes that `apply` gives.
//!
//! ```text
//! envelope   01 | postcard(Envelope)
//! ```
//! The first byte is the version. `0x00` and `0xff` are never versions: the log uses them for blank and membership
//! entries.

use std::fmt;

use bytes::Bytes;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::{BucketChange, Document};
use holdfast_wire::heartbeat::{Layout, NodeInfo};
use holdfast_wire::id::{BucketId, BucketName, ClusterId, Epoch, GroupId, NodeId, RequestId};
use holdfast_wire::identity::IdentityChange;
use holdfast_wire::placement::{HashRange, Placement};
use holdfast_wire::request::{RootRefusal, Write, WriteOutcome};
use holdfast_wire::usage::{Share, Usage};
use serde::{Deserialize, Serialize};

/// The version of the envelope's bytes.
const VERSION: u8 = 1;

/// A command with what the leader adds to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The request's identity: a repeated one returns the first outcome.
    pub request: Option<RequestId>,
    /// The leader's clock when it proposed the entry, Unix milliseconds. `apply` has no other.
    pub now_ms: u64,
    /// The command.
    pub command: Command,
}

/// Bytes that are no envelope of a known version: the software is older than the log, or the log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an envelope of a known version")]
pub struct NotAnEnvelope;

impl Envelope {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(256 + self.command.body_len());
        bytes.push(VERSION);
        postcard::to_extend(self, bytes).expect("an envelope is always encodable").into()
    }

    /// The request id in `bytes`, without decoding the rest; `None` if there is none, or no envelope.
    pub fn peek_request(bytes: &[u8]) -> Option<RequestId> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::take_from_bytes::<Option<RequestId>>(rest).ok()?.0,
            _ => None,
        }
    }

    /// The envelope behind `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAnEnvelope> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
                Ok((envelope, [])) => Ok(envelope),
                Ok(_) | Err(_) => Err(NotAnEnvelope),
            },
            _ => Err(NotAnEnvelope),
        }
    }
}

/// A change of one group's state.
#[expect(clippy::large_enum_variant, reason = "nearly all commands are writes")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A client's write (shards).
    Write(Write),
    /// Sets this shard's copy of a bucket, unless the copy it has is as new (shards). Gives
    /// [`Outcome::BucketInstalled`].
    InstallBucket(Bucket),
    /// Drops an empty bucket with its open uploads, for good: its id is refused from then on (shards). Gives
    /// [`Outcome::BucketInstalled`]; a bucket that holds objects stays.
    RemoveBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Says which points of the hash space the shard holds, if `epoch` is newer than the last (shards).
    SetRange {
        /// The range.
        range: HashRange,
        /// Of the shard's entry in the map.
        epoch: Epoch,
    },
    /// A change of nodes, map or buckets (root).
    Root(RootCommand),
    /// Has lifecycle rules judge what is due, at most so many rows. Gives [`Outcome::Expired`].
    Expire {
        /// Rows.
        limit: u32,
    },
    /// Makes expiry rows for what a bucket held before its rules changed, at most so many. To be repeated.
    Reindex {
        /// The bucket.
        bucket: BucketId,
        /// Rows.
        limit: u32,
    },
    /// Housekeeping: forgets trash and finished uploads older than this. Bounded per command; to be repeated.
    Collect {
        /// Unix milliseconds.
        before_ms: u64,
    },
    /// A step of sharing out a bucket's quota (shards). Gives [`Outcome::Shared`], or [`Outcome::None`] where it comes
    /// too late.
    Quota {
        /// The bucket.
        bucket: BucketId,
        /// Root's log index of the round: later rounds end earlier ones.
        round: u64,
        /// The step.
        step: QuotaStep,
    },
    /// Lets go of what is kept of objects that went before this, oldest first. Bounded per command; to be repeated.
    Forget {
        /// Unix milliseconds.
        before_ms: u64,
    },
}

/// A step of sharing out a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuotaStep {
    /// Gives back what the share has beyond what the bucket holds here and so much to spare.
    Return {
        /// What is kept.
        spare: Share,
    },
    /// Sets the share, if this round is the last that was heard of.
    Take {
        /// What the bucket may hold here.
        share: Share,
    },
}

impl Command {
    /// Bytes of the inline body that it carries.
    fn body_len(&self) -> usize {
        use holdfast_wire::object::NewBody;
        match self {
            Self::Write(Write::Put(put)) => match &put.body {
                NewBody::Inline(bytes) => bytes.len(),
                NewBody::Blob { .. } => 0,
            },
            Self::Write(Write::PutPart(part)) => match &part.body {
                NewBody::Inline(bytes) => bytes.len(),
                NewBody::Blob { .. } => 0,
            },
            _ => 0,
        }
    }
}

/// A change of nodes, map or buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootCommand {
    /// The first of all; later ones change nothing.
    Genesis {
        /// The cluster.
        cluster: ClusterId,
        /// First nodes and map; its version is set by `apply`.
        layout: Layout,
        /// How many voters a group should have.
        replicas: u8,
    },
    /// Reserves name and id: the bucket is `Creating`. Asked again by the same owner meanwhile, gives it again.
    CreateBucket {
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
    /// `Creating` → `Active`.
    ActivateBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Changes an active bucket.
    ChangeBucket {
        /// The name.
        name: BucketName,
        /// What changes.
        change: BucketChange,
    },
    /// `Active` → `Deleting`. A bucket that is already being deleted is given again, so that a deletion whose
    /// coordinator died can be finished.
    BeginDeleteBucket {
        /// The name.
        name: BucketName,
    },
    /// `Deleting` → `Active`.
    AbandonDeleteBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Forgets a bucket that is `Deleting` or `Creating`; an active one is busy.
    RemoveBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Gives a node an id and its place in the groups. A name that another node has means: replace that node.
    Join {
        /// Who joins.
        node: NodeInfo,
    },
    /// Takes a node out of the cluster and its groups.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// Says who is to vote in a group.
    SetVoters {
        /// The group.
        group: GroupId,
        /// The nodes.
        voters: Vec<NodeId>,
    },
    /// A node's address or version has changed. Its name stays.
    UpdateNode {
        /// The node.
        node: NodeInfo,
    },
    /// Moves a node's places to others, and gives it no new ones; or ends that.
    DrainNode {
        /// The node.
        node: NodeId,
        /// Whether it begins or ends.
        drain: bool,
    },
    /// Changes whom the cluster knows, if it still is as the changes were made for.
    ChangeIdentities {
        /// The version that they were made for.
        expect: u64,
        /// All of them or none.
        changes: Vec<IdentityChange>,
    },
    /// Draws the number of a round of sharing out a quota: the entry's log index.
    BeginRound,
}

/// What lifecycle rules made go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Current objects, gone or covered by a delete marker.
    pub objects: u32,
    /// Versions that were not current.
    pub versions: u32,
    /// Delete markers.
    pub markers: u32,
    /// Open uploads.
    pub uploads: u32,
    /// Whether there may be more that is due.
    pub more: bool,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The entry carried no command, or one that says nothing to this group (a group that the map does not have).
    None,
    /// Of a write.
    Written(WriteOutcome),
    /// Of [`Command::InstallBucket`] and [`Command::RemoveBucket`].
    BucketInstalled {
        /// Whether the bucket has no objects in this shard. Open uploads do not count.
        empty: bool,
    },
    /// The bucket as it is now.
    Bucket(Bucket),
    /// Root changed nothing.
    RootRefused(RootRefusal),
    /// Of [`RootCommand::Join`].
    Joined {
        /// The node's id.
        node: NodeId,
    },
    /// Of [`Command::Expire`].
    Expired(Expired),
    /// Done, nothing to tell.
    Done,
    /// Of [`Command::Quota`]: the shard as it is now.
    Shared {
        /// What it holds.
        usage: Usage,
        /// What it may hold.
        share: Share,
    },
    /// Of [`RootCommand::BeginRound`].
    Round(u64),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nothing"),
            Self::Written(WriteOutcome::Stored { seq, .. }) => write!(f, "stored as {seq}"),
            Self::Written(WriteOutcome::Deleted { seq, .. }) => write!(f, "deleted by {seq}"),
            Self::Written(WriteOutcome::Refused(refusal)) => write!(f, "refused: {refusal}"),
            Self::BucketInstalled { empty } => write!(f, "bucket installed (empty: {empty})"),
            Self::Bucket(bucket) => write!(f, "bucket {} in revision {}", bucket.name, bucket.revision),
            Self::RootRefused(refusal) => write!(f, "refused: {refusal}"),
            Self::Joined { node } => write!(f, "joined as node {node}"),
            Self::Expired(Expired { objects, versions, markers, uploads, .. }) => {
                write!(f, "expired {objects} objects, {versions} versions, {markers} markers, {uploads} uploads")
            }
            Self::Done => f.write_str("done"),
            Self::Shared { share, .. } => write!(f, "may hold {} bytes, {} objects", share.bytes, share.objects),
            Self::Round(round) => write!(f, "round {round}"),
        }
    }
}
