//! Reopening, power cuts, snapshots, repeated requests.

use super::support::*;
use super::*;
use crate::index::engine::in_redis::{self, RedisServer};
use crate::index::engine::{Lsm, LsmOptions, View};
use crate::index::requests::{KEEP, KEEP_MS};

/// Applies a mixed bag of writes, `count` of them.
fn work(index: &Index, log: &mut Log, count: u64) {
    for i in 0..count {
        let name = format!("{}/{}", i % 7, i % 31);
        let now = 1000 + log.index * 100;
        let command = match i % 5 {
            0 => put(&name, blob(u128::from(i), i)),
            4 => delete(&[&name]),
            _ => put(&name, inline(&"x".repeat(i as usize % 50))),
        };
        log.request(index, Some(u128::from(log.index)), now, command);
    }
}

fn started(engine: Arc<dyn Engine>) -> (Index, Log) {
    let (index, mut log) = (shard(engine), Log::default());
    log.apply(&index, 1, Command::InstallBucket(bucket(1)));
    let members = Bytes::from_static(b"members");
    index.apply(log.position(), Entry::Membership(members)).unwrap();
    (index, log)
}

#[test]
fn a_dropped_engine_opened_again_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Arc::new(Lsm::open(directory.path(), LsmOptions::default()).unwrap());
    let (index, mut log) = started(open());
    work(&index, &mut log, 300);
    let (applied, all, usage) = (index.applied(), rows(&index), index.usage(BucketId(1)));
    assert_eq!((applied.position.unwrap().index, &applied.membership[..]), (302, &b"members"[..]));
    drop(index);
    let index = shard(open());
    assert_eq!((index.applied(), rows(&index), index.usage(BucketId(1))), (applied, all, usage));
    assert_eq!(index.bucket(BucketId(1)).unwrap().id, BucketId(1));
    work(&index, &mut log, 10);
}

#[test]
fn replaying_what_a_flushed_redis_took_gives_the_same_state() {
    let (server, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let open = |life| Arc::new(in_redis::open(&server, data.path(), life).unwrap());
    let (index, mut log) = started(open(1));
    work(&index, &mut log, 20);
    index.persist().unwrap();
    let synced = log.clone();
    work(&index, &mut log, 40);
    let (applied, all) = (index.applied(), rows(&index));
    drop(index);
    // With all it had.
    let index = shard(open(2));
    assert_eq!((index.applied(), rows(&index)), (applied.clone(), all.clone()));
    drop(index);
    server.command(&[b"FLUSHALL"]);
    let index = shard(open(3));
    let kept = index.applied().position.unwrap().index;
    assert_eq!(kept, synced.index, "the log is purged up to here at most");
    let mut replay = Log { skip_to: kept, ..synced };
    work(&index, &mut replay, 40);
    assert_eq!((index.applied(), rows(&index)), (applied, all));
}

#[test]
fn replaying_what_a_power_cut_took_gives_the_same_state() {
    for surviving in [0, 1, 7, 39, 40] {
        let engine = Memory::with_power_cuts();
        let (index, mut log) = started(Arc::new(engine.clone()));
        work(&index, &mut log, 20);
        index.persist().unwrap();
        let synced = log.clone();
        work(&index, &mut log, 40);
        let (applied, all) = (index.applied(), rows(&index));
        drop(index);
        assert_eq!(engine.cut_power(surviving), 40);
        let index = shard(Arc::new(engine));
        let kept = index.applied().position.unwrap().index;
        assert_eq!(kept, synced.index + surviving);
        let mut replay = Log { skip_to: kept, ..synced };
        work(&index, &mut replay, 40);
        assert_eq!((index.applied(), rows(&index)), (applied, all));
    }
}

#[test]
fn a_snapshot_is_one_moment_and_installs_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let lsm: Arc<dyn Engine> = Arc::new(Lsm::open(directory.path(), LsmOptions::default()).unwrap());
    let servers = [RedisServer::start(), RedisServer::start()];
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let redis = |at: usize| Arc::new(in_redis::open(&servers[at], places[at].path(), 1).unwrap());
    for (from, to) in [
        (redis(0) as Arc<dyn Engine>, redis(1) as Arc<dyn Engine>),
        (Arc::new(Memory::new()), lsm.clone()),
        (Arc::new(Memory::new()), Arc::new(Memory::new())),
    ] {
        let (index, mut log) = started(from);
        work(&index, &mut log, 200);
        let (applied, all) = (index.applied(), rows(&index));
        let snapshot = index.snapshot();
        assert_eq!(*snapshot.applied(), applied);
        // The receiver has a state of its own, and goes on with it until the snapshot is complete.
        let other = shard(to);
        let mut other_log = Log::default();
        other_log.apply(&other, 1, Command::InstallBucket(bucket(1)));
        other_log.apply(&other, 1, put("old", inline("old")));
        let old = other.reader();
        let mut installer = other.install();
        let mut abandoned = other.install();
        for chunk in snapshot.chunks() {
            work(&index, &mut log, 20);
            other_log.apply(&other, 1, put("old", inline("older")));
            let chunk = chunk.unwrap();
            abandoned.push(chunk.clone()).unwrap();
            installer.push(chunk).unwrap();
        }
        assert!(other.object(BucketId(1), &key("old")).unwrap().is_some());
        drop(abandoned);
        assert_eq!(installer.finish().unwrap(), applied);
        assert_eq!((other.applied(), rows(&other)), (applied, all));
        assert!(old.object(BucketId(1), &key("old")).unwrap().is_some(), "a reader keeps its moment");
        drop(old);
        let reopened = shard(other.0.engine.clone());
        assert_eq!((reopened.applied(), rows(&reopened)), (other.applied(), rows(&other)));
        assert_eq!(generations(&*other.0.engine).len(), 1, "what was replaced or abandoned is gone");
        // Requests seen travel with it.
        let mut repeat = Log { index: log.index, ..Log::default() };
        let first = repeat.request(&other, Some(50), 1, put("elsewhere", inline("x")));
        assert!(other.object(BucketId(1), &key("elsewhere")).unwrap().is_none(), "{first}");
    }
}

fn generations(engine: &dyn View) -> std::collections::BTreeSet<u32> {
    let rows = Space::ALL.into_iter().flat_map(|space| engine.range(space, &[], &[]));
    rows.filter_map(|row| key::generation_of(&row.unwrap().0)).filter(|generation| *generation > 0).collect()
}

#[test]
fn a_snapshot_that_never_came_into_force_leaves_nothing_behind() {
    let source = Memory::new();
    let (index, mut log) = started(Arc::new(source));
    (0..5).for_each(|i| drop(log.apply(&index, 5, put(&format!("{i}"), inline(&"x".repeat(600_000))))));
    let target = Memory::with_power_cuts();
    let (other, _) = started(Arc::new(target.clone()));
    other.persist().unwrap();
    let applied = other.applied();
    let mut installer = other.install();
    index.snapshot().chunks().for_each(|chunk| installer.push(chunk.unwrap()).unwrap());
    // The process dies: nothing is cleaned up.
    std::mem::forget(installer);
    assert_eq!(generations(&target).len(), 2);
    let other = shard(Arc::new(target.clone()));
    assert_eq!(other.applied(), applied);
    assert_eq!(generations(&target).len(), 1);
}

#[test]
fn an_installed_snapshot_survives_a_power_cut() {
    let (index, mut log) = started(Arc::new(Memory::new()));
    work(&index, &mut log, 50);
    let target = Memory::with_power_cuts();
    let other = shard(Arc::new(target.clone()));
    let mut installer = other.install();
    index.snapshot().chunks().for_each(|chunk| installer.push(chunk.unwrap()).unwrap());
    installer.finish().unwrap();
    target.cut_power(0);
    let other = shard(Arc::new(target));
    assert_eq!((other.applied(), rows(&other)), (index.applied(), rows(&index)));
}

#[test]
fn broken_snapshots_are_refused() {
    let (index, mut log) = started(Arc::new(Memory::new()));
    work(&index, &mut log, 5);
    let chunk = index.snapshot().chunks().next().unwrap().unwrap();
    let refused = |chunks: &[Bytes]| {
        let other = shard(Arc::new(Memory::new()));
        let mut installer = other.install();
        let pushed = chunks.iter().try_for_each(|chunk| installer.push(chunk.clone()));
        assert!(matches!(pushed.and_then(|()| installer.finish()), Err(IndexError::BrokenSnapshot)));
        assert_eq!(other.applied(), Applied::default());
    };
    refused(&[]);
    refused(&[Bytes::new()]);
    refused(&[Bytes::from_static(&[2])]);
    refused(&[Bytes::from_static(&[1])]);
    refused(&[chunk.slice(..chunk.len() - 1)]);
    refused(&[chunk.slice(..20)]);
    refused(&[chunk.clone(), chunk]);
}

#[test]
fn clear_forgets_a_group_and_no_other() {
    let engine: Arc<dyn Engine> = Arc::new(Memory::new());
    let (index, mut log) = started(engine.clone());
    let root = Index::open(engine.clone(), GroupId::ROOT).unwrap();
    root.apply(Position { term: 1, node: Default::default(), index: 4 }, Entry::Blank).unwrap();
    work(&index, &mut log, 20);
    index.clear().unwrap();
    for index in [index, shard(engine)] {
        assert_eq!((index.applied(), index.buckets().len(), rows(&index).len()), (Applied::default(), 0, 0));
    }
    assert_eq!(root.applied().position.unwrap().index, 4);
}

#[test]
fn requests_are_forgotten_alike_by_a_member_that_restarts() {
    let (index, mut log) = started(Arc::new(Memory::new()));
    let (mut other, mut other_log) = started(Arc::new(Memory::new()));
    let count = KEEP as u64 + 300;
    for i in 0..count {
        // The first ones are old by the time the table is full.
        let now = if i < 200 { 0 } else { KEEP_MS - 100 + i };
        let first = log.request(&index, Some(u128::from(i)), now, delete(&["a"]));
        assert_eq!(other_log.request(&other, Some(u128::from(i)), now, delete(&["a"])), first);
        if i % 1000 == 999 {
            other = shard(other.0.engine.clone());
        }
        assert_eq!(index.applied(), other.applied());
    }
    let kept = index.reader().rows().under(&key::table(Table::Requests)).count();
    assert!(kept > KEEP && kept < count as usize, "{kept} are left");
    let repeat = |log: &mut Log, request| log.request(&index, Some(request), KEEP_MS, put("b", inline("x")));
    repeat(&mut log, u128::from(count) - 1);
    assert!(index.object(BucketId(1), &key("b")).unwrap().is_none(), "seen before");
    repeat(&mut log, 0);
    assert!(index.object(BucketId(1), &key("b")).unwrap().is_some(), "forgotten");
}

#[test]
fn a_repeated_request_gets_the_first_outcome_also_of_a_refusal() {
    let (index, mut log) = started(Arc::new(Memory::new()));
    let refused = log.request(&index, Some(1), 5, copy(&index, "a", "b"));
    log.apply(&index, 6, put("a", inline("x")));
    assert_eq!(log.request(&index, Some(1), 7, copy(&index, "a", "b")), refused);
    assert!(index.object(BucketId(1), &key("b")).unwrap().is_none());
    let stored = log.request(&index, Some(2), 8, put("a", inline("first")));
    assert_eq!(log.request(&index, Some(2), 9, put("a", inline("second"))), stored);
    let object = index.object(BucketId(1), &key("a")).unwrap().unwrap();
    assert_eq!(bytes_of(&index, &object), "first");
}

#[test]
fn reads_of_one_reader_agree_while_entries_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    let (index, mut log) = started(Arc::new(Lsm::open(directory.path(), LsmOptions::default()).unwrap()));
    log.apply(&index, 5, put("a", inline("0")));
    let writes = 2000;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..writes {
                log.apply(&index, 6, put("a", inline(&i.to_string())));
            }
        });
        let mut reads = 0;
        while !writer.is_finished() || reads == 0 {
            let reader = index.reader();
            let object = reader.object(BucketId(1), &key("a")).unwrap().unwrap();
            let Source::Inline(number) = object.detail.pieces[0].source else { panic!("an inline body") };
            assert_eq!(number, object.summary.seq.index);
            assert_eq!(reader.inline_body(number).unwrap().unwrap().len() as u64, object.summary.size);
            reads += 1;
        }
    });
    assert_eq!(index.usage(BucketId(1)).objects, 1);
}
