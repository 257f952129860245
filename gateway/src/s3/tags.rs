//! Tags of objects and buckets: S3's rules, and the two bucket tags that mean something here.

use std::collections::BTreeSet;

use holdfast_wire::bucket::{AckMode, ReadMode};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use s3s::dto::{Tag, TagSet};
use s3s::{S3Result, s3_error};

use crate::error::custom;

/// Tags of one object at most, and what S3 calls them.
const OBJECT_TAGS: (usize, &str) = (10, "Object tags");
/// The same of one bucket.
const BUCKET_TAGS: (usize, &str) = (50, "Bucket tag count");
/// Characters of a tag's name.
const KEY_MAX: usize = 128;
/// Characters of a tag's value.
const VALUE_MAX: usize = 256;

/// An object's tags from `x-amz-tagging`: `name=value&…`, percent-encoded.
pub fn of_header(text: &str) -> S3Result<Vec<(String, String)>> {
    let decode = |text: &str| match percent_decode_str(&text.replace('+', " ")).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(s3_error!(
            InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
        )),
    };
    let mut tags = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        tags.push((decode(name)?, decode(value)?));
    }
    check(&tags, OBJECT_TAGS)?;
    // A set: listed by name.
    tags.sort();
    Ok(tags)
}

/// An object's tags from XML.
pub fn of_object(set: TagSet) -> S3Result<Vec<(String, String)>> {
    let mut tags = from_set(set)?;
    check(&tags, OBJECT_TAGS)?;
    tags.sort();
    Ok(tags)
}

fn from_set(set: TagSet) -> S3Result<Vec<(String, String)>> {
    let pair = |tag: Tag| Ok((tag.key.ok_or_else(|| s3_error!(MalformedXML))?, tag.value.unwrap_or_default()));
    set.into_iter().map(pair).collect()
}

/// A bucket's tags from XML.
pub fn of_bucket(set: TagSet) -> S3Result<Vec<(String, String)>> {
    let tags = from_set(set)?;
    check(&tags, BUCKET_TAGS)?;
    for (name, value) in &tags {
        let sound = match name.as_str() {
            AckMode::TAG => AckMode::parse(value).is_some(),
            ReadMode::TAG => ReadMode::parse(value).is_some(),
            other => !other.starts_with("holdfast."),
        };
        if !sound {
            return Err(s3_error!(InvalidTag, "The tag {name} has no such value"));
        }
    }
    Ok(tags)
}

/// Tags as S3 answers them.
pub fn to_set(tags: &[(String, String)]) -> TagSet {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

/// The S3 user guide's rules, "Tag naming limits and requirements".
fn check(tags: &[(String, String)], (most, called): (usize, &str)) -> S3Result<()> {
    if tags.len() > most {
        let message = format!("{called} cannot be greater than {most}");
        return Err(custom("BadRequest", StatusCode::BAD_REQUEST, message));
    }
    let mut seen = BTreeSet::new();
    for (name, value) in tags {
        let sound = |c: char| c.is_alphanumeric() || c.is_whitespace() && !c.is_control() || "+-=._:/@".contains(c);
        if name.is_empty() || name.chars().count() > KEY_MAX || !name.chars().all(sound) || name.starts_with("aws:") {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
        }
        if value.chars().count() > VALUE_MAX || !value.chars().all(sound) {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
        }
        if !seen.insert(name) {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use s3s::S3ErrorCode;

    use super::*;

    fn set(name: &str, value: &str) -> TagSet {
        to_set(&[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_header_is_a_query() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            of_header("a=1&b%2Fc=x%20y&d&e=p+q").unwrap(),
            [pair("a", "1"), pair("b/c", "x y"), pair("d", ""), pair("e", "p q")]
        );
        assert_eq!(of_header("").unwrap(), []);
        assert_eq!(of_header("a=1&a=2").unwrap_err().code(), &S3ErrorCode::InvalidTag);
        assert!(of_header("a=%ff").is_err());
        assert!(of_header(&(0..11).map(|i| format!("k{i}=v&")).collect::<String>()).is_err());
        assert!(of_header(&format!("{}=v", "k".repeat(129))).is_err());
        assert!(of_header(&format!("k={}", "v".repeat(257))).is_err());
    }

    #[test]
    fn too_many_are_called_what_they_are() {
        let many = |count: usize| to_set(&(0..count).map(|at| (format!("k{at}"), String::new())).collect::<Vec<_>>());
        let refused = |result: S3Result<Vec<(String, String)>>| {
            let error = result.unwrap_err();
            (error.code().as_str().to_owned(), error.message().unwrap_or_default().to_owned())
        };
        assert!(of_object(many(10)).is_ok() && of_bucket(many(50)).is_ok());
        let expected = |message: &str| ("BadRequest".to_owned(), message.to_owned());
        assert_eq!(refused(of_object(many(11))), expected("Object tags cannot be greater than 10"));
        assert_eq!(refused(of_bucket(many(51))), expected("Bucket tag count cannot be greater than 50"));
    }

    #[test]
    fn mode_tags_must_name_modes() {
        assert!(of_bucket(set("holdfast.ack", "leader")).is_ok());
        assert!(of_bucket(set("holdfast.read", "eventual")).is_ok());
        for (name, value) in
            [("holdfast.ack", "eventual"), ("holdfast.read", ""), ("holdfast.mode", "x"), ("aws:x", "y")]
        {
            assert_eq!(of_bucket(set(name, value)).unwrap_err().code(), &S3ErrorCode::InvalidTag);
        }
    }
}
