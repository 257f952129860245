//! Faults by order, for testers.

use std::sync::Arc;

use futures::FutureExt;
use http::{Method, Response, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Context;
use super::cluster::failed;
use super::route::{Answer, Ask, Route};
use crate::http::{Content, error, json};

/// What there is.
pub const ROUTES: &[Route] = &[Route {
    method: Method::POST,
    path: "/v1/fault",
    about: "Let a node suffer, or recover; tells the faults of every node that was asked. For testers: refused by nodes \
            that were started without --enable-faults",
    command: "fault",
    query: &[],
    body: Some(SchemaGenerator::subschema_for::<FaultRequest>),
    answer: Answer::Json(SchemaGenerator::subschema_for::<Vec<NodeFaults>>),
    handle: |context, ask| fault(context, ask).boxed(),
}];

async fn fault(context: Arc<Context>, ask: Ask) -> Response<Content> {
    match ask.body() {
        Ok(FaultRequest { node, fault }) => match context.cluster.fault(node.as_deref(), fault).await {
            Ok(faults) => json(StatusCode::OK, &faults),
            Err(problem) => failed(&problem),
        },
        Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
    }
}

/// Body of `fault`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// The node that is to suffer: name or id. Every node is asked for its `status` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What.
    pub fault: FaultKind,
}

/// What a node is to suffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultKind {
    /// Nothing.
    Status {},
    /// It answers everything with an error and changes nothing.
    Crash {},
    /// The end of all its faults.
    Restore {},
    /// Being cut off, both ways.
    Partition {
        /// From these; from all others if there are none.
        #[serde(default)]
        from: Vec<String>,
    },
    /// Syncs that take longer.
    SlowDisk {
        /// By so many milliseconds.
        ms: u32,
    },
}

/// The faults of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeFaults {
    /// Its name.
    pub node: String,
    /// Whether it takes orders; `None`: it did not answer.
    pub enabled: Option<bool>,
    /// Whether it is crashed.
    pub crashed: bool,
    /// Peer addresses that it is cut off from.
    pub cut_off_from: Vec<String>,
    /// What every sync takes longer, milliseconds.
    pub slow_disk_ms: u32,
}

impl std::fmt::Display for NodeFaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.node)?;
        match self.enabled {
            None => return f.write_str("does not answer"),
            Some(false) => return f.write_str("takes no faults (started without --enable-faults)"),
            Some(true) => {}
        }
        let mut suffers = Vec::new();
        if self.crashed {
            suffers.push("crashed".to_owned());
        }
        if !self.cut_off_from.is_empty() {
            suffers.push(format!("cut off from {}", self.cut_off_from.join(", ")));
        }
        if self.slow_disk_ms > 0 {
            suffers.push(format!("syncs take {} ms longer", self.slow_disk_ms));
        }
        f.write_str(if suffers.is_empty() { "well" } else { "" })?;
        f.write_str(&suffers.join("; "))
    }
}
