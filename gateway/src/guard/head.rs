//! The shape of a request's head: its size, headers that may stand only once, host, framing.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};

use super::refusal::{Cause, Refusal};
use super::table::Operation;
use crate::limits::Limits;

/// Headers that decide what a request means or who sent it: twice, they could be read in two ways.
const SINGLE: [&str; 12] = [
    "host",
    "authorization",
    "content-length",
    "content-type",
    "content-md5",
    "transfer-encoding",
    "range",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
];

/// Headers that are lists: what stands in several lines means what it would mean in one. The AWS SDK for Rust sends two lines
/// of `Content-Encoding`, its own and the user's.
const LISTS: [HeaderName; 3] = [header::CONTENT_ENCODING, header::CACHE_CONTROL, header::CONTENT_LANGUAGE];
/// User metadata, which S3 reads in the same way.
const METADATA: &str = "x-amz-meta-";

/// Makes one line of each list that stands in several, as signatures cover it; s3s refuses it otherwise.
pub fn fold(headers: &mut HeaderMap) {
    // As many names as values: nothing stands twice.
    if headers.keys_len() == headers.len() {
        return;
    }
    let list = |name: &&HeaderName| LISTS.contains(name) || name.as_str().starts_with(METADATA);
    let repeated = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    let names: Vec<_> = headers.keys().filter(list).filter(repeated).cloned().collect();
    for name in names {
        let lines: Vec<_> = headers.get_all(&name).iter().map(|line| line.as_bytes().trim_ascii()).collect();
        // Bytes of which each line was a value are one.
        if let Ok(line) = HeaderValue::from_bytes(&lines.join(&b","[..])) {
            headers.insert(name, line);
        }
    }
}

/// Checks size, repeated headers, host and framing.
pub fn check(parts: &Parts, limits: &Limits) -> Result<(), Refusal> {
    size(parts, limits)?;
    let headers = &parts.headers;
    // As many names as values: nothing stands twice.
    if headers.keys_len() != headers.len() {
        for name in SINGLE {
            if headers.get_all(name).iter().nth(1).is_some() {
                return Err(bad(format!("duplicate header: {name}")));
            }
        }
    }
    if headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(bad("Content-Length and Transfer-Encoding must not be given together"));
    }
    if let Some(encoding) = headers.get(header::TRANSFER_ENCODING)
        && !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
    {
        return Err(Refusal::not_implemented(Cause::Head).with("Header", "Transfer-Encoding"));
    }
    if !parts.uri.path().starts_with('/') {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "InvalidURI",
            "Couldn't parse the specified URI.",
            Cause::Head,
        ));
    }
    named_once(parts)
}

fn size(parts: &Parts, limits: &Limits) -> Result<(), Refusal> {
    let uri = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if uri > limits.max_uri_bytes {
        let message = "The length of the request URI exceeds the limit.";
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "RequestURITooLong", message, Cause::Head));
    }
    let lines = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if lines.sum::<usize>() > limits.max_header_bytes {
        let message = "Your request header section exceeds the maximum allowed size.";
        let too_large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Refusal::new(too_large, "RequestHeaderSectionTooLarge", message, Cause::Head)
            .with("MaxSizeAllowed", limits.max_header_bytes.to_string()));
    }
    Ok(())
}

/// A request names its host, and an authority in its target names no other one.
fn named_once(parts: &Parts) -> Result<(), Refusal> {
    let host = parts.headers.get(header::HOST);
    let authority = parts.uri.authority();
    match (host, authority) {
        (None, None) if parts.version != Version::HTTP_10 => Err(bad("missing header: host")),
        (None, Some(_)) if parts.version == Version::HTTP_11 => Err(bad("missing header: host")),
        (Some(host), Some(authority)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            Err(bad("the request's target and its host header name different hosts"))
        }
        (Some(host), _) if host.to_str().is_err() => Err(bad("invalid header: host")),
        _ => Ok(()),
    }
}

/// The host that the request names, as s3s takes it.
pub fn host(parts: &Parts) -> Option<&str> {
    match parts.headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None if parts.version >= Version::HTTP_2 => parts.uri.authority().map(|authority| authority.as_str()),
        None => None,
    }
}

/// Whether the body is a browser's form upload, whose credentials stand in the form.
pub fn is_form(headers: &HeaderMap) -> bool {
    const FORM: &[u8] = b"multipart/form-data";
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().trim_ascii_start());
    kind.and_then(|kind| kind.get(..FORM.len())).is_some_and(|start| start.eq_ignore_ascii_case(FORM))
}

/// The body's length; `None`: only its end will tell.
pub fn length(headers: &HeaderMap) -> Option<u64> {
    match headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None if headers.contains_key(header::TRANSFER_ENCODING) => None,
        None => Some(0),
    }
}

/// 400 `MaxMessageLengthExceeded`: a document that is longer than any that S3 knows.
pub fn document_too_large() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "MaxMessageLengthExceeded", "Your request was too big.", Cause::Head)
}

/// Checks that a document is small, and that an upload's length is told where it must be. A form upload without one would be gathered in memory
/// before anybody asked who sent it.
pub fn check_body(parts: &Parts, operation: Operation, limits: &Limits) -> Result<(), Refusal> {
    if !operation.streams() && length(&parts.headers).is_some_and(|length| length > limits.max_document_bytes) {
        return Err(document_too_large());
    }
    let has = |name: HeaderName| parts.headers.contains_key(name);
    let framed = match operation {
        Operation::PostObject => has(header::CONTENT_LENGTH),
        _ => parts.version >= Version::HTTP_2 || has(header::CONTENT_LENGTH) || has(header::TRANSFER_ENCODING),
    };
    if operation.streams() && !framed {
        let message = "You must provide the Content-Length HTTP header.";
        return Err(Refusal::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message, Cause::Head));
    }
    Ok(())
}

fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::invalid_request(message, Cause::Head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: http::request::Builder) -> Option<(u16, &'static str)> {
        let parts = request.body(()).unwrap().into_parts().0;
        check(&parts, &Limits::default()).err().map(|refusal| (refusal.status.as_u16(), refusal.code))
    }

    fn get(uri: &str) -> http::request::Builder {
        http::Request::get(uri).header("host", "localhost")
    }

    #[test]
    fn an_ordinary_head_passes() {
        assert_eq!(refused(get("/b/k?versionId=x").header("range", "bytes=0-1")), None);
        assert_eq!(refused(get("/b").header("x-amz-meta-a", "1").header("x-amz-meta-a", "2")), None);
        assert_eq!(refused(get("http://localhost/b")), None);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for name in SINGLE {
            let request = get("/b").header(name, "localhost").header(name, "localhost");
            assert_eq!(refused(request), Some((400, "InvalidRequest")), "{name}");
        }
        let both = get("/b").header("content-length", "3").header("transfer-encoding", "chunked");
        assert_eq!(refused(both), Some((400, "InvalidRequest")));
        assert_eq!(refused(get("/b").header("transfer-encoding", "gzip, chunked")), Some((501, "NotImplemented")));
        assert_eq!(refused(http::Request::get("/b")), Some((400, "InvalidRequest")));
        assert_eq!(refused(get("http://elsewhere/b")), Some((400, "InvalidRequest")));
        assert_eq!(refused(http::Request::options("*").header("host", "localhost")), Some((400, "InvalidURI")));
    }

    #[test]
    fn lists_in_several_lines_are_one() {
        let lines = [
            ("content-encoding", "gzip"),
            ("x-amz-meta-a", "1"),
            ("content-encoding", " aws-chunked "),
            ("x-amz-meta-a", "2"),
            ("range", "bytes=0-1"),
            ("range", "bytes=2-3"),
        ];
        let request = lines.iter().fold(get("/b/k"), |request, (name, value)| request.header(*name, *value));
        let mut headers = request.body(()).unwrap().into_parts().0.headers;
        fold(&mut headers);
        let all = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("content-encoding"), ["gzip,aws-chunked"]);
        assert_eq!(all("x-amz-meta-a"), ["1,2"]);
        assert_eq!(all("range"), ["bytes=0-1", "bytes=2-3"]);
    }

    #[test]
    fn size_is_bounded() {
        let long = format!("/b/{}", "k".repeat(Limits::default().max_uri_bytes));
        assert_eq!(refused(get(&long)), Some((414, "RequestURITooLong")));
        let fat = get("/b").header("x-amz-meta-a", "v".repeat(Limits::default().max_header_bytes));
        assert_eq!(refused(fat), Some((431, "RequestHeaderSectionTooLarge")));
    }
}
