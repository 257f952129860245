//! Writes: who is asked, what is repeated, and what is never forgotten.

use std::time::Duration;

use holdfast_wire::error::CallError;
use holdfast_wire::id::{BlobId, BucketId, NodeId, UploadId};
use holdfast_wire::placement::HashRange;
use holdfast_wire::request::PutPart;

use super::*;
use crate::fake::{err, unavailable, unknown, unreachable};

pub(super) const SHARD: GroupId = GroupId(1);

#[tokio::test(start_paused = true)]
async fn the_leader_is_asked_once() {
    let bench = bench(1).await;
    let written = bench.write().await.unwrap();
    assert!(matches!(written.outcome, WriteOutcome::Stored { .. }));
    assert_eq!((bench.fleet.calls(), bench.fleet.node(1).calls().len()), (1, 1));
    let write = write_of(&bench.fleet.node(1).calls()[0]).clone();
    assert!(write.deadline_ms <= 2500 && write.request != RequestId(0));
    assert_eq!(bench.router.view().unwrap().layout.nodes.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_followed_at_once_and_under_the_same_id() {
    let bench = bench(1).await;
    bench.fleet.node(1).script(|_| err(CallError::NotLeader { leader: Some(NodeId(3)) }));
    bench.fleet.node(3).script(|_| {
        ok(Response::Written {
            outcome: WriteOutcome::Deleted { seq: Default::default(), keys: vec![] },
            ack: AckMode::All,
        })
    });
    let (written, took) = timed(bench.write()).await;
    assert_eq!(written.unwrap().ack, AckMode::All);
    assert_eq!(took, Duration::ZERO);
    assert_eq!(ids(&bench.fleet.node(1).calls()), ids(&bench.fleet.node(3).calls()));
}

/// The node that a hint names may lead in a term that no heartbeat has told of yet.
#[tokio::test(start_paused = true)]
async fn whom_a_hint_names_has_time_to_answer() {
    let bench = bench(1).await;
    let sound = bench.fleet.clone();
    bench.fleet.node(1).script(|_| err(CallError::NotLeader { leader: Some(NodeId(2)) }));
    bench.fleet.node(2).script(move |request| Reply::After(Duration::from_millis(900), sound.node(1).soundly(request)));
    let (written, took) = timed(bench.write()).await;
    written.unwrap();
    assert_eq!((took, bench.fleet.calls()), (Duration::from_millis(900), 2));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_elected_anew_is_not_left() {
    let bench = bench(1).await;
    let sound = bench.fleet.clone();
    bench.fleet.node(1).script(move |request| Reply::After(Duration::from_millis(900), sound.node(1).soundly(request)));
    let again = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.fleet.lead(SHARD, 1, 2);
    };
    let ((written, took), ()) = tokio::join!(timed(bench.write()), again);
    written.unwrap();
    assert_eq!((took, bench.fleet.calls()), (Duration::from_millis(900), 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_points_at_itself_is_asked_again_with_a_pause() {
    let bench = bench(1).await;
    let mut first = true;
    bench.fleet.node(1).script(move |_| match std::mem::take(&mut first) {
        true => err(CallError::NotLeader { leader: Some(NodeId(1)) }),
        false => Reply::Soundly,
    });
    let (written, took) = timed(bench.write()).await;
    written.unwrap();
    assert!(took >= Duration::from_millis(5) && took <= Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn ids_of_requests_are_a_gateways_own() {
    let (one, two) = (bench(1).await, bench(1).await);
    one.write().await.unwrap();
    one.write().await.unwrap();
    two.write().await.unwrap();
    let (one, two) = (ids(&one.fleet.node(1).calls()), ids(&two.fleet.node(1).calls()));
    let gateway = |id: &RequestId| id.0 >> 64;
    assert_eq!((one.len(), gateway(&one[0])), (2, gateway(&one[1])));
    assert!(one[0] != one[1] && gateway(&one[0]) != gateway(&two[0]));
}

#[tokio::test(start_paused = true)]
async fn nodes_that_point_at_each_other_are_asked_with_pauses() {
    let bench = bench(1).await;
    bench.fleet.node(1).script(|_| err(CallError::NotLeader { leader: Some(NodeId(2)) }));
    bench.fleet.node(2).script(|_| err(CallError::NotLeader { leader: Some(NodeId(1)) }));
    let (written, took) = timed(bench.write()).await;
    assert!(matches!(written, Err(RouteError::SlowDown(_))));
    assert!(took < NEVER_LONGER && took > Duration::from_secs(7));
    assert!(bench.fleet.calls() < 100, "{}", bench.fleet.calls());
    assert_eq!(bench.router.metrics().slow_downs(Cause::NoLeader), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_write_goes_on_as_soon_as_a_leader_appears() {
    let bench = bench(1).await;
    bench.fleet.no_leaders();
    bench.membership.until(|view| view.leader(SHARD).is_none()).await;
    let lead = async {
        tokio::time::sleep(Duration::from_millis(1777)).await;
        bench.fleet.lead(SHARD, 2, 2);
    };
    let ((written, took), ()) = tokio::join!(timed(bench.write()), lead);
    written.unwrap();
    assert_eq!(took, Duration::from_millis(1777));
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_leader_died_goes_on_as_soon_as_the_next_one_appears() {
    let bench = bench(1).await;
    bench.fleet.node(1).die();
    let lead = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        bench.fleet.lead(SHARD, 2, 2);
    };
    let ((written, took), ()) = tokio::join!(timed(bench.write()), lead);
    written.unwrap();
    assert_eq!(took, Duration::from_millis(1500));
    assert!(bench.router.metrics().retries.load(std::sync::atomic::Ordering::Relaxed) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_left_for_its_successor() {
    let bench = bench(1).await;
    bench.fleet.node(1).script(|_| Reply::Never);
    bench.fleet.node(1).fall_silent();
    let lead = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        bench.fleet.lead(SHARD, 2, 2);
    };
    let ((written, took), ()) = tokio::join!(timed(bench.write()), lead);
    written.unwrap();
    assert!(took < Duration::from_millis(1100), "{took:?}");
    assert_eq!(ids(&bench.fleet.node(1).calls()), ids(&bench.fleet.node(2).calls()), "it may have been applied");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_under_way_beats_the_news_of_a_successor() {
    let bench = bench(1).await;
    let answer = bench.fleet.node(1).soundly(&Request::Write(WriteRequest {
        group: SHARD,
        request: RequestId(1),
        ack: None,
        deadline_ms: 0,
        write: put(&bench.bucket, "k"),
    }));
    let mut answer = Some(answer);
    bench.fleet.node(1).script(move |_| Reply::After(Duration::from_millis(150), answer.take().unwrap()));
    let lead = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.fleet.lead(SHARD, 2, 2);
    };
    let (written, ()) = tokio::join!(bench.write(), lead);
    written.unwrap();
    assert_eq!(bench.fleet.node(2).calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_applied_is_repeated_under_the_same_id() {
    let bench = bench(1).await;
    let mut first = true;
    bench.fleet.node(1).script(move |_| if std::mem::take(&mut first) { unknown() } else { Reply::Soundly });
    bench.write().await.unwrap();
    let ids = ids(&bench.fleet.node(1).calls());
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_is_never_forgotten() {
    // However the later attempts end, each certain in itself.
    type Later = fn() -> Reply;
    let later: [Later; 5] = [
        unknown,
        unreachable,
        unavailable,
        || err(CallError::NoSpace),
        || err(CallError::Malformed { reason: String::new() }),
    ];
    for later in later {
        let bench = bench(1).await;
        let mut first = true;
        bench.fleet.script(move |_, _| if std::mem::take(&mut first) { unknown() } else { later() });
        let (written, took) = timed(bench.write()).await;
        assert!(matches!(written, Err(RouteError::Unknown(_))), "{written:?}");
        assert!(took < NEVER_LONGER, "{took:?}");
        assert_eq!(bench.router.metrics().unknown.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_certainly_not_applied_ends_as_slow_down_in_time() {
    for reply in [unreachable, unavailable] {
        let bench = bench(1).await;
        bench.fleet.script(move |_, _| reply());
        let (written, took) = timed(bench.write()).await;
        assert!(matches!(written, Err(RouteError::SlowDown(_))), "{written:?}");
        assert!(took < NEVER_LONGER && took > Duration::from_secs(7), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_hangs_does_not_hang_the_client() {
    let bench = bench(1).await;
    bench.fleet.script(|_, _| Reply::Never);
    let (written, took) = timed(bench.write()).await;
    assert!(matches!(written, Err(RouteError::Unknown(_))), "{written:?}");
    assert!(took < NEVER_LONGER, "{took:?}");
    assert!(bench.fleet.calls() >= 3, "a hanging attempt leaves time for others");
}

#[tokio::test(start_paused = true)]
async fn without_a_map_a_write_is_told_to_come_back() {
    let fleet = Fleet::new(1, 1);
    fleet.node(1).die();
    let membership = Membership::start_with(fleet, None, vec!["n1".to_owned()], Seams::real());
    let router = Router::new(membership, Seams::real(), RouterOptions::default());
    let bucket = bucket(1, "bucket");
    let (written, took) = timed(router.write(&bucket, &key("k"), Modes::default(), put(&bucket, "k"))).await;
    assert!(matches!(written, Err(RouteError::SlowDown(_))));
    assert!(took < NEVER_LONGER, "{took:?}");
    assert!(router.view().is_none());
}

#[tokio::test(start_paused = true)]
async fn full_disks_and_overload_are_told_at_once() {
    for (error, cause) in [(CallError::NoSpace, Cause::NoSpace), (CallError::Overloaded, Cause::Overloaded)] {
        let bench = bench(1).await;
        bench.fleet.script(move |_, _| err(error.clone()));
        let (written, took) = timed(bench.write()).await;
        assert!(matches!(written, Err(RouteError::SlowDown(_))));
        assert_eq!((took, bench.fleet.calls()), (Duration::ZERO, 1));
        assert_eq!(bench.router.metrics().slow_downs(cause), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_shard_is_written_there_once_the_map_says_so() {
    let bench = bench(1).await;
    let point = point_of(&bench.bucket, &key("k"));
    bench.fleet.script(|_, request| match request {
        Request::Write(write) if write.group == GroupId(1) => refused(Refusal::WrongShard),
        _ => Reply::Soundly,
    });
    let split = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let below = HashRange { first: 0, last: point - 1 };
        bench.fleet.remap(vec![below, HashRange { first: point, last: u64::MAX }]);
    };
    let (written, ()) = tokio::join!(bench.write(), split);
    let WriteOutcome::Stored { seq, .. } = written.unwrap().outcome else { panic!("not stored") };
    assert_eq!(seq.group, GroupId(2));
    let mut ids = ids(&bench.fleet.node(1).calls());
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "a refusal stands under its own id");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_applied_is_not_repeated_in_another_shard() {
    let bench = bench(1).await;
    let point = point_of(&bench.bucket, &key("k"));
    bench.fleet.script(|_, _| unknown());
    let split = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.fleet.script(|_, _| Reply::Soundly);
        let below = HashRange { first: 0, last: point - 1 };
        bench.fleet.remap(vec![below, HashRange { first: point, last: u64::MAX }]);
        bench.membership.until(|view| view.layout().version == 2).await;
    };
    let (written, ()) = tokio::join!(bench.write(), split);
    // The repetition may still have reached the old shard between the two steps; never the new one.
    let stored = bench.fleet.node(1).calls().iter().any(|request| write_of(request).group == GroupId(2));
    assert!(!stored, "{written:?}");

    // And an old shard that has given the key away does not know what it did before.
    let bench = super::bench(1).await;
    let mut first = true;
    bench.fleet.script(move |_, _| if std::mem::take(&mut first) { unknown() } else { refused(Refusal::WrongShard) });
    assert!(matches!(bench.write().await, Err(RouteError::Unknown(_))));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_passed_on() {
    for refusal in [Refusal::NoSuchUpload, Refusal::BucketFrozen, Refusal::SourceChanged] {
        let bench = bench(1).await;
        let wanted = refusal.clone();
        bench.fleet.script(move |_, _| refused(refusal.clone()));
        assert_eq!(bench.write().await.unwrap_err(), RouteError::Refused(wanted));
        assert_eq!(bench.fleet.calls(), 1);
    }
}

pub(super) fn knows(id: u64) -> impl FnMut(NodeId, &Request) -> Reply + Send + 'static {
    move |_, request| match request {
        Request::Write(write) if write.write.bucket() != BucketId(id) => refused(Refusal::NoSuchBucket),
        _ => Reply::Soundly,
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_was_made_anew_is_written_to_under_its_new_id() {
    let bench = bench(1).await;
    bench.fleet.put_bucket(bucket(8, "bucket"));
    bench.fleet.script(knows(8));
    bench.write().await.unwrap();
    assert_eq!(bench.router.bucket(&bench.bucket.name).await.unwrap().id, BucketId(8), "and is known from then on");
}

/// The bucket has another id now, under which its key is of another shard.
fn made_anew_elsewhere(bench: &Bench) {
    let other = (8..).find(|&id| {
        let moved = bucket(id, "bucket");
        shard_of(&bench.membership.view(), point_of(&moved, &key("k"))) != Some(bench.shard("k"))
    });
    let other = other.unwrap();
    bench.fleet.put_bucket(bucket(other, "bucket"));
    bench.fleet.script(knows(other));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_lie_with_the_old_bucket_are_not_named_by_the_new_one() {
    let bench = bench(64).await;
    let mut write = put(&bench.bucket, "k");
    let Write::Put(put) = &mut write else { unreachable!() };
    put.body = NewBody::Blob { id: BlobId(5), len: 9 };
    made_anew_elsewhere(&bench);
    let written = bench.router.write(&bench.bucket, &key("k"), Modes::default(), write).await;
    assert!(matches!(written, Err(RouteError::SlowDown(_))), "{written:?}");
}

/// Bytes that the write carries go wherever it goes.
#[tokio::test(start_paused = true)]
async fn inline_bytes_follow_their_bucket_to_another_shard() {
    let bench = bench(64).await;
    made_anew_elsewhere(&bench);
    bench.write().await.unwrap();
    let part = |body| {
        Write::PutPart(PutPart {
            bucket: bench.bucket.id,
            key: key("k"),
            upload: UploadId(1),
            number: 1,
            etag: String::new(),
            checksum: None,
            body,
            salt: None,
        })
    };
    let put = async |body| bench.router.write(&bench.bucket, &key("k"), Modes::default(), part(body)).await;
    let inline = put(NewBody::Inline("x".into())).await;
    assert!(!matches!(inline, Err(RouteError::SlowDown(_))), "{inline:?}");
    let blob = put(NewBody::Blob { id: BlobId(5), len: 9 }).await;
    assert!(matches!(blob, Err(RouteError::SlowDown(_))), "{blob:?}");
}

/// What the client names once is one write, however often it is sent; what was refused is another.
#[tokio::test(start_paused = true)]
async fn a_refused_write_goes_on_under_another_id_that_follows_from_the_clients() {
    let bench = bench(1).await;
    bench.fleet.put_bucket(bucket(8, "bucket"));
    bench.fleet.script(knows(8));
    let write = put(&bench.bucket, "k");
    bench.router.write_as(Some(RequestId(77)), &bench.bucket, &key("k"), Modes::default(), write).await.unwrap();
    let calls: Vec<_> =
        bench.fleet.node(1).calls().into_iter().filter(|call| matches!(call, Request::Write(_))).collect();
    assert_eq!(ids(&calls), [RequestId(77), RequestId(78)]);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_gone_is_told_and_forgotten() {
    let bench = bench(1).await;
    bench.router.bucket(&bench.bucket.name).await.unwrap();
    bench.fleet.remove_bucket("bucket");
    bench.fleet.script(knows(0));
    assert_eq!(bench.write().await.unwrap_err(), RouteError::NoSuchBucket);
    assert_eq!(bench.router.bucket(&bench.bucket.name).await.unwrap_err(), RouteError::NoSuchBucket);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_the_shard_never_learns_of_ends() {
    let bench = bench(1).await;
    bench.fleet.script(knows(0));
    let (written, took) = timed(bench.write()).await;
    assert_eq!(written.unwrap_err(), RouteError::NoSuchBucket);
    assert!(took < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_root_directory_share_a_shard() {
    let bench = bench(64).await;
    let same = |a: &str, b: &str| bench.router.same_shard((&bench.bucket, &key(a)), (&bench.bucket, &key(b)));
    assert!(same("d/a", "d/b"));
    assert!(!(0..20).all(|at| same("d/a", &format!("e{at}/a"))));
}
