//! ListObjects, version 1 and 2.
//!
//! A page ends behind its last key or common prefix; going on behind a common prefix skips all keys that have it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_wire::object::Summary;
use holdfast_wire::request::{ListFrom, ListObjects, ListPage};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    self, ChecksumAlgorithm, ChecksumType, CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, ObjectStorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::{etag, int, kind, owner, timestamp};
use super::request::modes;
use crate::checksum;

/// Keys and common prefixes of one page.
pub const PAGE_MAX: i32 = 1000;

/// Left as they are by `encoding-type=url`.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'*');

/// How names are written into XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are, which XML 1.0 cannot do for most control characters.
    Plain,
    /// Percent-encoded.
    Url,
}

impl Encoding {
    /// As the request asks.
    pub fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    /// A name as it is written.
    pub fn name(self, name: &str) -> S3Result<String> {
        match self {
            Self::Url => Ok(utf8_percent_encode(name, KEPT).to_string()),
            Self::Plain if name.chars().all(in_xml) => Ok(name.to_owned()),
            Self::Plain => Err(s3_error!(
                InvalidArgument,
                "A name in this listing has characters that XML cannot carry: ask for encoding-type=url"
            )),
        }
    }

    /// A name as it is written, if there is one.
    pub fn opt(self, name: Option<&str>) -> S3Result<Option<String>> {
        name.map(|name| self.name(name)).transpose()
    }

    /// Common prefixes as they are written.
    pub fn prefixes(self, prefixes: &[String]) -> S3Result<Vec<CommonPrefix>> {
        prefixes.iter().map(|prefix| Ok(CommonPrefix { prefix: Some(self.name(prefix)?) })).collect()
    }

    /// What the answer says.
    pub fn answer(self) -> Option<EncodingType> {
        match self {
            Self::Plain => None,
            Self::Url => Some(EncodingType::from_static(EncodingType::URL)),
        }
    }
}

/// The Char production of XML 1.0 §2.2, less the carriage return, which parsers turn into a line feed.
fn in_xml(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// How many entries a page may have.
pub fn page_size(asked: Option<i32>, name: &str) -> S3Result<i32> {
    match asked {
        None => Ok(PAGE_MAX),
        Some(asked @ 0..) => Ok(asked.min(PAGE_MAX)),
        Some(_) => Err(s3_error!(InvalidArgument, "Argument {name} must be an integer between 0 and 2147483647")),
    }
}

/// The common prefix that `text` is or lies under.
pub fn common_prefix<'a>(prefix: &str, delimiter: Option<&str>, text: &'a str) -> Option<&'a str> {
    let delimiter = delimiter?;
    let at = text.strip_prefix(prefix)?.find(delimiter)?;
    Some(&text[..prefix.len() + at + delimiter.len()])
}

/// Where to go on behind a marker that a client gives: when it is a common prefix, behind all of that.
pub fn from_marker(prefix: &str, delimiter: Option<&str>, marker: Option<&str>) -> ListFrom {
    match marker {
        None | Some("") => ListFrom::Start,
        Some(marker) if common_prefix(prefix, delimiter, marker) == Some(marker) => {
            ListFrom::AfterPrefix(marker.to_owned())
        }
        Some(marker) => ListFrom::After(marker.to_owned()),
    }
}

/// The last entry of a page.
pub fn last(page: &ListPage) -> Option<ListFrom> {
    let key = page.objects.last().map(|(key, _)| key);
    match (key, page.prefixes.last()) {
        (Some(key), Some(prefix)) if key < prefix => Some(ListFrom::AfterPrefix(prefix.clone())),
        (None, Some(prefix)) => Some(ListFrom::AfterPrefix(prefix.clone())),
        (Some(key), _) => Some(ListFrom::After(key.clone())),
        (None, None) => None,
    }
}

/// The text of an entry.
pub fn text(entry: &ListFrom) -> &str {
    match entry {
        ListFrom::Start => "",
        ListFrom::After(text) | ListFrom::AfterPrefix(text) => text,
    }
}

/// A continuation token: `version | kind | CRC-32C of the text | text`, in base64.
pub fn token(from: &ListFrom) -> String {
    let kind = match from {
        ListFrom::Start => b's',
        ListFrom::After(_) => b'k',
        ListFrom::AfterPrefix(_) => b'p',
    };
    let text = text(from);
    let mut bytes = vec![1, kind];
    bytes.extend_from_slice(&checksum::of(holdfast_wire::object::ChecksumAlgorithm::Crc32c, text.as_bytes()));
    bytes.extend_from_slice(text.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a continuation token says; `None` if it is none of ours.
pub fn untoken(token: &str) -> Option<ListFrom> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (head, text) = bytes.split_at_checked(6)?;
    if head[0] != 1 || head[2..] != checksum::of(holdfast_wire::object::ChecksumAlgorithm::Crc32c, text) {
        return None;
    }
    let text = String::from_utf8(text.to_vec()).ok()?;
    match head[1] {
        b's' if text.is_empty() => Some(ListFrom::Start),
        b'k' => Some(ListFrom::After(text)),
        b'p' => Some(ListFrom::AfterPrefix(text)),
        _ => None,
    }
}

/// One object as a listing shows it.
fn object(encoding: Encoding, key: &str, summary: &Summary, with_owner: bool) -> S3Result<dto::Object> {
    let class = summary
        .storage_class
        .clone()
        .map_or_else(|| ObjectStorageClass::from_static(ObjectStorageClass::STANDARD), ObjectStorageClass::from);
    Ok(dto::Object {
        checksum_algorithm: summary
            .checksum
            .map(|(algorithm, _)| vec![ChecksumAlgorithm::from_static(checksum::name(algorithm))]),
        checksum_type: summary.checksum.map(|(_, of)| ChecksumType::from_static(kind(of))),
        e_tag: Some(etag(&summary.etag)),
        key: Some(encoding.name(key)?),
        last_modified: Some(timestamp(summary.modified_ms)),
        owner: with_owner.then(|| owner(&summary.owner)),
        restore_status: None,
        size: int(summary.size),
        storage_class: Some(class),
    })
}

fn contents(encoding: Encoding, page: &ListPage, with_owner: bool) -> S3Result<Vec<dto::Object>> {
    page.objects.iter().map(|(key, summary)| object(encoding, key, summary, with_owner)).collect()
}

/// A query of both versions.
struct Query<'a> {
    bucket: &'a str,
    expected_owner: Option<&'a str>,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    after: ListFrom,
    limit: i32,
}

impl S3Service {
    async fn page(&self, headers: &http::HeaderMap, query: Query<'_>) -> S3Result<ListPage> {
        let modes = modes(headers)?;
        let Some(limit) = u32::try_from(query.limit).ok().filter(|&limit| limit > 0) else {
            // No shard is asked, so root is: the bucket may be gone.
            self.bucket_now(query.bucket, query.expected_owner).await?;
            return Ok(ListPage::default());
        };
        let bucket = self.bucket(query.bucket, query.expected_owner).await?;
        let list = ListObjects {
            bucket: bucket.id,
            prefix: query.prefix.to_owned(),
            delimiter: query.delimiter.map(str::to_owned),
            after: query.after,
            limit,
        };
        Ok(self.router.list(&bucket, modes, list).await?)
    }
}

/// ListObjects
pub async fn v1(s3: &S3Service, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = req.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_size(input.max_keys, "max-keys")?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let query = Query {
        bucket: &input.bucket,
        expected_owner: input.expected_bucket_owner.as_deref(),
        prefix,
        delimiter,
        after: from_marker(prefix, delimiter, input.marker.as_deref()),
        limit,
    };
    let page = s3.page(&req.headers, query).await?;
    // S3 names a next marker only where the last key might not be it.
    let next = last(&page).filter(|_| page.more && delimiter.is_some());
    Ok(S3Response::new(ListObjectsOutput {
        contents: Some(contents(encoding, &page, true)?),
        common_prefixes: Some(encoding.prefixes(&page.prefixes)?),
        delimiter: encoding.opt(delimiter)?,
        encoding_type: encoding.answer(),
        is_truncated: Some(page.more),
        marker: Some(encoding.name(input.marker.as_deref().unwrap_or_default())?),
        max_keys: Some(limit),
        next_marker: encoding.opt(next.as_ref().map(text))?,
        prefix: Some(encoding.name(prefix)?),
        name: Some(input.bucket),
        request_charged: None,
    }))
}

/// ListObjectsV2
pub async fn v2(s3: &S3Service, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = req.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_size(input.max_keys, "max-keys")?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let after = match input.continuation_token.as_deref() {
        None | Some("") => from_marker(prefix, delimiter, input.start_after.as_deref()),
        Some(token) => {
            untoken(token).ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))?
        }
    };
    let query = Query {
        bucket: &input.bucket,
        expected_owner: input.expected_bucket_owner.as_deref(),
        prefix,
        delimiter,
        after,
        limit,
    };
    let page = s3.page(&req.headers, query).await?;
    let next = last(&page).filter(|_| page.more);
    Ok(S3Response::new(ListObjectsV2Output {
        contents: Some(contents(encoding, &page, input.fetch_owner.unwrap_or(false))?),
        common_prefixes: Some(encoding.prefixes(&page.prefixes)?),
        delimiter: encoding.opt(delimiter)?,
        encoding_type: encoding.answer(),
        is_truncated: Some(page.more),
        key_count: int((page.objects.len() + page.prefixes.len()) as u64),
        max_keys: Some(limit),
        next_continuation_token: next.as_ref().map(token),
        prefix: Some(encoding.name(prefix)?),
        start_after: encoding.opt(input.start_after.as_deref())?,
        continuation_token: input.continuation_token,
        name: Some(input.bucket),
        request_charged: None,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use s3s::S3ErrorCode;

    use super::*;

    fn entry(key: &str) -> (String, Summary) {
        (key.to_owned(), Summary { size: 1, ..Summary::default() })
    }

    #[test]
    fn url_encoding_keeps_slashes_and_escapes_plus_and_space() {
        let encode = |name| Encoding::Url.name(name).unwrap();
        assert_eq!(encode("foo+1/b ar"), "foo%2B1/b%20ar");
        assert_eq!(encode("a-b_c.d~e*f"), "a-b_c.d~e*f");
        assert_eq!(encode("ü%\u{1}"), "%C3%BC%25%01");
    }

    #[test]
    fn what_xml_cannot_carry_is_refused_rather_than_garbled() {
        assert_eq!(Encoding::Plain.name("a\tb\n<&>").unwrap(), "a\tb\n<&>");
        for name in ["a\u{1}", "\r", "\u{ffff}"] {
            assert_eq!(Encoding::Plain.name(name).unwrap_err().code(), &S3ErrorCode::InvalidArgument);
            assert!(Encoding::Url.name(name).is_ok());
        }
        assert!(Encoding::of(Some(&EncodingType::from_static("base64"))).is_err());
    }

    #[test]
    fn markers_that_are_common_prefixes_skip_all_of_them() {
        let from = |marker| from_marker("p/", Some("/"), Some(marker));
        assert_eq!(from("p/a/"), ListFrom::AfterPrefix("p/a/".to_owned()));
        assert_eq!(from("p/a/b"), ListFrom::After("p/a/b".to_owned()));
        assert_eq!(from("p/a"), ListFrom::After("p/a".to_owned()));
        assert_eq!(from("q/"), ListFrom::After("q/".to_owned()));
        assert_eq!(from(""), ListFrom::Start);
        assert_eq!(from_marker("", None, Some("a/")), ListFrom::After("a/".to_owned()));
    }

    #[test]
    fn the_last_entry_is_the_greater_of_key_and_prefix() {
        let page = |keys: &[&str], prefixes: &[&str]| ListPage {
            objects: keys.iter().map(|key| entry(key)).collect(),
            prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
            more: true,
        };
        assert_eq!(last(&page(&["a", "c"], &["b/"])), Some(ListFrom::After("c".to_owned())));
        assert_eq!(last(&page(&["a"], &["b/"])), Some(ListFrom::AfterPrefix("b/".to_owned())));
        assert_eq!(last(&page(&[], &["b/"])), Some(ListFrom::AfterPrefix("b/".to_owned())));
        assert_eq!(last(&page(&[], &[])), None);
    }

    #[test]
    fn page_sizes() {
        assert_eq!(page_size(None, "max-keys").unwrap(), 1000);
        assert_eq!(page_size(Some(0), "max-keys").unwrap(), 0);
        assert_eq!(page_size(Some(5000), "max-keys").unwrap(), 1000);
        assert!(page_size(Some(-1), "max-keys").is_err());
    }

    proptest! {
        #[test]
        fn tokens_come_back(text in ".*") {
            for from in [ListFrom::After(text.clone()), ListFrom::AfterPrefix(text.clone())] {
                prop_assert_eq!(untoken(&token(&from)), Some(from));
            }
        }

        #[test]
        fn forged_tokens_are_refused(text in "[A-Za-z0-9_-]{0,40}") {
            if let Some(from) = untoken(&text) {
                prop_assert_eq!(token(&from), text);
            }
        }
    }
}
