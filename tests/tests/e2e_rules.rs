//! What naive servers get wrong, on three real nodes: one test for each kind of behaviour that public suites demand, with
//! requests of our own where an SDK would not send them. [`s3_rules`](../s3_rules/index.html) says which line is shown where.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::Duration;

use holdfast_tests::client::plain;
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::xml;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use http::Method;

type Test = Result<(), Failure>;

const MIB: usize = 1 << 20;

#[track_caller]
fn must(holds: bool, what: impl Into<String>) -> Test {
    if holds { Ok(()) } else { Err(Failure::new(what)) }
}

/// A bucket of a test's own, and a connection.
struct Stage {
    raw: Raw,
    bucket: String,
}

impl Stage {
    async fn new(cluster: &Cluster, at: usize, bucket: &str) -> Result<Self, Failure> {
        let raw = Raw::new(cluster.gateways()[at].clone(), cluster.keys().clone(), Duration::from_secs(30));
        let mut stage = Self { raw, bucket: bucket.to_owned() };
        let made = stage.ask(Call::bucket(Method::PUT, bucket)).await?;
        must(made.status == 200, made.text())?;
        Ok(stage)
    }

    async fn ask(&mut self, call: Call) -> Result<Reply, Failure> {
        Ok(self.raw.call(call).await?)
    }

    fn list(&self) -> Call {
        Call::bucket(Method::GET, &self.bucket)
    }

    fn object(&self, method: Method, key: &str) -> Call {
        Call::object(method, &self.bucket, key)
    }

    async fn put(&mut self, key: &str, body: impl Into<bytes::Bytes>) -> Result<Reply, Failure> {
        let call = self.object(Method::PUT, key).body(body);
        let put = self.ask(call).await?;
        must(put.status == 200, format!("{key}: {}", put.text()))?;
        Ok(put)
    }

    async fn get(&mut self, key: &str) -> Result<Reply, Failure> {
        let call = self.object(Method::GET, key);
        self.ask(call).await
    }

    async fn begin(&mut self, key: &str, headers: &[(&'static str, &str)]) -> Result<String, Failure> {
        let mut call = self.object(Method::POST, key).query("uploads", "");
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let begun = self.ask(call).await?;
        xml::text(&begun.text(), "UploadId").ok_or_else(|| Failure::new(begun.text()))
    }

    async fn part(&mut self, key: &str, upload: &str, number: u16, body: Vec<u8>) -> Result<Reply, Failure> {
        let call = self.object(Method::PUT, key).query("partNumber", number).query("uploadId", upload);
        self.ask(call.body(body)).await
    }

    async fn complete(&mut self, key: &str, upload: &str, parts: &[(u16, &str)]) -> Result<Reply, Failure> {
        let parts: String = parts
            .iter()
            .map(|(number, tag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"))
            .collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let call = self.object(Method::POST, key).query("uploadId", upload);
        self.ask(call.body(body)).await
    }
}

fn code(reply: &Reply) -> String {
    xml::text(&reply.text(), "Code").unwrap_or_else(|| reply.status.as_u16().to_string())
}

fn etag(reply: &Reply) -> String {
    reply.header("etag").unwrap_or_default().to_owned()
}

async fn listings_page_as_s3(cluster: &Cluster) -> Test {
    let mut stage = Stage::new(cluster, 0, "listing").await?;
    for number in 0..30 {
        stage.put(&format!("dir/{number:02}"), "x").await?;
    }
    for key in ["a", "e", "f g+h", "z"] {
        stage.put(key, "x").await?;
    }
    // A page may end with a common prefix, and going on from it skips all that it stands for.
    let page = stage.list().query("delimiter", "/").query("max-keys", 2);
    let first = stage.ask(page.clone()).await?;
    let (marker, text) = (xml::text(&first.text(), "NextMarker").unwrap_or_default(), first.text());
    must(marker == "dir/" && xml::texts(&text, "Key") == ["a"], text)?;
    let rest = stage.ask(stage.list().query("delimiter", "/").query("marker", &marker)).await?.text();
    must(xml::texts(&rest, "Key") == ["e", "f g+h", "z"] && !rest.contains("<CommonPrefixes>"), rest)?;
    // All of them count once.
    let whole =
        stage.ask(stage.list().query("list-type", 2).query("delimiter", "/").query("max-keys", 5)).await?.text();
    must(whole.contains("<KeyCount>5</KeyCount>") && whole.contains("<IsTruncated>false</IsTruncated>"), whole)?;
    // Nothing asked for is an empty page, not a truncated one.
    let none = stage.ask(stage.list().query("max-keys", 0)).await?.text();
    must(none.contains("<IsTruncated>false</IsTruncated>") && !none.contains("<Contents>"), none)?;
    // An empty token is none, and comes back.
    let empty = stage.ask(stage.list().query("list-type", 2).query("continuation-token", "")).await?;
    must(empty.status == 200 && empty.text().contains("<ContinuationToken"), empty.text())?;
    // What is url-encoded keeps slashes and the delimiter.
    let encoded = stage.ask(stage.list().query("encoding-type", "url").query("delimiter", "/")).await?.text();
    must(encoded.contains("<Key>f+g%2Bh</Key>") || encoded.contains("<Key>f%20g%2Bh</Key>"), encoded.clone())?;
    must(encoded.contains("<Prefix>dir/</Prefix>") && encoded.contains("<Delimiter>/</Delimiter>"), encoded)
}

async fn buckets_are_named_and_owned_as_on_s3(cluster: &Cluster) -> Test {
    let mut stage = Stage::new(cluster, 1, "owned").await?;
    let again = stage.ask(Call::bucket(Method::PUT, "owned")).await?;
    must(again.status == 200, again.text())?;
    let (status, body) = plain::get(&cluster.gateways()[1], "/no-such-bucket-at-all", None).await?;
    must(status == 404 && body.contains("NoSuchBucket"), body)?;
    for name in ["ab", "Upper", "under_score", "dot..dot", "-dash", "192.168.1.1", "xn--name", "name-s3alias"] {
        let made = stage.ask(Call::bucket(Method::PUT, name)).await?;
        must(code(&made) == "InvalidBucketName", format!("{name}: {}", made.text()))?;
    }
    let elsewhere =
        "<CreateBucketConfiguration><LocationConstraint>mars-1</LocationConstraint></CreateBucketConfiguration>";
    let made = stage.ask(Call::bucket(Method::PUT, "elsewhere").body(elsewhere)).await?;
    must(made.status == 400, made.text())
}

async fn objects_keep_what_they_were_given(cluster: &Cluster) -> Test {
    let mut stage = Stage::new(cluster, 2, "objects").await?;
    let put = stage.object(Method::PUT, "k").header("x-amz-meta-empty", "").header("x-amz-meta-full", "1").body("x");
    must(stage.ask(put).await?.status == 200, "put")?;
    let got = stage.get("k").await?;
    must(got.header("x-amz-meta-empty") == Some("") && got.header("x-amz-meta-full") == Some("1"), format!("{got:?}"))?;
    let same = stage.object(Method::PUT, "k").header("x-amz-copy-source", "/objects/k");
    must(code(&stage.ask(same).await?) == "InvalidRequest", "a copy to itself must change something")?;
    // Sources are decoded exactly once, and a version is split off before that.
    stage.put("a%20b", "percent").await?;
    stage.put("a b", "space").await?;
    stage.put("q?versionId=x", "question").await?;
    for (source, bytes) in
        [("/objects/a%2520b", "percent"), ("/objects/a%20b", "space"), ("/objects/q%3FversionId%3Dx", "question")]
    {
        let copy = stage.object(Method::PUT, "to").header("x-amz-copy-source", source);
        let copied = stage.ask(copy).await?;
        must(copied.status == 200, copied.text())?;
        let got = stage.get("to").await?;
        must(got.body == bytes, format!("{source}: {}", got.text()))?;
    }
    let version = stage.object(Method::PUT, "to").header("x-amz-copy-source", "/objects/q?versionId=x");
    must(stage.ask(version).await?.status.is_client_error(), "a version that is none")
}

async fn uploads_in_parts_complete_once(cluster: &Cluster) -> Test {
    let mut stage = Stage::new(cluster, 0, "parts").await?;
    let upload = stage.begin("k", &[]).await?;
    let old = etag(&stage.part("k", &upload, 1, vec![b'0'; 5 * MIB]).await?);
    let first = etag(&stage.part("k", &upload, 1, vec![b'1'; 5 * MIB]).await?);
    let second = etag(&stage.part("k", &upload, 2, b"end".to_vec()).await?);
    must(old != first, "the part was replaced")?;
    let stale = stage.complete("k", &upload, &[(1, &old), (2, &second)]).await?;
    must(code(&stale) == "InvalidPart", stale.text())?;
    let done = stage.complete("k", &upload, &[(1, &first), (2, &second)]).await?;
    let again = stage.complete("k", &upload, &[(1, &first), (2, &second)]).await?;
    let tag = |reply: &Reply| xml::text(&reply.text(), "ETag");
    must(done.status == 200 && tag(&done).is_some() && tag(&done) == tag(&again), again.text())?;
    let checksum = |reply: &Reply| xml::text(&reply.text(), "ChecksumCRC64NVME");
    must(checksum(&done).is_some() && checksum(&done) == checksum(&again), again.text())?;
    let whole = stage.get("k").await?;
    must(whole.body.len() == 5 * MIB + 3 && whole.body[0] == b'1' && whole.body.ends_with(b"end"), "the bytes")?;

    let one = stage.object(Method::HEAD, "k").query("partNumber", 2);
    let head = stage.ask(one).await?;
    must(head.status == 206 && head.header("x-amz-mp-parts-count") == Some("2"), format!("{head:?}"))?;
    must(head.header("content-length") == Some("3"), format!("{head:?}"))?;
    let beyond = stage.object(Method::GET, "k").query("partNumber", 3);
    let beyond = stage.ask(beyond).await?;
    must(code(&beyond) == "InvalidPart", beyond.text())?;

    let upload = stage.begin("small", &[]).await?;
    let one = etag(&stage.part("small", &upload, 1, b"small".to_vec()).await?);
    let two = etag(&stage.part("small", &upload, 2, b"end".to_vec()).await?);
    let small = stage.complete("small", &upload, &[(1, &one), (2, &two)]).await?;
    must(code(&small) == "EntityTooSmall", small.text())?;

    // A part may bring a checksum that nobody announced.
    let upload = stage.begin("sum", &[]).await?;
    let part = stage.object(Method::PUT, "sum").query("partNumber", 1).query("uploadId", &upload);
    let part = stage.ask(part.header("x-amz-checksum-crc32", "NhCmhg==").body("hello")).await?;
    must(part.status == 200, part.text())?;
    let done = stage.complete("sum", &upload, &[(1, &etag(&part))]).await?;
    must(done.status == 200, done.text())
}

async fn conditions_are_judged_when_it_counts(cluster: &Cluster) -> Test {
    let mut stage = Stage::new(cluster, 1, "conditions").await?;
    let missing = stage.object(Method::PUT, "none").header("if-match", "\"x\"").body("x");
    must(code(&stage.ask(missing).await?) == "NoSuchKey", "If-Match of nothing is 404")?;
    // Of writers at once exactly one makes it.
    let racers = (0..6).map(|at| {
        let mut raw = Raw::new(cluster.gateways()[at % 3].clone(), cluster.keys().clone(), Duration::from_secs(30));
        async move {
            let call = Call::object(Method::PUT, "conditions", "once").header("if-none-match", "*");
            raw.call(call.body(format!("writer {at}"))).await
        }
    });
    let answers = futures::future::try_join_all(racers).await?;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    must(won == 1, format!("{won} won"))?;
    let lost = answers.iter().filter(|answer| answer.status != 200);
    must(lost.clone().all(|answer| answer.status == 412 || answer.status == 409), "the others are told why")?;
    // Deletes have conditions, too, one by one and many at once.
    let tag = etag(&stage.put("k", "one").await?);
    let other = stage.object(Method::DELETE, "k").header("if-match", "\"other\"");
    must(code(&stage.ask(other).await?) == "PreconditionFailed", "another tag")?;
    let object = |key: &str, tag: &str| format!("<Object><Key>{key}</Key><ETag>{tag}</ETag></Object>");
    stage.put("l", "two").await?;
    let body = format!("<Delete>{}{}</Delete>", object("k", &tag), object("l", "&quot;other&quot;"));
    let md5 = holdfast_gateway::checksum::encode(&holdfast_gateway::checksum::of(
        holdfast_wire::object::ChecksumAlgorithm::Md5,
        body.as_bytes(),
    ));
    let many = Call::bucket(Method::POST, "conditions").query("delete", "").header("content-md5", md5).body(body);
    let many = stage.ask(many).await?.text();
    must(many.contains("<Deleted><Key>k</Key></Deleted>") && many.contains("PreconditionFailed"), many)?;
    must(stage.get("l").await?.status == 200 && stage.get("k").await?.status == 404, "one of them is gone")?;
    // 404 comes before 412.
    let read = stage.object(Method::GET, "none").header("if-match", "\"x\"");
    must(stage.ask(read).await?.status == 404, "what is not there meets no condition")?;
    // A delete marker counts as nothing.
    let versioned = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let on = stage.ask(Call::bucket(Method::PUT, "conditions").query("versioning", "").body(versioned)).await?;
    must(on.status == 200, on.text())?;
    must(stage.ask(stage.object(Method::DELETE, "l")).await?.status == 204, "covered")?;
    let anew = stage.object(Method::PUT, "l").header("if-none-match", "*").body("anew");
    must(stage.ask(anew).await?.status == 200, "a marker is no object")
}

/// Of two uploads under way at once the one that ends last stays.
async fn the_last_to_finish_wins(cluster: &Cluster) -> Test {
    let mut stage = Stage::new(cluster, 0, "last").await?;
    let (slow, fast) = (stage.begin("k", &[]).await?, stage.begin("k", &[]).await?);
    let late = etag(&stage.part("k", &slow, 1, b"begun first".to_vec()).await?);
    let early = etag(&stage.part("k", &fast, 1, b"begun second".to_vec()).await?);
    must(stage.complete("k", &fast, &[(1, &early)]).await?.status == 200, "the second ends first")?;
    must(stage.complete("k", &slow, &[(1, &late)]).await?.status == 200, "the first ends last")?;
    must(stage.get("k").await?.body == "begun first", "and stays")
}

async fn what_is_not_configured_says_so(cluster: &Cluster) -> Test {
    let mut stage = Stage::new(cluster, 2, "bare").await?;
    for (what, expected) in [
        ("website", "NoSuchWebsiteConfiguration"),
        ("cors", "NoSuchCORSConfiguration"),
        ("policy", "NoSuchBucketPolicy"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("tagging", "NoSuchTagSet"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("logging", "200"),
        ("notification", "200"),
        ("versioning", "200"),
        ("requestPayment", "200"),
        ("accelerate", "200"),
    ] {
        let answer = stage.ask(Call::bucket(Method::GET, "bare").query(what, "")).await?;
        must(code(&answer) == expected, format!("{what}: {}", answer.text()))?;
    }
    let write = Call::bucket(Method::PUT, "bare").query("replication", "").body("<ReplicationConfiguration/>");
    let refused = stage.ask(write).await?;
    must(refused.status == 501 || code(&refused) == "MalformedXML", refused.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_naive_servers_get_wrong() {
    on_cluster(Options { shards: 2, ..Options::default() }, async |cluster| -> Test {
        listings_page_as_s3(cluster).await?;
        buckets_are_named_and_owned_as_on_s3(cluster).await?;
        objects_keep_what_they_were_given(cluster).await?;
        uploads_in_parts_complete_once(cluster).await?;
        conditions_are_judged_when_it_counts(cluster).await?;
        the_last_to_finish_wins(cluster).await?;
        what_is_not_configured_says_so(cluster).await
    })
    .await;
}
