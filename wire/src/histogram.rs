//! How often something took how long, in buckets that Prometheus can read.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds.
pub const BOUNDS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;

fn bucket(micros: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < micros)
}

/// Counts of one moment; not cumulative, the last bucket has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many fell between a bound and the one before.
    pub buckets: [u64; BUCKETS],
    /// Sum of all, microseconds.
    pub sum_micros: u64,
}

impl Counts {
    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        let micros = took.as_micros() as u64;
        self.buckets[bucket(micros)] += 1;
        self.sum_micros += micros;
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds the samples of the histogram `name` to a page of Prometheus text; `labels` are `a="b"` pairs or empty.
    pub fn render(&self, page: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        let mut line = |text: std::fmt::Arguments<'_>| page.write_fmt(text).expect("a string takes what is written");
        for (at, count) in self.buckets.iter().enumerate() {
            below += count;
            match BOUNDS.get(at) {
                Some(bound) => {
                    let seconds = *bound as f64 / 1e6;
                    line(format_args!("{name}_bucket{{{labels}{comma}le=\"{seconds}\"}} {below}\n"));
                }
                None => line(format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {below}\n")),
            }
        }
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        line(format_args!("{name}_sum{braced} {}\n", self.sum_micros as f64 / 1e6));
        line(format_args!("{name}_count{braced} {below}\n"));
    }
}

/// Counts that many tasks add to: two relaxed additions each time.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        Counts {
            buckets: std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed)),
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_buckets_add_up() {
        let histogram = Histogram::default();
        for micros in [100, 101, 40_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        assert_eq!((counts.buckets[0], counts.buckets[1], counts.buckets[BUCKETS - 1], counts.total()), (1, 1, 1, 3));
        let mut page = String::new();
        counts.render(&mut page, "x", "a=\"b\"");
        assert!(page.starts_with("x_bucket{a=\"b\",le=\"0.0001\"} 1\nx_bucket{a=\"b\",le=\"0.00025\"} 2\n"), "{page}");
        assert!(
            page.ends_with("x_bucket{a=\"b\",le=\"+Inf\"} 3\nx_sum{a=\"b\"} 40.000201\nx_count{a=\"b\"} 3\n"),
            "{page}"
        );
        let (mut one, mut page) = (Counts::default(), String::new());
        one.record(Duration::ZERO);
        one.render(&mut page, "x", "");
        assert!(page.contains("x_bucket{le=\"0.0001\"} 1\n") && page.ends_with("x_sum 0\nx_count 1\n"), "{page}");
    }
}
