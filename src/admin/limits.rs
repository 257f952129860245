//! What buckets hold and may hold, and what goes by itself.

use std::sync::Arc;

use futures::FutureExt;
use http::{Method, Response, StatusCode};
use schemars::SchemaGenerator;

use super::Context;
use super::access::{Answered, acted, answer, wish};
use super::route::{Answer, Ask, Route};
use crate::access::limits::{DueView, LifecycleView, QuotaView, QuotaWish, UsageView};
use crate::access::provision::BadFile;
use crate::access::{Access, AccessError};
use crate::http::{Content, json};

/// What is shown of the expiry index if nothing is said.
const LIMIT: u32 = 100;

/// What there is.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/usage",
        about: "What every bucket holds",
        command: "bucket usage",
        query: &[],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<Vec<UsageView>>),
        handle: |context, _| usage(context, None).boxed(),
    },
    Route {
        method: Method::GET,
        path: "/v1/buckets/{name}/usage",
        about: "What a bucket holds",
        command: "bucket usage",
        query: &[],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<Vec<UsageView>>),
        handle: |context, ask| usage(context, Some(ask)).boxed(),
    },
    Route {
        method: Method::PUT,
        path: "/v1/buckets/{name}/quota",
        about: "Set what a bucket may hold, and show it; what is left out stays as it is",
        command: "bucket quota",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<QuotaWish>),
        answer: Answer::Json(SchemaGenerator::subschema_for::<QuotaView>),
        handle: |c, ask| acted(c, ask, |access, ask| quota(access, ask).boxed()),
    },
    Route {
        method: Method::GET,
        path: "/v1/buckets/{name}/lifecycle",
        about: "A bucket's lifecycle rules, and what was done for all rules",
        command: "lifecycle show",
        query: &[],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<LifecycleView>),
        handle: |context, ask| lifecycle(context, ask).boxed(),
    },
    Route {
        method: Method::GET,
        path: "/v1/buckets/{name}/lifecycle/due",
        about: "What a bucket's lifecycle rules will make go, and when",
        command: "lifecycle dry-run",
        query: &[("limit", "how many, from the first; 100 if left out, at most 10000")],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<Vec<DueView>>),
        handle: |context, ask| due(context, ask).boxed(),
    },
];

async fn usage(context: Arc<Context>, ask: Option<Ask>) -> Response<Content> {
    let held = context.access.usage(ask.as_ref().map(|ask| ask.parameter(0))).await;
    answer(held.map(|held| json(StatusCode::OK, &held)))
}

async fn quota(access: Access, ask: Arc<Ask>) -> Answered {
    let (quota, _) = access.set_quota(ask.parameter(0), &wish::<QuotaWish>(&ask)?).await?;
    Ok(json(StatusCode::OK, &quota))
}

async fn lifecycle(context: Arc<Context>, ask: Ask) -> Response<Content> {
    answer(context.access.lifecycle(ask.parameter(0)).await.map(|found| json(StatusCode::OK, &found)))
}

async fn due(context: Arc<Context>, ask: Ask) -> Response<Content> {
    let limit = match ask.query("limit").map_or(Ok(LIMIT), |text| text.parse().map_err(|_| text)) {
        Ok(limit) => limit,
        Err(value) => return answer(Err(AccessError::File(BadFile::Value { what: "limit".to_owned(), value }))),
    };
    answer(context.access.due(ask.parameter(0), limit).await.map(|due| json(StatusCode::OK, &due)))
}
