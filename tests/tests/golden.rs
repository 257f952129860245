//! Data directories of every format that was released, kept as they were: the present program opens each and reads
//! everything back, byte by byte.
//!
//! `tests/golden/FORMAT/data.tar.gz` is the directory of a single node, `expected.json` all that its owner read from it
//! when it was made. `make golden` makes the ones of the present format.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use holdfast_replica::node::format::FORMAT;
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::xml;
use holdfast_tests::cluster::{Cluster, Options, binary};
use holdfast_tests::failure::Failure;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

type Test = Result<(), Failure>;

/// What the secrets in a directory are sealed with.
const KEYS: &str = "golden:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
const BUCKETS: [&str; 3] = ["golden-plain", "golden-versions", "golden-locked"];
const OPEN_UPLOAD: &str = "open/upload";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// One node, not started.
async fn node() -> Result<Cluster, Failure> {
    let env = vec![("HOLDFAST_ENCRYPTION_KEYS".to_owned(), KEYS.to_owned())];
    Ok(Cluster::lay_out(Options { nodes: 1, shards: 2, env, ..Options::default() }).await?)
}

fn client(cluster: &Cluster) -> Raw {
    Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(30))
}

async fn start(cluster: &mut Cluster) -> Test {
    cluster.node(0).start()?;
    Ok(cluster.ready().await?)
}

async fn stop(cluster: &mut Cluster) -> Test {
    let ended = cluster.node(0).terminate(Duration::from_secs(30)).await?;
    if ended.success() { Ok(()) } else { Err(Failure::new(cluster.node(0).log_tail(20))) }
}

fn tar(args: &[&str], dir: &Path) -> Test {
    let done = Command::new("tar").args(args).current_dir(dir).output()?;
    if done.status.success() { Ok(()) } else { Err(Failure::new(String::from_utf8_lossy(&done.stderr))) }
}

async fn done(s3: &mut Raw, call: Call) -> Result<Reply, Failure> {
    let what = format!("{} {} {:?}", call.method, call.path, call.query);
    let reply = s3.call(call).await?;
    if reply.status.is_success() {
        Ok(reply)
    } else {
        Err(Failure::new(format!("{what}: {} {}", reply.status, reply.text())))
    }
}

/// Compressible, and different for every seed.
fn body(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| seed.wrapping_add((at / 4096) as u8)).collect()
}

/// One of everything that is kept.
async fn fill(cluster: &Cluster) -> Test {
    let mut s3 = client(cluster);
    let [plain, versions, locked] = BUCKETS;
    done(&mut s3, Call::bucket(Method::PUT, plain)).await?;
    done(&mut s3, Call::bucket(Method::PUT, versions)).await?;
    done(&mut s3, Call::bucket(Method::PUT, locked).header("x-amz-bucket-object-lock-enabled", "true")).await?;
    let settings = |bucket, name, text: &str| Call::bucket(Method::PUT, bucket).query(name, "").body(text.to_owned());
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    done(&mut s3, settings(versions, "versioning", enabled)).await?;
    let lifecycle = "<LifecycleConfiguration><Rule><ID>r</ID><Filter><Prefix>tmp/</Prefix></Filter>\
                     <Status>Enabled</Status><Expiration><Days>3000</Days></Expiration></Rule></LifecycleConfiguration>";
    done(&mut s3, settings(plain, "lifecycle", lifecycle)).await?;
    let tags = "<Tagging><TagSet><Tag><Key>team</Key><Value>storage</Value></Tag></TagSet></Tagging>";
    done(&mut s3, settings(plain, "tagging", tags)).await?;
    let cors = "<CORSConfiguration><CORSRule><AllowedOrigin>https://a.example</AllowedOrigin>\
                <AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";
    done(&mut s3, settings(plain, "cors", cors)).await?;
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
        "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{plain}/secret/*"),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]});
    done(&mut s3, settings(plain, "policy", &policy.to_string())).await?;

    let put = |bucket, key: &str, seed, len| Call::object(Method::PUT, bucket, key).body(body(seed, len));
    let small = put(plain, "d1/small ünïcode", 1, 1000).header("content-type", "text/x-golden");
    done(&mut s3, small.header("x-amz-meta-colour", "gold").header("x-amz-tagging", "a=b")).await?;
    done(&mut s3, put(plain, "d2/empty", 0, 0)).await?;
    done(&mut s3, put(plain, "d2/large", 2, 300_000).header("x-amz-checksum-algorithm", "SHA256")).await?;
    done(&mut s3, put(plain, "tmp/goes-one-day", 3, 10)).await?;
    for (key, len) in [("d3/sealed", 500), ("d4/sealed-large", 200_000)] {
        done(&mut s3, put(plain, key, 4, len).header("x-amz-server-side-encryption", "AES256")).await?;
    }
    // A multipart upload, complete, and one that stays open.
    for (key, parts) in [("d5/multipart", 2), (OPEN_UPLOAD, 1)] {
        let begun = done(&mut s3, Call::object(Method::POST, plain, key).query("uploads", "")).await?;
        let id = xml::text(&begun.text(), "UploadId").unwrap_or_default();
        let mut list = String::new();
        for number in 1..=parts {
            let part = put(plain, key, 10 + number as u8, 5 << 20).query("partNumber", number).query("uploadId", &id);
            let etag = done(&mut s3, part).await?.header("etag").unwrap_or_default().to_owned();
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        if key != OPEN_UPLOAD {
            let text = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
            done(&mut s3, Call::object(Method::POST, plain, key).query("uploadId", &id).body(text)).await?;
        }
    }
    for seed in 20..23 {
        done(&mut s3, put(versions, "v/replaced", seed, 2000 * usize::from(seed - 19))).await?;
    }
    done(&mut s3, put(versions, "v/deleted", 30, 100)).await?;
    done(&mut s3, Call::object(Method::DELETE, versions, "v/deleted")).await?;
    let kept = put(locked, "kept", 40, 100).header("x-amz-object-lock-mode", "GOVERNANCE");
    done(&mut s3, kept.header("x-amz-object-lock-retain-until-date", "2040-01-01T00:00:00Z")).await?;
    done(&mut s3, put(locked, "held", 41, 100).header("x-amz-object-lock-legal-hold", "ON")).await?;

    let file = cluster.dir().join("team.json");
    let allow =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]});
    std::fs::write(&file, allow.to_string())?;
    let file = file.display().to_string();
    for command in [
        &["policy", "set", "team", &file][..],
        &["user", "set", "ann", "--policies", "team"],
        &["key", "create", "ann"],
    ] {
        let (code, said) = cluster.holdfast(0, command).await?;
        if code != Some(0) {
            return Err(Failure::new(format!("{command:?}: {said}")));
        }
    }
    Ok(())
}

/// Everything that can be read, but for what changes by being read.
async fn read(cluster: &Cluster) -> Result<Value, Failure> {
    const HEADERS: [&str; 12] = [
        "etag",
        "content-type",
        "content-length",
        "last-modified",
        "x-amz-meta-colour",
        "x-amz-tagging-count",
        "x-amz-version-id",
        "x-amz-server-side-encryption",
        "x-amz-checksum-sha256",
        "x-amz-object-lock-mode",
        "x-amz-object-lock-retain-until-date",
        "x-amz-object-lock-legal-hold",
    ];
    let mut s3 = client(cluster);
    let mut found = BTreeMap::new();
    for bucket in BUCKETS {
        let listing = done(&mut s3, Call::bucket(Method::GET, bucket).query("versions", "")).await?.text();
        for element in ["Version", "DeleteMarker"] {
            let of = ["Key", "VersionId", "IsLatest", "LastModified", "ETag", "Size", "StorageClass"];
            found.insert(format!("{bucket} {element}"), facts(&listing, element, &of));
        }
        for name in ["versioning", "lifecycle", "tagging", "cors", "policy", "object-lock"] {
            let reply = s3.call(Call::bucket(Method::GET, bucket).query(name, "")).await?;
            // An error's document names the request.
            let text = if reply.status.is_success() { reply.text() } else { reply.status.to_string() };
            found.insert(format!("{bucket}?{name}"), json!(text));
        }
        for entry in xml::elements(&listing, "Version") {
            let key = xml::text(entry, "Key").unwrap_or_default();
            let id = xml::text(entry, "VersionId").unwrap_or_default();
            let get = Call::object(Method::GET, bucket, &key).query("versionId", &id);
            let reply = s3.call(get.header("x-amz-checksum-mode", "ENABLED")).await?;
            let headers: BTreeMap<_, _> =
                HEADERS.iter().filter_map(|name| Some((*name, reply.header(name)?.to_owned()))).collect();
            let hash = hex::encode(Sha256::digest(&reply.body));
            let entry = json!({"status": reply.status.as_u16(), "headers": headers, "sha256": hash});
            found.insert(format!("{bucket}/{key}?{id}"), entry);
        }
    }
    let uploads = done(&mut s3, Call::bucket(Method::GET, BUCKETS[0]).query("uploads", "")).await?.text();
    found.insert("uploads".to_owned(), facts(&uploads, "Upload", &["Key", "UploadId", "Initiated"]));
    let upload = xml::text(&uploads, "UploadId").unwrap_or_default();
    let parts = Call::object(Method::GET, BUCKETS[0], OPEN_UPLOAD).query("uploadId", upload);
    let parts = done(&mut s3, parts).await?.text();
    found.insert("parts".to_owned(), facts(&parts, "Part", &["PartNumber", "LastModified", "ETag", "Size"]));
    for command in [&["user", "list"][..], &["key", "list"], &["policy", "list"]] {
        let (code, said) = cluster.holdfast(0, &[command, &["-o", "json"]].concat()).await?;
        assert_eq!(code, Some(0), "{said}");
        found.insert(command.join(" "), serde_json::from_str(&said)?);
    }
    Ok(json!(found))
}

/// Some elements of each of the elements of a name, in order. What else may come to stand beside them is nothing to us.
fn facts(text: &str, element: &str, names: &[&str]) -> Value {
    let one = |entry: &&str| names.iter().map(|name| json!(xml::text(entry, name))).collect::<Vec<_>>();
    json!(xml::elements(text, element).iter().map(one).collect::<Vec<_>>())
}

/// Whether everything expected is there; objects may have got more fields.
fn holds(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(name, value)| found.get(name).is_some_and(|now| holds(value, now)))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(was, is)| holds(was, is))
        }
        (was, is) => was == is,
    }
}

fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let expected = expected.as_object().unwrap_or(&empty);
    let differ = expected.iter().filter(|(name, was)| !holds(was, &found[*name]));
    differ.map(|(name, was)| format!("{name}:\n  was {was}\n  is  {}", found[name])).collect()
}

async fn opens(format: u32, program: &Path) -> Test {
    let mut cluster = node().await?;
    let dir = golden().join(format.to_string());
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("expected.json"))?)?;
    let archive = dir.join("data.tar.gz").display().to_string();
    tar(&["-xzf", &archive], cluster.dir())?;
    let data = cluster.node(0).data.display().to_string();
    let (code, said) = cluster.holdfast(0, &["verify", "--data", &data]).await?;
    assert_eq!(code, Some(0), "format {format}: {said}");
    cluster.node(0).becomes(program);
    start(&mut cluster).await?;
    let differ = differences(&expected, &read(&cluster).await?);
    assert!(differ.is_empty(), "format {format} is not read as it was:\n{}", differ.join("\n"));
    // It is a directory to work on, and what is written to it stays beside the old.
    let more = Call::object(Method::PUT, BUCKETS[1], "more").body("more");
    done(&mut client(&cluster), more).await?;
    stop(&mut cluster).await?;
    start(&mut cluster).await?;
    let mut s3 = client(&cluster);
    assert_eq!(done(&mut s3, Call::object(Method::GET, BUCKETS[1], "more")).await?.body, "more");
    done(&mut s3, Call::object(Method::DELETE, BUCKETS[1], "v/replaced")).await?;
    let gone = s3.call(Call::object(Method::GET, BUCKETS[1], "v/replaced")).await?;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    stop(&mut cluster).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_released_directory_is_opened_and_read() {
    let present = binary::find().expect("a program");
    let later = binary::later(&present).expect("a program of the next release");
    for format in 1..=FORMAT {
        for program in [&present, &later] {
            if let Err(failure) = opens(format, program).await {
                panic!("format {format}, {}: {failure}", program.display());
            }
        }
    }
}

/// `make golden`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it makes the directory of the present format anew"]
async fn make() {
    let make = async || -> Test {
        let mut cluster = node().await?;
        start(&mut cluster).await?;
        fill(&cluster).await?;
        // As it comes back from the disk.
        stop(&mut cluster).await?;
        start(&mut cluster).await?;
        let expected = read(&cluster).await?;
        stop(&mut cluster).await?;
        let dir = golden().join(FORMAT.to_string());
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("expected.json"), serde_json::to_string_pretty(&expected)? + "\n")?;
        let archive = dir.join("data.tar.gz").display().to_string();
        tar(&["--sort=name", "--owner=0", "--group=0", "-czSf", &archive, "n1"], cluster.dir())?;
        println!("{archive}: {} bytes", std::fs::metadata(&archive)?.len());
        Ok(())
    };
    if let Err(failure) = make().await {
        panic!("{failure}");
    }
}
