//! Objects that are gone and can be brought back.

use std::sync::Arc;

use futures::FutureExt;
use http::{Method, Response, StatusCode};
use schemars::SchemaGenerator;

use super::Context;
use super::access::{Answered, acted, answer, wish};
use super::route::{Answer, Ask, Route};
use crate::access::provision::BadFile;
use crate::access::undelete::{DeletedView, LIST_MAX, UndeleteWish, Undeleted};
use crate::access::{Access, AccessError};
use crate::http::{Content, json};

/// What there is.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/buckets/{name}/deleted",
        about: "Objects without versions that were deleted or overwritten and can be brought back",
        command: "undelete",
        query: &[("prefix", "only keys with this prefix"), ("limit", "how many; 10000 if left out, which is the most")],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<Vec<DeletedView>>),
        handle: |context, ask| deleted(context, ask).boxed(),
    },
    Route {
        method: Method::POST,
        path: "/v1/buckets/{name}/undelete",
        about: "Bring objects back, one by one: says what became of each",
        command: "undelete",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<UndeleteWish>),
        answer: Answer::Json(SchemaGenerator::subschema_for::<Vec<Undeleted>>),
        handle: |c, ask| acted(c, ask, |access, ask| undelete(access, ask).boxed()),
    },
];

async fn deleted(context: Arc<Context>, ask: Ask) -> Response<Content> {
    let prefix = ask.query("prefix").unwrap_or_default();
    let limit = match ask.query("limit").map_or(Ok(LIST_MAX), |text| text.parse().map_err(|_| text)) {
        Ok(limit) => limit,
        Err(value) => return answer(Err(AccessError::File(BadFile::Value { what: "limit".to_owned(), value }))),
    };
    let found = context.access.deleted(ask.parameter(0), &prefix, limit).await;
    answer(found.map(|found| json(StatusCode::OK, &found)))
}

async fn undelete(access: Access, ask: Arc<Ask>) -> Answered {
    let done = access.undelete(ask.parameter(0), &wish::<UndeleteWish>(&ask)?).await?;
    Ok(json(StatusCode::OK, &done))
}
