//! The scrub of every node.

use std::sync::Arc;

use futures::FutureExt;
use holdfast_wire::scrub::{ScrubOrder, ScrubReport};
use http::{Method, Response, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Context;
use super::cluster::failed;
use super::route::{Answer, Route};
use crate::http::{Content, json};

/// What there is.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/scrub",
        about: "What the scrub of every node finds, or last found",
        command: "scrub status",
        query: &[],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<Vec<NodeScrub>>),
        handle: |context, _| scrub(context, ScrubOrder::Status).boxed(),
    },
    Route {
        method: Method::POST,
        path: "/v1/scrub",
        about: "Let every node read all that it holds, and repair what is bad; one that is at it goes on",
        command: "scrub start",
        query: &[],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<Vec<NodeScrub>>),
        handle: |context, _| scrub(context, ScrubOrder::Start).boxed(),
    },
];

/// The scrub of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeScrub {
    /// Its name.
    pub node: String,
    /// Whether it answered.
    pub reached: bool,
    /// What the one under way has found so far.
    pub running: Option<Findings>,
    /// What the last one had found.
    pub last: Option<Findings>,
}

/// What a scrub has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, Unix milliseconds; 0 while it is under way.
    pub finished_ms: u64,
    /// Blobs read.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bad copies, handed to repair.
    pub corrupt: u64,
    /// Missing copies, handed to repair.
    pub missing: u64,
}

impl From<ScrubReport> for Findings {
    fn from(report: ScrubReport) -> Self {
        let ScrubReport { started_ms, finished_ms, blobs, bytes, corrupt, missing } = report;
        Self { started_ms, finished_ms, blobs, bytes, corrupt, missing }
    }
}

impl std::fmt::Display for NodeScrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, reached, running, last } = self;
        if !reached {
            return write!(f, "{node}: does not answer");
        }
        let tell = |f: &mut std::fmt::Formatter<'_>, found: &Findings| {
            let Findings { blobs, bytes, corrupt, missing, .. } = found;
            write!(f, "{blobs} blobs, {bytes} bytes, {corrupt} corrupt, {missing} missing")
        };
        write!(f, "{node}: ")?;
        if let Some(running) = running {
            f.write_str("under way: ")?;
            tell(f, running)?;
            f.write_str("; ")?;
        }
        match last {
            Some(last) => {
                let took = last.finished_ms.saturating_sub(last.started_ms);
                f.write_str("last: ")?;
                tell(f, last)?;
                write!(f, ", took {:.1} s", took as f64 / 1000.0)
            }
            None => f.write_str("none finished yet"),
        }
    }
}

async fn scrub(context: Arc<Context>, order: ScrubOrder) -> Response<Content> {
    match context.cluster.scrub(order).await {
        Ok(nodes) => json(StatusCode::OK, &nodes),
        Err(problem) => failed(&problem),
    }
}
