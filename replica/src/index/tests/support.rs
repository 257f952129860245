//! Short ways to say commands.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::condition::WriteCondition;
use holdfast_wire::deleted::Undelete;
use holdfast_wire::id::{BlobId, BucketId, GroupId, NodeId, ObjectKey, RequestId, Seq, UploadId};
use holdfast_wire::object::{Attributes, NewBody, Object, Source, Upload};
use holdfast_wire::placement::Placement;
use holdfast_wire::request::{
    CompleteUpload, CopyObject, DeleteKey, ListFrom, ListObjects, ListUploads, ListVersions, PutObject, PutPart, Write,
};

use crate::index::command::{Command, Envelope, Outcome};
use crate::index::engine::{Engine, Space};
use crate::index::{Effects, Entry, Index};
use crate::position::Position;

pub const SHARD: GroupId = GroupId(3);

/// The next entries of a log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub index: u64,
    pub effects: Effects,
    /// Entries up to here are not applied again.
    pub skip_to: u64,
}

impl Log {
    pub fn position(&mut self) -> Position {
        self.index += 1;
        Position { term: 1, node: NodeId(1), index: self.index }
    }

    /// Applies a command without request id.
    pub fn apply(&mut self, index: &Index, now_ms: u64, command: Command) -> Outcome {
        self.request(index, None, now_ms, command)
    }

    pub fn request(&mut self, index: &Index, request: Option<u128>, now_ms: u64, command: Command) -> Outcome {
        let envelope = Envelope { request: request.map(RequestId), now_ms, command };
        let position = self.position();
        if position.index <= self.skip_to {
            return Outcome::None;
        }
        let (outcome, effects) = index.apply(position, Entry::Command(&envelope.encode())).unwrap();
        self.effects = effects;
        outcome
    }
}

pub fn shard(engine: Arc<dyn Engine>) -> Index {
    Index::open(engine, SHARD).unwrap()
}

pub fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

pub fn bucket(id: u64) -> Bucket {
    Bucket {
        id: BucketId(id),
        name: format!("bucket-{id}").parse().unwrap(),
        owner: "me".to_owned(),
        created_ms: 1,
        revision: 1,
        state: BucketState::Active,
        placement: Placement::RootDirectory,
        tags: vec![],
        configuration: Default::default(),
    }
}

pub fn inline(text: &str) -> NewBody {
    NewBody::Inline(Bytes::copy_from_slice(text.as_bytes()))
}

pub fn blob(id: u128, len: u64) -> NewBody {
    NewBody::Blob { id: BlobId(id), len }
}

pub fn put_object(name: &str, body: NewBody) -> PutObject {
    PutObject {
        bucket: BucketId(1),
        key: key(name),
        condition: WriteCondition::default(),
        owner: "me".to_owned(),
        attributes: Attributes::default(),
        etag: format!("etag-{}", body.len()),
        checksum: None,
        body,
    }
}

pub fn put(name: &str, body: NewBody) -> Command {
    Command::Write(Write::Put(put_object(name, body)))
}

pub fn delete(names: &[&str]) -> Command {
    let keys = names.iter().map(|name| DeleteKey::current(key(name), WriteCondition::default())).collect();
    Command::Write(Write::Delete { bucket: BucketId(1), keys, bypass_governance: false })
}

pub fn copy(index: &Index, from: &str, to: &str) -> Command {
    Command::Write(Write::Copy(copy_object(index, from, to)))
}

pub fn create_upload(name: &str, id: u128) -> Command {
    let upload = Upload {
        key: key(name),
        id: UploadId(id),
        initiated_ms: 0,
        owner: "me".to_owned(),
        attributes: Attributes::default(),
        checksum: None,
    };
    Command::Write(Write::CreateUpload { bucket: BucketId(1), upload })
}

pub fn put_part(name: &str, id: u128, number: u16, body: NewBody) -> Command {
    Command::Write(Write::PutPart(PutPart {
        bucket: BucketId(1),
        key: key(name),
        upload: UploadId(id),
        number,
        etag: format!("part-{number}-{}", body.len()),
        checksum: None,
        body,
        salt: None,
    }))
}

/// Completes an upload of parts named by number and length.
pub fn complete_upload(name: &str, id: u128, parts: &[(u16, u64)]) -> CompleteUpload {
    CompleteUpload {
        bucket: BucketId(1),
        key: key(name),
        upload: UploadId(id),
        condition: WriteCondition::default(),
        parts: parts.iter().map(|(number, len)| (*number, format!("part-{number}-{len}"))).collect(),
        etag: format!("whole-{}", parts.len()),
        checksum: None,
    }
}

pub fn complete(name: &str, id: u128, parts: &[(u16, u64)]) -> Command {
    Command::Write(Write::CompleteUpload(complete_upload(name, id, parts)))
}

pub fn undelete(name: &str, seq: Option<Seq>, replace: bool) -> Command {
    Command::Write(Write::Undelete(Undelete { bucket: BucketId(1), key: key(name), seq, replace }))
}

/// Lets go of all that is kept.
pub fn forget() -> Command {
    Command::Forget { before_ms: u64::MAX }
}

pub fn abort(name: &str, id: u128) -> Command {
    Command::Write(Write::AbortUpload { bucket: BucketId(1), key: key(name), upload: UploadId(id) })
}

/// The bytes of an object whose pieces are all inline.
pub fn bytes_of(index: &Index, object: &Object) -> String {
    let reader = index.reader();
    let pieces = object.detail.pieces.iter().map(|piece| match piece.source {
        Source::Inline(number) => {
            let body = reader.inline_body(number).unwrap().expect("the body of a live object");
            assert_eq!(body.len() as u64, piece.len);
            String::from_utf8(body.to_vec()).unwrap()
        }
        Source::Blob(blob) => format!("<{blob}>"),
    });
    pieces.collect()
}

pub fn list(prefix: &str, delimiter: Option<&str>, limit: u32) -> ListObjects {
    ListObjects {
        bucket: BucketId(1),
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        after: ListFrom::Start,
        limit,
    }
}

pub fn list_uploads(prefix: &str) -> ListUploads {
    ListUploads { bucket: BucketId(1), prefix: prefix.to_owned(), delimiter: None, after: None, limit: 1000 }
}

/// All versions of bucket 1.
pub fn list_versions() -> ListVersions {
    ListVersions {
        bucket: BucketId(1),
        prefix: String::new(),
        delimiter: None,
        after: ListFrom::Start,
        after_version: None,
        limit: 1000,
    }
}

/// A copy of the source as it is now.
pub fn copy_object(index: &Index, from: &str, to: &str) -> CopyObject {
    let source = index.object(BucketId(1), &key(from)).unwrap();
    copy_of(from, source.map(|object| object.summary.seq).unwrap_or_default(), to)
}

pub fn copy_of(from: &str, from_seq: Seq, to: &str) -> CopyObject {
    CopyObject {
        bucket: BucketId(1),
        key: key(to),
        condition: WriteCondition::default(),
        from_bucket: BucketId(1),
        from_key: key(from),
        from_version: None,
        from_seq,
        owner: "me".to_owned(),
        attributes: Attributes::default(),
    }
}

/// All rows of a group, without group and generation.
pub fn rows(index: &Index) -> Vec<(Space, Bytes, Bytes)> {
    let reader = index.reader();
    let rows = Space::ALL.into_iter().flat_map(|space| {
        reader.rows().range(space, &[], &[]).map(move |row| row.map(|(key, value)| (space, key, value)))
    });
    rows.collect::<Result<_, _>>().unwrap()
}
