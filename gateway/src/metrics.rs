//! What a gateway counts, and its rendering as Prometheus text.
//!
//! A plain struct of atomics, made by whoever starts the process and passed down. Every label comes from a bounded
//! set. Counting costs a handful of relaxed additions a request.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::guard::refusal::Cause;
use crate::guard::table::Operation;

const OPERATIONS: usize = Operation::ALL.len();
const CAUSES: usize = Cause::ALL.len();
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the latency buckets, in microseconds.
const BOUNDS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// How often something took how long.
#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    fn record(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        self.counts[BOUNDS.partition_point(|bound| *bound < micros)].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// What is counted of one operation.
#[derive(Debug, Default)]
struct Counted {
    classes: [AtomicU64; CLASSES.len()],
    took: Histogram,
}

/// The counters of one gateway.
#[derive(Debug)]
pub struct GatewayMetrics {
    operations: [Counted; OPERATIONS],
    refused: [AtomicU64; CAUSES],
    received: AtomicU64,
    sent: AtomicU64,
    aborted: AtomicU64,
    connections: AtomicU64,
    accepted: AtomicU64,
    in_flight: AtomicU64,
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        Self {
            operations: std::array::from_fn(|_| Counted::default()),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }
}

impl GatewayMetrics {
    /// A request begins.
    pub fn begun(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ended, its response's last byte included. `whole`: the response was sent to its end.
    pub fn ended(&self, operation: Operation, status: StatusCode, took: Duration, sent: u64, whole: bool) {
        let counted = &self.operations[operation as usize];
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        counted.classes[class].fetch_add(1, Ordering::Relaxed);
        counted.took.record(took);
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.aborted.fetch_add(u64::from(!whole), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Something was refused.
    pub fn refused(&self, cause: Cause) {
        self.refused[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of request bodies came in.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A connection was opened.
    pub fn opened(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was closed.
    pub fn closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// How often something was refused for this cause.
    pub fn refusals(&self, cause: Cause) -> u64 {
        read(&self.refused[cause as usize])
    }

    /// Connections open now.
    pub fn connections(&self) -> u64 {
        read(&self.connections)
    }

    /// Requests under way now.
    pub fn in_flight(&self) -> u64 {
        read(&self.in_flight)
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The counters as Prometheus text. Operations that were never asked for are left out.
pub fn render(metrics: &GatewayMetrics) -> String {
    let mut text = String::with_capacity(8 * 1024);
    let asked = || Operation::ALL.iter().zip(&metrics.operations).filter(|(_, counted)| counted.total() > 0);

    head(&mut text, "holdfast_gateway_requests_total", "counter", "Requests answered.");
    for (operation, counted) in asked() {
        for (class, count) in CLASSES.iter().zip(&counted.classes).filter(|(_, count)| read(count) > 0) {
            let labels = format!("{{operation=\"{}\",status=\"{class}\"}}", operation.name());
            line(&mut text, "holdfast_gateway_requests_total", &labels, read(count));
        }
    }
    const TOOK: &str = "holdfast_gateway_request_duration_seconds";
    head(&mut text, TOOK, "histogram", "From a request's head to the last byte of its response.");
    for (operation, counted) in asked() {
        counted.took.render(&mut text, TOOK, operation.name());
    }
    head(&mut text, "holdfast_gateway_refusals_total", "counter", "Refused before an operation was begun, by cause.");
    for (cause, count) in Cause::ALL.iter().zip(&metrics.refused) {
        let labels = format!("{{cause=\"{}\"}}", cause.label());
        line(&mut text, "holdfast_gateway_refusals_total", &labels, read(count));
    }
    for (name, kind, help, counter) in [
        ("holdfast_gateway_received_bytes_total", "counter", "Bytes of request bodies.", &metrics.received),
        ("holdfast_gateway_sent_bytes_total", "counter", "Bytes of response bodies.", &metrics.sent),
        ("holdfast_gateway_aborted_total", "counter", "Responses that did not reach their end.", &metrics.aborted),
        ("holdfast_gateway_connections_total", "counter", "Connections accepted.", &metrics.accepted),
        ("holdfast_gateway_connections", "gauge", "Connections open.", &metrics.connections),
        ("holdfast_gateway_requests_in_flight", "gauge", "Requests under way.", &metrics.in_flight),
    ] {
        head(&mut text, name, kind, help);
        line(&mut text, name, "", read(counter));
    }
    text
}

impl Counted {
    fn total(&self) -> u64 {
        self.classes.iter().map(read).sum()
    }
}

impl Histogram {
    fn render(&self, text: &mut String, name: &str, operation: &str) {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.counts) {
            below += read(count);
            let seconds = *bound as f64 / 1e6;
            let labels = format!("{{operation=\"{operation}\",le=\"{seconds}\"}}");
            line(text, &format!("{name}_bucket"), &labels, below);
        }
        below += read(&self.counts[BOUNDS.len()]);
        line(text, &format!("{name}_bucket"), &format!("{{operation=\"{operation}\",le=\"+Inf\"}}"), below);
        let labels = format!("{{operation=\"{operation}\"}}");
        line(text, &format!("{name}_sum"), &labels, read(&self.sum_micros) as f64 / 1e6);
        line(text, &format!("{name}_count"), &labels, below);
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes what is written to it");
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    writeln!(text, "{name}{labels} {value}").expect("a string takes what is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = GatewayMetrics::default();
        metrics.opened();
        metrics.received(7);
        metrics.refused(Cause::Query);
        for (status, micros) in [(200, 400), (204, 500), (503, 40_000_000)] {
            metrics.begun();
            let status = StatusCode::from_u16(status).unwrap();
            metrics.ended(Operation::GetObject, status, Duration::from_micros(micros), 10, status != 503);
        }
        let text = render(&metrics);
        for expected in [
            "holdfast_gateway_requests_total{operation=\"GetObject\",status=\"2xx\"} 2\n",
            "holdfast_gateway_requests_total{operation=\"GetObject\",status=\"5xx\"} 1\n",
            "holdfast_gateway_request_duration_seconds_bucket{operation=\"GetObject\",le=\"0.0005\"} 2\n",
            "holdfast_gateway_request_duration_seconds_bucket{operation=\"GetObject\",le=\"30\"} 2\n",
            "holdfast_gateway_request_duration_seconds_bucket{operation=\"GetObject\",le=\"+Inf\"} 3\n",
            "holdfast_gateway_request_duration_seconds_sum{operation=\"GetObject\"} 40.0009\n",
            "holdfast_gateway_refusals_total{cause=\"query\"} 1\n",
            "holdfast_gateway_received_bytes_total 7\n",
            "holdfast_gateway_sent_bytes_total 30\n",
            "holdfast_gateway_aborted_total 1\n",
            "holdfast_gateway_connections 1\n",
            "holdfast_gateway_requests_in_flight 0\n",
        ] {
            assert!(text.contains(expected), "{expected} is missing from\n{text}");
        }
        assert!(!text.contains("PutObject"));
    }
}
