//! Conditional requests: from S3's headers to the wire's conditions. RFC 9110 §13; S3 API reference, "Conditional
//! requests".

use holdfast_wire::condition::{ETags, ReadCondition, WriteCondition};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};
use time::OffsetDateTime;

/// Which comparison a header asks for. RFC 9110 §8.8.3.2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// `If-Match`: a weak tag matches nothing.
    Strong,
    /// `If-None-Match`: weakness is ignored.
    Weak,
}

/// `If-Match`
pub fn if_match(condition: Option<&ETagCondition>) -> Option<ETags> {
    condition.map(|condition| tags(condition, Comparison::Strong))
}

/// `If-None-Match`
pub fn if_none_match(condition: Option<&ETagCondition>) -> Option<ETags> {
    condition.map(|condition| tags(condition, Comparison::Weak))
}

/// s3s reads a list of tags as one tag whose text has the separators inside: `"a", W/"b"` is `a", W/"b`.
fn tags(condition: &ETagCondition, comparison: Comparison) -> ETags {
    let tag = match condition {
        ETagCondition::Any => return ETags::Any,
        ETagCondition::ETag(tag) => tag,
    };
    let mut weak = matches!(tag, ETag::Weak(_));
    let mut tags = Vec::new();
    for (at, piece) in tag.value().split('"').enumerate() {
        // Pieces alternate between tags and what stands between them.
        if at % 2 == 1 {
            weak = piece.trim_matches([' ', '\t', ',']) == "W/";
        } else if !weak || comparison == Comparison::Weak {
            tags.push(piece.to_owned());
        }
    }
    ETags::OneOf(tags)
}

/// Unix seconds.
pub fn seconds(time: &Timestamp) -> u64 {
    u64::try_from(OffsetDateTime::from(time.clone()).unix_timestamp()).unwrap_or(0)
}

/// Of PutObject, CompleteMultipartUpload and CopyObject.
pub fn of_write(matches: Option<&ETagCondition>, none_match: Option<&ETagCondition>) -> WriteCondition {
    WriteCondition { if_match: if_match(matches), if_none_match: if_none_match(none_match), ..Default::default() }
}

/// Of DeleteObject.
pub fn of_delete(
    matches: Option<&ETagCondition>,
    modified: Option<&Timestamp>,
    size: Option<i64>,
) -> S3Result<WriteCondition> {
    let size = size.map(u64::try_from).transpose();
    Ok(WriteCondition {
        if_match: if_match(matches),
        if_none_match: None,
        if_modified_at_s: modified.map(seconds),
        if_size: size.map_err(|_| s3_error!(InvalidArgument, "A size must not be negative"))?,
    })
}

/// Of GetObject, HeadObject and of the source of a copy.
pub fn of_read(
    matches: Option<&ETagCondition>,
    none_match: Option<&ETagCondition>,
    modified_since: Option<&Timestamp>,
    unmodified_since: Option<&Timestamp>,
) -> ReadCondition {
    ReadCondition {
        if_match: if_match(matches),
        if_none_match: if_none_match(none_match),
        if_modified_since_s: modified_since.map(seconds),
        if_unmodified_since_s: unmodified_since.map(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ETagCondition {
        text.parse().unwrap()
    }

    fn one_of(tags: &[&str]) -> Option<ETags> {
        Some(ETags::OneOf(tags.iter().map(|&tag| tag.to_owned()).collect()))
    }

    #[test]
    fn one_tag_many_tags_any_tag() {
        assert_eq!(if_match(None), None);
        assert_eq!(if_match(Some(&parse("*"))), Some(ETags::Any));
        assert_eq!(if_match(Some(&parse("\"a\""))), one_of(&["a"]));
        assert_eq!(if_match(Some(&parse("abc-2"))), one_of(&["abc-2"]));
        assert_eq!(if_match(Some(&parse("\"a\", \"b\",\"c\""))), one_of(&["a", "b", "c"]));
    }

    #[test]
    fn weak_tags_match_only_weakly() {
        assert_eq!(if_match(Some(&parse("W/\"a\", \"b\""))), one_of(&["b"]));
        assert_eq!(if_none_match(Some(&parse("W/\"a\", \"b\", W/\"c\""))), one_of(&["a", "b", "c"]));
        assert_eq!(if_match(Some(&parse("W/\"a\""))), one_of(&[]));
    }

    #[test]
    fn a_negative_size_is_refused() {
        assert!(of_delete(None, None, Some(-1)).is_err());
        assert_eq!(of_delete(None, None, Some(7)).unwrap().if_size, Some(7));
    }
}
