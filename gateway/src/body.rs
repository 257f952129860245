//! Bodies on their way in: bytes pass once, hashed as they pass; nothing is stored unless all of it is as the client
//! said.
//!
//! ```text
//! client ──chunk──▶ Intake ──chunk──▶ router (streamed to the leader) or one buffer (small bodies)
//!                     └──chunk──▶ hashing task: MD5 and one checksum
//! ```
//!
//! The stream that the router sees ends only after length, MD5, checksum and trailers were judged; when they do not
//! hold it ends with [`CallError::Aborted`], and no replica keeps what it received. Floor: no copies for streamed
//! bodies, one for small ones that arrive in several chunks; each byte is hashed by MD5 and one checksum, on another
//! task than the one that sends it.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::ready;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use holdfast_wire::error::CallError;
use holdfast_wire::object::{Checksum, ChecksumAlgorithm};
use holdfast_wire::planted::Fault;
use parking_lot::Mutex;
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{BodySizeLimitExceeded, TrailingHeaders};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::checksum::Hasher;
use crate::checksum::claim::{Claim, Mismatch};

/// Chunks on their way to the hashing task.
const HASH_QUEUE: usize = 8;

/// Why a body was not taken in. Nothing is stored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// It is shorter or longer than announced, or the client left.
    #[error("You did not provide the number of bytes specified by the Content-Length HTTP header")]
    Incomplete,
    /// More bytes than an object or part may have.
    #[error("Your proposed upload exceeds the maximum allowed size")]
    TooLarge,
    /// The client sent nothing for too long.
    #[error("Your socket connection to the server was not read from or written to within the timeout period.")]
    TimedOut,
    /// The payload's SHA-256 is not the signed one.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    Sha256,
    /// A chunk's or trailer's signature is wrong.
    #[error("The request signature we calculated does not match the signature you provided.")]
    Signature,
    /// Not what the client said in headers or trailers.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The source of a copy could not be read to its end.
    #[error("the source could not be read: {0}")]
    Source(CallError),
}

impl BodyError {
    /// Of an error in the client's body, by its type.
    pub fn of_stream(error: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<UploadStreamError>() {
                match error {
                    UploadStreamError::Sha256Mismatch => return Self::Sha256,
                    UploadStreamError::LengthMismatch | UploadStreamError::Incomplete => return Self::Incomplete,
                    UploadStreamError::Underlying(_) => {}
                }
            }
            if let Some(error) = error.downcast_ref::<AwsChunkedStreamError>() {
                match error {
                    AwsChunkedStreamError::SignatureMismatch => return Self::Signature,
                    AwsChunkedStreamError::ChunkDataTooLarge(..) => return Self::TooLarge,
                    AwsChunkedStreamError::FormatError
                    | AwsChunkedStreamError::Incomplete
                    | AwsChunkedStreamError::LengthMismatch
                    | AwsChunkedStreamError::ChunkMetaTooLarge(..)
                    | AwsChunkedStreamError::TrailersTooLarge(..)
                    | AwsChunkedStreamError::TooManyTrailerHeaders(..) => return Self::Incomplete,
                    AwsChunkedStreamError::Underlying(_) => {}
                }
            }
            if error.is::<BodySizeLimitExceeded>() {
                return Self::TooLarge;
            }
            if let Some(error) = error.downcast_ref::<std::io::Error>()
                && error.kind() == std::io::ErrorKind::TimedOut
            {
                return Self::TimedOut;
            }
            next = error.source();
        }
        Self::Incomplete
    }
}

/// What is known of a body that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes.
    pub len: u64,
    /// MD5 in hex.
    pub etag: String,
    /// Of the claim's algorithm.
    pub checksum: Checksum,
}

/// Hashes what passes.
struct Digests {
    md5: Hasher,
    /// `None` when it is MD5 too.
    checksum: Option<Hasher>,
}

impl Digests {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        let checksum = (algorithm != ChecksumAlgorithm::Md5).then(|| Hasher::new(algorithm));
        Self { md5: Hasher::new(ChecksumAlgorithm::Md5), checksum }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }

    /// MD5 and checksum.
    fn finish(self) -> (Vec<u8>, Vec<u8>) {
        let md5 = self.md5.finish();
        let value = self.checksum.map_or_else(|| md5.clone(), Hasher::finish);
        (md5, value)
    }
}

/// A body and what is to hold of it.
pub struct Intake {
    /// The bytes; errors are those of [`BodyError::of_stream`].
    pub bytes: BoxStream<'static, Result<Bytes, BodyError>>,
    /// Bytes that will come.
    pub len: u64,
    /// What the client says.
    pub claim: Claim,
    /// Where trailers appear once the body was read.
    pub trailers: Option<TrailingHeaders>,
}

impl Intake {
    /// Of a client's body.
    pub fn of_client<S, E>(body: S, len: u64, claim: Claim, trailers: Option<TrailingHeaders>) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let bytes = body.map(|chunk| chunk.map_err(|error| BodyError::of_stream(&*error.into())));
        let unheard = |chunk: &Result<_, BodyError>| !matches!(chunk, Err(BodyError::Signature));
        match Fault::TrailerUnsigned.is_planted() {
            true => Self { bytes: bytes.filter(move |chunk| ready(unheard(chunk))).boxed(), len, claim, trailers },
            false => Self { bytes: bytes.boxed(), len, claim, trailers },
        }
    }

    /// Of an object being copied.
    pub fn of_source(body: BoxStream<'static, Result<Bytes, CallError>>, len: u64, claim: Claim) -> Self {
        let bytes = body.map(|chunk| chunk.map_err(BodyError::Source)).boxed();
        Self { bytes, len, claim, trailers: None }
    }

    fn judge(&self, len: u64, md5: &[u8], value: &[u8]) -> Result<Received, BodyError> {
        if len != self.len {
            return Err(BodyError::Incomplete);
        }
        let trailers = self.trailers.as_ref().and_then(TrailingHeaders::take);
        let checksum = self.claim.judge(md5, value, trailers.as_ref())?;
        Ok(Received { len, etag: hex::encode(md5), checksum })
    }

    /// The whole body in one buffer; for small ones.
    pub async fn collect(mut self) -> Result<(Bytes, Received), BodyError> {
        let mut digests = Digests::new(self.claim.algorithm());
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        let mut len = 0;
        while let Some(chunk) = self.bytes.next().await.transpose()? {
            len += chunk.len() as u64;
            if len > self.len {
                return Err(BodyError::Incomplete);
            }
            digests.update(&chunk);
            match (first.is_empty(), all.is_empty()) {
                (true, true) => first = chunk,
                (false, true) => {
                    all.reserve(self.len as usize);
                    all.extend_from_slice(&first);
                    all.extend_from_slice(&chunk);
                }
                (_, false) => all.extend_from_slice(&chunk),
            }
        }
        let (md5, value) = digests.finish();
        let received = self.judge(len, &md5, &value)?;
        Ok((if all.is_empty() { first } else { all.freeze() }, received))
    }

    /// The body as a stream for the router, and where the verdict appears when that stream has ended.
    pub fn stream(self) -> (BoxStream<'static, Result<Bytes, CallError>>, Verdict) {
        let verdict = Verdict(Arc::new(Mutex::new(None)));
        let (chunks, mut queue) = mpsc::channel::<Bytes>(HASH_QUEUE);
        let mut digests = Digests::new(self.claim.algorithm());
        let hashing = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(chunk) = queue.recv().await {
                digests.update(&chunk);
            }
            digests.finish()
        }));
        let state = Passing { intake: self, passed: 0, chunks, hashing, verdict: verdict.clone() };
        let stream = stream::unfold(Some(state), |state| async move { state?.next().await }).boxed();
        (stream, verdict)
    }
}

/// Whether a streamed body was as the client said.
#[derive(Clone)]
pub struct Verdict(Arc<Mutex<Option<Result<Received, BodyError>>>>);

impl Verdict {
    /// The verdict; `None` while the stream has not ended.
    pub fn take(&self) -> Option<Result<Received, BodyError>> {
        self.0.lock().take()
    }
}

/// A body that is passing through.
struct Passing {
    intake: Intake,
    passed: u64,
    chunks: mpsc::Sender<Bytes>,
    hashing: AbortOnDropHandle<(Vec<u8>, Vec<u8>)>,
    verdict: Verdict,
}

impl Passing {
    async fn next(mut self) -> Option<(Result<Bytes, CallError>, Option<Self>)> {
        let error = match self.intake.bytes.next().await {
            Some(Ok(chunk)) => {
                self.passed += chunk.len() as u64;
                if self.passed <= self.intake.len {
                    // Fails only when the hashing task is gone, which the end notices.
                    let _ = self.chunks.send(chunk.clone()).await;
                    return Some((Ok(chunk), Some(self)));
                }
                BodyError::Incomplete
            }
            Some(Err(error)) => error,
            None => {
                drop(self.chunks);
                let judged = match self.hashing.await {
                    Ok((md5, value)) => self.intake.judge(self.passed, &md5, &value),
                    Err(_) => Err(BodyError::Incomplete),
                };
                match judged {
                    Ok(received) => {
                        *self.verdict.0.lock() = Some(Ok(received));
                        return None;
                    }
                    Err(error) => error,
                }
            }
        };
        *self.verdict.0.lock() = Some(Err(error));
        Some((Err(CallError::Aborted), None))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::checksum::{encode, of};

    fn intake(chunks: Vec<Result<&'static [u8], std::io::Error>>, len: u64, claim: Claim) -> Intake {
        let body = stream::iter(chunks.into_iter().map(|chunk| chunk.map(Bytes::from_static)));
        Intake::of_client(body, len, claim, None)
    }

    fn claim_of(body: &[u8]) -> Claim {
        let mut headers = HeaderMap::new();
        let crc = encode(&of(ChecksumAlgorithm::Crc32, body));
        headers.insert("x-amz-checksum-crc32", crc.parse().unwrap());
        Claim::of_headers(&headers).unwrap()
    }

    async fn streamed(intake: Intake) -> (Vec<Result<Bytes, CallError>>, Result<Received, BodyError>) {
        let (stream, verdict) = intake.stream();
        let chunks = stream.collect().await;
        (chunks, verdict.take().unwrap())
    }

    #[tokio::test]
    async fn a_sound_body_passes_either_way() {
        let chunks = || vec![Ok(&b"hold"[..]), Ok(b""), Ok(b"fa"), Ok(b"st")];
        let (bytes, received) = intake(chunks(), 8, claim_of(b"holdfast")).collect().await.unwrap();
        assert_eq!(bytes, "holdfast");
        assert_eq!(received.etag, hex::encode(of(ChecksumAlgorithm::Md5, b"holdfast")));
        assert_eq!(received.checksum.value, encode(&of(ChecksumAlgorithm::Crc32, b"holdfast")));
        let (chunks, verdict) = streamed(intake(chunks(), 8, claim_of(b"holdfast"))).await;
        assert_eq!(chunks.into_iter().collect::<Result<Vec<_>, _>>().unwrap().concat(), b"holdfast");
        assert_eq!(verdict.unwrap(), received);
    }

    #[tokio::test]
    async fn an_empty_body_passes() {
        let (bytes, received) = intake(vec![], 0, Claim::NONE).collect().await.unwrap();
        assert!(bytes.is_empty());
        assert_eq!(received.etag, "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[tokio::test]
    async fn an_unsound_body_ends_the_stream_with_an_error() {
        let gone = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let wrong = BodyError::Mismatch(Mismatch::Checksum(ChecksumAlgorithm::Crc32));
        let cases = || {
            [
                (intake(vec![Ok(b"holdfast")], 8, claim_of(b"other")), wrong.clone()),
                (intake(vec![Ok(b"hold")], 8, Claim::NONE), BodyError::Incomplete),
                (intake(vec![Ok(b"hold"), Ok(b"fast")], 6, Claim::NONE), BodyError::Incomplete),
                (intake(vec![Ok(b"hold"), Err(gone())], 8, Claim::NONE), BodyError::Incomplete),
            ]
        };
        for (intake, expected) in cases() {
            let (chunks, verdict) = streamed(intake).await;
            assert_eq!(chunks.last(), Some(&Err(CallError::Aborted)));
            assert_eq!(verdict, Err(expected));
        }
        for (intake, expected) in cases() {
            assert_eq!(intake.collect().await.unwrap_err(), expected);
        }
    }

    #[test]
    fn stream_errors_are_told_apart_through_wrappers() {
        let boxed = |error: UploadStreamError| AwsChunkedStreamError::Underlying(Box::new(error));
        assert_eq!(BodyError::of_stream(&boxed(UploadStreamError::Sha256Mismatch)), BodyError::Sha256);
        assert_eq!(BodyError::of_stream(&AwsChunkedStreamError::SignatureMismatch), BodyError::Signature);
        assert_eq!(BodyError::of_stream(&AwsChunkedStreamError::Incomplete), BodyError::Incomplete);
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert_eq!(BodyError::of_stream(&UploadStreamError::Underlying(Box::new(late))), BodyError::TimedOut);
        assert_eq!(BodyError::of_stream(&BodySizeLimitExceeded { size: 2, limit: 1 }), BodyError::TooLarge);
    }
}
