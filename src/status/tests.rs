//! Views of clusters in several states, and what is said of them.

use holdfast_wire::heartbeat::{Layout, NodeInfo};
use holdfast_wire::id::{ClusterId, Epoch};
use holdfast_wire::placement::{HashRange, ShardMap};

use super::*;

/// Three nodes, root and one shard, all well; node 1 leads root, node 2 the shard.
pub fn healthy() -> ClusterView {
    let ids = [NodeId(1), NodeId(2), NodeId(3)];
    let nodes: Vec<_> = ids
        .iter()
        .map(|id| NodeInfo {
            id: *id,
            name: format!("n{id}"),
            address: format!("127.0.0.1:700{id}"),
            version: "0.1.0".into(),
        })
        .collect();
    let groups = [(0, None), (1, Some(HashRange { first: 0, last: u64::MAX }))].map(|(group, range)| GroupPlace {
        group: GroupId(group),
        range,
        epoch: Epoch(1),
        voters: ids.to_vec(),
    });
    let layout = Layout {
        version: 5,
        draining: Vec::new(),
        nodes: nodes.clone(),
        map: ShardMap { epoch: Epoch(1), groups: groups.to_vec() },
        copies: 3,
    };
    let heartbeat = |node: &NodeInfo| Heartbeat {
        cluster: ClusterId(7),
        node: node.clone(),
        clock_ms: 1_800_000_000_000,
        not_ready: None,
        load: Load { disk_free: 90 << 30, disk_total: 100 << 30, ..Load::default() },
        groups: [0, 1]
            .map(|group| GroupStatus {
                group: GroupId(group),
                role: if node.id.0 == u64::from(group) + 1 { Role::Leader } else { Role::Follower },
                leader: Some(NodeId(u64::from(group) + 1)),
                term: 2,
                voters: ids.to_vec(),
                last_log: 10,
                committed: 10,
                applied: 10,
                missing_blobs: 0,
            })
            .to_vec(),
        layout: layout.clone(),
    };
    let heartbeats = nodes.iter().map(|node| (heartbeat(node), 100)).collect();
    ClusterView { cluster: ClusterId(7), layout: layout.clone(), heartbeats }
}

#[test]
fn a_healthy_cluster_has_no_problems() {
    let status = Status::of(&healthy());
    assert_eq!((status.health, status.problems.len()), (Health::Ok, 0), "{:?}", status.problems);
    assert_eq!(status.groups.iter().map(|group| group.leader).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(status.groups[1].range, Some(("0000000000000000".into(), "ffffffffffffffff".into())));
    assert_eq!(status.groups[0].members.len(), 3);
}

#[test]
fn too_few_copies_are_not_well_while_there_are_nodes_for_more() {
    let mut view = healthy();
    view.heartbeats.iter_mut().for_each(|(heartbeat, _)| heartbeat.groups[1].voters.truncate(2));
    view.heartbeats[2].0.groups[1].role = Role::Learner;
    let status = Status::of(&view);
    assert_eq!(
        (status.health, &status.problems[..]),
        (Health::Degraded, &["shard 1 has 2 of 3 copies".to_owned()][..])
    );
    assert_eq!(status.doing, ["n3 (id 3) gets a copy of shard 1"]);
    view.layout.nodes.pop();
    assert_eq!(Status::of(&view).health, Health::Ok, "there is nobody to hold a third one");
}

#[test]
fn one_silent_node_degrades_and_its_leadership_is_not_believed() {
    let mut view = healthy();
    view.heartbeats[1].1 = 4000;
    let status = Status::of(&view);
    assert!(!status.nodes[1].alive);
    assert_eq!(status.groups[1].leader, None);
    assert_eq!(status.health, Health::Unavailable, "until the others have elected");
    view.heartbeats[2].0.groups[1].role = Role::Leader;
    view.heartbeats[2].0.groups[1].term = 3;
    let status = Status::of(&view);
    assert_eq!((status.health, status.groups[1].leader, status.groups[1].term), (Health::Degraded, Some(3), 3));
    assert_eq!(status.problems, ["node n2 (id 2) at 127.0.0.1:7002 has been silent for 4.0 s"]);
}

#[test]
fn a_lost_majority_is_unavailable_and_says_what_stops() {
    let mut view = healthy();
    view.heartbeats.truncate(1);
    let status = Status::of(&view);
    assert_eq!(status.health, Health::Unavailable);
    assert!(
        status.problems.iter().any(|p| p.contains("shard 1 has lost its majority (1 of 3 voters alive)")),
        "{status:?}"
    );
    assert!(status.problems.iter().any(|p| p.contains("n3 (id 3)") && p.contains("not been heard")), "{status:?}");
}

#[test]
fn lagging_full_and_mixed_nodes_are_named() {
    let mut view = healthy();
    view.heartbeats[0].0.groups[0].committed = 5000;
    view.heartbeats[1].0.groups[0].applied = 2000;
    view.heartbeats[0].0.groups[0].applied = 5000;
    view.heartbeats[2].0.groups[0].applied = 5000;
    view.heartbeats[2].0.groups[1].missing_blobs = 3;
    view.heartbeats[2].0.load.disk_free = 1 << 30;
    view.heartbeats[2].0.node.version = "0.2.0".into();
    view.heartbeats[0].0.not_ready = Some("replaying the log".into());
    let status = Status::of(&view);
    assert_eq!(status.health, Health::Degraded);
    let said = status.problems.join("\n");
    for told in [
        "n2 (id 2) is 3000 entries behind in the root group",
        "3 blobs of shard 1",
        "1024 MiB",
        "0.1.0, 0.2.0",
        "replaying the log",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(status.problems.len(), 5, "{said}");
}

#[test]
fn a_cluster_that_is_not_formed_says_so() {
    let mut view = healthy();
    view.layout = Layout::default();
    view.heartbeats.clear();
    assert_eq!(Status::of(&view).health, Health::Unavailable);
}

#[test]
fn json_is_stable_and_text_has_every_node_and_group() {
    let status = Status::of(&healthy());
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["health"], "ok");
    assert_eq!(json["groups"][0]["kind"], "root");
    assert_eq!(json["groups"][1]["members"][2]["applied"], 10);
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
    let text = table(&status);
    for told in ["00000000000000000000000000000007  ok", "n3", "127.0.0.1:7002", "0000…–ffff…", "n1:10/10/10"] {
        assert!(text.contains(told), "{told}:\n{text}");
    }
}

#[test]
fn what_is_wrong_comes_with_what_is_done_about_it_and_what_is_left_to_do() {
    let well = Status::of(&healthy());
    assert!(well.doing.is_empty() && well.todo.is_empty(), "{well:?}");
    let mut view = healthy();
    view.heartbeats[2].1 = 4000;
    let status = Status::of(&view);
    assert!(status.todo.iter().any(|todo| todo.contains("look after n3")), "{:?}", status.todo);
    view.heartbeats[1].1 = 4000;
    let status = Status::of(&view);
    let keep = "do not wipe or remove them";
    assert!(status.todo.iter().any(|todo| todo.contains(keep)), "a lost majority: {:?}", status.todo);
    assert!(table(&status).contains(keep));
    let dangerous = status.todo.iter().filter(|todo| todo.contains("empty") || todo.contains("cluster remove"));
    assert_eq!(dangerous.count(), 0, "{:?}", status.todo);
    assert_eq!(status.todo.iter().filter(|todo| todo.contains(keep)).count(), 1, "{:?}", status.todo);
    let mut view = healthy();
    view.heartbeats[0].0.groups[1].missing_blobs = 7;
    let status = Status::of(&view);
    assert!(status.doing.iter().any(|doing| doing.contains("n1 (id 1) fetches")), "{:?}", status.doing);
    assert!(table(&status).contains("to do: nothing, for now"));
}

#[test]
fn a_drain_is_told_until_nothing_is_left() {
    use drain::{Progress, progress};
    let mut view = healthy();
    assert_eq!(progress(&Status::of(&view), "n9"), None);
    let told = |view: &ClusterView| progress(&Status::of(view), "n3");
    assert_eq!(told(&view), Some(Progress::Stays { name: "n3".to_owned() }));
    view.layout.draining.push(NodeId(3));
    let holds = |votes, hosts| Some(Progress::Holds { name: "n3".to_owned(), leads: 0, votes, hosts });
    assert_eq!(told(&view), holds(2, 2));
    for (heartbeat, _) in &mut view.heartbeats {
        heartbeat.groups.iter_mut().for_each(|group| group.voters.retain(|voter| voter.0 != 3));
    }
    assert_eq!(told(&view), holds(0, 2), "its data are still there");
    view.heartbeats[2].0.groups.clear();
    assert_eq!(told(&view), Some(Progress::Empty { name: "n3".to_owned() }));
    assert!(Status::of(&view).todo.iter().any(|todo| todo.contains("holdfast cluster remove n3")));
}

#[test]
fn a_clock_that_is_off_is_told_of_the_node_whose_it_is() {
    let mut view = healthy();
    view.heartbeats[2].0.clock_ms += 86_400_000;
    let status = Status::of(&view);
    assert_eq!(status.health, Health::Degraded);
    assert_eq!(status.problems, ["the clock of node n3 (id 3) is 86400 s ahead of the others'"]);
    assert!(status.todo.iter().any(|todo| todo.starts_with("set the clock of n3")), "{:?}", status.todo);
    let off: Vec<_> = status.nodes.iter().map(|node| node.clock_ahead_ms).collect();
    assert_eq!(off, [Some(0), Some(0), Some(86_400_000)]);
    // An old heartbeat is no slow clock.
    let mut view = healthy();
    (view.heartbeats[1].0.clock_ms, view.heartbeats[1].1) = (1_800_000_000_000 - 1300, 1400);
    assert!(Status::of(&view).problems.is_empty());
    view.heartbeats[0].0.clock_ms -= 6_000;
    assert!(Status::of(&view).problems[0].ends_with("is 6 s behind the others'"));
}
