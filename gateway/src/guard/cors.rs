//! Cross-origin requests. No bucket has rules yet: every preflight is refused as AWS does when CORS is not enabled.
//!
//! The hook for rules: [`preflight`] answers `OPTIONS` before authentication, so a bucket's rules come in here, and the
//! response headers of simple cross-origin requests belong beside the request id in `server::exchange`.

use http::{HeaderMap, StatusCode, header};

use super::path::Kind;
use super::refusal::{Cause, Refusal};

/// The answer to an `OPTIONS` request.
pub fn preflight(headers: &HeaderMap, kind: Kind) -> Refusal {
    let Some(asked) =
        headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| headers.contains_key(header::ORIGIN))
    else {
        let message = "Insufficient information. Origin and Access-Control-Request-Method request headers needed.";
        return Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message, Cause::Cors);
    };
    let message = "CORSResponse: CORS is not enabled for this bucket.";
    Refusal::new(StatusCode::FORBIDDEN, "AccessForbidden", message, Cause::Cors)
        .with("Method", String::from_utf8_lossy(asked.as_bytes()))
        .with("ResourceType", kind.name())
}
