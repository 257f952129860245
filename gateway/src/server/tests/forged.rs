//! Forged requests, as a table: every way to carry credentials, to the operations that S3 is made of, each first as it
//! should be (and then it is accepted), then with one thing wrong at a time (and then it is refused, with the right code,
//! and has done nothing). The operations are the real ones, over a replica in memory.

mod chunked;
mod form;
mod header;
mod presigned;
mod session;

use std::collections::BTreeSet;

use holdfast_wire::handshake::ClusterSecret;
use holdfast_wire::identity::{Identities, IdentityChange, Role};
use holdfast_wire::seam::OsRandom;
use holdfast_wire::service::Service;

use super::*;
use crate::auth::session::{Claims, SessionKey};
use crate::auth::{IdentitySource, Keyring};
use crate::membership::Membership;
use crate::router::{RouteError, Router, RouterOptions};
use crate::s3::replica::Replica;
use crate::s3::{S3Config, S3Service};

/// What a client sees of a refusal: status and code.
type Refusal = (u16, &'static str);

const DENIED: Refusal = (403, "AccessDenied");
const MISMATCH: Refusal = (403, "SignatureDoesNotMatch");
const NO_KEY: Refusal = (403, "InvalidAccessKeyId");
const SKEWED: Refusal = (403, "RequestTimeTooSkewed");
const HASH: Refusal = (400, "XAmzContentSHA256Mismatch");
const MALFORMED: Refusal = (400, "AuthorizationHeaderMalformed");
const QUERY: Refusal = (400, "AuthorizationQueryParametersError");
const ARGUMENT: Refusal = (400, "InvalidArgument");
const REQUEST: Refusal = (400, "InvalidRequest");
const TOKEN: Refusal = (400, "InvalidToken");
const UNKNOWN: Refusal = (501, "NotImplemented");

struct Known(Identities);

#[async_trait::async_trait]
impl IdentitySource for Known {
    async fn newer(&self, known: u64) -> Result<Option<Identities>, RouteError> {
        Ok((self.0.version > known).then(|| self.0.clone()))
    }
}

/// A gateway with the real operations behind it.
pub struct Stand {
    gateway: Gateway,
    pub replica: Replica,
    keyring: Arc<Keyring>,
    /// Mutations that were tried, by name, and how many requests that were.
    tried: parking_lot::Mutex<(BTreeSet<String>, usize)>,
}

impl Stand {
    pub async fn start() -> Self {
        let seams = Seams::real();
        let everything = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#.to_owned();
        let role = Role { trust, policies: ["everything".to_owned()].into(), session_max_s: 3600 };
        let changes = vec![
            IdentityChange::Policy("everything".to_owned(), Some(everything.to_owned())),
            IdentityChange::Role("role".to_owned(), Some(role)),
        ];
        let known = Identities { version: 1, ..Identities::default().change(changes).unwrap() };
        let root = RootKey::new(ACCESS_KEY, Secret::new(SECRET_KEY)).unwrap();
        let keyring = Keyring::new(root, &ClusterSecret::new(""), seams.clock.clone(), Some(Arc::new(Known(known))));
        let keyring = Arc::new(keyring);
        keyring.refresh().await;
        let replica = Replica::default();
        let local: Arc<dyn Service> = Arc::new(replica.clone());
        let membership = Membership::start_with(Arc::new(replica.clone()), Some(local), Vec::new(), seams.clone());
        let router = Router::new(membership, seams.clone(), RouterOptions::default());
        let buckets = router.clone();
        let s3 = S3Service::new(router, seams.random.clone(), S3Config::new(ACCESS_KEY.to_owned()));
        let buckets: Arc<dyn Buckets> = Arc::new(buckets);
        let config = GatewayConfig { keyring: Some(keyring.clone()), ..config(Limits::default()) };
        let gateway = Gateway::start(config, seams, s3, Some(buckets), Arc::new(|| Ok(())), Arc::default());
        Self { gateway: gateway.await.unwrap(), replica, keyring, tried: Default::default() }
    }

    pub fn host(&self) -> String {
        self.gateway.local_addr().to_string()
    }

    pub async fn send(&self, request: &Request) -> Response {
        let mut connection = Connection::open(&self.host()).await;
        // A server that has refused already may not read to the end.
        let _ = connection.try_write(&request.bytes()).await;
        connection.response(request.method == "HEAD").await.expect("a response")
    }

    fn session(&self, expires_ms: u64) -> SessionKey {
        let claims = Claims { role: "role".into(), session: "s".into(), policy: None, expires_ms };
        self.keyring.sessions().issue(&OsRandom, &claims)
    }

    /// The request as it should be is accepted.
    async fn accepts(&self, way: &str, request: &Request) -> Option<String> {
        self.replica.set("key", "hello");
        let answer = self.send(request).await;
        (answer.status >= 300).then(|| format!("{way}, unchanged: {} {}", answer.status, answer.text()))
    }

    /// The request with something wrong is refused so, and does nothing.
    async fn refuses(&self, way: &str, mutation: &str, request: &Request, expected: &[Refusal]) -> Option<String> {
        let before = self.replica.writes();
        let answer = self.send(request).await;
        let mut tried = self.tried.lock();
        tried.0.insert(format!("{} {mutation}", way.split(':').next().unwrap_or(way)));
        tried.1 += 1;
        let code = if request.method == "HEAD" { None } else { Some(answer.code()) };
        let right = expected
            .iter()
            .any(|(status, name)| answer.status == *status && code.as_ref().is_none_or(|code| code == name));
        let untouched = self.replica.writes() == before;
        (!right || !untouched)
            .then(|| format!("{way}, {mutation}: {} {}, wrote: {}", answer.status, answer.code(), !untouched))
    }
}

/// The operations that are asked: method, target, body, and whether a `Content-MD5` goes with it.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("GET", "/", ""),
    ("GET", "/bucket?list-type=2", ""),
    ("GET", "/bucket?location", ""),
    ("HEAD", "/bucket/key", ""),
    ("GET", "/bucket/key", ""),
    ("GET", "/bucket/key?tagging", ""),
    ("PUT", "/bucket/key", "hello"),
    ("PUT", "/bucket/key?tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
    ("POST", "/bucket/key?uploads", ""),
    ("POST", "/bucket?delete", "<Delete><Object><Key>none</Key></Object></Delete>"),
    ("DELETE", "/bucket/key", ""),
];

fn request(host: &str, operation: &(&str, &str, &str)) -> Request {
    let (method, target, body) = *operation;
    Request::new(method, target, host).header("x-amz-meta-colour", "green").body(body)
}

/// One way to be wrong: what it is called, what it does to a request that was right, and how that must end.
struct Mutation {
    name: &'static str,
    /// Before it is signed, or after.
    signed: bool,
    change: fn(&mut Request),
    expected: &'static [Refusal],
}

const fn after(name: &'static str, change: fn(&mut Request), expected: &'static [Refusal]) -> Mutation {
    Mutation { name, signed: true, change, expected }
}

const fn before(name: &'static str, change: fn(&mut Request), expected: &'static [Refusal]) -> Mutation {
    Mutation { name, signed: false, change, expected }
}

#[tokio::test]
async fn no_forged_request_is_accepted_and_each_is_told_why() {
    let stand = Stand::start().await;
    let mut wrong = Vec::new();
    wrong.extend(header::tried(&stand).await);
    wrong.extend(presigned::tried(&stand).await);
    wrong.extend(session::tried(&stand).await);
    wrong.extend(chunked::tried(&stand).await);
    wrong.extend(form::tried(&stand).await);
    assert!(wrong.is_empty(), "{} were not refused as they should be:\n{}", wrong.len(), wrong.join("\n"));
    let (mutations, requests) = stand.tried.lock().clone();
    assert!(mutations.len() >= 120, "only {} mutations", mutations.len());
    assert!(requests >= 500, "only {requests} requests");
    stand.gateway.stop().await;
}
