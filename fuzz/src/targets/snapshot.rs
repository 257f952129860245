//! Snapshots on their way in. Sound, they give the same state. Broken, in any way that a plain reading of the chunks sees,
//! they are refused, and leave the group as it was; no length in them makes anybody allocate.

use std::sync::Arc;

use arbitrary::Unstructured;
use bytes::Bytes;
use holdfast_replica::index::command::{Command, Envelope};
use holdfast_replica::index::engine::Memory;
use holdfast_replica::index::{Entry, Index};
use holdfast_replica::position::Position;
use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::id::{BlobId, BucketId, GroupId, NodeId, RequestId};
use holdfast_wire::object::{Attributes, NewBody};
use holdfast_wire::placement::Placement;
use holdfast_wire::request::{PutObject, Write};

use super::{Edit, one};
use crate::bounds::measured;

const GROUP: GroupId = GroupId(3);

fn bucket() -> Bucket {
    Bucket {
        id: BucketId(1),
        name: "bucket".parse().expect("a bucket's name"),
        owner: "me".to_owned(),
        created_ms: 1,
        revision: 1,
        state: BucketState::Active,
        placement: Placement::RootDirectory,
        tags: Vec::new(),
        configuration: Default::default(),
    }
}

fn index() -> Index {
    Index::open(Arc::new(Memory::new()), GROUP).expect("an empty engine")
}

fn apply(index: &Index, number: u64, command: Command) {
    let envelope = Envelope { request: Some(RequestId(number.into())), now_ms: 1000 + number, command };
    let position = Position { term: 1, node: NodeId(1), index: number };
    index.apply(position, Entry::Command(&envelope.encode())).expect("memory does not fail");
}

/// A group that has seen some writes.
fn filled(u: &mut Unstructured<'_>) -> arbitrary::Result<Index> {
    let index = index();
    apply(&index, 1, Command::InstallBucket(bucket()));
    for number in 2..2 + u.int_in_range(0..=6)? {
        let (key, len) = (*one(u, &["a", "b/c", "b/d", "\u{1}x"])?, u.int_in_range(0..=40)?);
        let body = match u.ratio(1, 4)? {
            true => NewBody::Blob { id: BlobId(number.into()), len: 1 << 20 },
            false => NewBody::Inline(Bytes::from(vec![number as u8; len])),
        };
        let put = PutObject {
            bucket: BucketId(1),
            key: key.parse().expect("a key"),
            condition: Default::default(),
            owner: "me".to_owned(),
            attributes: Attributes::default(),
            etag: "etag".to_owned(),
            checksum: None,
            body,
        };
        apply(&index, number, Command::Write(Write::Put(put)));
    }
    Ok(index)
}

/// Whether a chunk is `01` and whole rows of a known space, each with a key.
fn is_sound(chunk: &[u8]) -> bool {
    let Some((1, mut rest)) = chunk.split_first() else { return false };
    while !rest.is_empty() {
        let number = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?) as usize);
        let (Some(key), Some(value)) = (number(1), number(5)) else { return false };
        match rest.get(9 + key + value..) {
            Some(behind) if rest[0] <= 1 && key > 0 => rest = behind,
            _ => return false,
        }
    }
    true
}

/// Everything that a group holds, as it would send it.
fn rows(index: &Index) -> Vec<Bytes> {
    index.snapshot().chunks().collect::<Result<_, _>>().expect("memory does not fail")
}

/// The target.
pub fn run(data: &[u8]) {
    let _ = judge(&mut Unstructured::new(data));
}

fn judge(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let source = filled(u)?;
    let target = filled(u)?;
    let mut all = rows(&source).concat();
    let sound = all.clone();
    let count = u.int_in_range(0..=2)?;
    for _ in 0..count {
        Edit::of(u, all.len())?.apply(&mut all);
    }
    if u.ratio(1, 8)? {
        all = u.bytes(u.len())?.to_vec();
    }
    let (before, held_before) = (target.applied(), rows(&target));
    let sound_chunk = is_sound(&all);
    let mut installer = target.install();
    let (pushed, held) = measured(|| installer.push(Bytes::copy_from_slice(&all)));
    assert!(held <= (64 << 10) + 16 * all.len(), "{held} bytes for a chunk of {}", all.len());
    assert!(sound_chunk || pushed.is_err(), "a broken chunk is taken: {all:?}");
    assert!(all != sound || pushed.is_ok(), "a sound chunk is refused: {all:?}");
    let finished = match pushed {
        Ok(()) => installer.finish(),
        Err(error) => {
            drop(installer);
            Err(error)
        }
    };
    match finished {
        Ok(applied) if all == sound => {
            assert_eq!(applied, source.applied());
            assert_eq!(rows(&target), rows(&source));
        }
        // Rows carry no checksum of their own: on the wire the whole stream has one.
        Ok(applied) => assert_eq!(applied, target.applied()),
        Err(_) => {
            assert_ne!(all, sound, "a sound snapshot is refused");
            assert_eq!(target.applied(), before, "a refused snapshot has changed something");
            assert_eq!(rows(&target), held_before, "a refused snapshot has changed something");
        }
    }
    Ok(())
}
