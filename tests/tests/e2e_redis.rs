//! Nodes that keep their index in a Redis, and all that a Redis may do to them: nothing acknowledged is lost, nothing that
//! is gone from Redis is read as absent, others go on meanwhile.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, Instant};

use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::redis::RedisServer;
use holdfast_tests::storm::Storm;
use holdfast_tests::wait;

type Test = Result<(), Failure>;

const SHARDS: u32 = 2;
const KEY: &str = "HOLDFAST_INDEX";

/// Three nodes, the ones in `on` with a Redis each.
fn options(servers: &[RedisServer], on: &[usize]) -> Options {
    let env_of = on.iter().map(|&at| (at, KEY.to_owned(), servers[at].url())).collect();
    Options { shards: SHARDS, env_of, ..Options::default() }
}

/// Ends a node in order and starts it with its index in the Redis at `url`, or embedded.
async fn moves(cluster: &mut Cluster, at: usize, url: Option<String>) -> Test {
    let node = cluster.node(at);
    node.terminate(Duration::from_secs(30)).await?;
    node.env.retain(|(name, _)| name != KEY);
    node.env.extend(url.map(|url| (KEY.to_owned(), url)));
    node.start()?;
    Ok(cluster.ready().await?)
}

/// Takes everything from a Redis; how many rows these were, of the sorted set in which they are.
fn emptied(server: &RedisServer) -> Result<u64, Failure> {
    let count =
        String::from_utf8(server.command(&[b"EVAL", b"return redis.call('ZCARD', redis.call('KEYS', '*')[1])", b"0"]))?;
    server.command(&[b"FLUSHALL"]);
    Ok(count.trim().trim_start_matches(':').parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_redis_may_die_or_forget_everything_even_all_at_once() {
    let mut servers: Vec<_> = (0..3).map(|_| RedisServer::start()).collect();
    on_cluster(options(&servers, &[1, 2]), async |cluster| -> Test {
        let storm = Storm::start(cluster, SHARDS as usize, |plan| plan.seed = 29).await?;
        moves(cluster, 0, Some(servers[0].url())).await?;
        storm.goes_on(Instant::now(), 50).await?;

        // A node dies with its Redis, which comes back with what it has on disk.
        cluster.node(1).kill();
        servers[1].kill();
        servers[1].restart();
        cluster.node(1).start()?;
        cluster.ready().await?;

        // A Redis is emptied under a running node: it ends by itself, says why, and the next start fills the rows in.
        let mut lost = emptied(&servers[2])?;
        let ended = cluster.node(2).ended(Duration::from_secs(20)).await?;
        let said = cluster.node(2).log_tail(40);
        assert_eq!(ended.code(), Some(1), "{said}");
        assert!(said.contains("can no longer be believed") && said.contains("emptied"), "{said}");
        storm.goes_on(Instant::now(), 50).await?;
        cluster.node(2).start()?;
        cluster.ready().await?;

        // Everything at once.
        (0..3).for_each(|at| cluster.node(at).kill());
        for server in &servers {
            lost += emptied(server)?;
        }
        fault::counted("29", "Redis emptied", lost, "rows lost")?;
        for at in 0..3 {
            cluster.node(at).start()?;
        }
        cluster.ready().await?;
        storm.goes_on(Instant::now(), 50).await?;
        moves(cluster, 0, None).await?;
        storm.judge(cluster).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_steps_aside_while_its_redis_hangs_and_goes_on_without_a_restart() {
    let servers: Vec<_> = (0..3).map(|_| RedisServer::start()).collect();
    on_cluster(options(&servers, &[0, 1, 2]), async |cluster| -> Test {
        let storm = Storm::start(cluster, SHARDS as usize, |plan| plan.seed = 30).await?;
        let leader = cluster.leader(1, Duration::from_secs(10)).await?;
        let (pid, through) = (cluster.node(leader).pid(), (leader + 1) % 3);
        let paused = Instant::now();
        servers[leader].pause();
        // Others lead, and say what is wrong.
        let probe = || async {
            let status = cluster.status(through).await.map_err(|error| error.to_string())?;
            let told = format!("{:?}", status.problems).contains("does not answer");
            let leads = cluster.leaderships(through).await.map_err(|error| error.to_string())?[leader];
            if told && leads == 0 { Ok(()) } else { Err(format!("leads {leads}; {:?}", status.problems)) }
        };
        wait::until("the node to step aside", Duration::from_secs(10), probe).await?;
        storm.goes_on(Instant::now(), 50).await?;
        let hung = paused.elapsed();
        fault::counted("29", "a Redis that hangs", hung.as_millis() as u64, "ms until others led and told of it")?;
        println!("Redis hung for {hung:?}: gaps {:?}", storm.gaps(paused));
        servers[leader].resume();
        cluster.ready().await?;
        assert_eq!(cluster.node(leader).pid(), pid);
        assert!(cluster.node(leader).is_running(), "no restart was needed");
        storm.judge(cluster).await
    })
    .await;
}
