//! The bytes of a blob's file. Pure.
//!
//! ```text
//! blocks   64 KiB each, back to back; the last may be shorter; none when the blob is empty
//! table    CRC-32C of each block, u32 LE
//! trailer  magic "HFBLOB" 0x00 0x01 | group u32 LE | block size u32 LE | blob id u128 LE | length u64 LE
//!          | created, Unix ms, u64 LE | CRC-32C u32 LE of the table and the trailer up to here
//! ```
//! The CRC of a block runs over `blob id u128 LE | block number u64 LE | bytes`: a block that stands in another place
//! or another blob's file never verifies.

use crc_fast::{CrcAlgorithm, Digest};
use holdfast_wire::id::{BlobId, GroupId};

use super::error::Damage;

/// Bytes of a block.
pub const BLOCK: usize = 64 << 10;
/// Bytes of the trailer.
pub const TRAILER: usize = 52;
/// Bytes of a block's checksum in the table.
const SUM: usize = 4;
/// The last byte is the format's version.
const MAGIC: [u8; 8] = *b"HFBLOB\x00\x01";

/// What the trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The group whose objects may name the blob.
    pub group: GroupId,
    /// The blob.
    pub id: BlobId,
    /// Bytes of the blob.
    pub len: u64,
    /// When it was first written, Unix milliseconds; the same on every copy.
    pub created_ms: u64,
}

/// Blocks of a blob of `len` bytes.
pub fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK as u64)
}

/// Bytes of table and trailer for a blob of `len` bytes.
pub fn footer_len(len: u64) -> u64 {
    blocks(len).saturating_mul(SUM as u64).saturating_add(TRAILER as u64)
}

/// Bytes of the blob in a file of `file_len` bytes, if that can be a blob's file.
pub fn len_in(file_len: u64) -> Option<u64> {
    let body = file_len.checked_sub(TRAILER as u64)?;
    let blocks_in = body.div_ceil((BLOCK + SUM) as u64);
    let len = body.checked_sub(blocks_in * SUM as u64)?;
    (blocks(len) == blocks_in).then_some(len)
}

/// The checksum of block `number`.
pub fn block_sum(id: BlobId, number: u64, bytes: &[u8]) -> u32 {
    let mut digest = seeded(id, number);
    digest.update(bytes);
    digest.finalize() as u32
}

fn seeded(id: BlobId, number: u64) -> Digest {
    let mut seed = [0; 24];
    seed[..16].copy_from_slice(&id.0.to_le_bytes());
    seed[16..].copy_from_slice(&number.to_le_bytes());
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&seed);
    digest
}

/// Takes a blob's bytes in order and makes its footer.
pub struct Summing {
    id: BlobId,
    block: Digest,
    /// Bytes in the current block.
    filled: usize,
    len: u64,
    table: Vec<u8>,
}

impl Summing {
    /// Nothing taken yet.
    pub fn new(id: BlobId) -> Self {
        Self { id, block: seeded(id, 0), filled: 0, len: 0, table: Vec::new() }
    }

    /// Bytes taken.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no bytes were taken.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.block.update(piece);
            self.filled += piece.len();
            bytes = rest;
            if self.filled == BLOCK {
                self.close_block();
            }
        }
    }

    fn close_block(&mut self) {
        self.table.extend_from_slice(&(self.block.finalize() as u32).to_le_bytes());
        self.block = seeded(self.id, (self.table.len() / SUM) as u64);
        self.filled = 0;
    }

    /// The table and, behind it, the trailer.
    pub fn footer(mut self, group: GroupId, created_ms: u64) -> Footer {
        if self.filled > 0 {
            self.close_block();
        }
        let trailer = Trailer { group, id: self.id, len: self.len, created_ms };
        let mut bytes = self.table;
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&trailer.group.0.to_le_bytes());
        bytes.extend_from_slice(&(BLOCK as u32).to_le_bytes());
        bytes.extend_from_slice(&trailer.id.0.to_le_bytes());
        bytes.extend_from_slice(&trailer.len.to_le_bytes());
        bytes.extend_from_slice(&trailer.created_ms.to_le_bytes());
        let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &bytes) as u32;
        bytes.extend_from_slice(&sum.to_le_bytes());
        Footer { trailer, bytes }
    }
}

/// A sound footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    trailer: Trailer,
    bytes: Vec<u8>,
}

impl Footer {
    /// Reads the footer out of the last bytes of a file of `file_len` bytes.
    ///
    /// `Ok(Err(needed))`: `tail` is too short, the last `needed` bytes are wanted.
    pub fn parse(tail: &[u8], file_len: u64) -> Result<Result<Self, usize>, Damage> {
        let len = len_in(file_len).ok_or(Damage::CutOff)?;
        let needed = usize::try_from(footer_len(len)).map_err(|_| Damage::Footer)?;
        let Some(start) = tail.len().checked_sub(needed) else { return Ok(Err(needed)) };
        let bytes = &tail[start..];
        let trailer = &bytes[needed - TRAILER..];
        let (summed, sum) = bytes.split_at(needed - SUM);
        let sound = trailer[..8] == MAGIC
            && crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, summed) as u32 == u32_at(sum, 0)
            && u32_at(trailer, 12) as usize == BLOCK
            && u64_at(trailer, 32) == len;
        if !sound {
            return Err(Damage::Footer);
        }
        let id = u128::from_le_bytes(trailer[16..32].try_into().expect("16 bytes"));
        let trailer =
            Trailer { group: GroupId(u32_at(trailer, 8)), id: BlobId(id), len, created_ms: u64_at(trailer, 40) };
        Ok(Ok(Self { trailer, bytes: bytes.to_vec() }))
    }

    /// What the trailer says.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// The whole footer as it stands in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The checksums of all blocks, as they stand in the file.
    pub fn table(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - TRAILER]
    }

    /// The checksum that block `number` must have.
    pub fn sum(&self, number: u64) -> Option<u32> {
        let at = usize::try_from(number).ok()?.checked_mul(SUM)?;
        (at + SUM <= self.table().len()).then(|| u32_at(&self.bytes, at))
    }

    /// Checks whole blocks that begin with block `first`; the last may be the blob's short last one.
    pub fn check(&self, first: u64, bytes: &[u8]) -> Result<(), Damage> {
        for (number, block) in (first..).zip(bytes.chunks(BLOCK)) {
            if self.sum(number) != Some(block_sum(self.trailer.id, number, block)) {
                return Err(Damage::Block(number));
            }
        }
        Ok(())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: BlobId = BlobId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

    fn summed(pieces: &[&[u8]]) -> Footer {
        let mut summing = Summing::new(ID);
        pieces.iter().for_each(|piece| summing.update(piece));
        summing.footer(GroupId(3), 1234)
    }

    #[test]
    fn a_known_file_stays_as_it_is() {
        let footer = summed(&[b"holdfast"]);
        let hex: String = footer.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let known = "82efe2ea4846424c4f42000103000000000001007766554433221100efcdab8967452301\
                     0800000000000000d2040000000000001d46afd2";
        assert_eq!(hex, known, "the format on disk changed");
    }

    #[test]
    fn a_files_length_tells_the_blobs() {
        let block = BLOCK as u64;
        for len in [0, 1, block - 1, block, block + 1, 7 * block, 7 * block + 5, 5 << 30] {
            assert_eq!(len_in(len + footer_len(len)), Some(len));
        }
        assert_eq!(len_in(0), None);
        assert_eq!(len_in(TRAILER as u64 + 3), None, "a table entry with no block");
    }

    #[test]
    fn a_block_verifies_in_its_own_place_only() {
        let footer = summed(&[&[7; 2 * BLOCK]]);
        assert_ne!(footer.sum(0), footer.sum(1), "equal blocks, other places");
        assert_eq!(footer.check(0, &[7; 2 * BLOCK]), Ok(()));
        assert_eq!(footer.check(1, &[7; 2 * BLOCK]), Err(Damage::Block(2)), "there is no such block");
        assert_ne!(block_sum(ID, 0, b"x"), block_sum(BlobId(1), 0, b"x"));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(data in prop::collection::vec(any::<u8>(), 0..3000), fill in 0..3 * BLOCK, cut in any::<prop::sample::Index>()) {
            let data = [vec![9; fill], data].concat();
            let (a, b) = data.split_at(cut.index(data.len() + 1));
            prop_assert_eq!(summed(&[&data]), summed(&[a, b]));
        }

        #[test]
        fn a_footer_parses_back_from_any_tail_that_is_long_enough(len in 0..3 * BLOCK, more in 0usize..99) {
            let data = vec![5; len];
            let footer = summed(&[&data]);
            let file = [&data[..], footer.bytes()].concat();
            let at = file.len().saturating_sub(footer.bytes().len() + more);
            prop_assert_eq!(Footer::parse(&file[at..], file.len() as u64), Ok(Ok(footer.clone())));
            let short = &file[file.len() - footer.bytes().len() + 1..];
            prop_assert_eq!(Footer::parse(short, file.len() as u64), Ok(Err(footer.bytes().len())));
        }

        #[test]
        fn parsing_is_total(tail in prop::collection::vec(any::<u8>(), 0..200), file_len in any::<u64>()) {
            let _ = Footer::parse(&tail, file_len);
        }
    }
}
