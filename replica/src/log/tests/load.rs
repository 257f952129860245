//! Many writers at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use holdfast_wire::id::GroupId;

use super::{append, at};
use crate::file::{Files, Open, RealFiles};
use crate::log::{Log, LogEntry, LogOptions};

/// `writers` over `groups` groups, `rounds` entries of 1 KiB each; every entry of a group is appended under its lock.
async fn load(log: &Log, writers: u32, groups: u32, rounds: u64) {
    let next = (0..groups).map(|_| Arc::new(tokio::sync::Mutex::new(1))).collect::<Vec<_>>();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let (log, next) = (log.clone(), next[(writer % groups) as usize].clone());
        tasks.spawn(async move {
            let group = log.group(GroupId(writer % groups));
            let payload = Bytes::from(vec![writer as u8; 1024]);
            for _ in 0..rounds {
                let result = {
                    let mut next = next.lock().await;
                    *next += 1;
                    let (done, result) = tokio::sync::oneshot::channel();
                    let entry = LogEntry { position: at(1, *next - 1), payload: payload.clone() };
                    group.append(vec![entry], move |told| done.send(told).unwrap());
                    result
                };
                result.await.unwrap().unwrap();
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn writers_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Arc::new(RealFiles), dir.path().to_owned(), LogOptions::default()).await.unwrap();
    load(&log, 64, 4, 20).await;
    let stats = log.stats();
    assert_eq!(stats.entries, 64 * 20);
    assert!(stats.syncs * 4 < stats.entries, "{stats:?}");
    assert!(stats.bytes_written > stats.entries * 1024 && stats.segments >= 1, "{stats:?}");
    log.close().await;
}

#[tokio::test]
async fn listeners_hear_of_durable_entries_before_the_callback() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Arc::new(RealFiles), dir.path().to_owned(), LogOptions::default()).await.unwrap();
    let heard = Arc::new(AtomicU64::new(0));
    let group = log.group(GroupId(1));
    let hears = heard.clone();
    group.set_durable_listener(Arc::new(move |entries| {
        for entry in entries {
            assert_eq!(hears.fetch_add(1, Ordering::SeqCst) + 1, entry.position.index);
        }
    }));
    for index in 1..=5 {
        let entry = LogEntry { position: at(1, index), payload: Bytes::from_static(b"x") };
        append(&group, vec![entry]).await.unwrap();
        assert_eq!(heard.load(Ordering::SeqCst), index);
    }
    log.close().await;
}

/// Prints what an entry costs; compare in a release build: `cargo test --release -- --ignored --nocapture cost`.
#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_an_entry() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let log = Log::open(Arc::new(RealFiles), dir.path().to_owned(), LogOptions::default()).await.unwrap();
    // Microseconds of CPU of this process, in steps of a hundredth of a second: proc(5), utime and stime.
    let ticks = || {
        let stat = RealFiles.open(Path::new("/proc/self/stat"), Open::Read).unwrap();
        let mut bytes = [0; 1024];
        let count = stat.read_at(&mut bytes, 0).unwrap();
        let text = std::str::from_utf8(&bytes[..count]).unwrap();
        let fields = text.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10_000).sum::<u64>()
    };
    for writers in [1, 16, 64, 256] {
        let (before, cpu) = (log.stats(), ticks());
        let began = tokio::time::Instant::now();
        load_from(&log, writers, 40_000 / u64::from(writers).max(8)).await;
        let (stats, cpu) = (log.stats(), ticks() - cpu);
        let entries = stats.entries - before.entries;
        println!(
            "{writers} writers: {:.0} entries/s, {:.1} µs CPU per entry, {:.3} syncs per entry, sync {} µs",
            entries as f64 / began.elapsed().as_secs_f64(),
            cpu as f64 / entries as f64,
            (stats.syncs - before.syncs) as f64 / entries as f64,
            stats.sync_micros
        );
    }
    log.close().await;
}

/// Like [`load`], in groups of its own.
async fn load_from(log: &Log, writers: u32, rounds: u64) {
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let group = log.group(GroupId(writers * 1000 + writer));
        tasks.spawn(async move {
            let payload = Bytes::from(vec![writer as u8; 1024]);
            for index in 1..=rounds {
                append(&group, vec![LogEntry { position: at(1, index), payload: payload.clone() }]).await.unwrap();
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}
