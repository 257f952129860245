//! What a signature mismatch tells the client: the canonical request and the string to sign as this server computed
//! them, as AWS does. They show what differs and hold no secret: the client sent all of it.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use s3s_sigv4::{AmzDate, AuthorizationV4, CredentialV4, Payload};

use crate::guard::query;

/// The parts of a request that its signature covers; kept while s3s has the request.
#[derive(Clone, Debug)]
pub struct Signed {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

impl Signed {
    /// Keeps the parts of a request's head.
    pub fn of(parts: &http::request::Parts) -> Self {
        let (method, uri, headers) = (parts.method.clone(), parts.uri.clone(), parts.headers.clone());
        Self { method, uri, version: parts.version, headers }
    }

    /// The head that they are of.
    pub fn head(&self) -> http::request::Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        (parts.method, parts.uri) = (self.method.clone(), self.uri.clone());
        (parts.version, parts.headers) = (self.version, self.headers.clone());
        parts
    }

    /// The region that it was signed for; `None` if that cannot be read.
    pub fn region(&self) -> Option<String> {
        if let Some(text) = self.header("authorization") {
            return AuthorizationV4::parse(text).ok().map(|parsed| parsed.credential.aws_region.to_owned());
        }
        let query = self.query();
        let (_, text) = query.iter().find(|(name, _)| name == "X-Amz-Credential")?;
        CredentialV4::parse(text).ok().map(|credential| credential.aws_region.to_owned())
    }

    /// When it was signed, as the request says it.
    pub fn time(&self) -> Option<String> {
        let in_query = || self.query().into_iter().find(|(name, _)| name == "X-Amz-Date").map(|(_, value)| value);
        self.header("x-amz-date").map(str::to_owned).or_else(in_query)
    }

    /// The same request without its signature, and with this `Range`, which s3s can read. Nobody signed that: it may
    /// do only what a [`Pass`](super::pass::Pass) lets it do.
    pub fn unsigned(&self, range: Option<HeaderValue>) -> http::Request<()> {
        let mut request = http::Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = without_signature(&self.uri);
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().remove(header::AUTHORIZATION);
        match range {
            Some(range) => request.headers_mut().insert(header::RANGE, range),
            None => request.headers_mut().remove(header::RANGE),
        };
        request
    }

    /// What the request declared as the hash of its body.
    pub fn payload_hash(&self) -> Option<&str> {
        self.header("x-amz-content-sha256")
    }

    /// Elements for the error document; none if the request is not signed in a way that can be explained.
    pub fn explain(&self) -> Vec<(&'static str, String)> {
        self.explain_header().or_else(|| self.explain_query()).unwrap_or_default()
    }

    fn explain_header(&self) -> Option<Vec<(&'static str, String)>> {
        let authorization = AuthorizationV4::parse(self.header("authorization")?).ok()?;
        let date = AmzDate::parse(self.header("x-amz-date")?).ok()?;
        let headers = self.signed(&authorization.signed_headers);
        let payload = match self.header("x-amz-content-sha256")? {
            "UNSIGNED-PAYLOAD" => Payload::Unsigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Payload::MultipleChunks,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Payload::MultipleChunksWithTrailer,
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Payload::UnsignedMultipleChunksWithTrailer,
            hash => Payload::SingleChunk(hash),
        };
        let path = self.path();
        let canonical =
            s3s_sigv4::create_canonical_request(self.method.as_str(), &path, &self.query(), &headers, payload);
        Some(told(&canonical, &authorization.credential, authorization.signature, &date))
    }

    fn explain_query(&self) -> Option<Vec<(&'static str, String)>> {
        let query = self.query();
        let value = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let credential = CredentialV4::parse(value("X-Amz-Credential")?).ok()?;
        let date = AmzDate::parse(value("X-Amz-Date")?).ok()?;
        let names: Vec<&str> = value("X-Amz-SignedHeaders")?.split(';').collect();
        let headers = self.signed(&names);
        let path = self.path();
        let canonical = s3s_sigv4::create_presigned_canonical_request(self.method.as_str(), &path, &query, &headers);
        Some(told(&canonical, &credential, value("X-Amz-Signature")?, &date))
    }

    fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok()
    }

    fn signed<'a>(&'a self, names: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        let authority = self.uri.authority().map(|authority| authority.as_str());
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let values = self.headers.get_all(*name).iter();
            found.extend(values.filter_map(|value| Some((*name, std::str::from_utf8(value.as_bytes()).ok()?))));
            if *name == "host" && !self.headers.contains_key("host") {
                found.extend(authority.map(|authority| ("host", authority)));
            }
        }
        found
    }

    fn path(&self) -> String {
        percent_encoding::percent_decode_str(self.uri.path()).decode_utf8_lossy().into_owned()
    }

    /// Ordered by name, as s3s hands them to the check.
    fn query(&self) -> Vec<(String, String)> {
        let pairs = query::pairs(self.uri.query().unwrap_or_default());
        let mut pairs: Vec<_> = pairs.map(|pair| (pair.name.into_owned(), pair.value.into_owned())).collect();
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
        pairs
    }
}

/// The parameters of a presigned URL.
const IN_QUERY: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"];

/// The same target without the parameters of a presigned URL.
fn without_signature(uri: &Uri) -> Uri {
    let Some(query) = uri.query() else { return uri.clone() };
    let rest = query.split('&').filter(|one| !query::pairs(one).any(|pair| IN_QUERY.contains(&pair.name.as_ref())));
    let target = format!("{}?{}", uri.path(), rest.collect::<Vec<_>>().join("&"));
    let mut parts = uri.clone().into_parts();
    // Fewer bytes of what was a target already.
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

fn told(
    canonical: &str,
    credential: &CredentialV4<'_>,
    signature: &str,
    date: &AmzDate,
) -> Vec<(&'static str, String)> {
    let to_sign = s3s_sigv4::create_string_to_sign(canonical, date, credential.aws_region, credential.aws_service);
    vec![
        ("AWSAccessKeyId", credential.access_key_id.to_owned()),
        ("StringToSign", to_sign),
        ("SignatureProvided", signature.to_owned()),
        ("CanonicalRequest", canonical.to_owned()),
    ]
}
