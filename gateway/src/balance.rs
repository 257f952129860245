//! Which replica to ask: pure, from what is known of each to a choice.
//!
//! The better tier always wins; within it, the less loaded of two random replicas (the power of two choices), except
//! that the replica of this process is taken unless it is clearly busier: it costs no socket.

use holdfast_wire::heartbeat::Load;
use holdfast_wire::id::NodeId;

/// A replica may lag the newest known commit by so many entries and still be asked first. Heartbeats are up to a few
/// hundred milliseconds old, so a healthy follower under full load seems to lag by thousands.
pub const LAG_MAX: u64 = 5_000;

/// The [`score`] up to which the replica of this process is never too busy: about 80 ms of work.
const STAY: u64 = 80_000;

/// How likely a replica is to answer at all. The smaller the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Heard lately, ready, holds the group and keeps up.
    Serving,
    /// Heard lately, but not ready, behind, or silent about the group.
    Doubtful,
    /// Not heard lately.
    Suspected,
}

/// What is known of a replica that could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// How likely it is to answer.
    pub tier: Tier,
    /// Whether it lives in this process.
    pub local: bool,
    /// How busy it is, from [`score`].
    pub score: u64,
}

/// How busy a node is, in microseconds of work: requests before a new one, times what each of them seems to take. `own`
/// counts this gateway's requests that it has not answered; `load` is its own word, a heartbeat old.
pub fn score(own: u32, load: &Load) -> u64 {
    let queue = 1 + u64::from(own.max(load.in_flight));
    // A replica that has read nothing yet reports 0; some fixed cost keeps it from drawing every read.
    let each = 200 + u64::from(load.read_us);
    let cpu = 1000 + u64::from(load.cpu_millis);
    queue.saturating_mul(each).saturating_mul(cpu) / 1000
}

/// The index of the replica to ask; `random` is uniform. `None` when there are none.
pub fn choose(candidates: &[Candidate], random: u64) -> Option<usize> {
    let best = candidates.iter().map(|candidate| candidate.tier).min()?;
    let of_tier = || candidates.iter().enumerate().filter(|(_, candidate)| candidate.tier == best);
    let count = of_tier().count();
    let nth = |n: usize| of_tier().nth(n).map(|(at, candidate)| (at, candidate.score));

    let (low, high) = (random as u32 as usize, (random >> 32) as usize);
    if let Some((local_place, (local_at, local))) =
        of_tier().enumerate().find(|(_, (_, candidate))| candidate.local).map(|(p, (at, c))| (p, (at, c.score)))
    {
        if count == 1 {
            return Some(local_at);
        }
        // Any of the others, uniformly.
        let (other_at, other) = nth((local_place + 1 + low % (count - 1)) % count)?;
        return Some(if clearly_busier(local, other) { other_at } else { local_at });
    }
    let first = low % count;
    let (first_at, first_score) = nth(first)?;
    if count == 1 {
        return Some(first_at);
    }
    let (second_at, second_score) = nth((first + 1 + high % (count - 1)) % count)?;
    Some(if second_score < first_score { second_at } else { first_at })
}

/// Whether leaving the process pays. A request to another node costs both processors more than a small read does, so a
/// queue alone is no reason: it takes [`STAY`] of work ahead, and four times the other's.
fn clearly_busier(local: u64, other: u64) -> bool {
    local > other.saturating_mul(4).saturating_add(STAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(node: u64, score: u64) -> Candidate {
        Candidate { node: NodeId(node), tier: Tier::Serving, local: false, score }
    }

    fn share(candidates: &[Candidate], at: usize) -> f64 {
        let mut random = 0u64;
        let hits = (0..10_000)
            .filter(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                choose(candidates, random ^ (random >> 29)) == Some(at)
            })
            .count();
        hits as f64 / 10_000.0
    }

    #[test]
    fn more_requests_slower_reads_or_more_cpu_make_a_node_busier() {
        let idle = Load { in_flight: 2, cpu_millis: 100, read_us: 300, ..Load::default() };
        let base = score(1, &idle);
        assert!(score(9, &idle) > base);
        assert!(score(1, &Load { in_flight: 9, ..idle }) > base);
        assert!(score(1, &Load { cpu_millis: 1900, ..idle }) > base);
        assert!(score(1, &Load { read_us: 9000, ..idle }) > base);
    }

    #[test]
    fn a_score_is_microseconds_of_work_and_nobody_is_free() {
        // Of which STAY is measured.
        let busy = Load { in_flight: 3, cpu_millis: 500, read_us: 800, ..Load::default() };
        assert_eq!(score(0, &busy), 4 * (200 + 800) * 3 / 2, "three before a new one, each half as slow again");
        assert_eq!(score(7, &busy), 8 * (200 + 800) * 3 / 2, "what this gateway knows of is newer");
        assert_eq!(score(0, &Load::default()), 200, "who has read nothing yet draws no more than a share");
    }

    #[test]
    fn the_busiest_of_three_is_never_chosen_and_the_idlest_most_often() {
        let nodes = [candidate(1, 100), candidate(2, 900), candidate(3, 200)];
        assert_eq!(share(&nodes, 1), 0.0);
        assert!((0.6..0.73).contains(&share(&nodes, 0)), "{}", share(&nodes, 0));
    }

    #[test]
    fn equals_share_the_load() {
        let nodes = [candidate(1, 100), candidate(2, 100), candidate(3, 100)];
        for at in 0..3 {
            assert!((0.3..0.37).contains(&share(&nodes, at)), "{at}: {}", share(&nodes, at));
        }
    }

    #[test]
    fn the_second_of_two_choices_is_any_of_the_others() {
        // Of ten pairs as many are won as there are busier nodes.
        let nodes: Vec<_> = (1..=5).map(|node| candidate(node, 600 - 100 * node)).collect();
        for (at, expected) in [0.0, 0.1, 0.2, 0.3, 0.4].into_iter().enumerate() {
            assert!((share(&nodes, at) - expected).abs() < 0.02, "{at}: {}", share(&nodes, at));
        }
    }

    #[test]
    fn the_local_replica_is_taken_until_it_is_clearly_busier() {
        let local = |score| Candidate { local: true, ..candidate(2, score) };
        assert_eq!(share(&[candidate(1, 1000), local(STAY), candidate(3, 1000)], 1), 1.0);
        assert_eq!(share(&[candidate(1, 90_000), local(360_000), candidate(3, 90_000)], 1), 1.0);
        assert_eq!(share(&[candidate(1, 1000), local(2 * STAY), candidate(3, 1000)], 1), 0.0);
        let others = share(&[candidate(1, 1000), local(2 * STAY), candidate(3, 1000)], 0);
        assert!((0.45..0.55).contains(&others));
    }

    #[test]
    fn a_worse_tier_is_taken_only_when_there_is_no_better_one() {
        let suspected = Candidate { tier: Tier::Suspected, ..candidate(1, 0) };
        let doubtful = Candidate { tier: Tier::Doubtful, local: true, ..candidate(2, 0) };
        assert_eq!(choose(&[suspected, doubtful, candidate(3, 999_999)], 7), Some(2));
        assert_eq!(choose(&[suspected, doubtful], 7), Some(1));
        assert_eq!(choose(&[suspected], 7), Some(0));
        assert_eq!(choose(&[], 7), None);
    }

    proptest! {
        #[test]
        fn the_choice_is_of_the_best_tier(tiers in prop::collection::vec((0u8..3, any::<bool>(), 0u64..1000), 1..8), random: u64) {
            let candidates: Vec<_> = tiers.iter().enumerate().map(|(node, &(tier, local, score))| Candidate {
                node: NodeId(node as u64),
                tier: [Tier::Serving, Tier::Doubtful, Tier::Suspected][tier as usize],
                local,
                score,
            }).collect();
            let chosen = candidates[choose(&candidates, random).unwrap()];
            prop_assert_eq!(chosen.tier, candidates.iter().map(|c| c.tier).min().unwrap());
        }
    }
}
