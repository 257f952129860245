//! Acknowledgement and read modes, repetitions, and life without a majority.

use super::*;
use crate::group::{Group, LEAD_MAX, Proposed};
use crate::index::command::{Command, Outcome};
use holdfast_wire::bucket::AckMode;
use holdfast_wire::condition::{ETags, WriteCondition};
use holdfast_wire::configuration::{BucketChange, Versioning};
use holdfast_wire::id::NodeId;
use holdfast_wire::request::{DeleteKey, Refusal};

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

/// Where the shard of `a/k` is led, and its member there.
fn leader(cluster: &Cluster, bucket: BucketId) -> (usize, Arc<Group>) {
    let shard = cluster.shard_of(bucket, &"a/k".parse().unwrap());
    let members = cluster.nodes.iter().map(|node| node.as_ref().unwrap().inner.host().unwrap().group(shard).unwrap());
    members.enumerate().find(|(_, group)| group.leads()).expect("a leader")
}

fn cut_off(cluster: &Cluster, at: usize) {
    (0..3).filter(|other| *other != at).for_each(|other| cluster.net.cut(&name(at), &name(other)));
}

async fn propose(group: &Group, request: u128, ack: AckMode, write: Write) -> Result<Proposed, CallError> {
    let deadline = Instant::now() + Duration::from_millis(20);
    group.propose(Some(RequestId(request)), Command::Write(write), ack, deadline).await
}

#[tokio::test(start_paused = true)]
async fn all_means_every_voter() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    cluster.put(bucket, "a/k", b"x").await;
    let (at, group) = leader(&cluster, bucket);
    let write = |bytes| Write::Put(plain(bucket, "a/k", bytes));
    let far = (at + 1) % 3;
    cluster.net.cut(&name(at), &name(far));
    let majority = propose(&group, 1, AckMode::Majority, write(b"y")).await.unwrap();
    assert_eq!(majority.ack, AckMode::Majority);
    let all = propose(&group, 2, AckMode::All, write(b"z")).await;
    assert!(matches!(&all, Err(CallError::Unknown { reason }) if reason.starts_with("committed")), "{all:?}");
    cluster.net.heal(&name(at), &name(far));
    let deadline = Instant::now() + Duration::from_secs(3);
    let all = group.propose(Some(RequestId(3)), Command::Write(write(b"z")), AckMode::All, deadline).await.unwrap();
    assert_eq!(all.ack, AckMode::All);
}

/// `ack=leader` promises only what does not depend on what is there.
#[tokio::test(start_paused = true)]
async fn a_leader_answers_alone_only_what_nothing_can_change() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    let versioned = cluster.create_bucket("versions").await;
    let change = RootRequest::ChangeBucket {
        request: RequestId(9),
        name: versioned.name.clone(),
        change: BucketChange::Versioning(Versioning::Enabled),
    };
    cluster.ask(Request::Root(change)).await;
    cluster.put(bucket, "a/k", b"x").await;
    let (at, group) = leader(&cluster, bucket);
    cluster
        .until("the shard knows of versions", || {
            let known = group.index().bucket(versioned.id);
            known.is_some_and(|bucket| bucket.versioning() == Versioning::Enabled)
        })
        .await;
    cut_off(&cluster, at);

    let put = propose(&group, 11, AckMode::Leader, Write::Put(plain(bucket, "a/k", b"y"))).await.unwrap();
    assert_eq!(put.ack, AckMode::Leader);
    assert!(matches!(put.outcome, Outcome::Written(WriteOutcome::Stored { .. })), "{:?}", put.outcome);
    let keys = ["a/k", "a/l"].map(|key| DeleteKey::current(key.parse().unwrap(), Default::default())).to_vec();
    let delete = |bucket| Write::Delete { bucket, keys: keys.clone(), bypass_governance: false };
    let deleted = propose(&group, 12, AckMode::Leader, delete(bucket)).await.unwrap();
    let Outcome::Written(WriteOutcome::Deleted { keys: answers, .. }) = &deleted.outcome else { panic!("{deleted:?}") };
    assert_eq!((deleted.ack, answers.len()), (AckMode::Leader, 2));

    let only_if_new = WriteCondition { if_none_match: Some(ETags::Any), ..Default::default() };
    let conditional = PutObject { condition: only_if_new, ..plain(bucket, "a/k", b"z") };
    let strict = [
        Write::Put(conditional),
        Write::Put(plain(versioned.id, "a/k", b"z")),
        delete(versioned.id),
        Write::Put(plain(BucketId(404), "a/k", b"z")),
    ];
    for (at, write) in strict.into_iter().enumerate() {
        let answer = propose(&group, 20 + at as u128, AckMode::Leader, write.clone()).await;
        assert!(matches!(answer, Err(CallError::Unknown { .. })), "{write:?}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_answers_alone_only_while_the_others_are_not_far_behind() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    cluster.put(bucket, "a/k", b"x").await;
    let (at, group) = leader(&cluster, bucket);
    cut_off(&cluster, at);
    let (mut request, applied) = (100, group.applied());
    let last = loop {
        request += 1;
        match propose(&group, request, AckMode::Leader, Write::Put(plain(bucket, "a/k", b"y"))).await {
            Ok(proposed) => assert_eq!(proposed.ack, AckMode::Leader),
            Err(_) => break group.status(0).last_log,
        }
        assert!(request < 2 * u128::from(LEAD_MAX), "a leader that runs away");
    };
    assert_eq!(last - applied, LEAD_MAX + 2, "one is taken at the limit, and one behind it waits");
    let more = propose(&group, request + 1, AckMode::Leader, Write::Put(plain(bucket, "a/k", b"y"))).await;
    assert!(matches!(more, Err(CallError::Unknown { .. })), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_follower_names_the_leader_and_never_itself() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let bucket = cluster.create_bucket("photos").await.id;
    cluster.put(bucket, "a/k", b"x").await;
    let (at, group) = leader(&cluster, bucket);
    let leads: NodeId = cluster.nodes[at].as_ref().unwrap().inner.host().unwrap().id();
    let follower = cluster.nodes[(at + 1) % 3].as_ref().unwrap().inner.host().unwrap().group(group.id()).unwrap();
    let answer = propose(&follower, 5, AckMode::Majority, Write::Put(plain(bucket, "a/k", b"y"))).await;
    assert_eq!(answer.unwrap_err(), CallError::NotLeader { leader: Some(leads) });
}
