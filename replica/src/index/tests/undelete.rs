//! Objects that are gone: kept, shown, brought back, let go of.

use holdfast_wire::configuration::Versioning;
use holdfast_wire::deleted::{DeletedObject, Kept, ListDeleted, Why};
use holdfast_wire::id::Seq;
use holdfast_wire::request::{Refusal, WriteOutcome};
use holdfast_wire::usage::Quota;

use super::support::*;
use super::*;

fn begun() -> (Index, Log) {
    let (index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    log.apply(&index, 1, Command::InstallBucket(bucket(1)));
    (index, log)
}

fn gone(index: &Index, prefix: &str) -> Vec<DeletedObject> {
    let list = |after, limit| ListDeleted { bucket: BucketId(1), prefix: prefix.to_owned(), after, limit };
    let all = index.reader().deleted(&list(None, 1000)).unwrap();
    assert!(!all.more);
    // Page by page it is the same.
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let page = index.reader().deleted(&list(after, 1)).unwrap();
        after = page.deleted.last().map(|last| (last.key.clone(), last.seq));
        paged.extend(page.deleted);
        if !page.more {
            break;
        }
    }
    assert_eq!(paged, all.deleted);
    all.deleted
}

fn text(index: &Index, name: &str) -> Option<String> {
    index.object(BucketId(1), &key(name)).unwrap().map(|object| bytes_of(index, &object))
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome::Written(WriteOutcome::Refused(refusal))
}

fn sound(index: &Index) {
    assert_eq!(index.reader().unsound().unwrap(), Vec::<String>::new());
}

#[test]
fn what_was_deleted_or_overwritten_comes_back_with_its_bytes() {
    let (index, mut log) = begun();
    log.apply(&index, 2, put("a", inline("first")));
    log.apply(&index, 3, put("a", blob(7, 100)));
    log.apply(&index, 4, put("b", inline("b")));
    log.apply(&index, 5, delete(&["a", "b", "c"]));
    let shown: Vec<_> = gone(&index, "").into_iter().map(|gone| (gone.key, gone.since_ms, gone.why)).collect();
    let row = |key: &str, at, why| (key.to_owned(), at, why);
    let all = [row("a", 5, Why::Deleted), row("a", 3, Why::Overwritten), row("b", 5, Why::Deleted)];
    assert_eq!(shown, all);
    assert_eq!(gone(&index, "b").len(), 1);
    assert_eq!(index.kept(), Kept { objects: 3, bytes: 106 });
    assert_eq!(index.usage(BucketId(1)), Usage::default(), "what is gone counts for nothing");
    assert_eq!(index.references(BlobId(7)).unwrap(), 1, "its bytes are kept");
    sound(&index);

    let back = log.apply(&index, 9, undelete("a", None, false));
    let seq = Seq { group: SHARD, index: log.index };
    assert!(matches!(&back, Outcome::Written(WriteOutcome::Stored { seq: at, modified_ms: 9, .. }) if *at == seq));
    assert_eq!(text(&index, "a").unwrap(), format!("<{}>", BlobId(7)));
    assert_eq!(index.usage(BucketId(1)), Usage { objects: 1, bytes: 100, ..Usage::default() });
    assert_eq!(log.apply(&index, 10, undelete("a", None, false)), refused(Refusal::InTheWay));
    let older = gone(&index, "a")[0].seq;
    log.apply(&index, 11, undelete("a", Some(older), true));
    assert_eq!(text(&index, "a").unwrap(), "first");
    assert_eq!(gone(&index, "a")[0].why, Why::Overwritten, "what it replaced can come back in turn");
    log.apply(&index, 12, undelete("a", None, true));
    assert_eq!(text(&index, "a").unwrap(), format!("<{}>", BlobId(7)));
    assert_eq!(log.apply(&index, 13, undelete("c", None, true)), refused(Refusal::NotKept));
    sound(&index);
}

#[test]
fn what_was_kept_for_long_enough_is_let_go_of() {
    let (index, mut log) = begun();
    log.apply(&index, 2, put("a", blob(7, 100)));
    log.apply(&index, 3, put("b", inline("b")));
    log.apply(&index, 4, delete(&["a"]));
    log.apply(&index, 6, delete(&["b"]));
    assert!(log.effects.released.is_empty());
    assert!(!index.reader().is_forgettable(4).unwrap() && index.reader().is_forgettable(5).unwrap());
    log.apply(&index, 20, Command::Forget { before_ms: 5 });
    assert_eq!(log.effects.released, [BlobId(7)]);
    assert_eq!(index.reader().trash(None, 21, 10).unwrap(), [(20, BlobId(7))], "readers get their grace from now on");
    assert_eq!(log.apply(&index, 21, undelete("a", None, false)), refused(Refusal::NotKept));
    assert_eq!(gone(&index, "").len(), 1);
    sound(&index);
    log.apply(&index, 22, Command::Forget { before_ms: 22 });
    assert_eq!(index.kept(), Kept::default());
    assert_eq!(index.reader().rows().range(Space::Bodies, &[], &[]).count(), 0);
    sound(&index);
}

#[test]
fn a_bucket_that_is_removed_takes_nothing_with_it_that_could_not_be_let_go_of() {
    let (index, mut log) = begun();
    log.apply(&index, 2, put("a", blob(7, 100)));
    log.apply(&index, 3, delete(&["a"]));
    let mut frozen = bucket(1);
    (frozen.revision, frozen.state) = (2, holdfast_wire::bucket::BucketState::Deleting);
    log.apply(&index, 4, Command::InstallBucket(frozen));
    assert_eq!(log.apply(&index, 5, undelete("a", None, false)), refused(Refusal::BucketFrozen));
    let removed = log.apply(&index, 6, Command::RemoveBucket { bucket: BucketId(1) });
    assert_eq!(removed, Outcome::BucketInstalled { empty: true }, "what is gone does not stand in the way");
    assert_eq!(log.apply(&index, 7, undelete("a", None, false)), refused(Refusal::NoSuchBucket));
    sound(&index);
    log.apply(&index, 8, Command::Forget { before_ms: 8 });
    assert_eq!(log.effects.released, [BlobId(7)]);
    sound(&index);
}

#[test]
fn what_comes_back_must_fit_into_the_quota() {
    let (index, mut log) = begun();
    log.apply(&index, 2, put("a", inline("12345")));
    log.apply(&index, 3, delete(&["a"]));
    let mut bounded = bucket(1);
    bounded.revision = 2;
    bounded.configuration.quota = Some(Quota { bytes: Some(4), objects: None });
    log.apply(&index, 4, Command::InstallBucket(bounded));
    let outcome = log.apply(&index, 5, undelete("a", None, false));
    assert!(matches!(outcome, Outcome::Written(WriteOutcome::Refused(Refusal::ShareUsedUp { .. }))), "{outcome}");
    assert_eq!(gone(&index, "").len(), 1, "it stays kept");
    sound(&index);
}

#[test]
fn versions_are_their_own_keepers() {
    let (index, mut log) = begun();
    log.apply(&index, 2, put("old", inline("old")));
    log.apply(&index, 2, delete(&["old"]));
    let mut versioned = bucket(1);
    versioned.revision = 2;
    versioned.configuration.versioning = Versioning::Enabled;
    log.apply(&index, 3, Command::InstallBucket(versioned.clone()));
    log.apply(&index, 4, put("a", inline("1")));
    log.apply(&index, 5, put("a", inline("2")));
    log.apply(&index, 6, delete(&["a"]));
    assert_eq!(gone(&index, "").len(), 1, "only what had no versions");
    log.apply(&index, 7, undelete("old", None, false));
    let object = index.object(BucketId(1), &key("old")).unwrap().unwrap();
    assert!(object.summary.versioned, "it comes back as the bucket has it now");
    // A suspended bucket has one version `null`, which overwriting takes away.
    versioned.revision = 3;
    versioned.configuration.versioning = Versioning::Suspended;
    log.apply(&index, 8, Command::InstallBucket(versioned));
    log.apply(&index, 9, put("a", inline("null")));
    log.apply(&index, 10, delete(&["a"]));
    assert_eq!(gone(&index, "").iter().map(|gone| gone.why).collect::<Vec<_>>(), [Why::Deleted]);
    log.apply(&index, 11, undelete("a", None, false));
    assert_eq!(text(&index, "a").unwrap(), "null");
    sound(&index);

    // One that others had overtaken before it went is the newest again.
    let mut versioned = bucket(1);
    (versioned.revision, versioned.configuration.versioning) = (4, Versioning::Enabled);
    log.apply(&index, 12, Command::InstallBucket(versioned.clone()));
    log.apply(&index, 13, put("a", inline("newer")));
    (versioned.revision, versioned.configuration.versioning) = (5, Versioning::Suspended);
    log.apply(&index, 14, Command::InstallBucket(versioned));
    log.apply(&index, 15, put("a", inline("newest")));
    log.apply(&index, 16, undelete("a", None, true));
    let object = index.object(BucketId(1), &key("a")).unwrap().unwrap();
    assert_eq!((bytes_of(&index, &object), object.detail.noncurrent_ms), ("null".to_owned(), None));
    sound(&index);
}

#[test]
fn a_renamed_object_is_not_gone_and_what_it_replaced_is() {
    let (index, mut log) = begun();
    log.apply(&index, 2, put("a", inline("a")));
    log.apply(&index, 3, put("b", inline("b")));
    let rename = holdfast_wire::request::RenameObject {
        bucket: BucketId(1),
        key: key("b"),
        from_key: key("a"),
        condition: Default::default(),
        from_condition: Default::default(),
    };
    log.apply(&index, 4, Command::Write(holdfast_wire::request::Write::Rename(rename)));
    let shown: Vec<_> = gone(&index, "").into_iter().map(|gone| (gone.key, gone.why)).collect();
    assert_eq!(shown, [("b".to_owned(), Why::Overwritten)]);
    sound(&index);
}
