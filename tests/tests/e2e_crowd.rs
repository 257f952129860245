//! Crowds: thousands of clients that say nothing, too little or never read do no harm to the others.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::Duration;

use holdfast_tests::bench::load::{self, Case, Kind, Target};
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::wait;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Test = Result<(), Failure>;

const IDLE: usize = 5_000;
const SLOW: usize = 300;
/// What a node may take, MiB of resident memory: a debug build with one shard group each, far from a leak of so many.
const MEMORY: u64 = 600;

/// The most memory that a node has had, MiB.
fn peak(cluster: &mut Cluster, at: usize) -> Result<u64, Failure> {
    let pid = cluster.node(at).pid().ok_or_else(|| Failure::new("it does not run"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.map(|kib| kib / 1024).ok_or_else(|| Failure::new("no VmHWM"))
}

/// The terms of all groups: they rise with every election.
async fn terms(cluster: &Cluster) -> Result<Vec<u64>, Failure> {
    Ok(cluster.status(0).await?.groups.iter().map(|group| group.term).collect())
}

/// Connections that the first gateway has open.
async fn open(cluster: &Cluster) -> Result<u64, Failure> {
    let open = cluster.metric(0, "holdfast_gateway_connections").await?;
    Ok(open.ok_or_else(|| Failure::harness("no count of connections"))? as u64)
}

async fn served(cluster: &Cluster, at: usize) -> Test {
    let target = Target::new(vec![cluster.gateways()[at].clone()], cluster.keys().clone(), "crowd", 4096);
    for kind in [Kind::Put, Kind::Get] {
        let case =
            Case { kind, size: 4096, clients: 8, objects: 50, span: Duration::from_secs(30), operations: Some(400) };
        let done = load::run(&target, &case).await;
        if (done.operations, done.errors, done.wrong) != (400, 0, 0) {
            return Err(Failure::new(format!("{kind:?}: {} done, {:?}", done.operations, done.first_error)));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_idle_connections_and_slow_heads_do_no_harm() {
    on_cluster(Options { shards: 1, ..Options::default() }, async |cluster| -> Test {
        let address = cluster.gateways()[0].clone();
        let mut raw = Raw::new(&address, cluster.keys().clone(), Duration::from_secs(15));
        let made = raw.call(Call::bucket(Method::PUT, "crowd")).await?;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text());
        let create = Case {
            kind: Kind::Create,
            size: 4096,
            clients: 8,
            objects: 50,
            span: Duration::from_secs(30),
            operations: Some(50),
        };
        let target = Target::new(vec![address.clone()], cluster.keys().clone(), "crowd", 4096);
        load::run(&target, &create).await;
        let before = terms(cluster).await?;

        let mut idle = Vec::with_capacity(IDLE);
        for _ in 0..IDLE {
            idle.push(TcpStream::connect(&address).await?);
        }
        served(cluster, 0).await?;
        let quiet = open(cluster).await?;
        assert!(quiet >= IDLE as u64, "{quiet} of {IDLE} connections are open");
        fault::counted("32", "idle connections", quiet, "connections open")?;

        // Heads that never end: cut after ten seconds, with an answer or without one.
        let mut slow = Vec::with_capacity(SLOW);
        for _ in 0..SLOW {
            let mut stream = TcpStream::connect(&address).await?;
            stream.write_all(b"GET /crowd/a HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
            slow.push(stream);
        }
        let heads = open(cluster).await?.saturating_sub(quiet);
        fault::counted("33", "heads that never end", heads, "connections more")?;
        served(cluster, 0).await?;
        let cut = async {
            for stream in &mut slow {
                let mut rest = Vec::new();
                // A reset is an end, too.
                let _ = stream.read_to_end(&mut rest).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), cut)
            .await
            .map_err(|_| Failure::new("slow heads stay".to_owned()))?;

        let figure = peak(cluster, 0)?;
        println!("{IDLE} idle connections and {SLOW} slow heads: at most {figure} MiB");
        assert!(figure < MEMORY, "{figure} MiB");
        assert_eq!(terms(cluster).await?, before, "an election because of a crowd");
        drop(idle);
        let gone = || async { served(cluster, 0).await.map_err(|error| error.to_string()) };
        Ok(wait::until("service after the crowd", Duration::from_secs(20), gone).await?)
    })
    .await;
}
