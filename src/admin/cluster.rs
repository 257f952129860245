//! The cluster: its status, its leaders, its nodes.

use std::sync::Arc;

use futures::FutureExt;
use holdfast_wire::id::GroupId;
use http::{Method, Response, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Context;
use super::route::{Answer, Ask, Route};
use crate::cluster::OperationError;
use crate::http::{Content, error, json};
use crate::status::Status;

/// What there is.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/cluster",
        about: "Nodes, groups, and what is wrong, as the process asked sees them",
        command: "cluster status",
        query: &[],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<Status>),
        handle: |context, _| status(context).boxed(),
    },
    Route {
        method: Method::POST,
        path: "/v1/cluster/transfer-leader",
        about: "Hand the leadership of a group to another voter; answered when it was handed over",
        command: "cluster transfer-leader",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<TransferLeader>),
        answer: Answer::Nothing,
        handle: |context, ask| transfer_leader(context, ask).boxed(),
    },
    Route {
        method: Method::POST,
        path: "/v1/cluster/remove-node",
        about: "Take a node out of every group and out of the cluster",
        command: "cluster remove",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<RemoveNode>),
        answer: Answer::Nothing,
        handle: |context, ask| remove_node(context, ask).boxed(),
    },
    Route {
        method: Method::POST,
        path: "/v1/cluster/drain-node",
        about: "Let a node give all its copies and leaderships away, or end that; the status shows how far it is",
        command: "cluster drain",
        query: &[],
        body: Some(SchemaGenerator::subschema_for::<DrainNode>),
        answer: Answer::Nothing,
        handle: |context, ask| drain_node(context, ask).boxed(),
    },
];

/// Body of `transfer-leader`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferLeader {
    /// The group.
    pub group: u32,
    /// The voter that is to lead: name or id.
    pub node: String,
}

/// Body of `remove-node`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveNode {
    /// The node: name or id.
    pub node: String,
}

/// Body of `drain-node`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainNode {
    /// The node: name or id.
    pub node: String,
    /// `false` ends a drain: the node may hold things again.
    pub drain: bool,
}

async fn status(context: Arc<Context>) -> Response<Content> {
    match context.cluster.view().await {
        Some(view) => json(StatusCode::OK, &Status::of(&view)),
        None => failed(&OperationError::NoView),
    }
}

async fn transfer_leader(context: Arc<Context>, ask: Ask) -> Response<Content> {
    match ask.body() {
        Ok(TransferLeader { group, node }) => done(context.cluster.transfer_leader(GroupId(group), &node).await),
        Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
    }
}

async fn remove_node(context: Arc<Context>, ask: Ask) -> Response<Content> {
    match ask.body() {
        Ok(RemoveNode { node }) => done(context.cluster.remove_node(&node).await),
        Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
    }
}

async fn drain_node(context: Arc<Context>, ask: Ask) -> Response<Content> {
    match ask.body() {
        Ok(DrainNode { node, drain }) => done(context.cluster.drain_node(&node, drain).await),
        Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
    }
}

/// The answer to an operation that has nothing to tell.
pub fn done(result: Result<(), OperationError>) -> Response<Content> {
    match result {
        Ok(()) => json(StatusCode::OK, &serde_json::json!({})),
        Err(problem) => failed(&problem),
    }
}

/// The answer to an operation that was not carried out.
pub fn failed(problem: &OperationError) -> Response<Content> {
    let status = match problem {
        OperationError::NoSuchGroup(_) | OperationError::NoSuchNode(_) => StatusCode::NOT_FOUND,
        OperationError::NotAVoter { .. }
        | OperationError::Refused(_)
        | OperationError::Write(_)
        | OperationError::FaultsOff(_) => StatusCode::CONFLICT,
        OperationError::NoView
        | OperationError::NoLeader(_)
        | OperationError::Call { .. }
        | OperationError::NodeCall { .. } => StatusCode::SERVICE_UNAVAILABLE,
        OperationError::OtherAnswer => StatusCode::BAD_GATEWAY,
    };
    error(status, &problem.to_string())
}
