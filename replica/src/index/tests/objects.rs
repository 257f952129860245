//! What objects, versions and markers hold, by whatever write they came about.

use std::collections::BTreeSet;

use holdfast_wire::acl::Acl;
use holdfast_wire::condition::{ETags, ReadCondition, Unmet};
use holdfast_wire::configuration::Versioning;
use holdfast_wire::id::{Seq, VersionId};
use holdfast_wire::lock::ObjectLock;
use holdfast_wire::object::{
    Attributes, Checksum, ChecksumAlgorithm, ChecksumKind, Detail, Headers, Object, Summary, Upload,
};
use holdfast_wire::request::{
    CompleteUpload, CopyObject, CopyPart, DeleteKey, Deleted, PutObject, Refusal, RenameObject, Write, WriteOutcome,
};
use holdfast_wire::sealed::{Salt, Seal, SealedBy};

use super::support::*;
use super::writes::{is_stored, only_if, ready, refused};
use super::*;
use crate::index::apply::PART_MIN;

fn enable_versions(index: &Index, log: &mut Log) {
    let mut versioned = bucket(1);
    (versioned.revision, versioned.configuration.versioning) = (2, Versioning::Enabled);
    log.apply(index, 1, Command::InstallBucket(versioned));
}

#[test]
fn a_copy_is_as_old_as_its_own_write_and_of_the_class_it_was_given() {
    let (index, mut log) = ready();
    let mut source = put_object("a", inline("hello"));
    source.attributes.storage_class = Some("STANDARD_IA".to_owned());
    log.apply(&index, 1_000, Command::Write(Write::Put(source)));
    log.apply(&index, 9_000, copy(&index, "a", "b"));
    let summary = |name: &str| index.object(BucketId(1), &key(name)).unwrap().unwrap().summary;
    let (source, copied) = (summary("a"), summary("b"));
    assert_eq!((source.modified_ms, copied.modified_ms), (1_000, 9_000));
    assert_eq!((source.storage_class.as_deref(), copied.storage_class), (Some("STANDARD_IA"), None));
    assert_eq!((copied.etag, copied.size), (source.etag, source.size));
}

/// Attributes of which nothing is left out.
fn attributes(mark: &str) -> Attributes {
    let text = |what: &str| Some(format!("{what}-{mark}"));
    Attributes {
        headers: Headers {
            content_type: text("type"),
            content_encoding: text("encoding"),
            content_language: text("language"),
            content_disposition: text("disposition"),
            cache_control: text("cache"),
            expires: text("expires"),
            website_redirect_location: text("location"),
        },
        metadata: vec![("meta".to_owned(), mark.to_owned())],
        tags: vec![("tag".to_owned(), mark.to_owned())],
        storage_class: text("class"),
        lock: ObjectLock::default(),
        seal: Some(Seal { by: SealedBy::Ring(mark.to_owned()), wrapped: vec![1; 60], salt: Salt::default() }),
        acl: Some(Acl::private(mark)),
    }
}

fn assert_has(index: &Index, name: &str, wanted: &Attributes, owner: &str) -> Object {
    let object = index.object(BucketId(1), &key(name)).unwrap().unwrap();
    let Detail { headers, metadata, tags, seal, acl, lock, .. } = object.detail.clone();
    let storage_class = object.summary.storage_class.clone();
    assert_eq!(&Attributes { headers, metadata, tags, storage_class, lock, seal, acl }, wanted, "{name}");
    assert_eq!(object.summary.owner, owner, "{name}");
    object
}

#[test]
fn objects_have_all_that_their_writes_say_of_them() {
    let (index, mut log) = ready();
    let bytes = "x".repeat(100);
    let put = PutObject { owner: "ann".to_owned(), attributes: attributes("put"), ..put_object("put", inline(&bytes)) };
    log.apply(&index, 2, Command::Write(Write::Put(put)));
    let source = assert_has(&index, "put", &attributes("put"), "ann");

    let copy =
        CopyObject { owner: "bob".to_owned(), attributes: attributes("copy"), ..copy_object(&index, "put", "copy") };
    log.apply(&index, 3, Command::Write(Write::Copy(copy)));
    let copied = assert_has(&index, "copy", &attributes("copy"), "bob");
    assert_eq!((copied.summary.etag, copied.summary.size), (source.summary.etag, source.summary.size));

    let rename = RenameObject {
        bucket: BucketId(1),
        key: key("renamed"),
        condition: ReadCondition::default(),
        from_key: key("put"),
        from_condition: ReadCondition::default(),
    };
    log.apply(&index, 4, Command::Write(Write::Rename(rename)));
    assert_has(&index, "renamed", &attributes("put"), "ann");

    let checksum =
        Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::Composite, value: "AAAA-1".to_owned() };
    let Command::Write(Write::CreateUpload { bucket, upload }) = create_upload("parts", 7) else { unreachable!() };
    let upload = Upload { owner: "cid".to_owned(), attributes: attributes("upload"), ..upload };
    log.apply(&index, 5, Command::Write(Write::CreateUpload { bucket, upload }));
    log.apply(&index, 6, put_part("parts", 7, 1, inline(&bytes)));
    let complete = CompleteUpload { checksum: Some(checksum.clone()), ..complete_upload("parts", 7, &[(1, 100)]) };
    let outcome = log.apply(&index, 9, Command::Write(Write::CompleteUpload(complete)));
    let whole = assert_has(&index, "parts", &attributes("upload"), "cid");
    let seq = Seq { group: SHARD, index: log.index };
    let Summary { etag, modified_ms, .. } = whole.summary.clone();
    assert_eq!(
        (whole.summary.seq, &etag[..], modified_ms, whole.checksum()),
        (seq, "whole-1", 9, Some(checksum.clone()))
    );
    let stored = WriteOutcome::Stored { seq, etag, modified_ms, checksum: Some(checksum), version: None };
    assert_eq!(outcome, Outcome::Written(stored));
}

#[test]
fn a_copy_of_several_inline_pieces_has_bodies_of_its_own() {
    let (index, mut log) = ready();
    log.apply(&index, 2, create_upload("a", 7));
    log.apply(&index, 2, put_part("a", 7, 1, inline(&"x".repeat(PART_MIN as usize))));
    log.apply(&index, 2, put_part("a", 7, 2, inline("end")));
    log.apply(&index, 2, complete("a", 7, &[(1, PART_MIN), (2, 3)]));
    log.apply(&index, 3, copy(&index, "a", "b"));
    let object = |name: &str| index.object(BucketId(1), &key(name)).unwrap().unwrap();
    let (source, copied) = (object("a"), object("b"));
    assert!(bytes_of(&index, &copied) == bytes_of(&index, &source));
    let numbers: BTreeSet<u64> = [source, copied]
        .iter()
        .flat_map(|object| &object.detail.pieces)
        .map(|piece| match piece.source {
            Source::Inline(number) => number,
            Source::Blob(blob) => panic!("{blob}"),
        })
        .collect();
    assert_eq!(numbers.len(), 4, "{numbers:?}");
    assert!(numbers.iter().all(|number| *number != 0));
    log.apply(&index, 4, delete(&["a"]));
    log.apply(&index, 4, forget());
    assert_eq!(bytes_of(&index, &object("b")).len() as u64, PART_MIN + 3);
}

#[test]
fn a_rename_asks_both_of_its_conditions() {
    let (index, mut log) = ready();
    log.apply(&index, 2, put("a", inline("1")));
    log.apply(&index, 2, put("b", inline("22")));
    let tag = |tag: &str| Some(ETags::OneOf(vec![tag.to_owned()]));
    let rename = |from_match: Option<ETags>, to: &str, to_match: Option<ETags>, to_none: Option<ETags>| {
        Command::Write(Write::Rename(RenameObject {
            bucket: BucketId(1),
            key: key(to),
            condition: ReadCondition { if_match: to_match, if_none_match: to_none, ..Default::default() },
            from_key: key("a"),
            from_condition: ReadCondition { if_match: from_match, ..Default::default() },
        }))
    };
    let unmet = refused(Refusal::Condition(Unmet::Different));
    assert_eq!(log.apply(&index, 3, rename(tag("other"), "c", None, None)), unmet);
    assert_eq!(log.apply(&index, 3, rename(None, "b", tag("other"), None)), unmet);
    assert_eq!(log.apply(&index, 3, rename(None, "b", None, Some(ETags::Any))), unmet);
    assert_eq!(log.apply(&index, 3, rename(None, "c", tag("etag-1"), None)), unmet, "nothing is there to match");
    assert!(is_stored(&log.apply(&index, 3, rename(tag("etag-1"), "c", None, Some(ETags::Any)))));
    log.apply(&index, 4, put("a", inline("1")));
    assert!(is_stored(&log.apply(&index, 4, rename(None, "b", tag("etag-2"), None))));
}

#[test]
fn parts_are_copied_of_the_version_that_was_seen() {
    let (index, mut log) = ready();
    enable_versions(&index, &mut log);
    let put_with = |kind: ChecksumKind, text: &str| {
        let checksum = Some(Checksum { algorithm: ChecksumAlgorithm::Crc32, kind, value: text.to_owned() });
        Command::Write(Write::Put(PutObject { checksum, ..put_object("a", inline(text)) }))
    };
    let seq = |log: &Log| Seq { group: SHARD, index: log.index };
    log.apply(&index, 2, put_with(ChecksumKind::FullObject, "first"));
    let first = seq(&log);
    log.apply(&index, 3, put_with(ChecksumKind::Composite, "second"));
    let second = seq(&log);
    log.apply(&index, 4, delete(&["a"]));
    let marker = seq(&log);
    log.apply(&index, 5, put("a", inline("last")));
    log.apply(&index, 6, create_upload("u", 7));
    let mut part = |number: u16, from_seq: Seq| {
        let copy = CopyPart {
            bucket: BucketId(1),
            key: key("u"),
            upload: UploadId(7),
            number,
            from_bucket: BucketId(1),
            from_key: key("a"),
            from_seq,
        };
        log.apply(&index, 7, Command::Write(Write::CopyPart(copy)))
    };
    for from in [marker, Seq { index: 999, ..first }] {
        assert_eq!(part(1, from), refused(Refusal::SourceChanged), "{from}");
    }
    let current = index.object(BucketId(1), &key("a")).unwrap().unwrap().summary.seq;
    for (number, from) in [(1, first), (2, second), (3, current)] {
        assert!(!matches!(part(number, from), Outcome::Written(WriteOutcome::Refused(_))), "{from}");
    }
    let (_, parts, _) = index.list_parts(BucketId(1), &key("u"), UploadId(7), 0, 9).unwrap().unwrap();
    let found: Vec<_> = parts.iter().map(|part| (part.size, part.checksum.is_some(), &part.etag[..])).collect();
    assert_eq!(
        found,
        [(5, true, "etag-5"), (6, false, "etag-6"), (4, false, "etag-4")],
        "a composite is of other parts"
    );
}

#[test]
fn a_version_goes_only_if_it_is_the_one_that_was_meant() {
    let (index, mut log) = ready();
    enable_versions(&index, &mut log);
    log.apply(&index, 2, put("a", inline("1")));
    let version = VersionId::Of(Seq { group: SHARD, index: log.index });
    log.apply(&index, 3, delete(&["a"]));
    let marker = VersionId::Of(Seq { group: SHARD, index: log.index });
    let mut delete_if = |version, tag: &str| {
        let key = DeleteKey { key: key("a"), version: Some(version), condition: only_if(Some(tag), None) };
        let delete = Write::Delete { bucket: BucketId(1), keys: vec![key], bypass_governance: false };
        match log.apply(&index, 4, Command::Write(delete)) {
            Outcome::Written(WriteOutcome::Deleted { mut keys, .. }) => keys.remove(0),
            other => panic!("{other}"),
        }
    };
    assert!(matches!(delete_if(marker, "*"), Err(Refusal::Condition(_))), "a marker is no object");
    assert!(matches!(delete_if(version, "other"), Err(Refusal::Condition(_))));
    assert_eq!(delete_if(version, "etag-1"), Ok(Deleted { version: Some(version), marker: false }));
}

#[test]
fn a_marker_is_as_old_as_its_delete_and_the_buckets_owners() {
    let (index, mut log) = ready();
    enable_versions(&index, &mut log);
    let put = PutObject { owner: "ann".to_owned(), ..put_object("a", inline("1")) };
    log.apply(&index, 2, Command::Write(Write::Put(put)));
    log.apply(&index, 30, delete(&["a"]));
    let versions = index.list_versions(&list_versions()).unwrap().versions;
    let shown: Vec<_> = versions.iter().map(|version| &version.summary).collect();
    let shown: Vec<_> = shown.iter().map(|shown| (shown.marker, shown.modified_ms, &shown.owner[..])).collect();
    assert_eq!(shown, [(true, 30, "me"), (false, 2, "ann")]);
}

/// The row that finds the version `null` is there exactly while others are newer than it.
#[test]
fn no_row_names_a_null_version_that_went() {
    let (index, mut log) = ready();
    let nulls = |index: &Index| {
        let (table, reader) = (key::table(Table::Nulls), index.reader());
        let rows = reader.rows().range(Space::Records, &table, &[]).map(|row| row.unwrap().0);
        rows.take_while(|suffix| suffix.starts_with(&table)).count()
    };
    log.apply(&index, 2, put("a", inline("null")));
    assert_eq!(nulls(&index), 0);
    enable_versions(&index, &mut log);
    log.apply(&index, 4, put("a", inline("newer")));
    assert_eq!(nulls(&index), 1);
    let null = DeleteKey { key: key("a"), version: Some(VersionId::Null), condition: Default::default() };
    let delete = Write::Delete { bucket: BucketId(1), keys: vec![null], bypass_governance: false };
    log.apply(&index, 5, Command::Write(delete));
    assert_eq!(nulls(&index), 0);
}
