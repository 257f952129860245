//! How the body of [`Request::UploadBlob`](crate::request::Request::UploadBlob) is framed: data frames, then one end
//! frame. Without a sound end frame there is no blob.
//!
//! ```text
//! data  0x01 | length u32 LE | bytes
//! end   0x02 | total u64 LE  | xxh3-64 of all bytes, u64 LE
//! ```

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use xxhash_rust::xxh3::Xxh3;

use crate::error::CallError;

const DATA: u8 = 1;
const END: u8 = 2;
const DATA_HEAD: usize = 5;
const END_FRAME: usize = 17;
/// The largest data frame; longer chunks are cut.
const FRAME_MAX: usize = 1 << 20;

/// Frames a stream of chunks. An error in it ends the framed stream with that error and no end frame.
pub struct Framer<S> {
    chunks: S,
    queue: VecDeque<Bytes>,
    hash: Xxh3,
    total: u64,
    done: bool,
}

impl<S> Framer<S> {
    /// Frames `chunks`.
    pub fn new(chunks: S) -> Self {
        Self { chunks, queue: VecDeque::new(), hash: Xxh3::new(), total: 0, done: false }
    }
}

impl<S> Stream for Framer<S>
where
    S: Stream<Item = Result<Bytes, CallError>> + Unpin,
{
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(bytes) = self.queue.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.done {
                return Poll::Ready(None);
            }
            match ready!(self.chunks.poll_next_unpin(cx)) {
                Some(Ok(mut chunk)) => {
                    self.hash.update(&chunk);
                    self.total += chunk.len() as u64;
                    while !chunk.is_empty() {
                        let piece = chunk.split_to(chunk.len().min(FRAME_MAX));
                        let mut head = BytesMut::with_capacity(DATA_HEAD);
                        head.put_u8(DATA);
                        head.put_u32_le(piece.len() as u32);
                        self.queue.push_back(head.freeze());
                        self.queue.push_back(piece);
                    }
                }
                Some(Err(error)) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let mut end = BytesMut::with_capacity(END_FRAME);
                    end.put_u8(END);
                    end.put_u64_le(self.total);
                    end.put_u64_le(self.hash.digest());
                    self.queue.push_back(end.freeze());
                    self.done = true;
                }
            }
        }
    }
}

/// Undoes [`Framer`]: yields the bytes, and an error unless a sound end frame closes them.
pub struct Unframer {
    bytes: BoxStream<'static, Result<Bytes, CallError>>,
    /// Bytes received and not yet parsed: a frame's head may be spread over chunks.
    buffer: BytesMut,
    chunk: Bytes,
    /// Bytes of the current data frame still to come.
    left: usize,
    hash: Xxh3,
    total: u64,
    done: bool,
}

impl Unframer {
    /// Reads frames from `bytes`.
    pub fn new(bytes: BoxStream<'static, Result<Bytes, CallError>>) -> Self {
        Self { bytes, buffer: BytesMut::new(), chunk: Bytes::new(), left: 0, hash: Xxh3::new(), total: 0, done: false }
    }

    /// Moves bytes of the chunk into the head buffer until that has `count`.
    fn gather(&mut self, count: usize) -> bool {
        let take = (count.saturating_sub(self.buffer.len())).min(self.chunk.len());
        self.buffer.extend_from_slice(&self.chunk.split_to(take));
        self.buffer.len() >= count
    }

    /// One step on what is at hand: `None` when more bytes are needed.
    fn step(&mut self) -> Option<Result<Option<Bytes>, CallError>> {
        if self.left > 0 {
            if self.chunk.is_empty() {
                return None;
            }
            let data = self.chunk.split_to(self.left.min(self.chunk.len()));
            self.left -= data.len();
            self.total += data.len() as u64;
            self.hash.update(&data);
            return Some(Ok(Some(data)));
        }
        if !self.gather(1) {
            return None;
        }
        let kind = self.buffer[0];
        match kind {
            DATA if self.gather(DATA_HEAD) => {
                self.buffer.advance(1);
                self.left = self.buffer.get_u32_le() as usize;
                if self.left == 0 || self.left > FRAME_MAX {
                    return Some(Err(malformed("a data frame of impossible length")));
                }
                self.step()
            }
            END if self.gather(END_FRAME) => {
                self.buffer.advance(1);
                let sound = self.buffer.get_u64_le() == self.total && self.buffer.get_u64_le() == self.hash.digest();
                Some(if sound { Ok(None) } else { Err(malformed("the end frame does not fit the bytes")) })
            }
            DATA | END => None,
            _ => Some(Err(malformed("an unknown frame"))),
        }
    }
}

fn malformed(reason: &str) -> CallError {
    CallError::Malformed { reason: reason.to_owned() }
}

impl Stream for Unframer {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.done {
                return Poll::Ready(None);
            }
            match self.step() {
                Some(Ok(Some(data))) => return Poll::Ready(Some(Ok(data))),
                Some(Ok(None)) => self.done = true,
                Some(Err(error)) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => match ready!(self.bytes.poll_next_unpin(cx)) {
                    Some(Ok(chunk)) => self.chunk = chunk,
                    Some(Err(error)) => {
                        self.done = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => {
                        self.done = true;
                        return Poll::Ready(Some(Err(CallError::Aborted)));
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(chunks: &[Vec<u8>]) -> Vec<u8> {
        let chunks: Vec<_> = chunks.iter().map(|c| Ok(Bytes::from(c.clone()))).collect();
        let framer = Framer::new(futures::stream::iter(chunks));
        let pieces: Vec<_> = futures::executor::block_on_stream(framer).map(Result::unwrap).collect();
        pieces.concat()
    }

    fn unframed(bytes: &[u8], cut: usize) -> Result<Vec<u8>, CallError> {
        let pieces: Vec<_> = bytes.chunks(cut.max(1)).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let unframer = Unframer::new(futures::stream::iter(pieces).boxed());
        futures::executor::block_on_stream(unframer).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
    }

    proptest! {
        #[test]
        fn what_was_framed_comes_back(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9), cut in 1usize..64) {
            prop_assert_eq!(unframed(&framed(&chunks), cut).unwrap(), chunks.concat());
        }

        #[test]
        fn nothing_short_or_altered_is_accepted(data in prop::collection::vec(any::<u8>(), 1..300), at in any::<prop::sample::Index>(), cut in 1usize..64) {
            let sound = framed(std::slice::from_ref(&data));
            let at = at.index(sound.len());
            prop_assert!(unframed(&sound[..at], cut).is_err());
            let mut altered = sound;
            altered[at] ^= 1;
            prop_assert!(unframed(&altered, cut).is_err());
        }
    }
}
