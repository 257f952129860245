//! The plain cases, on the operating system's files.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_wire::id::{GroupId, NodeId};
use tokio::sync::oneshot;

use super::{at, entry};
use crate::file::RealFiles;
use crate::log::{GroupLog, Log, LogEntry, LogOptions};
use crate::position::Ballot;

async fn open(dir: &tempfile::TempDir, options: LogOptions) -> Log {
    Log::open(Arc::new(RealFiles), dir.path().join("log"), options).await.unwrap()
}

async fn append(group: &GroupLog, entries: Vec<LogEntry>) {
    super::append(group, entries).await.unwrap();
}

#[tokio::test]
async fn a_log_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default()).await;
    let group = log.group(GroupId(1));
    let ballot = Ballot { term: 3, node: NodeId(2), committed: true };
    group.save_ballot(ballot).await.unwrap();
    append(&group, (1..=10).map(|index| entry(1, index, b"first")).collect()).await;
    group.truncate_after(Some(at(1, 5)));
    append(&group, (6..=8).map(|index| entry(2, index, b"second")).collect()).await;
    group.save_committed(Some(at(2, 7)));
    group.purge(at(1, 2));
    let expected = (group.state(), group.read(0, 100, None).unwrap());
    assert_eq!(expected.1.len(), 6);
    assert_eq!(expected.0.last, Some(at(2, 8)));
    log.close().await;

    let log = open(&dir, LogOptions::default()).await;
    let group = log.group(GroupId(1));
    assert_eq!(group.ballot(), Some(ballot));
    assert_eq!((group.state(), group.read(0, 100, None).unwrap()), expected);
    assert_eq!(log.groups(), [GroupId(1)]);
    assert_eq!(group.first_index(), 3);
    assert_eq!(group.read(4, 6, None).unwrap(), [entry(1, 4, b"first"), entry(1, 5, b"first")]);
    append(&group, vec![entry(2, 9, b"third")]).await;
    log.close().await;
}

#[tokio::test]
async fn segments_without_live_entries_go() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes: 64 << 10, cache_bytes: 0, ..LogOptions::default() };
    let log = open(&dir, options).await;
    let (busy, quiet) = (log.group(GroupId(1)), log.group(GroupId(2)));
    append(&quiet, vec![entry(1, 1, b"stays")]).await;
    let payload = Bytes::from(vec![7; 10_000]);
    for index in 1..=200 {
        append(&busy, vec![LogEntry { position: at(1, index), payload: payload.clone() }]).await;
        if index > 5 {
            busy.purge(at(1, index - 5));
        }
    }
    assert_eq!(busy.read(0, 1000, None).unwrap().len(), 5);
    let stats = log.stats();
    // 2 MB went through it; what is left: the segment of the quiet group, what the busy one needs, and spares.
    assert!(stats.retained_bytes <= 8 * options.segment_bytes, "{stats:?}");
    log.close().await;

    let log = open(&dir, options).await;
    let (busy, quiet) = (log.group(GroupId(1)), log.group(GroupId(2)));
    assert_eq!(quiet.read(0, 10, None).unwrap(), [entry(1, 1, b"stays")]);
    let entries = busy.read(0, 1000, None).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.position.index).collect::<Vec<_>>(), [196, 197, 198, 199, 200]);
    assert!(entries.iter().all(|entry| entry.payload == payload));
    log.close().await;
}

#[tokio::test]
async fn a_forgotten_group_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default()).await;
    let (goes, stays) = (log.group(GroupId(1)), log.group(GroupId(2)));
    append(&goes, vec![entry(1, 1, b"goes")]).await;
    append(&stays, vec![entry(1, 1, b"stays")]).await;
    log.forget_group(GroupId(1)).await.unwrap();
    let (done, result) = oneshot::channel();
    goes.append(vec![entry(1, 2, b"late")], move |told| done.send(told).unwrap());
    assert!(result.await.unwrap().is_err());
    assert_eq!(log.groups(), [GroupId(2)]);
    drop((goes, stays));
    log.close().await;
    let log = open(&dir, LogOptions::default()).await;
    assert_eq!(log.groups(), [GroupId(2)]);
    log.close().await;
}

#[tokio::test]
async fn entries_must_follow() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default()).await;
    let group = log.group(GroupId(1));
    append(&group, vec![entry(1, 4, b"anywhere")]).await;
    for wrong in [vec![entry(1, 4, b"")], vec![entry(1, 6, b"")], vec![entry(1, 5, b""), entry(1, 7, b"")]] {
        let (done, result) = oneshot::channel();
        group.append(wrong, move |told| done.send(told).unwrap());
        assert_eq!(result.await.unwrap().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
    assert_eq!(group.read(0, 10, None).unwrap(), [entry(1, 4, b"anywhere")]);
    log.close().await;
}

#[tokio::test]
async fn reads_are_capped_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    for cache_bytes in [0, 1 << 20] {
        let options = LogOptions { cache_bytes, ..LogOptions::default() };
        let log = open(&dir, options).await;
        let group = log.group(GroupId(cache_bytes as u32));
        append(&group, (1..=9).map(|index| entry(1, index, &[index as u8; 1000])).collect()).await;
        assert_eq!(group.is_cached(1), cache_bytes > 0);
        assert_eq!(group.read(1, 10, Some(2500)).unwrap().len(), 2);
        assert_eq!(group.read(3, 10, Some(1)).unwrap(), [entry(1, 3, &[3; 1000])]);
        log.close().await;
    }
}
