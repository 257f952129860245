//! The two ways in which linearizable reads of a Raft group go stale after a restart, each with its guard off and on:
//! with it off the staleness must show, or the test proves nothing.

use openraft::ReadPolicy;

use super::*;
use crate::group::{Group, Guards};
use crate::index::command::Command;
use holdfast_wire::bucket::AckMode;

const SHARD: GroupId = GroupId(1);

async fn cluster(guards: Guards) -> Cluster {
    Cluster::start(3, NodeConfig { guards, ..NodeConfig::default() }).await
}

fn leader(cluster: &Cluster) -> Option<(usize, Arc<Group>)> {
    let leaders = cluster.nodes.iter().enumerate().filter_map(|(at, node)| {
        let group = node.as_ref()?.inner.host().ok()?.group(SHARD).ok()?;
        group.leads().then(|| (group.status(0).term, at, group))
    });
    leaders.max_by_key(|(term, _, _)| *term).map(|(_, at, group)| (at, group))
}

/// Commits one entry; its index, if it was acknowledged.
async fn commit(group: &Group) -> Option<u64> {
    let deadline = Instant::now() + Duration::from_millis(500);
    let proposed = group.propose(None, Command::Collect { before_ms: 0 }, AckMode::Majority, deadline).await;
    proposed.ok().map(|proposed| proposed.index)
}

/// Cuts the leader's power just behind an acknowledged write and starts it again at once. It is asked for a read index
/// before its followers can tell it what is committed; they confirm it a moment later: whether the index is behind that
/// write.
async fn stale_after_leader_restart(guards: Guards) -> bool {
    let mut cluster = cluster(guards).await;
    let (at, group) = leader(&cluster).expect("a leader");
    let mut acknowledged = 0;
    for _ in 0..20 {
        acknowledged = commit(&group).await.expect("a healthy group commits");
    }
    drop(group);
    cluster.cut_power(at);
    let others: Vec<usize> = (0..3).filter(|other| *other != at).collect();
    others.iter().for_each(|other| cluster.net.cut(&name(at), &name(*other)));
    cluster.start_node(at).await;
    cluster.until("the group runs", || cluster.group(at).is_some()).await;
    let group = cluster.group(at).expect("just seen");
    let mut stale = false;
    for _ in 0..20 {
        let asking = group.read_index(Instant::now() + Duration::from_millis(200));
        let healing = async {
            sleep(Duration::from_millis(5)).await;
            others.iter().for_each(|other| cluster.net.heal(&name(at), &name(*other)));
        };
        let (asked, ()) = tokio::join!(asking, healing);
        stale |= asked.is_ok_and(|index| index < acknowledged);
    }
    stale
}

#[tokio::test(start_paused = true)]
async fn a_restarted_leader_reads_nothing_stale_because_it_is_elected_anew() {
    let unguarded = Guards { elect_after_restart: false, silence_after_restart: false };
    let guarded = Guards { elect_after_restart: true, silence_after_restart: false };
    assert!(stale_after_leader_restart(unguarded).await, "without the guard the test must find a stale read");
    assert!(!stale_after_leader_restart(guarded).await);
}

/// Cuts the leader off one follower, then off the other, which restarts at that moment and votes the first one into
/// leadership: whether the old leader, on the strength of its lease, still answers with an index behind the new one's
/// writes.
async fn stale_lease_after_follower_restart(guards: Guards) -> bool {
    let mut cluster = cluster(guards).await;
    let (old, old_group) = leader(&cluster).expect("a leader");
    let (bounced, rival) = match old {
        0 => (1, 2),
        1 => (0, 2),
        _ => (0, 1),
    };
    commit(&old_group).await.expect("a healthy group commits");
    cluster.net.cut(&name(old), &name(rival));
    sleep(Duration::from_millis(800)).await;

    cluster.net.cut(&name(old), &name(bounced));
    drop(cluster.nodes[bounced].take());
    cluster.net.kill(&name(bounced));
    cluster.start_node(bounced).await;
    let until = Instant::now() + Duration::from_millis(1500);
    let mut newest = 0;
    while Instant::now() < until {
        if let Some((at, group)) = leader(&cluster)
            && at != old
            && let Some(index) = commit(&group).await
        {
            newest = index;
        }
        if newest > 0
            && let Ok(linearizer) = old_group.raft().get_read_linearizer(ReadPolicy::LeaseRead).await
            && linearizer.read_log_id().index() < newest
        {
            return true;
        }
        sleep(Duration::from_millis(1)).await;
    }
    assert!(newest > 0, "a new leader must have written");
    false
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_the_restart_of_a_follower_that_granted_it() {
    let unguarded = Guards { silence_after_restart: false, ..Guards::default() };
    let mut found = false;
    for _ in 0..4 {
        found = found || stale_lease_after_follower_restart(unguarded).await;
    }
    assert!(found, "without the guard the test must find a stale read");
    for _ in 0..2 {
        assert!(!stale_lease_after_follower_restart(Guards::default()).await);
    }
}
