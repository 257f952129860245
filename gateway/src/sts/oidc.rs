//! The identity provider: whose tokens count, for which audience, and its keys, fetched when they are needed and kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::seam::Net;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::Refused;
use super::jwt::{self, BadToken, Identity, KeySet};

/// Keys are used without a question for so long.
const FRESH_FOR: Duration = Duration::from_secs(600);
/// Keys that cannot be fetched anew are used for so long.
const USABLE_FOR: Duration = Duration::from_secs(24 * 3600);
/// Between two fetches because of keys that are not there.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(5);
/// The largest document, bytes.
const DOCUMENT_MAX: usize = 256 << 10;

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// `iss` of its tokens, as they have it: `https://…`.
    pub issuer: String,
    /// Accepted `aud`.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub jwks: Jwks,
}

/// Where a provider's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jwks {
    /// Where the issuer's discovery document says.
    Discovered,
    /// There.
    Url(String),
    /// These.
    Given(KeySet),
}

/// How providers are reached.
#[derive(Clone)]
pub struct Nets {
    /// Where their URLs are http.
    pub plain: Arc<dyn Net>,
    /// Where they are https: connections are TLS. `None`: no authorities are known.
    pub https: Option<Arc<dyn Net>>,
}

impl std::fmt::Debug for Nets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nets").field("https", &self.https.is_some()).finish_non_exhaustive()
    }
}

/// A provider.
pub struct Provider {
    config: OidcConfig,
    nets: Nets,
    kept: Mutex<Option<Kept>>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    keys: Arc<KeySet>,
    at: Instant,
    tried: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Provider {
    /// The provider of `config`, reached through `nets`.
    pub fn new(config: OidcConfig, nets: Nets) -> Self {
        Self { config, nets, kept: Mutex::new(None), fetching: tokio::sync::Mutex::new(()) }
    }

    /// What policies call it: the issuer without its scheme.
    pub fn name(&self) -> &str {
        let issuer = &self.config.issuer;
        issuer.split_once("://").map_or(issuer.as_str(), |(_, rest)| rest).trim_end_matches('/')
    }

    /// Whom a token speaks of, if it is to be believed.
    pub async fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, Refused> {
        let check = |keys: &KeySet| jwt::verify(token, keys, &self.config.issuer, &self.config.audiences, now_ms);
        let mut kept = self.keys(FRESH_FOR).await?;
        let mut verdict = check(&kept.keys);
        // Providers change keys: one that is not known may be new.
        if verdict == Err(BadToken::UnknownKey) && kept.tried.elapsed() >= ASK_AGAIN {
            kept = self.keys(Duration::ZERO).await?;
            verdict = check(&kept.keys);
        }
        verdict.map_err(|bad| match bad {
            BadToken::Expired => Refused::ExpiredToken,
            other => Refused::InvalidIdentityToken(other.to_string()),
        })
    }

    /// The keys, no older than `age` if they can be fetched.
    async fn keys(&self, age: Duration) -> Result<Kept, Refused> {
        let fresh = |kept: &Kept| kept.at.elapsed() < age;
        let known = self.kept.lock().clone();
        if let Some(kept) = known.filter(fresh) {
            return Ok(kept);
        }
        let began = Instant::now();
        let _one_at_a_time = self.fetching.lock().await;
        let known = self.kept.lock().clone();
        // Somebody else fetched them meanwhile.
        if let Some(kept) = known.clone().filter(|kept| kept.tried >= began || fresh(kept)) {
            return Ok(kept);
        }
        let now = Instant::now();
        let kept = match (self.fetch().await, known) {
            (Ok(keys), _) => Kept { keys: Arc::new(keys), at: now, tried: now },
            (Err(error), Some(old)) if old.at.elapsed() < USABLE_FOR => {
                tracing::warn!(error, "the identity provider's keys cannot be fetched anew: the old ones are used");
                Kept { tried: now, ..old }
            }
            (Err(error), _) => return Err(Refused::IdpCommunication(error)),
        };
        *self.kept.lock() = Some(kept.clone());
        Ok(kept)
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let jwks = match &self.config.jwks {
            Jwks::Given(keys) => return Ok(keys.clone()),
            Jwks::Url(url) => url.clone(),
            Jwks::Discovered => {
                let url = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
                let found: Discovery = serde_json::from_slice(&self.get(&url).await?)
                    .map_err(|error| format!("{url} is no discovery document: {error}"))?;
                if found.issuer != self.config.issuer {
                    return Err(format!("{url} speaks of another issuer: {}", found.issuer));
                }
                found.jwks_uri
            }
        };
        KeySet::parse(&self.get(&jwks).await?).ok_or_else(|| format!("{jwks} is no set of keys"))
    }

    async fn get(&self, url: &str) -> Result<Bytes, String> {
        let got = timeout(WITHIN, self.get_slowly(url)).await;
        got.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(|error| format!("{url}: {error}"))
    }

    async fn get_slowly(&self, url: &str) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
        let (net, port) = match (uri.scheme_str(), &self.nets.https) {
            (Some("http"), _) => (&self.nets.plain, 80),
            (Some("https"), Some(net)) => (net, 443),
            (Some("https"), None) => return Err("no authorities are known: set oidc-ca".to_owned()),
            _ => return Err("only http:// and https:// can be fetched".to_owned()),
        };
        let authority = uri.authority().ok_or("not a URL")?.clone();
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(port));
        let stream = net.connect(&address).await.map_err(|error| error.to_string())?;
        let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let request = Request::get(path).header(header::HOST, authority.as_str()).header(header::CONNECTION, "close");
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = send.send_request(request).await.map_err(|error| error.to_string())?;
            if response.status() != StatusCode::OK {
                return Err(format!("answered {}", response.status()));
            }
            let body = Limited::new(response.into_body(), DOCUMENT_MAX).collect().await;
            body.map(|body| body.to_bytes()).map_err(|error| error.to_string())
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }
}
