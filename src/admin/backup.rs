//! What a backup reads: frozen rows, whole blobs, and time to fetch them. The backup itself is made and kept by whoever
//! asks.

use std::io;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::service::Body;
use http::{HeaderName, Method, Response, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Context;
use super::cluster::{done, failed};
use super::route::{Answer, Ask, Route};
use crate::http::{Content, error, streamed};

/// The log index of which rows are.
pub const INDEX: HeaderName = HeaderName::from_static("x-holdfast-index");
const BYTES: &str = "application/octet-stream";

/// What there is.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/backup/hold",
        about: "Remove no object's bytes for so long, so that what a cut names can be fetched",
        command: "backup create",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<Hold>),
        answer: Answer::Nothing,
        handle: |context, ask| hold(context, ask).boxed(),
    },
    Route {
        method: Method::GET,
        path: "/v1/backup/groups/{group}",
        about: "All rows of a group as of one moment: chunks, each behind its length (4 bytes, little-endian)",
        command: "backup create",
        query: &[],
        body: None,
        answer: Answer::Stream(BYTES),
        handle: |context, ask| cut(context, ask).boxed(),
    },
    Route {
        method: Method::GET,
        path: "/v1/backup/groups/{group}/blobs/{blob}",
        about: "The bytes of a blob that a cut names, verified",
        command: "backup create",
        query: &[],
        body: None,
        answer: Answer::Stream(BYTES),
        handle: |context, ask| blob(context, ask).boxed(),
    },
];

/// Body of `hold`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// For how long; at most 900.
    pub seconds: u32,
}

async fn hold(context: Arc<Context>, ask: Ask) -> Response<Content> {
    match ask.body() {
        Ok(Hold { seconds }) => done(context.cluster.hold_blobs(seconds.saturating_mul(1000)).await),
        Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
    }
}

async fn cut(context: Arc<Context>, ask: Ask) -> Response<Content> {
    let Ok(group) = ask.parameter(0).parse::<GroupId>() else { return no_such() };
    match context.cluster.cut(group).await {
        Ok((index, body)) => {
            let mut response = bytes(body);
            response.headers_mut().insert(INDEX, index.into());
            response
        }
        Err(problem) => failed(&problem),
    }
}

async fn blob(context: Arc<Context>, ask: Ask) -> Response<Content> {
    let (Ok(group), Ok(blob)) = (ask.parameter(0).parse::<GroupId>(), ask.parameter(1).parse::<BlobId>()) else {
        return no_such();
    };
    match context.cluster.blob(group, blob).await {
        Ok(body) => bytes(body),
        Err(problem) => failed(&problem),
    }
}

fn bytes(body: Body) -> Response<Content> {
    streamed(BYTES, body.stream.map(|chunk| chunk.map_err(io::Error::other)).boxed())
}

fn no_such() -> Response<Content> {
    error(StatusCode::NOT_FOUND, "there is no such resource")
}
