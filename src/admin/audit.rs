//! What the audit log is told of the admin API: every request that changes something, and every one that is turned away.

use std::net::IpAddr;

use bytes::Bytes;
use holdfast_gateway::audit::{AuditSink, Record, result};
use http::{Method, Response};
use serde_json::Value;

use super::route::{Ask, Route};
use crate::access::Access;
use crate::http::Content;

/// Asked by POST, and changes nothing.
const QUESTIONS: [&str; 1] = ["explain"];
/// Fields of bodies that name what a request is about.
const NAMES: [&str; 4] = ["node", "access_key", "bucket", "name"];

/// Who asks from where, on which request.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The client's address.
    pub source: Option<IpAddr>,
    /// Drawn for this request.
    pub id: String,
}

/// Whether a route's requests belong into the log.
pub fn concerns(route: &Route) -> bool {
    route.method != Method::GET && !QUESTIONS.contains(&route.command)
}

/// What a request is about: what its path names, or its body.
pub fn resource(ask: &Ask) -> String {
    let named = ask.parameter(0);
    if !named.is_empty() {
        return named.to_owned();
    }
    let body: Value = ask.body().unwrap_or_default();
    NAMES.iter().find_map(|name| Some(body.get(name)?.as_str()?.to_owned())).unwrap_or_default()
}

/// Writes down what became of a request.
pub fn record(access: &Access, asker: &Asker, what: &str, resource: &str, response: &Response<Content>) {
    let status = response.status();
    let body = match response.body() {
        Content::Whole(bytes) => said(bytes),
        Content::Streamed(_) => Value::Null,
    };
    let why = if status.is_success() { None } else { body["error"].as_str().map(str::to_owned) };
    let write = |resource: &str| {
        access.audit().record(&Record {
            time_ms: access.seams().clock.unix_millis(),
            interface: "admin",
            who: "admin",
            access_key: None,
            what,
            resource,
            result: result(status),
            status: status.as_u16(),
            why: why.clone(),
            source: asker.source,
            request_id: &asker.id,
        });
    };
    // One line for each thing that a whole file changed.
    match body["changed"].as_array() {
        Some(changed) => changed.iter().filter_map(Value::as_str).for_each(write),
        None => write(resource),
    }
}

fn said(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}
