//! Values: the records of every table and their bytes.
//!
//! ```text
//! every record   01 | postcard(fields in the order of the struct)
//! Objects, Versions  01 | postcard(Summary) | postcard(Detail)  listings decode the first alone
//! Membership     01 | as the raft adapter encoded it
//! Deleted        01 | postcard(since when, why) | postcard(Summary) | postcard(Detail)
//! Trash, FinishedAt, DeletedAt, Gone   01
//! Bodies         the bytes themselves, no version byte (their table id is the version)
//! ```
//! The first byte is the record's version. Postcard: varint LEB128 for integers above `u8`, `u128` ids included, lengths
//! before strings and sequences, one byte of 0 or 1 before an option, an enum's variant number before its fields.

use bytes::Bytes;
use holdfast_wire::deleted::Why;
use holdfast_wire::heartbeat::Layout;
use holdfast_wire::id::{BucketId, ClusterId, Epoch, NodeId, ObjectKey, RequestId, Seq, VersionId};
use holdfast_wire::object::{Checksum, Detail, Object, Summary};
use holdfast_wire::placement::HashRange;
use holdfast_wire::usage::Share;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::command::Outcome;
use crate::position::Position;

pub use holdfast_wire::deleted::Kept;
pub use holdfast_wire::usage::Usage;

/// The version of every record.
const VERSION: u8 = 1;
/// The value of rows whose key says everything.
pub const MARK: Bytes = Bytes::from_static(&[VERSION]);

/// Bytes that are no record of a known version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of a known version")]
pub struct NotARecord;

/// How far a group has applied, as stored. The newest row of all: written with every entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The newest applied entry.
    pub position: Option<Position>,
    /// xxh3 chained over all mutations: equal on all members that have applied the same entries.
    pub hash: u64,
}

/// What a shard holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Points of the hash space.
    pub range: HashRange,
    /// Of its entry in the map.
    pub epoch: Epoch,
}

/// Root's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The cluster; `None` before genesis.
    pub cluster: Option<ClusterId>,
    /// How many voters a group should have.
    pub replicas: u8,
    /// The next node's id.
    pub next_node: NodeId,
    /// The next bucket's id.
    pub next_bucket: BucketId,
    /// Nodes and map.
    pub layout: Layout,
}

impl Default for Root {
    fn default() -> Self {
        Self { cluster: None, replicas: 0, next_node: NodeId(1), next_bucket: BucketId(1), layout: Layout::default() }
    }
}

/// How far a bucket may grow in this shard: its share of the bucket's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Root's log index of the round that set it: older rounds are not heard.
    pub round: u64,
    /// What the shard may hold; [`u64::MAX`]: no bound.
    pub share: Share,
}

/// A request that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its id.
    pub request: RequestId,
    /// The time its entry carried, Unix milliseconds.
    pub at_ms: u64,
    /// What it got.
    pub outcome: Outcome,
}

/// Where an open upload stands in the listing order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPlace {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// Unix milliseconds.
    pub initiated_ms: u64,
}

/// A completed upload, so that Complete can be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// What Complete answered.
    pub seq: Seq,
    /// What Complete answered.
    pub etag: String,
    /// What Complete answered, Unix milliseconds.
    pub modified_ms: u64,
    /// What Complete answered.
    pub checksum: Option<Checksum>,
    /// What Complete answered.
    pub version: Option<VersionId>,
}

/// How far the expiry rows of a bucket's new rules are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reindex {
    /// Which of the tables that hold what may go.
    pub table: u8,
    /// Up to and with this row; empty: from its beginning.
    pub after: Vec<u8>,
}

/// What names a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRow {
    /// Objects and parts that name it.
    pub references: u64,
    /// Its bytes.
    pub len: u64,
    /// Since when nothing names it, Unix milliseconds.
    pub trashed_ms: Option<u64>,
}

/// How an object went that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// When, Unix milliseconds.
    pub since_ms: u64,
    /// Why.
    pub why: Why,
}

/// The bytes of a record.
pub fn encode<T: Serialize>(record: &T) -> Bytes {
    postcard::to_extend(record, vec![VERSION]).expect("a record is always encodable").into()
}

/// The record behind `bytes`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotARecord> {
    let (record, rest) = postcard::take_from_bytes(body(bytes)?).map_err(|_| NotARecord)?;
    if rest.is_empty() { Ok(record) } else { Err(NotARecord) }
}

/// The bytes of an object's record.
pub fn encode_object(object: &Object) -> Bytes {
    let mut bytes = Vec::with_capacity(192);
    bytes.push(VERSION);
    let bytes = postcard::to_extend(&object.summary, bytes).expect("a summary is always encodable");
    postcard::to_extend(&object.detail, bytes).expect("a detail is always encodable").into()
}

/// The object behind `bytes`.
pub fn decode_object(bytes: &[u8]) -> Result<Object, NotARecord> {
    let (summary, rest) = postcard::take_from_bytes::<Summary>(body(bytes)?).map_err(|_| NotARecord)?;
    let (detail, rest) = postcard::take_from_bytes::<Detail>(rest).map_err(|_| NotARecord)?;
    if rest.is_empty() { Ok(Object { summary, detail }) } else { Err(NotARecord) }
}

/// The bytes of an object that is gone.
pub fn encode_deleted(leaving: Leaving, object: &Object) -> Bytes {
    let mut bytes = Vec::with_capacity(192);
    bytes.push(VERSION);
    let bytes = postcard::to_extend(&leaving, bytes).expect("two numbers are always encodable");
    let bytes = postcard::to_extend(&object.summary, bytes).expect("a summary is always encodable");
    postcard::to_extend(&object.detail, bytes).expect("a detail is always encodable").into()
}

/// The object that is gone behind `bytes`.
pub fn decode_deleted(bytes: &[u8]) -> Result<(Leaving, Object), NotARecord> {
    let (leaving, rest) = postcard::take_from_bytes::<Leaving>(body(bytes)?).map_err(|_| NotARecord)?;
    let (summary, rest) = postcard::take_from_bytes::<Summary>(rest).map_err(|_| NotARecord)?;
    let (detail, rest) = postcard::take_from_bytes::<Detail>(rest).map_err(|_| NotARecord)?;
    if rest.is_empty() { Ok((leaving, Object { summary, detail })) } else { Err(NotARecord) }
}

/// What a listing shows of the object behind `bytes`.
pub fn decode_summary(bytes: &[u8]) -> Result<Summary, NotARecord> {
    postcard::take_from_bytes(body(bytes)?).map(|(summary, _)| summary).map_err(|_| NotARecord)
}

/// The bytes of a record whose content somebody else encoded.
pub fn encode_opaque(content: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + content.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(content);
    bytes.into()
}

/// The inverse of [`encode_opaque`].
pub fn decode_opaque(bytes: &Bytes) -> Result<Bytes, NotARecord> {
    body(bytes)?;
    Ok(bytes.slice(1..))
}

fn body(bytes: &[u8]) -> Result<&[u8], NotARecord> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        _ => Err(NotARecord),
    }
}
