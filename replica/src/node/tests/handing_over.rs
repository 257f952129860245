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
