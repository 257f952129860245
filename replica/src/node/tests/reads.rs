//! Read indexes while links break and heal: none may lie behind what somebody was told or shown before.

use super::*;
use crate::group::Group;
use crate::index::command::Command;
use holdfast_wire::bucket::AckMode;
use std::sync::atomic::AtomicU64;
use tokio::task::JoinSet;

const ROUNDS: usize = 15;

/// Writes and reads on every node while links are cut and healed; how many read indexes were given.
async fn storm(nodes: usize, seed: u64) -> u64 {
    let cluster = Cluster::start(nodes, NodeConfig::default()).await;
    let groups: Vec<Arc<Group>> = (0..nodes).map(|at| cluster.group(at).expect("it runs")).collect();
    let known = Arc::new(AtomicU64::new(0));
    let given = Arc::new(AtomicU64::new(0));
    let leaders = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let mut tasks = JoinSet::new();
    for group in &groups {
        let (writer, acknowledged, led) = (group.clone(), known.clone(), leaders.clone());
        tasks.spawn(async move {
            loop {
                let deadline = Instant::now() + Duration::from_millis(300);
                let command = Command::Collect { before_ms: 0 };
                if let Ok(proposed) = writer.propose(None, command, AckMode::Majority, deadline).await {
                    acknowledged.fetch_max(proposed.index, Ordering::SeqCst);
                    led.lock().expect("no test panics with it").insert(writer.status(0).term);
                }
                sleep(Duration::from_millis(12)).await;
            }
        });
        let (reader, everybody, acknowledged, given) = (group.clone(), groups.clone(), known.clone(), given.clone());
        tasks.spawn(async move {
            loop {
                let shown = everybody.iter().map(|group| group.applied()).max().expect("there are nodes");
                let newest = acknowledged.load(Ordering::SeqCst).max(shown);
                if let Ok(index) = reader.read_index(Instant::now() + Duration::from_millis(200)).await {
                    assert!(index >= newest, "a read index of {index} after {newest} was known");
                    given.fetch_add(1, Ordering::SeqCst);
                }
                sleep(Duration::from_millis(7)).await;
            }
        });
    }
    let mut state = seed;
    let mut below = |bound: u64| {
        state = state.wrapping_add(1);
        xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes()) % bound
    };
    let nodes = nodes as u64;
    for _ in 0..ROUNDS {
        let (from, to) = (below(nodes), below(nodes));
        // The leader loses all its links, or one link breaks.
        let leader = groups.iter().position(|group| group.leads()).map_or(from, |leader| leader as u64);
        let cut: Vec<_> = match below(2) {
            0 => (0..nodes).filter(|other| *other != leader).map(|other| (leader, other)).collect(),
            _ => vec![(from, to)],
        };
        cut.iter().for_each(|(from, to)| cluster.net.cut(&name(*from as usize), &name(*to as usize)));
        sleep(Duration::from_millis(20 + below(880))).await;
        cut.iter().for_each(|(from, to)| cluster.net.heal(&name(*from as usize), &name(*to as usize)));
        sleep(Duration::from_millis(below(400))).await;
        if let Some(ended) = tasks.try_join_next() {
            ended.expect("no read index is behind what was known");
        }
    }
    tasks.shutdown().await;
    assert!(leaders.lock().expect("no test panics with it").len() > 1, "the leadership must have moved");
    given.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn no_read_index_is_behind_what_was_acknowledged_or_shown() {
    for seed in 0..2 {
        let given = storm(3, seed).await;
        assert!(given > 1000, "most reads are answered, not {given}");
    }
}
