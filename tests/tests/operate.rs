//! The life of a cluster as the documentation tells it: the commands of docs/life-of-a-cluster.md, as they stand there,
//! with real processes.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use holdfast_tests::cluster::binary;
use holdfast_tests::cluster::ports::Ports;
use tempfile::TempDir;
use tokio::process::Command;

/// It takes 35 s on a quiet machine.
const WITHIN: Duration = Duration::from_secs(240);

#[tokio::test]
async fn the_documented_life_of_a_cluster() {
    let program = binary::find().expect("a program");
    let later = binary::later(&program).expect("a program of the next release");
    let _turn = binary::turn(&program).await.expect("a turn");
    let (dir, ports) = (TempDir::with_prefix("holdfast-life-").expect("a directory"), Ports::take().expect("ports"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("operate/run");
    let log = dir.path().join("log");
    let open = || std::fs::File::options().create(true).append(true).open(&log).expect("a log");
    // A process group of its own, so that nothing of it outlives a test that took too long.
    let mut running = Command::new(script)
        .arg(dir.path())
        .env("HOLDFAST", &program)
        .env("NEXT", &later)
        .env("BASE", ports.of(0).peer.to_string())
        .stdin(Stdio::null())
        .stdout(open())
        .stderr(open())
        .process_group(0)
        .spawn()
        .expect("bash runs it");
    let group = running.id().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)).expect("it runs");
    let ended = tokio::time::timeout(WITHIN, running.wait()).await;
    if ended.is_err() {
        // It may have ended in this moment.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<_> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(30)..].join("\n");
    match ended {
        Ok(Ok(status)) if status.success() => {
            said.lines().filter(|line| line.starts_with("===")).for_each(|line| println!("{line}"))
        }
        Ok(status) => panic!("{status:?}\n{tail}"),
        Err(_) => panic!("not over after {WITHIN:?}\n{tail}"),
    }
}
