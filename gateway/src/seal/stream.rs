//! Bytes that become chunks, and chunks that become bytes: memory for one chunk each.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use holdfast_wire::error::CallError;
use holdfast_wire::sealed::{CHUNK, Span, TAG, stored_len};

use super::key::{ObjectKey, SegmentKey};

const CHUNK_LEN: usize = CHUNK as usize;
const TAG_LEN: usize = TAG as usize;

/// A segment that is here as a whole, sealed.
pub fn seal(key: &SegmentKey, plain: &[u8]) -> Bytes {
    let mut sealed = BytesMut::with_capacity(stored_len(plain.len() as u64) as usize);
    let count = plain.len().div_ceil(CHUNK_LEN) as u64;
    for (number, chunk) in (0..).zip(plain.chunks(CHUNK_LEN)) {
        let mut one = sealed.split_off(sealed.len());
        one.extend_from_slice(chunk);
        key.seal(number, number + 1 == count, &mut one);
        sealed.unsplit(one);
    }
    sealed.freeze()
}

/// A segment of `len` bytes, sealed as it passes. Whoever judges the bytes makes sure that there are as many.
pub fn seal_stream(
    key: SegmentKey,
    len: u64,
    plain: BoxStream<'static, Result<Bytes, CallError>>,
) -> BoxStream<'static, Result<Bytes, CallError>> {
    let state = Sealing { key, plain, waiting: Bytes::new(), filled: empty_chunk(), number: 0, left: len };
    stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|chunk| (chunk, state))) }).boxed()
}

fn empty_chunk() -> BytesMut {
    BytesMut::with_capacity(CHUNK_LEN + TAG_LEN)
}

struct Sealing {
    key: SegmentKey,
    plain: BoxStream<'static, Result<Bytes, CallError>>,
    /// What did not fit into the last chunk.
    waiting: Bytes,
    filled: BytesMut,
    number: u64,
    /// Plain bytes that are not in a finished chunk.
    left: u64,
}

impl Sealing {
    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let wanted = self.left.min(CHUNK) as usize;
        loop {
            let taken = (wanted - self.filled.len()).min(self.waiting.len());
            self.filled.extend_from_slice(&self.waiting.split_to(taken));
            if self.filled.len() == wanted && (wanted > 0 || !self.waiting.is_empty()) {
                break;
            }
            match self.plain.next().await {
                Some(chunk) => self.waiting = chunk?,
                None if self.left == 0 => return Ok(None),
                // Never taken for a whole: the plain stream has ended with an error before.
                None => return Err(CallError::Aborted),
            }
        }
        if wanted == 0 {
            return Err(CallError::Aborted);
        }
        let mut sealed = std::mem::replace(&mut self.filled, empty_chunk());
        self.left -= wanted as u64;
        self.key.seal(self.number, self.left == 0, &mut sealed);
        self.number += 1;
        Ok(Some(sealed.freeze()))
    }
}

/// The plain bytes of `spans` out of the stored chunks that hold them. What was not sealed with `key`, or is damaged,
/// ends the stream with an error before any byte of that chunk.
pub fn open(
    key: &ObjectKey,
    spans: Vec<Span>,
    stored: BoxStream<'static, Result<Bytes, CallError>>,
) -> BoxStream<'static, Result<Bytes, CallError>> {
    let spans = spans.into_iter().map(|span| (key.segment(span.salt), span)).collect();
    let state = Opening { spans, chunk: None, stored: stored.boxed(), waiting: Bytes::new() };
    stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|bytes| (bytes, state))) }).boxed()
}

struct Opening<S> {
    spans: VecDeque<(SegmentKey, Span)>,
    /// The next chunk of the first span.
    chunk: Option<u64>,
    stored: S,
    waiting: Bytes,
}

impl<S: Stream<Item = Result<Bytes, CallError>> + Unpin> Opening<S> {
    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let Some((_, span)) = self.spans.front() else { return Ok(None) };
        let (span, number) = (*span, self.chunk.unwrap_or(span.first_chunk()));
        let mut bytes = self.take(span.chunk_len(number) as usize + TAG_LEN).await?;
        let Some((key, _)) = self.spans.front() else { return Ok(None) };
        key.open(number, span.is_last(number), &mut bytes).map_err(|error| {
            tracing::error!(%error, number, "a chunk of an encrypted object cannot be opened");
            CallError::Malformed { reason: "a chunk of an encrypted object cannot be opened".to_owned() }
        })?;
        if number == span.last_chunk() {
            self.spans.pop_front();
            self.chunk = None;
        } else {
            self.chunk = Some(number + 1);
        }
        let begin = span.first.saturating_sub(number * CHUNK);
        let end = (span.first + span.count - number * CHUNK).min(bytes.len() as u64);
        Ok(Some(bytes.freeze().slice(begin as usize..end as usize)))
    }

    /// So many stored bytes.
    async fn take(&mut self, len: usize) -> Result<BytesMut, CallError> {
        let mut taken = BytesMut::with_capacity(len);
        while taken.len() < len {
            if self.waiting.is_empty() {
                self.waiting = self.stored.next().await.ok_or(CallError::Aborted)??;
            }
            let more = (len - taken.len()).min(self.waiting.len());
            taken.extend_from_slice(&self.waiting.split_to(more));
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use holdfast_wire::sealed::Salt;
    use holdfast_wire::seam::OsRandom;
    use proptest::prelude::*;

    use super::*;

    fn cut(bytes: &[u8], size: usize) -> BoxStream<'static, Result<Bytes, CallError>> {
        let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        stream::iter(chunks).boxed()
    }

    fn all(stream: BoxStream<'static, Result<Bytes, CallError>>) -> Result<Vec<u8>, CallError> {
        let chunks = futures::executor::block_on(stream.try_collect::<Vec<_>>())?;
        Ok(chunks.concat())
    }

    fn plain(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at / 7) as u8).collect()
    }

    fn range(sealed: &[u8], span: &Span) -> std::ops::Range<usize> {
        let begin = span.first_chunk() * (CHUNK + TAG);
        let end = (span.last_chunk() + 1) * (CHUNK + TAG);
        begin as usize..(end as usize).min(sealed.len())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_range_comes_back(len in 1usize..300_000, cuts in 1usize..100_000, from in 0.0f64..1.0, part in 0.0f64..1.0) {
            let (key, bytes) = (ObjectKey::draw(&OsRandom), plain(len));
            let sealed = all(seal_stream(key.segment(Salt(5)), len as u64, cut(&bytes, cuts))).unwrap();
            prop_assert_eq!(sealed.len() as u64, stored_len(len as u64));
            prop_assert_eq!(&sealed, &seal(&key.segment(Salt(5)), &bytes));
            let first = ((len - 1) as f64 * from) as u64;
            let count = 1 + ((len as u64 - first - 1) as f64 * part) as u64;
            let span = Span { salt: Salt(5), segment: len as u64, first, count };
            let opened = all(open(&key, vec![span], cut(&sealed[range(&sealed, &span)], cuts))).unwrap();
            prop_assert_eq!(&opened, &bytes[first as usize..(first + count) as usize]);
        }
    }

    #[test]
    fn nothing_is_stored_of_nothing() {
        let key = ObjectKey::draw(&OsRandom);
        assert!(seal(&key.segment(Salt(1)), b"").is_empty());
        assert!(all(seal_stream(key.segment(Salt(1)), 0, cut(b"", 1))).unwrap().is_empty());
        assert!(all(open(&key, vec![], cut(b"", 1))).unwrap().is_empty());
    }

    #[test]
    fn what_was_changed_swapped_or_cut_is_not_opened() {
        let (key, bytes) = (ObjectKey::draw(&OsRandom), plain(3 * CHUNK_LEN));
        let sealed = seal(&key.segment(Salt(1)), &bytes).to_vec();
        let span = Span { salt: Salt(1), segment: bytes.len() as u64, first: 0, count: bytes.len() as u64 };
        let opens = |span: Span, sealed: &[u8]| all(open(&key, vec![span], cut(sealed, 1000)));
        assert_eq!(opens(span, &sealed).unwrap(), bytes);
        for at in [0, CHUNK_LEN - 1, CHUNK_LEN, sealed.len() - 1] {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert!(opens(span, &other).is_err(), "byte {at}");
        }
        let one = CHUNK_LEN + TAG_LEN;
        let swapped = [&sealed[one..2 * one], &sealed[..one], &sealed[2 * one..]].concat();
        assert!(opens(span, &swapped).is_err());
        assert!(opens(span, &sealed[..2 * one]).is_err());
        // Cut at a chunk's end, by someone who changes the record's size too.
        let shorter = Span { segment: 2 * CHUNK, count: 2 * CHUNK, ..span };
        assert!(opens(shorter, &sealed[..2 * one]).is_err());
        assert!(opens(Span { salt: Salt(2), ..span }, &sealed).is_err());
        let other = ObjectKey::draw(&OsRandom);
        assert!(all(open(&other, vec![span], cut(&sealed, 1000))).is_err());
    }

    #[test]
    fn a_body_of_another_length_is_no_segment() {
        let key = ObjectKey::draw(&OsRandom);
        assert!(all(seal_stream(key.segment(Salt(1)), 9, cut(b"12345678", 3))).is_err());
        assert!(all(seal_stream(key.segment(Salt(1)), 7, cut(b"12345678", 3))).is_err());
    }
}
