//! Bodies that identify themselves: from any of them, whole or in part, a reader can tell the write that made it and
//! whether each byte is right.
//!
//! ```text
//! "HFBODY01" | body id u64 LE | length of the whole body u64 LE | SHA-256 of what follows | pseudo-random bytes
//! ```
//! A body shorter than this head is made of its id's pseudo-random bytes alone.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::rng::Rng;

const MAGIC: &[u8; 8] = b"HFBODY01";
const HEAD: usize = 8 + 8 + 8 + 32;

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The reader was told another length.
    #[error("{got} bytes instead of {want}")]
    Length {
        /// Bytes expected.
        want: u64,
        /// Bytes received.
        got: u64,
    },
    /// The head is not one of ours.
    #[error("no body of this test")]
    NotOurs,
    /// The head names another body.
    #[error("body {got} instead of {want}")]
    Other {
        /// Id expected.
        want: u64,
        /// Id found.
        got: u64,
    },
    /// The hash in the head is not that of the bytes.
    #[error("body {id}: wrong bytes")]
    Hash {
        /// Id of the body.
        id: u64,
    },
}

/// The body with this id and length.
pub fn make(id: u64, len: usize) -> Bytes {
    if len < HEAD {
        return Rng::new(id).bytes(len).into();
    }
    let payload = Rng::new(id).bytes(len - HEAD);
    let mut body = Vec::with_capacity(len);
    body.extend_from_slice(MAGIC);
    body.extend_from_slice(&id.to_le_bytes());
    body.extend_from_slice(&(len as u64).to_le_bytes());
    body.extend_from_slice(&Sha256::digest(&payload));
    body.extend_from_slice(&payload);
    body.into()
}

/// Checks a whole body against the id under which it was announced, trusting only the bytes.
pub fn verify(id: u64, body: &[u8]) -> Result<(), BodyFault> {
    if body.len() < HEAD {
        let want = Rng::new(id).bytes(body.len());
        return if want == body { Ok(()) } else { Err(BodyFault::Hash { id }) };
    }
    if &body[..8] != MAGIC {
        return Err(BodyFault::NotOurs);
    }
    let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"));
    if number(8) != id {
        return Err(BodyFault::Other { want: id, got: number(8) });
    }
    if number(16) != body.len() as u64 {
        return Err(BodyFault::Length { want: number(16), got: body.len() as u64 });
    }
    if Sha256::digest(&body[HEAD..]).as_slice() != &body[24..HEAD] {
        return Err(BodyFault::Hash { id });
    }
    Ok(())
}

/// Checks a part of the body with this id and whole length.
pub fn verify_range(id: u64, whole: usize, first: usize, part: &[u8]) -> Result<(), BodyFault> {
    let body = make(id, whole);
    let end = first + part.len();
    if end > whole {
        return Err(BodyFault::Length { want: whole as u64, got: end as u64 });
    }
    if &body[first..end] == part { Ok(()) } else { Err(BodyFault::Hash { id }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_told_from_every_other_and_from_a_damaged_one() {
        for len in [0, 1, HEAD - 1, HEAD, HEAD + 1, 4096] {
            let body = make(7, len);
            assert_eq!(body.len(), len);
            assert_eq!(verify(7, &body), Ok(()));
            for at in 0..len.min(200) {
                let mut bad = body.to_vec();
                bad[at] ^= 1;
                assert!(verify(7, &bad).is_err(), "length {len}, byte {at}");
            }
            if len > 8 {
                assert!(verify(8, &body).is_err());
                assert!(verify(7, &body[..len - 1]).is_err() || len <= HEAD);
                assert_eq!(verify_range(7, len, 3, &body[3..len - 2]), Ok(()));
                assert!(verify_range(7, len, 2, &body[3..len - 2]).is_err());
            }
        }
    }
}
