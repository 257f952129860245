//! When a second replica is asked because the first is slow, and how often that may be done: pure.

use std::time::Duration;

/// A first byte is never waited for less than this before a second replica is asked.
pub const DELAY_MIN: Duration = Duration::from_millis(20);
/// Nor more than this.
pub const DELAY_MAX: Duration = Duration::from_secs(1);
/// How often the usual slow first byte (95 %) is waited for.
const TIMES_P95: u32 = 3;

/// A moving estimate of the 95th percentile of times to first byte.
///
/// It climbs 19 times as fast as it falls, so it rests where 1 of 20 samples is above it. Steps are relative, so it
/// works from microseconds to seconds; about 50 slow samples, or 1,000 fast ones, move it by a factor of ten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct P95 {
    us: f32,
}

impl Default for P95 {
    /// 2 ms: neither hedges everything nor nothing before the first samples.
    fn default() -> Self {
        Self { us: 2_000.0 }
    }
}

impl P95 {
    /// The estimate after one more sample.
    #[must_use]
    pub fn after(self, sample: Duration) -> Self {
        const STEP: f32 = 0.05;
        let sample = sample.as_secs_f32() * 1e6;
        let factor = if sample > self.us { 1.0 + 0.95 * STEP } else { 1.0 - 0.05 * STEP };
        Self { us: (self.us * factor).clamp(10.0, 10e6) }
    }

    /// The estimate.
    pub fn estimate(self) -> Duration {
        Duration::from_micros(self.us as u64)
    }

    /// How long to wait for the first replica before asking a second.
    pub fn hedge_after(self) -> Duration {
        (self.estimate() * TIMES_P95).clamp(DELAY_MIN, DELAY_MAX)
    }

    /// As bits, for an atomic.
    pub fn to_bits(self) -> u32 {
        self.us.to_bits()
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    pub fn from_bits(bits: u32) -> Self {
        Self { us: f32::from_bits(bits) }
    }
}

/// How many hedges may be made: one for every 20 reads, saved up to a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// In twentieths of a hedge.
    twentieths: u32,
}

/// Reads that earn one hedge: 5 % more requests at most.
const READS_PER_HEDGE: u32 = 20;
/// Hedges that can be saved up.
const SAVED_MAX: u32 = 10;

impl Default for Budget {
    /// Full, so that the first slow reads of a process are hedged.
    fn default() -> Self {
        Self { twentieths: SAVED_MAX * READS_PER_HEDGE }
    }
}

impl Budget {
    /// A read was made.
    pub fn earn(&mut self) {
        self.twentieths = (self.twentieths + 1).min(SAVED_MAX * READS_PER_HEDGE);
    }

    /// Takes a hedge, if there is one left.
    pub fn spend(&mut self) -> bool {
        let enough = self.twentieths >= READS_PER_HEDGE;
        if enough {
            self.twentieths -= READS_PER_HEDGE;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fed(samples: impl Iterator<Item = u64>) -> P95 {
        samples.fold(P95::default(), |p95, us| p95.after(Duration::from_micros(us)))
    }

    #[test]
    fn the_estimate_settles_at_the_95th_percentile() {
        // 0..1000 µs, shuffled by a step that is coprime to 1000: the percentile is 950 µs.
        let estimate = fed((0..20_000).map(|i| i * 617 % 1000)).estimate().as_micros();
        assert!((850..1050).contains(&estimate), "{estimate}");
    }

    #[test]
    fn the_estimate_follows_a_change_of_scale() {
        let slow = fed((0..3000).map(|i| if i < 1500 { 500 } else { 50_000 }));
        assert!(slow.estimate() > Duration::from_millis(40), "{:?}", slow.estimate());
        assert!(slow.hedge_after() >= 3 * Duration::from_millis(40));
    }

    #[test]
    fn one_slow_sample_is_no_trend_and_fifty_are_a_factor_of_ten() {
        let before = P95::default().estimate();
        let slow = |count| (0..count).fold(P95::default(), |p95, _| p95.after(Duration::from_secs(1))).estimate();
        assert!(slow(1) > before && slow(1) < before * 21 / 20, "{:?}", slow(1));
        assert!(slow(50) > before * 9 && slow(50) < before * 11, "{:?}", slow(50));
    }

    #[test]
    fn the_wait_is_bounded_on_both_sides() {
        assert_eq!(fed((0..5000).map(|_| 100)).hedge_after(), DELAY_MIN);
        assert_eq!(fed((0..5000).map(|_| 9_000_000)).hedge_after(), DELAY_MAX);
    }

    proptest! {
        #[test]
        fn hedges_never_pass_a_twentieth_of_the_reads_and_the_savings(spends in prop::collection::vec(any::<bool>(), 0..2000)) {
            let mut budget = Budget::default();
            let mut hedges = 0;
            for &spend in &spends {
                budget.earn();
                hedges += u32::from(spend && budget.spend());
            }
            prop_assert!(hedges <= SAVED_MAX + spends.len() as u32 / READS_PER_HEDGE);
        }

        #[test]
        fn bits_round_trip(us in 0u64..10_000_000) {
            let p95 = P95::default().after(Duration::from_micros(us));
            prop_assert_eq!(P95::from_bits(p95.to_bits()), p95);
        }
    }
}
