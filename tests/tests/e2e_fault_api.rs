//! The fault API for testers: a "crashed" node answers everything with an error and changes nothing, stays visible, and
//! comes back without loss; writes wait for a majority as long as they may; nothing of it works unless asked for.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::wait;
use http::{Method, StatusCode};

type Test = Result<(), Failure>;

fn options() -> Options {
    Options { env: vec![("HOLDFAST_ENABLE_FAULTS".to_owned(), "true".to_owned())], ..Options::default() }
}

fn raw(cluster: &Cluster, at: usize) -> Raw {
    Raw::new(&cluster.gateways()[at], cluster.keys().clone(), Duration::from_secs(20))
}

async fn expect(raw: &mut Raw, call: Call, status: StatusCode) -> Result<Reply, Failure> {
    let what = format!("{} {}", call.method, call.path);
    let reply = raw.call(call).await?;
    match reply.status == status {
        true => Ok(reply),
        false => Err(Failure::new(format!("{what}: {} instead of {status}: {}", reply.status, reply.text()))),
    }
}

async fn order(cluster: &Cluster, through: usize, args: &[&str]) -> Result<String, Failure> {
    let args = [&["fault"], args].concat();
    match cluster.holdfast(through, &args).await? {
        (Some(0), printed) => Ok(printed),
        (code, printed) => Err(Failure::new(format!("holdfast {args:?}: {code:?}: {printed}"))),
    }
}

async fn status(cluster: &Cluster, through: usize) -> Result<serde_json::Value, Failure> {
    match cluster.holdfast(through, &["cluster", "status", "-o", "json"]).await? {
        (Some(0), printed) => {
            serde_json::from_str(&printed).map_err(|error| Failure::new(format!("{error}: {printed}")))
        }
        (code, printed) => Err(Failure::new(format!("holdfast cluster status: {code:?}: {printed}"))),
    }
}

/// Every file of a node, with its bytes.
fn everything(cluster: &mut Cluster, at: usize) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = cluster.node(at).files();
    files.into_iter().map(|(path, _)| (path.clone(), std::fs::read(&path).unwrap_or_default())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_it_works_unless_it_was_asked_for() {
    on_cluster(Options::default(), async |cluster| -> Test {
        for fault in [&["crash", "n2"][..], &["partition", "n2"], &["slow-disk", "n2"]] {
            let (code, printed) = cluster.holdfast(0, &[&["fault"], fault].concat()).await?;
            assert_eq!(code, Some(1), "{printed}");
            assert!(printed.contains("started without --enable-faults"), "{printed}");
        }
        let shown = order(cluster, 0, &["status"]).await?;
        assert_eq!(shown.matches("takes no faults").count(), 3, "{shown}");
        cluster.ready().await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_node_changes_nothing_stays_visible_and_comes_back_whole() {
    on_cluster(options(), async |cluster| -> Test {
        assert!(cluster.node(1).log_tail(1000).contains("FAULT INJECTION IS ENABLED"), "nobody was warned");
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "bkt"), StatusCode::OK).await?;
        let body = |number: usize| vec![number as u8; if number.is_multiple_of(2) { 100 } else { 70_000 }];
        let put = |number: usize| Call::object(Method::PUT, "bkt", &format!("d{number}/k")).body(body(number));
        for number in 0..10 {
            expect(&mut s3, put(number), StatusCode::OK).await?;
        }
        // It leads something, or it follows: both end.
        order(cluster, 0, &["crash", "n2"]).await?;
        assert!(cluster.node(1).log_tail(1000).contains("FAULT INJECTION: an order"), "nobody was told");
        let before = everything(cluster, 1);
        for number in 10..20 {
            expect(&mut s3, put(number), StatusCode::OK).await?;
        }
        let (mut to_crashed, mut refusals) = (raw(cluster, 1), 0);
        for call in [put(1), Call::object(Method::GET, "bkt", "d1/k"), Call::bucket(Method::GET, "bkt")] {
            let refused = expect(&mut to_crashed, call, StatusCode::SERVICE_UNAVAILABLE).await?;
            assert!(refused.text().contains("crashed by order of the fault API"), "{}", refused.text());
            refusals += 1;
        }
        fault::counted("–", "a node crashed by order", refusals, "requests refused by it")?;
        let visible = || async {
            let (_, status) =
                cluster.holdfast(0, &["cluster", "status", "-o", "json"]).await.map_err(|e| e.to_string())?;
            let status: serde_json::Value = serde_json::from_str(&status).map_err(|error| error.to_string())?;
            let (well, crashed) = (&status["nodes"][0], &status["nodes"][1]);
            let reason = crashed["not_ready"].as_str().unwrap_or_default();
            let told = crashed["version"] == well["version"] && crashed["alive"] == true;
            if told && reason.contains("crashed by order") { Ok(()) } else { Err(status.to_string()) }
        };
        wait::until("the crashed node to be seen as such", Duration::from_secs(10), visible).await?;
        let shown = order(cluster, 2, &["status"]).await?;
        assert!(shown.contains("n1: well") && shown.contains("n2: crashed"), "{shown}");
        assert!(everything(cluster, 1) == before, "a crashed node has changed something on its disk");
        assert!(cluster.node(1).is_running());

        order(cluster, 0, &["restore", "n2"]).await?;
        cluster.ready().await?;
        for number in 0..20 {
            let call = Call::object(Method::GET, "bkt", &format!("d{number}/k"));
            let got = expect(&mut to_crashed, call, StatusCode::OK).await?;
            assert!(got.body == body(number), "d{number}/k");
        }
        // It takes part again: with another node gone, its vote and its disk are needed.
        cluster.node(2).kill();
        for number in 20..24 {
            expect(&mut s3, put(number), StatusCode::OK).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_its_majority_until_its_deadline() {
    on_cluster(options(), async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "bkt"), StatusCode::OK).await?;
        expect(&mut s3, Call::object(Method::PUT, "bkt", "k").body("before"), StatusCode::OK).await?;
        order(cluster, 0, &["crash", "n2"]).await?;
        order(cluster, 0, &["crash", "n3"]).await?;
        let mut writer = raw(cluster, 0);
        let writing = async {
            expect(&mut writer, Call::object(Method::PUT, "bkt", "k").body("during"), StatusCode::OK).await?;
            Ok::<_, Failure>(Instant::now())
        };
        let healing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let began = Instant::now();
            order(cluster, 0, &["restore", "n2"]).await?;
            Ok(began)
        };
        let (written, healed) = tokio::try_join!(writing, healing)?;
        assert!(written > healed, "it was acknowledged without a majority");
        let got = expect(&mut s3, Call::object(Method::GET, "bkt", "k"), StatusCode::OK).await?;
        assert_eq!(got.body, "during");

        order(cluster, 0, &["crash", "n2"]).await?;
        let began = Instant::now();
        let in_vain = Call::object(Method::PUT, "bkt", "other").body("after");
        expect(&mut s3, in_vain, StatusCode::SERVICE_UNAVAILABLE).await?;
        assert!(began.elapsed() > Duration::from_secs(5) && began.elapsed() < Duration::from_secs(12));
        order(cluster, 0, &["restore", "n2"]).await?;
        order(cluster, 0, &["restore", "n3"]).await?;
        cluster.ready().await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_node_serves_nothing_strong_and_a_slow_disk_stops_nobody() {
    on_cluster(options(), async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "bkt"), StatusCode::OK).await?;
        expect(&mut s3, Call::object(Method::PUT, "bkt", "k").body("before"), StatusCode::OK).await?;
        order(cluster, 0, &["partition", "n2"]).await?;
        expect(&mut s3, Call::object(Method::PUT, "bkt", "k").body("after"), StatusCode::OK).await?;
        let mut cut_off = raw(cluster, 1);
        expect(&mut cut_off, Call::object(Method::GET, "bkt", "k"), StatusCode::SERVICE_UNAVAILABLE).await?;
        fault::counted("16", "a node cut off by order", 1, "read refused by it")?;
        order(cluster, 0, &["restore", "n2"]).await?;
        cluster.ready().await?;
        let got = expect(&mut cut_off, Call::object(Method::GET, "bkt", "k"), StatusCode::OK).await?;
        assert_eq!(got.body, "after");

        order(cluster, 0, &["slow-disk", "n3", "--ms", "300"]).await?;
        let shown = order(cluster, 0, &["status"]).await?;
        assert!(shown.contains("n3: syncs take 300 ms longer"), "{shown}");
        for number in 0..10 {
            let call = Call::object(Method::PUT, "bkt", &format!("d{number}/k")).body("slow");
            expect(&mut s3, call, StatusCode::OK).await?;
        }
        order(cluster, 0, &["restore", "n3"]).await?;
        cluster.ready().await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_slow_disk_hands_over_and_gets_nothing_back_while_it_is_slow() {
    on_cluster(options(), async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "bkt"), StatusCode::OK).await?;
        let first = status(cluster, 0).await?;
        let led = |status: &serde_json::Value, node: u64| {
            let groups = status["groups"].as_array().cloned().unwrap_or_default();
            groups.iter().filter(|group| group["leader"] == node).count()
        };
        let terms = |status: &serde_json::Value| {
            let groups = status["groups"].as_array().cloned().unwrap_or_default();
            groups.iter().map(|group| group["term"].as_u64().unwrap_or(0)).sum::<u64>()
        };
        let slow = (1..=3).max_by_key(|node| led(&first, *node)).unwrap_or(1);
        let (had, before) = (led(&first, slow), terms(&first));
        assert!(had > 0, "{first}");
        let name = format!("n{slow}");
        let asked = (slow as usize) % 3;
        order(cluster, asked, &["slow-disk", &name, "--ms", "300"]).await?;
        let began = Instant::now();
        let mut number = 0;
        loop {
            let call = Call::object(Method::PUT, "bkt", &format!("d{}/k{number}", number % 16)).body("slow");
            number += 1;
            expect(&mut s3, call, StatusCode::OK).await?;
            let now = status(cluster, asked).await?;
            // Why is told by a heartbeat, which may come a little later.
            if led(&now, slow) == 0 && now["doing"].to_string().contains("slow") {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "a slow disk still leads, or nobody says why: {now}");
        }
        let sync = cluster.metric(slow as usize - 1, "holdfast_disk_slow_microseconds").await?.unwrap_or(0.0);
        fault::counted("15", "a leader's disk slow by order", (sync / 1000.0) as u64, "ms for a sync (p99)")?;
        // Nothing goes to and fro. What writes take then depends on the machine: it is told, not judged.
        let quick = Instant::now();
        for number in 0..20 {
            let call = Call::object(Method::PUT, "bkt", &format!("d{}/quick", number % 16)).body("quick");
            expect(&mut s3, call, StatusCode::OK).await?;
        }
        println!("a write beside a slow follower: {:?}", quick.elapsed() / 20);
        let last = status(cluster, asked).await?;
        assert_eq!(led(&last, slow), 0, "it got something back: {last}");
        let elections = terms(&last) - before;
        assert!(elections <= 2 * had as u64, "{elections} elections for {had} leaderships");
        order(cluster, asked, &["restore", &name]).await?;
        cluster.ready().await?;
        Ok(())
    })
    .await;
}
