//! Operations through s3s, as HTTP, against a replica in memory.

mod forms;
mod lists;
mod operations;
mod sse;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::object::ChecksumAlgorithm;
use holdfast_wire::seam::Seams;
use holdfast_wire::service::Service;
use holdfast_wire::transport::Target;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use s3s::service::{S3Service as Protocol, S3ServiceBuilder};
use tokio_util::task::TaskTracker;

use super::replica::{OWNER, Replica};
use super::{ResponseDocument, ResponseStatus, S3Config, S3Service};
use crate::checksum::{encode, of};
use crate::membership::{Dial, Membership};
use crate::router::{Router, RouterOptions};
use crate::seal::KeyRing;

const MIB: usize = 1 << 20;
/// Of a form that only Amazon S3 gives out.
const AMAZONS_VERSION: &str = "3sL4kqtJlcpXroDTDmJ.rmSpXd3_IbrH";

impl Dial for Replica {
    fn dial(&self, _: Target) -> Arc<dyn Service> {
        Arc::new(self.clone())
    }
}

struct Gateway {
    protocol: Protocol,
    replica: Replica,
    tasks: TaskTracker,
}

struct Reply {
    status: StatusCode,
    /// What the server makes of it.
    chosen: Option<StatusCode>,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The text of the first element of this name.
    fn element(&self, name: &str) -> String {
        let text = self.text();
        let inner = text.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
        inner.map(|(inner, _)| inner.replace("&quot;", "\"")).unwrap_or_default()
    }
}

impl Gateway {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut S3Config)) -> Self {
        let replica = Replica::default();
        let seams = Seams::real();
        let local: Arc<dyn Service> = Arc::new(replica.clone());
        let membership = Membership::start_with(Arc::new(replica.clone()), Some(local), Vec::new(), seams.clone());
        let router = Router::new(membership, seams.clone(), RouterOptions::default());
        let mut config = S3Config::new(OWNER.to_owned());
        let ring = KeyRing::parse(&format!("test:{}", KeyRing::draw_key(seams.random.as_ref()))).unwrap();
        config.keys = Some(Arc::new(ring));
        config.customer_keys_over_http = true;
        change(&mut config);
        let s3 = S3Service::new(router, seams.random, config);
        let tasks = s3.tasks().clone();
        Self { protocol: S3ServiceBuilder::new(s3).build(), replica, tasks }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let body = body.into();
        let mut request = Request::builder().method(method).uri(path).header("host", "s3.test");
        if !body.is_empty() || method == "PUT" || method == "POST" {
            request = request.header("content-length", body.len());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(s3s::Body::from(body)).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), self.protocol.call(request)).await.unwrap().unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let chosen = parts.extensions.get().map(|ResponseStatus(status)| *status);
        let body = parts.extensions.get().map_or(body, |ResponseDocument(document)| document.clone());
        Reply { status: parts.status, chosen, headers: parts.headers, body }
    }

    async fn put(&self, key: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.send("PUT", &format!("/bucket/{key}"), headers, body).await
    }

    /// How many blobs wait for their commit when everything that goes on behind clients' backs is done.
    async fn uncommitted(&self) -> usize {
        self.tasks.close();
        self.tasks.wait().await;
        self.replica.0.lock().blobs.len()
    }

    async fn get(&self, key: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", &format!("/bucket/{key}"), headers, "").await
    }
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

fn md5(bytes: &[u8]) -> String {
    hex::encode(of(ChecksumAlgorithm::Md5, bytes))
}

#[tokio::test]
async fn objects_come_back_with_all_that_was_set() {
    let gateway = Gateway::start().await;
    let headers = [
        ("content-type", "text/x"),
        ("content-encoding", "aws-chunked,gzip"),
        ("cache-control", "no-cache"),
        ("x-amz-meta-empty", ""),
        ("x-amz-meta-a", "1"),
        ("x-amz-tagging", "k=v"),
        ("x-holdfast-ack", "majority"),
    ];
    for len in [0, 1, 64 << 10, (64 << 10) + 1, 3 * MIB] {
        let body = pattern(len);
        let put = gateway.put("d/k", &headers, body.clone()).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text());
        assert_eq!(put.header("etag"), format!("\"{}\"", md5(&body)));
        assert_eq!(put.header("x-holdfast-ack"), "majority");
        assert_eq!(put.header("x-amz-checksum-crc64nvme"), encode(&of(ChecksumAlgorithm::Crc64Nvme, &body)));
        let got = gateway.get("d/k", &[("x-amz-checksum-mode", "ENABLED")]).await;
        assert_eq!((got.status, &got.body), (StatusCode::OK, &body));
        assert_eq!(got.header("etag"), put.header("etag"));
        assert_eq!(got.header("content-length"), len.to_string());
        assert_eq!(got.header("content-type"), "text/x");
        assert_eq!(got.header("content-encoding"), "gzip");
        assert_eq!(got.headers["x-amz-meta-empty"], "");
        assert_eq!(got.header("x-amz-tagging-count"), "1");
        assert_eq!(got.header("x-amz-checksum-crc64nvme"), put.header("x-amz-checksum-crc64nvme"));
        assert!(got.header("x-holdfast-seq").contains('-'));
        assert!(gateway.replica.0.lock().blobs.is_empty());
    }
    let head = gateway.send("HEAD", "/bucket/d/k?response-content-type=a/b", &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "3145728"));
    assert_eq!(head.header("content-type"), "a/b");
    assert_eq!(gateway.get("d/k?tagging", &[]).await.element("Value"), "v");
}

#[tokio::test]
async fn ranges_and_conditions() {
    let gateway = Gateway::start().await;
    let put = gateway.put("k", &[], "holdfast").await;
    let etag = put.header("etag").to_owned();
    let got = gateway.get("k", &[("range", "bytes=4-"), ("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!((got.status, got.text().as_str()), (StatusCode::PARTIAL_CONTENT, "fast"));
    assert_eq!(got.header("content-range"), "bytes 4-7/8");
    assert_eq!(got.header("x-amz-checksum-crc64nvme"), "");
    let head = gateway.send("HEAD", "/bucket/k", &[("range", "bytes=4-")], "").await;
    assert_eq!((head.header("content-length"), head.chosen), ("4", Some(StatusCode::PARTIAL_CONTENT)));
    let beyond = gateway.get("k", &[("range", "bytes=8-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), "bytes */8");
    assert_eq!(beyond.element("Code"), "InvalidRange");
    assert_eq!(gateway.get("k", &[("if-none-match", &etag)]).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(gateway.get("k", &[("if-match", "\"x\"")]).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(gateway.get("other", &[("if-match", "\"x\"")]).await.element("Code"), "NoSuchKey");
    let created = gateway.put("k", &[("if-none-match", "*")], "new").await;
    assert_eq!(created.element("Code"), "PreconditionFailed");
    assert_eq!(gateway.put("other", &[("if-match", &etag)], "new").await.element("Code"), "NoSuchKey");
    assert_eq!(gateway.put("k", &[("if-match", &etag)], "new").await.status, StatusCode::OK);
    assert_eq!(gateway.get("k?partNumber=1", &[]).await.text(), "new");
    assert_eq!(gateway.get("k?partNumber=2", &[]).await.element("Code"), "InvalidPart");
    assert_eq!(gateway.get(&format!("k?versionId={AMAZONS_VERSION}"), &[]).await.element("Code"), "NoSuchVersion");
    assert_eq!(gateway.get("k?versionId=null", &[]).await.text(), "new");
    assert_eq!(gateway.get("k", &[("x-holdfast-read", "stale")]).await.element("Code"), "InvalidArgument");
}

#[tokio::test]
async fn bodies_that_do_not_hold_are_refused_and_nothing_is_stored() {
    let gateway = Gateway::start().await;
    for len in [10, 2 * MIB] {
        for (headers, code) in [
            (("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), "BadDigest"),
            (("content-md5", "AAAA"), "InvalidDigest"),
            (("x-amz-checksum-crc32", "AAAAAA=="), "BadDigest"),
            (("x-amz-checksum-sha256", "AAAA"), "InvalidRequest"),
            (("x-amz-trailer", "x-amz-checksum-crc32"), "MalformedTrailerError"),
            (("x-amz-acl", "public-read"), "AccessControlListNotSupported"),
            (("x-amz-storage-class", "COLD"), "InvalidStorageClass"),
        ] {
            let put = gateway.put("k", &[headers], pattern(len)).await;
            assert_eq!(put.element("Code"), code, "{headers:?} {}", put.text());
            assert_eq!(gateway.get("k", &[]).await.status, StatusCode::NOT_FOUND);
            assert_eq!(gateway.uncommitted().await, 0);
        }
        let refused = gateway.put("k", &[("if-match", "\"x\"")], pattern(len)).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
        assert_eq!(gateway.uncommitted().await, 0, "a blob that was not committed is reclaimed");
    }
}

#[tokio::test(start_paused = true)]
async fn no_client_waits_until_what_it_uploaded_in_vain_is_reclaimed() {
    let gateway = Gateway::start().await;
    gateway.replica.0.lock().keeps_blobs = true;
    let began = tokio::time::Instant::now();
    let digest = ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
    for (header, code) in [(digest, "BadDigest"), (("if-match", "\"x\""), "NoSuchKey")] {
        let put = gateway.put("k", &[header], pattern(2 * MIB)).await;
        assert_eq!(put.element("Code"), code, "{}", put.text());
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // This replica takes a blob with the write that names it, refused or not.
    assert_eq!(gateway.uncommitted().await, 1, "the collector's");
}

#[tokio::test]
async fn listings() {
    let gateway = Gateway::start().await;
    for key in ["a%2B1", "b/1", "b/2", "c%20d/1", "e", "f"] {
        assert_eq!(gateway.put(key, &[], "x").await.status, StatusCode::OK);
    }
    let list = async |query: &str| gateway.send("GET", &format!("/bucket?{query}"), &[], "").await.text();
    let page = list("list-type=2&delimiter=/&encoding-type=url").await;
    for part in ["<Key>a%2B1</Key>", "<Prefix>b/</Prefix>", "<Prefix>c%20d/</Prefix>", "<KeyCount>5</KeyCount>"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let page = gateway.send("GET", "/bucket?delimiter=/&max-keys=2", &[], "").await;
    assert_eq!(page.element("NextMarker"), "b/");
    let page = gateway.send("GET", "/bucket?delimiter=/&max-keys=2&marker=b/", &[], "").await;
    assert_eq!(page.element("NextMarker"), "e");
    assert!(!page.text().contains("<Prefix>b/</Prefix>"));
    let mut token = String::new();
    let mut keys = 0;
    loop {
        let query = format!("/bucket?list-type=2&max-keys=1&delimiter=/&continuation-token={token}");
        let page = gateway.send("GET", &query, &[], "").await;
        keys += 1;
        token = page.element("NextContinuationToken");
        if page.element("IsTruncated") == "false" {
            break;
        }
    }
    assert_eq!(keys, 5);
    assert!(list("list-type=2&continuation-token=forged").await.contains("InvalidArgument"));
    let none = list("list-type=2&max-keys=0").await;
    assert!(none.contains("<IsTruncated>false</IsTruncated>") && none.contains("<KeyCount>0</KeyCount>"));
    assert!(list("versions").await.contains("<VersionId>null</VersionId>"));
    assert!(list("max-keys=-1").await.contains("InvalidArgument"));
    gateway.put("%01", &[], "x").await;
    assert!(list("list-type=2").await.contains("InvalidArgument"));
    assert!(list("list-type=2&encoding-type=url").await.contains("<Key>%01</Key>"));
}

#[tokio::test]
async fn deletes() {
    let gateway = Gateway::start().await;
    for key in ["a", "b", "c", "d"] {
        gateway.put(key, &[], "x").await;
    }
    let delete = async |path: &str, headers: &[(&str, &str)]| gateway.send("DELETE", path, headers, "").await;
    assert_eq!(delete("/bucket/a", &[("if-match", "\"no\"")]).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(delete("/bucket/a", &[("x-amz-if-match-size", "1")]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete("/bucket/a", &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete("/bucket/a", &[("if-match", "*")]).await.status, StatusCode::NOT_FOUND);
    let amazons = format!("/bucket/b?versionId={AMAZONS_VERSION}");
    assert_eq!(delete(&amazons, &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(gateway.get("b", &[]).await.status, StatusCode::OK);
    let many = |inner: &str| format!("<Delete>{inner}</Delete>");
    let object = |inner: &str| format!("<Object>{inner}</Object>");
    let body = many(&[object("<Key>b</Key>"), object("<Key>c</Key><Size>9</Size>"), object("<Key>z</Key>")].concat());
    let answer = gateway.send("POST", "/bucket?delete", &[], body).await.text();
    assert!(answer.contains("<Deleted><Key>b</Key>") && answer.contains("<Deleted><Key>z</Key>"), "{answer}");
    assert!(answer.contains("<Error><Code>PreconditionFailed</Code><Key>c</Key>"), "{answer}");
    let quiet = many(&["<Quiet>true</Quiet>".to_owned(), object("<Key>d</Key>")].concat());
    assert!(!gateway.send("POST", "/bucket?delete", &[], quiet).await.text().contains("Deleted"));
    let cdata = gateway.send("POST", "/bucket?delete", &[], many(&object("<Key><![CDATA[c]]></Key>"))).await;
    assert_eq!(cdata.element("Code"), "MalformedXML");
    let most = many(&object("<Key>c</Key>").repeat(1001));
    assert_eq!(gateway.send("POST", "/bucket?delete", &[], most).await.element("Code"), "MalformedXML");
    assert_eq!(gateway.get("c", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn copies_within_and_across_shards() {
    let gateway = Gateway::start().await;
    let body = pattern(2 * MIB);
    let put = gateway.put("s/a+b", &[("content-type", "text/x"), ("x-amz-meta-a", "1")], body.clone()).await;
    // Enough root directories for both shards to be among them.
    for target in ["s/copy", "t1/copy", "t2/copy", "t3/copy", "t4/copy"] {
        let copy = gateway.put(target, &[("x-amz-copy-source", "bucket/s/a%2Bb")], "").await;
        assert_eq!(copy.status, StatusCode::OK, "{}", copy.text());
        assert_eq!(copy.element("ETag"), put.header("etag"));
        let got = gateway.get(target, &[]).await;
        assert_eq!(
            (got.body.len(), got.header("content-type"), got.header("x-amz-meta-a")),
            (body.len(), "text/x", "1")
        );
        assert_eq!(got.body, body);
    }
    let itself = [("x-amz-copy-source", "bucket/s/a%2Bb")];
    assert_eq!(gateway.put("s/a+b", &itself, "").await.element("Code"), "InvalidRequest");
    let replace = [itself[0], ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")];
    assert_eq!(gateway.put("s/a+b", &replace, "").await.status, StatusCode::OK);
    let got = gateway.get("s/a+b", &[]).await;
    assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-b")), ("", "2"));
    let algorithm = [itself[0], ("x-amz-checksum-algorithm", "SHA256")];
    let copy = gateway.put("s/sha", &algorithm, "").await;
    assert_eq!(copy.element("ChecksumSHA256"), encode(&of(ChecksumAlgorithm::Sha256, &body)));
    let unless = [itself[0], ("x-amz-copy-source-if-none-match", put.header("etag"))];
    assert_eq!(gateway.put("s/x", &unless, "").await.element("Code"), "PreconditionFailed");
    let missing = [("x-amz-copy-source", "bucket/no/such")];
    assert_eq!(gateway.put("s/x", &missing, "").await.element("Code"), "NoSuchKey");
}

#[tokio::test]
async fn multipart_uploads() {
    let gateway = Gateway::start().await;
    let (one, two) = (pattern(5 * MIB), pattern(1000));
    let whole = [one.clone(), two.clone()].concat();
    let crc = |bytes: &[u8]| encode(&of(ChecksumAlgorithm::Crc32, bytes));
    let create = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT"), ("x-amz-meta-a", "1")];
    let created = gateway.send("POST", "/bucket/m/k?uploads", &create, "").await;
    let id = created.element("UploadId");
    assert_eq!(id.len(), 32, "{}", created.text());
    let part = async |number: u16, headers: &[(&str, &str)], body: Bytes| {
        gateway.put(&format!("m/k?partNumber={number}&uploadId={id}"), headers, body).await
    };
    let first = part(1, &[], one.clone()).await;
    assert_eq!(first.header("x-amz-checksum-crc32"), crc(&one), "computed with the upload's algorithm");
    let second = part(2, &[("x-amz-checksum-crc32", &crc(&two))], two.clone()).await;
    assert_eq!(second.status, StatusCode::OK, "{}", second.text());
    let other = [("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")];
    assert_eq!(part(3, &other, two.clone()).await.element("Code"), "InvalidRequest");
    assert_eq!(part(0, &[], two.clone()).await.element("Code"), "InvalidArgument");
    gateway.put("src", &[], whole.clone()).await;
    let range = [("x-amz-copy-source", "bucket/src"), ("x-amz-copy-source-range", "bytes=5-9")];
    let copied = part(3, &range, Bytes::new()).await;
    assert_eq!(copied.element("ETag"), format!("\"{}\"", md5(&whole[5..10])), "{}", copied.text());
    let beyond = [range[0], ("x-amz-copy-source-range", "bytes=5-99999999")];
    assert_eq!(part(3, &beyond, Bytes::new()).await.element("Code"), "InvalidRange");

    let listed = gateway.get(&format!("m/k?uploadId={id}&max-parts=2"), &[]).await;
    assert_eq!((listed.element("NextPartNumberMarker"), listed.element("IsTruncated")), ("2".into(), "true".into()));
    assert!(gateway.send("GET", "/bucket?uploads", &[], "").await.text().contains(&id));

    let named = |number: u16, etag: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    let complete = async |parts: String, headers: &[(&str, &str)]| {
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        gateway.send("POST", &format!("/bucket/m/k?uploadId={id}"), headers, body).await
    };
    let (a, b) = (named(1, first.header("etag")), named(2, second.header("etag")));
    assert_eq!(complete(format!("{b}{a}"), &[]).await.element("Code"), "InvalidPartOrder");
    assert_eq!(complete(format!("{a}{}", named(2, "\"no\"")), &[]).await.element("Code"), "InvalidPart");
    let wrong = [("x-amz-checksum-crc32", "AAAAAA==")];
    assert_eq!(complete(format!("{a}{b}"), &wrong).await.element("Code"), "BadDigest");
    let right = [("x-amz-checksum-crc32", &*crc(&whole)), ("x-amz-mp-object-size", &*whole.len().to_string())];
    let done = complete(format!("{a}{b}"), &right).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    assert!(done.element("ETag").ends_with("-2\""), "{}", done.text());
    assert_eq!((done.element("ChecksumCRC32"), done.element("ChecksumType")), (crc(&whole), "FULL_OBJECT".into()));

    let got = gateway.get("m/k", &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!((got.body.len(), got.header("x-amz-meta-a")), (whole.len(), "1"));
    assert_eq!(got.header("x-amz-checksum-crc32"), crc(&whole));
    let got = gateway.get("m/k?partNumber=2", &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!((got.status, got.header("x-amz-mp-parts-count")), (StatusCode::PARTIAL_CONTENT, "2"));
    assert_eq!((&got.body, got.header("x-amz-checksum-crc32")), (&two, &*crc(&two)));
    let attributes = [("x-amz-object-attributes", "ObjectParts,Checksum")];
    let attributes = gateway.get("m/k?attributes", &attributes).await;
    assert_eq!(attributes.element("PartsCount"), "2", "{}", attributes.text());

    let gone = gateway.send("DELETE", &format!("/bucket/m/k?uploadId={id}"), &[], "").await;
    assert_eq!(gone.element("Code"), "NoSuchUpload");
    assert_eq!(gateway.put("m/k?partNumber=1&uploadId=garbage", &[], "x").await.element("Code"), "NoSuchUpload");
}

#[tokio::test]
async fn buckets_answer_truthfully() {
    let gateway = Gateway::start().await;
    let get = async |path: &str| gateway.send("GET", path, &[], "").await;
    assert_eq!(gateway.send("HEAD", "/bucket", &[], "").await.header("x-amz-bucket-region"), "us-east-1");
    assert_eq!(gateway.send("HEAD", "/other", &[], "").await.status, StatusCode::NOT_FOUND);
    let stranger = [("x-amz-expected-bucket-owner", "stranger")];
    assert_eq!(gateway.send("HEAD", "/bucket", &stranger, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(gateway.get("k", &stranger).await.element("Code"), "AccessDenied");
    for (query, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("tagging", "NoSuchTagSet"),
    ] {
        let answer = get(&format!("/bucket?{query}")).await;
        assert_eq!((answer.status, answer.element("Code").as_str()), (StatusCode::NOT_FOUND, code));
    }
    assert!(!get("/bucket?versioning").await.text().contains("Status"));
    assert_eq!(get("/bucket?acl").await.element("Permission"), "FULL_CONTROL");
    let tag = |name: &str, value: &str| {
        format!("<Tagging><TagSet><Tag><Key>{name}</Key><Value>{value}</Value></Tag></TagSet></Tagging>")
    };
    let put = async |body: String| gateway.send("PUT", "/bucket?tagging", &[], body).await;
    assert_eq!(put(tag("holdfast.ack", "most")).await.element("Code"), "InvalidTag");
    assert!(put(tag("holdfast.ack", "all")).await.status.is_success());
    assert_eq!(get("/bucket?tagging").await.element("Value"), "all");
    let payment = "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>";
    assert_eq!(gateway.send("PUT", "/bucket?requestPayment", &[], payment).await.status, StatusCode::NOT_IMPLEMENTED);
}
