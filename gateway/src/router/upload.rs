//! Large bodies on their way to a leader.
//!
//! The first mebibyte is kept until bytes behind it are taken: until then (and for a body that is no longer, for ever)
//! a failed upload starts again from the beginning. Whatever goes beyond is passed on as it comes and kept by nobody.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use holdfast_wire::bucket::Bucket;
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Framer;
use holdfast_wire::id::{BlobId, ObjectKey};
use holdfast_wire::request::{Request, Response};
use holdfast_wire::service::Body;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::core::Core;
use super::metrics::{self, Cause};
use super::retry::{Backoff, Next, after_leader};
use super::write::{point_of, shard_of};
use super::{RouteError, Router};

/// Bytes kept for another attempt.
const KEPT: usize = 1 << 20;
/// A replica that takes no byte, or gives no answer after the last one, for so long has failed.
const STALL: Duration = Duration::from_secs(5);
/// As [`STALL`], when the request's time is up.
const LATE_STALL: Duration = Duration::from_secs(1);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Waiting for the rest of an upload has no end of its own: the body is watched instead.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);
const DROP_WITHIN: Duration = Duration::from_secs(2);

/// What the write that names an upload has at least, however late the upload was.
const NAME_WITHIN: Duration = Duration::from_secs(1);

/// A blob that a majority has on disk.
#[derive(Clone, Copy, Debug)]
pub struct Uploaded {
    /// Its id.
    pub id: BlobId,
    /// Until when the write that names it may be waited for.
    pub name_by: Instant,
}

/// A body that can be sent again as long as nothing beyond its kept start was taken.
struct Kept {
    shared: Arc<Mutex<Source>>,
}

struct Source {
    start: Vec<Bytes>,
    /// What follows the start; `None`: nothing does.
    rest: Option<BoxStream<'static, Result<Bytes, CallError>>>,
    /// Whether bytes behind the start were asked for.
    consumed: bool,
    /// Whether the body itself failed.
    broken: bool,
    /// When the replica last got a byte.
    moved: Instant,
    /// Whether the replica of this attempt has taken any.
    taken: bool,
    /// Whether the next step is the client's.
    on_client: bool,
    /// When the last byte came in.
    ended: Option<Instant>,
}

impl Source {
    /// Whether the replica has done nothing for too long, although there was something to do. `late`: the request is
    /// past its deadline, and only a body that cannot be sent again may take its time.
    fn stalled(&self, attempt: Duration, late: bool) -> bool {
        let limit = match (self.consumed, self.taken) {
            (true, _) => STALL,
            _ if late => LATE_STALL,
            (_, true) => STALL,
            (_, false) => attempt,
        };
        !self.on_client && self.moved.elapsed() >= limit
    }
}

impl Kept {
    /// Takes the body's start.
    async fn collect(mut body: BoxStream<'static, Result<Bytes, CallError>>) -> Result<Self, RouteError> {
        let mut start = Vec::new();
        let mut len = 0;
        let mut rest = None;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|_| RouteError::Aborted)?;
            len += chunk.len();
            start.push(chunk);
            if len > KEPT {
                rest = Some(body);
                break;
            }
        }
        let moved = Instant::now();
        let ended = rest.is_none().then_some(moved);
        let (consumed, broken, taken, on_client) = (false, false, false, false);
        let source = Source { start, rest, consumed, broken, moved, taken, on_client, ended };
        Ok(Self { shared: Arc::new(Mutex::new(source)) })
    }

    /// The whole body once more.
    fn send(&self) -> Sending {
        let mut source = self.shared.lock();
        source.moved = Instant::now();
        source.taken = false;
        Sending { start: source.start.iter().cloned().collect(), shared: self.shared.clone() }
    }

    fn again(&self) -> bool {
        !self.shared.lock().consumed
    }

    fn broken(&self) -> bool {
        self.shared.lock().broken
    }

    /// Until when the write that names it may be waited for: the client has waited since its last byte.
    fn name_by(&self, patience: Duration) -> Instant {
        let now = Instant::now();
        let since = self.shared.lock().ended.unwrap_or(now);
        (since + patience).max(now + NAME_WITHIN)
    }

    /// Ends when the replica has stopped working on the upload.
    async fn stalled(&self, attempt: Duration, deadline: Instant) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.shared.lock().stalled(attempt, Instant::now() >= deadline) {
                return;
            }
        }
    }
}

/// One attempt's passage over the body.
struct Sending {
    start: VecDeque<Bytes>,
    shared: Arc<Mutex<Source>>,
}

impl Stream for Sending {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.start.pop_front();
        let mut source = self.shared.lock();
        source.taken = true;
        if next.is_some() || source.rest.is_none() {
            source.moved = Instant::now();
        }
        if let Some(chunk) = next {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let source = &mut *source;
        let Some(rest) = &mut source.rest else { return Poll::Ready(None) };
        if !source.consumed {
            source.consumed = true;
            source.start = Vec::new();
        }
        let polled = rest.poll_next_unpin(cx);
        source.on_client = polled.is_pending();
        if polled.is_ready() {
            source.moved = Instant::now();
        }
        match &polled {
            Poll::Ready(None) => {
                source.rest = None;
                source.ended = Some(Instant::now());
            }
            Poll::Ready(Some(Err(_))) => source.broken = true,
            _ => {}
        }
        polled
    }
}

impl Core {
    async fn upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        body: BoxStream<'static, Result<Bytes, CallError>>,
    ) -> Result<Uploaded, RouteError> {
        metrics::count(&self.metrics.uploads);
        let kept = Kept::collect(body).await?;
        let point = point_of(bucket, key);
        let deadline = self.deadline();
        let mut backoff = Backoff::new();
        let mut last: Option<CallError> = None;
        let mut hint = None;
        loop {
            let view = self.view();
            let group = shard_of(&view, point);
            let known = group.and_then(|group| view.leader(group));
            let link = hint.take().or(known.map(|leader| leader.node)).and_then(|node| view.link(node));
            if Instant::now() >= deadline {
                return Err(match last {
                    Some(error) => self.failed(&error),
                    None => self.slow_down(Cause::NoLeader, "no leader is known"),
                });
            }
            let (Some(group), Some(link)) = (group, link) else {
                self.leader_appears(&|view| shard_of(view, point), &mut backoff, deadline).await;
                continue;
            };
            // A new id for every attempt: what an earlier one left behind is nobody's.
            let blob = BlobId(self.seams.random.next_u128());
            let request = Request::UploadBlob { group, blob };
            let body = Body::streamed(Framer::new(kept.send()));
            let answer = tokio::select! {
                biased;
                answer = self.call(link, request, body, NO_LIMIT) => answer,
                () = kept.stalled(self.options.attempt, deadline) => {
                    Err(CallError::Unknown { reason: "an upload stood still".to_owned() })
                }
            };
            let error = match answer {
                Ok((Response::Uploaded { .. }, _, _)) => {
                    return Ok(Uploaded { id: blob, name_by: kept.name_by(self.options.deadline) });
                }
                Ok((other, _, _)) => return Err(self.nonsense(&other)),
                Err(_) if kept.broken() => return Err(RouteError::Aborted),
                Err(error) => error,
            };
            tracing::debug!(%group, node = %link.node, %error, "an upload failed");
            // Nothing names the blob yet, so an upload without an answer may be repeated like any other.
            let next = after_leader(&error);
            if next == Next::GiveUp || !kept.again() {
                return Err(self.failed(&error));
            }
            metrics::count(&self.metrics.retries);
            if let Next::Again(Some(node)) = next
                && node != link.node
            {
                hint = Some(node);
            }
            let asked = link.node;
            last = Some(error);
            let until = deadline.min(Instant::now() + backoff.pause(self.chance()));
            self.pause(until, |view| view.leader(group).is_some_and(|leader| leader.node != asked)).await;
        }
    }

    async fn drop_blob(&self, point: u64, blob: BlobId) {
        let view = self.view();
        let Some(group) = shard_of(&view, point) else { return };
        let mut node = view.leader(group).map(|leader| leader.node);
        for _ in 0..2 {
            let Some(link) = node.and_then(|node| view.link(node)) else { return };
            match self.call(link, Request::DropBlob { group, blob }, Body::empty(), DROP_WITHIN).await {
                Err(CallError::NotLeader { leader }) => node = leader,
                Err(error) => return tracing::debug!(%error, %blob, "a blob is left to the collector"),
                Ok(_) => return,
            }
        }
    }
}

impl Router {
    /// Streams a large body to the leader of the key's shard: on disk on a majority when it returns. A failure is
    /// followed by another attempt while nothing beyond the body's first mebibyte was taken.
    ///
    /// # Errors
    /// [`RouteError::Aborted`]: the body itself failed. [`RouteError::SlowDown`]: everything else; nothing refers to
    /// what was uploaded.
    pub async fn upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        body: BoxStream<'static, Result<Bytes, CallError>>,
    ) -> Result<Uploaded, RouteError> {
        self.core.upload(bucket, key, body).await
    }

    /// Reclaims an uploaded blob that will not be committed. Best effort, and no client's business: it may take seconds
    /// where nobody answers.
    pub fn drop_blob(&self, bucket: &Bucket, key: &ObjectKey, blob: BlobId) -> impl Future<Output = ()> + Send + use<> {
        let (core, point) = (self.core.clone(), point_of(bucket, key));
        async move { core.drop_blob(point, blob).await }
    }
}
