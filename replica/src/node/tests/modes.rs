//! Acknowledgement and read modes, repetitions, and life without a majority.

use super::*;
use holdfast_wire::bucket::AckMode;
use holdfast_wire::condition::{ETags, WriteCondition};
use holdfast_wire::request::Refusal;

async fn write_with(
    cluster: &Cluster,
    request: u128,
    ack: AckMode,
    write: Write,
    key: &str,
) -> (WriteOutcome, AckMode) {
    let write = WriteRequest {
        group: cluster.shard_of(write.bucket(), &key.parse().unwrap()),
        request: RequestId(request),
        ack: Some(ack),
        deadline_ms: 3000,
        write,
    };
    match cluster.ask(Request::Write(write)).await {
        Response::Written { outcome, ack } => (outcome, ack),
        other => panic!("{other:?}"),
    }
}

fn plain(bucket: BucketId, key: &str, bytes: &'static [u8]) -> PutObject {
    put(bucket, key.parse().unwrap(), NewBody::Inline(Bytes::from_static(bytes)))
}

#[tokio::test(start_paused = true)]
async fn each_ack_mode_says_which_it_was_and_conditions_wait_for_the_commit() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    for (request, asked) in [(1, AckMode::Majority), (2, AckMode::Leader), (3, AckMode::All)] {
        let (outcome, ack) = write_with(&cluster, request, asked, Write::Put(plain(bucket, "a/k", b"x")), "a/k").await;
        assert!(matches!(outcome, WriteOutcome::Stored { .. }), "{outcome:?}");
        assert_eq!(ack, asked);
    }
    let only_if_new = WriteCondition { if_none_match: Some(ETags::Any), ..Default::default() };
    let conditional = PutObject { condition: only_if_new, ..plain(bucket, "a/k", b"y") };
    let (outcome, ack) = write_with(&cluster, 4, AckMode::Leader, Write::Put(conditional), "a/k").await;
    assert!(matches!(outcome, WriteOutcome::Refused(Refusal::Condition(_))), "{outcome:?}");
    assert_eq!(ack, AckMode::Majority);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_applied_once_and_gets_the_first_answer() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    let first = write_with(&cluster, 7, AckMode::Majority, Write::Put(plain(bucket, "a/k", b"one")), "a/k").await;
    write_with(&cluster, 8, AckMode::Majority, Write::Put(plain(bucket, "a/k", b"two")), "a/k").await;
    let again = write_with(&cluster, 7, AckMode::Majority, Write::Put(plain(bucket, "a/k", b"one")), "a/k").await;
    assert_eq!(first, again);
    let read = cluster.get(0, bucket, "a/k", ReadMode::Strong).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"two"[..]), "the repetition did not overwrite");
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_only_eventual_reads_are_answered() {
    let mut cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    cluster.put(bucket, "a/k", b"x").await;
    cluster
        .until("all have it", || {
            let applied: Vec<_> = (0..3).filter_map(|at| cluster.group(at)).map(|group| group.applied()).collect();
            applied.iter().all(|at| *at == applied[0])
        })
        .await;
    cluster.cut_power(0);
    cluster.cut_power(1);
    let strong = cluster.get(2, bucket, "a/k", ReadMode::Strong).await;
    assert!(strong.as_ref().is_err_and(CallError::certainly_not_applied), "{strong:?}");
    let eventual = cluster.get(2, bucket, "a/k", ReadMode::Eventual).await.unwrap();
    assert_eq!(eventual.as_deref(), Some(&b"x"[..]));
}
