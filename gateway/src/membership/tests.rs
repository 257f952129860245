//! What a gateway makes of heartbeats.

use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::heartbeat::{GroupStatus, Heartbeat, Role};
use holdfast_wire::id::{ClusterId, GroupId, NodeId};
use holdfast_wire::seam::Seams;
use holdfast_wire::service::Service;
use holdfast_wire::transport::Target;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::balance::Tier;
use crate::fake::{CLUSTER, Fleet, info};

fn start(fleet: &Arc<Fleet>, local: Option<u64>, seeds: &[&str]) -> Arc<Membership> {
    let local = local.map(|id| fleet.node(id).clone() as Arc<dyn Service>);
    let seeds = seeds.iter().map(|&seed| seed.to_owned()).collect();
    Membership::start_with(fleet.clone(), local, seeds, Seams::real())
}

fn heard(view: &View, count: usize) -> bool {
    view.nodes().filter(|node| node.heard.is_some()).count() == count
}

fn alive(membership: &Membership, node: u64) -> bool {
    membership.view().node(NodeId(node)).is_some_and(|node| node.alive(Instant::now()))
}

#[tokio::test(start_paused = true)]
async fn one_seed_is_enough_to_hear_everybody() {
    let fleet = Fleet::new(3, 2);
    let membership = start(&fleet, None, &["n2"]);
    membership.until(|view| heard(view, 3)).await;
    assert_eq!(membership.view().cluster(), Some(CLUSTER));
    assert_eq!(membership.view().leader(GroupId(2)), Some(Leader { node: NodeId(1), term: 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_does_not_answer_yet_is_tried_at_least_once_a_second() {
    let fleet = Fleet::new(1, 1);
    fleet.node(1).die();
    let membership = start(&fleet, None, &["n1", "not-resolving"]);
    sleep(Duration::from_secs(60)).await;
    let tries = *fleet.node(1).listeners.borrow();
    assert!((60..200).contains(&tries), "{tries}");
    fleet.node(1).speak();
    timeout(Duration::from_secs(1), membership.until(|view| heard(view, 1))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_suspected_after_a_second_and_a_broken_stream_at_once() {
    let fleet = Fleet::new(3, 1);
    let membership = start(&fleet, None, &["n1"]);
    membership.until(|view| heard(view, 3)).await;
    fleet.node(2).fall_silent();
    sleep(Duration::from_millis(890)).await;
    assert!(alive(&membership, 2));
    sleep(Duration::from_millis(220)).await;
    assert!(!alive(&membership, 2) && alive(&membership, 3));

    let mut changes = membership.changes();
    changes.mark_unchanged();
    fleet.node(3).die();
    changes.changed().await.unwrap();
    assert!(!alive(&membership, 3));
    fleet.node(3).speak();
    timeout(Duration::from_secs(1), membership.until(|view| view.node(NodeId(3)).unwrap().alive(Instant::now())))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn heartbeats_of_another_cluster_are_refused() {
    let fleet = Fleet::new(2, 1);
    fleet.relayout(|layout| layout.nodes.truncate(1));
    let mut stranger = fleet.node(2).heartbeat();
    stranger.cluster = ClusterId(8);
    stranger.layout.version = 99;
    let membership = start(&fleet, None, &["n1", "n2"]);
    fleet.node(2).fall_silent();
    membership.until(|view| heard(view, 1)).await;
    fleet.node(2).say(stranger);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(membership.view().cluster(), Some(CLUSTER));
    assert!(membership.view().node(NodeId(2)).is_none());
    assert_ne!(membership.view().layout().version, 99);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_an_identity_counts_once_it_has_one() {
    let fleet = Fleet::new(1, 1);
    let mut nobody = fleet.node(1).heartbeat();
    nobody.cluster = ClusterId(0);
    nobody.node.id = NodeId(0);
    fleet.node(1).say(nobody);
    let membership = start(&fleet, None, &["n1"]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(membership.view().cluster(), None);
    fleet.node(1).speak();
    membership.until(|view| heard(view, 1)).await;
    assert_eq!(*fleet.node(1).listeners.borrow(), 1, "on the same stream");
}

#[tokio::test(start_paused = true)]
async fn the_replica_of_this_process_is_called_directly_and_not_listened_to_over_its_socket() {
    let fleet = Fleet::new(3, 1);
    let membership = start(&fleet, Some(2), &["n1", "n2", "n3"]);
    membership.until(|view| heard(view, 3)).await;
    sleep(Duration::from_secs(3)).await;
    let view = membership.view();
    assert!(view.link(NodeId(2)).unwrap().local && !view.link(NodeId(1)).unwrap().local);
    assert!(*fleet.node(2).listeners.borrow() <= 2, "once directly, once to find out");
}

#[tokio::test(start_paused = true)]
async fn nodes_come_and_go_with_the_newest_layout() {
    let fleet = Fleet::new(3, 1);
    fleet.relayout(|layout| layout.nodes.truncate(2));
    let membership = start(&fleet, None, &["n1"]);
    membership.until(|view| heard(view, 2)).await;
    assert!(membership.view().node(NodeId(3)).is_none());

    let old = fleet.node(2).heartbeat();
    fleet.relayout(|layout| layout.nodes = vec![info(NodeId(1)), info(NodeId(3))]);
    fleet.node(2).say(old);
    membership.until(|view| view.node(NodeId(3)).is_some_and(|node| node.heard.is_some())).await;
    sleep(Duration::from_secs(3)).await;
    assert!(membership.view().node(NodeId(2)).is_none(), "a removed node is forgotten, whatever it says");
    assert_eq!(membership.view().layout().nodes.len(), 2, "an older layout does not come back");
}

#[tokio::test(start_paused = true)]
async fn only_what_a_request_could_wait_for_wakes_requests() {
    let fleet = Fleet::new(3, 1);
    let membership = start(&fleet, None, &["n1"]);
    membership.until(|view| heard(view, 3)).await;
    sleep(Duration::from_secs(1)).await;
    let changes = membership.changes();
    let before = *changes.borrow();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(*changes.borrow(), before, "heartbeats alone");
    fleet.lead(GroupId(1), 3, 2);
    membership.until(|view| view.leader(GroupId(1)) == Some(Leader { node: NodeId(3), term: 2 })).await;
    assert_ne!(*changes.borrow(), before);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_every_task() {
    let fleet = Fleet::new(3, 1);
    let membership = start(&fleet, Some(1), &["n2", "nowhere"]);
    membership.until(|view| heard(view, 3)).await;
    timeout(Duration::from_secs(1), membership.stop()).await.unwrap();
    let shared = Arc::downgrade(&membership.shared);
    drop(membership);
    assert!(shared.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_ends_every_task() {
    let fleet = Fleet::new(3, 1);
    let membership = start(&fleet, None, &["n1", "nowhere"]);
    membership.until(|view| heard(view, 3)).await;
    let tasks = membership.shared.tasks.clone();
    drop(membership);
    tasks.close();
    timeout(Duration::from_secs(1), tasks.wait()).await.unwrap();
}

/// Remembers who was dialled.
struct Dialled(Arc<Fleet>, Mutex<Vec<Target>>);

impl Dial for Dialled {
    fn dial(&self, target: Target) -> Arc<dyn Service> {
        self.1.lock().push(target.clone());
        self.0.dial(target)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_name_the_cluster_and_node_that_must_answer() {
    let fleet = Fleet::new(2, 1);
    let dialled = Arc::new(Dialled(fleet, Mutex::default()));
    let membership = Membership::start_with(dialled.clone(), None, vec!["n1".to_owned()], Seams::real());
    membership.until(|view| heard(view, 2)).await;
    let dialled = dialled.1.lock();
    for node in [1, 2] {
        let wanted = Target { address: format!("n{node}"), cluster: Some(CLUSTER), node: Some(NodeId(node)) };
        assert!(dialled.contains(&wanted), "{dialled:?}");
    }
}

// The view itself, step by step.

fn step(view: &View, heartbeat: Heartbeat, at: &str) -> View {
    let mut link = |_, node, source: &Source| {
        let Source::Address(address) = source else { panic!("nothing is local here") };
        let fleet = Fleet::new(1, 1);
        Arc::new(Link::new(node, false, address.to_string(), fleet.node(1).clone()))
    };
    view.after(heartbeat, Source::Address(at.into()), Instant::now(), &mut link).unwrap().0
}

fn claims(fleet: &Fleet, node: u64, role: Role, leader: Option<u64>, term: u64) -> Heartbeat {
    let mut heartbeat = fleet.node(node).heartbeat();
    let status = GroupStatus { role, leader: leader.map(NodeId), term, ..heartbeat.groups[1].clone() };
    heartbeat.groups[1] = status;
    heartbeat
}

#[tokio::test(start_paused = true)]
async fn the_highest_term_leads_and_ones_own_word_beats_hearsay() {
    let fleet = Fleet::new(3, 1);
    let (shard, mut view) = (GroupId(1), View::default());
    let expect = |view: &View, node, term| assert_eq!(view.leader(shard), Some(Leader { node: NodeId(node), term }));
    view = step(&view, claims(&fleet, 1, Role::Leader, Some(1), 5), "n1");
    expect(&view, 1, 5);
    view = step(&view, claims(&fleet, 2, Role::Follower, Some(3), 6), "n2");
    expect(&view, 3, 6);
    view = step(&view, claims(&fleet, 3, Role::Candidate, None, 9), "n3");
    expect(&view, 3, 6);
    // Hearsay of the same term, of a node with a higher id, does not weigh more than the leader's own word.
    view = step(&view, claims(&fleet, 2, Role::Follower, Some(3), 5), "n2");
    expect(&view, 1, 5);
    view = step(&view, claims(&fleet, 3, Role::Leader, None, 10), "n3");
    expect(&view, 3, 10);
}

#[tokio::test(start_paused = true)]
async fn a_link_moves_to_the_address_that_is_heard() {
    let fleet = Fleet::new(1, 1);
    let view = step(&View::default(), fleet.node(1).heartbeat(), "seed");
    let address = |view: &View| view.link(NodeId(1)).unwrap().address.clone();
    let both = step(&view, fleet.node(1).heartbeat(), "n1");
    assert_eq!(address(&both), "seed", "one that works is kept");
    let lost = both.after_silence(&Source::Address("seed".into()));
    assert!(lost.node(NodeId(1)).unwrap().alive(Instant::now()), "the other stream still speaks");
    assert_eq!(address(&step(&lost, fleet.node(1).heartbeat(), "n1")), "n1");
    let gone = lost.after_silence(&Source::Address("n1".into()));
    assert!(!gone.node(NodeId(1)).unwrap().alive(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_learns_or_is_not_ready_is_doubtful() {
    let fleet = Fleet::new(4, 1);
    let mut view = step(&View::default(), fleet.node(1).heartbeat(), "n1");
    let status = |id, change: &dyn Fn(&mut Heartbeat)| {
        let mut heartbeat = fleet.node(id).heartbeat();
        change(&mut heartbeat);
        heartbeat
    };
    view = step(&view, status(2, &|h| h.groups[1].committed = 1_000_000), "n2");
    view = step(&view, status(3, &|h| h.not_ready = Some("starting".to_owned())), "n3");
    let tiers = |view: &View| {
        let mut candidates = Vec::new();
        view.candidates(GroupId(1), &[], Instant::now(), &mut candidates);
        candidates.into_iter().map(|candidate| candidate.tier).collect::<Vec<_>>()
    };
    assert_eq!(tiers(&view), [Tier::Doubtful, Tier::Doubtful, Tier::Doubtful, Tier::Suspected]);
    view = step(&view, status(2, &|h| h.groups[1].role = Role::Learner), "n2");
    assert_eq!(tiers(&view), [Tier::Serving, Tier::Doubtful, Tier::Doubtful, Tier::Suspected]);
    view = step(&view, status(4, &|h| drop(h.groups.remove(1))), "n4");
    assert_eq!(tiers(&view)[3], Tier::Doubtful);
    let report = view.report(Instant::now()).unwrap();
    assert_eq!((report.cluster, report.heartbeats.len()), (CLUSTER, 4));
}
