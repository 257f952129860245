//! Every operation of the access table, asked for in every way: with the root key, with exactly what it requires, with
//! everything but one requirement, by nobody, through the bucket's policy, against it, within a session, and with keys that
//! do not work. Generated from the table: an operation without an example here fails the test.

use std::collections::BTreeSet;

use holdfast_wire::configuration::Document;
use holdfast_wire::identity::{AccessKey, Identities, IdentityChange, Role, User};
use holdfast_wire::seal::Seal;
use holdfast_wire::seam::OsRandom;
use http::HeaderMap;

use super::*;
use crate::auth::directory::KEYS;
use crate::auth::session::{Claims, SessionKey};
use crate::auth::table::{Place, Required, TABLE, Target, required};
use crate::auth::{IdentitySource, Keyring};
use crate::router::RouteError;

const SECRET: &str = "secret-of-every-user";

/// How to ask for an operation: method, target, headers.
type Example = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

fn examples(operation: &str) -> Vec<Example> {
    let one = |method, target| vec![(method, target, &[][..])];
    const COPY: &[(&str, &str)] = &[("x-amz-copy-source", "/bucket/source")];
    const COPY_VERSION: &[(&str, &str)] = &[("x-amz-copy-source", "/bucket/source?versionId=v1")];
    const RICH: &[(&str, &str)] = &[
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2050-01-01T00:00:00Z"),
        ("x-amz-tagging", "a=b"),
    ];
    const BYPASS: &[(&str, &str)] = &[("x-amz-bypass-governance-retention", "true")];
    const RENAME: &[(&str, &str)] = &[("x-amz-rename-source", "/bucket/source")];
    const LOCKED: &[(&str, &str)] = &[("x-amz-bucket-object-lock-enabled", "true")];
    let versioned = |method, plain, versioned| vec![(method, plain, &[][..]), (method, versioned, &[][..])];
    match operation {
        "ListBuckets" => one("GET", "/"),
        "CreateBucket" => vec![("PUT", "/bucket", &[][..]), ("PUT", "/bucket", LOCKED)],
        "DeleteBucket" => one("DELETE", "/bucket"),
        "HeadBucket" => one("HEAD", "/bucket"),
        "GetBucketLocation" => one("GET", "/bucket?location="),
        "ListObjects" => one("GET", "/bucket"),
        "ListObjectsV2" => one("GET", "/bucket?list-type=2"),
        "ListObjectVersions" => one("GET", "/bucket?versions="),
        "ListMultipartUploads" => one("GET", "/bucket?uploads="),
        "GetObject" => versioned("GET", "/bucket/key", "/bucket/key?versionId=v1"),
        "HeadObject" => versioned("HEAD", "/bucket/key", "/bucket/key?versionId=v1"),
        "GetObjectAttributes" => versioned("GET", "/bucket/key?attributes=", "/bucket/key?attributes=&versionId=v1"),
        "SelectObjectContent" => one("POST", "/bucket/key?select=&select-type=2"),
        "PutObject" => vec![("PUT", "/bucket/key", &[][..]), ("PUT", "/bucket/key", RICH)],
        "CopyObject" => vec![("PUT", "/bucket/key", COPY), ("PUT", "/bucket/key", COPY_VERSION)],
        "RenameObject" => vec![("PUT", "/bucket/key?renameObject=", RENAME)],
        "DeleteObject" => vec![
            ("DELETE", "/bucket/key", &[][..]),
            ("DELETE", "/bucket/key?versionId=v1", &[][..]),
            ("DELETE", "/bucket/key", BYPASS),
        ],
        "DeleteObjects" => vec![("POST", "/bucket?delete=", &[][..]), ("POST", "/bucket?delete=", BYPASS)],
        "RestoreObject" => one("POST", "/bucket/key?restore="),
        "GetObjectAcl" => versioned("GET", "/bucket/key?acl=", "/bucket/key?acl=&versionId=v1"),
        "PutObjectAcl" => versioned("PUT", "/bucket/key?acl=", "/bucket/key?acl=&versionId=v1"),
        "GetObjectTagging" => versioned("GET", "/bucket/key?tagging=", "/bucket/key?tagging=&versionId=v1"),
        "PutObjectTagging" => versioned("PUT", "/bucket/key?tagging=", "/bucket/key?tagging=&versionId=v1"),
        "DeleteObjectTagging" => versioned("DELETE", "/bucket/key?tagging=", "/bucket/key?tagging=&versionId=v1"),
        "GetObjectRetention" => one("GET", "/bucket/key?retention="),
        "PutObjectRetention" => {
            vec![("PUT", "/bucket/key?retention=", &[][..]), ("PUT", "/bucket/key?retention=", BYPASS)]
        }
        "GetObjectLegalHold" => one("GET", "/bucket/key?legal-hold="),
        "PutObjectLegalHold" => one("PUT", "/bucket/key?legal-hold="),
        "GetObjectTorrent" => one("GET", "/bucket/key?torrent="),
        "CreateMultipartUpload" => {
            vec![("POST", "/bucket/key?uploads=", &[][..]), ("POST", "/bucket/key?uploads=", RICH)]
        }
        "UploadPart" => one("PUT", "/bucket/key?partNumber=1&uploadId=u"),
        "UploadPartCopy" => vec![
            ("PUT", "/bucket/key?partNumber=1&uploadId=u", COPY),
            ("PUT", "/bucket/key?partNumber=1&uploadId=u", COPY_VERSION),
        ],
        "CompleteMultipartUpload" => one("POST", "/bucket/key?uploadId=u"),
        "AbortMultipartUpload" => one("DELETE", "/bucket/key?uploadId=u"),
        "ListParts" => one("GET", "/bucket/key?uploadId=u"),
        // A form carries its own signature: `form.rs` asks with one.
        "PostObject" => Vec::new(),
        configuration => one_configuration(configuration).into_iter().collect(),
    }
}

/// Configurations of buckets have their sub-resource in common.
fn one_configuration(operation: &str) -> Option<Example> {
    let target = match operation.trim_start_matches("Get").trim_start_matches("Put").trim_start_matches("Delete") {
        "BucketAbac" => "/bucket?abac=",
        "BucketAccelerateConfiguration" => "/bucket?accelerate=",
        "BucketAcl" => "/bucket?acl=",
        "BucketAnalyticsConfiguration" => "/bucket?analytics=&id=x",
        "ListBucketAnalyticsConfigurations" => "/bucket?analytics=",
        "BucketCors" => "/bucket?cors=",
        "BucketEncryption" => "/bucket?encryption=",
        "BucketIntelligentTieringConfiguration" => "/bucket?id=x&intelligent-tiering=",
        "ListBucketIntelligentTieringConfigurations" => "/bucket?intelligent-tiering=",
        "BucketInventoryConfiguration" => "/bucket?id=x&inventory=",
        "ListBucketInventoryConfigurations" => "/bucket?inventory=",
        "BucketLifecycleConfiguration" | "BucketLifecycle" => "/bucket?lifecycle=",
        "BucketLogging" => "/bucket?logging=",
        "BucketMetricsConfiguration" => "/bucket?id=x&metrics=",
        "ListBucketMetricsConfigurations" => "/bucket?metrics=",
        "BucketMetadataConfiguration" | "CreateBucketMetadataConfiguration" => "/bucket?metadataConfiguration=",
        "BucketMetadataTableConfiguration" | "CreateBucketMetadataTableConfiguration" => "/bucket?metadataTable=",
        "BucketNotificationConfiguration" => "/bucket?notification=",
        "BucketOwnershipControls" => "/bucket?ownershipControls=",
        "BucketPolicy" => "/bucket?policy=",
        "BucketPolicyStatus" => "/bucket?policyStatus=",
        "PublicAccessBlock" => "/bucket?publicAccessBlock=",
        "BucketReplication" => "/bucket?replication=",
        "BucketRequestPayment" => "/bucket?requestPayment=",
        "BucketTagging" => "/bucket?tagging=",
        "BucketVersioning" => "/bucket?versioning=",
        "BucketWebsite" => "/bucket?website=",
        "ObjectLockConfiguration" => "/bucket?object-lock=",
        _ => return None,
    };
    let method = match operation {
        _ if operation.starts_with("Put") => "PUT",
        _ if operation.starts_with("Delete") => "DELETE",
        _ if operation.starts_with("Create") => "POST",
        _ => "GET",
    };
    Some((method, target, &[]))
}

fn body(operation: &str) -> &'static str {
    match operation {
        "DeleteObjects" => "<Delete><Object><Key>key</Key></Object></Delete>",
        "PutObjectTagging" => "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        _ => "",
    }
}

struct Known(Identities);

#[async_trait::async_trait]
impl IdentitySource for Known {
    async fn newer(&self, known: u64) -> Result<Option<Identities>, RouteError> {
        Ok((self.0.version > known).then(|| self.0.clone()))
    }
}

/// Users in the making: one key and at most one policy each.
#[derive(Default)]
struct Users(Vec<IdentityChange>);

impl Users {
    fn add(&mut self, name: &str, policy: Option<String>, enabled: bool, expires_ms: Option<u64>) {
        let id = format!("AK{name}");
        let sealed = Seal::new(&ClusterSecret::new(""), KEYS).seal(&OsRandom, id.as_bytes(), SECRET.as_bytes());
        let policies: BTreeSet<String> = policy.iter().map(|_| name.to_owned()).collect();
        self.0.extend(policy.map(|text| IdentityChange::Policy(name.to_owned(), Some(text))));
        self.0.push(IdentityChange::User(name.to_owned(), Some(User { enabled: true, policies })));
        let key = AccessKey { user: name.to_owned(), sealed, enabled, expires_ms, created_ms: 0 };
        self.0.push(IdentityChange::Key(id, Some(key)));
    }
}

fn statements(all: &[String]) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, all.join(","))
}

fn statement(effect: &str, required: &Required<'_>, principal: &str) -> String {
    let resource = if required.place.bucket.is_empty() { "*".to_owned() } else { required.place.arn() };
    format!(r#"{{"Effect":"{effect}"{principal},"Action":"{}","Resource":"{resource}"}}"#, required.action)
}

const EVERYTHING: &str = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
const EVERYBODY: &str = r#","Principal":"*""#;

/// One example of one operation, with all that it requires.
struct Case {
    operation: &'static str,
    number: usize,
    example: Example,
    headers: HeaderMap,
    version: Option<String>,
    source_version: bool,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for row in TABLE {
            let examples = examples(row.operation);
            assert!(!examples.is_empty() || row.operation == "PostObject", "{} has no example", row.operation);
            for example in examples {
                let headers = example.2.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                let version = example.1.contains("versionId").then(|| "v1".to_owned());
                let source_version = example.2.iter().any(|(_, value)| value.contains("versionId"));
                let headers = headers.collect();
                let number = cases.len();
                cases.push(Self { operation: row.operation, number, example, headers, version, source_version });
            }
        }
        cases
    }

    fn required(&self) -> Vec<Required<'_>> {
        let key = if self.example.1.starts_with("/bucket/") || self.operation == "DeleteObjects" { "key" } else { "" };
        let bucket = if self.example.1 == "/" { "" } else { "bucket" };
        let place = Place { bucket, key, version: self.version.as_deref() };
        let version = self.source_version.then_some("v1");
        let source = Some(Place { bucket: "bucket", key: "source", version });
        required(self.operation, &Target { place, source, headers: &self.headers }).unwrap()
    }

    fn request(&self, host: &str) -> Request {
        let (method, target, headers) = self.example;
        let request = Request::new(method, target, host).body(body(self.operation));
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

struct Matrix {
    harness: Harness,
    failures: Vec<String>,
}

impl Matrix {
    async fn ask(&self, request: Request, key: Option<(&str, &str, Option<&str>)>) -> Response {
        let mut request = request;
        let signed = key.is_some();
        if let Some((access, secret, token)) = key {
            (request.access_key, request.secret_key) = (access.to_owned(), secret.to_owned());
            if let Some(token) = token {
                request = request.header("x-amz-security-token", token);
            }
        }
        self.harness.send(&if signed { request.sign() } else { request }).await
    }

    async fn expect(&mut self, case: &Case, how: &str, key: Option<(&str, &str, Option<&str>)>, allowed: bool) {
        let response = self.ask(case.request(&self.harness.host()), key).await;
        let refused = response.status == 403 || response.text().contains("AccessDenied");
        if refused == allowed {
            let (method, target, _) = case.example;
            self.failures.push(format!(
                "{} ({method} {target}) {how}: {} {}",
                case.operation,
                response.status,
                response.text()
            ));
        }
    }
}

#[tokio::test]
async fn every_operation_in_every_way() {
    let cases = Case::all();
    let mut users = Users::default();
    users.add("none", None, true, None);
    users.add("disabled", None, false, None);
    users.add("expired", None, true, Some(1));
    for case in &cases {
        let needs = case.required();
        let exact: Vec<String> = needs.iter().map(|need| statement("Allow", need, "")).collect();
        users.add(&format!("can{}", case.number), Some(statements(&exact)), true, None);
        for (index, need) in needs.iter().enumerate() {
            let but = [EVERYTHING.to_owned(), statement("Deny", need, "")];
            users.add(&format!("but{}x{index}", case.number), Some(statements(&but)), true, None);
        }
    }
    users.0.push(IdentityChange::Policy("everything".into(), Some(statements(&[EVERYTHING.to_owned()]))));
    let role = Role {
        trust: r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#.to_owned(),
        policies: ["everything".to_owned()].into(),
        session_max_s: 3600,
    };
    users.0.push(IdentityChange::Role("role".into(), Some(role)));
    let known = Identities { version: 1, ..Identities::default().change(users.0).unwrap() };
    let seams = Seams::real();
    let root = RootKey::new(ACCESS_KEY, Secret::new(SECRET_KEY)).unwrap();
    let keyring = Keyring::new(root, &ClusterSecret::new(""), seams.clock.clone(), Some(Arc::new(Known(known))));
    let keyring = Arc::new(keyring);
    keyring.refresh().await;
    let config = GatewayConfig { keyring: Some(keyring.clone()), ..config(Limits::default()) };
    let harness = Harness::with(config).await;
    // Whoever may not list gets a 403 for what is not there.
    harness.fake.put("key", "bytes");
    let mut matrix = Matrix { harness, failures: Vec::new() };
    let session = |policy: Option<String>| -> SessionKey {
        let claims = Claims { role: "role".into(), session: "s".into(), policy, expires_ms: u64::MAX };
        keyring.sessions().issue(&OsRandom, &claims)
    };

    for case in &cases {
        let needs = case.required();
        let can = format!("AKcan{}", case.number);
        matrix.expect(case, "by the root key", Some((ACCESS_KEY, SECRET_KEY, None)), true).await;
        matrix.expect(case, "by nobody", None, false).await;
        matrix.expect(case, "without a policy", Some(("AKnone", SECRET, None)), false).await;
        matrix.expect(case, "with what it requires", Some((&can, SECRET, None)), true).await;
        for (index, need) in needs.iter().enumerate() {
            let but = format!("AKbut{}x{index}", case.number);
            matrix.expect(case, &format!("with all but {}", need.action), Some((&but, SECRET, None)), false).await;
        }
        for (key, code) in [
            ("AKdisabled", "InvalidAccessKeyId"),
            ("AKexpired", "InvalidAccessKeyId"),
            ("AKnobody", "InvalidAccessKeyId"),
        ] {
            let response = matrix.ask(case.request(&matrix.harness.host()), Some((key, SECRET, None))).await;
            assert_eq!(response.status, 403, "{} {key}", case.operation);
            assert!(response.code() == code || case.example.0 == "HEAD", "{} {key}", response.text());
        }
        let wrong = Some((can.as_str(), "another secret", None));
        matrix.expect(case, "with a wrong secret", wrong, false).await;

        let whole = session(None);
        let limited = session(Some(statements(&[statement("Allow", &needs[0], "").replace("s3:", "s3:No")])));
        let exact: Vec<String> = needs.iter().map(|need| statement("Allow", need, "")).collect();
        let exact = session(Some(statements(&exact)));
        for (how, key, allowed) in [
            ("in a session", &whole, true),
            ("in a session without it", &limited, false),
            ("in a session with just it", &exact, true),
        ] {
            let key = Some((key.access_key.as_str(), key.secret.expose(), Some(key.token.as_str())));
            matrix.expect(case, how, key, allowed).await;
        }
        let tokenless = Some((whole.access_key.as_str(), whole.secret.expose(), None));
        matrix.expect(case, "in a session without its token", tokenless, false).await;

        // Nobody's permission to list or make buckets comes from a bucket.
        if matches!(case.operation, "ListBuckets" | "CreateBucket") {
            continue;
        }
        for effect in ["Allow", "Deny"] {
            let all: Vec<String> = needs.iter().map(|need| statement(effect, need, EVERYBODY)).collect();
            let policy = statements(&all);
            crate::policy::Policy::bucket(&policy, "bucket").unwrap_or_else(|error| panic!("{policy}: {error}"));
            matrix.harness.fake.configure(|bucket| {
                bucket.configuration.documents.insert(Document::Policy, policy);
            });
            let allows = effect == "Allow";
            matrix.expect(case, &format!("by nobody, the bucket: {effect}"), None, allows).await;
            matrix
                .expect(case, &format!("by a user, the bucket: {effect}"), Some(("AKnone", SECRET, None)), allows)
                .await;
            matrix.expect(case, &format!("allowed, the bucket: {effect}"), Some((&can, SECRET, None)), allows).await;
        }
        matrix.harness.fake.configure(|bucket| bucket.configuration.documents.clear());
    }
    assert!(matrix.failures.is_empty(), "{} failures:\n{}", matrix.failures.len(), matrix.failures.join("\n"));
    matrix.harness.gateway.stop().await;
}
