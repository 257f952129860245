//! Hosts whose clocks jump or whose memory is scarce. `TEST_ROUNDS=20` runs the figures of the report.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use holdfast_tests::bench::load::{self, Case, Kind, Target};
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::cluster::cgroup::Cgroup;
use holdfast_tests::cluster::clock::Clock;
use holdfast_tests::cluster::tool::run;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::storm::{Storm, line, rounds};
use holdfast_tests::wait;
use holdfast_wire::id::Seq;
use http::{Method, StatusCode};

type Test = Result<(), Failure>;

const SHARDS: usize = 4;

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

/// What lifecycle rules call a day.
const DAY: Duration = Duration::from_secs(2);

/// Starts a cluster whose node n1 lives by a wall clock of its own, and n3 in another time namespace where that can be.
async fn clocked(test: impl AsyncFnOnce(&mut Cluster, &Clock) -> Test) {
    let home = tempfile::TempDir::with_prefix("holdfast-clock-").unwrap_or_else(|error| panic!("{error}"));
    let clock = match Clock::make(home.path()) {
        Ok(clock) => clock,
        Err(error) => return fault::skipped("22", "a wall clock that jumps", &error),
    };
    let env = vec![("HOLDFAST_LIFECYCLE_DAY_SECONDS".to_owned(), DAY.as_secs().to_string())];
    let mut options = Options { env, ..Options::default() };
    match run("unshare", &["--time", "--monotonic", "86400", "true"]) {
        Ok(_) => {
            let wrap = ["unshare", "--time", "--monotonic", "86400", "--"].map(str::to_owned).to_vec();
            options.wraps.push((2, wrap));
        }
        Err(error) => fault::skipped("23", "a monotonic clock of another host", &error),
    }
    let mut cluster = Cluster::lay_out(options).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.node(0).env.extend(clock.env());
    let whole = async {
        for at in 0..cluster.len() {
            cluster.node(at).start()?;
        }
        cluster.ready().await?;
        test(&mut cluster, &clock).await
    };
    if let Err(failure) = whole.await {
        panic!("{failure}");
    }
}

/// Whether n1's gateway finds that a request of now is of another time, as it must with its clock an hour off.
async fn skewed(cluster: &Cluster) -> Result<bool, Failure> {
    let reply = raw(cluster, 0).call(Call::bucket(Method::GET, "kept")).await?;
    Ok(reply.status == StatusCode::FORBIDDEN && reply.text().contains("RequestTimeTooSkewed"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_decide_nothing() {
    clocked(async |cluster, clock| -> Test {
        let space = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/time"));
        let other = cluster.node(2).pid().ok_or_else(|| Failure::harness("n3 does not run"))?;
        // Where it could not have one, that was said.
        if !cluster.node(2).wrap.is_empty() {
            let ahead = u64::from(space(other)? != space(std::process::id())?);
            fault::counted("23", "a monotonic clock of another host", ahead, "node a day ahead")?;
        }
        let mut s3 = raw(cluster, 1);
        expect(&mut s3, Call::bucket(Method::PUT, "kept"), StatusCode::OK).await?;
        // Through n1's own gateway no request would be of the right time.
        let gateways = cluster.gateways()[1..].to_vec();
        let storm = Storm::start(cluster, SHARDS, |plan| (plan.seed, plan.gateways) = (81, gateways)).await?;
        let (mut gaps, mut skews, mut last) = (Vec::new(), 0, 0);
        for round in 0..rounds(1) {
            for jump in [3600, -3600, 60, -120] {
                let began = Instant::now();
                // Every group is led by n1 while the clock jumps, and by somebody else afterwards, in turn.
                let group = 1 + (round % SHARDS) as u32;
                clock.jump(jump)?;
                cluster.transfer(group, if jump % 3600 == 0 { "n1" } else { "n2" }, 1).await?;
                storm.goes_on(began + Duration::from_millis(100), 100).await?;
                gaps.push(storm.gaps(began).into_values().max().unwrap_or_default());
                let off = skewed(cluster).await?;
                skews += u64::from(off);
                assert_eq!(off, jump.abs() == 3600, "a clock that is {jump} s off");
                expect(&mut s3, Call::object(Method::PUT, "kept", "d0/k").body("x"), StatusCode::OK).await?;
                let head = expect(&mut s3, Call::object(Method::HEAD, "kept", "d0/k"), StatusCode::OK).await?;
                let modified = head.header("last-modified").unwrap_or_default();
                let modified = DateTime::from_str(modified, DateTimeFormat::HttpDate)?.secs();
                assert!(modified >= last, "Last-Modified went back from {last} to {modified}");
                last = modified;
            }
            clock.jump(0)?;
        }
        fault::counted("22", "a wall clock that jumps an hour", skews, "requests out of its time")?;
        println!("{}", line("a wall clock that jumps", &gaps));
        cluster.ready().await?;
        storm.judge(cluster).await
    })
    .await;
}

/// The keys that a bucket lists.
async fn listed(s3: &mut Raw, bucket: &str) -> Result<BTreeSet<String>, Failure> {
    let list = expect(s3, Call::bucket(Method::GET, bucket).query("list-type", 2), StatusCode::OK).await?;
    let text = list.text();
    let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
    Ok(keys.map(|(key, _)| key.to_owned()).collect())
}

/// Rules are carried out by the time that most clocks have reached, whoever leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_is_ahead_expires_nothing_early() {
    const OBJECTS: usize = 40;
    clocked(async |cluster, clock| -> Test {
        let mut s3 = raw(cluster, 1);
        // Half an hour, which a clock is ahead of that is an hour ahead; and what goes at once by any clock.
        for (bucket, days) in [("kept", 1800 / DAY.as_secs()), ("soon", 1)] {
            expect(&mut s3, Call::bucket(Method::PUT, bucket), StatusCode::OK).await?;
            let rule = format!(
                "<LifecycleConfiguration><Rule><ID>days</ID><Filter/><Status>Enabled</Status><Expiration>\
                 <Days>{days}</Days></Expiration></Rule></LifecycleConfiguration>"
            );
            let put = Call::bucket(Method::PUT, bucket).query("lifecycle", "").body(rule);
            expect(&mut s3, put, StatusCode::OK).await?;
        }
        let mut groups = BTreeMap::new();
        for number in 0..OBJECTS {
            let key = format!("d{number}/k");
            let put = expect(&mut s3, Call::object(Method::PUT, "kept", &key).body("x"), StatusCode::OK).await?;
            let seq = put.header("x-holdfast-seq").unwrap_or_default().parse::<Seq>()?;
            groups.insert(key, seq.group.0);
        }
        cluster.transfer(1, "n1", 1).await?;
        clock.jump(3600)?;
        assert!(skewed(cluster).await?, "n1's clock is right");
        for key in groups.keys() {
            expect(&mut s3, Call::object(Method::PUT, "soon", key).body("x"), StatusCode::OK).await?;
        }
        // Then every leader has looked at what is due.
        let probe = async || match listed(&mut s3, "soon").await {
            Ok(left) if left.is_empty() => Ok(()),
            Ok(left) => Err(format!("{} are left", left.len())),
            Err(failure) => Err(failure.to_string()),
        };
        wait::until("what is due to expire", Duration::from_secs(30), probe).await?;
        let status = cluster.status(1).await?;
        let ahead = status.nodes.iter().find(|node| node.name == "n1").map(|node| node.id);
        let led = |group: u32| status.groups.iter().any(|status| status.id == group && status.leader == ahead);
        let own = groups.values().filter(|group| led(**group)).count();
        assert!(own > 0, "whose clock is ahead leads nothing");
        let left = listed(&mut s3, "kept").await?;
        assert_eq!(left.len(), OBJECTS, "expired too early; {own} were led by whose clock is ahead");
        fault::counted("22", "a leader whose clock is an hour ahead", own as u64, "objects that it leads")?;
        println!("FIGURE a leader whose clock is an hour ahead: 0 of {OBJECTS} objects expired too early");
        Ok(clock.jump(0)?)
    })
    .await;
}

/// What one process may have, its page cache included.
const MEMORY: u64 = 256 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scarce_memory_kills_nobody_and_elects_nobody() {
    let groups: std::io::Result<Vec<Cgroup>> =
        (0..3).map(|at| Cgroup::make(&format!("holdfast-test-{}-{at}", std::process::id()), MEMORY)).collect();
    let groups = match groups {
        Ok(groups) => groups,
        Err(error) => return fault::skipped("32", "256 MiB of memory", &error),
    };
    let wraps = groups.iter().map(Cgroup::wrap).enumerate().collect();
    on_cluster(Options { shards: 1, wraps, ..Options::default() }, async |cluster| -> Test {
        let members = groups.iter().map(|group| group.members().unwrap_or(0) as u64).sum();
        fault::counted("32", "256 MiB of memory", members, "processes in control groups")?;
        expect(&mut raw(cluster, 0), Call::bucket(Method::PUT, "scarce"), StatusCode::OK).await?;
        let terms = async |cluster: &Cluster| -> Result<u64, Failure> {
            Ok(cluster.status(0).await?.groups.iter().map(|group| group.term).sum())
        };
        let before = terms(cluster).await?;
        // 64 at once: of 64 MiB each in the long form.
        let size = (4 << 20) * rounds(1).min(16) as u64;
        let target = Target::new(cluster.gateways(), cluster.keys().clone(), "scarce", size);
        let span = Duration::from_secs(600);
        let case = Case { kind: Kind::Create, size, clients: 64, objects: 64, span, operations: Some(64) };
        let done = load::run(&target, &case).await;
        let (kills, elections) = (groups.iter().map(|group| group.kills().unwrap_or(99)).sum::<u64>(), terms(cluster).await? - before);
        let peaks: Vec<u64> = groups.iter().map(|group| group.peak().unwrap_or(0) >> 20).collect();
        println!(
            "FIGURE 64 × {} MiB at once with 256 MiB of memory: {} done, {} refused, {kills} killed, {elections} elections, peaks {peaks:?} MiB",
            size >> 20, done.operations, done.errors
        );
        assert_eq!((kills, cluster.running().len()), (0, 3), "killed for want of memory");
        assert_eq!(elections, 0, "elections for want of memory");
        assert!(done.operations > 0 && done.wrong == 0, "{:?}", done.first_error);
        Ok(())
    })
    .await;
    // After their processes.
    drop(groups);
}
