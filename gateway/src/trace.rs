//! Requests as they end, for those who look on: nothing is made while nobody does.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::sync::broadcast;

use crate::guard::table::Operation;

/// Requests that one who looks on may be behind; older ones are skipped.
const BEHIND: usize = 4096;

/// A request that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its id, as the client got it in `x-amz-request-id`.
    pub id: String,
    /// The method.
    pub method: Method,
    /// The path; neither the query (it may hold a signature) nor headers.
    pub path: String,
    /// What was asked for.
    pub operation: Operation,
    /// What was answered.
    pub status: StatusCode,
    /// Bytes of the response's body that went out.
    pub sent: u64,
    /// Microseconds from the request's head to the response's.
    pub first_byte_micros: u64,
    /// Microseconds from the request's head to the end.
    pub micros: u64,
    /// Whether the response went out to its end.
    pub whole: bool,
}

/// Where requests are told and heard.
#[derive(Debug)]
pub struct Tap(broadcast::Sender<Arc<Ended>>);

impl Default for Tap {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND).0)
    }
}

impl Tap {
    /// Tells of a request, if somebody looks on.
    pub fn tell(&self, ended: impl FnOnce() -> Ended) {
        if self.0.receiver_count() > 0 {
            // Nobody may be left by now.
            let _ = self.0.send(Arc::new(ended()));
        }
    }

    /// Looks on from now on.
    pub fn look_on(&self) -> broadcast::Receiver<Arc<Ended>> {
        self.0.subscribe()
    }
}
