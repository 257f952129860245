//! Bodies in both directions: the request's with its pace watched, the response's with its end noticed.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::object::ChecksumAlgorithm;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, Sleep, sleep};

use super::exchange::Completion;
use super::last_chunk::LastChunk;
use crate::checksum::Hasher;
use crate::checksum::claim::{Claim, Mismatch};
use crate::limits::Limits;
use crate::metrics::GatewayMetrics;

/// Why a request's body was not delivered; what a handler finds as its stream's error.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client sent too slowly.
    #[error("the request's body came too slowly")]
    TooSlow,
    /// A document is longer than any that S3 knows.
    #[error("the request's document is too large")]
    TooLarge,
    /// A document is not what the request's head says of it.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// Signed chunks ended without the last, empty one.
    #[error("the request's body came without its last chunk")]
    NoLastChunk,
    /// The connection broke off, or the framing was wrong.
    #[error("the request's body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// How far a request's body came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not to its end yet.
    Unread,
    /// To its end.
    Ended,
    /// Not to its end, and the client was too slow.
    TooSlow,
    /// Not to its end, and there is no more.
    Broken,
    /// Further than a document may go.
    TooLarge,
}

/// Where a request's body tells how far it came.
#[derive(Clone, Debug)]
pub struct Report(Arc<Told>);

#[derive(Debug)]
struct Told {
    progress: AtomicU8,
    /// What came, of documents only; s3s holds the same bytes.
    kept: Option<Mutex<Vec<Bytes>>>,
    /// How a document differs from what the request's head says of it.
    mismatch: OnceLock<Mismatch>,
}

impl Report {
    fn new(keep: bool) -> Self {
        let kept = keep.then(Mutex::default);
        Self(Arc::new(Told { progress: AtomicU8::new(Progress::Unread as u8), kept, mismatch: OnceLock::new() }))
    }

    fn set(&self, progress: Progress) {
        self.0.progress.store(progress as u8, Ordering::Relaxed);
    }

    fn keep(&self, bytes: Option<&Bytes>) {
        if let (Some(kept), Some(bytes)) = (&self.0.kept, bytes) {
            kept.lock().push(bytes.clone());
        }
    }

    /// How far it came.
    pub fn progress(&self) -> Progress {
        const ALL: [Progress; 5] =
            [Progress::Unread, Progress::Ended, Progress::TooSlow, Progress::Broken, Progress::TooLarge];
        ALL[usize::from(self.0.progress.load(Ordering::Relaxed))]
    }

    /// The body came to its end: holds a document to what its request's head says of it.
    fn ended(&self, claim: Option<&Claim>) -> Result<(), BodyError> {
        self.set(Progress::Ended);
        let (Some(claim), Some(kept)) = (claim, &self.0.kept) else { return Ok(()) };
        let kept = kept.lock();
        let hash = |algorithm| {
            let mut hasher = Hasher::new(algorithm);
            kept.iter().for_each(|bytes| hasher.update(bytes));
            hasher.finish()
        };
        match claim.judge(&hash(ChecksumAlgorithm::Md5), &hash(claim.algorithm()), None) {
            Ok(_) => Ok(()),
            Err(mismatch) => Err(BodyError::Mismatch(self.0.mismatch.get_or_init(|| mismatch).clone())),
        }
    }

    /// How a document differs from what its request's head says of it.
    pub fn mismatch(&self) -> Option<&Mismatch> {
        self.0.mismatch.get()
    }

    /// A document that came to its end.
    pub fn document(&self) -> Option<Vec<u8>> {
        let kept = self.0.kept.as_ref().filter(|_| self.progress() == Progress::Ended)?;
        Some(kept.lock().concat())
    }

    /// The SHA-256 of a document that came to its end, in hexadecimal digits.
    pub fn document_hash(&self) -> Option<String> {
        let kept = self.0.kept.as_ref().filter(|_| self.progress() == Progress::Ended)?;
        let hash = kept.lock().iter().fold(Sha256::new(), |hash, bytes| hash.chain_update(bytes));
        Some(hex::encode(hash.finalize()))
    }
}

/// A request's body.
pub struct Upload {
    inner: Incoming,
    pace: Pace,
    /// How many bytes may still come.
    room: u64,
    /// What its head says of a document, until it was held to it.
    claim: Option<Claim>,
    /// Of a body of signed chunks: whether it came to its last.
    last_chunk: Option<LastChunk>,
    metrics: Arc<GatewayMetrics>,
    report: Report,
}

impl Upload {
    /// Watches `inner`; a `document` is read whole by s3s, and is what `claim` says or ends in an error.
    pub fn new(
        inner: Incoming,
        document: bool,
        claim: Option<Claim>,
        last_chunk: Option<LastChunk>,
        limits: &Limits,
        metrics: Arc<GatewayMetrics>,
    ) -> (Self, Report) {
        let report = Report::new(document);
        let pace = Pace::new(limits.body_timeout, limits.min_body_rate);
        let room = if document { limits.max_document_bytes } else { u64::MAX };
        (Self { inner, pace, room, claim, last_chunk, metrics, report: report.clone() }, report)
    }

    /// The body came to its end.
    fn ended(&mut self) -> Result<(), BodyError> {
        if self.last_chunk.take().is_some_and(|last_chunk| !last_chunk.came()) {
            self.report.set(Progress::Broken);
            return Err(BodyError::NoLastChunk);
        }
        self.report.ended(self.claim.take().as_ref())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Pending if this.pace.is_too_slow(cx) => {
                this.report.set(Progress::TooSlow);
                Poll::Ready(Some(Err(BodyError::TooSlow)))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.pace.moved(bytes);
                this.metrics.received(bytes);
                let Some(room) = this.room.checked_sub(bytes) else {
                    this.report.set(Progress::TooLarge);
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                };
                this.room = room;
                this.report.keep(frame.data_ref());
                if let (Some(last_chunk), Some(bytes)) = (&mut this.last_chunk, frame.data_ref()) {
                    last_chunk.moved(bytes);
                }
                if this.inner.is_end_stream()
                    && let Err(mismatch) = this.ended()
                {
                    return Poll::Ready(Some(Err(mismatch)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.report.set(Progress::Broken);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => match this.ended() {
                Ok(()) => Poll::Ready(None),
                Err(mismatch) => Poll::Ready(Some(Err(mismatch))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Measures a client's pace over windows, counting only the time in which we wait for it.
struct Pace {
    window: Duration,
    rate: u64,
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(window: Duration, rate: u64) -> Self {
        Self { window, rate, timer: None, waiting_since: None, waited: Duration::ZERO, bytes: 0 }
    }

    fn moved(&mut self, bytes: u64) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        self.bytes += bytes;
    }

    /// Called when there is nothing to read; judges at the end of each window, and wakes the task for it.
    fn is_too_slow(&mut self, cx: &mut Context<'_>) -> bool {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.window)));
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let waited = self.waited + now.duration_since(since);
            if waited >= self.window / 2 && (self.bytes as f64) < self.rate as f64 * waited.as_secs_f64() {
                return true;
            }
            (self.waited, self.bytes, self.waiting_since) = (Duration::ZERO, 0, Some(now));
            timer.as_mut().reset(now + self.window);
        }
        false
    }
}

/// A response's body; dropping it ends the request.
pub struct Reply {
    kind: Kind,
    completion: Completion,
}

enum Kind {
    Whole(Bytes),
    Streamed(s3s::Body),
}

impl Reply {
    /// A body at hand.
    pub fn whole(bytes: Bytes, completion: Completion) -> Self {
        Self { kind: Kind::Whole(bytes), completion }
    }

    /// A body from s3s.
    pub fn streamed(body: s3s::Body, completion: Completion) -> Self {
        Self { kind: Kind::Streamed(body), completion }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))).filter(|frame| {
                frame.as_ref().is_ok_and(|frame: &Frame<Bytes>| frame.data_ref().is_some_and(|data| !data.is_empty()))
            }),
            Kind::Streamed(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        match &frame {
            Some(Ok(frame)) => this.completion.sent(frame.data_ref().map_or(0, Bytes::len) as u64),
            Some(Err(error)) => this.completion.failed(error),
            None => this.completion.whole(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streamed(body) => body.size_hint(),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // A body whose end is known from its length is not asked for another frame.
        if self.is_end_stream() {
            self.completion.whole();
        }
    }
}
