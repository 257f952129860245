//! Headers in a presigned URL. Some SDKs move `x-amz-…` headers into the query, where the signature covers them, and S3 reads
//! them as the headers that they were.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use s3s::config::{S3Config, S3ConfigProvider};

use super::query;
use super::refusal::{Cause, Refusal};

const PREFIX: &str = "x-amz-";
/// The signature's own parameters, and what stands in for a header of the signature.
const SIGNATURE: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// The headers of a request that its query brought; an extension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifted(Arc<[HeaderName]>);

tokio::task_local! {
    static LIFTED: Lifted;
}

/// `work`, on a request with these headers: s3s, which refuses headers that no signature covers, lets them pass.
pub fn within<F: Future>(lifted: Lifted, work: F) -> impl Future<Output = F::Output> {
    LIFTED.scope(lifted, work)
}

/// The rules of s3s, for the request at hand.
pub struct Rules(pub Arc<S3Config>);

impl S3ConfigProvider for Rules {
    fn snapshot(&self) -> Arc<S3Config> {
        let lifted = LIFTED.try_with(Lifted::clone).unwrap_or_default();
        if lifted.0.is_empty() {
            return self.0.clone();
        }
        let mut rules = S3Config::clone(&self.0);
        rules.unsigned_amz_header_allowlist.extend(lifted.0.iter().map(ToString::to_string));
        Arc::new(rules)
    }
}

/// Gives a presigned request the headers that stand in its query. One that is there as a header, too, must say the same.
pub fn lift(parts: &mut Parts) -> Result<(), Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    if !query::pairs(query).any(|pair| pair.name.eq_ignore_ascii_case("x-amz-signature")) {
        return Ok(());
    }
    let mut lifted: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for pair in query::pairs(query) {
        let name = pair.name.to_ascii_lowercase();
        if !name.starts_with(PREFIX) || SIGNATURE.contains(&name.as_str()) {
            continue;
        }
        let bad =
            || Refusal::invalid_request(format!("the query parameter {} cannot be a header", pair.name), Cause::Query);
        let value = HeaderValue::from_str(&pair.value).map_err(|_| bad())?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let given =
            parts.headers.get(&name).or(lifted.iter().find(|(known, _)| *known == name).map(|(_, value)| value));
        match given {
            Some(given) if *given != value => {
                let message = format!("{name} is given twice, in two ways");
                return Err(Refusal::invalid_request(message, Cause::Query));
            }
            _ => lifted.push((name, value)),
        }
    }
    if !lifted.is_empty() {
        parts.extensions.insert(Lifted(lifted.iter().map(|(name, _)| name.clone()).collect()));
        lifted.into_iter().for_each(|(name, value)| drop(parts.headers.insert(name, value)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(query: &str, headers: &[(&'static str, &'static str)]) -> Result<Vec<(String, String)>, &'static str> {
        let request = http::Request::put(format!("/b/k?{query}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut parts = request.body(()).unwrap().into_parts().0;
        lift(&mut parts).map_err(|refusal| refusal.code)?;
        let own = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        Ok(parts.headers.iter().map(|(name, value)| (name.to_string(), own(value))).collect())
    }

    #[test]
    fn what_a_signature_covers_is_as_good_as_a_header() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let query = "x-id=PutObject&X-Amz-Date=d&X-Amz-SignedHeaders=host&x-amz-meta-a=b%20c&x-amz-acl=private&X-Amz-Signature=0";
        assert_eq!(lifted(query, &[]), Ok(vec![pair("x-amz-meta-a", "b c"), pair("x-amz-acl", "private")]));
        assert_eq!(lifted("x-amz-meta-a=b", &[]), Ok(vec![]), "nobody signed it");
        let same = lifted("x-amz-acl=private&X-Amz-Signature=0", &[("x-amz-acl", "private")]);
        assert_eq!(same, Ok(vec![pair("x-amz-acl", "private")]));
        let other = lifted("x-amz-acl=private&X-Amz-Signature=0", &[("x-amz-acl", "public-read")]);
        assert_eq!(other, Err("InvalidRequest"));
        assert_eq!(lifted("x-amz-acl=a&x-amz-acl=b&X-Amz-Signature=0", &[]), Err("InvalidRequest"));
        assert_eq!(lifted("x-amz-meta-a=%0a&X-Amz-Signature=0", &[]), Err("InvalidRequest"));
    }
}
