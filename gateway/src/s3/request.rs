//! What operations read out of a request besides s3s's typed input: names, modes, tags, attributes.

use std::str::FromStr;
use std::sync::Arc;

use holdfast_wire::bucket::{AckMode, Bucket, BucketState, ReadMode};
use holdfast_wire::id::{BucketName, NotAKey, NotAVersionId, ObjectKey, Seq, UploadId, VersionId};
use holdfast_wire::object::{Attributes, Headers};
use http::HeaderMap;
use s3s::dto::{self, StorageClass};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::lock::RawLock;
use super::{S3Service, tags};
use crate::auth::Who;
use crate::router::{Modes, RouteError};

/// Request header that picks when a write is answered.
pub const ACK: &str = "x-holdfast-ack";
/// Request header that picks how fresh a read is.
pub const READ: &str = "x-holdfast-read";
/// Request header with the newest version that the client has seen; response header with the version of the answer.
pub const SEQ: &str = "x-holdfast-seq";

/// What S3 says of a version id that cannot be one.
pub const INVALID_VERSION: &str = "Invalid version id specified";

/// User metadata, names and values together.
const METADATA_BYTES_MAX: usize = 2 << 10;
/// What S3 knows.
const STORAGE_CLASSES: [&str; 10] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
    "OUTPOSTS",
    "EXPRESS_ONEZONE",
];

/// The modes that the request's headers ask for.
pub fn modes(headers: &HeaderMap) -> S3Result<Modes> {
    fn parsed<T>(
        headers: &HeaderMap,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> S3Result<Option<T>> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        match value.to_str().ok().and_then(parse) {
            Some(value) => Ok(Some(value)),
            None => Err(s3_error!(InvalidArgument, "Invalid value of the header {name}")),
        }
    }
    Ok(Modes {
        ack: parsed(headers, ACK, AckMode::parse)?,
        read: parsed(headers, READ, ReadMode::parse)?,
        seq: parsed(headers, SEQ, |text| Seq::from_str(text).ok())?,
    })
}

/// An object's key.
pub fn key(text: String) -> S3Result<ObjectKey> {
    ObjectKey::try_from(text).map_err(|error| match error {
        NotAKey::Empty => s3_error!(InvalidRequest, "An object key must not be empty"),
        NotAKey::TooLong => s3_error!(KeyTooLongError),
    })
}

/// An upload's id; text that is none names no upload.
pub fn upload_id(text: &str) -> S3Result<UploadId> {
    text.parse().map_err(|_| s3_error!(NoSuchUpload))
}

/// A part's number.
pub fn part_number(number: i32) -> S3Result<u16> {
    match u16::try_from(number) {
        Ok(number @ 1..=10_000) => Ok(number),
        _ => Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")),
    }
}

/// The version that a client names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// None: the current object.
    Current,
    /// This one, which may or may not be there.
    Version(VersionId),
    /// One of the form that Amazon S3 gives out, and this service never did: kept, perhaps, from before a move here.
    Foreign,
}

/// What a version id names.
pub fn named_version(id: Option<&str>) -> S3Result<Named> {
    match id {
        None => Ok(Named::Current),
        Some(text) => match text.parse() {
            Ok(id) => Ok(Named::Version(id)),
            Err(NotAVersionId) if is_of_amazon(text) => Ok(Named::Foreign),
            Err(NotAVersionId) => Err(s3_error!(InvalidArgument, "{INVALID_VERSION}")),
        },
    }
}

/// The version that is to be read or changed; `None` is the current object.
pub fn version(id: Option<&str>) -> S3Result<Option<VersionId>> {
    match named_version(id)? {
        Named::Current => Ok(None),
        Named::Version(id) => Ok(Some(id)),
        Named::Foreign => Err(no_such_version()),
    }
}

/// Whether Amazon S3 could have given out this version id.
fn is_of_amazon(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
}

/// 404 `NoSuchVersion`
pub fn no_such_version() -> S3Error {
    s3_error!(NoSuchVersion, "The specified version does not exist.")
}

/// What the caller's buckets and uploads have as their owner; `None` for the anonymous.
pub fn requester(extensions: &http::Extensions) -> Option<String> {
    extensions.get::<Who>().and_then(Who::owner)
}

impl S3Service {
    /// The bucket, if it exists and, where the client says whose it must be, is theirs.
    pub(super) async fn bucket(&self, name: &str, expected_owner: Option<&str>) -> S3Result<Arc<Bucket>> {
        let name = BucketName::from_str(name).map_err(|_| s3_error!(NoSuchBucket))?;
        self.known(self.router.bucket(&name).await, expected_owner)
    }

    /// As [`bucket`](Self::bucket), from root rather than from the cache.
    pub(super) async fn bucket_now(&self, name: &str, expected_owner: Option<&str>) -> S3Result<Arc<Bucket>> {
        let name = BucketName::from_str(name).map_err(|_| s3_error!(NoSuchBucket))?;
        self.known(self.router.bucket_now(&name).await, expected_owner)
    }

    fn known(&self, found: Result<Arc<Bucket>, RouteError>, expected_owner: Option<&str>) -> S3Result<Arc<Bucket>> {
        let bucket = found?;
        match bucket.state {
            BucketState::Creating => return Err(s3_error!(NoSuchBucket)),
            BucketState::Active | BucketState::Deleting => {}
        }
        match expected_owner {
            Some(owner) if owner != bucket.owner => Err(s3_error!(AccessDenied)),
            _ => Ok(bucket),
        }
    }
}

/// User metadata in a stable order, within S3's bounds. Names come in lower case.
pub fn metadata(metadata: Option<dto::Metadata>) -> S3Result<Vec<(String, String)>> {
    let mut metadata: Vec<_> = metadata.unwrap_or_default().into_iter().collect();
    metadata.sort_unstable();
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > METADATA_BYTES_MAX { Err(s3_error!(MetadataTooLarge)) } else { Ok(metadata) }
}

/// The storage class to keep; `None` is STANDARD.
pub fn storage_class(class: Option<&StorageClass>) -> S3Result<Option<String>> {
    match class.map(StorageClass::as_str) {
        None | Some("STANDARD") => Ok(None),
        Some(class) if STORAGE_CLASSES.contains(&class) => Ok(Some(class.to_owned())),
        Some(_) => Err(s3_error!(InvalidStorageClass)),
    }
}

/// The encoding of the object itself: `aws-chunked` is one of the transfer.
pub fn content_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    if !encoding.to_ascii_lowercase().contains("aws-chunked") {
        return Some(encoding);
    }
    let kept: Vec<_> =
        encoding.split(',').map(str::trim).filter(|token| !token.eq_ignore_ascii_case("aws-chunked")).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// What a request sets on an object, before it is checked.
pub struct RawAttributes {
    pub headers: Headers,
    pub metadata: Option<dto::Metadata>,
    pub tagging: Option<String>,
    pub storage_class: Option<StorageClass>,
    pub lock: RawLock,
}

impl RawAttributes {
    /// Checked, as it is kept.
    pub fn check(self) -> S3Result<Attributes> {
        let encoding = content_encoding(self.headers.content_encoding);
        Ok(Attributes {
            headers: Headers { content_encoding: encoding, ..self.headers },
            metadata: metadata(self.metadata)?,
            tags: self.tagging.as_deref().map(tags::of_header).transpose()?.unwrap_or_default(),
            storage_class: storage_class(self.storage_class.as_ref())?,
            lock: self.lock.check()?,
            seal: None,
            acl: None,
        })
    }
}

/// Takes [`RawAttributes`] out of an input of PutObject, CopyObject or CreateMultipartUpload.
macro_rules! raw_attributes {
    ($input:expr) => {
        $crate::s3::request::RawAttributes {
            headers: holdfast_wire::object::Headers {
                content_type: $input.content_type.take(),
                content_encoding: $input.content_encoding.take(),
                content_language: $input.content_language.take(),
                content_disposition: $input.content_disposition.take(),
                cache_control: $input.cache_control.take(),
                expires: $input.expires.take(),
                website_redirect_location: $input.website_redirect_location.take(),
            },
            metadata: $input.metadata.take(),
            tagging: $input.tagging.take(),
            storage_class: $input.storage_class.take(),
            lock: $crate::s3::lock::RawLock {
                mode: $input.object_lock_mode.take(),
                until: $input.object_lock_retain_until_date.take(),
                hold: $input.object_lock_legal_hold_status.take(),
            },
        }
    };
}

pub(super) use raw_attributes;

/// 501 for what is not built.
pub fn not_implemented(what: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, format!("{what} is not implemented"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_or_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let read = modes(&headers(&[(ACK, "all"), (READ, "session"), (SEQ, "3-14")])).unwrap();
        assert_eq!(read.ack, Some(AckMode::All));
        assert_eq!(read.read, Some(ReadMode::Session));
        assert_eq!(read.seq.map(|seq| seq.to_string()), Some("3-14".to_owned()));
        for (name, value) in [(ACK, "most"), (READ, "STRONG"), (SEQ, "14")] {
            assert_eq!(modes(&headers(&[(name, value)])).unwrap_err().code(), &S3ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn aws_chunked_is_stripped_wherever_it_stands() {
        let strip = |text: &str| content_encoding(Some(text.to_owned()));
        assert_eq!(strip("aws-chunked"), None);
        assert_eq!(strip("aws-chunked,gzip").as_deref(), Some("gzip"));
        assert_eq!(strip("gzip, AWS-chunked").as_deref(), Some("gzip"));
        assert_eq!(strip("gzip,aws-chunked, br").as_deref(), Some("gzip,br"));
        assert_eq!(strip("gzip, br").as_deref(), Some("gzip, br"));
        assert_eq!(content_encoding(None), None);
    }

    #[test]
    fn bounds_of_numbers_versions_and_metadata() {
        assert!(part_number(0).is_err() && part_number(10_001).is_err() && part_number(-1).is_err());
        assert_eq!(part_number(10_000).unwrap(), 10_000);
        assert_eq!(version(None).unwrap(), None);
        assert_eq!(version(Some("null")).unwrap(), Some(VersionId::Null));
        let of = VersionId::Of(Seq { group: holdfast_wire::id::GroupId(2), index: 255 });
        assert_eq!(of.to_string(), "0000000200000000000000ff");
        assert_eq!(version(Some("0000000200000000000000ff")).unwrap(), Some(of));
        let amazons = "3sL4kqtJlcpXroDTDmJ.rmSpXd3_IbrH";
        assert_eq!(named_version(Some(amazons)).unwrap(), Named::Foreign);
        assert_eq!(version(Some(amazons)).unwrap_err().code(), &S3ErrorCode::NoSuchVersion);
        for malformed in ["", "nope", "a b", "0000000200000000000000FF", "0000000200000000000000ff0", "/"] {
            let error = version(Some(malformed)).unwrap_err();
            assert_eq!((error.code(), error.message()), (&S3ErrorCode::InvalidArgument, Some(INVALID_VERSION)));
        }
        let of = |value: usize| metadata(Some([("k".to_owned(), "v".repeat(value))].into()));
        assert!(of(2047).is_ok());
        assert_eq!(of(2048).unwrap_err().code(), &S3ErrorCode::MetadataTooLarge);
        assert_eq!(of(0).unwrap(), [("k".to_owned(), String::new())]);
    }
}
