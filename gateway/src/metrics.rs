//! What a gateway counts, and its rendering as Prometheus text.
//!
//! A plain struct of atomics, made by whoever starts the process and passed down. Every label comes from a bounded
//! set. Counting costs a handful of relaxed additions a request.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_wire::histogram::Histogram;
use http::StatusCode;

use crate::guard::refusal::Cause;
use crate::guard::table::Operation;
use crate::trace::Tap;

const OPERATIONS: usize = Operation::ALL.len();
const CAUSES: usize = Cause::ALL.len();
/// Status codes that are counted one by one; all others share a counter.
const CODES: [u16; 22] =
    [200, 204, 206, 301, 304, 307, 400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 416, 429, 500, 501, 503, 507];

/// What is counted of one operation.
#[derive(Debug, Default)]
struct Counted {
    codes: [AtomicU64; CODES.len() + 1],
    first_byte: Histogram,
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
    tap: Tap,
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
            tap: Tap::default(),
        }
    }
}

impl GatewayMetrics {
    /// A request begins.
    pub fn begun(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A response is about to be sent.
    pub fn answered(&self, operation: Operation, took: Duration) {
        self.operations[operation as usize].first_byte.record(took);
    }

    /// A request ended, its response's last byte included. `whole`: the response was sent to its end.
    pub fn ended(&self, operation: Operation, status: StatusCode, took: Duration, sent: u64, whole: bool) {
        let counted = &self.operations[operation as usize];
        let code = CODES.binary_search(&status.as_u16()).unwrap_or(CODES.len());
        counted.codes[code].fetch_add(1, Ordering::Relaxed);
        counted.took.record(took);
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.aborted.fetch_add(u64::from(!whole), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Where each request is told when it ends.
    pub fn tap(&self) -> &Tap {
        &self.tap
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

    const REQUESTS: &str = "holdfast_s3_requests_total";
    head(&mut text, REQUESTS, "counter", "Requests answered, by operation and HTTP status code.");
    for (operation, counted) in asked() {
        for (at, count) in counted.codes.iter().enumerate().filter(|(_, count)| read(count) > 0) {
            let code = CODES.get(at).map_or("other".to_owned(), u16::to_string);
            let labels = format!("{{operation=\"{}\",code=\"{code}\"}}", operation.name());
            line(&mut text, REQUESTS, &labels, read(count));
        }
    }
    const FIRST: &str = "holdfast_s3_time_to_first_byte_seconds";
    head(&mut text, FIRST, "histogram", "From a request's head to its response's head.");
    for (operation, counted) in asked() {
        counted.first_byte.counts().render(&mut text, FIRST, &format!("operation=\"{}\"", operation.name()));
    }
    const TOOK: &str = "holdfast_s3_request_duration_seconds";
    head(&mut text, TOOK, "histogram", "From a request's head to the last byte of its response.");
    for (operation, counted) in asked() {
        counted.took.counts().render(&mut text, TOOK, &format!("operation=\"{}\"", operation.name()));
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
        self.codes.iter().map(read).sum()
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
    fn codes_are_in_order_to_be_found() {
        assert!(CODES.is_sorted());
    }

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = GatewayMetrics::default();
        metrics.opened();
        metrics.received(7);
        metrics.refused(Cause::Query);
        metrics.answered(Operation::GetObject, Duration::from_micros(300));
        for (status, micros) in [(200, 400), (299, 500), (503, 40_000_000)] {
            metrics.begun();
            let status = StatusCode::from_u16(status).unwrap();
            metrics.ended(Operation::GetObject, status, Duration::from_micros(micros), 10, status != 503);
        }
        let text = render(&metrics);
        for expected in [
            "holdfast_s3_requests_total{operation=\"GetObject\",code=\"200\"} 1\n",
            "holdfast_s3_requests_total{operation=\"GetObject\",code=\"503\"} 1\n",
            "holdfast_s3_requests_total{operation=\"GetObject\",code=\"other\"} 1\n",
            "holdfast_s3_time_to_first_byte_seconds_count{operation=\"GetObject\"} 1\n",
            "holdfast_s3_request_duration_seconds_bucket{operation=\"GetObject\",le=\"0.0005\"} 2\n",
            "holdfast_s3_request_duration_seconds_bucket{operation=\"GetObject\",le=\"30\"} 2\n",
            "holdfast_s3_request_duration_seconds_bucket{operation=\"GetObject\",le=\"+Inf\"} 3\n",
            "holdfast_s3_request_duration_seconds_sum{operation=\"GetObject\"} 40.0009\n",
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
