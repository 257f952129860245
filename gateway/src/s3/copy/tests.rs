use holdfast_wire::object::{Detail, Summary};
use s3s::S3ErrorCode;

use super::*;

fn source() -> Object {
    Object {
        summary: Summary {
            size: 1,
            checksum: Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject)),
            ..Summary::default()
        },
        detail: Detail {
            headers: Headers {
                content_type: Some("text/plain".to_owned()),
                website_redirect_location: Some("/old".to_owned()),
                ..Default::default()
            },
            metadata: vec![("a".to_owned(), "1".to_owned())],
            tags: vec![("t".to_owned(), "1".to_owned())],
            checksum: Some("AAAAAA==".to_owned()),
            ..Detail::default()
        },
    }
}

fn directives(metadata: Option<&'static str>, tagging: Option<&'static str>) -> S3Result<Directives> {
    let raw = RawAttributes {
        headers: Headers { content_type: Some("image/png".to_owned()), ..Default::default() },
        metadata: Some([("b".to_owned(), "2".to_owned())].into()),
        tagging: Some("u=2".to_owned()),
        storage_class: None,
        lock: Default::default(),
    };
    let metadata = metadata.map(MetadataDirective::from_static);
    Directives::new(metadata.as_ref(), tagging.map(TaggingDirective::from_static).as_ref(), raw)
}

#[test]
fn directives_choose_between_source_and_request() {
    let copied = directives(None, None).unwrap().resolve(&source());
    assert_eq!(copied.headers.content_type.as_deref(), Some("text/plain"));
    assert_eq!(copied.headers.website_redirect_location, None);
    assert_eq!(copied.metadata[0].0, "a");
    assert_eq!(copied.tags[0].0, "t");
    let replaced = directives(Some("REPLACE"), Some("REPLACE")).unwrap().resolve(&source());
    assert_eq!(replaced.headers.content_type.as_deref(), Some("image/png"));
    assert_eq!(replaced.metadata[0].0, "b");
    assert_eq!(replaced.tags[0].0, "u");
    assert!(directives(Some("MERGE"), None).is_err());
}

#[test]
fn a_copy_to_itself_must_change_something() {
    assert!(!directives(None, None).unwrap().changes(&source()));
    assert!(!directives(Some("COPY"), Some("COPY")).unwrap().changes(&source()));
    assert!(directives(Some("REPLACE"), None).unwrap().changes(&source()));
    assert!(directives(None, Some("REPLACE")).unwrap().changes(&source()));
}

#[test]
fn ranges_of_sources_are_strict() {
    assert_eq!(source_range("bytes=0-0").unwrap(), (0, 0));
    assert_eq!(source_range("bytes=5-9").unwrap(), (5, 9));
    for text in ["bytes=5-", "bytes=-5", "bytes=9-5", "0-5", "bytes=0-+5", "bytes=a-b", "bytes=0-5,7-8", "bytes=-"] {
        assert_eq!(source_range(text).unwrap_err().code(), &S3ErrorCode::InvalidArgument, "{text}");
    }
}

#[test]
fn other_bytes_than_the_sources_are_refused() {
    let computed = |value: &str| Checksum {
        algorithm: ChecksumAlgorithm::Crc32,
        kind: ChecksumKind::FullObject,
        value: value.to_owned(),
    };
    assert!(same_bytes(&source(), &computed("AAAAAA==")).is_ok());
    assert!(same_bytes(&source(), &computed("AAAAAQ==")).is_err());
}
