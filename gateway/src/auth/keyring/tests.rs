use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_wire::identity::{AccessKey, IdentityChange, User};
use holdfast_wire::seam::OsRandom;
use parking_lot::Mutex;

use super::*;
use crate::auth::keys::Secret;
use crate::auth::session::Claims;

struct At(AtomicU64);

impl Clock for At {
    fn unix_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Known(Mutex<(Identities, bool)>);

#[async_trait::async_trait]
impl IdentitySource for Known {
    async fn newer(&self, known: u64) -> Result<Option<Identities>, RouteError> {
        let state = self.0.lock();
        if state.1 {
            return Err(RouteError::SlowDown("silent".to_owned()));
        }
        Ok((state.0.version > known).then(|| state.0.clone()))
    }
}

impl Known {
    fn change(&self, changes: Vec<IdentityChange>) {
        let mut state = self.0.lock();
        let next = state.0.change(changes).unwrap();
        state.0 = Identities { version: state.0.version + 1, ..next };
    }
}

fn ring() -> (Arc<Keyring>, Arc<Known>, Arc<At>) {
    let (known, clock) = (Arc::new(Known::default()), Arc::new(At(AtomicU64::new(1000))));
    let root = RootKey::new("AKROOT", Secret::new("root-secret")).unwrap();
    let ring = Keyring::new(root, &ClusterSecret::new("secret"), clock.clone(), Some(known.clone()));
    (Arc::new(ring), known, clock)
}

fn key(enabled: bool, expires_ms: Option<u64>) -> IdentityChange {
    let sealed = Seal::new(&ClusterSecret::new("secret"), KEYS).seal(&OsRandom, b"AKANN", b"ann-secret");
    let key = AccessKey { user: "ann".into(), sealed, enabled, expires_ms, created_ms: 0 };
    IdentityChange::Key("AKANN".into(), Some(key))
}

fn ann(enabled: bool) -> IdentityChange {
    IdentityChange::User("ann".into(), Some(User { enabled, policies: BTreeSet::new() }))
}

async fn code(ring: &Arc<Keyring>, access_key: &str) -> String {
    match Provider(ring.clone()).get_secret_key(access_key).await {
        Ok(secret) => secret.expose().to_owned(),
        Err(error) => error.code().as_str().to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn keys_work_while_they_are_enabled_and_not_expired() {
    let (ring, known, clock) = ring();
    assert_eq!(code(&ring, "AKROOT").await, "root-secret");
    assert_eq!(code(&ring, "AKANN").await, "InvalidAccessKeyId");
    known.change(vec![ann(true), key(true, None)]);
    let began = Instant::now();
    assert_eq!(code(&ring, "AKANN").await, "ann-secret", "a new key works at once, whoever was asked about before");
    assert!(began.elapsed() <= ASK_AGAIN);
    let who = ring.identify("AKANN", None).await.unwrap();
    assert_eq!((who.owner().as_deref(), who.is_root()), (Some("ann"), false));
    assert_eq!(ring.identify("AKANN", Some("token")).await.unwrap_err().code(), &S3ErrorCode::InvalidToken);
    for (change, works) in
        [(key(false, None), false), (key(true, Some(2000)), true), (ann(false), false), (ann(true), true)]
    {
        known.change(vec![change]);
        ring.refresh().await;
        assert_eq!(code(&ring, "AKANN").await == "ann-secret", works);
        assert_eq!(ring.identify("AKANN", None).await.is_ok(), works);
    }
    clock.0.store(2000, Ordering::Relaxed);
    assert_eq!(code(&ring, "AKANN").await, "InvalidAccessKeyId", "expired");
    known.change(vec![IdentityChange::User("ann".into(), None)]);
    ring.refresh().await;
    assert_eq!(code(&ring, "AKANN").await, "InvalidAccessKeyId");
}

#[tokio::test(start_paused = true)]
async fn keys_that_do_not_work_take_as_long_as_keys_that_are_not_there() {
    let (ring, known, _) = ring();
    let took = async |access_key: &str| {
        ring.refresh().await;
        let began = Instant::now();
        assert_eq!(code(&ring, access_key).await, "InvalidAccessKeyId");
        began.elapsed()
    };
    let stranger = took("AKNOBODY").await;
    for key in [key(false, None), key(true, Some(1))] {
        known.change(vec![ann(true), key]);
        assert_eq!(took("AKANN").await, stranger);
    }
    // Enabled, but nobody has asked root since.
    known.change(vec![key(true, None)]);
    assert_eq!(code(&ring, "AKANN").await, "ann-secret", "it works at once");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_confirmed_lets_only_the_root_key_in() {
    let (ring, known, _) = ring();
    known.change(vec![ann(true), key(true, None)]);
    ring.refresh().await;
    known.0.lock().1 = true;
    tokio::time::advance(STALE_AFTER / 2).await;
    assert_eq!(code(&ring, "AKANN").await, "ann-secret");
    tokio::time::advance(STALE_AFTER).await;
    assert_eq!(code(&ring, "AKANN").await, "SlowDown");
    assert_eq!(code(&ring, "AKROOT").await, "root-secret");
    known.0.lock().1 = false;
    assert_eq!(code(&ring, "AKANN").await, "ann-secret");
}

#[tokio::test(start_paused = true)]
async fn sessions_need_their_own_token_and_their_role() {
    let (ring, known, clock) = ring();
    let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
    let role = holdfast_wire::identity::Role { trust: trust.into(), policies: BTreeSet::new(), session_max_s: 3600 };
    known.change(vec![IdentityChange::Role("r".into(), Some(role))]);
    ring.refresh().await;
    let claims = |session: &str| Claims { role: "r".into(), session: session.into(), policy: None, expires_ms: 5000 };
    let (one, two) =
        (ring.sessions().issue(&OsRandom, &claims("one")), ring.sessions().issue(&OsRandom, &claims("two")));
    assert_eq!(code(&ring, &one.access_key).await, one.secret.expose());
    let who = ring.identify(&one.access_key, Some(&one.token)).await.unwrap();
    assert_eq!(who.arn(), "arn:aws:sts::000000000000:assumed-role/r/one");
    let refused = async |token| ring.identify(&one.access_key, token).await.unwrap_err().code().as_str().to_owned();
    assert_eq!(refused(None).await, "InvalidAccessKeyId");
    assert_eq!(refused(Some(&two.token)).await, "InvalidToken");
    assert_eq!(refused(Some("nonsense")).await, "InvalidToken");
    clock.0.store(5000, Ordering::Relaxed);
    assert_eq!(refused(Some(&one.token)).await, "ExpiredToken");
    clock.0.store(0, Ordering::Relaxed);
    known.change(vec![IdentityChange::Role("r".into(), None)]);
    ring.refresh().await;
    assert_eq!(refused(Some(&one.token)).await, "AccessDenied");
}
