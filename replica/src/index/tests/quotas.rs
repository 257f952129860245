//! Quotas: shards grow up to their shares, and shares together never exceed the quota, though rounds overtake one
//! another and their steps come late, twice, or never.

use holdfast_wire::configuration::BucketChange;
use holdfast_wire::request::{Refusal, Write, WriteOutcome};
use holdfast_wire::usage::{Quota, Share};
use proptest::prelude::*;

use super::support::*;
use super::*;
use crate::index::command::{QuotaStep, RootCommand};

fn bounded(bytes: u64, objects: Option<u64>) -> Bucket {
    let mut bounded = bucket(1);
    bounded.configuration.quota = Some(Quota { bytes: Some(bytes), objects });
    bounded
}

fn give_back(round: u64, bytes: u64, objects: u64) -> Command {
    let step = QuotaStep::Return { spare: Share { bytes, objects } };
    Command::Quota { bucket: BucketId(1), round, step }
}

fn take(round: u64, bytes: u64, objects: u64) -> Command {
    let step = QuotaStep::Take { share: Share { bytes, objects } };
    Command::Quota { bucket: BucketId(1), round, step }
}

fn used_up(bytes: u64, objects: u64) -> Outcome {
    Outcome::Written(WriteOutcome::Refused(Refusal::ShareUsedUp { need: Share { bytes, objects } }))
}

fn stored(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Written(WriteOutcome::Stored { .. }))
}

#[test]
fn a_shard_grows_up_to_its_share_and_no_further() {
    let (index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    log.apply(&index, 1, Command::InstallBucket(bounded(100, Some(2))));
    assert_eq!(log.apply(&index, 2, put("a", inline("12345"))), used_up(5, 1), "nothing has been shared out yet");
    log.apply(&index, 3, give_back(7, 0, 0));
    log.apply(&index, 4, take(7, 10, 2));
    assert!(stored(&log.apply(&index, 5, put("a", inline("12345")))));
    assert!(stored(&log.apply(&index, 6, put("a", inline("123456")))), "one byte more, no object more");
    assert!(stored(&log.apply(&index, 7, put("b", inline("1234")))));
    assert_eq!(log.apply(&index, 8, put("b", inline("12345"))), used_up(1, 0));
    assert_eq!(log.apply(&index, 9, put("c", inline(""))), used_up(0, 1));
    assert!(stored(&log.apply(&index, 10, put("b", inline("1")))), "what shrinks may always");
    let copied = copy(&index, "a", "c");
    assert_eq!(log.apply(&index, 11, copied), used_up(6, 1));
    // A share that has become too small bounds only what grows.
    log.apply(&index, 12, give_back(8, 0, 0));
    log.apply(&index, 13, take(8, 5, 3));
    assert!(stored(&log.apply(&index, 14, put("c", inline("")))), "an object more, no byte more");
    log.apply(&index, 15, give_back(9, 0, 0));
    log.apply(&index, 16, take(9, 100, 2));
    assert!(stored(&log.apply(&index, 17, put("a", inline("1234567")))), "bytes more, no object more");
    assert_eq!(log.apply(&index, 18, take(10, 100, 100)), Outcome::None, "of a round that it gave nothing back for");
    assert_eq!(log.apply(&index, 19, put("d", inline(""))), used_up(0, 1));
}

#[test]
fn parts_count_and_completing_them_costs_no_bytes() {
    let (index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    log.apply(&index, 1, Command::InstallBucket(bounded(100, None)));
    log.apply(&index, 2, give_back(7, 0, 0));
    log.apply(&index, 3, take(7, 10, u64::MAX));
    assert!(stored(&log.apply(&index, 4, create_upload("u", 1))));
    assert!(stored(&log.apply(&index, 5, put_part("u", 1, 1, inline("1234567890")))));
    assert_eq!(index.usage(BucketId(1)), Usage { uploads: 1, part_bytes: 10, ..Usage::default() });
    assert_eq!(log.apply(&index, 6, put_part("u", 1, 2, inline("1"))), used_up(1, 0));
    assert!(stored(&log.apply(&index, 7, put_part("u", 1, 1, inline("0987654321")))), "in the place of another");
    assert!(stored(&log.apply(&index, 8, complete("u", 1, &[(1, 10)]))));
    assert_eq!(index.usage(BucketId(1)), Usage { objects: 1, bytes: 10, ..Usage::default() });
}

#[test]
fn a_refused_write_leaves_no_trace_but_its_blob_in_the_trash() {
    let (index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    let (twin, mut twin_log) = (shard(Arc::new(Memory::new())), Log::default());
    for (index, log) in [(&index, &mut log), (&twin, &mut twin_log)] {
        log.apply(index, 1, Command::InstallBucket(bounded(10, None)));
        assert_eq!(log.apply(index, 2, put("a", blob(9, 11))), used_up(11, 1));
    }
    assert_eq!(index.object(BucketId(1), &key("a")).unwrap(), None);
    assert_eq!(index.usage(BucketId(1)), Usage::default());
    assert_eq!(index.references(BlobId(9)).unwrap(), 0);
    assert_eq!(index.reader().trash(None, 9, 9).unwrap().len(), 1);
    assert_eq!(index.applied(), twin.applied());
}

#[test]
fn deletes_pass_though_they_leave_markers_and_quotas_that_go_leave_nothing() {
    let (index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    let mut versioned = bounded(10, Some(1));
    versioned.configuration.versioning = holdfast_wire::configuration::Versioning::Enabled;
    log.apply(&index, 1, Command::InstallBucket(versioned.clone()));
    log.apply(&index, 2, give_back(3, 0, 0));
    log.apply(&index, 3, take(3, 10, 1));
    assert!(stored(&log.apply(&index, 4, put("a", inline("1")))));
    log.apply(&index, 5, delete(&["a"]));
    assert_eq!((index.usage(BucketId(1)).objects, index.usage(BucketId(1)).versions), (0, 2));
    assert_eq!(log.apply(&index, 6, put("a", inline("1"))), used_up(1, 1));
    versioned.configuration.quota = None;
    versioned.revision += 1;
    log.apply(&index, 7, Command::InstallBucket(versioned.clone()));
    assert_eq!(index.reader().share(BucketId(1)).unwrap(), Share::default());
    assert!(stored(&log.apply(&index, 8, put("a", inline("1")))));
    assert_eq!(log.apply(&index, 9, take(3, 100, 100)), Outcome::None, "there is nothing to share");
}

#[test]
fn root_numbers_rounds_by_its_log_and_keeps_quotas() {
    let (root, mut log) = (Index::open(Arc::new(Memory::new()), GroupId::ROOT).unwrap(), Log::default());
    let first = log.apply(&root, 1, Command::Root(RootCommand::BeginRound));
    let second = log.apply(&root, 1, Command::Root(RootCommand::BeginRound));
    assert_eq!((first, second), (Outcome::Round(1), Outcome::Round(2)));
    let name: BucketName = "abc".parse().unwrap();
    let create = RootCommand::CreateBucket {
        name: name.clone(),
        owner: "me".to_owned(),
        placement: Default::default(),
        tags: vec![],
        documents: vec![],
        lock: false,
    };
    let Outcome::Bucket(made) = log.apply(&root, 1, Command::Root(create)) else { panic!("made") };
    log.apply(&root, 1, Command::Root(RootCommand::ActivateBucket { bucket: made.id }));
    let mut change = |quota| {
        let change = RootCommand::ChangeBucket { name: name.clone(), change: BucketChange::Quota(quota) };
        match log.apply(&root, 1, Command::Root(change)) {
            Outcome::Bucket(bucket) => bucket.configuration.quota,
            other => panic!("{other}"),
        }
    };
    let some = Some(Quota { bytes: Some(1), objects: None });
    assert_eq!(change(some), some);
    assert_eq!(change(Some(Quota::default())), None, "a quota that bounds nothing is none");
}

const SHARDS: usize = 3;
const QUOTA: u64 = 60;

#[derive(Clone, Debug)]
enum Event {
    Put(usize, u8, u8),
    Delete(usize, u8),
    /// A coordinator begins a round.
    Begin(usize),
    /// A coordinator sends one of the steps that it still has to send; perhaps it hears no answer and sends it again.
    Step(usize, usize, bool),
}

/// Who believes to lead root, with a round under way.
#[derive(Default)]
struct Coordinator {
    round: u64,
    answers: Vec<Option<Share>>,
    sent: Vec<bool>,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0..SHARDS, 0..4u8, 0..30u8).prop_map(|(shard, key, len)| Event::Put(shard, key, len)),
        1 => (0..SHARDS, 0..4u8).prop_map(|(shard, key)| Event::Delete(shard, key)),
        1 => (0..2usize).prop_map(Event::Begin),
        8 => (0..2usize, 0..SHARDS, any::<bool>()).prop_map(|(who, shard, again)| Event::Step(who, shard, again)),
    ];
    proptest::collection::vec(event, 1..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_interleaving_of_rounds_and_writes_exceeds_the_quota(events in events()) {
        let mut shards: Vec<(Index, Log)> =
            (0..SHARDS).map(|_| (shard(Arc::new(Memory::new())), Log::default())).collect();
        for (index, log) in &mut shards {
            log.apply(index, 1, Command::InstallBucket(bounded(QUOTA, None)));
        }
        let mut coordinators = [Coordinator::default(), Coordinator::default()];
        let mut rounds = 0;
        for event in events {
            match event {
                Event::Put(at, key, len) => {
                    let (index, log) = &mut shards[at];
                    log.apply(index, 2, put(&format!("k{key}"), inline(&"x".repeat(len.into()))));
                }
                Event::Delete(at, key) => {
                    let (index, log) = &mut shards[at];
                    log.apply(index, 2, delete(&[&format!("k{key}")]));
                }
                Event::Begin(who) => {
                    rounds += 1;
                    coordinators[who] =
                        Coordinator { round: rounds, answers: vec![None; SHARDS], sent: vec![false; SHARDS] };
                }
                Event::Step(who, at, again) => {
                    let coordinator = &mut coordinators[who];
                    if coordinator.round == 0 {
                        continue;
                    }
                    let (index, log) = &mut shards[at];
                    if coordinator.answers.iter().all(Option::is_some) {
                        let held: u64 = coordinator.answers.iter().flatten().map(|share| share.bytes).sum();
                        let each = QUOTA.saturating_sub(held) / SHARDS as u64;
                        let own = coordinator.answers[at].unwrap_or_default().bytes;
                        if !coordinator.sent[at] {
                            log.apply(index, 3, take(coordinator.round, own + each, u64::MAX));
                            coordinator.sent[at] = !again;
                        }
                    } else if coordinator.answers[at].is_none() {
                        let outcome = log.apply(index, 3, give_back(coordinator.round, 2, 0));
                        if let (Outcome::Shared { share, .. }, false) = (outcome, again) {
                            coordinator.answers[at] = Some(share);
                        }
                    }
                }
            }
            let held: u64 = shards.iter().map(|(index, _)| index.usage(BucketId(1)).bytes).sum();
            let shared: u64 = shards.iter().map(|(index, _)| index.reader().share(BucketId(1)).unwrap().bytes).sum();
            prop_assert!(held <= shared && shared <= QUOTA, "{held} held of {shared} shared");
        }
    }
}

#[test]
fn completing_does_not_hide_what_replaces_something() {
    // An upload over an object that is there: the object's bytes go, the parts' become its own.
    let (index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    log.apply(&index, 1, Command::InstallBucket(bounded(100, Some(1))));
    log.apply(&index, 2, give_back(7, 0, 0));
    log.apply(&index, 3, take(7, 12, 1));
    assert!(stored(&log.apply(&index, 4, put("u", inline("12345")))));
    assert!(stored(&log.apply(&index, 5, create_upload("u", 1))));
    assert!(stored(&log.apply(&index, 6, put_part("u", 1, 1, inline("1234567")))));
    assert!(stored(&log.apply(&index, 7, complete("u", 1, &[(1, 7)]))));
    assert_eq!(index.usage(BucketId(1)), Usage { objects: 1, bytes: 7, ..Usage::default() });
    let again = Command::Write(Write::CompleteUpload(complete_upload("u", 1, &[(1, 7)])));
    assert!(stored(&log.apply(&index, 8, again)), "a repeated Complete is no growth");
}
