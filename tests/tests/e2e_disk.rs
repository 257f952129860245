//! Disks that lie, rot and run full.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use holdfast_tests::body;
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::cluster::node::Node;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::history::gap::Through;
use holdfast_tests::history::workload::Plan;
use holdfast_tests::storm::{Storm, line, rounds};
use holdfast_tests::wait;
use http::{Method, StatusCode};

type Test = Result<(), Failure>;

/// From space on a full disk until it takes writes again.
const WRITABLE: Duration = Duration::from_secs(30);
/// From a full disk until its node leads nothing: it looks at its disk twice a second, and one transfer that fails may
/// take 2 s and is tried again.
const HANDED_OVER: Duration = Duration::from_secs(10);
/// How long writes may stop because of one full disk.
const GAP: Duration = Duration::from_secs(5);

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

/// The file of a node that holds a piece of a body, and where in it.
fn find(node: &Node, piece: &[u8]) -> Option<(PathBuf, u64)> {
    node.files().into_iter().find_map(|(path, _)| {
        let bytes = std::fs::read(&path).ok()?;
        let at = bytes.windows(piece.len()).position(|window| window == piece)?;
        Some((path, at as u64))
    })
}

fn flip(path: &Path, at: u64) -> std::io::Result<()> {
    let file = std::fs::File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x40], at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_block_is_served_from_elsewhere_and_repaired() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "rot"), StatusCode::OK).await?;
        let body = body::make(9, 3 << 20);
        expect(&mut s3, Call::object(Method::PUT, "rot", "d/k").body(body.clone()), StatusCode::OK).await?;
        cluster.ready().await?;
        let (piece, mut flipped) = (body.slice(2_000_000..2_000_064), 0);
        for at in 0..3 {
            let node = cluster.node(at);
            let probe = || {
                let found = find(node, &piece);
                async move { found.ok_or_else(|| "not there".to_owned()) }
            };
            let (path, offset) = wait::until("the blob on the node", Duration::from_secs(20), probe).await?;
            flip(&path, offset + 7)?;
            flipped += u64::from(find(cluster.node(at), &piece).is_none());
            let read = async || -> Result<(), Failure> {
                for through in 0..3 {
                    for mode in ["strong", "eventual"] {
                        let mut s3 = raw(cluster, through);
                        let call = Call::object(Method::GET, "rot", "d/k").header("x-holdfast-read", mode);
                        let got = expect(&mut s3, call, StatusCode::OK).await?;
                        assert_eq!(body::verify(9, &got.body), Ok(()), "n{} rotten, through {through}", at + 1);
                    }
                }
                Ok(())
            };
            read().await?;
            let repaired = tokio::time::Instant::now() + Duration::from_secs(60);
            while find(cluster.node(at), &piece).is_none() {
                assert!(tokio::time::Instant::now() < repaired, "n{} was not repaired", at + 1);
                let mut s3 = raw(cluster, at);
                let call = Call::object(Method::GET, "rot", "d/k").header("x-holdfast-read", "eventual");
                let got = expect(&mut s3, call, StatusCode::OK).await?;
                assert_eq!(body::verify(9, &got.body), Ok(()));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let counted = cluster.metrics(at, |name| name.contains("corrupt") || name.contains("repair")).await?;
            assert!(counted.is_some_and(|count| count >= 1.0), "no counter of n{} moved: {counted:?}", at + 1);
        }
        fault::counted("12", "bits of a blob flipped", flipped, "copies that had it no more")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_corrupt_log_refuses_to_start_and_the_others_go_on() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "logs"), StatusCode::OK).await?;
        for number in 0..60 {
            let call = Call::object(Method::PUT, "logs", &format!("d{number}/k")).body(body::make(number, 4096));
            expect(&mut s3, call, StatusCode::OK).await?;
        }
        cluster.node(2).kill();
        // The body of an early write, inside its log entry: small bodies travel there. The state machine has a copy
        // too, so every copy in the node's log directory is damaged.
        let piece = body::make(5, 4096).slice(1000..1064);
        let logs: Vec<PathBuf> = cluster
            .node(2)
            .files()
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| path.components().any(|part| matches!(part.as_os_str().to_str(), Some("log" | "wal"))))
            .collect();
        let mut damaged = 0;
        for path in &logs {
            let bytes = std::fs::read(path)?;
            if let Some(at) = bytes.windows(piece.len()).position(|window| window == piece) {
                flip(path, at as u64)?;
                damaged += 1;
            }
        }
        assert!(damaged > 0, "no log file holds the entry: {logs:?} of {:?}", cluster.node(2).files());
        fault::counted("13", "bits of the log flipped", damaged, "files")?;
        cluster.node(2).start()?;
        let status = cluster.node(2).ended(Duration::from_secs(20)).await?;
        assert!(!status.success());
        let said = cluster.node(2).log_tail(5);
        assert!(said.contains("corrupt"), "it does not say why: {said}");
        for number in 0..60 {
            let got =
                expect(&mut s3, Call::object(Method::GET, "logs", &format!("d{number}/k")), StatusCode::OK).await?;
            assert_eq!(body::verify(number, &got.body), Ok(()));
        }
        expect(&mut s3, Call::object(Method::PUT, "logs", "d/after").body("x"), StatusCode::OK).await?;
        // What it says to do: an empty directory, and the node is replaced.
        cluster.node(2).wipe()?;
        cluster.node(2).start()?;
        cluster.ready().await?;
        Ok(())
    })
    .await;
}

/// A file system in memory, unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(mib: u32) -> std::io::Result<Option<Self>> {
        let dir = tempfile::TempDir::with_prefix("holdfast-small-")?;
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output()?;
        Ok(mounted.status.success().then_some(Self(dir)))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_refuse_writes_and_recover() {
    let disks: Vec<Small> = (0..3).filter_map(|_| Small::mount(320).ok().flatten()).collect();
    if disks.len() < 3 {
        return fault::skipped("9", "all disks full", &"mounting a tmpfs takes root");
    }
    let data = disks.iter().enumerate().map(|(at, disk)| (at, disk.0.path().join("data"))).collect();
    on_cluster(Options { data, shards: 1, ..Options::default() }, async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "full"), StatusCode::OK).await?;
        let key = |number: u64| format!("d{number}/k");
        let mut stored = 0;
        let refused = loop {
            assert!(stored < 400, "400 MiB fit into 320");
            let call = Call::object(Method::PUT, "full", &key(stored)).body(body::make(stored, 1 << 20));
            let reply = s3.call(call).await?;
            if reply.status != StatusCode::OK {
                break reply;
            }
            stored += 1;
        };
        fault::counted("9", "all disks full", stored, "objects of 1 MiB until they were full")?;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
        assert_eq!(cluster.running().len(), 3, "a full disk is no reason to end");
        for number in 0..stored {
            let got = expect(&mut s3, Call::object(Method::GET, "full", &key(number)), StatusCode::OK).await?;
            assert_eq!(body::verify(number, &got.body), Ok(()));
        }
        expect(&mut s3, Call::object(Method::GET, "full", &key(stored)), StatusCode::NOT_FOUND).await?;
        for number in 0..stored / 2 {
            expect(&mut s3, Call::object(Method::DELETE, "full", &key(number)), StatusCode::NO_CONTENT).await?;
        }
        let freed = Instant::now();
        loop {
            let call = Call::object(Method::PUT, "full", "again/k").body(body::make(7, 1 << 20));
            let reply = s3.call(call).await?;
            if reply.status == StatusCode::OK {
                break;
            }
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text());
            assert!(freed.elapsed() < WRITABLE, "writes do not resume: {}", reply.text());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("FIGURE all disks full: writable {} ms after space was made", freed.elapsed().as_millis());
        for number in stored / 2..stored {
            let got = expect(&mut s3, Call::object(Method::GET, "full", &key(number)), StatusCode::OK).await?;
            assert_eq!(body::verify(number, &got.body), Ok(()));
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_full_disk_stops_nobody() {
    let Some(disk) = Small::mount(256).ok().flatten() else {
        return fault::skipped("9", "one full disk", &"mounting a tmpfs takes root");
    };
    let data = vec![(0, disk.0.path().join("data"))];
    on_cluster(Options { data, ..Options::default() }, async |cluster| -> Test {
        let change = |plan: &mut Plan| (plan.seed, plan.large) = (91, false);
        let storm = Storm::through(Through::Every, cluster, 4, change).await?;
        let ballast = disk.0.path().join("ballast");
        let (mut gaps, mut filled) = (Vec::new(), 0);
        for round in 0..rounds(1) {
            // Whose disk is full leads the group at first.
            cluster.transfer(1 + round as u32 % 4, "n1", 1).await?;
            led(cluster, "n1 to lead a group", |count| count > 0).await?;
            let began = Instant::now();
            filled += fill(&ballast)?;
            led(cluster, "n1, whose disk is full, to lead nothing", |count| count == 0).await?;
            println!("FIGURE one full disk: leads nothing {} ms after that began", began.elapsed().as_millis());
            storm.goes_on(began + Duration::from_secs(3), 300).await?;
            gaps.push(storm.gaps(began).into_values().max().unwrap_or_default());
            assert_eq!(cluster.running().len(), 3, "a full disk is no reason to end");
            std::fs::remove_file(&ballast)?;
            let freed = Instant::now();
            cluster.ready().await?;
            println!("FIGURE one full disk: whole again {} ms after space was made", freed.elapsed().as_millis());
        }
        fault::counted("9", "one full disk", filled, "bytes until it was full")?;
        println!("{}", line("one full disk", &gaps));
        storm.judge(cluster).await?;
        assert!(gaps.iter().all(|gap| *gap < GAP), "{gaps:?}");
        Ok(())
    })
    .await;
}

/// Waits until the number of groups that n1 leads, as n2 sees it, is right.
async fn led(cluster: &Cluster, what: &str, right: impl Fn(usize) -> bool) -> Test {
    let probe = || async {
        let leads = cluster.leaderships(1).await.map_err(|error| error.to_string())?[0];
        if right(leads) { Ok(()) } else { Err(format!("it leads {leads} groups")) }
    };
    Ok(wait::until(what, HANDED_OVER, probe).await?)
}

/// Writes until nothing more fits; how many bytes that were.
fn fill(path: &Path) -> std::io::Result<u64> {
    let mut file = std::fs::File::create(path)?;
    for size in [1 << 20, 4096] {
        while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
    }
    Ok(file.metadata()?.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_index_is_noticed_and_never_believed() {
    const OBJECTS: u64 = 200;
    on_cluster(Options { shards: 1, ..Options::default() }, async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "index"), StatusCode::OK).await?;
        let key = |number: u64| format!("d{number}/k");
        for number in 0..OBJECTS {
            let call = Call::object(Method::PUT, "index", &key(number)).body(body::make(number, 4096));
            expect(&mut s3, call, StatusCode::OK).await?;
        }
        cluster.ready().await?;
        // All over: it reads some of that as soon as it starts.
        let said = rot(cluster, |bytes| (1000..bytes.len()).step_by(5000).collect()).await?;
        let said = said.ok_or_else(|| Failure::new("it goes on with a rotten index"))?;
        println!("it refuses to start: {said}");
        replaced(cluster).await?;
        // In one body: nothing may ask for that before a client does.
        let piece = body::make(7, 4096).slice(1000..1064);
        let in_one = |bytes: &[u8]| bytes.windows(piece.len()).position(|window| window == piece).into_iter().collect();
        if let Some(said) = rot(cluster, in_one).await? {
            println!("it refuses to start: {said}");
        } else {
            let mut failed = 0;
            for number in 0..OBJECTS {
                let call = Call::object(Method::GET, "index", &key(number)).header("x-holdfast-read", "eventual");
                let got = raw(cluster, 2).call(call).await?;
                match got.status {
                    StatusCode::OK => assert_eq!(body::verify(number, &got.body), Ok(()), "{}", key(number)),
                    status if status.is_server_error() => failed += 1,
                    status => panic!("{}: {status} {}", key(number), got.text()),
                }
            }
            println!("it goes on: {failed} of {OBJECTS} objects cannot be read through it, none is wrong");
        }
        for number in 0..OBJECTS {
            let got = expect(&mut s3, Call::object(Method::GET, "index", &key(number)), StatusCode::OK).await?;
            assert_eq!(body::verify(number, &got.body), Ok(()));
        }
        replaced(cluster).await
    })
    .await;
}

/// Ends n3, flips a bit at these places of each file of its index, by the file's bytes, and starts it again. What it
/// says if it refuses to, or does not go on.
async fn rot(cluster: &mut Cluster, places: impl Fn(&[u8]) -> Vec<usize>) -> Result<Option<String>, Failure> {
    let node = cluster.node(2);
    // Ended in order, so that what it has in memory is in its files.
    node.terminate(Duration::from_secs(20)).await?;
    let index = node.data.join("index");
    let mut flipped = 0;
    for (path, _) in node.files().into_iter().filter(|(path, len)| path.starts_with(&index) && *len > 4096) {
        for at in places(&std::fs::read(&path)?) {
            flip(&path, at as u64)?;
            flipped += 1;
        }
    }
    fault::counted("14", "bits of the index flipped", flipped, "bytes")?;
    node.start()?;
    let Ok(status) = node.ended(Duration::from_secs(5)).await else { return Ok(None) };
    let said = node.log_tail(1);
    assert!(!status.success() && said.contains("index engine") && said.contains("Checksum"), "{status}: {said}");
    Ok(Some(said))
}

/// n3 with an empty directory in its old one's stead, whole again.
async fn replaced(cluster: &mut Cluster) -> Test {
    cluster.node(2).kill();
    cluster.node(2).wipe()?;
    cluster.node(2).start()?;
    Ok(cluster.ready().await?)
}
