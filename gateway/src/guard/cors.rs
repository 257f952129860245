//! Cross-origin requests: which rule of a bucket lets one through, and what its answer says. Pure.
//!
//! A preflight (`OPTIONS`) is answered here, without credentials, as browsers send none. An actual request is carried
//! out whatever its `Origin` says (that is for the browser to judge) and its answer, errors included, gets the headers
//! of the first rule that matches (Fetch standard §3.2; S3 user guide, "How Amazon S3 evaluates the CORS
//! configuration").

use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::dto::{CORSConfiguration, CORSRule};

use super::path::Kind;
use super::refusal::{Cause, Refusal};

const VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// What a request says of where it comes from.
struct Asked<'a> {
    origin: &'a str,
    method: &'a str,
    headers: Vec<String>,
}

impl<'a> Asked<'a> {
    /// `None`: no cross-origin request.
    fn new(headers: &'a HeaderMap, method: &'a str) -> Option<Self> {
        let origin = headers.get(header::ORIGIN)?.to_str().ok()?;
        let names = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let names = names.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let names = names.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        Some(Self { origin, method, headers: names.collect() })
    }

    /// The first rule that lets it through, and the origin to answer.
    fn rule<'r>(&self, rules: &'r CORSConfiguration) -> Option<(&'r CORSRule, &'a str)> {
        rules.cors_rules.iter().find_map(|rule| {
            let pattern = rule.allowed_origins.iter().find(|pattern| fits(pattern, self.origin))?;
            let allowed = rule.allowed_headers.as_deref().unwrap_or_default();
            let passes = |name: &String| allowed.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), name));
            let method = rule.allowed_methods.iter().any(|method| method == self.method);
            let origin = if pattern == "*" { "*" } else { self.origin };
            (method && self.headers.iter().all(passes)).then_some((rule, origin))
        })
    }
}

/// Whether a pattern with at most one `*` fits.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

/// Whether a request may come from another origin at all.
pub fn is_cross_origin(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
}

/// The answer to an `OPTIONS` request for a path of this kind in a bucket with these rules.
pub fn preflight(
    headers: &HeaderMap,
    kind: Kind,
    rules: Option<&CORSConfiguration>,
) -> Result<HeaderMap, Box<Refusal>> {
    let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok());
    let Some((method, asked)) = method.and_then(|method| Some((method, Asked::new(headers, method)?))) else {
        let message = "Insufficient information. Origin and Access-Control-Request-Method request headers needed.";
        return Err(Box::new(Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message, Cause::Cors)));
    };
    let refuse = |message| {
        let refusal = Refusal::new(StatusCode::FORBIDDEN, "AccessForbidden", message, Cause::Cors);
        Err(Box::new(refusal.with("Method", method).with("ResourceType", kind.name())))
    };
    let Some(rules) = rules else { return refuse("CORSResponse: CORS is not enabled for this bucket.") };
    match asked.rule(rules) {
        Some((rule, origin)) => {
            let mut answer = allowance(rule, origin);
            if !asked.headers.is_empty() {
                set(&mut answer, header::ACCESS_CONTROL_ALLOW_HEADERS, &asked.headers.join(", "));
            }
            Ok(answer)
        }
        None => refuse(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
             method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
             resource's CORS spec.",
        ),
    }
}

/// What the answer to an actual request gets besides.
pub fn actual(headers: &HeaderMap, method: &str, rules: &CORSConfiguration) -> HeaderMap {
    let named = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok());
    let Some(asked) = Asked::new(headers, named.unwrap_or(method)) else { return HeaderMap::new() };
    match asked.rule(rules) {
        Some((rule, origin)) => allowance(rule, origin),
        // A cache must not give this answer to an origin that is allowed.
        None => [(header::VARY, VARY)].into_iter().collect(),
    }
}

fn allowance(rule: &CORSRule, origin: &str) -> HeaderMap {
    let mut answer = HeaderMap::new();
    set(&mut answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    set(&mut answer, header::ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods.join(", "));
    if let Some(names) = rule.expose_headers.as_ref().filter(|names| !names.is_empty()) {
        set(&mut answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, &names.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, seconds.into());
    }
    if origin != "*" {
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    answer.insert(header::VARY, VARY);
    answer
}

fn set(answer: &mut HeaderMap, name: http::HeaderName, value: &str) {
    // A rule's text that no header can carry is left out.
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], origins: &[&str], headers: &[&str]) -> CORSRule {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        CORSRule {
            allowed_headers: Some(owned(headers)),
            allowed_methods: owned(methods),
            allowed_origins: owned(origins),
            expose_headers: Some(owned(&["ETag", "x-amz-meta-a"])),
            id: None,
            max_age_seconds: Some(60),
        }
    }

    fn rules() -> CORSConfiguration {
        CORSConfiguration {
            cors_rules: vec![
                rule(&["GET", "HEAD"], &["https://*.example.com"], &[]),
                rule(&["PUT"], &["https://up.example.com"], &["X-Amz-*", "content-type"]),
                rule(&["GET"], &["*"], &[]),
            ],
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn asked(pairs: &[(&'static str, &'static str)]) -> Result<HeaderMap, (u16, &'static str)> {
        preflight(&headers(pairs), Kind::Object, Some(&rules()))
            .map_err(|refusal| (refusal.status.as_u16(), refusal.code))
    }

    const METHOD: &str = "access-control-request-method";
    const HEADERS: &str = "access-control-request-headers";

    #[test]
    fn patterns_have_one_star() {
        assert!(fits("*", "") && fits("*suffix", "a.suffix") && fits("start*end", "startend") && fits("a", "a"));
        assert!(!fits("start*end", "0startend") && !fits("ab*ba", "aba") && !fits("a", "b") && !fits("a*", "ba"));
    }

    #[test]
    fn a_preflight_gets_the_first_rule_that_matches_as_a_whole() {
        let one = asked(&[("origin", "https://a.example.com"), (METHOD, "GET")]).unwrap();
        assert_eq!(one[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example.com");
        assert_eq!(one[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD");
        assert_eq!(one[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(one[header::ACCESS_CONTROL_MAX_AGE], "60");
        assert_eq!(one[header::ACCESS_CONTROL_EXPOSE_HEADERS], "ETag, x-amz-meta-a");
        assert_eq!(one[header::VARY], VARY);
        let put =
            asked(&[("origin", "https://up.example.com"), (METHOD, "PUT"), (HEADERS, "X-Amz-Date, Content-Type")]);
        assert_eq!(put.unwrap()[header::ACCESS_CONTROL_ALLOW_HEADERS], "x-amz-date, content-type");
        let any = asked(&[("origin", "http://other"), (METHOD, "GET")]).unwrap();
        assert_eq!(any[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!any.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn what_no_rule_allows_is_refused() {
        assert_eq!(asked(&[("origin", "http://other"), (METHOD, "PUT")]).unwrap_err(), (403, "AccessForbidden"));
        let named = asked(&[("origin", "https://a.example.com"), (METHOD, "GET"), (HEADERS, "x-amz-date")]);
        assert_eq!(named.unwrap_err(), (403, "AccessForbidden"));
        assert_eq!(asked(&[("origin", "https://a.example.com")]).unwrap_err(), (400, "BadRequest"));
        assert_eq!(asked(&[(METHOD, "GET")]).unwrap_err(), (400, "BadRequest"));
        let none = preflight(&headers(&[("origin", "x"), (METHOD, "GET")]), Kind::Bucket, None).unwrap_err();
        assert!(String::from_utf8_lossy(&none.xml("/", "1", "2")).contains("CORS is not enabled for this bucket"));
    }

    #[test]
    fn answers_of_actual_requests_say_who_may_read_them() {
        let from = |origin: &'static str, method| actual(&headers(&[("origin", origin)]), method, &rules());
        assert_eq!(from("https://up.example.com", "PUT")[header::ACCESS_CONTROL_ALLOW_METHODS], "PUT");
        let refused = from("http://other", "DELETE");
        assert!(!refused.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) && refused.contains_key(header::VARY));
        assert!(actual(&HeaderMap::new(), "GET", &rules()).is_empty());
    }
}
