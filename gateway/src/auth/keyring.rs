//! Whose key is it? The gateway's copy of root's identities, refreshed all the time.
//!
//! A copy is confirmed at root every half second, and once more (at most ten times a second) when a key is not in it. What
//! is revoked stops working within a second while root answers; a copy that could not be confirmed for [`STALE_AFTER`]
//! lets only the root key in, and answers everybody else 503. So that is the longest that a revoked key can work.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast_wire::handshake::ClusterSecret;
use holdfast_wire::identity::Identities;
use holdfast_wire::seal::Seal;
use holdfast_wire::seam::Clock;
use parking_lot::Mutex;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};
use tokio::time::{Instant, sleep};

use super::directory::{Directory, KEYS};
use super::keys::RootKey;
use super::session::Sessions;
use super::who::Who;
use crate::error::slow_down;
use crate::router::{RouteError, Router};

/// Between two confirmations of the copy.
pub const CONFIRM_EVERY: Duration = Duration::from_millis(500);
/// A copy that is older than this lets only the root key in.
pub const STALE_AFTER: Duration = Duration::from_secs(15);
/// Between two questions about keys that are not in the copy.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long such a question may hold up a request.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// Where identities come from.
#[async_trait::async_trait]
pub trait IdentitySource: Send + Sync + 'static {
    /// The identities, if there are newer ones than `known`.
    async fn newer(&self, known: u64) -> Result<Option<Identities>, RouteError>;
}

#[async_trait::async_trait]
impl IdentitySource for Router {
    async fn newer(&self, known: u64) -> Result<Option<Identities>, RouteError> {
        self.identities(known).await
    }
}

/// Everybody's keys.
pub struct Keyring {
    root: RootKey,
    seal: Seal,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
    source: Option<Arc<dyn IdentitySource>>,
    directory: ArcSwap<Directory>,
    /// When the copy was last confirmed.
    confirmed: Mutex<Option<Instant>>,
    refreshing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring(version {})", self.directory.load().version)
    }
}

/// Why a key is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoKey {
    /// Unknown, disabled or expired: all the same to whoever tries.
    Invalid,
    /// The copy is too old to say.
    Stale,
}

impl From<NoKey> for S3Error {
    fn from(reason: NoKey) -> Self {
        match reason {
            NoKey::Invalid => S3Error::with_message(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            ),
            NoKey::Stale => slow_down(),
        }
    }
}

impl Keyring {
    /// The root key, and whoever `source` knows; secrets are opened with the cluster's.
    pub fn new(
        root: RootKey,
        secret: &ClusterSecret,
        clock: Arc<dyn Clock>,
        source: Option<Arc<dyn IdentitySource>>,
    ) -> Self {
        Self {
            root,
            seal: Seal::new(secret, KEYS),
            sessions: Sessions::new(secret),
            clock,
            source,
            directory: ArcSwap::default(),
            confirmed: Mutex::new(None),
            refreshing: tokio::sync::Mutex::new(()),
        }
    }

    /// Keeps the copy fresh. Runs until dropped.
    pub async fn watch(self: Arc<Self>) {
        loop {
            self.refresh().await;
            sleep(CONFIRM_EVERY).await;
        }
    }

    /// Asks root once whether there is anything newer.
    pub async fn refresh(&self) {
        self.confirm(Instant::now()).await;
    }

    /// Asks root whether there is anything newer, unless somebody has since `moment`.
    async fn confirm(&self, moment: Instant) {
        let Some(source) = &self.source else { return };
        let _one_at_a_time = self.refreshing.lock().await;
        if self.confirmed.lock().is_some_and(|confirmed| confirmed > moment) {
            return;
        }
        let asked = Instant::now();
        match source.newer(self.directory.load().version).await {
            Ok(newer) => {
                if let Some(identities) = newer {
                    let directory = Directory::new(&identities, &self.seal, &self.root);
                    tracing::debug!(version = directory.version, keys = directory.keys.len(), "new identities");
                    self.directory.store(Arc::new(directory));
                }
                *self.confirmed.lock() = Some(asked);
            }
            Err(error) => tracing::debug!(%error, "the copy of the identities could not be confirmed"),
        }
    }

    /// The copy as it is.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// The root key.
    pub fn root(&self) -> &RootKey {
        &self.root
    }

    /// The keys of sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.unix_millis()
    }

    fn age(&self) -> Option<Duration> {
        self.confirmed.lock().map(|confirmed| confirmed.elapsed())
    }

    /// The copy, if it is fresh enough, with `access_key` in it, if root knows it.
    async fn copy_for(&self, access_key: &str) -> Result<Arc<Directory>, NoKey> {
        // What does not work is asked about whether it is known or not: the time tells strangers nothing of which it is, and a
        // key that was enabled a moment ago works, too.
        let works = |directory: &Directory| {
            directory.keys.get(access_key).is_some_and(|key| self.works(key.enabled, key.expires_ms))
        };
        let mut directory = self.directory();
        let (age, arrived) = (self.age(), Instant::now());
        let missing = !works(&directory) && !self.sessions.is_one(access_key);
        if missing || age.is_none_or(|age| age > STALE_AFTER) {
            let asking = async {
                // A key that was made a moment ago is waited for; strangers' keys cost root no more questions than this.
                sleep(ASK_AGAIN.saturating_sub(age.unwrap_or(ASK_AGAIN))).await;
                self.confirm(arrived).await;
            };
            // Elapsed or refreshed: what is there then is looked at.
            let _ = tokio::time::timeout(ASK_WITHIN, asking).await;
            directory = self.directory();
        }
        match self.age() {
            Some(age) if age <= STALE_AFTER => Ok(directory),
            _ if self.source.is_none() => Ok(directory),
            _ => Err(NoKey::Stale),
        }
    }

    /// Who a verified access key is. `token`: the session token that came with it.
    pub async fn identify(&self, access_key: &str, token: Option<&str>) -> S3Result<Who> {
        if self.root.is(access_key) {
            no_token(token)?;
            return Ok(Who::Root { access_key: access_key.into() });
        }
        let directory = self.copy_for(access_key).await?;
        if self.sessions.is_one(access_key) {
            return self.sessions.identify(access_key, token, &directory, self.now_ms());
        }
        no_token(token)?;
        let key = directory.keys.get(access_key).filter(|key| self.works(key.enabled, key.expires_ms));
        let key = key.ok_or(NoKey::Invalid)?;
        Ok(Who::User { name: key.user.clone(), access_key: access_key.into(), policies: key.policies.clone() })
    }

    fn works(&self, enabled: bool, expires_ms: Option<u64>) -> bool {
        enabled && expires_ms.is_none_or(|at| self.now_ms() < at)
    }
}

fn no_token(token: Option<&str>) -> S3Result<()> {
    match token {
        None => Ok(()),
        Some(_) => Err(super::session::invalid_token()),
    }
}

/// Hands a key's secret to the signature check.
#[derive(Clone, Debug)]
pub struct Provider(pub Arc<Keyring>);

#[async_trait::async_trait]
impl S3Auth for Provider {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let ring = &self.0;
        // Cloned for known and unknown keys alike.
        let root = ring.root.secret_key().key();
        if ring.root.is(access_key) {
            return Ok(root);
        }
        let directory = ring.copy_for(access_key).await?;
        if ring.sessions.is_one(access_key) {
            return Ok(ring.sessions.secret(access_key).key());
        }
        let found = directory.keys.get(access_key);
        let secret = found.map_or(root, |key| key.secret.key());
        match found {
            Some(key) if ring.works(key.enabled, key.expires_ms) => Ok(secret),
            _ => Err(NoKey::Invalid.into()),
        }
    }
}

#[cfg(test)]
mod tests;
