//! How much a gateway takes on at once, and the gate that counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::guard::refusal::{Cause, Refusal};

/// What one gateway takes on. The defaults fit a process of some 400 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; further ones get a 503 and are closed.
    pub max_connections: usize,
    /// Requests under way at once, over all connections; further ones get 503 `SlowDown`.
    pub max_in_flight: u64,
    /// Bytes that the bodies of requests under way may pin, where one request counts at most `body_window`.
    pub max_in_flight_bytes: u64,
    /// What one streamed body may hold in memory, in bytes.
    pub body_window: u64,
    /// The header lines of a request, in bytes.
    pub max_header_bytes: usize,
    /// Path and query of a request, in bytes.
    pub max_uri_bytes: usize,
    /// A request's document (XML), in bytes.
    pub max_document_bytes: u64,
    /// How long a request's head may take once its first byte has come.
    pub header_timeout: Duration,
    /// How long a connection may stay without a request.
    pub idle_timeout: Duration,
    /// Over how long a body's rate is measured, in either direction; one that stands still is cut after one to two of these.
    pub body_timeout: Duration,
    /// The least rate at which a body must be sent or read, in bytes per second of waiting for the client.
    pub min_body_rate: u64,
    /// How long requests under way may take to finish when the gateway stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_in_flight: 2048,
            max_in_flight_bytes: 256 << 20,
            body_window: 1 << 20,
            max_header_bytes: 16 << 10,
            max_uri_bytes: 16 << 10,
            max_document_bytes: 2 << 20,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(15),
            min_body_rate: 512,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// Counts what is under way and refuses what is too much. Lock-free; never over its limits.
#[derive(Debug)]
pub struct Gate {
    max_requests: u64,
    max_bytes: u64,
    window: u64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Gate {
    /// An empty gate.
    pub fn new(limits: &Limits) -> Self {
        Self {
            max_requests: limits.max_in_flight,
            max_bytes: limits.max_in_flight_bytes,
            window: limits.body_window,
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Lets in a request with a body of `length` bytes (`None`: unknown), until the permit is dropped. Bodies as long as
    /// a window or longer leave a quarter of all bytes to the others: however many of them crawl, small ones get in.
    pub fn admit(self: &Arc<Self>, length: Option<u64>) -> Result<Permit, Refusal> {
        let bytes = length.unwrap_or(u64::MAX).min(self.window);
        let limit = if bytes < self.window { self.max_bytes } else { self.max_bytes / 4 * 3 };
        if !take(&self.requests, 1, self.max_requests) {
            return Err(Refusal::slow_down(Cause::InFlight));
        }
        if !take(&self.bytes, bytes, limit) {
            self.requests.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::slow_down(Cause::InFlightBytes));
        }
        Ok(Permit { gate: self.clone(), bytes })
    }

    /// Requests under way.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes that their bodies may pin.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Adds `amount` unless `limit` would be passed.
fn take(counter: &AtomicU64, amount: u64, limit: u64) -> bool {
    let before = counter.fetch_add(amount, Ordering::Relaxed);
    let fits = before.saturating_add(amount) <= limit;
    if !fits {
        counter.fetch_sub(amount, Ordering::Relaxed);
    }
    fits
}

/// A request's place; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    bytes: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.gate.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let limits = Limits { max_in_flight: 3, max_in_flight_bytes: 280, body_window: 100, ..Limits::default() };
        let gate = Arc::new(Gate::new(&limits));
        let one = gate.admit(Some(1000)).unwrap();
        let two = gate.admit(None).unwrap();
        assert_eq!((gate.requests(), gate.bytes()), (2, 200));
        assert_eq!(gate.admit(Some(81)).unwrap_err().cause, Cause::InFlightBytes);
        let large = gate.admit(Some(100)).unwrap_err();
        assert_eq!(large.cause, Cause::InFlightBytes, "large bodies leave room for small ones");
        let three = gate.admit(Some(80)).unwrap();
        assert_eq!(gate.admit(Some(0)).unwrap_err().cause, Cause::InFlight);
        drop((one, three));
        assert_eq!((gate.requests(), gate.bytes()), (1, 100));
        drop(two);
        assert_eq!((gate.requests(), gate.bytes()), (0, 0));
    }
}
