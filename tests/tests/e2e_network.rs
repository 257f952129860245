//! Networks that cut, slow and break connections between real nodes, by proxies in front of them. What takes a real
//! network (packets that are lost) is in `e2e_packets`. `TEST_ROUNDS=20` runs the figures of the report.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, Instant};

use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::Failure;
use holdfast_tests::fault;
use holdfast_tests::history::gap::Through;
use holdfast_tests::proxy::{Counts, GATEWAY, Proxy, Weather};
use holdfast_tests::storm::{Storm, line, rounds};
use holdfast_tests::wait;
use holdfast_wire::id::Seq;
use http::{Method, StatusCode};
use tokio::task::JoinSet;

type Test = Result<(), Failure>;

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const SHARDS: usize = 4;
/// What the product promises.
const GAP: Duration = Duration::from_secs(3);
/// The longest that a request may take, with some room for a busy machine.
const DEADLINE: Duration = Duration::from_millis(11_500);

/// Starts a cluster whose nodes reach each other through proxies.
async fn proxied(options: Options, test: impl AsyncFnOnce(&mut Cluster, &Proxy) -> Test) {
    let mut proxy = Proxy::bind(options.nodes).await.unwrap_or_else(|error| panic!("{error}"));
    let options = Options { dialled: proxy.dialled(), ..options };
    let mut cluster = Cluster::lay_out(options).await.unwrap_or_else(|error| panic!("{error}"));
    proxy.serve(cluster.nodes().map(|node| node.at(node.ports.peer)).collect());
    let run = async {
        for at in 0..cluster.len() {
            cluster.node(at).start()?;
        }
        cluster.ready().await?;
        test(&mut cluster, &proxy).await?;
        match proxy.counts().strangers() {
            0 => Ok::<_, Failure>(()),
            count => Err(Failure::harness(format!("{count} connections of nobody knows whom"))),
        }
    };
    // While the cluster can still show its logs.
    if let Err(failure) = run.await {
        panic!("{failure}");
    }
}

/// What one fault came to.
struct Spell {
    gap: Duration,
    healed: Duration,
    terms: u64,
    lasted: Duration,
}

/// The terms of all groups together: they rise with every election.
async fn terms(cluster: &Cluster, through: usize) -> Result<u64, Failure> {
    Ok(cluster.status(through).await?.groups.iter().map(|group| group.term).sum())
}

/// Installs a fault, waits until every group takes writes all the same, and heals. `through` must not be cut off.
async fn spell(
    (cluster, proxy, storm): (&mut Cluster, &Proxy, &Storm),
    (rows, what): (&str, &str),
    through: usize,
    install: impl FnOnce(&Proxy),
) -> Result<Spell, Failure> {
    let (kept, before) = (proxy.counts().kept(), terms(cluster, through).await?);
    let began = Instant::now();
    install(proxy);
    storm.goes_on(began + Duration::from_secs(1), 50).await?;
    let gap = storm.gaps(began).into_values().max().unwrap_or_default();
    let (terms, lasted) = (terms(cluster, through).await? - before, began.elapsed());
    proxy.heal();
    let heals = Instant::now();
    cluster.ready().await?;
    let healed = heals.elapsed();
    fault::counted(rows, what, proxy.counts().kept() - kept, "times something was kept back")?;
    println!("{what}: gap {gap:?}, whole {healed:?} after healing, {terms} terms in {lasted:?}");
    Ok(Spell { gap, healed, terms, lasted })
}

/// Figures of many spells, and that they are within what was promised.
fn sum_up(what: &str, spells: &[Spell]) -> Test {
    let gaps: Vec<Duration> = spells.iter().map(|spell| spell.gap).collect();
    println!("{}", line(what, &gaps));
    let slowest = spells.iter().map(|spell| spell.healed).max().unwrap_or_default();
    println!("FIGURE {what}: whole again after at most {} ms", slowest.as_millis());
    match gaps.iter().all(|gap| *gap < GAP) {
        true => Ok(()),
        false => Err(Failure::new(format!("{what}: writes stopped for {gaps:?}"))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_stop_no_majority_and_let_nobody_read_what_is_old() {
    proxied(Options::default(), async |cluster, proxy| -> Test {
        let storm = Storm::through(Through::Every, cluster, SHARDS, |plan| plan.seed = 51).await?;
        let (mut whole, mut one_way, mut bridges) = (Vec::new(), Vec::new(), Vec::new());
        let (mut in_minority, mut in_majority) = (0, 0);
        for round in 0..rounds(1) {
            for step in 0..2 {
                // The leader of a group is cut off, then somebody who only follows there.
                let group = 1 + ((round * 2 + step) % SHARDS) as u32;
                let leader = cluster.leader(group, GAP * 3).await?;
                let victim = (leader + step) % 3;
                let others = [(victim + 1) % 3, (victim + 2) % 3];
                *(if step == 0 { &mut in_minority } else { &mut in_majority }) += 1;
                let cut = |proxy: &Proxy| {
                    others.iter().for_each(|&other| proxy.set_both(NODES[victim], NODES[other], Weather::SHUT));
                };
                whole.push(spell((cluster, proxy, &storm), ("16", "cut off both ways"), others[0], cut).await?);
            }
            // All six in the long form, each node deaf and mute once in the short one.
            let directions = [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)];
            for (from, to) in directions.into_iter().take(if rounds(1) > 1 { 6 } else { 3 }) {
                let cut = |proxy: &Proxy| proxy.set(NODES[from], NODES[to], Weather::SHUT);
                let what = format!("{} is not heard by {}", NODES[from], NODES[to]);
                one_way.push(spell((cluster, proxy, &storm), ("17", &what), from, cut).await?);
            }
            let (left, right) = (round % 3, (round + 1) % 3);
            let cut = |proxy: &Proxy| proxy.set_both(NODES[left], NODES[right], Weather::SHUT);
            let what = ("17", "two that only the third reaches");
            bridges.push(spell((cluster, proxy, &storm), what, (round + 2) % 3, cut).await?);
        }
        assert!(in_minority > 0 && in_majority > 0);
        sum_up("cut off both ways", &whole)?;
        sum_up("cut one way", &one_way)?;
        sum_up("two that only the third reaches", &bridges)?;
        let (terms, minutes) = one_way.iter().chain(&bridges).fold((0, 0.0), |(terms, minutes), spell| {
            (terms + spell.terms, minutes + spell.lasted.as_secs_f64() / 60.0)
        });
        println!("FIGURE cut one way: {terms} terms of {} groups in {minutes:.1} min", SHARDS + 1);
        let longest = storm.longest();
        println!("FIGURE longest request under partitions: {} ms", longest.as_millis());
        storm.judge(cluster).await?;
        assert!(longest < DEADLINE, "a request took {longest:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_without_a_word_keeps_no_request_for_ever() {
    proxied(Options::default(), async |cluster, proxy| -> Test {
        let storm = Storm::through(Through::Every, cluster, SHARDS, |plan| plan.seed = 52).await?;
        let mut spells = Vec::new();
        for round in 0..rounds(1) {
            let victim = cluster.leader(1 + (round % SHARDS) as u32, GAP * 3).await?;
            let others = [(victim + 1) % 3, (victim + 2) % 3];
            let (kept, began) = (proxy.counts().kept(), Instant::now());
            others.iter().for_each(|&other| proxy.set_both(NODES[victim], NODES[other], Weather::SHUT));
            cluster.node(victim).kill();
            storm.goes_on(began + Duration::from_millis(100), 60).await?;
            let gap = storm.gaps(began).into_values().max().unwrap_or_default();
            let heals = Instant::now();
            proxy.heal();
            cluster.node(victim).start()?;
            cluster.ready().await?;
            fault::counted("20", "dead without a reset", proxy.counts().kept() - kept, "ends kept back")?;
            spells.push(Spell { gap, healed: heals.elapsed(), terms: 0, lasted: began.elapsed() });
        }
        sum_up("dead without a reset", &spells)?;
        let longest = storm.longest();
        println!("FIGURE longest request with a silent peer: {} ms", longest.as_millis());
        storm.judge(cluster).await?;
        assert!(longest < DEADLINE, "a request took {longest:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_narrow_and_torn_connections_lose_and_double_nothing() {
    proxied(Options::default(), async |cluster, proxy| -> Test {
        let storm =
            Storm::through(Through::Every, cluster, SHARDS, |plan| (plan.seed, plan.large) = (53, false)).await?;
        let slow = Weather { latency: Duration::from_millis(50), jitter: Duration::from_millis(20), ..Weather::FINE };
        let narrow = Weather { rate: Some(1_000_000), ..Weather::FINE };
        let bytewise = Weather { singly: 512, ..Weather::FINE };
        type Count = fn(&Counts) -> u64;
        for (what, weather, operations, count, unit) in [
            ("50 ± 20 ms", slow, 100, Counts::delayed as Count, "bytes delayed"),
            ("8 Mbit/s", narrow, 100, Counts::held_ms as Count, "ms held back, over all connections"),
            ("segments of one byte", bytewise, 40, Counts::single as Count, "such segments"),
        ] {
            let mut gaps = Vec::new();
            for _ in 0..rounds(1) {
                let (before, began) = (count(proxy.counts()), Instant::now());
                proxy.set_all(&NODES, weather);
                storm.goes_on(began + Duration::from_secs(2), operations).await?;
                gaps.push(storm.gaps(began).into_values().max().unwrap_or_default());
                fault::counted("19", what, count(proxy.counts()) - before, unit)?;
                proxy.heal();
            }
            println!("{}", line(what, &gaps));
        }
        let mut gaps = Vec::new();
        for _ in 0..rounds(1) {
            let (before, began) = (proxy.counts().reset(), Instant::now());
            for _ in 0..15 {
                proxy.reset();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            storm.goes_on(began + Duration::from_secs(2), 100).await?;
            gaps.push(storm.gaps(began).into_values().max().unwrap_or_default());
            fault::counted("19, 42", "connections reset in the middle", proxy.counts().reset() - before, "were reset")?;
        }
        println!("{}", line("connections reset in the middle", &gaps));
        cluster.ready().await?;
        storm.judge(cluster).await
    })
    .await;
}

/// Keys of each shard, by group: each of them exists.
async fn spread(raw: &mut Raw, bucket: &str) -> Result<[Vec<String>; 3], Failure> {
    let mut keys: [Vec<String>; 3] = Default::default();
    for number in 0..200 {
        if keys.iter().all(|keys| keys.len() >= 3) {
            return Ok(keys);
        }
        let key = format!("d{number}/k");
        let put = raw.call(Call::object(Method::PUT, bucket, &key).body(key.clone())).await?;
        let seq = put.header("x-holdfast-seq").and_then(|seq| seq.parse::<Seq>().ok());
        let group = seq.ok_or_else(|| Failure::new(format!("{key}: {} {}", put.status, put.text())))?.group;
        keys[group.0 as usize - 1].push(key);
    }
    Err(Failure::new("some shard gets no key"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_cut_off_from_one_shard_answers_for_the_others_and_lists_nothing_short() {
    // One copy of each shard: root and shard 3 live on n1, shard 1 on n2, shard 2 on n3.
    let env = vec![("HOLDFAST_REPLICAS".to_owned(), "1".to_owned())];
    proxied(Options { shards: 3, env, ..Options::default() }, async |cluster, proxy| -> Test {
        let mut gateway = cluster.gateway(3);
        gateway.start()?;
        let mut raw = Raw::new(gateway.at(gateway.ports.s3), cluster.keys().clone(), Duration::from_secs(15));
        let made = Call::bucket(Method::PUT, "spread");
        let first =
            wait::until("the gateway to serve", Duration::from_secs(20), async || match raw.call(made.clone()).await {
                Ok(reply) if reply.status == StatusCode::OK => Ok(()),
                other => Err(format!("{other:?}")),
            });
        first.await?;
        let keys = spread(&mut raw, "spread").await?;
        let count = keys.iter().map(Vec::len).sum::<usize>();
        let whole = Call::bucket(Method::GET, "spread").query("list-type", 2);
        let under = |key: &str| whole.clone().query("prefix", key.trim_end_matches('k'));
        let found = |text: &str| text.matches("<Contents>").count();

        let listed = raw.call(whole.clone()).await?;
        assert_eq!((listed.status, found(&listed.text())), (StatusCode::OK, count));
        let (kept, cut) = (proxy.counts().kept(), Instant::now());
        proxy.set_both(GATEWAY, "n3", Weather::SHUT);
        let mut longest = Duration::ZERO;
        for round in 0..rounds(1) {
            // All at once, for what cannot be answered takes its time.
            let mut asked = JoinSet::new();
            let mut ask = |expected, count, call: Call| {
                let mut raw = Raw::new(raw.authority(), cluster.keys().clone(), Duration::from_secs(15));
                asked.spawn(async move {
                    let (began, what) = (Instant::now(), format!("{} {} {:?}", call.method, call.path, call.query));
                    let reply = raw.call(call).await?;
                    assert_eq!(reply.status, expected, "{what}: {}", reply.text());
                    assert_eq!(found(&reply.text()), count, "{what}: {}", reply.text());
                    Ok::<_, Failure>(began.elapsed())
                });
            };
            for (shard, keys) in keys.iter().enumerate() {
                let (expected, count) =
                    if shard == 1 { (StatusCode::SERVICE_UNAVAILABLE, 0) } else { (StatusCode::OK, 1) };
                let key = &keys[round % keys.len()];
                ask(expected, 0, Call::object(Method::GET, "spread", key));
                ask(expected, 0, Call::object(Method::PUT, "spread", key).body(key.clone()));
                ask(expected, count, under(key));
            }
            ask(StatusCode::SERVICE_UNAVAILABLE, 0, whole.clone());
            while let Some(took) = asked.join_next().await {
                longest = longest.max(took??);
            }
        }
        fault::counted("18", "a gateway cut off from one shard", proxy.counts().kept() - kept, "times kept back")?;
        println!(
            "FIGURE gateway cut off from one shard for {:?}: longest answer {longest:?}, short lists 0",
            cut.elapsed()
        );
        assert!(longest < DEADLINE, "{longest:?}");

        if rounds(1) > 1 {
            NODES.iter().for_each(|node| proxy.set_both(GATEWAY, node, Weather::SHUT));
            let reply = raw.call(Call::object(Method::GET, "spread", &keys[0][0])).await?;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text());
        }
        proxy.heal();
        let again =
            wait::until("the whole list", Duration::from_secs(10), async || match raw.call(whole.clone()).await {
                Ok(reply) if reply.status == StatusCode::OK => Ok(found(&reply.text())),
                other => Err(format!("{other:?}")),
            });
        assert_eq!(again.await?, count);
        gateway.kill();
        Ok(())
    })
    .await;
}
