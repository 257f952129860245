//! Several users on one cluster, through the real S3 port and the real commands: what each may do, what policies of buckets
//! add and take away, how fast a revoked key stops working, what the audit log says.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::sign::Keys;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::wait;
use http::Method;
use md5::{Digest, Md5};
use serde_json::Value;

type Test = Result<(), Failure>;

/// How long a change may take to reach every gateway, on a busy machine.
const SPREAD: Duration = Duration::from_secs(10);

fn must(holds: bool, what: impl Into<String>) -> Test {
    if holds { Ok(()) } else { Err(Failure::new(what)) }
}

/// Runs a command that must succeed; its JSON.
async fn holdfast(cluster: &Cluster, at: usize, args: &[&str]) -> Result<Value, Failure> {
    let (code, printed) = cluster.holdfast(at, &[args, &["-o", "json"]].concat()).await?;
    must(code == Some(0), format!("{args:?}: {printed}"))?;
    Ok(serde_json::from_str(&printed)?)
}

fn file(cluster: &Cluster, name: &str, text: &str) -> Result<String, Failure> {
    let path = cluster.dir().join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

async fn key_of(cluster: &Cluster, user: &str) -> Result<Keys, Failure> {
    let made = holdfast(cluster, 0, &["key", "create", user]).await?;
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    Ok(Keys { access: text("access_key"), secret: text("secret_key") })
}

async fn call(cluster: &Cluster, at: usize, keys: &Keys, call: Call) -> Result<Reply, Failure> {
    let mut raw = Raw::new(cluster.gateways()[at].clone(), keys.clone(), Duration::from_secs(20));
    Ok(raw.call(call).await?)
}

fn code(reply: &Reply) -> String {
    let text = reply.text();
    let inner = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    inner.map_or_else(|| reply.status.as_u16().to_string(), |(code, _)| code.to_owned())
}

/// Asks at every gateway until all answer so.
async fn everywhere(cluster: &Cluster, keys: &Keys, asked: impl Fn() -> Call, expected: &str) -> Test {
    for at in 0..cluster.len() {
        let probe = || async {
            let reply = call(cluster, at, keys, asked()).await.map_err(|error| error.to_string())?;
            let found = code(&reply);
            if found == expected { Ok(()) } else { Err(format!("gateway {at}: {found}, not {expected}")) }
        };
        wait::until("the change at every gateway", SPREAD, probe).await?;
    }
    Ok(())
}

fn get(bucket: &str, key: &str) -> Call {
    Call::object(Method::GET, bucket, key)
}

fn put(bucket: &str, key: &str) -> Call {
    Call::object(Method::PUT, bucket, key).body("bytes")
}

fn set_policy(bucket: &str, text: &str) -> Call {
    Call::bucket(Method::PUT, bucket).query("policy", "").body(text.to_owned())
}

async fn anonymous(cluster: &Cluster, at: usize, path: &str) -> Result<u16, Failure> {
    let reply = holdfast_tests::client::plain::get(&cluster.gateways()[at], path, None).await?;
    Ok(reply.0.as_u16())
}

const TEAM: &str = r#"{"Version":"2012-10-17","Statement":[
  {"Effect":"Allow","Action":["s3:CreateBucket","s3:ListAllMyBuckets"],"Resource":"*"},
  {"Effect":"Deny","Action":"s3:*","Resource":["arn:aws:s3:::forbidden","arn:aws:s3:::forbidden/*"]}]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn teams_share_a_cluster_safely() {
    on_cluster(Options { shards: 2, ..Options::default() }, async |cluster| -> Test {
        let team = file(cluster, "team.json", TEAM)?;
        holdfast(cluster, 0, &["policy", "set", "team", &team]).await?;
        for user in ["ann", "bob"] {
            holdfast(cluster, 1, &["user", "set", user]).await?;
        }
        holdfast(cluster, 2, &["group", "set", "everyone", "--members", "ann,bob", "--policies", "team"]).await?;
        let (ann, bob) = (key_of(cluster, "ann").await?, key_of(cluster, "bob").await?);
        let users = holdfast(cluster, 0, &["user", "list"]).await?;
        must(users[0]["groups"][0] == "everyone" && users[0]["keys"][0] == *ann.access, users.to_string())?;

        // What one makes is one's own: nobody else may look.
        everywhere(cluster, &ann, || Call::bucket(Method::PUT, "ann-data"), "200").await?;
        let made = call(cluster, 1, &ann, put("ann-data", "k")).await?;
        must(made.status == 200, made.text())?;
        // The younger key: gateways may know the elder one before.
        everywhere(cluster, &bob, || Call::bucket(Method::GET, "no-such-bucket"), "NoSuchBucket").await?;
        for (asked, expected) in [
            (get("ann-data", "k"), "AccessDenied"),
            (get("ann-data", "none"), "AccessDenied"),
            (put("ann-data", "k"), "AccessDenied"),
            (Call::bucket(Method::GET, "ann-data"), "AccessDenied"),
            (Call::bucket(Method::DELETE, "ann-data"), "AccessDenied"),
            (Call::bucket(Method::PUT, "ann-data"), "BucketAlreadyExists"),
            (Call::bucket(Method::PUT, "forbidden"), "AccessDenied"),
            (Call::bucket(Method::GET, "no-such-bucket"), "NoSuchBucket"),
        ] {
            let reply = call(cluster, 2, &bob, asked.clone()).await?;
            must(code(&reply) == expected, format!("{asked:?}: {}", reply.text()))?;
        }
        let listed = call(cluster, 0, &bob, Call { path: "/".into(), ..Call::bucket(Method::GET, "") }).await?;
        must(!listed.text().contains("ann-data"), listed.text())?;
        must(anonymous(cluster, 0, "/ann-data/k").await? == 403, "nobody may look")?;

        // The owner's policy lets one user and one prefix in, and a bulk delete judges key by key.
        let shared = r#"{"Version":"2012-10-17","Statement":[
          {"Effect":"Allow","Principal":{"AWS":"arn:aws:iam:::user/bob"},"Action":["s3:GetObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::ann-data/shared/*"},
          {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::ann-data/public/*"}]}"#;
        let broken = call(cluster, 0, &ann, set_policy("ann-data", &shared.replace("ann-data", "bob-data"))).await?;
        must(code(&broken) == "MalformedPolicy" && broken.text().contains("Statement[0].Resource"), broken.text())?;
        let refused = call(cluster, 0, &bob, set_policy("ann-data", shared)).await?;
        must(code(&refused) == "AccessDenied", refused.text())?;
        let set = call(cluster, 0, &ann, set_policy("ann-data", shared)).await?;
        must(set.status == 204, set.text())?;
        for key in ["shared/a", "public/b"] {
            must(call(cluster, 0, &ann, put("ann-data", key)).await?.status == 200, key)?;
        }
        everywhere(cluster, &bob, || get("ann-data", "shared/a"), "200").await?;
        everywhere(cluster, &bob, || get("ann-data", "shared/none"), "AccessDenied").await?;
        let status = call(cluster, 0, &ann, Call::bucket(Method::GET, "ann-data").query("policyStatus", "")).await?;
        must(status.text().contains("<IsPublic>true</IsPublic>"), status.text())?;
        must(anonymous(cluster, 1, "/ann-data/public/b").await? == 200, "public is public")?;
        must(anonymous(cluster, 1, "/ann-data/shared/a").await? == 403, "and nothing else")?;
        let both = "<Delete><Object><Key>shared/a</Key></Object><Object><Key>k</Key></Object></Delete>";
        let bulk = Call { sign_body: true, ..Call::bucket(Method::POST, "ann-data").query("delete", "").body(both) };
        let deleted = call(cluster, 2, &bob, bulk).await?.text();
        must(deleted.contains("<Deleted><Key>shared/a</Key>") && deleted.contains("AccessDenied"), &*deleted)?;
        must(call(cluster, 0, &ann, get("ann-data", "k")).await?.status == 200, "it was not bob's to delete")?;
        let copy = Call::object(Method::PUT, "bob-data", "stolen").header("x-amz-copy-source", "/ann-data/k");
        must(call(cluster, 0, &bob, Call::bucket(Method::PUT, "bob-data")).await?.status == 200, "bob's own")?;
        let copied = call(cluster, 0, &bob, copy).await?;
        must(code(&copied) == "AccessDenied", copied.text())?;

        // Public access can be shut without touching the policy.
        let block = "<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>";
        let block = Call::bucket(Method::PUT, "ann-data").query("publicAccessBlock", "").body(block);
        must(call(cluster, 0, &ann, block).await?.status == 200, "the block")?;
        wait::until("public access is shut", SPREAD, || async {
            match anonymous(cluster, 1, "/ann-data/public/b").await {
                Ok(403) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        let again = call(cluster, 0, &ann, set_policy("ann-data", shared)).await?;
        must(code(&again) == "AccessDenied", again.text())?;

        // A policy that locks its owner out is accepted; the root key repairs it.
        let locked = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bob-data","arn:aws:s3:::bob-data/*"]}]}"#;
        must(call(cluster, 0, &bob, set_policy("bob-data", locked)).await?.status == 204, "locked")?;
        // Reading it, for a gateway that has not heard of it yet must not remove it.
        let look = || Call::bucket(Method::GET, "bob-data").query("policy", "");
        everywhere(cluster, &bob, look, "AccessDenied").await?;
        let drop = Call::bucket(Method::DELETE, "bob-data").query("policy", "");
        must(call(cluster, 1, cluster.keys(), drop).await?.status == 204, "repaired")?;

        // Why?
        let explain = ["explain", "--key", &bob.access, "--action", "s3:GetObject", "--resource", "forbidden/k"];
        let why = holdfast(cluster, 1, &explain).await?;
        must(why["decision"] == "denied" && why["why"] == "denied by statement 1 of policy team", why.to_string())?;

        // A key that is disabled stops working everywhere, soon; one that is enabled works again.
        let began = Instant::now();
        holdfast(cluster, 0, &["key", "set", &bob.access, "--disable"]).await?;
        everywhere(cluster, &bob, || Call::bucket(Method::GET, "bob-data"), "InvalidAccessKeyId").await?;
        println!("a disabled key stopped working at all gateways within {:?}", began.elapsed());
        holdfast(cluster, 0, &["key", "set", &bob.access, "--enable"]).await?;
        everywhere(cluster, &bob, || Call::bucket(Method::GET, "bob-data"), "200").await?;
        holdfast(cluster, 0, &["key", "set", &bob.access, "--expires", "2020-01-01"]).await?;
        everywhere(cluster, &bob, || Call::bucket(Method::GET, "bob-data"), "InvalidAccessKeyId").await?;
        let refused = cluster.holdfast(0, &["policy", "remove", "team"]).await?;
        must(refused.0 == Some(1) && refused.1.contains("group \"everyone\" names policy"), refused.1)?;
        holdfast(cluster, 0, &["user", "remove", "ann"]).await?;
        everywhere(cluster, &ann, || get("ann-data", "k"), "InvalidAccessKeyId").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_brings_everything_about_and_the_audit_log_tells() {
    let dir = tempfile::TempDir::with_prefix("holdfast-provision-").unwrap_or_else(|error| panic!("{error}"));
    let provision = r#"
[[policies]]
name = "readers"
document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::reports","arn:aws:s3:::reports/*"]}]}'

[[users]]
name = "cara"
policies = ["readers"]

[[keys]]
user = "cara"
access_key = "AKIACARACARACARACARA"
secret_key = "a-secret-that-cara-knows"

[[buckets]]
name = "reports"
tags = { team = "reports" }
"#;
    let path = dir.path().join("provision.toml");
    std::fs::write(&path, provision).unwrap_or_else(|error| panic!("{error}"));
    let audit = dir.path().join("audit.jsonl");
    let env = vec![
        ("HOLDFAST_PROVISION".to_owned(), path.display().to_string()),
        ("HOLDFAST_AUDIT_LOG".to_owned(), audit.display().to_string()),
        ("HOLDFAST_DEFAULT_OBJECT_OWNERSHIP".to_owned(), "ObjectWriter".to_owned()),
    ];
    on_cluster(Options { nodes: 1, shards: 1, env, ..Options::default() }, async |cluster| -> Test {
        let cara = Keys { access: "AKIACARACARACARACARA".into(), secret: "a-secret-that-cara-knows".into() };
        everywhere(cluster, &cara, || Call::bucket(Method::GET, "reports"), "200").await?;
        let root = cluster.keys().clone();
        must(call(cluster, 0, &root, put("reports", "q1")).await?.status == 200, "the root key may")?;
        must(call(cluster, 0, &root, put("reports", "q2")).await?.status == 200, "once more")?;
        must(call(cluster, 0, &cara, get("reports", "q1")).await?.status == 200, "so may cara")?;
        let refused = call(cluster, 0, &cara, put("reports", "q1")).await?;
        must(code(&refused) == "AccessDenied", refused.text())?;
        let keys = "<Delete><Object><Key>q1</Key></Object><Object><Key>q2</Key></Object></Delete>";
        let md5 = STANDARD.encode(Md5::digest(keys));
        let delete = Call::bucket(Method::POST, "reports").query("delete", "").header("content-md5", md5).body(keys);
        let bulk = call(cluster, 0, &cara, delete).await?;
        must(bulk.status == 200 && bulk.text().matches("AccessDenied").count() == 2, bulk.text())?;

        // Buckets that were made by the file or by a command own their objects as the configuration says.
        holdfast(cluster, 0, &["bucket", "create", "commanded"]).await?;
        for bucket in ["reports", "commanded"] {
            let list = Call::bucket(Method::PUT, bucket).query("acl", "").header("x-amz-acl", "authenticated-read");
            let set = call(cluster, 0, &root, list).await?;
            must(set.status == 200, set.text())?;
        }

        let path = path.display().to_string();
        let again = holdfast(cluster, 0, &["provision", &path]).await?;
        must(again["changed"] == serde_json::json!([]), again.to_string())?;
        std::fs::write(&path, provision.replace("name = \"cara\"", "name = \"cara\"\nenabled = false"))?;
        let changed = holdfast(cluster, 0, &["provision", &path]).await?;
        must(changed["changed"] == serde_json::json!(["user cara"]), changed.to_string())?;
        everywhere(cluster, &cara, || Call::bucket(Method::GET, "reports"), "InvalidAccessKeyId").await?;
        std::fs::write(&path, "[[buckets]]\nnam = 'x'")?;
        let (status, printed) = cluster.holdfast(0, &["provision", &path]).await?;
        must(status == Some(2) && printed.contains("unknown field `nam`"), printed)?;

        let text = std::fs::read_to_string(&audit)?;
        let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let found =
            |what: &str, result: &str| lines.iter().find(|line| line["what"] == what && line["result"] == result);
        let refusal = found("PutObject", "refused").ok_or_else(|| Failure::new(text.clone()))?;
        must(refusal["who"] == "arn:aws:iam::000000000000:user/cara", refusal.to_string())?;
        must(refusal["source"] == "127.0.0.1" && refusal["resource"] == "/reports/q1", refusal.to_string())?;
        must(refusal["why"].as_str().is_some_and(|why| why.contains("nothing allows it")), refusal.to_string())?;
        must(refusal["request_id"].as_str() == refused.header("x-amz-request-id"), refusal.to_string())?;
        let keys: Vec<_> = lines.iter().filter(|line| line["what"] == "DeleteObjects").collect();
        must(keys.len() == 2 && keys.iter().all(|line| line["result"] == "refused"), text.clone())?;
        must(keys[0]["resource"] == "/reports/q1" && keys[0]["status"] == 403, keys[0].to_string())?;
        must(found("provision", "done").is_some(), text.clone())?;
        must(!text.contains(&cara.secret), "no secrets in the log")
    })
    .await;
}
