//! Access control lists through the real S3 port: where a bucket's ownership lets them count they let people in, nothing
//! stands before a policy's deny or a public access block, and everywhere else they stay what they are: refused.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::Duration;

use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::sign::Keys;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::wait;
use http::Method;
use serde_json::Value;

type Test = Result<(), Failure>;

/// How long a change may take to reach the gateway, on a busy machine.
const SPREAD: Duration = Duration::from_secs(10);

const MAKER: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:CreateBucket","s3:PutBucketOwnershipControls"],"Resource":"*"}]}"#;

async fn key_of(cluster: &Cluster, user: &str) -> Result<Keys, Failure> {
    let (code, printed) = cluster.holdfast(0, &["user", "set", user, "--policies", "maker", "-o", "json"]).await?;
    must(code == Some(0), printed)?;
    let (code, printed) = cluster.holdfast(0, &["key", "create", user, "-o", "json"]).await?;
    must(code == Some(0), printed.clone())?;
    let made: Value = serde_json::from_str(&printed)?;
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    Ok(Keys { access: text("access_key"), secret: text("secret_key") })
}

fn must(holds: bool, what: impl Into<String>) -> Test {
    if holds { Ok(()) } else { Err(Failure::new(what)) }
}

/// One gateway, asked by somebody.
async fn call(cluster: &Cluster, keys: &Keys, call: Call) -> Result<Reply, Failure> {
    let mut raw = Raw::new(cluster.gateways()[0].clone(), keys.clone(), Duration::from_secs(20));
    Ok(raw.call(call).await?)
}

fn code(reply: &Reply) -> String {
    let text = reply.text();
    let inner = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    inner.map_or_else(|| reply.status.as_u16().to_string(), |(code, _)| code.to_owned())
}

async fn expect(cluster: &Cluster, keys: &Keys, asked: Call, expected: &str) -> Result<String, Failure> {
    let shown = format!("{asked:?}");
    let reply = call(cluster, keys, asked).await?;
    must(code(&reply) == expected, format!("{shown}: {} {}, not {expected}", reply.status, reply.text()))?;
    Ok(reply.text())
}

async fn anonymous(cluster: &Cluster, path: &str, expected: u16) -> Test {
    let probe = || async {
        let reply = holdfast_tests::client::plain::get(&cluster.gateways()[0], path, None).await;
        match reply.map_err(|error| error.to_string())?.0.as_u16() {
            found if found == expected => Ok(()),
            found => Err(format!("{path}: {found}, not {expected}")),
        }
    };
    Ok(wait::until("what nobody in particular may do", SPREAD, probe).await?)
}

fn object(method: Method, key: &str) -> Call {
    Call::object(method, "lists", key)
}

fn bucket(method: Method, part: &str) -> Call {
    Call::bucket(method, "lists").query(part, "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_let_people_in_where_they_count() {
    on_cluster(Options { shards: 1, ..Options::default() }, async |cluster| -> Test {
        let maker = cluster.dir().join("maker.json");
        std::fs::write(&maker, MAKER)?;
        let (code, printed) = cluster.holdfast(0, &["policy", "set", "maker", &maker.display().to_string()]).await?;
        must(code == Some(0), printed)?;
        let (ann, bob) = (key_of(cluster, "ann").await?, key_of(cluster, "bob").await?);

        // Where they do not count, whatever changes something is refused.
        expect(cluster, &ann, Call::bucket(Method::PUT, "plain"), "200").await?;
        let public = Call::object(Method::PUT, "plain", "k").header("x-amz-acl", "public-read").body("x");
        expect(cluster, &ann, public, "AccessControlListNotSupported").await?;
        let acl = Call::bucket(Method::PUT, "plain").query("acl", "").header("x-amz-acl", "public-read");
        expect(cluster, &ann, acl, "AccessControlListNotSupported").await?;

        let made = Call::bucket(Method::PUT, "lists").header("x-amz-object-ownership", "ObjectWriter");
        expect(cluster, &ann, made, "200").await?;
        expect(cluster, &ann, object(Method::PUT, "private").body("mine"), "200").await?;
        let shown = object(Method::PUT, "public").header("x-amz-acl", "public-read").body("ours");
        expect(cluster, &ann, shown, "200").await?;
        anonymous(cluster, "/lists/public", 200).await?;
        anonymous(cluster, "/lists/private", 403).await?;
        anonymous(cluster, "/lists/none", 403).await?;
        anonymous(cluster, "/lists", 403).await?;

        // A list on the bucket: everybody may list and write, and then learns what is missing.
        let open = bucket(Method::PUT, "acl").header("x-amz-acl", "public-read-write");
        expect(cluster, &ann, open, "200").await?;
        anonymous(cluster, "/lists", 200).await?;
        anonymous(cluster, "/lists/none", 404).await?;
        anonymous(cluster, "/lists/private", 403).await?;
        expect(cluster, &bob, object(Method::DELETE, "public"), "AccessDenied").await?;

        // Who writes owns: the bucket's owner may not read it, but may remove it.
        expect(cluster, &bob, object(Method::PUT, "bobs").body("bob's"), "200").await?;
        expect(cluster, &bob, object(Method::GET, "bobs"), "200").await?;
        expect(cluster, &ann, object(Method::GET, "bobs"), "AccessDenied").await?;
        let grant = object(Method::PUT, "bobs").query("acl", "").header("x-amz-grant-read", "id=\"ann\"");
        expect(cluster, &bob, grant, "200").await?;
        expect(cluster, &ann, object(Method::GET, "bobs"), "200").await?;
        let list = expect(cluster, &bob, object(Method::GET, "bobs").query("acl", ""), "200").await?;
        must(list.contains("<ID>ann</ID>") && list.contains("<ID>bob</ID>") && list.contains("READ"), list)?;
        let unknown = object(Method::PUT, "bobs").query("acl", "").header("x-amz-grant-read", "id=eve");
        expect(cluster, &bob, unknown, "InvalidArgument").await?;
        expect(cluster, &ann, object(Method::DELETE, "bobs"), "204").await?;

        // A policy's deny stands before every list.
        let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::lists/*"}]}"#;
        expect(cluster, &ann, bucket(Method::PUT, "policy").body(deny), "204").await?;
        anonymous(cluster, "/lists/public", 403).await?;
        expect(cluster, &ann, bucket(Method::DELETE, "policy"), "204").await?;
        anonymous(cluster, "/lists/public", 200).await?;

        // What is public by lists can be switched off, and is then refused, too.
        let block = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
                     <IgnorePublicAcls>true</IgnorePublicAcls></PublicAccessBlockConfiguration>";
        expect(cluster, &ann, bucket(Method::PUT, "publicAccessBlock").body(block), "200").await?;
        anonymous(cluster, "/lists/public", 403).await?;
        let again = object(Method::PUT, "public").header("x-amz-acl", "public-read").body("x");
        expect(cluster, &ann, again, "AccessDenied").await?;

        // A bucket that is shared by a list does not become its owner's alone unsaid.
        let enforced = "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
        let controls = || bucket(Method::PUT, "ownershipControls").body(enforced);
        expect(cluster, &ann, controls(), "InvalidBucketAclWithObjectOwnership").await?;
        expect(cluster, &ann, bucket(Method::PUT, "acl").header("x-amz-acl", "private"), "200").await?;
        expect(cluster, &ann, controls(), "200").await?;
        expect(cluster, &ann, bucket(Method::DELETE, "publicAccessBlock"), "204").await?;
        anonymous(cluster, "/lists/public", 403).await
    })
    .await
}
