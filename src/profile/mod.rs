//! CPU and heap profiles of the running process, in the form that `go tool pprof` and Grafana read. Off unless configured, and
//! then only for whoever has the admin token: names of functions and what they cost are nobody else's business, and
//! making a profile costs something itself. One at a time, each bounded.
//!
//! ```text
//! GET /debug/pprof/profile?seconds=30   where CPU time goes during that time (1 to 60 seconds)
//! GET /debug/pprof/heap                 who holds the memory that is in use, sampled every 512 KiB
//! ```

mod cpu;
mod encode;
mod heap;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use tokio::sync::Semaphore;

use crate::admin::bearer;
use crate::config::Secret;
use crate::http::{Content, error};

pub use heap::prepare;

const SECONDS: u64 = 30;
const SECONDS_MAX: u64 = 60;

/// Makes profiles for those who may have them.
pub struct Profiles {
    token: Secret,
    turn: Semaphore,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum NoProfile {
    /// The CPU's.
    #[error("no CPU profile: {0}")]
    Cpu(#[from] pprof::Error),
    /// The heap's.
    #[error("no heap profile: {0}")]
    Heap(#[from] heap::NoHeap),
    /// Its thread died.
    #[error("no profile: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl Profiles {
    /// For whoever has `token`.
    pub fn new(token: Secret) -> Self {
        Self { token, turn: Semaphore::new(1) }
    }

    /// Answers a request under `/debug/pprof/`.
    pub async fn answer(&self, uri: &Uri, headers: &HeaderMap) -> Response<Content> {
        if !bearer(headers).is_some_and(|given| self.token.is(given)) {
            let mut refusal = error(StatusCode::UNAUTHORIZED, "profiles need the admin token (HOLDFAST_ADMIN_TOKEN)");
            refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return refusal;
        }
        let Ok(_turn) = self.turn.try_acquire() else {
            return error(StatusCode::TOO_MANY_REQUESTS, "a profile is being made already: one at a time");
        };
        let made = match uri.path() {
            "/debug/pprof/profile" => match seconds(uri) {
                Some(seconds) => cpu::profile(Duration::from_secs(seconds)).await,
                None => return error(StatusCode::BAD_REQUEST, "seconds: expected a whole number from 1 to 60"),
            },
            "/debug/pprof/heap" => match tokio::task::spawn_blocking(heap::profile).await {
                Ok(made) => made.map_err(NoProfile::from),
                Err(error) => Err(error.into()),
            },
            _ => return error(StatusCode::NOT_FOUND, "there are /debug/pprof/profile and /debug/pprof/heap"),
        };
        match made {
            Ok(bytes) => {
                let mut response = Response::new(Content::Whole(bytes.into()));
                let kind = HeaderValue::from_static("application/octet-stream");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(failed) => error(StatusCode::NOT_IMPLEMENTED, &failed.to_string()),
        }
    }
}

fn seconds(uri: &Uri) -> Option<u64> {
    let mut given = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("seconds="));
    match (given.next(), given.next()) {
        (None, _) => Some(SECONDS),
        (Some(text), None) => text.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds)),
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn status(profiles: &Profiles, path: &str, token: Option<&str>) -> StatusCode {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        profiles.answer(&path.parse().unwrap(), &headers).await.status()
    }

    #[tokio::test]
    async fn only_those_with_the_token_get_one_at_a_time() {
        let (profiles, token) = (Profiles::new(Secret::new("sixteen-letters!")), Some("sixteen-letters!"));
        let path = "/debug/pprof/profile?seconds=1";
        assert_eq!(status(&profiles, path, None).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&profiles, path, Some("sixteen-letters?")).await, StatusCode::UNAUTHORIZED);
        for bad in ["0", "61", "", "1&seconds=2", "-1"] {
            let path = format!("/debug/pprof/profile?seconds={bad}");
            assert_eq!(status(&profiles, &path, token).await, StatusCode::BAD_REQUEST, "{bad}");
        }
        assert_eq!(status(&profiles, "/debug/pprof/other", token).await, StatusCode::NOT_FOUND);
        let _turn = profiles.turn.try_acquire().unwrap();
        assert_eq!(status(&profiles, path, token).await, StatusCode::TOO_MANY_REQUESTS);
    }
}
