//! GetObject, HeadObject.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{Seq, VersionId};
use holdfast_wire::object::{ChecksumKind, Object};
use holdfast_wire::request::{GetObject, RangeSpec};
use holdfast_wire::sealed::spans;
use http::{HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use s3s::dto::{
    ChecksumMode, ChecksumType, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range,
    StorageClass, StreamingBlob,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::answer::{etag, http_date, int, kind, read, set_checksum, set_checksum_and_kind, timestamp, version_id};
use super::encryption::{customer, tell};
use super::request::{key, modes, part_number, version};
use super::{ResponseStatus, S3Service, condition, lifecycle, lock};
use crate::auth::Judged;
use crate::error::slow_down;
use crate::seal;

/// What S3 answers when the client named no type.
const CONTENT_TYPE: &str = "binary/octet-stream";

/// Which bytes a request asks for.
pub fn range_spec(range: Option<&Range>, part: Option<i32>) -> S3Result<RangeSpec> {
    match (range, part) {
        (Some(_), Some(_)) => {
            Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"))
        }
        (None, Some(part)) => Ok(RangeSpec::Part(part_number(part)?)),
        (Some(&Range::Int { first, last: Some(last) }), None) => Ok(RangeSpec::FromTo { first, last }),
        (Some(&Range::Int { first, last: None }), None) => Ok(RangeSpec::From(first)),
        (Some(&Range::Suffix { length }), None) => Ok(RangeSpec::Suffix(length)),
        (None, None) => Ok(RangeSpec::All),
    }
}

/// `Content-Range`, unless the whole object is asked for or there are no bytes that it could name.
fn content_range(asked: RangeSpec, (first, count): (u64, u64), size: u64) -> Option<String> {
    match asked {
        RangeSpec::All => None,
        _ if count == 0 => None,
        _ => Some(format!("bytes {first}-{}/{size}", first + count - 1)),
    }
}

/// Fills what GetObjectOutput and HeadObjectOutput have in common.
macro_rules! object_output {
    ($output:ident, $bucket:expr, $key:expr, $object:expr, $asked:expr, $range:expr) => {{
        let object: &Object = $object;
        let headers = &object.detail.headers;
        $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: headers.cache_control.clone(),
            content_disposition: headers.content_disposition.clone(),
            content_encoding: headers.content_encoding.clone(),
            content_language: headers.content_language.clone(),
            content_length: int($range.1),
            content_range: content_range($asked, $range, object.summary.size),
            content_type: Some(headers.content_type.clone().unwrap_or_else(|| CONTENT_TYPE.to_owned())),
            e_tag: Some(etag(&object.summary.etag)),
            expires: headers.expires.clone(),
            last_modified: Some(timestamp(object.summary.modified_ms)),
            metadata: (!object.detail.metadata.is_empty()).then(|| object.detail.metadata.iter().cloned().collect()),
            parts_count: match $asked {
                RangeSpec::Part(_) if !object.detail.parts.is_empty() => int(object.detail.parts.len() as u64),
                _ => None,
            },
            storage_class: object.summary.storage_class.clone().map(StorageClass::from),
            tag_count: match object.detail.tags.len() {
                0 => None,
                tags => int(tags as u64),
            },
            website_redirect_location: headers.website_redirect_location.clone(),
            version_id: version_id($bucket, &object.summary),
            expiration: match object.detail.noncurrent_ms {
                None => lifecycle::expiration($bucket, $key, &object.summary, &object.detail.tags),
                Some(_) => None,
            },
            object_lock_mode: lock::shown_mode(&object.detail.lock),
            object_lock_retain_until_date: lock::shown_until(&object.detail.lock),
            object_lock_legal_hold_status: lock::shown_hold(&object.detail.lock),
            ..Default::default()
        }
    }};
}

/// The checksum of just the bytes that are answered: of the object, of one part, and none for other ranges.
macro_rules! add_checksum {
    ($output:expr, $object:expr, $asked:expr, $mode:expr) => {
        if $mode.as_ref().is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) {
            let object: &Object = $object;
            match $asked {
                RangeSpec::All => set_checksum_and_kind!($output, &object.checksum()),
                RangeSpec::Part(number) if !object.detail.parts.is_empty() => {
                    let part = object.detail.parts.iter().find(|part| part.number == number);
                    let checksum = part.and_then(|part| part.checksum.as_ref());
                    let whole = checksum.filter(|checksum| checksum.kind == ChecksumKind::FullObject);
                    set_checksum!($output, whole);
                    // The kind is the object's, beside the part's value.
                    if let (Some(_), Some(of_object)) = (whole, object.checksum()) {
                        $output.checksum_type = Some(ChecksumType::from_static(kind(of_object.kind)));
                    }
                }
                RangeSpec::Part(_) => set_checksum_and_kind!($output, &object.checksum()),
                RangeSpec::FromTo { .. } | RangeSpec::From(_) | RangeSpec::Suffix(_) | RangeSpec::Stored { .. } => {}
            }
        }
    };
}

/// Whether an object is the one whose access control list let the request in. Otherwise it was replaced meanwhile, and the
/// client is to ask again.
pub fn as_judged(extensions: &http::Extensions, object: &Object) -> S3Result<()> {
    match extensions.get::<Judged>() {
        Some(judged) if judged.0 != Some(object.summary.seq) => Err(slow_down()),
        _ => Ok(()),
    }
}

/// Reads say nothing of SSE-S3 and SSE-KMS: S3 refuses those headers there.
fn no_encryption_asked(headers: &http::HeaderMap) -> S3Result<()> {
    match headers.contains_key("x-amz-server-side-encryption") {
        true => {
            Err(s3_error!(InvalidArgument, "x-amz-server-side-encryption header is not supported for this operation."))
        }
        false => Ok(()),
    }
}

/// GetObject
pub async fn object(s3: &S3Service, mut req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    no_encryption_asked(&req.headers)?;
    let customer = customer!(s3, req)?;
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let version = version(input.version_id.as_deref())?;
    let range = range_spec(input.range.as_ref(), input.part_number)?;
    let condition = condition::of_read(
        input.if_match.as_ref(),
        input.if_none_match.as_ref(),
        input.if_modified_since.as_ref(),
        input.if_unmodified_since.as_ref(),
    );
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let name = key.clone();
    let get = GetObject { bucket: bucket.id, key, head: false, range, condition, version, seq: None };
    let got = s3.router.get(&bucket, modes, get).await?;
    as_judged(&req.extensions, &got.object)?;
    let opened = s3.key_of(&got.object, customer.as_ref())?;
    let mut output = object_output!(GetObjectOutput, &bucket, name.as_str(), &got.object, range, got.range);
    add_checksum!(output, &got.object, range, input.checksum_mode);
    tell!(output, got.object.detail.seal.as_ref(), customer.as_ref());
    let bytes = match opened {
        Some(key) => seal::open(&key, spans(&got.object, got.range), got.body),
        None => got.body,
    };
    let body = ObjectBody { bytes, left: got.range.1 };
    output.body = Some(StreamingBlob::from(s3s::Body::http_body_unsync(body)));
    Ok(read(output, Seq { group: got.object.summary.seq.group, index: got.applied }))
}

/// HeadObject
pub async fn head(s3: &S3Service, mut req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    no_encryption_asked(&req.headers)?;
    let customer = customer!(s3, req)?;
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let version = version(input.version_id.as_deref())?;
    let range = range_spec(input.range.as_ref(), input.part_number)?;
    let condition = condition::of_read(
        input.if_match.as_ref(),
        input.if_none_match.as_ref(),
        input.if_modified_since.as_ref(),
        input.if_unmodified_since.as_ref(),
    );
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let name = key.clone();
    let get = GetObject { bucket: bucket.id, key, head: true, range, condition, version, seq: None };
    let got = s3.router.get(&bucket, modes, get).await?;
    as_judged(&req.extensions, &got.object)?;
    s3.key_of(&got.object, customer.as_ref())?;
    let mut output = object_output!(HeadObjectOutput, &bucket, name.as_str(), &got.object, range, got.range);
    add_checksum!(output, &got.object, range, input.checksum_mode);
    tell!(output, got.object.detail.seal.as_ref(), customer.as_ref());
    let partial = output.content_range.is_some();
    let mut response = read(output, Seq { group: got.object.summary.seq.group, index: got.applied });
    if partial {
        response.extensions.insert(ResponseStatus(StatusCode::PARTIAL_CONTENT));
    }
    override_headers(&mut response, input)?;
    Ok(response)
}

/// The `response-*` parameters; for GetObject s3s does it.
fn override_headers(response: &mut S3Response<HeadObjectOutput>, input: &HeadObjectInput) -> S3Result<()> {
    let expires = input.response_expires.as_ref().map(|at| http_date(condition::seconds(at) * 1000));
    for (name, value) in [
        (http::header::CACHE_CONTROL, input.response_cache_control.as_deref()),
        (http::header::CONTENT_DISPOSITION, input.response_content_disposition.as_deref()),
        (http::header::CONTENT_ENCODING, input.response_content_encoding.as_deref()),
        (http::header::CONTENT_LANGUAGE, input.response_content_language.as_deref()),
        (http::header::CONTENT_TYPE, input.response_content_type.as_deref()),
        (http::header::EXPIRES, expires.as_deref()),
    ] {
        if let Some(value) = value {
            let value = HeaderValue::try_from(value)
                .map_err(|_| s3_error!(InvalidArgument, "A response header cannot have this value"))?;
            response.headers.insert(name, value);
        }
    }
    Ok(())
}

impl S3Service {
    /// An object's record alone.
    pub(super) async fn record(
        &self,
        headers: &http::HeaderMap,
        bucket: &str,
        expected_owner: Option<&str>,
        name: String,
        version: Option<VersionId>,
    ) -> S3Result<(Arc<Bucket>, Object)> {
        let modes = modes(headers)?;
        let key = key(name)?;
        let bucket = self.bucket(bucket, expected_owner).await?;
        let get = GetObject {
            bucket: bucket.id,
            key,
            head: true,
            range: RangeSpec::All,
            condition: Default::default(),
            version,
            seq: None,
        };
        let object = self.router.get(&bucket, modes, get).await?.object;
        Ok((bucket, object))
    }
}

/// An object's bytes on their way out: exactly as many as announced, or an error that breaks the connection.
struct ObjectBody {
    bytes: BoxStream<'static, Result<Bytes, CallError>>,
    left: u64,
}

impl http_body::Body for ObjectBody {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match ready!(self.bytes.poll_next_unpin(cx)) {
            Some(Ok(chunk)) if chunk.len() as u64 <= self.left => {
                self.left -= chunk.len() as u64;
                Ok(Frame::data(chunk))
            }
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Err(CallError::Aborted),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn ranges() {
        let range = |text| Range::parse(text).unwrap();
        assert_eq!(range_spec(None, None).unwrap(), RangeSpec::All);
        assert_eq!(range_spec(Some(&range("bytes=1-2")), None).unwrap(), RangeSpec::FromTo { first: 1, last: 2 });
        assert_eq!(range_spec(Some(&range("bytes=1-")), None).unwrap(), RangeSpec::From(1));
        assert_eq!(range_spec(Some(&range("bytes=-2")), None).unwrap(), RangeSpec::Suffix(2));
        assert_eq!(range_spec(None, Some(3)).unwrap(), RangeSpec::Part(3));
        assert!(range_spec(None, Some(0)).is_err());
        assert!(range_spec(Some(&range("bytes=1-2")), Some(1)).is_err());
        assert_eq!(content_range(RangeSpec::All, (0, 5), 5), None);
        assert_eq!(content_range(RangeSpec::From(2), (2, 3), 5).as_deref(), Some("bytes 2-4/5"));
        assert_eq!(content_range(RangeSpec::Part(1), (0, 0), 0), None);
    }

    #[tokio::test]
    async fn a_body_is_whole_or_an_error() {
        let body = |chunks: Vec<Result<&'static [u8], CallError>>| ObjectBody {
            bytes: futures::stream::iter(chunks.into_iter().map(|chunk| chunk.map(Bytes::from_static))).boxed(),
            left: 4,
        };
        assert_eq!(body(vec![Ok(b"ab"), Ok(b"cd")]).collect().await.unwrap().to_bytes(), "abcd");
        assert!(body(vec![Ok(b"ab")]).collect().await.is_err());
        assert!(body(vec![Ok(b"abcde")]).collect().await.is_err());
        assert!(body(vec![Ok(b"ab"), Err(CallError::Overloaded)]).collect().await.is_err());
    }
}
