//! How a request may carry credentials: in one place, of one kind, with the host under the signature.
//!
//! The signature itself is s3s's to verify. What it leaves open: credentials in header and query together, session
//! tokens without a session's key, a signature that does not cover `host` (it could be replayed at another cluster with the
//! same key), half a presigned URL (which would count as anonymous), and the retired signature version 2.

use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use s3s_sigv4::CredentialV4;

use super::head;
use super::query::{self, Pair};
use super::refusal::{Cause, Refusal};
use crate::auth::session;

/// The credentials that a query carries.
#[derive(Default)]
struct InQuery {
    version_4: bool,
    version_2: bool,
    signature: bool,
    token: bool,
    session_key: bool,
    signs_host: bool,
    /// The service that it is for, if that is none of ours.
    elsewhere: Option<String>,
}

impl InQuery {
    fn read(query: &str) -> Self {
        let mut found = Self::default();
        for pair in query::pairs(query) {
            found.note(&pair);
        }
        found
    }

    fn note(&mut self, pair: &Pair<'_>) {
        match pair.name.as_ref() {
            "X-Amz-Credential" => {
                (self.version_4, self.session_key) = (true, pair.value.starts_with(session::PREFIX));
                self.elsewhere = elsewhere(&pair.value);
            }
            "X-Amz-Algorithm" => self.version_4 = true,
            "X-Amz-Signature" => (self.version_4, self.signature) = (true, true),
            "X-Amz-SignedHeaders" => self.signs_host = covers_host(&pair.value),
            "Signature" | "AWSAccessKeyId" => self.version_2 = true,
            name if name.eq_ignore_ascii_case("x-amz-security-token") => self.token = true,
            _ => {}
        }
    }
}

/// Checks the credentials' form. Anonymous requests pass: whether they may do anything is not decided here.
pub fn check(parts: &Parts, query: &str) -> Result<(), Refusal> {
    let in_query = InQuery::read(query);
    let in_header = parts.headers.get(header::AUTHORIZATION);
    let session_key = in_query.session_key || in_header.is_some_and(names_session_key);
    if (in_query.token || parts.headers.contains_key("x-amz-security-token")) && !session_key {
        return Err(invalid_token());
    }
    if in_header.is_some() && (in_query.version_4 || in_query.version_2 || head::is_form(&parts.headers)) {
        return Err(Refusal::invalid_argument(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
            Cause::Credentials,
        )
        .with("ArgumentName", "Authorization"));
    }
    if in_query.version_2 {
        return Err(unsupported_version());
    }
    if in_query.version_4 {
        return presigned(&in_query);
    }
    in_header.map_or(Ok(()), authorization)
}

/// 400 `InvalidToken`: a session token, wherever it stands.
pub fn invalid_token() -> Refusal {
    let message = "The provided token is malformed or otherwise invalid.";
    Refusal::new(StatusCode::BAD_REQUEST, "InvalidToken", message, Cause::Credentials)
}

fn names_session_key(value: &HeaderValue) -> bool {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.split_once("Credential=").is_some_and(|(_, rest)| rest.starts_with(session::PREFIX))
}

fn presigned(found: &InQuery) -> Result<(), Refusal> {
    if !found.signature {
        let message = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                       X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
        let code = "AuthorizationQueryParametersError";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, code, message, Cause::Credentials));
    }
    if !found.signs_host {
        return Err(host_not_signed());
    }
    match &found.elsewhere {
        None => Ok(()),
        Some(service) => {
            let what = "Error parsing the X-Amz-Credential parameter";
            Err(wrong_service("AuthorizationQueryParametersError", what, service))
        }
    }
}

/// Services whose signatures are taken: those of this port.
const SERVICES: [&str; 2] = ["s3", "sts"];

/// The service in a credential's scope, if it is none of ours; what is no credential is s3s's to refuse.
fn elsewhere(credential: &str) -> Option<String> {
    let service = CredentialV4::parse(credential).ok()?.aws_service;
    (!SERVICES.contains(&service)).then(|| service.chars().take(SERVICE_MAX).collect())
}

/// Characters of a service's name that are told back.
const SERVICE_MAX: usize = 64;

fn wrong_service(code: &'static str, what: &str, service: &str) -> Refusal {
    let message = format!("{what}; incorrect service \"{service}\". This endpoint belongs to \"s3\".");
    Refusal::new(StatusCode::BAD_REQUEST, code, message, Cause::Credentials)
}

fn authorization(value: &HeaderValue) -> Result<(), Refusal> {
    let text = String::from_utf8_lossy(value.as_bytes());
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::access_denied("Access Denied", Cause::Credentials));
    }
    if !text.starts_with("AWS4-") {
        let version_2 = text.strip_prefix("AWS ").is_some_and(|rest| rest.contains(':'));
        return Err(if version_2 { unsupported_version() } else { unsupported_type(text) });
    }
    let signed = text.split_once("SignedHeaders=").map(|(_, rest)| rest.split(',').next().unwrap_or(rest));
    match signed {
        // Without the list it is malformed, which s3s says.
        None => Ok(()),
        Some(list) if !covers_host(list) => Err(host_not_signed()),
        Some(_) => {
            let credential = text.split_once("Credential=").map(|(_, rest)| rest.split(',').next().unwrap_or(rest));
            match credential.and_then(|credential| elsewhere(credential.trim())) {
                None => Ok(()),
                Some(service) => {
                    let what = "The authorization header is malformed";
                    Err(wrong_service("AuthorizationHeaderMalformed", what, &service))
                }
            }
        }
    }
}

fn covers_host(list: &str) -> bool {
    list.split(';').any(|name| name.trim().eq_ignore_ascii_case("host"))
}

fn host_not_signed() -> Refusal {
    let message = "There were headers present in the request which were not signed";
    Refusal::access_denied(message, Cause::Credentials).with("HeadersNotSigned", "host")
}

fn unsupported_version() -> Refusal {
    let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
    Refusal::invalid_request(message, Cause::Credentials)
}

fn unsupported_type(text: &str) -> Refusal {
    let scheme = text.split(' ').next().unwrap_or_default();
    Refusal::invalid_argument("Unsupported Authorization Type", Cause::Credentials)
        .with("ArgumentName", "Authorization")
        .with("ArgumentValue", scheme.chars().take(32).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut request = http::Request::get("/b/k");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        check(&parts, query).err().map(|refusal| refusal.code)
    }

    #[test]
    fn credentials_stand_in_one_place_and_cover_the_host() {
        let good = "AWS4-HMAC-SHA256 Credential=A/1/r/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=0";
        let bare = "AWS4-HMAC-SHA256 Credential=A/1/r/s3/aws4_request, SignedHeaders=x-amz-date, Signature=0";
        let other = "AWS4-HMAC-SHA256 Credential=A/20260101/r/ec2/aws4_request, SignedHeaders=host, Signature=0";
        let sts = "AWS4-HMAC-SHA256 Credential=A/20260101/r/sts/aws4_request, SignedHeaders=host, Signature=0";
        let for_other =
            "X-Amz-Credential=A%2F20260101%2Fr%2Fec2%2Faws4_request&X-Amz-Signature=0&X-Amz-SignedHeaders=host";
        let form = "multipart/form-data; boundary=x";
        let presigned = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0&X-Amz-SignedHeaders=host";
        for (query, headers, expected) in [
            ("", &[][..], None),
            ("", &[("authorization", good)], None),
            (presigned, &[], None),
            ("", &[("authorization", bare)], Some("AccessDenied")),
            ("", &[("authorization", other)], Some("AuthorizationHeaderMalformed")),
            ("", &[("authorization", sts)], None),
            (for_other, &[], Some("AuthorizationQueryParametersError")),
            ("X-Amz-Signature=0&X-Amz-SignedHeaders=range", &[], Some("AccessDenied")),
            ("X-Amz-Signature=0", &[], Some("AccessDenied")),
            ("X-Amz-Credential=A", &[], Some("AuthorizationQueryParametersError")),
            (presigned, &[("authorization", good)], Some("InvalidArgument")),
            ("Signature=x", &[("authorization", good)], Some("InvalidArgument")),
            ("", &[("authorization", good), ("content-type", form)], Some("InvalidArgument")),
            ("AWSAccessKeyId=A&Signature=x&Expires=1", &[], Some("InvalidRequest")),
            ("", &[("authorization", "AWS A:b")], Some("InvalidRequest")),
            ("", &[("authorization", "AWS HAHAHA")], Some("InvalidArgument")),
            ("", &[("authorization", "Bearer x")], Some("InvalidArgument")),
            ("", &[("authorization", "")], Some("AccessDenied")),
            ("", &[("authorization", good), ("x-amz-security-token", "t")], Some("InvalidToken")),
            ("X-Amz-Security-Token=t", &[], Some("InvalidToken")),
            ("x-amz-%73ecurity-token=t", &[], Some("InvalidToken")),
        ] {
            assert_eq!(refused(query, headers), expected, "{query} {headers:?}");
        }
    }
}
