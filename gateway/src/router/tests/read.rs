//! Reads: whom they go to, when a second replica is asked, and how bytes go on.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use holdfast_wire::condition::ReadCondition;
use holdfast_wire::error::CallError;
use holdfast_wire::heartbeat::Load;
use holdfast_wire::id::{BucketId, NodeId};
use holdfast_wire::request::{Freshness, GetObject, RangeSpec, Read, ReadRequest};

use super::*;
use crate::fake::{err, unavailable, unknown, unreachable};
use crate::hedge::DELAY_MIN;

pub(super) fn get(bucket: &Bucket) -> GetObject {
    GetObject {
        bucket: bucket.id,
        key: key("k"),
        head: false,
        range: RangeSpec::All,
        condition: ReadCondition::default(),
        version: None,
        seq: None,
    }
}

impl Bench {
    pub(super) async fn get(&self) -> Result<Got, RouteError> {
        self.router.get(&self.bucket, Modes::default(), get(&self.bucket)).await
    }

    async fn eventually(&self) -> Result<Got, RouteError> {
        let modes = Modes { read: Some(ReadMode::Eventual), ..Modes::default() };
        self.router.get(&self.bucket, modes, get(&self.bucket)).await
    }

    pub(super) fn asked(&self) -> Vec<usize> {
        self.fleet.nodes.iter().map(|node| node.calls().len()).collect()
    }
}

async fn text(got: Result<Got, RouteError>) -> String {
    let chunks: Vec<Bytes> = got.unwrap().body.map(Result::unwrap).collect().await;
    String::from_utf8(chunks.concat()).unwrap()
}

pub(super) fn read_of(request: &Request) -> &ReadRequest {
    match request {
        Request::Read(read) => read,
        other => panic!("no read: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn reads_spread_over_all_replicas() {
    let bench = bench(1).await;
    for _ in 0..300 {
        text(bench.get().await).await;
    }
    assert_eq!(bench.fleet.calls(), 300);
    assert!(bench.asked().iter().all(|&count| count > 60), "{:?}", bench.asked());
    assert!(bench.membership.view().nodes().all(|node| node.link.open() == 0), "nothing stays counted as open");
}

#[tokio::test(start_paused = true)]
async fn a_busy_replica_and_one_with_open_reads_are_spared() {
    let bench = bench(1).await;
    *bench.fleet.node(2).load.lock() = Load { in_flight: 500, ..Load::default() };
    bench.fleet.node(2).speak();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut open = Vec::new();
    for _ in 0..60 {
        open.push(bench.get().await.unwrap());
    }
    let asked = bench.asked();
    assert_eq!(asked[1], 0);
    assert!(asked[0].abs_diff(asked[2]) <= 6, "open reads count: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn the_replica_of_this_process_is_preferred() {
    let bench = bench_of(Fleet::new(3, 1), Some(3)).await;
    for _ in 0..20 {
        text(bench.get().await).await;
    }
    assert_eq!(bench.asked(), [0, 0, 20]);
}

#[tokio::test(start_paused = true)]
async fn whatever_one_replica_cannot_serve_another_does() {
    let errors = [
        CallError::NotHeld,
        CallError::NotFresh,
        CallError::NotHosted,
        CallError::Overloaded,
        CallError::Unreachable { reason: String::new() },
        CallError::Unavailable { reason: String::new() },
        CallError::Unknown { reason: String::new() },
        CallError::NotLeader { leader: None },
    ];
    for error in errors {
        let bench = bench(1).await;
        bench.fleet.script(move |node, _| if node == NodeId(3) { Reply::Soundly } else { err(error.clone()) });
        for _ in 0..10 {
            let (got, took) = timed(bench.get()).await;
            assert_eq!(text(got).await, "from 3");
            assert_eq!(took, Duration::ZERO);
        }
        let others = bench.asked()[..2].iter().sum::<usize>() as u64;
        assert_eq!(bench.router.metrics().retries.load(Ordering::Relaxed), others);
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_all_fail_are_asked_again_until_time_is_up() {
    let bench = bench(1).await;
    let mut left = 7;
    bench.fleet.script(move |_, _| {
        left -= 1;
        if left > 0 { err(CallError::NotHeld) } else { Reply::Soundly }
    });
    text(bench.get().await).await;
    for reply in [unreachable, unavailable, unknown, || Reply::Never] {
        bench.fleet.script(move |_, _| reply());
        let (got, took) = timed(bench.get()).await;
        assert!(matches!(got, Err(RouteError::SlowDown(_))));
        assert!(took < NEVER_LONGER && took > Duration::from_secs(7), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_byte_is_hedged_once_and_the_first_answer_wins() {
    let bench = bench(1).await;
    let slow = |node: NodeId, request: &Request, fleet: &Fleet| {
        Reply::After(Duration::from_millis(600), fleet.node(node.0).soundly(request))
    };
    let fleet = bench.fleet.clone();
    let mut first = None;
    bench.fleet.script(
        move |node, request| {
            if *first.get_or_insert(node) == node { slow(node, request, &fleet) } else { Reply::Soundly }
        },
    );
    let (got, took) = timed(bench.get()).await;
    text(got).await;
    assert_eq!(took, DELAY_MIN);
    assert_eq!(bench.fleet.calls(), 2);
    let metrics = bench.router.metrics();
    assert_eq!(metrics.hedges.load(Ordering::Relaxed), 1);
    assert_eq!(metrics.hedges_won.load(Ordering::Relaxed), 1);

    // All are slow: the first of two answers, and no third is asked.
    let fleet = bench.fleet.clone();
    let before = bench.fleet.calls();
    bench.fleet.script(move |node, request| slow(node, request, &fleet));
    let (got, took) = timed(bench.get()).await;
    text(got).await;
    assert_eq!((took, bench.fleet.calls() - before), (Duration::from_millis(600), 2));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_does_not_spoil_the_read() {
    let bench = bench(1).await;
    let fleet = bench.fleet.clone();
    let mut first = true;
    bench.fleet.script(move |node, request| {
        let sound = fleet.node(node.0).soundly(request);
        if std::mem::take(&mut first) {
            Reply::After(Duration::from_millis(300), sound)
        } else {
            err(CallError::NotHeld)
        }
    });
    let (got, took) = timed(bench.get()).await;
    text(got).await;
    assert_eq!(took, Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_for_everybody_is_not_hedged_for_long() {
    let bench = bench(1).await;
    let fleet = bench.fleet.clone();
    bench.fleet.script(move |node, request| Reply::After(DELAY_MIN * 2, fleet.node(node.0).soundly(request)));
    let hedges = async |reads: u64| {
        let before = bench.router.metrics().hedges.load(Ordering::Relaxed);
        for _ in 0..reads {
            text(bench.get().await).await;
        }
        bench.router.metrics().hedges.load(Ordering::Relaxed) - before
    };
    assert!(hedges(400).await > 5);
    assert_eq!(hedges(400).await, 0);
}

#[tokio::test(start_paused = true)]
async fn chances_are_even() {
    let bench = bench(1).await;
    let mut ones = [0; 64];
    for _ in 0..4096 {
        let chance = bench.router.core.chance();
        ones.iter_mut().enumerate().for_each(|(bit, ones)| *ones += chance >> bit & 1);
    }
    assert!(ones.iter().all(|ones| (1800..2300).contains(ones)), "{ones:?}");
}

#[tokio::test(start_paused = true)]
async fn hedges_stay_within_their_budget() {
    let bench = bench(1).await;
    let fleet = bench.fleet.clone();
    // Slow one time in three: far more often than the 95th percentile would let pass for normal.
    let mut count = 0;
    bench.fleet.script(move |node, request| {
        count += 1;
        let sound = fleet.node(node.0).soundly(request);
        if count % 3 == 0 { Reply::After(Duration::from_millis(1500), sound) } else { Reply::Now(sound) }
    });
    for _ in 0..400 {
        text(bench.get().await).await;
    }
    let hedges = bench.router.metrics().hedges.load(Ordering::Relaxed);
    assert!((15..=30).contains(&hedges), "ten saved up, and one for every twenty reads: {hedges}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_falls_silent_is_replaced_whatever_the_budget() {
    let bench = bench(1).await;
    while bench.router.core.budget.lock().spend() {}
    bench.fleet.node(1).script(|_| Reply::Never);
    bench.fleet.node(1).fall_silent();
    // Not yet suspected: some reads go there.
    for _ in 0..60 {
        let (got, took) = timed(bench.get()).await;
        assert_ne!(text(got).await, "from 1");
        assert!(took < Duration::from_millis(1600), "{took:?}");
        while bench.router.core.budget.lock().spend() {}
    }
    let before = bench.fleet.node(1).calls().len();
    assert!(before > 0, "the test needs a read that met the silent node");
    for _ in 0..50 {
        text(bench.get().await).await;
    }
    assert_eq!(bench.fleet.node(1).calls().len(), before, "a suspected node is not asked");
}

#[tokio::test(start_paused = true)]
async fn eventual_reads_need_no_leader_and_no_majority() {
    let bench = bench(1).await;
    let sound = bench.fleet.node(3).clone();
    bench.fleet.no_leaders();
    bench.fleet.node(1).die();
    bench.fleet.node(2).die();
    bench.fleet.node(3).script(move |request| match read_of(request).freshness {
        Freshness::Mode(ReadMode::Eventual) => Reply::Now(sound.soundly(request)),
        _ => err(CallError::NotFresh),
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (got, took) = timed(bench.eventually()).await;
    assert_eq!(text(got).await, "from 3");
    assert_eq!(took, Duration::ZERO);
    let (got, took) = timed(bench.get()).await;
    assert!(matches!(got, Err(RouteError::SlowDown(_))), "strong ones do");
    assert!(took < NEVER_LONGER, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn how_a_read_ends_is_passed_on() {
    for not in [NotRead::NoSuchKey, NotRead::RangeNotSatisfiable { size: 3 }, NotRead::NoSuchPart { parts: 2 }] {
        let bench = bench(1).await;
        let wanted = not.clone();
        bench.fleet.script(move |_, _| ok(Response::NotRead(not.clone())));
        assert_eq!(bench.get().await.err(), Some(RouteError::NotRead(wanted)));
        assert_eq!(bench.fleet.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_made_anew_is_read_under_its_new_id_and_strongly() {
    let bench = bench(1).await;
    bench.fleet.put_bucket(bucket(8, "bucket"));
    bench.fleet.script(|_, request| match request {
        Request::Read(ReadRequest { freshness, read: Read::Get(get), .. }) => match (get.bucket, freshness) {
            (BucketId(8), Freshness::Mode(ReadMode::Strong)) => Reply::Soundly,
            _ => ok(Response::NotRead(NotRead::NoSuchBucket)),
        },
        _ => Reply::Soundly,
    });
    text(bench.eventually().await).await;
    bench.fleet.script(|_, request| match request {
        Request::Read(_) => ok(Response::NotRead(NotRead::NoSuchBucket)),
        _ => Reply::Soundly,
    });
    assert_eq!(bench.get().await.err(), Some(RouteError::NoSuchBucket), "a shard that never learns of it");
    bench.fleet.remove_bucket("bucket");
    assert_eq!(bench.get().await.err(), Some(RouteError::NoSuchBucket));
}

#[tokio::test(start_paused = true)]
async fn parts_are_read_strongly() {
    let bench = bench(1).await;
    bench.fleet.script(|_, request| {
        assert_eq!(read_of(request).freshness, Freshness::Mode(ReadMode::Strong));
        ok(Response::NotRead(NotRead::NoSuchUpload))
    });
    let parts = bench.router.list_parts(&bench.bucket, &key("k"), holdfast_wire::id::UploadId(1), 0, 10).await;
    assert_eq!(parts.unwrap_err(), RouteError::NotRead(NotRead::NoSuchUpload));
}

#[tokio::test(start_paused = true)]
async fn an_open_body_counts_as_load_until_it_is_dropped() {
    let bench = bench(1).await;
    let got = bench.get().await.unwrap();
    let open = || bench.membership.view().nodes().map(|node| node.link.open()).sum::<u32>();
    assert_eq!(open(), 1);
    drop(got);
    assert_eq!(open(), 0);
    let head = GetObject { head: true, ..get(&bench.bucket) };
    let head = bench.router.get(&bench.bucket, Modes::default(), head).await.unwrap();
    assert_eq!(open(), 0, "a record is no open body");
    assert!(head.body.collect::<Vec<_>>().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_not_ready_is_asked_last() {
    let bench = bench(1).await;
    for node in [1, 2] {
        let mut heartbeat = bench.fleet.node(node).heartbeat();
        heartbeat.not_ready = Some("draining".to_owned());
        bench.fleet.node(node).say(heartbeat);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..20 {
        assert_eq!(text(bench.get().await).await, "from 3");
    }
    let asked: BTreeSet<_> = bench.asked().into_iter().collect();
    assert_eq!(asked, [0, 20].into());
    bench.fleet.node(3).script(|_| unavailable());
    text(bench.get().await).await;
}
