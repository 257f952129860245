//! `holdfast import`: what another S3 has is here afterwards, once, whole, and with all that was said of it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::xml;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::rng::Rng;
use http::Method;
use serde_json::Value;
use tokio::process::Command;

type Test = Result<(), Failure>;

const BUCKET: &str = "archive";
const MIB: usize = 1 << 20;

fn must(holds: bool, what: impl Into<String>) -> Test {
    if holds { Ok(()) } else { Err(Failure::new(what)) }
}

fn client(cluster: &Cluster) -> Raw {
    Raw::new(cluster.gateways()[0].clone(), cluster.keys().clone(), Duration::from_secs(30))
}

async fn done(client: &mut Raw, call: Call) -> Result<Reply, Failure> {
    let reply = client.call(call).await?;
    must(reply.status.is_success(), format!("{}: {}", reply.status, reply.text()))?;
    Ok(reply)
}

/// Runs the import and gives its exit code and its report.
async fn import(from: &Cluster, to: &Cluster, more: &[&str]) -> Result<(Option<i32>, Value, String), Failure> {
    let output = Command::new(to.binary())
        .args(["import", "--from", &from.endpoint(0), "--to", &to.endpoint(0), "-o", "json"])
        .args(more)
        .env_clear()
        .envs([("AWS_ACCESS_KEY_ID", &from.keys().access), ("AWS_SECRET_ACCESS_KEY", &from.keys().secret)])
        .envs([("HOLDFAST_ROOT_ACCESS_KEY", &to.keys().access), ("HOLDFAST_ROOT_SECRET_KEY", &to.keys().secret)])
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout);
    Ok((output.status.code(), report.map_err(|error| Failure::new(format!("{error}: {said}")))?, said))
}

/// Runs the import, which must succeed, and gives what it counted of the bucket: copied, same, kept.
async fn counted(from: &Cluster, to: &Cluster, more: &[&str]) -> Result<(u64, u64, u64), Failure> {
    let (code, report, said) = import(from, to, more).await?;
    must(code == Some(0), format!("{code:?}: {report}; {said}"))?;
    let count = |what: &str| report["buckets"][BUCKET][what].as_u64().unwrap_or(u64::MAX);
    must(count("failed") == 0 && count("gone") == 0, report.to_string())?;
    Ok((count("copied"), count("same"), count("kept")))
}

async fn put(client: &mut Raw, key: &str, body: impl Into<Bytes>) -> Test {
    done(client, Call::object(Method::PUT, BUCKET, key).body(body)).await.map(drop)
}

/// In parts of these lengths.
async fn put_in_parts(client: &mut Raw, key: &str, rng: &mut Rng, lengths: &[usize]) -> Test {
    let begin = Call::object(Method::POST, BUCKET, key).query("uploads", "").header("x-amz-meta-of", "parts");
    let upload = xml::text(&done(client, begin).await?.text(), "UploadId").unwrap_or_default();
    let mut parts = String::new();
    for (at, length) in lengths.iter().enumerate() {
        let body = rng.bytes(*length);
        let part = Call::object(Method::PUT, BUCKET, key).query("partNumber", at + 1).query("uploadId", &upload);
        let reply = done(client, part.body(body)).await?;
        let etag = reply.header("etag").unwrap_or_default();
        parts += &format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", at + 1);
    }
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    done(client, Call::object(Method::POST, BUCKET, key).query("uploadId", &upload).body(body)).await.map(drop)
}

/// What the headers say of an object, and its bytes.
async fn seen(client: &mut Raw, key: &str) -> Result<(BTreeMap<&'static str, String>, Bytes), Failure> {
    let reply = done(client, Call::object(Method::GET, BUCKET, key)).await?;
    let names = [
        "etag",
        "content-type",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-disposition",
        "expires",
        "x-amz-meta-owner",
        "x-amz-meta-of",
        "x-amz-tagging-count",
        "x-amz-storage-class",
    ];
    let headers = names.into_iter().filter_map(|name| Some((name, reply.header(name)?.to_owned()))).collect();
    Ok((headers, reply.body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_s3_moves_here_and_may_go_on_meanwhile() {
    on_cluster(Options { nodes: 1, ..Options::default() }, async |to: &mut Cluster| -> Test {
        let env = vec![("HOLDFAST_CUSTOMER_KEYS_OVER".to_owned(), "any".to_owned())];
        let from = to.beside(Options { nodes: 1, env, ..Options::default() }).await?;
        let (mut there, mut here) = (client(&from), client(to));
        let mut rng = Rng::new(7);
        done(&mut there, Call::bucket(Method::PUT, BUCKET)).await?;
        let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        done(&mut there, Call::bucket(Method::PUT, BUCKET).query("versioning", "").body(enabled)).await?;
        let described = Call::object(Method::PUT, BUCKET, "a dir/ünïcode +&%.txt")
            .header("content-type", "text/x-log; charset=utf-8")
            .header("cache-control", "max-age=7")
            .header("content-encoding", "gzip")
            .header("content-language", "de")
            .header("content-disposition", "attachment; filename=\"x\"")
            .header("expires", "Thu, 01 Dec 2033 16:00:00 GMT")
            .header("x-amz-meta-owner", "ann")
            .header("x-amz-tagging", "team=a%2Bb%3Dc%2Fd&empty=")
            .header("x-amz-storage-class", "STANDARD_IA");
        done(&mut there, described.body("some bytes")).await?;
        put(&mut there, "empty", "").await?;
        put(&mut there, "overwritten", "one").await?;
        put(&mut there, "overwritten", "two").await?;
        for at in 0..1_010 {
            put(&mut there, &format!("many/{at:04}"), format!("body {at}")).await?;
        }
        put_in_parts(&mut there, "parts", &mut rng, &[5 * MIB, 6 * MIB, 17]).await?;
        put_in_parts(&mut there, "one part", &mut rng, &[3]).await?;
        let all = 1_015;

        let (_, report, _) = import(&from, to, &["--dry-run"]).await?;
        let bucket = &report["buckets"][BUCKET];
        must(bucket["copied"] == all && bucket["made"] == true && report["dry_run"] == true, report.to_string())?;
        let nothing = here.call(Call::bucket(Method::GET, BUCKET)).await?;
        must(nothing.status == 404, "a dry run makes nothing")?;

        let some = counted(&from, to, &["--prefix", "many/00", BUCKET]).await?;
        must(some == (100, 0, 0), format!("{some:?}"))?;
        let rest = counted(&from, to, &[]).await?;
        must(rest == (all - 100, 100, 0), format!("{rest:?}"))?;
        for key in ["a dir/ünïcode +&%.txt", "empty", "overwritten", "many/0007", "many/1009", "parts", "one part"] {
            let (one, other) = (seen(&mut there, key).await?, seen(&mut here, key).await?);
            must(one == other, format!("{key}: {:?} there, {:?} here", one.0, other.0))?;
        }
        let tags = Call::object(Method::GET, BUCKET, "a dir/ünïcode +&%.txt").query("tagging", "");
        must(done(&mut here, tags).await?.text().contains("<Value>a+b=c/d</Value>"), "its tags")?;
        let versioning = done(&mut here, Call::bucket(Method::GET, BUCKET).query("versioning", "")).await?;
        must(versioning.text().contains("Enabled"), versioning.text())?;

        // Clients go on there, and some have moved: what they wrote here stays.
        put(&mut there, "empty", "no more").await?;
        put(&mut here, "many/0001", "written here").await?;
        let again = counted(&from, to, &[]).await?;
        must(again == (1, all - 2, 1), format!("{again:?}"))?;
        must(seen(&mut here, "empty").await?.1 == "no more", "what changed there is taken over")?;
        must(seen(&mut here, "many/0001").await?.1 == "written here", "what changed here is not")?;

        let replaced = counted(&from, to, &["--overwrite"]).await?;
        must(replaced == (1, all - 1, 0), format!("{replaced:?}"))?;

        // What cannot be brought is named, and costs nothing but itself.
        let secret = Call::object(Method::PUT, BUCKET, "locked away")
            .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
            .header("x-amz-server-side-encryption-customer-key", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
            .header("x-amz-server-side-encryption-customer-key-md5", "UhbdzFjo2t5SVgded/ZC2g==");
        let sealed = there.call(secret.body("x")).await?;
        must(sealed.status.is_success(), sealed.text())?;
        put(&mut there, "yet another", "x").await?;
        let (code, report, said) = import(&from, to, &[]).await?;
        must(code == Some(1) && said.contains("1 objects were not copied"), format!("{code:?} {said}"))?;
        must(report["failures"][0]["key"] == "locked away", report.to_string())?;
        must(report["buckets"][BUCKET]["copied"] == 1, report.to_string())?;
        must(seen(&mut here, "yet another").await?.1 == "x", "the others come")
    })
    .await;
}
