//! What an answer says, in the words of a history.

use holdfast_wire::id::Seq;

use crate::client::raw::{NoReply, Reply};
use crate::client::xml;
use crate::history::Outcome;

/// Whether a reply that is no success leaves doubt.
pub(super) fn refused(result: &Result<Reply, NoReply>) -> Outcome {
    match result {
        Ok(reply) if reply.status.is_server_error() => Outcome::Unknown(format!("{} {}", reply.status, code(reply))),
        Ok(reply) => Outcome::Failed(format!("{} {}", reply.status, code(reply))),
        Err(NoReply::NotSent(why)) => Outcome::Failed(why.clone()),
        Err(NoReply::Lost(why)) => Outcome::Unknown(why.clone()),
    }
}

/// The error's code; empty where there is none.
pub(super) fn code(reply: &Reply) -> String {
    xml::text(&reply.text(), "Code").unwrap_or_default()
}

/// The entity tag without its quotes.
pub(super) fn etag(reply: &Reply) -> Option<String> {
    reply.header("etag").map(|etag| etag.trim_matches('"').to_owned())
}

/// The place in the log that it states.
pub(super) fn seq(reply: &Reply) -> Option<Seq> {
    reply.header("x-holdfast-seq")?.parse().ok()
}
