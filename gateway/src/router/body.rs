//! An object's bytes on their way to a client: counted, and continued on another replica when one fails.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use holdfast_wire::bucket::ReadMode;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{NodeId, Seq};
use holdfast_wire::request::{Freshness, GetObject, RangeSpec, Read, ReadRequest, Request, Response};
use holdfast_wire::service::Body;
use tokio::time::timeout;

use super::ask::Ask;
use super::core::{Core, Pace};
use super::metrics;
use super::write::shard_of;
use crate::membership::OpenCall;

/// A replica that gives no byte for so long, while one is wanted, has failed.
const STALL: Duration = Duration::from_secs(5);
/// How often one object is continued.
const CONTINUATIONS_MAX: u32 = 8;

/// The bytes still to come of one version of an object.
pub(super) struct Continuing {
    core: Arc<Core>,
    get: GetObject,
    /// Where the key lives.
    point: u64,
    seq: Seq,
    /// The next byte's place in what is stored.
    next: u64,
    left: u64,
    body: Body,
    open: OpenCall,
    /// Replicas that have failed.
    failed: Vec<NodeId>,
    continuations: u32,
}

impl Continuing {
    /// The bytes of `body`, which are `range` (first byte, count) of what is stored of version `seq`.
    pub fn new(
        core: Arc<Core>,
        point: u64,
        seq: Seq,
        get: GetObject,
        range: (u64, u64),
        body: Body,
        open: OpenCall,
    ) -> Self {
        let (next, left) = range;
        Self { core, get, point, seq, next, left, body, open, failed: Vec::new(), continuations: 0 }
    }

    /// Exactly as many bytes as the range has, or an error.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, CallError>> {
        futures::stream::unfold(Some(self), |state| async move {
            let mut this = state?;
            match this.next_chunk().await {
                Some(Ok(chunk)) => Some((Ok(chunk), Some(this))),
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        })
        .boxed()
    }

    async fn next_chunk(&mut self) -> Option<Result<Bytes, CallError>> {
        loop {
            if self.left == 0 {
                // Reading the end, if it is here, gives the connection back.
                let _ = self.body.stream.next().now_or_never();
                return None;
            }
            let failure = match timeout(STALL, self.body.stream.next()).await {
                Ok(Some(Ok(chunk))) if chunk.is_empty() => continue,
                Ok(Some(Ok(chunk))) if chunk.len() as u64 <= self.left => {
                    self.next += chunk.len() as u64;
                    self.left -= chunk.len() as u64;
                    return Some(Ok(chunk));
                }
                Ok(Some(Ok(_))) => CallError::Malformed { reason: "more bytes than announced".to_owned() },
                Ok(Some(Err(error))) => error,
                Ok(None) => CallError::Unknown { reason: "the bytes ended early".to_owned() },
                Err(_) => CallError::Unknown { reason: format!("no byte for {STALL:?}") },
            };
            tracing::debug!(node = %self.open.node(), %failure, left = self.left, "an object's bytes broke off");
            if let Err(error) = self.go_on(failure).await {
                tracing::warn!(%error, left = self.left, "an object's bytes could not be continued");
                return Some(Err(error));
            }
        }
    }

    /// Asks another replica for the rest.
    async fn go_on(&mut self, failure: CallError) -> Result<(), CallError> {
        if self.continuations == CONTINUATIONS_MAX {
            return Err(failure);
        }
        self.continuations += 1;
        metrics::count(&self.core.metrics.continuations);
        self.failed.push(self.open.node());
        let read = Read::Get(GetObject {
            range: RangeSpec::Stored { first: self.next, count: self.left },
            // It was judged when the version was chosen.
            condition: Default::default(),
            seq: Some(self.seq),
            ..self.get.clone()
        });
        let (point, seq) = (self.point, self.seq);
        let ask = Ask {
            group: &|view| shard_of(view, point),
            request: &|group, deadline_ms| {
                // Whoever has applied the write has the version, unless it is gone for all.
                let here = group == seq.group;
                let freshness = if here { Freshness::AtLeast(seq.index) } else { Freshness::Mode(ReadMode::Strong) };
                Request::Read(ReadRequest { group, freshness, deadline_ms, read: read.clone() })
            },
            pace: Pace::Object,
            avoid: &self.failed,
            deadline: self.core.deadline(),
        };
        let asked = self.core.ask(ask).await.map_err(|error| CallError::Unknown { reason: error.to_string() })?;
        match asked.response {
            Response::Object { object, range, .. }
                if object.summary.seq == self.seq && range == (self.next, self.left) =>
            {
                self.body = asked.body;
                self.open = asked.open;
                Ok(())
            }
            // Overwritten or deleted since: the rest is gone.
            _ => Err(failure),
        }
    }
}
