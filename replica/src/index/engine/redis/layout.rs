//! What stands in Redis: one sorted set per node, all members with score 0, so that Redis keeps them in byte order.
//!
//! ```text
//! key      holdfast:{NODE NAME}:index
//! row      space u8 (1 records, 2 bodies) | key, each 00 as 00 FF | 00 01 | value | tail 8
//! tail     xxh3_64 of everything before it, seeded with the node's salt, LE
//! stamp    00 | "holdfast-index 1 OWNER WRITER NUMBER ROWS SUM"
//! ```
//!
//! A range is one command, because a member holds key and value; and whatever takes rows away as a whole (a flush, an
//! eviction, an older file) takes the stamp with them. The stamp says whose index this is (`OWNER`, drawn for a data
//! directory), which process writes it (`WRITER`), how many batches there were, how many rows there are and the sum of
//! their tails' low 48 bits, which Lua's numbers hold exactly.

use bytes::{BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::index::engine::{Space, behind};

/// The low bits of tails that sums are made of.
const SUM_BITS: u32 = 48;
const TAIL: usize = 8;
const WORDS: &str = "holdfast-index 1";

/// All that a member of the set may begin with, as the ends of a range in Redis' words.
pub const EVERYTHING: (&[u8], &[u8]) = (b"-", b"+");
/// Where the stamp stands.
pub const STAMP: (&[u8], &[u8]) = (b"[\x00", b"(\x01");

/// Writes a batch, if the set is what the writer knows: one round trip, and atomic.
///
/// `ARGV`: the stamp as it must be · how many rows there must be · their sum · the new stamp's words before rows and sum ·
/// per change: both ends of the key's range, and the row, or nothing to remove it. Answers with 1 and the rows that were
/// replaced, or with 0, the stamps found, and the number of members.
///
/// What must have room comes first: Redis refuses a script that has written nothing yet when its memory is full, and
/// then the batch as a whole.
pub const WRITE: &str = r"
local set, olds = KEYS[1], {1}
local rows, sum = tonumber(ARGV[2]), tonumber(ARGV[3])
local members = redis.call('ZCARD', set)
if members ~= rows + 1 or not redis.call('ZSCORE', set, ARGV[1]) then
  return {0, redis.call('ZRANGEBYLEX', set, '[\0', '(\1', 'LIMIT', 0, 2), members}
end
local function tail(row)
  local sum, weight = 0, 1
  for at = #row - 7, #row - 2 do
    sum = sum + string.byte(row, at) * weight
    weight = weight * 256
  end
  return sum
end
for at = 5, #ARGV, 3 do
  local old = redis.call('ZRANGEBYLEX', set, ARGV[at], ARGV[at + 1], 'LIMIT', 0, 1)[1]
  olds[#olds + 1] = old or false
  if old then
    rows = rows - 1
    sum = (sum - tail(old)) % 281474976710656
  end
  if ARGV[at + 2] ~= '' then
    rows = rows + 1
    sum = (sum + tail(ARGV[at + 2])) % 281474976710656
  end
end
redis.call('ZADD', set, 0, ARGV[4] .. string.format(' %.0f %.0f', rows, sum))
redis.call('ZREM', set, ARGV[1])
for at = 5, #ARGV, 3 do
  local old, new = olds[2 + (at - 5) / 3], ARGV[at + 2]
  if old and old ~= new then redis.call('ZREM', set, old) end
  if new ~= '' and old ~= new then redis.call('ZADD', set, 0, new) end
end
return olds";

/// The name of a node's set. The braces keep it in one slot of a Redis cluster.
pub fn set_of(node: &str) -> String {
    format!("holdfast:{{{node}}}:index")
}

/// Whose index the set is, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The data directory that it belongs to.
    pub owner: u128,
    /// The life of the process that writes; 0 while rows are being filled in: such a set is never taken for whole.
    pub writer: u64,
    /// Batches so far.
    pub number: u64,
    /// Rows.
    pub rows: u64,
    /// The sum of their tails.
    pub sum: u64,
}

impl Stamp {
    /// The member.
    pub fn encode(&self) -> Vec<u8> {
        let mut member = self.head();
        member.extend_from_slice(format!(" {} {}", self.rows, self.sum).as_bytes());
        member
    }

    /// The member before rows and sum, which [`WRITE`] computes.
    pub fn head(&self) -> Vec<u8> {
        format!("\0{WORDS} {:032x} {:016x} {}", self.owner, self.writer, self.number).into_bytes()
    }

    /// The stamp that a member is.
    pub fn decode(member: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(member.strip_prefix(b"\0")?).ok()?;
        let mut words = text.strip_prefix(WORDS)?.strip_prefix(' ')?.split(' ');
        let owner = u128::from_str_radix(words.next()?, 16).ok()?;
        let writer = u64::from_str_radix(words.next()?, 16).ok()?;
        let mut number = || words.next()?.parse().ok();
        let stamp = Self { owner, writer, number: number()?, rows: number()?, sum: number()? };
        (words.next().is_none() && stamp.encode() == member).then_some(stamp)
    }

    /// What remains of it when a batch has put `new` in place of `old`.
    pub fn count(&mut self, old: Option<&[u8]>, new: Option<&[u8]>) {
        if let Some(old) = old {
            self.rows = self.rows.saturating_sub(1);
            self.sum = self.sum.wrapping_sub(tail(old)) % (1 << SUM_BITS);
        }
        if let Some(new) = new {
            self.rows += 1;
            self.sum = (self.sum + tail(new)) % (1 << SUM_BITS);
        }
    }
}

/// What a row adds to the sum.
fn tail(member: &[u8]) -> u64 {
    let mut bytes = [0; TAIL];
    bytes.copy_from_slice(&member[member.len() - TAIL..]);
    u64::from_le_bytes(bytes) % (1 << SUM_BITS)
}

/// A member that is no row of this node: foreign, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row in Redis is damaged or was not written by this node")]
pub struct NotARow;

/// The start of a row's member: all of it before the value.
fn start(space: Space, key: &[u8]) -> Vec<u8> {
    let mut start = escaped(space, key);
    start.put_slice(&[0, 1]);
    start
}

fn escaped(space: Space, key: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(key.len() + 16);
    escaped.push(space as u8 + 1);
    for &byte in key {
        escaped.push(byte);
        if byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped
}

/// A row's member.
pub fn row(salt: u64, space: Space, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut member = start(space, key);
    member.reserve(value.len() + TAIL);
    member.extend_from_slice(value);
    let tail = xxh3_64_with_seed(&member, salt);
    member.put_u64_le(tail);
    member
}

/// Key (behind the byte of its space) and value of a row.
pub fn read(salt: u64, member: &[u8]) -> Result<(Space, Bytes, Bytes), NotARow> {
    let (signed, tail) = member.split_at_checked(member.len().saturating_sub(TAIL)).ok_or(NotARow)?;
    if tail != xxh3_64_with_seed(signed, salt).to_le_bytes() {
        return Err(NotARow);
    }
    let (&first, rest) = signed.split_first().ok_or(NotARow)?;
    let space = Space::ALL.into_iter().find(|space| *space as u8 + 1 == first).ok_or(NotARow)?;
    let mut key = Vec::with_capacity(rest.len().min(256));
    let mut at = 0;
    loop {
        match (rest.get(at), rest.get(at + 1)) {
            (Some(0), Some(0xff)) => {
                key.push(0);
                at += 2;
            }
            (Some(0), Some(1)) => break,
            (Some(0), _) | (None, _) => return Err(NotARow),
            (Some(&byte), _) => {
                key.push(byte);
                at += 1;
            }
        }
    }
    Ok((space, key.into(), Bytes::copy_from_slice(&rest[at + 2..])))
}

/// Both ends of the range that holds a key's row alone.
pub fn only(space: Space, key: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let start = start(space, key);
    (bound(b'[', &start), bound(b'(', &behind(&start)))
}

/// Both ends of the range of the rows with `from <= key < to`; an empty `to` has no upper end.
pub fn between(space: Space, from: &[u8], to: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let end = if to.is_empty() { vec![space as u8 + 2] } else { escaped(space, to) };
    (bound(b'[', &escaped(space, from)), bound(b'(', &end))
}

/// The lower end of what stands behind a key.
pub fn after(space: Space, key: &[u8]) -> Vec<u8> {
    bound(b'[', &behind(&start(space, key)))
}

fn bound(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(1 + bytes.len());
    bound.push(kind);
    bound.extend_from_slice(bytes);
    bound
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn rows_read_back_and_stand_in_the_order_of_their_keys(
            one in keys(), other in keys(), value in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let (a, b) = (row(7, Space::Records, &one, &value), row(7, Space::Records, &other, b""));
            prop_assert_eq!(read(7, &a), Ok((Space::Records, one.clone().into(), value.clone().into())));
            if one != other {
                prop_assert_eq!(a < b, one < other);
            }
            let holds = |(low, high): &(Vec<u8>, Vec<u8>), member: &[u8]| &low[1..] <= member && member < &high[1..];
            prop_assert!(holds(&only(Space::Records, &one), &a));
            prop_assert_eq!(holds(&only(Space::Records, &one), &b), one == other);
            prop_assert_eq!(holds(&between(Space::Records, &other, b""), &a), one >= other);
            if !other.is_empty() {
                prop_assert_eq!(holds(&between(Space::Records, b"", &other), &a), one < other);
            }
            prop_assert_eq!(after(Space::Records, &one)[1..] <= b[..], other > one);
            prop_assert!(!holds(&between(Space::Bodies, b"", b""), &a));
        }
    }

    #[test]
    fn a_changed_or_foreign_row_is_none() {
        let member = row(7, Space::Bodies, b"key", b"value");
        assert!(read(8, &member).is_err(), "another node's salt");
        for at in 0..member.len() {
            let mut other = member.clone();
            other[at] ^= 1;
            assert_eq!(read(7, &other), Err(NotARow));
            assert_eq!(read(7, &member[..at]), Err(NotARow));
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let member = row(1, Space::Bodies, b"a\0b", b"v");
        assert_eq!(hex(&member), "026100ff62000176 f06b1b7a93a15977".replace(' ', ""));
        let stamp = Stamp { owner: 10, writer: 11, number: 12, rows: 13, sum: 14 };
        let text = "holdfast-index 1 0000000000000000000000000000000a 000000000000000b 12 13 14";
        assert_eq!(stamp.encode(), format!("\0{text}").into_bytes());
        assert_eq!(Stamp::decode(&stamp.encode()), Some(stamp));
        for bad in
            ["\0holdfast-index 2 0a 0b 1 2 3", "\0holdfast-index 1 0a 0b 1 2 3", "", "\0", &format!("\0{text} 1")]
        {
            assert_eq!(Stamp::decode(bad.as_bytes()), None, "{bad:?}");
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
