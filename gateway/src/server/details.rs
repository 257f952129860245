//! What an error document says beyond what s3s wrote: the texts of S3 where s3s has others, and which key, version, range,
//! argument or header the error is about. All of it stands in the request's head or in the answer's. Pure.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, Method, header};
use s3s::dto::CopySource;

use crate::auth::explain::Signed;
use crate::guard::error_xml::iso_8601;
use crate::guard::host::Domains;
use crate::guard::{self, query};
use crate::s3::{INVALID_VERSION, UNKNOWN_CANNED, rename_source};

/// How far a client's clock may be off; s3s's default.
const MAX_SKEW_MS: u64 = 900_000;

/// An error that s3s wrote.
pub struct Failed<'a> {
    /// Its code.
    pub code: &'a str,
    /// Its message, as it stands in the document.
    pub message: &'a str,
    /// The headers of the answer.
    pub answer: &'a HeaderMap,
    /// The request.
    pub signed: &'a Signed,
    /// What buckets may stand before in a host.
    pub domains: &'a Domains,
}

/// What is put into the document.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Instead of the message that is there.
    pub message: Option<Cow<'static, str>>,
    /// Further elements.
    pub elements: Vec<(&'static str, String)>,
}

impl From<&'static str> for Details {
    fn from(message: &'static str) -> Self {
        Self { message: Some(message.into()), elements: Vec::new() }
    }
}

impl<const N: usize> From<[(&'static str, Option<String>); N]> for Details {
    fn from(elements: [(&'static str, Option<String>); N]) -> Self {
        let elements = elements.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Self { message: None, elements: elements.collect() }
    }
}

impl Failed<'_> {
    /// What is to be said of it; `document` is the request's, where it had one.
    pub fn details(&self, document: impl FnOnce() -> Option<Vec<u8>>, now_ms: u64) -> Details {
        match self.code {
            "SignatureDoesNotMatch" => Details { message: None, elements: self.signed.explain() },
            "AuthorizationHeaderMalformed" => self.region(),
            "RequestTimeTooSkewed" => self.skew(now_ms),
            "MissingRequestBodyError" => "Request Body is empty".into(),
            "MalformedXML" => {
                let message =
                    "The XML you provided was not well-formed or did not validate against our published schema";
                let element = document().and_then(|text| guard::malformed::element(&text));
                Details { message: Some(message.into()), ..[("Element", element)].into() }
            }
            _ => self.subject(),
        }
    }

    /// The region that was meant. Clients that were not told one take it from here.
    fn region(&self) -> Details {
        let Some((_, expected)) = self.message.split_once("; expecting ") else { return Details::default() };
        let expected = expected.replace("&apos;", "").replace(['\'', '.'], "");
        let message = self.signed.region().map(|wrong| {
            format!("The authorization header is malformed; the region '{wrong}' is wrong; expecting '{expected}'")
                .into()
        });
        let mut elements = vec![("Region", expected)];
        elements.extend(self.signed.explain());
        Details { message, elements }
    }

    fn skew(&self, now_ms: u64) -> Details {
        let elements = [
            ("RequestTime", self.signed.time()),
            ("ServerTime", iso_8601(now_ms)),
            ("MaxAllowedSkewMilliseconds", Some(MAX_SKEW_MS.to_string())),
        ];
        let message = "The difference between the request time and the current time is too large.";
        Details { message: Some(message.into()), ..elements.into() }
    }

    /// What the request was about.
    fn subject(&self) -> Details {
        let head = self.signed.head();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match self.code {
            "NoSuchBucket" => [("BucketName", self.bucket(&head))].into(),
            "NoSuchKey" => [("Key", self.object(&head).map(|(key, _)| key))].into(),
            "NoSuchVersion" => match self.object(&head) {
                Some((key, version)) => [("Key", Some(key)), ("VersionId", version)].into(),
                None => Details::default(),
            },
            "PreconditionFailed" => [("Condition", condition(&head).map(str::to_owned))].into(),
            "InvalidRange" => {
                let range = text("range").or_else(|| text("x-amz-copy-source-range"));
                let content = self.answer.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let size = content.and_then(|range| range.strip_prefix("bytes */")).map(str::to_owned);
                [("RangeRequested", range), ("ActualObjectSize", size)].into()
            }
            "MethodNotAllowed" if self.answer.contains_key("x-amz-delete-marker") => {
                [("Method", Some(head.method.to_string())), ("ResourceType", Some("DeleteMarker".to_owned()))].into()
            }
            "InvalidArgument" if self.message == INVALID_VERSION => argument(named_version(&head)),
            "InvalidArgument" if self.message == UNKNOWN_CANNED => {
                argument(text("x-amz-acl").map(|value| ("x-amz-acl", value)))
            }
            _ => Details::default(),
        }
    }

    /// The bucket; `None` where it could be the target's or the source's.
    fn bucket(&self, head: &Parts) -> Option<String> {
        let named = guard::bucket(head, self.domains)?;
        match copied_from(&head.headers) {
            Some((bucket, ..)) if bucket != named => None,
            Some(_) | None => Some(named),
        }
    }

    /// Key and version; `None` where they could be the target's or the source's.
    fn object(&self, head: &Parts) -> Option<(String, Option<String>)> {
        // Where the target has to match something, it may be what is missing.
        let certain = !head.headers.contains_key(header::IF_MATCH);
        if let Some((_, key, version)) = copied_from(&head.headers) {
            return certain.then_some((key, version));
        }
        if let Some(source) = head.headers.get("x-amz-rename-source") {
            let source = rename_source(source.to_str().ok()?, &guard::bucket(head, self.domains)?)?;
            return certain.then_some((source, None));
        }
        Some((guard::key(head, self.domains)?, parameter(head, "versionId")))
    }
}

fn argument(argument: Option<(&'static str, String)>) -> Details {
    let (name, value) = argument.unzip();
    [("ArgumentName", name.map(str::to_owned)), ("ArgumentValue", value)].into()
}

/// The parameter that names a version, and what it says.
fn named_version(head: &Parts) -> Option<(&'static str, String)> {
    if let Some(marker) = parameter(head, "version-id-marker") {
        return Some(("version-id-marker", marker));
    }
    let source = || copied_from(&head.headers).and_then(|(.., version)| version);
    Some(("versionId", parameter(head, "versionId").or_else(source)?))
}

fn parameter(head: &Parts, name: &str) -> Option<String> {
    let mut pairs = query::pairs(head.uri.query().unwrap_or_default());
    pairs.find(|pair| pair.name == name).map(|pair| pair.value.into_owned())
}

/// Bucket, key and version of the source of a copy.
fn copied_from(headers: &HeaderMap) -> Option<(String, String, Option<String>)> {
    match CopySource::parse(headers.get("x-amz-copy-source")?.to_str().ok()?).ok()? {
        CopySource::Bucket { bucket, key, version_id } => {
            Some((bucket.into(), key.into(), version_id.map(String::from)))
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => None,
    }
}

/// Headers that a 412 may come from, as S3 names them, each with the one beside which it does not count (RFC 9110 §13.2.2).
const CONDITIONS: [(&str, &str, &str); 13] = [
    ("if-match", "If-Match", ""),
    ("if-none-match", "If-None-Match", ""),
    ("if-unmodified-since", "If-Unmodified-Since", "if-match"),
    ("x-amz-if-match-last-modified-time", "x-amz-if-match-last-modified-time", ""),
    ("x-amz-if-match-size", "x-amz-if-match-size", ""),
    ("x-amz-copy-source-if-match", "x-amz-copy-source-If-Match", ""),
    ("x-amz-copy-source-if-none-match", "x-amz-copy-source-If-None-Match", ""),
    ("x-amz-copy-source-if-modified-since", "x-amz-copy-source-If-Modified-Since", "x-amz-copy-source-if-none-match"),
    ("x-amz-copy-source-if-unmodified-since", "x-amz-copy-source-If-Unmodified-Since", "x-amz-copy-source-if-match"),
    ("x-amz-rename-source-if-match", "x-amz-rename-source-If-Match", ""),
    ("x-amz-rename-source-if-none-match", "x-amz-rename-source-If-None-Match", ""),
    (
        "x-amz-rename-source-if-modified-since",
        "x-amz-rename-source-If-Modified-Since",
        "x-amz-rename-source-if-none-match",
    ),
    (
        "x-amz-rename-source-if-unmodified-since",
        "x-amz-rename-source-If-Unmodified-Since",
        "x-amz-rename-source-if-match",
    ),
];

/// The condition that failed; `None` where it may be one or another.
fn condition(head: &Parts) -> Option<&'static str> {
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    let counts = |(name, _, beside): &&(&str, &str, &str)| {
        let there = head.headers.contains_key(*name) && !head.headers.contains_key(*beside);
        // What was not modified is a 304 to a read.
        there && !(reads && *name == "if-none-match")
    };
    let mut counting = CONDITIONS.iter().filter(counts);
    let (_, name, _) = counting.next()?;
    counting.next().is_none().then_some(*name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        code: &str,
        message: &str,
        request: http::request::Builder,
        answer: &[(&'static str, &'static str)],
    ) -> String {
        let parts = request.header("host", "s3.test").body(()).unwrap().into_parts().0;
        let answer = answer.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let domains = Domains::new(&[]).unwrap();
        let failed = Failed { code, message, answer: &answer, signed: &Signed::of(&parts), domains: &domains };
        let details = failed.details(|| Some(b"<Delete><Object/></Delete>".to_vec()), 1_000_000_000_000);
        let elements = details.elements.iter().map(|(name, value)| format!("{name}={value}"));
        elements.collect::<Vec<_>>().join(" ")
    }

    fn get(uri: &str) -> http::request::Builder {
        http::Request::get(uri)
    }

    fn put(uri: &str) -> http::request::Builder {
        http::Request::put(uri)
    }

    #[test]
    fn an_error_names_what_it_is_about() {
        let source = "x-amz-copy-source";
        for (code, request, expected) in [
            ("NoSuchKey", get("/b/d/k%20k"), "Key=d/k k"),
            ("NoSuchKey", put("/b/to").header(source, "other/from%2B"), "Key=from+"),
            ("NoSuchKey", put("/b/to").header(source, "other/from").header("if-match", "*"), ""),
            ("NoSuchKey", put("/b/to?renameObject").header("x-amz-rename-source", "/b/from"), "Key=from"),
            ("NoSuchBucket", get("/b/k"), "BucketName=b"),
            ("NoSuchBucket", put("/b/to").header(source, "other/from"), ""),
            ("NoSuchBucket", put("/bucket/to").header(source, "bucket/from"), "BucketName=bucket"),
            ("NoSuchVersion", get("/b/k?versionId=v"), "Key=k VersionId=v"),
            ("NoSuchVersion", put("/b/to").header(source, "other/from?versionId=v"), "Key=from VersionId=v"),
            ("MalformedXML", put("/b?tagging"), "Element=Delete/Object"),
            ("AccessDenied", get("/b/k"), ""),
        ] {
            assert_eq!(of(code, "", request, &[]), expected, "{code}");
        }
    }

    #[test]
    fn a_condition_is_named_where_it_is_certain() {
        for (request, expected) in [
            (get("/b/k").header("if-match", "a"), "Condition=If-Match"),
            (get("/b/k").header("if-match", "a").header("if-none-match", "b"), "Condition=If-Match"),
            (get("/b/k").header("if-match", "a").header("if-unmodified-since", "b"), "Condition=If-Match"),
            (put("/b/k").header("if-none-match", "*"), "Condition=If-None-Match"),
            (put("/b/k").header("if-match", "a").header("x-amz-copy-source-if-match", "b"), ""),
            (
                put("/b/k").header("x-amz-copy-source-if-unmodified-since", "a"),
                "Condition=x-amz-copy-source-If-Unmodified-Since",
            ),
        ] {
            assert_eq!(of("PreconditionFailed", "", request, &[]), expected);
        }
    }

    #[test]
    fn answers_tell_sizes_and_markers() {
        let range = get("/b/k").header("range", "bytes=9-");
        let expected = "RangeRequested=bytes=9- ActualObjectSize=8";
        assert_eq!(of("InvalidRange", "", range, &[("content-range", "bytes */8")]), expected);
        let marker = [("x-amz-delete-marker", "true")];
        assert_eq!(of("MethodNotAllowed", "", get("/b/k"), &marker), "Method=GET ResourceType=DeleteMarker");
        assert_eq!(of("MethodNotAllowed", "", get("/b/k"), &[]), "");
    }

    #[test]
    fn arguments_that_cannot_be_are_named() {
        let version = |request| of("InvalidArgument", INVALID_VERSION, request, &[]);
        assert_eq!(version(get("/b/k?versionId=nope")), "ArgumentName=versionId ArgumentValue=nope");
        let copy = put("/b/k").header("x-amz-copy-source", "bucket/from?versionId=nope");
        assert_eq!(version(copy), "ArgumentName=versionId ArgumentValue=nope");
        let listing = get("/b?versions&key-marker=k&version-id-marker=nope");
        assert_eq!(version(listing), "ArgumentName=version-id-marker ArgumentValue=nope");
        let acl = put("/b/k").header("x-amz-acl", "x");
        assert_eq!(of("InvalidArgument", UNKNOWN_CANNED, acl, &[]), "ArgumentName=x-amz-acl ArgumentValue=x");
        assert_eq!(of("InvalidArgument", "another", get("/b/k?versionId=nope"), &[]), "");
    }
}
