//! What accompanies a client's request through all processes that have a part in it: its id, so that everybody's log
//! lines name it, and its place in a trace, if it is traced.
//!
//! A task works for one request at a time; whose it is stands beside the task, so that only those who send something on
//! ([`current`]) and those who begin something ([`within`], [`traced`]) speak of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

/// The target of the events that tell of spans. Whoever exports them listens; they belong into no log.
pub const SPANS: &str = "holdfast::span";

/// The id of a client's request; as text, what the client got in `x-amz-request-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTag(pub u64);

impl fmt::Display for RequestTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// A place in a trace: whatever is done next there is a child of this span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The trace.
    pub id: u128,
    /// The span.
    pub span: u64,
}

impl Trace {
    /// The span of something that begins here and now. `salt` tells it from others that begin in the same moment.
    pub fn child(self, name: &str, salt: u64) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&self.id.to_le_bytes());
        hash.update(&self.span.to_le_bytes());
        hash.update(&salt.to_le_bytes());
        hash.update(name.as_bytes());
        // All that an instant shows of itself.
        hash.update(format!("{:?}", Instant::now()).as_bytes());
        Self { span: hash.digest().max(1), ..self }
    }
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The request.
    pub request: Option<RequestTag>,
    /// Its place in a trace.
    pub trace: Option<Trace>,
}

tokio::task_local! {
    static CURRENT: Context;
}

/// Whose request this task works for at the moment.
pub fn current() -> Context {
    CURRENT.try_with(|context| *context).unwrap_or_default()
}

/// `work`, for the request that `context` says.
pub fn within<F: Future>(context: Context, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(context, work)
}

/// Which side of an exchange a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It answers.
    Server,
    /// It asks.
    Client,
}

/// A span that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The span.
    pub own: Trace,
    /// Its parent; 0: none.
    pub parent: u64,
    /// Its name.
    pub name: &'a str,
    /// Which side.
    pub side: Side,
    /// When it began.
    pub began: Instant,
    /// Whether it failed.
    pub failed: bool,
    /// The request.
    pub request: Option<RequestTag>,
    /// The HTTP status, of one that has one.
    pub status: Option<u16>,
    /// The node that was asked, of a client's.
    pub node: Option<u64>,
}

impl Ended<'_> {
    /// Tells whoever listens.
    pub fn tell(&self) {
        tracing::info!(
            target: SPANS,
            trace = self.own.id,
            span = self.own.span,
            parent = self.parent,
            name = self.name,
            server = self.side == Side::Server,
            micros = self.began.elapsed().as_micros() as u64,
            failed = self.failed,
            request = self.request.map(|tag| tag.0),
            status = self.status.map(u64::from),
            node = self.node,
        );
    }
}

/// `work` as a span of its own, if the request is traced.
pub async fn traced<T, E>(side: Side, name: &str, node: u64, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let context = current();
    // In one place, whichever way it goes: a future that is moved to two places takes the room of both.
    let mut work = std::pin::pin!(work);
    let Some(parent) = context.trace else { return work.await };
    let (own, began) = (parent.child(name, node), Instant::now());
    let done = within(Context { trace: Some(own), ..context }, work.as_mut()).await;
    let (request, failed) = (context.request, done.is_err());
    let node = (side == Side::Client).then_some(node);
    Ended { own, parent: parent.span, name, side, began, failed, request, status: None, node }.tell();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_knows_whose_request_it_works_for_and_spans_nest() {
        assert_eq!(current(), Context::default());
        let trace = Trace { id: 7, span: 1 };
        let context = Context { request: Some(RequestTag(0xAB)), trace: Some(trace) };
        assert_eq!(context.request.unwrap().to_string(), "00000000000000AB");
        let inner = within(context, traced(Side::Client, "read", 3, async { Ok::<_, ()>(current()) })).await.unwrap();
        assert_eq!(inner.request, context.request);
        let child = inner.trace.unwrap();
        assert!(child.id == 7 && child.span != 1 && child.span != 0);
        assert_ne!(trace.child("read", 3), trace.child("read", 4));
        assert_eq!(current(), Context::default());
        let bytes = postcard::to_allocvec(&Context::default()).unwrap();
        assert_eq!(bytes.len(), 2, "untraced requests carry next to nothing");
    }
}
