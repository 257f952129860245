//! Live requests of the gateway in this process, one JSON object a line, from now on until the client leaves.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use holdfast_gateway::trace::Ended;
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::Context;
use super::route::{Answer, Ask, Route};
use crate::http::{Content, error, streamed};

const LINES: &str = "application/x-ndjson";

/// What there is.
pub const ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/v1/trace",
    about: "Requests as they end, of the gateway in the process asked: one JSON object a line",
    command: "trace",
    query: &[
        ("operation", "Only this operation, such as GetObject"),
        ("failed", "With `true`: only answers of 400 and above"),
    ],
    body: None,
    answer: Answer::Stream(LINES),
    handle: |context, ask| futures::future::ready(trace(&context, &ask)).boxed(),
}];

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// As in `x-amz-request-id`.
    pub id: String,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The operation, by its name in the S3 API.
    pub operation: String,
    /// The HTTP status.
    pub status: u16,
    /// Bytes of the response's body.
    pub sent_bytes: u64,
    /// To the response's head.
    pub first_byte_us: u64,
    /// To the end.
    pub duration_us: u64,
    /// Whether the response went out to its end.
    pub whole: bool,
}

impl Line {
    fn of(ended: &Ended) -> Self {
        Self {
            id: ended.id.clone(),
            method: ended.method.to_string(),
            path: ended.path.clone(),
            operation: ended.operation.name().to_owned(),
            status: ended.status.as_u16(),
            sent_bytes: ended.sent,
            first_byte_us: ended.first_byte_micros,
            duration_us: ended.micros,
            whole: ended.whole,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { id, method, path, operation, status, sent_bytes, first_byte_us, duration_us, whole } = self;
        let broken = if *whole { "" } else { "  broke off" };
        let (first, all) = (*first_byte_us as f64 / 1e3, *duration_us as f64 / 1e3);
        format!("{status} {operation:24} {first:9.2} ms {all:9.2} ms {sent_bytes:>11} B  {method} {path}  {id}{broken}")
    }
}

fn trace(context: &Arc<Context>, ask: &Ask) -> Response<Content> {
    let Some(counters) = &context.gateway else {
        return error(StatusCode::NOT_FOUND, "this process has no gateway: ask one that has");
    };
    let (operation, failed) = (ask.query("operation"), ask.query("failed").as_deref() == Some("true"));
    let lines = futures::stream::unfold(counters.tap().look_on(), |mut requests| async move {
        loop {
            match requests.recv().await {
                Ok(ended) => return Some((Line::of(&ended), requests)),
                // It did not read fast enough: what is too old is skipped.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let wanted = lines.filter(move |line| {
        let asked = operation.as_ref().is_none_or(|operation| *operation == line.operation);
        futures::future::ready(asked && (!failed || line.status >= 400))
    });
    let bytes = wanted.map(|line| {
        let mut text = serde_json::to_vec(&line).expect("a line is always serializable");
        text.push(b'\n');
        Ok(Bytes::from(text))
    });
    streamed(LINES, bytes.boxed())
}
