//! What was deleted or overwritten in a bucket without versions comes back, small and large, from any node, also after
//! every process was killed. (That it goes when its time is over, the simulation shows, and `replica/src/index`.)
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::Duration;

use holdfast_tests::body;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use http::{Method, StatusCode};
use serde_json::Value;

type Test = Result<(), Failure>;

/// Too large to travel in the log.
const LARGE: usize = 300_000;

fn client(cluster: &Cluster, at: usize) -> Raw {
    Raw::new(&cluster.gateways()[at], cluster.keys().clone(), Duration::from_secs(20))
}

async fn expect(raw: &mut Raw, call: Call, status: StatusCode) -> Result<Vec<u8>, Failure> {
    let what = format!("{} {}", call.method, call.path);
    let reply = raw.call(call).await?;
    match reply.status == status {
        true => Ok(reply.body.to_vec()),
        false => Err(Failure::new(format!("{what}: {} instead of {status}: {}", reply.status, reply.text()))),
    }
}

/// Runs `holdfast undelete`, which must succeed; its JSON.
async fn undelete(cluster: &Cluster, at: usize, args: &[&str]) -> Result<Value, Failure> {
    let args = [&["undelete"], args, &["-o", "json"]].concat();
    match cluster.holdfast(at, &args).await? {
        (Some(0), printed) => Ok(serde_json::from_str(&printed)?),
        (code, printed) => Err(Failure::new(format!("{args:?}: {code:?}: {printed}"))),
    }
}

fn column(rows: &Value, name: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    rows.as_array().into_iter().flatten().map(|row| text(&row[name])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_comes_back_with_its_bytes() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let mut s3 = client(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "bkt"), StatusCode::OK).await?;
        let (large, small) = (body::make(1, LARGE), body::make(2, 100));
        let put = |key: &str, bytes: &[u8]| Call::object(Method::PUT, "bkt", key).body(bytes.to_vec());
        expect(&mut s3, put("d/large", &large), StatusCode::OK).await?;
        expect(&mut s3, put("d/small", &small), StatusCode::OK).await?;
        expect(&mut s3, put("d/small", b"overwritten by mistake"), StatusCode::OK).await?;
        expect(&mut s3, put("e/kept", b"kept"), StatusCode::OK).await?;
        for key in ["d/large", "e/kept"] {
            expect(&mut s3, Call::object(Method::DELETE, "bkt", key), StatusCode::NO_CONTENT).await?;
        }
        let usage = cluster.holdfast(0, &["bucket", "usage", "bkt", "-o", "json"]).await?.1;
        let usage: Value = serde_json::from_str(&usage)?;
        assert_eq!(usage[0]["objects"], 1, "what is gone counts for nothing: {usage}");

        // Also what every process has forgotten but for its disk.
        (0..3).for_each(|at| cluster.node(at).kill());
        for at in 0..3 {
            cluster.node(at).start()?;
        }
        cluster.ready().await?;
        let mut s3 = client(cluster, 1);
        let gone = undelete(cluster, 1, &["bkt", "--list"]).await?;
        assert_eq!(column(&gone, "key"), ["d/large", "d/small", "e/kept"], "{gone}");
        assert_eq!(column(&gone, "why"), ["deleted", "overwritten", "deleted"], "{gone}");
        assert_eq!(column(&gone, "replaced"), ["false", "true", "false"], "{gone}");
        assert_eq!(column(&undelete(cluster, 2, &["bkt", "--prefix", "e/", "--list"]).await?, "key"), ["e/kept"]);

        let back = undelete(cluster, 2, &["bkt", "d/large", "d/small", "nothing"]).await?;
        assert_eq!(column(&back, "back"), ["true", "false", "false"], "{back}");
        let got = expect(&mut s3, Call::object(Method::GET, "bkt", "d/large"), StatusCode::OK).await?;
        assert!(got == large, "other bytes came back");
        let back = undelete(cluster, 0, &["bkt", "d/small", "--replace"]).await?;
        assert_eq!(column(&back, "back"), ["true"], "{back}");
        assert!(expect(&mut s3, Call::object(Method::GET, "bkt", "d/small"), StatusCode::OK).await? == small);
        let back = undelete(cluster, 0, &["bkt", "--prefix", ""]).await?;
        assert_eq!(column(&back, "key"), ["e/kept"], "what its key has no object for: {back}");
        assert_eq!(expect(&mut s3, Call::object(Method::GET, "bkt", "e/kept"), StatusCode::OK).await?, b"kept");
        let (code, printed) = cluster.holdfast(0, &["undelete", "no-such-bucket"]).await?;
        assert_eq!(code, Some(1), "{printed}");

        let metric = cluster.metric(0, "holdfast_undelete_objects").await?;
        assert_eq!(metric, Some(1.0), "the overwritten one that was replaced in turn");
        Ok(())
    })
    .await;
}
