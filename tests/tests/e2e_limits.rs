//! What buckets hold and may hold, over three real nodes and two shards: counters are exact, a quota is filled to the last
//! object and never exceeded, rules are shown and looked ahead, and a provisioned file changes nothing the second time.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::xml;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::wait;
use http::Method;
use serde_json::{Value, json};

type Test = Result<(), Failure>;

const WITHIN: Duration = Duration::from_secs(20);
const KB: usize = 1000;

fn must(holds: bool, what: impl Into<String>) -> Test {
    if holds { Ok(()) } else { Err(Failure::new(what)) }
}

/// Runs a command that must succeed; its JSON.
async fn holdfast(cluster: &Cluster, at: usize, args: &[&str]) -> Result<Value, Failure> {
    let (code, printed) = cluster.holdfast(at, &[args, &["-o", "json"]].concat()).await?;
    must(code == Some(0), format!("{args:?}: {printed}"))?;
    Ok(serde_json::from_str(&printed)?)
}

fn client(cluster: &Cluster, at: usize) -> Raw {
    Raw::new(cluster.gateways()[at].clone(), cluster.keys().clone(), WITHIN)
}

async fn call(cluster: &Cluster, at: usize, call: Call) -> Result<Reply, Failure> {
    Ok(client(cluster, at).call(call).await?)
}

fn code(reply: &Reply) -> String {
    let text = reply.text();
    let inner = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    inner.map_or_else(|| reply.status.as_u16().to_string(), |(code, _)| code.to_owned())
}

fn put(bucket: &str, key: &str, bytes: usize) -> Call {
    Call::object(Method::PUT, bucket, key).body(vec![b'x'; bytes])
}

/// What comes of a write once nobody asks to try again.
async fn settled(raw: &mut Raw, asked: &Call) -> Result<String, Failure> {
    for _ in 0..200 {
        let found = code(&raw.call(asked.clone()).await?);
        if found != "SlowDown" {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Failure::new("it never settled"))
}

async fn until_code(cluster: &Cluster, at: usize, asked: Call, expected: &str) -> Test {
    let probe = || async {
        let reply = call(cluster, at, asked.clone()).await.map_err(|error| error.to_string())?;
        let found = code(&reply);
        if found == expected { Ok(()) } else { Err(format!("{found}, not {expected}")) }
    };
    Ok(wait::until("the answer", WITHIN, probe).await?)
}

async fn usage(cluster: &Cluster, at: usize, bucket: &str) -> Result<Value, Failure> {
    Ok(holdfast(cluster, at, &["bucket", "usage", bucket]).await?[0].clone())
}

fn held(usage: &Value, what: &str) -> u64 {
    usage[what].as_u64().unwrap_or(u64::MAX)
}

async fn counters_are_exact(cluster: &Cluster) -> Test {
    must(call(cluster, 0, Call::bucket(Method::PUT, "full")).await?.status == 200, "made")?;
    must(call(cluster, 0, Call::bucket(Method::PUT, "empty")).await?.status == 200, "made")?;
    for number in 0..20 {
        let made = call(cluster, number % 3, put("full", &format!("dir{number}/k"), KB)).await?;
        must(made.status == 200, made.text())?;
    }
    // Replaced, and removed: what is gone does not count.
    must(call(cluster, 0, put("full", "dir0/k", 7)).await?.status == 200, "replaced")?;
    must(call(cluster, 0, Call::object(Method::DELETE, "full", "dir1/k")).await?.status == 204, "removed")?;
    let begun = call(cluster, 0, Call::object(Method::POST, "full", "u").query("uploads", "")).await?;
    let upload = xml::text(&begun.text(), "UploadId").unwrap_or_default();
    let part = Call::object(Method::PUT, "full", "u").query("partNumber", 1).query("uploadId", &upload);
    must(call(cluster, 0, part.body(vec![b'p'; 500])).await?.status == 200, "a part")?;
    let expected = json!({
        "bucket": "full", "objects": 19, "versions": 0, "bytes": 18 * KB + 7, "uploads": 1, "part_bytes": 500,
        "quota_bytes": null, "quota_objects": null,
    });
    for at in 0..3 {
        let found = usage(cluster, at, "full").await?;
        must(found == expected, format!("{found} at {at}"))?;
    }
    let all = holdfast(cluster, 0, &["bucket", "usage"]).await?;
    must(all.as_array().is_some_and(|all| all.len() == 2) && all[1] == expected, all.to_string())?;
    let mut sum = 0.0;
    for at in 0..3 {
        sum += cluster.metric(at, "holdfast_bucket_bytes").await?.unwrap_or_default();
    }
    must(sum as usize == 18 * KB + 7, format!("metrics say {sum}"))?;
    let (code, printed) = cluster.holdfast(0, &["bucket", "usage", "no-such-bucket"]).await?;
    must(code == Some(1) && printed.contains("there is no bucket"), printed)
}

/// Writers in both shards, through all gateways at once, until each is told that the bucket is full.
async fn a_quota_is_filled_and_never_exceeded(cluster: &Cluster) -> Test {
    let set = holdfast(cluster, 1, &["bucket", "quota", "full", "--bytes", "60kB"]).await?;
    must(set == json!({ "bytes": 60_000, "objects": null }), set.to_string())?;
    let next = AtomicUsize::new(100);
    let writers = (0..6).map(|writer| {
        let next = &next;
        async move {
            let mut raw = client(cluster, writer % 3);
            loop {
                let key = format!("dir{}/k", next.fetch_add(1, Ordering::Relaxed));
                match &settled(&mut raw, &put("full", &key, KB)).await?[..] {
                    "200" => {}
                    "QuotaExceeded" => return Ok(()),
                    other => return Err(Failure::new(format!("{key}: {other}"))),
                }
            }
        }
    });
    futures::future::try_join_all(writers).await?;
    // 18,507 bytes were there: 41 objects of 1,000 fit to the last, wherever they live.
    let found = usage(cluster, 2, "full").await?;
    must(held(&found, "bytes") == 18_007 + 41 * 1000 && held(&found, "objects") == 60, found.to_string())?;
    must(held(&found, "quota_bytes") == 60_000, found.to_string())?;
    let refused = call(cluster, 0, put("full", "dir0/k2", KB)).await?;
    must(refused.status == 403 && code(&refused) == "QuotaExceeded", refused.text())?;

    // What is smaller, or takes the place of something, may still go in; what is removed makes room elsewhere.
    let mut raw = client(cluster, 0);
    must(settled(&mut raw, &put("full", "dir2/k", KB)).await? == "200", "in the place of another")?;
    must(settled(&mut raw, &put("full", "dir0/small", 400)).await? == "200", "what fits")?;
    let large = Call::object(Method::PUT, "full", "dir3/copy").header("x-amz-copy-source", "/full/dir3/k");
    must(settled(&mut raw, &large).await? == "QuotaExceeded", "a copy counts")?;
    must(call(cluster, 0, Call::object(Method::DELETE, "full", "dir4/k")).await?.status == 204, "removed")?;
    until_code(cluster, 1, put("full", "dir5/k2", KB), "200").await?;
    until_code(cluster, 1, put("full", "dir6/k2", KB), "QuotaExceeded").await?;
    let found = usage(cluster, 0, "full").await?;
    must(held(&found, "bytes") + held(&found, "part_bytes") <= 60_000, found.to_string())
}

async fn a_quota_outlives_its_keeper_and_goes(cluster: &mut Cluster) -> Test {
    // More room, handed out by another leader of root.
    let other = (cluster.leader(0, WITHIN).await? + 1) % 3;
    let name = cluster.nodes().nth(other).map(|node| node.name.clone()).unwrap_or_default();
    cluster.transfer(0, &name, 0).await?;
    holdfast(cluster, 0, &["bucket", "quota", "full", "--bytes", "70kB", "--objects", "66"]).await?;
    for number in 0..12 {
        let mut raw = client(cluster, number % 3);
        let found = settled(&mut raw, &put("full", &format!("more{number}/k"), 10)).await?;
        let objects = held(&usage(cluster, 0, "full").await?, "objects");
        must(
            found == if objects < 66 || found == "200" { "200" } else { "QuotaExceeded" },
            format!("{found} {objects}"),
        )?;
    }
    let found = usage(cluster, 0, "full").await?;
    must(held(&found, "objects") == 66, found.to_string())?;
    let gone = holdfast(cluster, 0, &["bucket", "quota", "full", "--bytes", "none", "--objects", "none"]).await?;
    must(gone == json!({ "bytes": null, "objects": null }), gone.to_string())?;
    let mut raw = client(cluster, 1);
    must(settled(&mut raw, &put("full", "free/k", 20 * KB)).await? == "200", "no bound any more")?;
    let (code, printed) = cluster.holdfast(0, &["bucket", "quota", "full", "--bytes", "lots"]).await?;
    must(code == Some(1) && printed.contains("cannot be \"lots\""), printed)
}

const PROVISION: &str = r#"
[[buckets]]
name = "kept"
quota = { bytes = "1GiB", objects = 1000 }

[[buckets.lifecycle]]
id = "logs"
prefix = "logs/"
expire_days = 30

[[buckets.lifecycle]]
id = "uploads"
abort_uploads_days = 7
"#;

async fn files_change_nothing_twice_and_rules_tell_what_goes(cluster: &Cluster) -> Test {
    let path = cluster.dir().join("limits.toml");
    std::fs::write(&path, PROVISION)?;
    let path = path.display().to_string();
    let first = holdfast(cluster, 0, &["provision", &path]).await?;
    let changed = json!(["bucket kept", "quota of bucket kept", "lifecycle of bucket kept"]);
    must(first["changed"] == changed, first.to_string())?;
    let again = holdfast(cluster, 1, &["provision", &path]).await?;
    must(again["changed"] == json!([]), again.to_string())?;

    for (number, key) in ["logs/a", "logs/b", "data/c"].into_iter().enumerate() {
        let mut raw = client(cluster, number);
        must(settled(&mut raw, &put("kept", key, 10 + number)).await? == "200", key)?;
    }
    let begun = call(cluster, 0, Call::object(Method::POST, "kept", "up").query("uploads", "")).await?;
    let upload = xml::text(&begun.text(), "UploadId").unwrap_or_default();
    let shown = holdfast(cluster, 1, &["lifecycle", "show", "kept"]).await?;
    must(shown["rules"][0]["expire_days"] == 30 && shown["rules"][1]["abort_uploads_days"] == 7, shown.to_string())?;
    must(shown["day_seconds"] == 86_400 && shown["done"]["objects"] == 0, shown.to_string())?;
    let due = holdfast(cluster, 2, &["lifecycle", "dry-run", "kept"]).await?;
    let told: Vec<_> =
        due.as_array().into_iter().flatten().map(|one| (&one["what"], &one["key"], &one["bytes"])).collect();
    let (object, an_upload) = (json!("object"), json!("upload"));
    let (up, a, b, none, ten, eleven) = (json!("up"), json!("logs/a"), json!("logs/b"), json!(0), json!(10), json!(11));
    must(told == [(&an_upload, &up, &none), (&object, &a, &ten), (&object, &b, &eleven)], due.to_string())?;
    must(due[0]["id"] == *upload && due[0]["due"].as_str() < due[1]["due"].as_str(), due.to_string())?;
    let one = holdfast(cluster, 2, &["lifecycle", "dry-run", "kept", "--limit", "1"]).await?;
    must(one.as_array().is_some_and(|one| one.len() == 1) && one[0] == due[0], one.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_hold_what_they_may_and_say_what_goes() {
    on_cluster(Options { shards: 2, ..Options::default() }, async |cluster| -> Test {
        counters_are_exact(cluster).await?;
        a_quota_is_filled_and_never_exceeded(cluster).await?;
        a_quota_outlives_its_keeper_and_goes(cluster).await?;
        files_change_nothing_twice_and_rules_tell_what_goes(cluster).await
    })
    .await;
}
