//! What a request's head says about the document in its body. s3s does not hold documents to that; the server does,
//! before a handler sees one.

use http::{HeaderMap, HeaderValue, StatusCode};

use super::refusal::{Cause, Refusal};
use super::table::Operation;
use crate::checksum::claim::{BadClaim, Claim};

/// What `headers` say about a document; `None`: nothing, or the body is no document.
pub fn claim(operation: Operation, headers: &HeaderMap) -> Result<Option<Claim>, Refusal> {
    // To s3s, and so to whoever stores a body, an empty header is none.
    if headers.get("content-md5").is_some_and(HeaderValue::is_empty) {
        return Err(invalid_digest());
    }
    if operation.streams() {
        return Ok(None);
    }
    let declared = headers.get("x-amz-content-sha256").map(HeaderValue::as_bytes);
    if declared.is_some_and(|declared| declared.starts_with(b"STREAMING-")) {
        // What stands in chunks is an object's content, to S3; a document's checksum could not be held to here.
        return Err(Refusal::not_implemented(Cause::Head).with("Header", "x-amz-content-sha256"));
    }
    let claim = match operation {
        // Its checksum headers speak of the object that comes to be.
        Operation::CompleteMultipartUpload => {
            let md5 = headers.get("content-md5").map(|value| value.to_str().unwrap_or_default());
            Claim::new(md5, &[], &HeaderMap::new())
        }
        _ => Claim::of_headers(headers),
    };
    match claim {
        Ok(Claim::NONE) => Ok(None),
        Ok(claim) => Ok(Some(claim)),
        Err(BadClaim::Md5) => Err(invalid_digest()),
        Err(error) => Err(Refusal::invalid_request(error.to_string(), Cause::Head)),
    }
}

/// Holds a body that is empty to what `headers` declare: s3s reads none, and so neither compares its hash nor asks for
/// the last chunk, which even an object without bytes has where chunks are signed.
pub fn nothing(operation: Operation, headers: &HeaderMap) -> Result<(), Refusal> {
    const EMPTY: &[u8] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let Some(declared) = headers.get("x-amz-content-sha256").map(HeaderValue::as_bytes) else { return Ok(()) };
    if operation.streams() && declared.starts_with(b"STREAMING-AWS4-") {
        let message = "The request's body came without its last chunk.";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "IncompleteBody", message, Cause::BrokenBody));
    }
    let is_hash = declared.len() == EMPTY.len() && declared.iter().all(u8::is_ascii_hexdigit);
    if !is_hash || declared.eq_ignore_ascii_case(EMPTY) {
        return Ok(());
    }
    let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    Err(Refusal::new(StatusCode::BAD_REQUEST, "XAmzContentSHA256Mismatch", message, Cause::Head))
}

fn invalid_digest() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "InvalidDigest", BadClaim::Md5.to_string(), Cause::Head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(operation: Operation, pairs: &[(&'static str, &'static str)]) -> Result<bool, &'static str> {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        claim(operation, &headers).map(|claim| claim.is_some()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn claims_are_read_where_they_speak_of_the_document() {
        let crc = ("x-amz-checksum-crc32", "AAAAAA==");
        assert_eq!(of(Operation::DeleteObjects, &[]), Ok(false));
        assert_eq!(of(Operation::DeleteObjects, &[crc]), Ok(true));
        assert_eq!(of(Operation::PutObject, &[crc]), Ok(false));
        assert_eq!(of(Operation::CompleteMultipartUpload, &[crc]), Ok(false));
        let md5 = ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(of(Operation::CompleteMultipartUpload, &[crc, md5]), Ok(true));
    }

    #[test]
    fn nothing_is_no_last_chunk() {
        let nothing = |operation, kind: &'static str| {
            let headers = [("x-amz-content-sha256".parse().unwrap(), kind.parse().unwrap())].into_iter().collect();
            nothing(operation, &headers).map_err(|refusal| refusal.code)
        };
        for kind in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"] {
            assert_eq!(nothing(Operation::PutObject, kind), Err("IncompleteBody"));
            assert_eq!(nothing(Operation::GetObject, kind), Ok(()));
        }
        assert_eq!(nothing(Operation::PutObject, "UNSIGNED-PAYLOAD"), Ok(()));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(of(Operation::PutBucketTagging, &[("content-md5", "short")]), Err("InvalidDigest"));
        assert_eq!(of(Operation::PutBucketTagging, &[("x-amz-checksum-crc32", "short")]), Err("InvalidRequest"));
        assert_eq!(of(Operation::PutObject, &[("content-md5", "")]), Err("InvalidDigest"));
        let chunked = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        assert_eq!(of(Operation::DeleteObjects, &[chunked]), Err("NotImplemented"));
        assert_eq!(of(Operation::UploadPart, &[chunked]), Ok(false));
    }
}
