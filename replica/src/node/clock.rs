//! What time it is for a cluster: what more than half of its nodes' clocks have reached. A clock that is wrong decides
//! nothing: nothing expires, is let go of or loses its lock early because one machine's time has jumped. Late, yes: with
//! one of two clocks behind, that one counts.

use std::sync::Arc;

use holdfast_wire::seam::Clock;

use super::neighbours::Neighbours;

/// The clock by which a node stamps commands: its own, unless most of the others say otherwise.
pub struct ClusterClock {
    pub own: Arc<dyn Clock>,
    pub neighbours: Arc<Neighbours>,
}

impl Clock for ClusterClock {
    fn unix_millis(&self) -> u64 {
        let mut clocks = self.neighbours.clocks();
        clocks.push(self.own.unix_millis());
        reached(&mut clocks)
    }
}

/// The latest time that more than half of the clocks have reached; there is at least one.
fn reached(clocks: &mut [u64]) -> u64 {
    clocks.sort_unstable();
    clocks[(clocks.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_of_wrong_clocks_decides_nothing() {
        const NOON: u64 = 1_800_000_000_000;
        const HOUR: u64 = 3_600_000;
        for (clocks, reached_ms) in [
            (vec![NOON], NOON),
            (vec![NOON + HOUR, NOON, NOON + 5], NOON + 5),
            (vec![NOON - HOUR, NOON, NOON + 5], NOON),
            (vec![NOON, NOON + HOUR], NOON),
            (vec![NOON + HOUR, NOON, NOON, NOON + HOUR], NOON),
            (vec![NOON + HOUR, NOON + HOUR, NOON, NOON, NOON + 1], NOON + 1),
        ] {
            assert_eq!(reached(&mut clocks.clone()), reached_ms, "{clocks:?}");
        }
    }
}
