//! Nodes killed and paused under load: nothing acknowledged is lost, nothing stale or wrong is read, writes resume.
//! `TEST_ROUNDS=20` runs the figures of the report.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_tests::body;
use holdfast_tests::client::meanwhile::{Asked, meanwhile};
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::history::gap::percentile;
use holdfast_tests::storm::{Storm, line, rounds};
use holdfast_tests::wait;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Test = Result<(), Failure>;

const SHARDS: u32 = 4;
/// What a request may take on a busy machine though nothing is wrong.
const USUAL: Duration = Duration::from_millis(50);
/// What the product promises.
const GAP: Duration = Duration::from_secs(3);

fn raw(cluster: &Cluster, at: usize) -> Raw {
    Raw::new(&cluster.gateways()[at], cluster.keys().clone(), Duration::from_secs(15))
}

async fn expect(raw: &mut Raw, call: Call, status: StatusCode) -> Result<Reply, Failure> {
    let what = format!("{} {}", call.method, call.path);
    let reply = raw.call(call).await?;
    match reply.status == status {
        true => Ok(reply),
        false => Err(Failure::new(format!("{what}: {} instead of {status}: {}", reply.status, reply.text()))),
    }
}

/// Kills a node, measures the gap and brings it back.
async fn kill_one(cluster: &mut Cluster, storm: &Storm, victim: usize) -> Result<Duration, Failure> {
    let killed = Instant::now();
    cluster.node(victim).kill();
    storm.goes_on(killed + Duration::from_millis(100), 100).await?;
    let gaps = storm.gaps(killed);
    println!("killed n{}: {gaps:?}", victim + 1);
    cluster.node(victim).start()?;
    cluster.ready().await?;
    Ok(gaps.into_values().max().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_are_killed_under_load() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let storm = Storm::start(cluster, SHARDS as usize, |plan| plan.seed = 1).await?;
        let mut gaps = Vec::new();
        for round in 0..rounds(6) {
            let leader = cluster.leader(1 + round as u32 % SHARDS, GAP * 3).await?;
            gaps.push(kill_one(cluster, &storm, leader).await?);
        }
        fault::counted("1", "leaders killed", gaps.len() as u64, "nodes killed")?;
        println!("{}", line("leader killed", &gaps));
        storm.judge(cluster).await?;
        assert!(percentile(&gaps, 99) < GAP, "{gaps:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_are_killed_under_load() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let storm = Storm::start(cluster, SHARDS as usize, |plan| plan.seed = 2).await?;
        let mut gaps = Vec::new();
        for round in 0..rounds(3) {
            // Leaders are spread, so each node leads something: the one that leads least, after leading nothing of
            // group 1.
            let leader = cluster.leader(1, GAP * 3).await?;
            let through = cluster.running()[0];
            let leads = cluster.leaderships(through).await?;
            let follower = (0..3).filter(|&at| at != leader).min_by_key(|&at| (leads[at], (at + round) % 3));
            gaps.push(kill_one(cluster, &storm, follower.unwrap_or(0)).await?);
        }
        fault::counted("2", "followers killed", gaps.len() as u64, "nodes killed")?;
        println!("{}", line("follower killed", &gaps));
        storm.judge(cluster).await?;
        assert!(percentile(&gaps, 99) < GAP, "{gaps:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leads_nothing_is_killed_and_no_request_fails_or_waits() {
    const SPAN: Duration = Duration::from_secs(3);
    on_cluster(Options::default(), async |cluster| -> Test {
        expect(&mut raw(cluster, 0), Call::bucket(Method::PUT, "asked"), StatusCode::OK).await?;
        let (mut before, mut after) = (Asked::default(), Asked::default());
        for round in 0..rounds(3) {
            let (victim, heir) = (round % 3, format!("n{}", (round + 1) % 3 + 1));
            let mut gateways = cluster.gateways();
            gateways.remove(victim);
            let keys = cluster.keys().clone();
            let (_, asked) = meanwhile(&gateways, &keys, "asked", tokio::time::sleep(SPAN)).await;
            before.extend(asked);
            for group in 0..=SHARDS {
                if cluster.leader(group, GAP * 3).await? == victim {
                    cluster.transfer(group, &heir, (victim + 1) % 3).await?;
                }
            }
            let through = (victim + 1) % 3;
            let probe = || async {
                let leads = cluster.leaderships(through).await.map_err(|error| error.to_string())?[victim];
                if leads == 0 { Ok(()) } else { Err(format!("it leads {leads} groups")) }
            };
            wait::until("the node to lead nothing", GAP * 3, probe).await?;
            let kill = async {
                cluster.node(victim).kill();
                tokio::time::sleep(SPAN).await;
            };
            let (_, asked) = meanwhile(&gateways, &keys, "asked", kill).await;
            after.extend(asked);
            cluster.node(victim).start()?;
            cluster.ready().await?;
        }
        let p99 = [&before, &after].map(|asked| percentile(&asked.took, 99));
        println!(
            "FIGURE a follower killed: {} of {} requests failed, p99 {} ms (before {} ms)",
            after.failed.len(),
            after.took.len(),
            p99[1].as_millis(),
            p99[0].as_millis()
        );
        assert!(before.failed.is_empty() && after.failed.is_empty(), "{:?} {:?}", before.failed, after.failed);
        assert!(p99[1] <= 2 * p99[0].max(USUAL), "{p99:?}");
        fault::counted("2", "followers killed that lead nothing", rounds(3) as u64, "nodes killed")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_are_killed_at_once_under_load() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let storm = Storm::start(cluster, SHARDS as usize, |plan| plan.seed = 3).await?;
        let mut gaps = Vec::new();
        for _ in 0..rounds(3) {
            let killed = Instant::now();
            (0..3).for_each(|at| cluster.node(at).kill());
            for at in 0..3 {
                cluster.node(at).start()?;
            }
            cluster.ready().await?;
            storm.goes_on(killed + Duration::from_millis(100), 100).await?;
            gaps.push(storm.gaps(killed).into_values().max().unwrap_or_default());
        }
        fault::counted("1, 2, 27", "all nodes killed at once", 3 * gaps.len() as u64, "nodes killed")?;
        println!("{}", line("all killed", &gaps));
        storm.judge(cluster).await?;
        assert!(percentile(&gaps, 99) < Duration::from_secs(10), "{gaps:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_serves_nothing_stale_when_it_wakes() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let storm = Storm::start(cluster, SHARDS as usize, |plan| plan.seed = 4).await?;
        let mut gaps = Vec::new();
        for round in 0..rounds(3) {
            let leader = cluster.leader(1 + round as u32 % SHARDS, GAP * 3).await?;
            let paused = Instant::now();
            cluster.node(leader).pause()?;
            // Kept-alive connections to it stay, and are used as soon as it wakes.
            let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
            let elected = async {
                loop {
                    let status = cluster.status(others[0]).await?;
                    let name = format!("n{}", leader + 1);
                    let id = status.nodes.iter().find(|node| node.name == name).map(|node| node.id);
                    if status.groups.iter().all(|group| group.leader.is_some() && group.leader != id) {
                        return Ok::<_, Failure>(());
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let elected = tokio::time::timeout(Duration::from_secs(10), elected).await;
            // New values are written elsewhere before it wakes.
            storm.proceeds(50).await?;
            cluster.node(leader).resume()?;
            elected??;
            storm.goes_on(paused + Duration::from_secs(1), 200).await?;
            gaps.push(storm.gaps(paused).into_values().max().unwrap_or_default());
            cluster.ready().await?;
        }
        fault::counted("21", "leaders paused", gaps.len() as u64, "nodes paused")?;
        println!("{}", line("leader paused", &gaps));
        storm.judge(cluster).await?;
        assert!(percentile(&gaps, 99) < Duration::from_secs(10), "{gaps:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_down_stops_nothing_and_a_majority_down_stops_what_it_must() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "left"), StatusCode::OK).await?;
        let key = |number: u64| format!("d{number}/k");
        let sizes = [100, 70_000];
        for number in 0..20 {
            let body = body::make(number, sizes[number as usize % 2]);
            expect(&mut s3, Call::object(Method::PUT, "left", &key(number)).body(body), StatusCode::OK).await?;
        }
        cluster.node(2).kill();
        for number in 20..40 {
            let body = body::make(number, sizes[number as usize % 2]);
            expect(&mut s3, Call::object(Method::PUT, "left", &key(number)).body(body), StatusCode::OK).await?;
        }
        for number in 0..40 {
            let got = expect(&mut s3, Call::object(Method::GET, "left", &key(number)), StatusCode::OK).await?;
            assert_eq!(body::verify(number, &got.body), Ok(()));
        }
        let list = expect(&mut s3, Call::bucket(Method::GET, "left").query("list-type", 2), StatusCode::OK).await?;
        assert!(list.text().contains("<KeyCount>40</KeyCount>"), "{}", list.text());
        expect(&mut s3, Call::bucket(Method::PUT, "another"), StatusCode::OK).await?;

        cluster.node(1).kill();
        let slow_down = async |s3: &mut Raw, call: Call| -> Result<(), Failure> {
            let (start, head) = (Instant::now(), call.method == Method::HEAD);
            let reply = expect(s3, call, StatusCode::SERVICE_UNAVAILABLE).await?;
            assert!(start.elapsed() < Duration::from_secs(11), "took {:?}", start.elapsed());
            assert!(head || reply.text().contains("<Code>SlowDown</Code>"), "{}", reply.text());
            assert!(reply.header("retry-after").is_some(), "{:?}", reply.headers);
            Ok(())
        };
        slow_down(&mut s3, Call::object(Method::PUT, "left", "d0/k").body("x")).await?;
        slow_down(&mut s3, Call::object(Method::GET, "left", "d0/k")).await?;
        slow_down(&mut s3, Call::object(Method::DELETE, "left", "d0/k")).await?;
        slow_down(&mut s3, Call::bucket(Method::GET, "left").query("list-type", 2)).await?;
        for number in [0, 2, 4] {
            let call = Call::object(Method::GET, "left", &key(number)).header("x-holdfast-read", "eventual");
            let got = expect(&mut s3, call, StatusCode::OK).await?;
            assert_eq!(body::verify(number, &got.body), Ok(()));
        }
        cluster.node(1).start()?;
        cluster.node(2).start()?;
        cluster.ready().await?;
        let got = expect(&mut s3, Call::object(Method::GET, "left", "d0/k"), StatusCode::OK).await?;
        assert!(body::verify(0, &got.body).is_ok() || got.body == "x", "an unknown write may have come through");
        Ok(())
    })
    .await;
}

/// Bytes of all files of all nodes that hold this piece of a body.
fn holders(cluster: &mut Cluster, piece: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for at in 0..cluster.len() {
        for (path, _) in cluster.node(at).files() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(piece.len()).any(|window| window == piece) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "gone"), StatusCode::OK).await?;
        let body: Bytes = body::make(1, 8 << 20);
        for (round, sent) in [0, 1, 100_000, 4 << 20, (8 << 20) - 1].into_iter().enumerate() {
            let key = format!("d{round}/gone");
            let head = raw(cluster, round % 3).head(Call::object(Method::PUT, "gone", &key), 8 << 20);
            let mut stream = TcpStream::connect(&cluster.gateways()[round % 3]).await?;
            stream.write_all(head.as_bytes()).await?;
            if let Err(error) = stream.write_all(&body[..sent]).await {
                let mut said = String::new();
                let _ = stream.read_to_string(&mut said).await;
                return Err(Failure::new(format!("{key}, {sent} bytes: {error}; the server had said {said:?}")));
            }
            if round % 2 == 0 {
                stream.shutdown().await?;
            }
        }
        // Sent whole, the same is an object: it is the vanishing that prevents it.
        let whole = body::make(2, 8 << 20);
        let head = raw(cluster, 0).head(Call::object(Method::PUT, "gone", "whole"), 8 << 20);
        let mut stream = TcpStream::connect(&cluster.gateways()[0]).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&whole).await?;
        let mut status = [0; 15];
        stream.read_exact(&mut status).await?;
        assert_eq!(&status, b"HTTP/1.1 200 OK");
        expect(&mut s3, Call::object(Method::DELETE, "gone", "whole"), StatusCode::NO_CONTENT).await?;

        let piece = body.slice(1000..1064);
        let probe = || {
            let left = holders(cluster, &piece);
            async move { if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) } }
        };
        wait::until("the space to be reclaimed", Duration::from_secs(90), probe).await?;
        let list = expect(&mut s3, Call::bucket(Method::GET, "gone").query("list-type", 2), StatusCode::OK).await?;
        assert!(list.text().contains("<KeyCount>0</KeyCount>"), "{}", list.text());
        expect(&mut s3, Call::bucket(Method::DELETE, "gone"), StatusCode::NO_CONTENT).await?;
        Ok(())
    })
    .await;
}
