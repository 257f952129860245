//! Form uploads, and what is said of objects besides their bytes, through the real S3 port of three nodes: fields of forms,
//! `x-amz-expiration`, renames under a client's token, and conditions on the tags of old versions.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::sign::Keys;
use holdfast_tests::client::{form, plain, xml};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::wait;
use http::{Method, Response};
use md5::{Digest, Md5};

type Test = Result<(), Failure>;

const BUCKET: &str = "bucket";

fn must(holds: bool, what: impl Into<String>) -> Test {
    if holds { Ok(()) } else { Err(Failure::new(what)) }
}

async fn call(cluster: &Cluster, keys: &Keys, call: Call) -> Result<Reply, Failure> {
    let mut raw = Raw::new(cluster.gateways()[cluster.len() - 1].clone(), keys.clone(), Duration::from_secs(20));
    Ok(raw.call(call).await?)
}

/// The same, which must succeed.
async fn done(cluster: &Cluster, asked: Call) -> Result<Reply, Failure> {
    let reply = call(cluster, cluster.keys(), asked).await?;
    must(reply.status.is_success(), reply.text())?;
    Ok(reply)
}

fn get(key: &str) -> Call {
    Call::object(Method::GET, BUCKET, key)
}

fn put(key: &str) -> Call {
    Call::object(Method::PUT, BUCKET, key).body("bytes")
}

fn sub(method: Method, what: &str, body: &str) -> Call {
    Call::bucket(method, BUCKET).query(what, "").body(body.to_owned())
}

/// Posts a form to the bucket.
async fn post(
    cluster: &Cluster,
    keys: Option<&Keys>,
    fields: &[(&str, &str)],
    file: &str,
) -> Result<Response<String>, Failure> {
    Ok(form::post(&cluster.gateways()[0], BUCKET, keys, fields, file).await?)
}

/// Holds an answer to a form to its status, and to what its document says.
fn is(answer: &Response<String>, status: u16, code: &str) -> Test {
    let good = answer.status().as_u16() == status && answer.body().contains(code);
    must(good, format!("{}, not {status} {code}: {}", answer.status(), answer.body()))
}

fn header<'a>(answer: &'a Response<String>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_say_all_that_headers_say() {
    let ring = format!("now:{}", STANDARD.encode([7; 32]));
    let env = vec![
        ("HOLDFAST_CUSTOMER_KEYS_OVER".to_owned(), "any".to_owned()),
        ("HOLDFAST_ENCRYPTION_KEYS".to_owned(), ring),
        ("HOLDFAST_DEFAULT_OBJECT_OWNERSHIP".to_owned(), "ObjectWriter".to_owned()),
    ];
    on_cluster(Options { shards: 1, env, ..Options::default() }, async |cluster| -> Test {
        done(cluster, Call::bucket(Method::PUT, BUCKET)).await?;
        let keys = cluster.keys().clone();
        let root = Some(&keys);

        let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1 + 2</Value></Tag></TagSet></Tagging>";
        let fields = [
            ("key", "up/${filename}"),
            ("tagging", tags),
            ("acl", "public-read"),
            ("x-amz-meta-colour", "green"),
            ("success_action_status", "201"),
        ];
        let answer = post(cluster, root, &fields, "hello").await?;
        is(&answer, 201, "<Key>up/f</Key>")?;
        let got = done(cluster, get("up/f")).await?;
        must(got.text() == "hello" && got.header("x-amz-meta-colour") == Some("green"), got.text())?;
        let tagging = done(cluster, get("up/f").query("tagging", "")).await?.text();
        must(tagging.contains("<Key>a</Key><Value>1 + 2</Value>"), tagging)?;
        let open = plain::get(&cluster.gateways()[2], "/bucket/up/f", None).await?;
        must(open.0 == 200, "acl=public-read lets everybody read it")?;

        // Encryption, checksums, and where the browser is sent.
        let sealed =
            [("key", "sealed"), ("x-amz-server-side-encryption", "AES256"), ("redirect", "https://there/?a=b")];
        let answer = post(cluster, root, &sealed, "secret").await?;
        is(&answer, 303, "")?;
        let place = header(&answer, "location").unwrap_or_default();
        must(place.starts_with("https://there/?a=b&bucket=bucket&key=sealed&etag=%22"), place)?;
        must(header(&answer, "x-amz-server-side-encryption") == Some("AES256"), "how it is encrypted is told")?;
        must(done(cluster, get("sealed")).await?.header("x-amz-server-side-encryption") == Some("AES256"), "and kept")?;
        let (key, md5) = (STANDARD.encode([9; 32]), "OMJ7MXYqh9vWfdd7CRuywQ==");
        let customers = [
            ("key", "theirs"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption-customer-key", &*key),
            ("x-amz-server-side-encryption-customer-key-md5", md5),
        ];
        let answer = post(cluster, root, &customers, "theirs").await?;
        is(&answer, 400, "InvalidArgument")?;
        let md5 = STANDARD.encode(Md5::digest([9; 32]));
        let customers = customers.map(|(name, value)| (name, if name.ends_with("md5") { &*md5 } else { value }));
        let answer = post(cluster, root, &customers, "theirs").await?;
        is(&answer, 204, "")?;
        must(call(cluster, &keys, get("theirs")).await?.status == 400, "it cannot be read without the key")?;
        let crc = [("key", "summed"), ("x-amz-checksum-crc32", "NhCmhg==")];
        let answer = post(cluster, root, &crc, "hello").await?;
        must(header(&answer, "x-amz-checksum-crc32") == Some("NhCmhg=="), "told back")?;
        is(&post(cluster, root, &crc, "hullo").await?, 400, "BadDigest")?;
        must(done(cluster, get("summed")).await?.text() == "hello", "the second was not stored")?;

        // What cannot be meant counts as not said.
        let odd = [("key", "odd"), ("success_action_status", "999"), ("success_action_redirect", "nowhere")];
        is(&post(cluster, root, &odd, "odd").await?, 204, "")?;

        // Without a policy a field is just said; nobody is let in who may not write.
        let answer = post(cluster, None, &[("key", "anonymous")], "x").await?;
        is(&answer, 403, "AccessDenied")?;
        done(cluster, sub(Method::PUT, "acl", "").header("x-amz-acl", "public-read-write")).await?;
        // Another gateway was told: this one hears of it within seconds.
        wait::until("the bucket's list", Duration::from_secs(10), || async {
            let answer = post(cluster, None, &[("key", "anonymous"), ("acl", "public-read")], "x").await;
            is(&answer.map_err(|failure| failure.to_string())?, 204, "").map_err(|failure| failure.to_string())
        })
        .await?;
        // No list grants anybody to tag.
        let answer = post(cluster, None, &[("key", "anonymous"), ("tagging", tags)], "x").await?;
        is(&answer, 403, "AccessDenied")?;
        let answer = post(cluster, None, &[("key", "anonymous"), ("success_action_status", "204")], "x").await?;
        is(&answer, 204, "")?;

        for (fields, file, status, code) in [
            (&[("acl", "private")][..], "x", 400, "InvalidArgument"),
            (&[("key", "k"), ("tagging", "<Tagging>")][..], "x", 400, "MalformedXML"),
            (&[("key", "k"), ("acl", "nonsense")][..], "x", 400, "InvalidArgument"),
            (&[("key", "k"), ("x-amz-storage-class", "NONE")][..], "x", 400, "InvalidStorageClass"),
        ] {
            is(&post(cluster, root, fields, file).await?, status, code)?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_and_uploads_tell_when_they_expire_and_renames_bear_repetition() {
    on_cluster(Options { shards: 1, ..Options::default() }, async |cluster| -> Test {
        done(cluster, Call::bucket(Method::PUT, BUCKET)).await?;
        let rule = |filter: &str, days: u32, id: &str| {
            format!("<Rule><ID>{id}</ID><Filter>{filter}</Filter><Status>Enabled</Status><Expiration><Days>{days}</Days></Expiration></Rule>")
        };
        let large = "<And><Prefix>x/</Prefix><ObjectSizeGreaterThan>6</ObjectSizeGreaterThan></And>";
        let rules = rule("<Tag><Key>t</Key><Value>v</Value></Tag>", 3, "tagged") + &rule(large, 2, "large");
        let rules = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
        done(cluster, sub(Method::PUT, "lifecycle", &rules)).await?;
        let told = |reply: &Reply, id: &str| {
            let text = reply.header("x-amz-expiration").unwrap_or_default().to_owned();
            must(text.contains(&format!("rule-id=\"{id}\"")), format!("{id}: {text:?} {}", reply.text()))
        };

        told(&done(cluster, put("k").header("x-amz-tagging", "t=v")).await?, "tagged")?;
        let source = format!("/{BUCKET}/k");
        let copy = |key: &str| Call::object(Method::PUT, BUCKET, key).header("x-amz-copy-source", &source);
        told(&done(cluster, copy("copy")).await?, "tagged")?;
        let bare = done(cluster, copy("bare").header("x-amz-tagging-directive", "REPLACE")).await?;
        must(bare.header("x-amz-expiration").is_none(), "nothing is said of what stays")?;

        let begun = done(cluster, Call::object(Method::POST, BUCKET, "x/parts").query("uploads", "")).await?.text();
        let upload = xml::text(&begun, "UploadId").ok_or_else(|| Failure::new(begun))?;
        let part = put("x/parts").query("partNumber", 1).query("uploadId", &upload).body("seven b");
        let tag = done(cluster, part).await?.header("etag").unwrap_or_default().to_owned();
        let complete = format!("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>");
        let finish = Call::object(Method::POST, BUCKET, "x/parts").query("uploadId", &upload).body(complete);
        told(&done(cluster, finish).await?, "large")?;

        // The same rename under the same token is one rename.
        let rename = |from: &str, to: &str, token: &str| {
            let call = Call::object(Method::PUT, BUCKET, to).query("renameObject", "");
            call.header("x-amz-rename-source", format!("/{BUCKET}/{from}")).header("x-amz-client-token", token)
        };
        done(cluster, put("x/old")).await?;
        done(cluster, rename("x/old", "x/new", "one")).await?;
        done(cluster, rename("x/old", "x/new", "one")).await?;
        must(done(cluster, get("x/new")).await?.text() == "bytes", "it is there")?;
        let again = call(cluster, cluster.keys(), rename("x/old", "x/new", "two")).await?;
        must(again.status == 404, again.text())?;
        done(cluster, put("x/old").body("newer")).await?;
        done(cluster, rename("x/old", "x/new", "one")).await?;
        must(done(cluster, get("x/new")).await?.text() == "bytes", "the old token moves nothing new")?;
        must(done(cluster, get("x/old")).await?.text() == "newer", "nothing was moved")?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_of_the_version_that_is_asked_for_decide() {
    on_cluster(Options { nodes: 1, shards: 1, ..Options::default() }, async |cluster| -> Test {
        done(cluster, Call::bucket(Method::PUT, BUCKET)).await?;
        let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        done(cluster, sub(Method::PUT, "versioning", on)).await?;
        let version = |reply: Reply| reply.header("x-amz-version-id").unwrap_or_default().to_owned();
        let open = version(done(cluster, put("k").header("x-amz-tagging", "class=open")).await?);
        let secret = version(done(cluster, put("k").header("x-amz-tagging", "class=secret")).await?);
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
            "Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::bucket/*",
            "Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"open"}}}]}"#;
        done(cluster, Call::bucket(Method::DELETE, BUCKET).query("publicAccessBlock", "")).await?;
        done(cluster, sub(Method::PUT, "policy", policy)).await?;
        let status = async |query: String| -> Result<u16, Failure> {
            Ok(plain::get(&cluster.gateways()[0], &format!("/{BUCKET}/k{query}"), None).await?.0.as_u16())
        };
        wait::until("the policy", Duration::from_secs(10), || async {
            match status(format!("?versionId={open}")).await {
                Ok(200) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        must(status(format!("?versionId={secret}")).await? == 403, "the newest version is secret")?;
        must(status(String::new()).await? == 403, "and it is the current one")?;
        // Its tags change, and with them who may read it; the other one stays as it is.
        let tagging = |class: &str| {
            format!("<Tagging><TagSet><Tag><Key>class</Key><Value>{class}</Value></Tag></TagSet></Tagging>")
        };
        let retag = |id: &str, class: &str| {
            Call::object(Method::PUT, BUCKET, "k").query("tagging", "").query("versionId", id).body(tagging(class))
        };
        done(cluster, retag(&open, "secret")).await?;
        done(cluster, retag(&secret, "open")).await?;
        must(status(format!("?versionId={open}")).await? == 403, "the old version is secret now")?;
        must(status(format!("?versionId={secret}")).await? == 200, "the newest is open")?;
        must(status(String::new()).await? == 200, "so is the current one")?;
        Ok(())
    })
    .await;
}
