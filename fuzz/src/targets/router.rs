//! Method, host, path, query and headers: what the guard lets through is to s3s the operation, the bucket and the key that
//! a plain reading finds, and nothing with a sub-resource is a plain operation.

use std::sync::Arc;

use arbitrary::Unstructured;
use holdfast_gateway::guard::host::Domains;
use holdfast_gateway::guard::table::Operation;
use holdfast_gateway::guard::{self, Inspected};
use holdfast_gateway::limits::Limits;
use parking_lot::Mutex;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Error, S3ErrorCode, S3Result};

use super::{one, wait, word};
use crate::second::http::decoded;
use crate::stand::DOMAIN;

const METHODS: [&str; 9] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"];
const HOSTS: [&str; 8] =
    ["s3.test", "b.s3.test", "b.s3.test:9000", "B.S3.TEST", "stand", "127.0.0.1:9000", "s3.test.", "a.b.s3.test"];
const NAMES: [&str; 60] = [
    "acl",
    "tagging",
    "policy",
    "versioning",
    "versions",
    "uploads",
    "uploadId",
    "partNumber",
    "delete",
    "lifecycle",
    "cors",
    "list-type",
    "prefix",
    "delimiter",
    "marker",
    "versionId",
    "x-id",
    "location",
    "website",
    "encryption",
    "object-lock",
    "retention",
    "legal-hold",
    "restore",
    "select",
    "select-type",
    "attributes",
    "torrent",
    "append",
    "events",
    "notification",
    "replication",
    "logging",
    "accelerate",
    "requestPayment",
    "analytics",
    "inventory",
    "metrics",
    "intelligent-tiering",
    "ownershipControls",
    "publicAccessBlock",
    "policyStatus",
    "metadataTable",
    "metadataConfiguration",
    "session",
    "abac",
    "renameObject",
    "annotation",
    "annotationName",
    "id",
    "max-keys",
    "continuation-token",
    "start-after",
    "encoding-type",
    "response-content-type",
    "X-Amz-Expires",
    "nonsense",
    "metadataInventoryTable",
    "max-parts",
    "bucket-region",
];
const HEADERS: [(&str, &str); 6] = [
    ("x-amz-copy-source", "/b/k"),
    ("content-type", "multipart/form-data; boundary=x"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("x-amz-rename-source", "/b/k"),
    ("content-length", "0"),
    ("x-amz-tagging", "a=b"),
];

/// What s3s took a request for.
type Seen = (String, Option<String>, Option<String>);

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Option<Seen>>>);

impl S3 for Recorder {}

#[async_trait::async_trait]
impl S3Auth for Recorder {
    async fn get_secret_key(&self, _: &str) -> S3Result<SecretKey> {
        Err(S3Error::new(S3ErrorCode::InvalidAccessKeyId))
    }
}

#[async_trait::async_trait]
impl S3Access for Recorder {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.to_string()), None),
            S3Path::Object { bucket, key } => (Some(bucket.to_string()), Some(key.to_string())),
        };
        *self.0.lock() = Some((cx.s3_op().name().to_owned(), bucket, key));
        Err(S3Error::new(S3ErrorCode::AccessDenied))
    }
}

/// s3s as the gateway sets it up, but for what comes behind the choice of an operation.
fn protocol(recorder: &Recorder, domains: &Domains) -> S3Service {
    let mut rules = S3Config::default();
    rules.enable_sig_v2 = false;
    rules.operation_id_routing = false;
    let mut builder = S3ServiceBuilder::new(recorder.clone());
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(rules))));
    builder.set_host(domains.clone());
    builder.set_auth(recorder.clone());
    builder.set_access(recorder.clone());
    builder.build()
}

fn request(u: &mut Unstructured<'_>) -> arbitrary::Result<Option<http::Request<()>>> {
    let method = *one(u, &METHODS)?;
    let host = *one(u, &HOSTS)?;
    let path = match u.int_in_range(0..=9)? {
        0 => "/".to_owned(),
        1..=2 => "/b".to_owned(),
        3..=5 => "/b/k".to_owned(),
        6 => format!(
            "/{}",
            one(u, &["b/", "b%2Fk", "%2F", "b//", "b/%2e%2e/c", "b%2f", "%62/k", "b/k%00", ".b/k", "b?"])?
        ),
        _ => format!("/{}", word(u, 12, " ?#\"<>\\^`{|}")?),
    };
    let mut target = path;
    let mut joint = if target.contains('?') { '&' } else { '?' };
    for _ in 0..u.int_in_range(0..=3)? {
        let mut name = (*one(u, &NAMES)?).to_owned();
        match u.int_in_range(0..=9)? {
            0 => name = name.chars().map(|c| format!("%{:02x}", c as u32)).collect(),
            1 => name = name.to_uppercase(),
            2 => name = word(u, 8, " &#\"<>\\^`{|}")?,
            _ => {}
        }
        target.push(joint);
        target += &name;
        if u.arbitrary()? {
            target += &format!("={}", one(u, &["", "1", "2", "x", "a%26acl", "+"])?);
        }
        joint = '&';
    }
    let mut request = http::Request::builder().method(method).uri(&target).header("host", host);
    for _ in 0..u.int_in_range(0..=2)? {
        let (name, value) = *one(u, &HEADERS)?;
        request = request.header(name, value);
    }
    Ok(request.body(()).ok())
}

/// Bucket and key as a plain reading has them.
fn named(host: &str, path: &str) -> (Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(&decoded(path)).into_owned();
    let rest = text.strip_prefix('/').unwrap_or(&text).to_owned();
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let name = host.split(':').next().unwrap_or(host).to_ascii_lowercase();
    match name.strip_suffix(&format!(".{DOMAIN}")) {
        Some(_) => (Some(host[..name.len() - DOMAIN.len() - 1].to_owned()), filled(&rest)),
        None => match rest.split_once('/') {
            Some((bucket, key)) => (filled(bucket), filled(key)),
            None => (filled(&rest), None),
        },
    }
}

/// Whether s3s may call what the guard calls `ours` so.
fn same(ours: Operation, theirs: &str) -> bool {
    use Operation as Op;
    const PLAIN: [&str; 12] = [
        "CreateBucket",
        "DeleteBucket",
        "HeadBucket",
        "ListObjects",
        "ListObjectsV2",
        "PutObject",
        "GetObject",
        "HeadObject",
        "DeleteObject",
        "CopyObject",
        "DeleteObjects",
        "PostObject",
    ];
    let verbs: &[&str] = match ours {
        Op::GetBucketConfiguration | Op::GetObjectConfiguration => &["Get", "List", "CreateSession"],
        Op::PutBucketConfiguration | Op::PutObjectConfiguration => &["Put", "Create", "Update", "Rename"],
        Op::DeleteBucketConfiguration | Op::DeleteObjectConfiguration => &["Delete"],
        ours => return ours.name() == theirs,
    };
    !PLAIN.contains(&theirs) && verbs.iter().any(|verb| theirs.starts_with(verb))
}

/// The target.
pub fn run(data: &[u8]) {
    let Ok(Some(request)) = request(&mut Unstructured::new(data)) else { return };
    thread_local!(static SERVICE: (Recorder, Domains, S3Service) = {
        let domains = Domains::new(&[DOMAIN.to_owned()]).expect("a sound domain");
        let recorder = Recorder::default();
        let service = protocol(&recorder, &domains);
        (recorder, domains, service)
    });
    SERVICE.with(|(recorder, domains, service)| {
        let (parts, ()) = request.into_parts();
        let Ok(Inspected { operation, .. }) = guard::inspect(&parts, domains, &Limits::default()) else { return };
        let bucket = guard::bucket(&parts, domains);
        let shown = format!("{} {} {:?}", parts.method, parts.uri, parts.headers);
        let host = parts.headers["host"].to_str().expect("it was made so").to_owned();
        let plain = named(&host, parts.uri.path());
        *recorder.0.lock() = None;
        // What it answers does not matter: it refuses everything.
        let _ = wait(service.call(http::Request::from_parts(parts, s3s::Body::empty())));
        let Some((theirs, their_bucket, their_key)) = recorder.0.lock().take() else { return };
        assert!(same(operation, &theirs), "{} is to s3s {theirs}: {shown}", operation.name());
        assert_eq!((their_bucket.clone(), their_key), plain, "{shown}");
        assert_eq!(bucket, their_bucket, "{shown}");
    });
}
