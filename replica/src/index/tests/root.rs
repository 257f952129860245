//! What root does with each command.

use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::configuration::{BucketChange, Document, Versioning};
use holdfast_wire::heartbeat::NodeInfo;
use holdfast_wire::id::{ClusterId, Epoch, NodeId};
use holdfast_wire::identity::{EntityKind, IdentityChange, IdentityRefusal, User};
use holdfast_wire::lock::BucketLock;
use holdfast_wire::placement::{GroupPlace, HashRange, Placement, ShardMap};
use holdfast_wire::request::{RootRefusal, StateConflict};

use super::command::RootCommand;
use super::support::*;
use super::*;

fn node(id: u64, name: &str) -> NodeInfo {
    NodeInfo { id: NodeId(id), name: name.to_owned(), address: format!("{name}:9003"), version: "1".to_owned() }
}

fn place(group: u32, voters: &[u64]) -> GroupPlace {
    GroupPlace {
        group: GroupId(group),
        range: (group > 0).then(|| HashRange::tile(2)[group as usize - 1]),
        epoch: Epoch(1),
        voters: voters.iter().copied().map(NodeId).collect(),
    }
}

struct Cluster {
    index: Index,
    log: Log,
}

impl Cluster {
    fn empty() -> Self {
        Self { index: Index::open(Arc::new(Memory::new()), GroupId::ROOT).unwrap(), log: Log::default() }
    }

    fn new(nodes: u64, voters: &[u64]) -> Self {
        let mut cluster = Self::empty();
        let nodes = (1..=nodes).map(|id| node(id, &format!("n{id}"))).collect();
        let groups = (0..3).map(|group| place(group, voters)).collect();
        let map = ShardMap { epoch: Epoch(1), groups };
        let layout = Layout { version: 0, draining: Vec::new(), nodes, map, copies: 0 };
        let genesis = RootCommand::Genesis { cluster: ClusterId(5), layout, replicas: 3 };
        assert_eq!(cluster.apply(genesis), Outcome::Done);
        cluster
    }

    fn apply(&mut self, command: RootCommand) -> Outcome {
        self.log.apply(&self.index, 10, Command::Root(command))
    }

    fn voters(&self) -> Vec<Vec<u64>> {
        let groups = self.index.layout().map.groups;
        groups.iter().map(|group| group.voters.iter().map(|voter| voter.0).collect()).collect()
    }

    fn epochs(&self) -> Vec<u64> {
        self.index.layout().map.groups.iter().map(|group| group.epoch.0).collect()
    }

    fn create(&mut self, name: &str, owner: &str) -> Outcome {
        self.apply(RootCommand::CreateBucket {
            name: name.parse().unwrap(),
            owner: owner.to_owned(),
            placement: Placement::WholeKey,
            tags: vec![],
            documents: vec![],
            lock: false,
        })
    }
}

fn bucket_in(outcome: Outcome) -> Bucket {
    match outcome {
        Outcome::Bucket(bucket) => bucket,
        other => panic!("{other}"),
    }
}

#[test]
fn genesis_happens_once() {
    let mut cluster = Cluster::new(3, &[1, 2, 3]);
    assert!(cluster.log.effects.layout);
    assert_eq!((cluster.index.cluster(), cluster.index.layout().version), (Some(ClusterId(5)), 1));
    assert_eq!(cluster.index.layout().copies, 3);
    let again = RootCommand::Genesis { cluster: ClusterId(6), layout: Layout::default(), replicas: 1 };
    assert_eq!(cluster.apply(again), Outcome::Done);
    assert_eq!(cluster.index.cluster(), Some(ClusterId(5)));
    assert!(cluster.log.effects.is_empty());
}

#[test]
fn a_bucket_begins_with_the_lock_and_the_documents_that_were_asked_for() {
    let mut cluster = Cluster::new(1, &[1]);
    for (name, lock, versioning) in [("locked", true, Versioning::Enabled), ("plain", false, Versioning::Off)] {
        let create = RootCommand::CreateBucket {
            name: name.parse().unwrap(),
            owner: "me".to_owned(),
            placement: Placement::WholeKey,
            tags: vec![],
            documents: vec![(Document::Policy, "{}".to_owned())],
            lock,
        };
        let configuration = bucket_in(cluster.apply(create)).configuration;
        assert_eq!((configuration.versioning, configuration.lock), (versioning, lock.then(BucketLock::default)));
        assert_eq!(configuration.documents.get(&Document::Policy).map(String::as_str), Some("{}"));
    }
}

#[test]
fn a_node_that_joins_again_has_its_new_address_and_draws_no_seat() {
    let mut cluster = Cluster::new(3, &[1, 2, 3]);
    let before = cluster.index.layout();
    assert_eq!(cluster.apply(RootCommand::Join { node: node(2, "n2") }), Outcome::Joined { node: NodeId(2) });
    assert_eq!(cluster.index.layout(), before, "nothing is new");
    let moved = NodeInfo { address: "elsewhere:9003".to_owned(), ..node(2, "n2") };
    assert_eq!(cluster.apply(RootCommand::Join { node: moved.clone() }), Outcome::Joined { node: NodeId(2) });
    let after = cluster.index.layout();
    assert!(after.version > before.version && after.nodes.contains(&moved) && after.map.groups == before.map.groups);
}

#[test]
fn who_replaces_a_draining_node_does_not_drain_and_the_others_still_do() {
    let mut cluster = Cluster::new(5, &[1, 2, 3]);
    for drained in [1, 2] {
        let drain = RootCommand::DrainNode { node: NodeId(drained), drain: true };
        assert_eq!(cluster.apply(drain), Outcome::Done);
    }
    let replacing = RootCommand::Join { node: NodeInfo { id: NodeId(0), ..node(0, "n1") } };
    assert_eq!(cluster.apply(replacing), Outcome::Joined { node: NodeId(6) });
    assert_eq!(cluster.index.layout().draining, [NodeId(2)]);
}

#[test]
fn seats_of_a_node_that_goes_are_spread_over_those_with_the_fewest() {
    let mut cluster = Cluster::new(5, &[1, 2, 3]);
    assert_eq!(cluster.apply(RootCommand::RemoveNode { node: NodeId(1) }), Outcome::Done);
    let given: Vec<u64> = cluster.voters().into_iter().map(|voters| voters[2]).collect();
    assert_eq!(given, [4, 5, 4]);
    let mut cluster = Cluster::new(5, &[1, 2, 3]);
    let voters = RootCommand::SetVoters { group: GroupId(1), voters: [2, 3, 4].map(NodeId).to_vec() };
    assert_eq!(cluster.apply(voters), Outcome::Done);
    assert_eq!(cluster.apply(RootCommand::RemoveNode { node: NodeId(1) }), Outcome::Done);
    assert_eq!(cluster.voters(), [vec![2, 3, 5], vec![2, 3, 4], vec![2, 3, 4]], "who has a seat already comes second");
}

#[test]
fn a_bucket_lives_and_its_id_is_never_given_again() {
    let mut cluster = Cluster::new(1, &[1]);
    let created = bucket_in(cluster.create("bucket", "me"));
    assert_eq!((created.state, created.id, created.created_ms), (BucketState::Creating, BucketId(1), 10));
    assert!(!cluster.log.effects.layout);
    assert_eq!(bucket_in(cluster.create("bucket", "me")), created, "asked again meanwhile");
    assert_eq!(cluster.create("bucket", "you"), Outcome::RootRefused(RootRefusal::BucketBusy));
    let name = created.name.clone();
    let begin = RootCommand::BeginDeleteBucket { name: name.clone() };
    assert_eq!(cluster.apply(begin.clone()), Outcome::RootRefused(RootRefusal::BucketBusy));
    let tag = RootCommand::ChangeBucket {
        name: name.clone(),
        change: BucketChange::Tags(vec![("a".to_owned(), "b".to_owned())]),
    };
    assert_eq!(cluster.apply(tag.clone()), Outcome::RootRefused(RootRefusal::BucketBusy));

    let activate = RootCommand::ActivateBucket { bucket: created.id };
    let active = bucket_in(cluster.apply(activate.clone()));
    assert_eq!((active.state, active.revision), (BucketState::Active, 2));
    assert_eq!(bucket_in(cluster.apply(activate.clone())), active);
    let exists = RootRefusal::BucketExists(Box::new(active.clone()));
    assert_eq!(cluster.create("bucket", "me"), Outcome::RootRefused(exists));
    let tagged = bucket_in(cluster.apply(tag.clone()));
    assert_eq!((tagged.tag("a"), tagged.revision), (Some("b"), 3));
    assert_eq!(bucket_in(cluster.apply(tag.clone())).revision, 3);
    let remove = RootCommand::RemoveBucket { bucket: created.id };
    assert_eq!(cluster.apply(remove.clone()), Outcome::RootRefused(RootRefusal::BucketBusy));

    let deleting = bucket_in(cluster.apply(begin.clone()));
    assert_eq!((deleting.state, deleting.revision), (BucketState::Deleting, 4));
    assert_eq!(bucket_in(cluster.apply(begin.clone())), deleting, "a deletion can be taken over");
    for busy in [activate, tag] {
        assert_eq!(cluster.apply(busy), Outcome::RootRefused(RootRefusal::BucketBusy));
    }
    assert_eq!(cluster.create("bucket", "me"), Outcome::RootRefused(RootRefusal::BucketBusy));
    let abandon = RootCommand::AbandonDeleteBucket { bucket: created.id };
    assert_eq!(bucket_in(cluster.apply(abandon.clone())).state, BucketState::Active);
    assert_eq!(bucket_in(cluster.apply(abandon.clone())).revision, 5);
    cluster.apply(begin.clone());
    assert_eq!(cluster.apply(remove.clone()), Outcome::Done);
    assert_eq!(cluster.apply(remove), Outcome::Done);
    for gone in [abandon, begin, RootCommand::ActivateBucket { bucket: created.id }] {
        assert_eq!(cluster.apply(gone), Outcome::RootRefused(RootRefusal::NoSuchBucket));
    }
    assert_eq!(bucket_in(cluster.create("bucket", "me")).id, BucketId(2));
    assert_eq!(cluster.index.buckets().len(), 1);
}

#[test]
fn a_new_node_gets_an_id_and_fills_groups_that_are_short() {
    let mut cluster = Cluster::new(1, &[1]);
    assert_eq!(cluster.apply(RootCommand::Join { node: node(0, "n2") }), Outcome::Joined { node: NodeId(2) });
    assert_eq!(cluster.apply(RootCommand::Join { node: node(0, "n3") }), Outcome::Joined { node: NodeId(3) });
    assert_eq!(cluster.apply(RootCommand::Join { node: node(0, "n4") }), Outcome::Joined { node: NodeId(4) });
    assert_eq!(cluster.voters(), [[1, 2, 3], [1, 2, 3], [1, 2, 3]]);
    assert_eq!(cluster.epochs(), [3, 3, 3]);
    let layout = cluster.index.layout();
    assert_eq!((layout.version, layout.map.epoch, layout.nodes.len()), (4, Epoch(4), 4));
}

#[test]
fn a_join_under_a_taken_name_replaces_that_node() {
    let mut cluster = Cluster::new(4, &[1, 2, 3]);
    assert_eq!(cluster.apply(RootCommand::Join { node: node(0, "n2") }), Outcome::Joined { node: NodeId(5) });
    assert_eq!(cluster.voters(), [[1, 3, 5], [1, 3, 5], [1, 3, 5]]);
    assert_eq!(cluster.epochs(), [2, 2, 2]);
    let ids = |cluster: &Cluster| cluster.index.layout().nodes.iter().map(|node| node.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&cluster), [1, 3, 4, 5]);
    assert!(cluster.log.effects.layout);
    // Its own id and name: nothing but its address may change.
    let mut moved = node(5, "n2");
    moved.address = "elsewhere:1".to_owned();
    assert_eq!(cluster.apply(RootCommand::Join { node: moved }), Outcome::Joined { node: NodeId(5) });
    assert_eq!((ids(&cluster), cluster.epochs()), (vec![1, 3, 4, 5], vec![2, 2, 2]));
}

#[test]
fn a_drained_node_gives_its_seats_away_and_gets_none() {
    let mut cluster = Cluster::new(5, &[1, 2, 3]);
    let drain = |node: u64, drain| RootCommand::DrainNode { node: NodeId(node), drain };
    let too_few = Outcome::RootRefused(RootRefusal::TooFewNodes);
    assert_eq!(cluster.apply(drain(9, true)), Outcome::RootRefused(RootRefusal::NoSuchNode));
    assert_eq!(cluster.apply(drain(2, true)), Outcome::Done);
    assert_eq!(cluster.voters(), [[1, 3, 4], [1, 3, 5], [1, 3, 4]]);
    let before = cluster.index.layout();
    assert_eq!(before.draining, [NodeId(2)]);
    assert_eq!(cluster.apply(drain(2, true)), Outcome::Done, "again: nothing changes");
    assert_eq!(cluster.index.layout(), before);
    assert_eq!(cluster.apply(drain(1, true)), Outcome::Done);
    assert_eq!(cluster.voters(), [[3, 4, 5], [3, 4, 5], [3, 4, 5]]);
    let before = cluster.index.layout();
    assert_eq!(cluster.apply(drain(3, true)), too_few, "three copies need three nodes");
    assert_eq!(cluster.index.layout(), before);
    assert_eq!(cluster.apply(drain(2, false)), Outcome::Done);
    assert_eq!(cluster.apply(RootCommand::RemoveNode { node: NodeId(1) }), Outcome::Done);
    assert_eq!(cluster.index.layout().draining, []);
    assert_eq!(cluster.apply(drain(3, true)), Outcome::Done, "the one that came back counts");
}

#[test]
fn a_removed_nodes_seats_go_to_the_least_used() {
    let mut cluster = Cluster::new(5, &[1, 2, 3]);
    assert_eq!(cluster.apply(RootCommand::RemoveNode { node: NodeId(2) }), Outcome::Done);
    assert_eq!(cluster.voters(), [[1, 3, 4], [1, 3, 5], [1, 3, 4]]);
    assert_eq!(
        cluster.apply(RootCommand::RemoveNode { node: NodeId(2) }),
        Outcome::RootRefused(RootRefusal::NoSuchNode)
    );
    cluster.apply(RootCommand::RemoveNode { node: NodeId(4) });
    cluster.apply(RootCommand::RemoveNode { node: NodeId(5) });
    assert_eq!(cluster.voters(), [[1, 3], [1, 3], [1, 3]], "shrunk: nobody is left");
    cluster.apply(RootCommand::RemoveNode { node: NodeId(1) });
    let before = cluster.index.layout();
    assert_eq!(
        cluster.apply(RootCommand::RemoveNode { node: NodeId(3) }),
        Outcome::RootRefused(RootRefusal::TooFewNodes)
    );
    assert_eq!(cluster.index.layout(), before);
    assert_eq!(cluster.apply(RootCommand::Join { node: node(0, "n1") }), Outcome::Joined { node: NodeId(6) });
}

#[test]
fn voters_and_addresses_can_be_set() {
    let mut cluster = Cluster::new(4, &[1, 2, 3]);
    let set = |group, voters: &[u64]| RootCommand::SetVoters {
        group: GroupId(group),
        voters: voters.iter().copied().map(NodeId).collect(),
    };
    assert_eq!(cluster.apply(set(1, &[4, 2, 4])), Outcome::Done);
    assert_eq!(cluster.voters(), [vec![1, 2, 3], vec![2, 4], vec![1, 2, 3]]);
    assert_eq!((cluster.epochs(), cluster.log.effects.layout), (vec![1, 2, 1], true));
    assert_eq!(cluster.apply(set(1, &[2, 4])), Outcome::Done);
    assert!(cluster.log.effects.is_empty());
    assert_eq!(cluster.apply(set(1, &[])), Outcome::RootRefused(RootRefusal::TooFewNodes));
    assert_eq!(cluster.apply(set(1, &[9])), Outcome::RootRefused(RootRefusal::NoSuchNode));
    assert_eq!(cluster.apply(set(9, &[1])), Outcome::None);

    let mut moved = node(2, "other");
    moved.address = "elsewhere:1".to_owned();
    assert_eq!(cluster.apply(RootCommand::UpdateNode { node: moved.clone() }), Outcome::Done);
    let known = &cluster.index.layout().nodes[1];
    assert_eq!((&known.name[..], &known.address[..]), ("n2", "elsewhere:1"));
    let version = cluster.index.layout().version;
    cluster.apply(RootCommand::UpdateNode { node: moved });
    assert_eq!(cluster.index.layout().version, version, "nothing new");
    let unknown = RootCommand::UpdateNode { node: node(9, "n9") };
    assert_eq!(cluster.apply(unknown), Outcome::RootRefused(RootRefusal::NoSuchNode));
}

#[test]
fn every_command_has_an_outcome_before_genesis() {
    let mut cluster = Cluster::empty();
    assert_eq!(cluster.apply(RootCommand::Join { node: node(0, "n1") }), Outcome::Joined { node: NodeId(1) });
    assert_eq!(bucket_in(cluster.create("bucket", "me")).id, BucketId(1));
    let layout = Layout { nodes: vec![node(7, "n7")], ..Layout::default() };
    cluster.apply(RootCommand::Genesis { cluster: ClusterId(5), layout, replicas: 3 });
    assert_eq!(bucket_in(cluster.create("other", "me")).id, BucketId(2));
    assert_eq!(cluster.apply(RootCommand::Join { node: node(0, "n8") }), Outcome::Joined { node: NodeId(8) });
}

#[test]
fn versions_come_and_pause_but_locks_keep_them() {
    let mut root = Cluster::new(1, &[1]);
    root.create("one", "me");
    root.apply(RootCommand::ActivateBucket { bucket: BucketId(1) });
    let mut change = |change| {
        let outcome = root.apply(RootCommand::ChangeBucket { name: "one".parse().unwrap(), change });
        match outcome {
            Outcome::Bucket(bucket) => Ok((bucket.configuration.versioning, bucket.revision)),
            Outcome::RootRefused(RootRefusal::BucketState(conflict)) => Err(conflict),
            other => panic!("{other}"),
        }
    };
    let (off, on, paused) = (Versioning::Off, Versioning::Enabled, Versioning::Suspended);
    let lock = BucketLock::default();
    assert_eq!(change(BucketChange::Lock(lock)), Err(StateConflict::NotVersioned));
    assert_eq!(change(BucketChange::Versioning(off)), Ok((off, 2)));
    assert_eq!(change(BucketChange::Versioning(on)), Ok((on, 3)));
    assert_eq!(change(BucketChange::Versioning(on)), Ok((on, 3)), "nothing changed");
    assert_eq!(change(BucketChange::Versioning(off)), Err(StateConflict::VersioningOff));
    assert_eq!(change(BucketChange::Versioning(paused)), Ok((paused, 4)));
    assert_eq!(change(BucketChange::Lock(lock)), Err(StateConflict::NotVersioned));
    assert_eq!(change(BucketChange::Versioning(on)), Ok((on, 5)));
    assert_eq!(change(BucketChange::Lock(lock)), Ok((on, 6)));
    assert_eq!(change(BucketChange::Versioning(paused)), Err(StateConflict::Locked));
    let text = Some("{}".to_owned());
    assert_eq!(change(BucketChange::Document(Document::Policy, text)), Ok((on, 7)));
    assert_eq!(change(BucketChange::Document(Document::Policy, None)), Ok((on, 8)));
}

#[test]
fn identities_change_for_the_version_that_was_seen() {
    let mut root = Cluster::new(1, &[1]);
    let user = || Some(User { enabled: true, policies: Default::default() });
    let change = |expect, changes| RootCommand::ChangeIdentities { expect, changes };
    assert_eq!(root.apply(change(0, vec![IdentityChange::User("ann".into(), user())])), Outcome::Done);
    let known = root.index.identities();
    assert!(known.version > 0 && known.users.contains_key("ann"));
    let refused = |refusal| Outcome::RootRefused(RootRefusal::Identity(refusal));
    assert_eq!(
        root.apply(change(0, vec![IdentityChange::User("bob".into(), user())])),
        refused(IdentityRefusal::Moved)
    );
    let both = vec![IdentityChange::User("bob".into(), user()), IdentityChange::Role("r".into(), None)];
    let missing = IdentityRefusal::NoSuch { kind: EntityKind::Role, name: "r".into() };
    assert_eq!(root.apply(change(known.version, both)), refused(missing));
    assert_eq!(*root.index.identities(), *known, "all or nothing");
}
