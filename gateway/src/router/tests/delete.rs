//! Many deletes in one request: over shards, under their own ids, and answered key by key.

use std::time::Duration;

use holdfast_wire::error::CallError;
use holdfast_wire::id::{Seq, VersionId};
use holdfast_wire::placement::HashRange;
use holdfast_wire::request::{DeleteKey, Deleted};

use super::write::knows;
use super::*;
use crate::fake::{err, unknown};

/// What tells which shard has answered.
fn deleted(group: GroupId) -> Deleted {
    Deleted { version: Some(VersionId::Of(Seq { group, index: 9 })), marker: false }
}

fn keys(count: usize) -> Vec<DeleteKey> {
    (0..count).map(|at| DeleteKey::current(key(&format!("d{at}/k")), Default::default())).collect()
}

#[tokio::test(start_paused = true)]
async fn many_deletes_go_to_their_shards_and_answers_come_in_order() {
    let bench = bench(4).await;
    let shard_of = |at: usize| bench.shard(&format!("d{at}/k"));
    let broken = shard_of(0);
    let refuses = key("d5/k");
    assert_ne!(shard_of(5), broken, "the test needs two shards");
    bench.fleet.node(1).script(move |request| {
        let write = write_of(request);
        let Write::Delete { keys, .. } = &write.write else { panic!("no delete") };
        if write.group == broken {
            return err(CallError::NoSpace);
        }
        let answer = |key: &ObjectKey| if *key == refuses { Err(Refusal::NoSuchKey) } else { Ok(deleted(write.group)) };
        let keys = keys.iter().map(|delete| answer(&delete.key)).collect();
        let seq = Seq { group: write.group, index: 9 };
        ok(Response::Written { outcome: WriteOutcome::Deleted { seq, keys }, ack: AckMode::Majority })
    });
    let answers = bench.router.delete_many(&bench.bucket, Modes::default(), keys(40), false).await;
    assert_eq!(answers.len(), 40);
    for (at, answer) in answers.into_iter().enumerate() {
        match (shard_of(at), at) {
            (shard, _) if shard == broken => assert!(matches!(answer, Err(RouteError::SlowDown(_)))),
            (_, 5) => assert_eq!(answer, Err(RouteError::Refused(Refusal::NoSuchKey))),
            (shard, _) => assert_eq!(answer, Ok(deleted(shard))),
        }
    }
    assert!(bench.fleet.calls() <= 4);
}

#[tokio::test(start_paused = true)]
async fn many_deletes_are_sorted_anew_when_the_map_moves() {
    let bench = bench(1).await;
    let halves = HashRange::tile(2);
    let within = halves[0];
    let bucket = bench.bucket.clone();
    bench.fleet.script(move |_, request| {
        let write = write_of(request);
        let Write::Delete { keys, .. } = &write.write else { panic!("no delete") };
        let here = |key| within.contains(point_of(&bucket, key)) == (write.group == GroupId(1));
        if keys.iter().all(|delete| here(&delete.key)) { Reply::Soundly } else { refused(Refusal::WrongShard) }
    });
    let split = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.fleet.remap(halves.clone());
    };
    let deleting = bench.router.delete_many(&bench.bucket, Modes::default(), keys(30), false);
    let (answers, ()) = tokio::join!(deleting, split);
    for (at, answer) in answers.into_iter().enumerate() {
        assert!(answer.is_ok(), "d{at}/k: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_deletes_of_a_bucket_made_anew_use_its_new_id() {
    let bench = bench(2).await;
    bench.fleet.put_bucket(bucket(8, "bucket"));
    bench.fleet.script(knows(8));
    let answers = bench.router.delete_many(&bench.bucket, Modes::default(), keys(10), false).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    bench.fleet.remove_bucket("bucket");
    bench.fleet.script(knows(0));
    let answers = bench.router.delete_many(&bench.bucket, Modes::default(), keys(10), false).await;
    assert!(answers.iter().all(|answer| *answer == Err(RouteError::NoSuchBucket)), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn many_deletes_that_may_have_been_done_are_not_done_in_another_shard() {
    let bench = bench(1).await;
    let mut first = true;
    bench.fleet.script(move |_, _| if std::mem::take(&mut first) { unknown() } else { refused(Refusal::WrongShard) });
    let answers = bench.router.delete_many(&bench.bucket, Modes::default(), keys(3), false).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(RouteError::Unknown(_)))), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_other_keys_than_were_sent_is_none() {
    let bench = bench(1).await;
    bench.fleet.script(|_, request| {
        let seq = Seq { group: write_of(request).group, index: 9 };
        let keys = vec![Ok(deleted(seq.group))];
        ok(Response::Written { outcome: WriteOutcome::Deleted { seq, keys }, ack: AckMode::Majority })
    });
    let answers = bench.router.delete_many(&bench.bucket, Modes::default(), keys(3), false).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(RouteError::Unknown(_)))), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn many_deletes_wait_for_a_shard_that_does_not_know_the_bucket_yet_and_not_for_ever() {
    let bench = bench(1).await;
    bench.fleet.script(knows(0));
    let deleting = bench.router.delete_many(&bench.bucket, Modes::default(), keys(3), false);
    let (answers, took) = timed(deleting).await;
    assert!(answers.iter().all(|answer| *answer == Err(RouteError::NoSuchBucket)), "{answers:?}");
    assert!(took >= Duration::from_millis(5) && took < Duration::from_secs(1), "{took:?}");
    // A bucket made anew is no reason to wait.
    bench.fleet.put_bucket(bucket(8, "bucket"));
    bench.fleet.script(knows(8));
    let deleting = bench.router.delete_many(&bench.bucket, Modes::default(), keys(3), false);
    let (answers, took) = timed(deleting).await;
    assert!(answers.iter().all(Result::is_ok) && took == Duration::ZERO, "{answers:?} {took:?}");
}
