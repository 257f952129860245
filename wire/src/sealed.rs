//! Encrypted objects: what their records keep, and where their plain bytes lie within what is stored.
//!
//! ```text
//! segment     the bytes of one request: a whole object, or one part of a multipart object
//! plain       | CHUNK bytes    | CHUNK bytes    | rest  |
//! stored      | CHUNK  + TAG   | CHUNK  + TAG   | rest + TAG |        an empty segment stores nothing
//! ```
//! Sizes in records (objects, parts, listings, counters) are plain; lengths of pieces are stored ones. Replicas know
//! this layout and no key: they read whole chunks, gateways open them.

use serde::{Deserialize, Serialize};

use crate::object::Object;

/// Plain bytes of one chunk.
pub const CHUNK: u64 = 64 << 10;
/// Stored bytes of a chunk beyond its plain ones.
pub const TAG: u64 = 16;

/// How an object, or an open upload, is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Whose key wraps the object's own.
    pub by: SealedBy,
    /// The object's own key, wrapped.
    pub wrapped: Vec<u8>,
    /// Of the one segment of a simple object; parts have their own.
    pub salt: Salt,
}

/// Whose key an object's own is wrapped with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealedBy {
    /// The cluster's key of this name (SSE-S3).
    Ring(String),
    /// A customer's (SSE-C), which is nowhere kept.
    Customer,
}

/// Makes the key of one segment out of the object's: drawn for every attempt to send it, so no key and nonce ever
/// meet two plain texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salt(pub u128);

/// Stored bytes of a segment of so many plain ones.
pub fn stored_len(plain: u64) -> u64 {
    plain + plain.div_ceil(CHUNK) * TAG
}

/// Plain bytes of a segment that stores so many.
pub fn plain_len(stored: u64) -> u64 {
    stored.saturating_sub(stored.div_ceil(CHUNK + TAG) * TAG)
}

/// Plain bytes within one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The segment's.
    pub salt: Salt,
    /// Plain bytes of the whole segment.
    pub segment: u64,
    /// The first of the wanted bytes, within the segment.
    pub first: u64,
    /// How many are wanted; never 0.
    pub count: u64,
}

impl Span {
    /// The first chunk that holds a wanted byte.
    pub fn first_chunk(&self) -> u64 {
        self.first / CHUNK
    }

    /// The last chunk that holds a wanted byte.
    pub fn last_chunk(&self) -> u64 {
        (self.first + self.count - 1) / CHUNK
    }

    /// Plain bytes of a chunk.
    pub fn chunk_len(&self, chunk: u64) -> u64 {
        CHUNK.min(self.segment - chunk * CHUNK)
    }

    /// Whether a chunk is the segment's last.
    pub fn is_last(&self, chunk: u64) -> bool {
        (chunk + 1) * CHUNK >= self.segment
    }
}

/// The segments that `count` plain bytes from `first` lie in, in order.
pub fn spans(object: &Object, (first, count): (u64, u64)) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = 0;
    for (segment, salt) in segments(object) {
        let (from, to) = (first.max(at), (first + count).min(at + segment));
        if from < to {
            spans.push(Span { salt, segment, first: from - at, count: to - from });
        }
        at += segment;
    }
    spans
}

/// First byte and count of what must be read of the stored bytes for `count` plain bytes from `first`: whole chunks of
/// a sealed object, and just these bytes of any other.
pub fn stored_range(object: &Object, range: (u64, u64)) -> (u64, u64) {
    if object.detail.seal.is_none() {
        return range;
    }
    let (first, count) = range;
    let mut begin = None;
    let mut end = 0;
    let (mut at, mut stored) = (0, 0);
    for (segment, salt) in segments(object) {
        let (from, to) = (first.max(at), (first + count).min(at + segment));
        if from < to {
            let span = Span { salt, segment, first: from - at, count: to - from };
            begin.get_or_insert(stored + span.first_chunk() * (CHUNK + TAG));
            let last = span.last_chunk();
            end = stored + last * (CHUNK + TAG) + span.chunk_len(last) + TAG;
        }
        at += segment;
        stored += stored_len(segment);
    }
    let begin = begin.unwrap_or(0);
    (begin, end.saturating_sub(begin))
}

/// Plain bytes and salt of each segment.
fn segments(object: &Object) -> impl Iterator<Item = (u64, Salt)> {
    let simple = object.detail.parts.is_empty();
    let salt = object.detail.seal.as_ref().map_or(Salt::default(), |seal| seal.salt);
    let whole = simple.then_some((object.summary.size, salt));
    whole.into_iter().chain(object.detail.parts.iter().map(|part| (part.size, part.salt.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Detail, ObjectPart, Summary};

    fn sealed(sizes: &[u64]) -> Object {
        let part = |(at, &size): (usize, &u64)| ObjectPart {
            number: at as u16 + 1,
            size,
            checksum: None,
            salt: Some(Salt(at as u128 + 1)),
        };
        Object {
            summary: Summary { size: sizes.iter().sum(), ..Summary::default() },
            detail: Detail {
                parts: if sizes.len() > 1 { sizes.iter().enumerate().map(part).collect() } else { Vec::new() },
                seal: Some(Seal { by: SealedBy::Customer, wrapped: Vec::new(), salt: Salt(9) }),
                ..Detail::default()
            },
        }
    }

    #[test]
    fn lengths_go_both_ways() {
        for plain in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 9] {
            assert_eq!(plain_len(stored_len(plain)), plain);
        }
        assert_eq!(stored_len(CHUNK + 1), CHUNK + 1 + 2 * TAG);
    }

    #[test]
    fn whole_chunks_are_read() {
        let object = sealed(&[3 * CHUNK + 5]);
        assert_eq!(stored_range(&object, (0, 1)), (0, CHUNK + TAG));
        assert_eq!(stored_range(&object, (CHUNK - 1, 2)), (0, 2 * (CHUNK + TAG)));
        assert_eq!(stored_range(&object, (3 * CHUNK, 5)), (3 * (CHUNK + TAG), 5 + TAG));
        assert_eq!(stored_range(&object, (0, 3 * CHUNK + 5)), (0, stored_len(3 * CHUNK + 5)));
        assert_eq!(stored_range(&object, (7, 0)), (0, 0));
        assert_eq!(stored_range(&sealed(&[0]), (0, 0)), (0, 0));
        let span = Span { salt: Salt(9), segment: 3 * CHUNK + 5, first: CHUNK - 1, count: 2 };
        assert_eq!(spans(&object, (CHUNK - 1, 2)), [span]);
        assert_eq!((span.first_chunk(), span.last_chunk(), span.chunk_len(3)), (0, 1, 5));
        assert!(span.is_last(3) && !span.is_last(2));
    }

    #[test]
    fn parts_are_segments_and_lie_one_behind_the_other() {
        let object = sealed(&[CHUNK + 1, 10, CHUNK]);
        let second = stored_len(CHUNK + 1);
        assert_eq!(stored_range(&object, (CHUNK + 1, 10)), (second, 10 + TAG));
        assert_eq!(stored_range(&object, (CHUNK, 3)), (CHUNK + TAG, 1 + TAG + 10 + TAG));
        let spans = spans(&object, (CHUNK, 12));
        assert_eq!(
            spans.iter().map(|span| (span.salt.0, span.first, span.count)).collect::<Vec<_>>(),
            [(1, CHUNK, 1), (2, 0, 10), (3, 0, 1)]
        );
        let all = object.summary.size;
        assert_eq!(stored_range(&object, (0, all)), (0, second + 10 + TAG + CHUNK + TAG));
    }

    #[test]
    fn what_is_not_sealed_is_stored_as_it_is() {
        let mut object = sealed(&[CHUNK * 2]);
        object.detail.seal = None;
        assert_eq!(stored_range(&object, (3, 4)), (3, 4));
    }
}
