//! What a shard does with each write, and each of its refusals.

use holdfast_wire::bucket::BucketState;
use holdfast_wire::condition::{ETags, Unmet, WriteCondition};
use holdfast_wire::id::{Epoch, Seq};
use holdfast_wire::object::{Checksum, ChecksumAlgorithm, ChecksumKind};
use holdfast_wire::placement::{self, HashRange, Placement};
use holdfast_wire::request::{DeleteKey, Deleted, Refusal, Write, WriteOutcome};

use super::support::*;
use super::*;
use crate::index::apply::PART_MIN;

/// A shard with bucket 1.
pub(super) fn ready() -> (Index, Log) {
    let index = shard(Arc::new(Memory::new()));
    let mut log = Log::default();
    log.apply(&index, 1, Command::InstallBucket(bucket(1)));
    (index, log)
}

fn trash(index: &Index, before_ms: u64, limit: usize) -> Vec<BlobId> {
    index.trash(None, before_ms, limit).unwrap().into_iter().map(|(_, id)| id).collect()
}

pub(super) fn refused(refusal: Refusal) -> Outcome {
    Outcome::Written(WriteOutcome::Refused(refusal))
}

pub(super) fn is_stored(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Written(WriteOutcome::Stored { .. }))
}

pub(super) fn only_if(if_match: Option<&str>, if_none_match: Option<&str>) -> WriteCondition {
    let tags = |tag: &str| if tag == "*" { ETags::Any } else { ETags::OneOf(vec![tag.to_owned()]) };
    WriteCondition { if_match: if_match.map(tags), if_none_match: if_none_match.map(tags), ..Default::default() }
}

#[test]
fn effects_of_a_snapshot_are_all_there_are() {
    assert!(Effects::default().is_empty() && !Effects::everything().is_empty());
    let everything = Effects { layout: true, everything: true, ..Effects::default() };
    assert_eq!(Effects::everything(), everything);
}

#[test]
fn a_put_answers_with_what_is_stored() {
    let (index, mut log) = ready();
    let checksum =
        Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::FullObject, value: "AAAA".to_owned() };
    let mut checked = put_object("a", inline("hello"));
    checked.checksum = Some(checksum.clone());
    let outcome = log.apply(&index, 9, Command::Write(Write::Put(checked)));
    let seq = Seq { group: SHARD, index: 2 };
    let stored = WriteOutcome::Stored {
        seq,
        etag: "etag-5".to_owned(),
        modified_ms: 9,
        checksum: Some(checksum.clone()),
        version: None,
    };
    assert_eq!(outcome, Outcome::Written(stored));
    let object = index.object(BucketId(1), &key("a")).unwrap().unwrap();
    assert_eq!((object.summary.seq, object.checksum()), (seq, Some(checksum)));
    let outcome = log.apply(&index, 9, put("empty", inline("")));
    assert!(is_stored(&outcome));
    assert!(index.object(BucketId(1), &key("empty")).unwrap().unwrap().detail.pieces.is_empty());
}

#[test]
fn a_replaced_body_goes_and_the_counters_follow() {
    let (index, mut log) = ready();
    log.apply(&index, 5, put("a", inline("hello")));
    let Source::Inline(first) = index.object(BucketId(1), &key("a")).unwrap().unwrap().detail.pieces[0].source else {
        panic!("an inline body")
    };
    let before = index.reader();
    log.apply(&index, 6, put("a", inline("good bye")));
    assert!(index.inline_body(first).unwrap().is_some(), "it can be brought back");
    log.apply(&index, 6, forget());
    assert_eq!(index.inline_body(first).unwrap(), None);
    assert!(before.inline_body(first).unwrap().is_some(), "a reader keeps its moment");
    assert_eq!(index.usage(BucketId(1)), Usage { objects: 1, bytes: 8, ..Usage::default() });
    log.apply(&index, 7, delete(&["a", "never", "a"]));
    assert_eq!(index.usage(BucketId(1)), Usage::default());
}

#[test]
fn last_modified_of_a_key_never_goes_back() {
    let (index, mut log) = ready();
    log.apply(&index, 100, put("a", inline("1")));
    log.apply(&index, 50, put("a", inline("2")));
    assert_eq!(index.object(BucketId(1), &key("a")).unwrap().unwrap().summary.modified_ms, 100);
    log.apply(&index, 150, put("a", inline("3")));
    assert_eq!(index.object(BucketId(1), &key("a")).unwrap().unwrap().summary.modified_ms, 150);
}

#[test]
fn every_write_asks_for_its_bucket() {
    let (index, mut log) = ready();
    log.apply(&index, 2, put("a", inline("x")));
    log.apply(&index, 2, create_upload("u", 7));
    let writes = [
        put("a", inline("y")),
        delete(&["a"]),
        copy(&index, "a", "b"),
        create_upload("u", 8),
        put_part("u", 7, 1, inline("p")),
        complete("u", 7, &[(1, 1)]),
        abort("u", 7),
    ];
    let mut frozen = bucket(1);
    (frozen.state, frozen.revision) = (BucketState::Deleting, 2);
    assert_eq!(log.apply(&index, 3, Command::InstallBucket(frozen)), Outcome::BucketInstalled { empty: false });
    for write in &writes {
        assert_eq!(log.apply(&index, 4, write.clone()), refused(Refusal::BucketFrozen), "{write:?}");
    }
    assert!(index.object(BucketId(1), &key("a")).unwrap().is_some(), "reads go on");
    let other = shard(Arc::new(Memory::new()));
    let mut log = Log::default();
    for write in &writes {
        assert_eq!(log.apply(&other, 4, write.clone()), refused(Refusal::NoSuchBucket), "{write:?}");
    }
}

#[test]
fn every_write_asks_whether_its_key_lives_here() {
    let (index, mut log) = ready();
    log.apply(&index, 2, put("here/a", inline("x")));
    log.apply(&index, 2, put("far/a", inline("x")));
    let point = placement::hash(BucketId(1), Placement::RootDirectory, &key("here/b"));
    let range = HashRange { first: point, last: point };
    log.apply(&index, 3, Command::SetRange { range, epoch: Epoch(2) });
    let everything = HashRange { first: 0, last: u64::MAX };
    log.apply(&index, 3, Command::SetRange { range: everything, epoch: Epoch(2) });
    log.apply(&index, 3, create_upload("here/u", 7));
    for write in [
        put("far/a", inline("y")),
        copy(&index, "here/a", "far/b"),
        copy(&index, "far/a", "here/b"),
        create_upload("far/u", 8),
        put_part("far/u", 7, 1, inline("p")),
        complete("far/u", 7, &[(1, 1)]),
        abort("far/u", 7),
    ] {
        assert_eq!(log.apply(&index, 4, write.clone()), refused(Refusal::WrongShard), "{write:?}");
    }
    let Outcome::Written(WriteOutcome::Deleted { keys, .. }) = log.apply(&index, 4, delete(&["far/a", "here/a"]))
    else {
        panic!("deletes answer per key")
    };
    assert_eq!(keys, [Err(Refusal::WrongShard), Ok(Deleted::default())]);
    assert!(is_stored(&log.apply(&index, 5, put("here/c", inline("y")))));
    log.apply(&index, 6, Command::SetRange { range: everything, epoch: Epoch(3) });
    assert!(is_stored(&log.apply(&index, 7, put("far/a", inline("y")))));
}

#[test]
fn conditions_are_judged_at_the_place_in_the_log() {
    use Unmet::{Different, Missing};
    let cases = [
        (only_if(None, Some("*")), Ok(()), Err(Different)),
        (only_if(None, Some("etag-5")), Ok(()), Err(Different)),
        (only_if(None, Some("other")), Ok(()), Ok(())),
        (only_if(Some("*"), None), Err(Missing), Ok(())),
        (only_if(Some("etag-5"), None), Err(Missing), Ok(())),
        (only_if(Some("other"), None), Err(Missing), Err(Different)),
    ];
    for (condition, absent, present) in cases {
        for (exists, expected) in [(false, absent), (true, present)] {
            let (index, mut log) = ready();
            log.apply(&index, 2, put("source", inline("x")));
            log.apply(&index, 2, create_upload("a", 7));
            log.apply(&index, 2, put_part("a", 7, 1, inline("p")));
            if exists {
                log.apply(&index, 2, put("a", inline("hello")));
            }
            let mut put = put_object("a", blob(9, 100));
            put.condition = condition.clone();
            let mut copy = copy_object(&index, "source", "a");
            copy.condition = condition.clone();
            let mut complete = complete_upload("a", 7, &[(1, 1)]);
            complete.condition = condition.clone();
            let writes = [Write::Put(put), Write::Copy(copy), Write::CompleteUpload(complete)];
            let before = index.object(BucketId(1), &key("a")).unwrap();
            for write in writes {
                let (index, mut log) = (fork(&index), log.clone());
                let outcome = log.apply(&index, 3, Command::Write(write));
                match expected {
                    Ok(()) => assert!(is_stored(&outcome)),
                    Err(unmet) => {
                        assert_eq!(outcome, refused(Refusal::Condition(unmet)));
                        assert_eq!(index.object(BucketId(1), &key("a")).unwrap(), before);
                    }
                }
            }
            let delete = Write::Delete {
                bucket: BucketId(1),
                keys: vec![DeleteKey::current(key("a"), condition.clone())],
                bypass_governance: false,
            };
            let outcome = log.apply(&index, 3, Command::Write(delete));
            let Outcome::Written(WriteOutcome::Deleted { keys, .. }) = outcome else { panic!("{outcome}") };
            assert_eq!(keys, [expected.map(|()| Deleted::default()).map_err(Refusal::Condition)]);
        }
    }
}

/// The same state in another engine.
fn fork(index: &Index) -> Index {
    let copy = shard(Arc::new(Memory::new()));
    let mut installer = copy.install();
    index.snapshot().chunks().for_each(|chunk| installer.push(chunk.unwrap()).unwrap());
    installer.finish().unwrap();
    copy
}

#[test]
fn copies_share_blobs_and_own_their_inline_bodies() {
    let (index, mut log) = ready();
    log.apply(&index, 2, put("large", blob(9, 100)));
    assert_eq!(log.effects.referenced, [BlobId(9)]);
    let outcome = log.apply(&index, 2, copy(&index, "large", "copy"));
    let Outcome::Written(WriteOutcome::Stored { etag, .. }) = outcome else { panic!("{outcome}") };
    assert_eq!(etag, "etag-100");
    assert_eq!((log.effects.is_empty(), index.references(BlobId(9)).unwrap()), (true, 2));
    log.apply(&index, 3, copy(&index, "large", "large"));
    assert_eq!((log.effects.is_empty(), index.references(BlobId(9)).unwrap()), (true, 3), "what it replaced is kept");
    log.apply(&index, 4, delete(&["large"]));
    log.apply(&index, 4, forget());
    assert_eq!((log.effects.is_empty(), index.references(BlobId(9)).unwrap()), (true, 1));
    assert_eq!(index.blobs(None, 10).unwrap(), [(BlobId(9), 100)]);
    log.apply(&index, 5, delete(&["copy"]));
    log.apply(&index, 5, forget());
    assert_eq!(log.effects.released, [BlobId(9)]);
    assert_eq!(trash(&index, 5, 10), []);
    assert_eq!(trash(&index, 6, 10), [BlobId(9)]);
    assert_eq!(index.blobs(None, 10).unwrap(), []);

    log.apply(&index, 6, put("small", inline("hello")));
    log.apply(&index, 6, copy(&index, "small", "other"));
    log.apply(&index, 6, copy(&index, "small", "small"));
    log.apply(&index, 6, delete(&["small"]));
    let other = index.object(BucketId(1), &key("other")).unwrap().unwrap();
    assert_eq!(bytes_of(&index, &other), "hello");

    assert_eq!(log.apply(&index, 7, copy(&index, "never", "b")), refused(Refusal::NoSuchKey));
    let stale = copy(&index, "other", "b");
    log.apply(&index, 8, put("other", inline("changed")));
    assert_eq!(log.apply(&index, 9, stale), refused(Refusal::SourceChanged));
}

#[test]
fn the_trash_is_read_on_from_where_it_was_left() {
    let (index, mut log) = ready();
    for (at, id) in [(5, 11), (6, 30), (6, 31), (7, 2)] {
        log.apply(&index, at, put("a", blob(id, 100)));
        log.apply(&index, at, delete(&["a"]));
        log.apply(&index, at, forget());
    }
    let first = index.trash(None, 9, 2).unwrap();
    assert_eq!(first, [(5, BlobId(11)), (6, BlobId(30))]);
    let second = index.trash(first.last().copied(), 9, 2).unwrap();
    assert_eq!(second, [(6, BlobId(31)), (7, BlobId(2))]);
    assert_eq!(index.trash(second.last().copied(), 9, 2).unwrap(), []);
    assert_eq!(index.trash(first.last().copied(), 7, 9).unwrap(), [(6, BlobId(31))]);
}

#[test]
fn a_blob_named_in_vain_is_released_and_one_named_again_is_taken_out_of_the_trash() {
    let (index, mut log) = ready();
    let mut conditional = put_object("a", blob(9, 100));
    conditional.condition = only_if(Some("*"), None);
    log.apply(&index, 5, Command::Write(Write::Put(conditional)));
    assert_eq!((&log.effects.released[..], trash(&index, 9, 9)), (&[BlobId(9)][..], vec![BlobId(9)]));
    log.apply(&index, 6, put("a", blob(9, 100)));
    assert_eq!((&log.effects.referenced[..], trash(&index, 9, 9)), (&[BlobId(9)][..], vec![]));
    // The retry of a request that was applied, with the same blob and with another one.
    log.request(&index, Some(1), 7, put("b", blob(10, 1)));
    log.request(&index, Some(1), 7, put("b", blob(10, 1)));
    assert!(log.effects.is_empty());
    log.request(&index, Some(1), 7, put("b", blob(11, 1)));
    assert_eq!(log.effects.released, [BlobId(11)]);
    assert_eq!(index.references(BlobId(10)).unwrap(), 1);
    log.apply(&index, 8, delete(&["a"]));
    log.apply(&index, 8, forget());
    log.apply(&index, 20, Command::Collect { before_ms: 8 });
    assert_eq!(trash(&index, 9, 9), [BlobId(9)]);
    log.apply(&index, 20, Command::Collect { before_ms: 9 });
    assert_eq!(trash(&index, u64::MAX, 9), []);
    assert_eq!(index.blobs(None, 9).unwrap(), [(BlobId(10), 1)]);
}

#[test]
fn an_upload_becomes_an_object() {
    let (index, mut log) = ready();
    log.apply(&index, 2, put("u", blob(1, 7)));
    log.apply(&index, 3, create_upload("u", 7));
    log.apply(&index, 4, put_part("u", 7, 1, blob(2, PART_MIN)));
    log.apply(&index, 4, put_part("u", 7, 2, blob(3, PART_MIN + 1)));
    log.apply(&index, 4, put_part("u", 7, 2, blob(4, PART_MIN)));
    assert_eq!((&log.effects.referenced[..], &log.effects.released[..]), (&[BlobId(4)][..], &[BlobId(3)][..]));
    log.apply(&index, 4, put_part("u", 7, 5, inline("end")));
    log.apply(&index, 4, put_part("u", 7, 9, blob(5, PART_MIN)));
    let (upload, parts, more) = index.list_parts(BucketId(1), &key("u"), UploadId(7), 1, 2).unwrap().unwrap();
    assert_eq!(upload.initiated_ms, 3);
    assert_eq!((parts.iter().map(|part| part.number).collect::<Vec<_>>(), more), (vec![2, 5], true));
    let all = [(1, PART_MIN), (2, PART_MIN), (5, 3)];
    let first = log.request(&index, Some(1), 8, complete("u", 7, &all));
    assert!(is_stored(&first));
    assert_eq!(log.effects.released, [BlobId(5)], "the unused part's; the replaced object is kept");
    let object = index.object(BucketId(1), &key("u")).unwrap().unwrap();
    assert_eq!(object.summary.size, 2 * PART_MIN + 3);
    assert_eq!(object.detail.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 5]);
    assert!(bytes_of(&index, &object).ends_with("end"));
    assert_eq!(index.usage(BucketId(1)), Usage { objects: 1, bytes: 2 * PART_MIN + 3, ..Usage::default() });
    assert_eq!(index.list_parts(BucketId(1), &key("u"), UploadId(7), 0, 9).unwrap(), None);
    assert_eq!(index.list_uploads(&list_uploads("")).unwrap(), UploadPage::default());

    log.apply(&index, 9, put("u", inline("newer")));
    assert_eq!(log.request(&index, Some(2), 10, complete("u", 7, &all)), first, "a repeated Complete");
    assert_eq!(index.object(BucketId(1), &key("u")).unwrap().unwrap().summary.size, 5);
    assert_eq!(log.apply(&index, 10, abort("u", 7)), refused(Refusal::NoSuchUpload));
    log.apply(&index, 11, Command::Collect { before_ms: 9 });
    assert_eq!(log.apply(&index, 12, complete("u", 7, &all)), refused(Refusal::NoSuchUpload));
}

#[test]
fn complete_refuses_what_s3_refuses() {
    let (index, mut log) = ready();
    log.apply(&index, 3, create_upload("u", 7));
    log.apply(&index, 4, put_part("u", 7, 1, blob(2, PART_MIN - 1)));
    log.apply(&index, 4, put_part("u", 7, 2, blob(3, PART_MIN)));
    let small = PART_MIN - 1;
    for (name, id, parts, refusal) in [
        ("u", 8, vec![(2, PART_MIN)], Refusal::NoSuchUpload),
        ("v", 7, vec![(2, PART_MIN)], Refusal::NoSuchUpload),
        ("u", 7, vec![], Refusal::InvalidPartOrder),
        ("u", 7, vec![(2, PART_MIN), (1, small)], Refusal::InvalidPartOrder),
        ("u", 7, vec![(2, PART_MIN), (2, PART_MIN)], Refusal::InvalidPartOrder),
        ("u", 7, vec![(2, PART_MIN), (3, 1)], Refusal::InvalidPart { number: 3 }),
        ("u", 7, vec![(2, 12)], Refusal::InvalidPart { number: 2 }),
        ("u", 7, vec![(1, small), (2, PART_MIN)], Refusal::PartTooSmall { number: 1, size: small }),
    ] {
        assert_eq!(log.apply(&index, 5, complete(name, id, &parts)), refused(refusal));
    }
    assert_eq!(log.apply(&index, 5, put_part("v", 7, 1, inline("x"))), refused(Refusal::NoSuchUpload));
    assert_eq!(log.apply(&index, 5, abort("u", 8)), refused(Refusal::NoSuchUpload));
    assert!(is_stored(&log.apply(&index, 5, complete("u", 7, &[(1, small)]))), "the only part is the last one");
}

#[test]
fn an_aborted_upload_leaves_nothing() {
    let (index, mut log) = ready();
    log.apply(&index, 3, create_upload("u", 7));
    log.apply(&index, 4, put_part("u", 7, 1, blob(2, 9)));
    log.apply(&index, 4, put_part("u", 7, 2, inline("x")));
    let rows = |index: &Index| index.reader().rows().range(Space::Bodies, &[], &[]).count();
    assert_eq!(rows(&index), 1);
    let outcome = log.apply(&index, 5, abort("u", 7));
    assert!(
        matches!(outcome, Outcome::Written(WriteOutcome::Deleted { keys, .. }) if keys == [Ok(Deleted::default())])
    );
    assert_eq!((&log.effects.released[..], rows(&index)), (&[BlobId(2)][..], 0));
    assert_eq!(index.usage(BucketId(1)), Usage::default());
    assert_eq!(log.apply(&index, 5, put_part("u", 7, 1, inline("x"))), refused(Refusal::NoSuchUpload));
    assert_eq!(log.apply(&index, 6, put_part("u", 7, 1, blob(3, 9))), refused(Refusal::NoSuchUpload));
    assert_eq!(log.effects.released, [BlobId(3)], "what it brought is nobody's");
    assert!(trash(&index, u64::MAX, 9).contains(&BlobId(3)));
}

#[test]
fn buckets_are_installed_by_revision_and_removed_for_good() {
    let (index, mut log) = ready();
    let mut newer = bucket(1);
    (newer.revision, newer.tags) = (3, vec![("a".to_owned(), "b".to_owned())]);
    assert_eq!(log.apply(&index, 2, Command::InstallBucket(newer)), Outcome::BucketInstalled { empty: true });
    log.apply(&index, 2, Command::InstallBucket(bucket(1)));
    assert_eq!(index.bucket(BucketId(1)).unwrap().revision, 3);
    assert_eq!(index.bucket_named(&bucket(1).name).unwrap().tag("a"), Some("b"));
    log.apply(&index, 2, put("a", inline("x")));
    log.apply(&index, 2, create_upload("u", 7));
    log.apply(&index, 2, put_part("u", 7, 1, blob(2, 9)));
    let remove = Command::RemoveBucket { bucket: BucketId(1) };
    assert_eq!(log.apply(&index, 3, remove.clone()), Outcome::BucketInstalled { empty: false });
    assert!(index.bucket(BucketId(1)).is_some());
    log.apply(&index, 3, delete(&["a"]));
    let unfrozen = log.apply(&index, 3, remove.clone());
    assert_eq!(unfrozen, Outcome::BucketInstalled { empty: false }, "only a frozen copy is given up");
    let mut frozen = bucket(1);
    (frozen.revision, frozen.state) = (4, BucketState::Deleting);
    assert_eq!(log.apply(&index, 3, Command::InstallBucket(frozen)), Outcome::BucketInstalled { empty: true });
    assert_eq!(log.apply(&index, 3, remove.clone()), Outcome::BucketInstalled { empty: true });
    assert_eq!(log.effects.released, [BlobId(2)]);
    assert_eq!((index.bucket(BucketId(1)), index.buckets().len()), (None, 0));
    assert_eq!(log.apply(&index, 3, remove), Outcome::BucketInstalled { empty: true });
    let mut late = bucket(1);
    late.revision = 9;
    log.apply(&index, 4, Command::InstallBucket(late));
    assert_eq!(log.apply(&index, 5, put("a", inline("x"))), refused(Refusal::NoSuchBucket));
}

#[test]
fn entries_out_of_order_and_unknown_commands_stop_the_node() {
    let (index, mut log) = ready();
    let position = log.position();
    index.apply(position, Entry::Blank).unwrap();
    assert!(matches!(index.apply(position, Entry::Blank), Err(IndexError::OutOfOrder { applied: 2, entry: 2 })));
    let before = index.applied();
    for bytes in [&b""[..], b"\x01", b"\x02\0\0\0", b"\x01\0\0\xff"] {
        let result = index.apply(log.position(), Entry::Command(bytes));
        assert!(matches!(result, Err(IndexError::Undecodable { .. })));
    }
    assert_eq!(index.applied(), before);
}
