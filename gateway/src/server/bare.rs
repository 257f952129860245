//! What hyper answers by itself, to heads that it cannot read, is a bare status line: it never asks us. That answer is
//! exchanged for an S3 error with a request id as it is written.
//!
//! Nothing else is mistaken for it: it is looked for only where a head began to come when everything had gone out that
//! was ever written, and no request has been taken on since. All that hyper can write then is its own answer.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;

use super::Shared;
use crate::guard::refusal::{Cause, Refusal};

const VERSION: &[u8] = b"HTTP/1.1 ";

/// The error for what hyper would say; `None` if that is no refusal of a head (in HTTP/2 it is a frame).
fn refusal(answer: &[u8]) -> Option<Refusal> {
    let status = std::str::from_utf8(answer.strip_prefix(VERSION)?.get(..3)?).ok()?;
    let (status, code, message): (_, _, Cow<'static, str>) = match status {
        "414" => {
            (StatusCode::URI_TOO_LONG, "RequestURITooLong", "The length of the request URI exceeds the limit.".into())
        }
        "431" => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "RequestHeaderSectionTooLarge",
            "Your request header section exceeds the maximum allowed size.".into(),
        ),
        "400" => (StatusCode::BAD_REQUEST, "BadRequest", "An error occurred when parsing the HTTP request.".into()),
        other => {
            let status = StatusCode::from_bytes(other.as_bytes()).ok().filter(StatusCode::is_client_error)?;
            (status, "BadRequest", "An error occurred when parsing the HTTP request.".into())
        }
    };
    Some(Refusal::new(status, code, message, Cause::Head))
}

/// What is written instead of `answer`, head and document.
pub fn instead(shared: &Shared, answer: &[u8]) -> Option<Bytes> {
    let refusal = refusal(answer)?;
    shared.metrics.refused(refusal.cause);
    let id = shared.ids.next();
    tracing::debug!(%id, status = refusal.status.as_u16(), "a head could not be read");
    let body = refusal.xml("/", id.as_str(), shared.ids.host());
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nx-amz-request-id: {id}\r\nx-amz-id-2: {}\r\n\
         connection: close\r\n\r\n",
        refusal.status,
        body.len(),
        shared.ids.host()
    );
    Some([head.as_bytes(), &body[..]].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_of_heads_are_exchanged() {
        let code = |answer: &[u8]| refusal(answer).map(|refusal| (refusal.status.as_u16(), refusal.code));
        assert_eq!(code(b"HTTP/1.1 400 Bad Request\r\n"), Some((400, "BadRequest")));
        assert_eq!(
            code(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"),
            Some((431, "RequestHeaderSectionTooLarge"))
        );
        assert_eq!(code(b"HTTP/1.1 414 URI Too Long\r\n"), Some((414, "RequestURITooLong")));
        assert_eq!(code(b"HTTP/1.1 405 Method Not Allowed\r\n"), Some((405, "BadRequest")));
        for other in [&b"HTTP/1.1 200 OK\r\n"[..], b"HTTP/1.1 100 Continue\r\n", b"\0\0\x12\x04", b"HTTP/1.1 4", b""] {
            assert_eq!(code(other), None);
        }
    }
}
