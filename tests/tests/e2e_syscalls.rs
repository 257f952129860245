//! System calls that fail or take long in a running node, by strace: failed and slow syncs, reads that fail, and what
//! is opened for hostile keys. `TEST_ROUNDS=20` runs the figures of the report.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdfast_tests::bench::load::{self, Case, Kind, Target};
use holdfast_tests::body;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::strace::Strace;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::history::gap::Through;
use holdfast_tests::storm::{Storm, line, rounds};
use holdfast_tests::wait;
use http::{Method, StatusCode};

type Test = Result<(), Failure>;

const SHARDS: usize = 4;
const GAP: Duration = Duration::from_secs(3);

fn raw(cluster: &Cluster, at: usize) -> Raw {
    Raw::new(&cluster.gateways()[at], cluster.keys().clone(), Duration::from_secs(15))
}

/// Traces node number `at`; `None` where that cannot be, which is said.
fn trace(cluster: &mut Cluster, at: usize, (rows, what): (&str, &str), arguments: &[&str]) -> Option<Strace> {
    let log = cluster.dir().join(format!("strace-{at}-{}", what.replace(' ', "-")));
    let pid = cluster.node(at).pid().unwrap_or(0);
    Strace::attach(pid, arguments, &log).inspect_err(|error| fault::skipped(rows, what, error)).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_sync_fails_ends_at_once_and_what_it_said_holds() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let storm = Storm::through(Through::Every, cluster, SHARDS, |plan| plan.seed = 71).await?;
        let mut gaps = Vec::new();
        for round in 0..rounds(1) {
            let (rows, what) = ("10", "a sync fails");
            let victim = match round % 2 {
                0 => cluster.leader(1 + (round % SHARDS) as u32, GAP * 3).await?,
                _ => round % 3,
            };
            let inject = format!("inject=fdatasync,fsync:error=EIO:when={}", 1 + round % 7);
            let began = Instant::now();
            let arguments = ["-e", "trace=fdatasync,fsync", "-e", &inject];
            let Some(tracer) = trace(cluster, victim, (rows, what), &arguments) else { break };
            let failed = wait::until("a sync to fail", Duration::from_secs(20), async || match tracer.injected() {
                Ok(0) => Err("none".to_owned()),
                Ok(_) => Ok(Instant::now()),
                Err(error) => Err(error.to_string()),
            });
            let failed = failed.await?;
            let status = cluster.node(victim).ended(Duration::from_secs(5)).await?;
            let lived = failed.elapsed();
            fault::counted(rows, what, tracer.injected()?, "syncs failed")?;
            drop(tracer);
            println!("FIGURE a sync fails: the node ended after {} ms with {status}", lived.as_millis());
            assert!(!status.success(), "it ends as if all were well");
            assert!(lived < Duration::from_secs(2), "it lived on for {lived:?}");
            let said = cluster.node(victim).log_tail(20).to_lowercase();
            assert!(said.contains("input/output error"), "it does not say why: {said}");
            storm.goes_on(began + Duration::from_millis(100), 100).await?;
            gaps.push(storm.gaps(began).into_values().max().unwrap_or_default());
            cluster.node(victim).start()?;
            cluster.ready().await?;
        }
        println!("{}", line("a sync fails", &gaps));
        storm.judge(cluster).await?;
        assert!(gaps.iter().all(|gap| *gap < GAP), "{gaps:?}");
        Ok(())
    })
    .await;
}

/// Kinds of calls that change a disk. The process is killed as it enters one of them, before it is done. Nothing makes a
/// file longer or shorter (`ftruncate`) but a start.
const STEPS: [&str; 7] = [
    "pwrite64",
    "fdatasync",
    "rename,renameat,renameat2",
    "fsync",
    "unlink,unlinkat",
    "write,writev,pwritev",
    "sync_file_range",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_at_any_step_of_storing_starts_again_by_itself() {
    let (mut gaps, mut reached, mut skipped) = (Vec::new(), std::collections::BTreeSet::new(), false);
    let steps = if rounds(1) > 1 { STEPS.len() } else { 3 };
    for round in 0..rounds(1) {
        // Each on disks of its own: what is written in so many rounds, and read by `verify` each time, has no bound.
        on_cluster(Options::default(), async |cluster| -> Test {
            let seed = 72 + round as u64;
            let storm = Storm::through(Through::Every, cluster, SHARDS, |plan| plan.seed = seed).await?;
            for (at, step) in STEPS.into_iter().take(steps).enumerate() {
                let (rows, what) = ("3", format!("killed at {step}"));
                let victim = (round + at) % 3;
                let inject = format!("inject={step}:signal=SIGKILL:when={}", 1 + round * 3);
                let trace_only = format!("trace={step}");
                let began = Instant::now();
                let Some(tracer) = trace(cluster, victim, (rows, &what), &["-e", &trace_only, "-e", &inject]) else {
                    skipped = true;
                    break;
                };
                let died = cluster.node(victim).ended(Duration::from_secs(10)).await.is_ok();
                drop(tracer);
                if !died {
                    // A thread that makes such a call so often was not there.
                    println!("not reached within 10 s: {what}");
                    continue;
                }
                reached.insert(step);
                fault::counted(rows, &what, 1, "node killed")?;
                let data = cluster.node(victim).data.display().to_string();
                let (code, said) = cluster.holdfast(victim, &["verify", "--data", &data]).await?;
                assert_eq!(code, Some(0), "{what}: {said}");
                cluster.node(victim).start()?;
                cluster.ready().await?;
                storm.goes_on(began + Duration::from_millis(100), 30).await?;
                gaps.push(storm.gaps(began).into_values().max().unwrap_or_default());
            }
            storm.judge(cluster).await
        })
        .await;
    }
    println!("{}", line("killed at a step of storing", &gaps));
    println!("FIGURE kinds of steps at which a node was killed: {} of {steps}", reached.len());
    let never: Vec<_> = STEPS.into_iter().take(steps).filter(|step| !reached.contains(step)).collect();
    // In one round a call may be too rare; in many it is not.
    let few = never.len() <= usize::from(rounds(1) == 1);
    assert!(skipped || few, "steps at which it was never killed: {never:?}");
    // The tracer, which stops the node at every call, takes its time too.
    assert!(gaps.iter().all(|gap| *gap < GAP * 2), "{gaps:?}");
}

/// Slow syncs that say something, and how often more puts are made to have as many.
const SLOW_SYNCS: u64 = 5;
const SLOW_ROUNDS: u32 = 50;

/// 99th percentile of puts of 4 KiB by eight clients, and that none failed.
async fn puts(cluster: &Cluster) -> Result<Duration, Failure> {
    let target = Target::new(cluster.gateways(), cluster.keys().clone(), "slow", 4096);
    let span = Duration::from_secs(20);
    let case = Case { kind: Kind::Put, size: 4096, clients: 8, objects: 100, span, operations: Some(200) };
    let done = load::run(&target, &case).await;
    match done.errors {
        0 => Ok(Duration::from_micros(done.latency.value_at_quantile(0.99))),
        errors => Err(Failure::new(format!("{errors} puts failed: {:?}", done.first_error))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_nothing_fail_and_nobody_stand_for_election() {
    on_cluster(Options { shards: 1, ..Options::default() }, async |cluster| -> Test {
        let made = raw(cluster, 0).call(Call::bucket(Method::PUT, "slow")).await?;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text());
        let leader = cluster.leader(1, GAP * 3).await?;
        // Root's leader is somebody else or the same: only the shard's counts here.
        let term = async |cluster: &Cluster| -> Result<u64, Failure> {
            let status = cluster.status(leader).await?;
            Ok(status.groups.iter().find(|group| group.id == 1).map_or(0, |group| group.term))
        };
        let (before, well) = (term(cluster).await?, puts(cluster).await?);
        println!("FIGURE puts with fast disks: p99 {} ms", well.as_millis());
        for (what, victim) in [("a follower's disk is slow", (leader + 1) % 3), ("the leader's disk is slow", leader)] {
            let arguments = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_enter=200000"];
            let Some(tracer) = trace(cluster, victim, ("15", what), &arguments) else { return Ok(()) };
            let mut slow = puts(cluster).await?;
            // The others may be done before the slow disk has synced once.
            for _ in 0..SLOW_ROUNDS {
                if tracer.injected()? >= SLOW_SYNCS {
                    break;
                }
                slow = slow.max(puts(cluster).await?);
            }
            println!("FIGURE {what} (200 ms a sync): p99 {} ms", slow.as_millis());
            fault::counted("15", what, tracer.injected()?, "syncs delayed")?;
            drop(tracer);
            cluster.ready().await?;
        }
        let elections = term(cluster).await? - before;
        println!("FIGURE slow disks: {elections} elections");
        assert!(elections <= 2, "{elections} elections because of slow disks");
        Ok(())
    })
    .await;
}

/// The file of a node that holds a piece of a body.
fn holder(cluster: &mut Cluster, at: usize, piece: &[u8]) -> Option<PathBuf> {
    let files = cluster.node(at).files().into_iter();
    files.map(|(path, _)| path).find(|path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(piece.len()).any(|window| window == piece)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_disk_cannot_read_is_served_from_elsewhere() {
    on_cluster(Options { shards: 1, ..Options::default() }, async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        s3.call(Call::bucket(Method::PUT, "unread")).await?;
        let bytes = body::make(3, 3 << 20);
        let put = s3.call(Call::object(Method::PUT, "unread", "d/k").body(bytes.clone())).await?;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text());
        cluster.ready().await?;
        let piece = bytes.slice(1_000_000..1_000_064);
        for at in 0..3 {
            let Some(path) = holder(cluster, at, &piece) else {
                return Err(Failure::new(format!("n{} has none", at + 1)));
            };
            let path = path.display().to_string();
            let (rows, what) = ("11", "reads of a blob fail");
            let arguments = ["-P", &path, "-e", "inject=pread64,read:error=EIO"];
            let Some(tracer) = trace(cluster, at, (rows, what), &arguments) else { return Ok(()) };
            for mode in ["eventual", "strong"] {
                let mut s3 = raw(cluster, at);
                let got = s3.call(Call::object(Method::GET, "unread", "d/k").header("x-holdfast-read", mode)).await?;
                assert_eq!(got.status, StatusCode::OK, "{mode} through n{}: {}", at + 1, got.text());
                assert_eq!(body::verify(3, &got.body), Ok(()), "{mode} through n{}", at + 1);
            }
            fault::counted(rows, what, tracer.injected()?, "reads failed")?;
            assert!(cluster.node(at).is_running(), "a block that cannot be read is no reason to end");
            drop(tracer);
            let counted = cluster.metrics(at, |name| name.contains("corrupt") || name.contains("repair")).await?;
            assert!(counted.is_some_and(|count| count >= 1.0), "no counter of n{} moved: {counted:?}", at + 1);
            println!("FIGURE reads of a blob fail on n{}: counters of bad and repaired copies {counted:?}", at + 1);
        }
        Ok(())
    })
    .await;
}

/// Keys that would leave the data directory, end a string or hide a file if they were ever a path.
fn hostile() -> Vec<String> {
    let fixed = [
        "..",
        "../../../../etc/holdfast-hostile",
        "/etc/holdfast-hostile",
        "//etc//holdfast-hostile",
        "a/../../holdfast-hostile",
        "./.",
        ".",
        "%2e%2e%2fholdfast-hostile",
        "a\u{0}/holdfast-hostile",
        "line\nbreak/holdfast-hostile",
        "\u{fffe}",
        "\u{7f}\u{1}",
        "~/holdfast-hostile",
        "$(touch holdfast-hostile)",
        "C:\\holdfast-hostile",
        "d/",
        "d//",
        "-rf",
    ];
    fixed.iter().map(|key| (*key).to_owned()).chain(["k".repeat(1024)]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_keys_are_never_paths() {
    on_cluster(Options { nodes: 1, shards: 1, ..Options::default() }, async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        s3.call(Call::bucket(Method::PUT, "hostile")).await?;
        let (rows, what) = ("35", "system calls recorded");
        let arguments = ["-e", "trace=%file"];
        let Some(tracer) = trace(cluster, 0, (rows, what), &arguments) else { return Ok(()) };
        let mut stored = 0;
        for (number, key) in hostile().into_iter().enumerate() {
            for size in [100, 70_000] {
                let bytes = body::make(number as u64, size);
                let put = s3.call(Call::object(Method::PUT, "hostile", &key).body(bytes)).await?;
                if put.status != StatusCode::OK {
                    assert!(put.status.is_client_error(), "{key:?}: {} {}", put.status, put.text());
                    continue;
                }
                stored += 1;
                let got = s3.call(Call::object(Method::GET, "hostile", &key)).await?;
                assert_eq!((got.status, body::verify(number as u64, &got.body)), (StatusCode::OK, Ok(())), "{key:?}");
            }
        }
        assert!(stored > 20, "only {stored} were stored");
        let data = cluster.node(0).data.display().to_string();
        let lines = tracer.lines()?;
        drop(tracer);
        // Every path of a call that names one, as strace quotes it.
        let quoted = lines.iter().flat_map(|line| line.split('"').skip(1).step_by(2));
        // An empty one stands for a file that is open already.
        let paths: Vec<&str> = quoted.filter(|path| !path.is_empty()).collect();
        fault::counted(rows, what, paths.len() as u64, "paths were recorded")?;
        let outside: Vec<&&str> = paths.iter().filter(|path| !path.starts_with(&data)).collect();
        let system = ["/proc/", "/sys/", "/etc/resolv.conf", "/etc/hosts", "/etc/localtime", "/dev/"];
        let odd: Vec<_> = outside.iter().filter(|path| !system.iter().any(|of| path.starts_with(of))).collect();
        assert!(odd.is_empty(), "opened outside of the data directory: {odd:?}");
        let named: Vec<&&str> = paths.iter().filter(|path| path.contains("hostile")).collect();
        assert!(named.is_empty(), "keys became paths: {named:?}");
        println!("FIGURE hostile keys: {stored} objects, {} paths used, 0 outside of the data directory", paths.len());
        Ok(())
    })
    .await;
}
