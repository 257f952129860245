//! Packets that are lost, dropped and slowed for real, between nodes in network namespaces of their own. Needs root,
//! `ip`, `iptables` and `tc`. `TEST_ROUNDS=20` runs the figures of the report.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, Instant};

use holdfast_tests::client::meanwhile::meanwhile;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::netns::Network;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::history::gap::Through;
use holdfast_tests::storm::{Storm, line, rounds};
use http::{Method, StatusCode};

type Test = Result<(), Failure>;

const SHARDS: usize = 4;
/// What the product promises.
const GAP: Duration = Duration::from_secs(3);
/// The longest that a request may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Likewise of a client that loses packets itself: more than is wanted.
const LOSSY_DEADLINE: Duration = Duration::from_millis(11_500);
/// Operations of clients in each fault. One of three gateways is cut off or gone, and whoever picks it waits 8 or 15 s.
const OPERATIONS: u64 = 20;

fn raw(cluster: &Cluster, at: usize) -> Raw {
    Raw::new(&cluster.gateways()[at], cluster.keys().clone(), Duration::from_secs(15))
}

/// Installs a fault, waits until every group takes writes all the same, and heals; the longest pause of writes.
async fn spell(
    (cluster, network, storm): (&mut Cluster, &Network, &Storm),
    (rows, what): (&str, &str),
    install: impl FnOnce(&Network) -> std::io::Result<()>,
) -> Result<Duration, Failure> {
    let began = Instant::now();
    install(network)?;
    storm.goes_on(began + Duration::from_secs(1), OPERATIONS).await?;
    let gap = storm.gaps(began).into_values().max().unwrap_or_default();
    let dropped = network.dropped()?;
    network.heal()?;
    let heals = Instant::now();
    cluster.ready().await?;
    println!("{what}: gap {gap:?}, whole {:?} after healing", heals.elapsed());
    fault::counted(rows, what, dropped, "packets were dropped")?;
    Ok(gap)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_and_pulled_cables_lose_nothing_else() {
    let network = match Network::make(3) {
        Ok(network) => network,
        Err(error) => return fault::skipped("16, 17, 19, 20", "packets lost between namespaces", &error),
    };
    let options = Options { hosts: network.hosts(), wraps: network.wraps(), ..Options::default() };
    on_cluster(options, async |cluster| -> Test {
        let storm = Storm::through(Through::Every, cluster, SHARDS, |plan| plan.seed = 61).await?;
        let (mut cut, mut one_way, mut lossy, mut pulled) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds(1) {
            let leader = cluster.leader(1 + (round % SHARDS) as u32, GAP * 3).await?;
            let others = [(leader + 1) % 3, (leader + 2) % 3];
            let both_ways = |network: &Network| {
                others.iter().try_for_each(|&other| {
                    network.drop_from(leader, other)?;
                    network.drop_from(other, leader)
                })
            };
            cut.push(spell((cluster, &network, &storm), ("16", "packets dropped both ways"), both_ways).await?);
            let leader = cluster.leader(1 + (round % SHARDS) as u32, GAP * 3).await?;
            let deaf = |network: &Network| network.drop_from((leader + 1) % 3, leader);
            one_way.push(spell((cluster, &network, &storm), ("17", "packets dropped one way"), deaf).await?);
            let percent = [5, 1, 20][round % 3];
            let lose = |network: &Network| (0..3).try_for_each(|at| network.lose(at, percent));
            let what = format!("{percent} % of packets lost");
            lossy.push(spell((cluster, &network, &storm), ("19", &what), lose).await?);
        }
        // Whoever asks a gateway that vanishes waits as long as a client likes: from here on those count that ask the
        // others.
        let lost = storm.longest();
        let mut gone = Duration::ZERO;
        let bucket = raw(cluster, 0).call(Call::bucket(Method::PUT, "asked")).await?;
        assert_eq!(bucket.status, StatusCode::OK, "{}", bucket.text());
        for round in 0..rounds(1) {
            let victim = cluster.leader(1 + (round % SHARDS) as u32, GAP * 3).await?;
            let began = Instant::now();
            network.plug(victim, false)?;
            cluster.node(victim).kill();
            let mut gateways = cluster.gateways();
            gateways.remove(victim);
            let goes_on = storm.goes_on(began + Duration::from_millis(100), OPERATIONS);
            let (went_on, asked) = meanwhile(&gateways, cluster.keys(), "asked", goes_on).await;
            went_on?;
            gone = asked.took.into_iter().fold(gone, Duration::max);
            pulled.push(storm.gaps(began).into_values().max().unwrap_or_default());
            network.plug(victim, true)?;
            cluster.node(victim).start()?;
            cluster.ready().await?;
            fault::counted("20", "cable pulled and power off", 1, "node gone without a word")?;
        }
        for (what, gaps) in [
            ("packets dropped both ways", &cut),
            ("packets dropped one way", &one_way),
            ("1, 5 or 20 % of packets lost", &lossy),
            ("cable pulled and power off", &pulled),
        ] {
            println!("{}", line(what, gaps));
        }
        println!("FIGURE longest request while packets are lost: {} ms", lost.as_millis());
        println!("FIGURE longest request through the other gateways while a node is gone: {} ms", gone.as_millis());
        storm.judge(cluster).await?;
        for gaps in [&cut, &one_way, &pulled] {
            assert!(gaps.iter().all(|gap| *gap < GAP), "{gaps:?}");
        }
        assert!(lost < LOSSY_DEADLINE, "a request took {lost:?} of {LOSSY_DEADLINE:?} while packets were lost");
        assert!(gone < DEADLINE, "a request took {gone:?} of {DEADLINE:?} while a node was gone");
        Ok(())
    })
    .await;
}
