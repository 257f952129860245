//! What the audit log is told: every refusal (of a bulk delete that of each key), every change of a bucket or its configuration, every delete that goes past
//! a retention. Who, what, on what, with what result, from where, by which request.

use std::net::IpAddr;

use http::StatusCode;
use serde::Serialize;

use crate::auth::slot::Found;
use crate::guard::table::Operation;
use crate::policy::{Decision, Source};

/// One line of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Record<'a> {
    /// Unix milliseconds.
    pub time_ms: u64,
    /// `s3`, `sts` or `admin`.
    pub interface: &'static str,
    /// The caller's ARN, or what is known of it.
    pub who: &'a str,
    /// The key that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<&'a str>,
    /// What was asked for.
    pub what: &'a str,
    /// On what.
    pub resource: &'a str,
    /// `done`, `refused` or `failed`.
    pub result: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The request.
    pub request_id: &'a str,
}

/// Where records go. Must not block for long.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes a record.
    fn record(&self, record: &Record<'_>);
}

/// A sink, or none.
#[derive(Clone, Default)]
pub struct Auditor(pub Option<std::sync::Arc<dyn AuditSink>>);

impl std::fmt::Debug for Auditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Auditor(…)" } else { "Auditor(none)" })
    }
}

/// Whether the answer to a request of S3 belongs into the log.
pub fn concerns(operation: Operation, bypasses: bool, status: StatusCode) -> bool {
    use Operation as Op;
    let refused = matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
    let administrative = matches!(
        operation,
        Op::CreateBucket
            | Op::DeleteBucket
            | Op::PutBucketTagging
            | Op::DeleteBucketTagging
            | Op::PutBucketConfiguration
            | Op::DeleteBucketConfiguration
    );
    // Whatever asks to go past a retention, and whatever sets or lifts one.
    let locked = bypasses || operation == Op::PutObjectConfiguration;
    let administrative = administrative || operation == Op::SecurityToken;
    operation != Op::Health && (refused || administrative || locked)
}

/// The result that a status stands for.
pub fn result(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "refused",
        status if status.is_client_error() || status.is_server_error() => "failed",
        _ => "done",
    }
}

/// Why the access check refused, for operators.
pub fn why(found: &Found) -> Option<String> {
    let refused = found.refused.as_ref()?;
    let reason = match &refused.decision {
        Decision::Denied(source) => format!("denied by {}", place(source)),
        Decision::NotAllowed => "nothing allows it".to_owned(),
        Decision::NotInSession => "the session's policy does not allow it".to_owned(),
        Decision::Allowed(source) => format!("allowed by {}", place(source)),
    };
    Some(format!("{} on {}: {reason}", refused.action, refused.resource))
}

/// A statement, in words.
pub fn place(source: &Source) -> String {
    let named = |statement: &usize, sid: &Option<String>| match sid {
        Some(sid) => format!("statement {statement} ({sid})"),
        None => format!("statement {statement}"),
    };
    match source {
        Source::Identity { policy, statement, sid } => format!("{} of policy {policy}", named(statement, sid)),
        Source::Session { statement, sid } => format!("{} of the session's policy", named(statement, sid)),
        Source::Bucket { statement, sid } => format!("{} of the bucket's policy", named(statement, sid)),
        Source::Ownership => "ownership of the bucket".to_owned(),
        Source::List => "an access control list".to_owned(),
    }
}
