//! Facts into S3's errors: the one place where HTTP statuses and error codes are chosen.

use holdfast_wire::condition::{ReadRefusal, Unmet};
use holdfast_wire::object::Summary;
use holdfast_wire::request::{NotRead, Refusal, RootRefusal};
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, s3_error};

use crate::body::BodyError;
use crate::checksum::claim::{BadClaim, Mismatch};
use crate::router::RouteError;
use crate::s3::SEQ;
use crate::s3::http_date;

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// Seconds after which a client may try again.
const RETRY_AFTER_S: &str = "1";

/// A refusal to repeat the request a little later: 503 `SlowDown` with `Retry-After`.
pub fn slow_down() -> S3Error {
    with_headers(s3_error!(SlowDown, "Please try again."), [(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S))])
}

/// An error whose code s3s does not know.
pub fn custom(code: &'static str, status: StatusCode, message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// Setting headers replaces all of an error's headers: this keeps the content type.
fn with_headers(mut error: S3Error, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> S3Error {
    let mut all: HeaderMap = headers.into_iter().collect();
    all.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    error.set_headers(all);
    error
}

impl From<RouteError> for S3Error {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NoSuchBucket => s3_error!(NoSuchBucket),
            RouteError::Root(refusal) => of_root(refusal),
            RouteError::Refused(refusal) => of_shard(refusal),
            RouteError::Absent(seq) => {
                let seq = HeaderValue::try_from(seq.to_string()).ok();
                with_headers(s3_error!(NoSuchKey), seq.map(|seq| (HeaderName::from_static(SEQ), seq)))
            }
            RouteError::NotRead(reason) => of_read(reason),
            RouteError::SlowDown(reason) => {
                tracing::debug!(reason, "answered SlowDown: nothing was applied");
                slow_down()
            }
            RouteError::Unknown(reason) => {
                tracing::warn!(reason, "answered SlowDown: the write may have been applied");
                slow_down()
            }
            RouteError::Aborted => BodyError::Incomplete.into(),
        }
    }
}

fn of_root(refusal: RootRefusal) -> S3Error {
    match refusal {
        RootRefusal::NoSuchBucket => s3_error!(NoSuchBucket),
        RootRefusal::BucketExists(_) => s3_error!(BucketAlreadyExists),
        RootRefusal::BucketBusy => conflict(),
        RootRefusal::BucketNotEmpty => s3_error!(BucketNotEmpty),
        RootRefusal::BucketState(conflict) => custom("InvalidBucketState", StatusCode::CONFLICT, conflict.to_string()),
        RootRefusal::QuotaExceeded => quota_exceeded(),
        RootRefusal::NoSuchNode | RootRefusal::TooFewNodes | RootRefusal::Identity(_) => {
            S3Error::with_message(S3ErrorCode::InvalidRequest, refusal.to_string())
        }
    }
}

fn of_shard(refusal: Refusal) -> S3Error {
    match refusal {
        Refusal::NoSuchBucket => s3_error!(NoSuchBucket),
        Refusal::BucketFrozen => conflict(),
        Refusal::NoSuchKey | Refusal::NotKept | Refusal::Condition(Unmet::Missing) => s3_error!(NoSuchKey),
        Refusal::NoSuchVersion => s3_error!(NoSuchVersion, "The specified version does not exist."),
        Refusal::IsMarker => with_headers(
            s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource."),
            [(DELETE_MARKER, HeaderValue::from_static("true")), (ALLOW, HeaderValue::from_static("DELETE"))],
        ),
        Refusal::Locked => s3_error!(AccessDenied, "Access Denied because object protected by object lock."),
        Refusal::NoLock => s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"),
        Refusal::RetentionPast => s3_error!(InvalidArgument, "The retain until date must be in the future!"),
        Refusal::SameKey => s3_error!(InvalidRequest, "The old and the new key are the same."),
        Refusal::NoSuchUpload => s3_error!(NoSuchUpload),
        Refusal::Condition(Unmet::Different) | Refusal::InTheWay => s3_error!(PreconditionFailed),
        Refusal::InvalidPart { .. } => s3_error!(InvalidPart),
        Refusal::InvalidPartOrder => s3_error!(InvalidPartOrder),
        Refusal::PartTooSmall { .. } => s3_error!(EntityTooSmall),
        Refusal::QuotaExceeded => quota_exceeded(),
        Refusal::SourceChanged | Refusal::WrongShard | Refusal::ShareUsedUp { .. } => slow_down(),
    }
}

fn quota_exceeded() -> S3Error {
    custom("QuotaExceeded", StatusCode::FORBIDDEN, "The bucket's quota is used up.")
}

fn of_read(reason: NotRead) -> S3Error {
    match reason {
        NotRead::NoSuchBucket => s3_error!(NoSuchBucket),
        NotRead::NoSuchKey => s3_error!(NoSuchKey),
        NotRead::NoSuchVersion => s3_error!(NoSuchVersion, "The specified version does not exist."),
        NotRead::DeleteMarker { summary, named } => of_marker(&summary, named),
        NotRead::NoSuchUpload => s3_error!(NoSuchUpload),
        NotRead::Condition { refusal: ReadRefusal::NotModified, summary } => {
            with_headers(s3_error!(NotModified), validators(&summary))
        }
        NotRead::Condition { refusal: ReadRefusal::PreconditionFailed, .. } => s3_error!(PreconditionFailed),
        NotRead::RangeNotSatisfiable { size } => {
            let range = HeaderValue::try_from(format!("bytes */{size}")).expect("digits make a header value");
            with_headers(s3_error!(InvalidRange), [(CONTENT_RANGE, range)])
        }
        NotRead::NoSuchPart { .. } => s3_error!(InvalidPart, "The requested partnumber is not satisfiable"),
    }
}

/// A delete marker: 404 where it stands for the object, 405 where the client names it.
fn of_marker(summary: &Summary, named: bool) -> S3Error {
    let error = match named {
        true => s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource."),
        false => s3_error!(NoSuchKey),
    };
    let version = HeaderValue::try_from(summary.version().to_string()).ok();
    let modified = HeaderValue::try_from(http_date(summary.modified_ms)).ok().filter(|_| named);
    let headers =
        [(DELETE_MARKER, Some(HeaderValue::from_static("true"))), (VERSION_ID, version), (LAST_MODIFIED, modified)];
    let allow = named.then(|| (ALLOW, HeaderValue::from_static("DELETE")));
    with_headers(error, headers.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(allow))
}

fn conflict() -> S3Error {
    s3_error!(OperationAborted, "A conflicting conditional operation is currently in progress against this resource.")
}

/// The headers that a 304 carries.
fn validators(summary: &Summary) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let etag = HeaderValue::try_from(format!("\"{}\"", summary.etag)).ok();
    let modified = HeaderValue::try_from(http_date(summary.modified_ms)).ok();
    etag.map(|value| (ETAG, value)).into_iter().chain(modified.map(|value| (LAST_MODIFIED, value)))
}

impl From<BodyError> for S3Error {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        let code = match error {
            BodyError::Incomplete => S3ErrorCode::IncompleteBody,
            BodyError::TooLarge => S3ErrorCode::EntityTooLarge,
            BodyError::TimedOut => S3ErrorCode::RequestTimeout,
            BodyError::Sha256 => return custom("XAmzContentSHA256Mismatch", StatusCode::BAD_REQUEST, message),
            BodyError::Signature => S3ErrorCode::SignatureDoesNotMatch,
            BodyError::Mismatch(Mismatch::Md5 | Mismatch::Checksum(_)) => S3ErrorCode::BadDigest,
            BodyError::Mismatch(Mismatch::Trailer) => {
                return custom("MalformedTrailerError", StatusCode::BAD_REQUEST, message);
            }
            BodyError::Source(reason) => {
                tracing::debug!(%reason, "answered SlowDown: the source of a copy could not be read");
                return slow_down();
            }
        };
        Self::with_message(code, message)
    }
}

impl From<BadClaim> for S3Error {
    fn from(error: BadClaim) -> Self {
        let code = match error {
            BadClaim::Md5 => S3ErrorCode::InvalidDigest,
            BadClaim::Value(_) | BadClaim::Several | BadClaim::Trailer | BadClaim::Algorithm | BadClaim::NoChecksum => {
                S3ErrorCode::InvalidRequest
            }
        };
        Self::with_message(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_wire::error::CallError;

    use super::*;

    fn answer(error: impl Into<S3Error>) -> (String, u16) {
        let error = error.into();
        (error.code().as_str().to_owned(), error.status_code().unwrap().as_u16())
    }

    #[test]
    fn what_may_be_repeated_is_a_503_with_retry_after() {
        for error in [
            RouteError::SlowDown(String::new()),
            RouteError::Unknown(String::new()),
            RouteError::Refused(Refusal::SourceChanged),
            RouteError::Refused(Refusal::WrongShard),
        ] {
            let error = S3Error::from(error);
            assert_eq!(error.code(), &S3ErrorCode::SlowDown);
            assert_eq!(error.status_code(), Some(StatusCode::SERVICE_UNAVAILABLE));
            assert_eq!(error.headers().unwrap()[RETRY_AFTER], "1");
            assert_eq!(error.headers().unwrap()[CONTENT_TYPE], "application/xml");
        }
    }

    #[test]
    fn refusals_are_those_of_s3() {
        let refused = |refusal| answer(RouteError::Refused(refusal));
        assert_eq!(refused(Refusal::Condition(Unmet::Missing)), ("NoSuchKey".into(), 404));
        assert_eq!(refused(Refusal::Condition(Unmet::Different)), ("PreconditionFailed".into(), 412));
        assert_eq!(refused(Refusal::BucketFrozen), ("OperationAborted".into(), 409));
        assert_eq!(refused(Refusal::PartTooSmall { number: 1, size: 1 }), ("EntityTooSmall".into(), 400));
        assert_eq!(refused(Refusal::NoSuchUpload), ("NoSuchUpload".into(), 404));
        assert_eq!(answer(RouteError::NotRead(NotRead::NoSuchPart { parts: 2 })), ("InvalidPart".into(), 400));
        assert_eq!(answer(RouteError::Root(RootRefusal::BucketNotEmpty)), ("BucketNotEmpty".into(), 409));
        assert_eq!(answer(RouteError::Aborted), ("IncompleteBody".into(), 400));
    }

    #[test]
    fn who_changes_a_delete_marker_is_told_that_it_is_one() {
        let error = S3Error::from(RouteError::Refused(Refusal::IsMarker));
        assert_eq!(error.status_code(), Some(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(error.headers().unwrap()[DELETE_MARKER], "true");
        assert_eq!(error.headers().unwrap()[ALLOW], "DELETE");
    }

    #[test]
    fn bodies_never_become_a_500() {
        for (error, code, status) in [
            (BodyError::Incomplete, "IncompleteBody", 400),
            (BodyError::TooLarge, "EntityTooLarge", 400),
            (BodyError::TimedOut, "RequestTimeout", 400),
            (BodyError::Sha256, "XAmzContentSHA256Mismatch", 400),
            (BodyError::Signature, "SignatureDoesNotMatch", 403),
            (BodyError::Mismatch(Mismatch::Md5), "BadDigest", 400),
            (BodyError::Mismatch(Mismatch::Trailer), "MalformedTrailerError", 400),
            (BodyError::Source(CallError::Overloaded), "SlowDown", 503),
        ] {
            assert_eq!(answer(error), (code.to_owned(), status));
        }
        assert_eq!(answer(BadClaim::Md5), ("InvalidDigest".into(), 400));
    }

    #[test]
    fn an_unsatisfiable_range_tells_the_size() {
        let error = S3Error::from(RouteError::NotRead(NotRead::RangeNotSatisfiable { size: 7 }));
        assert_eq!(error.status_code(), Some(StatusCode::RANGE_NOT_SATISFIABLE));
        assert_eq!(error.headers().unwrap()[CONTENT_RANGE], "bytes */7");
    }
}
