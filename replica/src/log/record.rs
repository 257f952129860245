//! The byte layout of the log.
//!
//! ```text
//! segment   batch, zeros up to a multiple of 4096, batch, zeros, …; behind the last batch zeros or an earlier life's bytes
//! batch     records, the last one flagged; one write and one fdatasync
//! record     0  u32  CRC-32C of all that follows, xor a mask made of the segment's generation
//!            4  u32  length of the body
//!            8  u64  number of the batch
//!           16  u32  group
//!           20  u8   kind
//!           21  u8   1 = last record of its batch
//!           22  u16  0
//!           24  body
//! ```
//!
//! All numbers are little-endian. No batch shares a page with another one: a page that holds synced bytes is never
//! written again. The mask makes bytes of a segment's earlier life invalid in its next one.

use bytes::{Buf, BufMut};
use crc_fast::crc32_iscsi;
use holdfast_wire::id::{GroupId, NodeId};

use super::LogEntry;
use crate::position::{Ballot, Position};

/// The newest format this program writes and reads.
pub const VERSION: u32 = 1;
/// Batches start at multiples of this.
pub const BLOCK: u64 = 4096;
/// Bytes of a record before its body.
pub const HEADER: usize = 24;
/// Bytes of an entry's body before its payload.
pub const ENTRY_HEAD: usize = POSITION;
/// The longest body.
pub const BODY_MAX: usize = 1 << 30;

const POSITION: usize = 24;
const LAST: u8 = 1;

/// `len` rounded up to whole blocks.
pub fn padded(len: u64) -> u64 {
    len.next_multiple_of(BLOCK)
}

/// What a segment's checksums are mixed with. Two generations that are less than 2^32 apart have different masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u32);

impl Mask {
    /// The mask of one segment. `salt` differs between logs, so that nobody can forge a record inside a payload.
    pub fn new(generation: u64, salt: u64) -> Self {
        Self((generation as u32).wrapping_mul(0x9e37_79b1) ^ salt as u32 ^ (salt >> 32) as u32)
    }
}

/// The first record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Format of the segment.
    pub version: u32,
    /// The segment before this one; 0 if this is the first.
    pub previous: u64,
    /// Where that one ends, in bytes.
    pub previous_end: u64,
    /// The last batch in it.
    pub previous_batch: u64,
    /// Bytes that the file had when the segment was started.
    pub len: u64,
}

/// What a group had when a segment was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restated {
    /// Its vote.
    pub ballot: Option<Ballot>,
    /// The last entry purged.
    pub purged: Option<Position>,
    /// The last position known to be committed.
    pub committed: Option<Position>,
    /// The last entry, purged or not.
    pub last: Option<Position>,
    /// Index of the first entry; behind `last` if there is none.
    pub first: u64,
}

/// A decoded record body. An entry's payload stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Starts a segment; the restated groups follow in the same batch.
    Start(Start),
    /// Restates a group.
    Restated(Restated),
    /// An entry at this position; its payload fills the rest of the body.
    Entry(Position),
    /// A vote.
    Ballot(Ballot),
    /// All entries behind this position are gone.
    Truncate(Option<Position>),
    /// All entries up to this position are gone.
    Purge(Position),
    /// Known to be committed.
    Committed(Option<Position>),
    /// The group left this node.
    Forget,
    /// Proves that everything before it was synced.
    Mark,
    /// The log was opened again: the number before this batch's may stand on a torn batch and is skipped.
    Resume,
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Body::Start(_) => 1,
            Body::Restated(_) => 2,
            Body::Entry(_) => 3,
            Body::Ballot(_) => 4,
            Body::Truncate(_) => 5,
            Body::Purge(_) => 6,
            Body::Committed(_) => 7,
            Body::Forget => 8,
            Body::Mark => 9,
            Body::Resume => 10,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Body::Start(start) => {
                out.put_u32_le(start.version);
                out.put_u64_le(start.previous);
                out.put_u64_le(start.previous_end);
                out.put_u64_le(start.previous_batch);
                out.put_u64_le(start.len);
            }
            Body::Restated(state) => {
                out.put_u8(state.ballot.is_some() as u8);
                put_ballot(out, state.ballot.unwrap_or_default());
                for position in [state.purged, state.committed, state.last] {
                    put_optional(out, position);
                }
                out.put_u64_le(state.first);
            }
            Body::Ballot(ballot) => put_ballot(out, ballot),
            Body::Entry(position) | Body::Purge(position) => put_position(out, position),
            Body::Truncate(position) | Body::Committed(position) => put_optional(out, position),
            Body::Forget | Body::Mark | Body::Resume => {}
        }
    }

    fn parse(kind: u8, mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let body = match kind {
            1 => Body::Start(Start {
                version: bytes.try_get_u32_le().ok()?,
                previous: bytes.try_get_u64_le().ok()?,
                previous_end: bytes.try_get_u64_le().ok()?,
                previous_batch: bytes.try_get_u64_le().ok()?,
                len: bytes.try_get_u64_le().ok()?,
            }),
            2 => {
                let voted = bytes.try_get_u8().ok()? != 0;
                let ballot = get_ballot(bytes)?;
                Body::Restated(Restated {
                    ballot: voted.then_some(ballot),
                    purged: get_optional(bytes)?,
                    committed: get_optional(bytes)?,
                    last: get_optional(bytes)?,
                    first: bytes.try_get_u64_le().ok()?,
                })
            }
            3 => Body::Entry(get_position(bytes)?),
            4 => Body::Ballot(get_ballot(bytes)?),
            5 => Body::Truncate(get_optional(bytes)?),
            6 => Body::Purge(get_position(bytes)?),
            7 => Body::Committed(get_optional(bytes)?),
            8 => Body::Forget,
            9 => Body::Mark,
            10 => Body::Resume,
            _ => return None,
        };
        Some(body)
    }
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.put_u64_le(position.term);
    out.put_u64_le(position.node.0);
    out.put_u64_le(position.index);
}

fn get_position(bytes: &mut &[u8]) -> Option<Position> {
    Some(Position {
        term: bytes.try_get_u64_le().ok()?,
        node: NodeId(bytes.try_get_u64_le().ok()?),
        index: bytes.try_get_u64_le().ok()?,
    })
}

fn put_optional(out: &mut Vec<u8>, position: Option<Position>) {
    out.put_u8(position.is_some() as u8);
    put_position(out, position.unwrap_or_default());
}

fn get_optional(bytes: &mut &[u8]) -> Option<Option<Position>> {
    let there = bytes.try_get_u8().ok()? != 0;
    let position = get_position(bytes)?;
    Some(there.then_some(position))
}

fn put_ballot(out: &mut Vec<u8>, ballot: Ballot) {
    out.put_u64_le(ballot.term);
    out.put_u64_le(ballot.node.0);
    out.put_u8(ballot.committed as u8);
}

fn get_ballot(bytes: &mut &[u8]) -> Option<Ballot> {
    Some(Ballot {
        term: bytes.try_get_u64_le().ok()?,
        node: NodeId(bytes.try_get_u64_le().ok()?),
        committed: bytes.try_get_u8().ok()? != 0,
    })
}

/// The bytes that a body without payload takes at most, header included: what a batch must count with.
pub const SMALL_RECORD: u64 = (HEADER + 101) as u64;

/// The bytes an entry takes in the log.
pub fn entry_bytes(payload: usize) -> u64 {
    (HEADER + ENTRY_HEAD + payload) as u64
}

/// Builds one batch in a buffer that is used again and again.
pub struct Encoder {
    bytes: Vec<u8>,
    mask: Mask,
    batch: u64,
    open: Option<usize>,
}

impl Encoder {
    /// A batch with this number; `bytes` is cleared first.
    pub fn new(mut bytes: Vec<u8>, mask: Mask, batch: u64) -> Self {
        bytes.clear();
        Self { bytes, mask, batch, open: None }
    }

    fn begin(&mut self, group: GroupId, kind: u8) -> usize {
        self.seal(0);
        let start = self.bytes.len();
        self.bytes.put_u64_le(0);
        self.bytes.put_u64_le(self.batch);
        self.bytes.put_u32_le(group.0);
        self.bytes.put_u32_le(kind.into());
        self.open = Some(start);
        start
    }

    fn seal(&mut self, flags: u8) {
        let Some(start) = self.open.take() else { return };
        let len = (self.bytes.len() - start - HEADER) as u32;
        self.bytes[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
        self.bytes[start + 21] = flags;
        let sum = crc32_iscsi(&self.bytes[start + 4..]) ^ self.mask.0;
        self.bytes[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    }

    /// Adds a record without payload.
    pub fn put(&mut self, group: GroupId, body: Body) {
        self.begin(group, body.kind());
        body.put(&mut self.bytes);
    }

    /// Adds an entry and says where its record begins. This is the one copy that the log makes of a payload.
    pub fn put_entry(&mut self, group: GroupId, entry: &LogEntry) -> usize {
        let body = Body::Entry(entry.position);
        let start = self.begin(group, body.kind());
        body.put(&mut self.bytes);
        self.bytes.extend_from_slice(&entry.payload);
        start
    }

    /// The finished batch, padded to whole blocks; empty if nothing was put in.
    pub fn finish(mut self) -> Vec<u8> {
        self.seal(LAST);
        let len = padded(self.bytes.len() as u64) as usize;
        self.bytes.resize(len, 0);
        self.bytes
    }
}

/// A record's fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the body.
    pub len: usize,
    /// The batch that the record belongs to.
    pub batch: u64,
    /// The group that it speaks of.
    pub group: GroupId,
    /// Whether its batch ends with it.
    pub last: bool,
    kind: u8,
}

impl Header {
    /// The header in front of `bytes`, if it is plausible at all. Nothing is proven before [`verify`].
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(4..HEADER)?;
        let header = Self {
            len: rest.get_u32_le() as usize,
            batch: rest.get_u64_le(),
            group: GroupId(rest.get_u32_le()),
            kind: rest.get_u8(),
            last: rest.get_u8() & LAST != 0,
        };
        let plausible = (1..=10).contains(&header.kind) && bytes[21] <= LAST && rest.get_u16_le() == 0;
        (plausible && header.len <= BODY_MAX).then_some(header)
    }
}

/// The record that fills `bytes` exactly, if its checksum and its body are sound.
pub fn verify(bytes: &[u8], mask: Mask) -> Option<(Header, Body)> {
    let header = Header::peek(bytes)?;
    if bytes.len() != HEADER + header.len {
        return None;
    }
    let sum = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
    if crc32_iscsi(&bytes[4..]) ^ mask.0 != sum {
        return None;
    }
    Some((header, Body::parse(header.kind, &bytes[HEADER..])?))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = Position> {
        any::<(u64, u64, u64)>().prop_map(|(term, node, index)| Position { term, node: NodeId(node), index })
    }

    fn bodies() -> impl Strategy<Value = Body> {
        let ballots = || {
            any::<(u64, u64, bool)>().prop_map(|(term, node, committed)| Ballot { term, node: NodeId(node), committed })
        };
        let maybe = || proptest::option::of(positions());
        prop_oneof![
            any::<(u32, u64, u64, u64, u64)>().prop_map(|(version, previous, previous_end, previous_batch, len)| {
                Body::Start(Start { version, previous, previous_end, previous_batch, len })
            }),
            (proptest::option::of(ballots()), maybe(), maybe(), maybe(), any::<u64>()).prop_map(
                |(ballot, purged, committed, last, first)| Body::Restated(Restated {
                    ballot,
                    purged,
                    committed,
                    last,
                    first
                })
            ),
            ballots().prop_map(Body::Ballot),
            maybe().prop_map(Body::Truncate),
            positions().prop_map(Body::Purge),
            maybe().prop_map(Body::Committed),
            Just(Body::Forget),
            Just(Body::Mark),
            Just(Body::Resume),
        ]
    }

    proptest! {
        #[test]
        fn records_come_back(body in bodies(), group: u32, batch: u64, generation: u64, salt: u64) {
            let mask = Mask::new(generation, salt);
            let mut encoder = Encoder::new(Vec::new(), mask, batch);
            encoder.put(GroupId(group), body);
            let bytes = encoder.finish();
            prop_assert_eq!(bytes.len() as u64, BLOCK);
            let header = Header::peek(&bytes).unwrap();
            prop_assert!(HEADER + header.len <= SMALL_RECORD as usize);
            let record = &bytes[..HEADER + header.len];
            let (header, back) = verify(record, mask).unwrap();
            prop_assert_eq!((header.group, header.batch, header.last, back), (GroupId(group), batch, true, body));
            prop_assert_eq!(verify(record, Mask::new(generation.wrapping_add(1), salt)), None);
        }
    }

    #[test]
    fn every_flipped_bit_of_an_entry_is_seen() {
        let mask = Mask::new(7, 42);
        let position = Position { term: 3, node: NodeId(2), index: 9 };
        let mut encoder = Encoder::new(Vec::new(), mask, 5);
        encoder.put_entry(GroupId(1), &LogEntry { position, payload: Bytes::from_static(b"payload") });
        encoder.put(GroupId(1), Body::Mark);
        let bytes = encoder.finish();
        let len = entry_bytes(7) as usize;
        let mut record = bytes[..len].to_vec();
        let (header, body) = verify(&record, mask).unwrap();
        assert_eq!((header.last, body), (false, Body::Entry(position)));
        assert_eq!(&record[HEADER + ENTRY_HEAD..], b"payload");
        for bit in 0..len * 8 {
            record[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&record, mask), None, "bit {bit}");
            record[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn the_layout_stays() {
        let mut encoder = Encoder::new(Vec::new(), Mask::new(1, 0), 2);
        let ballot = Ballot { term: 3, node: NodeId(4), committed: true };
        encoder.put(GroupId(5), Body::Ballot(ballot));
        let expected = [
            // crc
            0x28, 0x97, 0xfa, 0x2c, // length
            17, 0, 0, 0, // batch
            2, 0, 0, 0, 0, 0, 0, 0, // group
            5, 0, 0, 0, // kind, flags, zero
            4, 1, 0, 0, // term
            3, 0, 0, 0, 0, 0, 0, 0, // node
            4, 0, 0, 0, 0, 0, 0, 0, // committed
            1,
        ];
        assert_eq!(encoder.finish()[..expected.len()], expected);
    }
}
