//! Requests from other origins: preflights, and what the bucket's rules say of every answer.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use s3s::dto::CORSConfiguration;

use super::Shared;
use super::exchange::{Completion, Content, refuse};
use crate::auth::Lookup;
use crate::guard::{self, cors};

/// A cross-origin request, while s3s has it.
pub struct Crossing {
    bucket: Option<String>,
    method: Method,
    headers: HeaderMap,
}

/// What of a cross-origin request is needed for its answer.
pub fn crossing(shared: &Shared, parts: &Parts) -> Crossing {
    let bucket = guard::bucket(parts, &shared.domains);
    Crossing { bucket, method: parts.method.clone(), headers: parts.headers.clone() }
}

impl Crossing {
    /// The answer with what the bucket's rules say of it. An answer to nobody known says nothing.
    pub async fn allow(self, shared: &Shared, mut answer: Response<Content>) -> Response<Content> {
        if let Some(rules) = cors_rules(shared, self.bucket.as_deref()).await {
            let allowed = cors::actual(&self.headers, self.method.as_str(), &rules);
            answer.headers_mut().extend(allowed);
        }
        answer
    }
}

async fn cors_rules(shared: &Shared, bucket: Option<&str>) -> Option<CORSConfiguration> {
    match shared.buckets.as_ref()?.find(bucket?).await {
        Lookup::Found(bucket) => crate::s3::document::cors_rules(&bucket).ok()?,
        Lookup::Missing | Lookup::Unknown => None,
    }
}

/// Answers a preflight.
pub async fn preflight(shared: &Shared, parts: &Parts, completion: &Completion) -> Response<Content> {
    let allowed = match guard::inspect_preflight(parts, &shared.domains, &shared.limits) {
        Ok((kind, bucket)) => {
            let rules = cors_rules(shared, bucket.as_deref()).await;
            cors::preflight(&parts.headers, kind, rules.as_ref()).map_err(|refusal| *refusal)
        }
        Err(refusal) => Err(refusal),
    };
    match allowed {
        Ok(headers) => {
            let mut response = Response::new(Content::Whole(Bytes::new()));
            *response.headers_mut() = headers;
            response
        }
        Err(refusal) => {
            shared.metrics.refused(refusal.cause);
            refuse(&refusal, completion)
        }
    }
}
