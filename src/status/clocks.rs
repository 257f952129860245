//! How far each node's clock is from the others'.

use holdfast_wire::heartbeat::{ClusterView, UNSAID};

use super::ALIVE_WITHIN_MS;

/// Clocks that differ by more than this are a problem. Requests are signed to the quarter of an hour, certificates and
/// locks are judged by the clock.
pub const OFF_MS: u64 = 5_000;

/// How many milliseconds the clock of each live node, by id, is ahead of the middle one.
pub fn offsets(view: &ClusterView) -> Vec<(u64, i64)> {
    let alive = view.heartbeats.iter().filter(|(said, age)| *age < ALIVE_WITHIN_MS && said.clock_ms != UNSAID);
    // What each clock says at the moment of the view.
    let clocks: Vec<(u64, u64)> =
        alive.map(|(said, age)| (said.node.id.0, said.clock_ms.saturating_add(*age))).collect();
    let mut sorted: Vec<u64> = clocks.iter().map(|(_, clock)| *clock).collect();
    sorted.sort_unstable();
    let Some(middle) = sorted.get(sorted.len().saturating_sub(1) / 2) else { return Vec::new() };
    clocks.iter().map(|(node, clock)| (*node, clock.cast_signed().saturating_sub(middle.cast_signed()))).collect()
}
