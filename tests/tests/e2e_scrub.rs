//! Rotten copies are found by a scrub and repaired from the other nodes; `holdfast verify` tells sound directories from
//! others.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_tests::body;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::wait;
use http::{Method, StatusCode};

type Test = Result<(), Failure>;

const OBJECTS: u64 = 12;

fn blobs(cluster: &mut Cluster, at: usize) -> Vec<PathBuf> {
    let files = cluster.node(at).files();
    let blob = |path: &Path| path.components().any(|part| part.as_os_str() == "blobs");
    files.into_iter().map(|(path, _)| path).filter(|path| blob(path)).collect()
}

fn flip(path: &Path, at: u64) -> Result<(), Failure> {
    let mut bytes = std::fs::read(path)?;
    let at = (at % bytes.len() as u64) as usize;
    bytes[at] ^= 1 << (at % 8);
    Ok(std::fs::write(path, bytes)?)
}

async fn verify(cluster: &mut Cluster, at: usize) -> Result<(Option<i32>, String), Failure> {
    let data = cluster.node(at).data.display().to_string();
    Ok(cluster.holdfast(at, &["verify", "--data", &data]).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rots_is_found_and_repaired() {
    let env = vec![("HOLDFAST_SCRUB_BYTES".to_owned(), (1 << 30).to_string())];
    on_cluster(Options { env, ..Options::default() }, async |cluster| -> Test {
        let mut s3 = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
        assert!(s3.call(Call::bucket(Method::PUT, "rotten")).await?.status.is_success());
        for number in 0..OBJECTS {
            let call = Call::object(Method::PUT, "rotten", &format!("d{number}/k")).body(body::make(number, 300_000));
            assert!(s3.call(call).await?.status.is_success());
        }
        // Every copy is on every disk, in time.
        let whole = |cluster: &mut Cluster| (0..3).all(|at| blobs(cluster, at).len() as u64 == OBJECTS);
        let probe = || {
            let whole = whole(cluster);
            async move { if whole { Ok(()) } else { Err("copies are under way".to_owned()) } }
        };
        wait::until("all copies", Duration::from_secs(20), probe).await?;

        // A node that does not run: sound, then not. Flips of every third copy, a cut one, a lost one.
        cluster.node(1).terminate(Duration::from_secs(20)).await?;
        let (code, printed) = verify(cluster, 1).await?;
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains(&format!("{OBJECTS} blobs")), "{printed}");
        let copies = blobs(cluster, 1);
        let mut harmed = 0;
        for (at, copy) in copies.iter().enumerate() {
            match at {
                0 => std::fs::remove_file(copy)?,
                1 => std::fs::write(copy, &std::fs::read(copy)?[..1000])?,
                at if at % 3 == 0 => flip(copy, at as u64 * 7919)?,
                _ => continue,
            }
            harmed += 1;
        }
        let (code, printed) = verify(cluster, 1).await?;
        assert_eq!(code, Some(1), "{printed}");
        assert_eq!(printed.lines().count(), harmed + 1, "a line for each, and the verdict: {printed}");
        fault::counted("12", "blobs on a node spoilt", harmed as u64, "copies flipped, cut or removed")?;
        let (code, printed) = cluster.holdfast(1, &["verify", "--data", "/nowhere"]).await?;
        assert_eq!(code, Some(2), "{printed}");

        cluster.node(1).start()?;
        cluster.ready().await?;
        let data = cluster.node(1).data.display().to_string();
        let (code, printed) = cluster.holdfast(1, &["verify", "--data", &data]).await?;
        assert_eq!(code, Some(2), "the directory is in use: {printed}");
        let (code, printed) = cluster.holdfast(0, &["scrub", "start"]).await?;
        assert_eq!(code, Some(0), "{printed}");
        let finished = || async {
            let (_, printed) =
                cluster.holdfast(0, &["scrub", "status", "-o", "json"]).await.map_err(|e| e.to_string())?;
            let cluster: serde_json::Value = serde_json::from_str(&printed).map_err(|error| error.to_string())?;
            let nodes = &cluster["nodes"];
            let blobs: Vec<u64> =
                nodes.as_array().into_iter().flatten().filter_map(|n| n["last"]["blobs"].as_u64()).collect();
            let idle = nodes.as_array().is_some_and(|nodes| nodes.iter().all(|node| node["running"].is_null()));
            // The two that were whole have read everything.
            if idle && blobs.len() == 3 && blobs[0] == OBJECTS && blobs[2] == OBJECTS { Ok(()) } else { Err(printed) }
        };
        wait::until("scrubs to end", Duration::from_secs(30), finished).await?;
        let (code, printed) = cluster.holdfast(0, &["scrub", "status"]).await?;
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.starts_with("scrub idle; ") && printed.contains("everything was read by "), "{printed}");
        assert!(printed.lines().skip(1).all(|line| line.contains(" log entries, ")), "{printed}");
        // Repaired: the same disk is sound again.
        let probe = || async {
            let corrupt = cluster.metric(1, "holdfast_blob_missing").await.map_err(|error| error.to_string())?;
            let repaired =
                cluster.metric(1, "holdfast_blob_repaired_total").await.map_err(|error| error.to_string())?;
            match (corrupt, repaired) {
                (Some(0.0), Some(repaired)) if repaired >= harmed as f64 - 1.0 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        };
        wait::until("repairs to end", Duration::from_secs(60), probe).await?;
        cluster.node(1).terminate(Duration::from_secs(20)).await?;
        let (code, printed) = verify(cluster, 1).await?;
        assert_eq!(code, Some(0), "{printed}");
        for number in 0..OBJECTS {
            let got = s3.call(Call::object(Method::GET, "rotten", &format!("d{number}/k"))).await?;
            assert_eq!(got.status, StatusCode::OK);
            assert_eq!(body::verify(number, &got.body), Ok(()));
        }
        Ok(())
    })
    .await;
}
