//! Leaderships that a node gives away.

use std::time::Duration;

use crate::node::NodeConfig;
use crate::task::heir::HandOver;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_group_for_which_nobody_was_fit_is_looked_at_again_at_once_and_one_that_was_tried_is_not() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let leads = |at: usize| cluster.group(at).is_some_and(|group| group.leads());
    cluster.until("somebody leads", || (0..3).any(leads)).await;
    let at = (0..3).find(|at| leads(*at)).expect("it was found above");
    let host = cluster.nodes[at].as_ref().and_then(|node| node.inner.host().ok()).expect("it runs");
    let heir = cluster.nodes[(at + 1) % 3].as_ref().and_then(|node| node.inner.host().ok()).expect("it runs").id();
    let mut leaderships = HandOver::new("of a test", Duration::from_secs(60));
    assert_eq!(leaderships.try_all(&host, |_| None).await, 0);
    let first_shard = |group: &crate::group::Group| (group.id() == GroupId(1)).then_some(heir);
    assert_eq!(leaderships.try_all(&host, first_shard).await, 1, "it waits for nothing");
    cluster.until("it follows", || !leads(at)).await;
    // Back again, it was tried within the minute.
    let group = cluster.group((at + 1) % 3).expect("it runs");
    cluster.until("the heir leads", || group.leads()).await;
    group.transfer(host.id(), Instant::now() + Duration::from_secs(10)).await.expect("it moves back");
    cluster.until("it leads again", || leads(at)).await;
    assert_eq!(leaderships.try_all(&host, first_shard).await, 0, "once a minute");
}

#[tokio::test(start_paused = true)]
async fn a_leadership_that_does_not_move_holds_up_no_other() {
    let cluster = Cluster::start(3, NodeConfig::default()).await;
    let hosts: Vec<_> = cluster.running().map(|node| node.inner.host().expect("it runs")).collect();
    let member = |at: usize, shard: u32| hosts[at].group(GroupId(shard)).expect("every node has every group");
    for shard in [1, 2] {
        cluster.until("somebody leads", || (0..3).any(|at| member(at, shard).leads())).await;
        let at = (0..3).find(|at| member(*at, shard).leads()).expect("it was found above");
        if at != 0 {
            let within = Instant::now() + Duration::from_secs(10);
            member(at, shard).transfer(hosts[0].id(), within).await.expect("it moves");
            cluster.until("the first leads", || member(0, shard).leads()).await;
        }
    }
    // The second node hears nothing of what is offered to it.
    cluster.net.cut(&name(0), &name(1));
    let (began, first) = (Instant::now(), GroupId(1));
    let mut leaderships = HandOver::new("of a test", Duration::from_secs(60));
    let moving = leaderships.try_all(&hosts[0], |group| {
        (group.id() != GroupId::ROOT).then(|| hosts[if group.id() == first { 1 } else { 2 }].id())
    });
    let other = async {
        cluster.until("the other has moved", || member(2, 2).leads()).await;
        began.elapsed()
    };
    let (_, took) = tokio::join!(moving, other);
    assert!(took < Duration::from_millis(100), "it waited for the first: {took:?}");
    // Nobody took that one over before an election, if anybody did.
    assert!(began.elapsed() > Duration::from_millis(200), "the first must have been slow: {:?}", began.elapsed());
}

/// The one that takes over is cut off as soon as the old leader has voted for it, and comes back when there is another.
#[tokio::test(start_paused = true)]
async fn an_offer_is_made_again_where_the_one_that_made_it_was_elected_again() {
    let mut won_again = 0;
    for _ in 0..10 {
        let cluster = Cluster::start(3, NodeConfig::default()).await;
        let leads = |at: usize| cluster.group(at).is_some_and(|group| group.leads());
        cluster.until("somebody leads", || (0..3).any(leads)).await;
        let at = (0..3).find(|at| leads(*at)).expect("it was found above");
        let (to, third) = ((at + 1) % 3, (at + 2) % 3);
        let id = |at: usize| cluster.nodes[at].as_ref().and_then(|node| node.inner.host().ok()).expect("it runs").id();
        let group = cluster.group(at).expect("it runs");
        cluster.net.cut(&name(third), &name(to));
        let cutting_off = async {
            while group.leads() {
                tokio::task::yield_now().await;
            }
            cluster.net.cut(&name(at), &name(to));
            cluster.until("an election", || leads(at) || leads(third)).await;
            won_again += u32::from(leads(at));
            cluster.net.heal(&name(at), &name(to));
            cluster.net.heal(&name(third), &name(to));
        };
        let moved = group.transfer(id(to), Instant::now() + Duration::from_secs(20));
        let (moved, ()) = tokio::join!(moved, cutting_off);
        assert_ne!(moved.expect("somebody else leads in the end"), id(at));
    }
    assert!(won_again > 0, "that case must have been there");
}
