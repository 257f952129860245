//! What s3s leaves open is closed here, before s3s sees a request: pure functions from a request's head to "go on" or
//! to the S3 error that AWS gives.
//!
//! Nothing in here waits, reads a clock or touches a body. [`inspect`] applies the checks in a fixed order: shape of the
//! head, path, query, credentials. A request that passes means to s3s exactly what it means to us: s3s falls back to
//! the plain operation when it does not know a sub-resource (`DELETE /bucket?nonsense` would delete the bucket), so
//! the [`table`] lets through only what s3s routes to an operation of its own.

pub mod cors;
pub mod credentials;
pub mod document;
pub mod error_xml;
pub mod head;
pub mod hoisted;
pub mod host;
pub mod malformed;
pub mod path;
pub mod query;
pub mod range;
pub mod refusal;
pub mod request_id;
pub mod table;

use http::request::Parts;

use self::host::Domains;
use self::path::Kind;
use self::refusal::Refusal;
use self::table::Operation;
use crate::limits::Limits;

/// What the head of a request says, once it is certain that s3s will read it the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What is asked for; a bounded set, so it can label metrics.
    pub operation: Operation,
    /// What the path names.
    pub kind: Kind,
}

/// What a preflight is about, and which bucket, where one is named.
pub fn inspect_preflight(parts: &Parts, domains: &Domains, limits: &Limits) -> Result<(Kind, Option<String>), Refusal> {
    head::check(parts, limits)?;
    let in_host = bucket_in_host(parts, domains)?;
    let kind = path::kind(parts.uri.path(), in_host.is_some());
    Ok((kind, in_host.or_else(|| path::bucket(parts.uri.path()))))
}

/// The bucket that a request names; `None` where it names none that could be.
pub fn bucket(parts: &Parts, domains: &Domains) -> Option<String> {
    let in_host = bucket_in_host(parts, domains).ok()?;
    in_host.or_else(|| path::bucket(parts.uri.path()))
}

/// The key that a request names; `None` where it names none.
pub fn key(parts: &Parts, domains: &Domains) -> Option<String> {
    let in_host = bucket_in_host(parts, domains).ok()?.is_some();
    path::key(parts.uri.path(), in_host)
}

fn bucket_in_host(parts: &Parts, domains: &Domains) -> Result<Option<String>, Refusal> {
    match head::host(parts) {
        Some(host) => Ok(domains.bucket(host)?.map(str::to_owned)),
        None => Ok(None),
    }
}

/// Checks a request's head. `Ok` means that the request may go to s3s.
pub fn inspect(parts: &Parts, domains: &Domains, limits: &Limits) -> Result<Inspected, Refusal> {
    head::check(parts, limits)?;
    let bucket_in_host = match head::host(parts) {
        Some(host) => domains.bucket(host)?.is_some(),
        None => false,
    };
    let kind = path::kind(parts.uri.path(), bucket_in_host);
    if parts.method == http::Method::OPTIONS {
        return Err(Refusal::method_not_allowed(refusal::Cause::Cors));
    }
    let query = parts.uri.query().unwrap_or_default();
    let operation = table::operation(&parts.method, kind, query, &parts.headers)?;
    head::check_body(parts, operation, limits)?;
    credentials::check(parts, query)?;
    Ok(Inspected { operation, kind })
}
