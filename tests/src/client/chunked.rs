//! Bodies in signed chunks with a trailer (S3 API reference, "Signature calculations for the Authorization header:
//! transferring payload in multiple chunks"), sound or tampered with after they were signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::sign::{REGION, Signer, mac, stamp};

/// The payload hash of such a body.
pub const CHUNKED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

/// Bytes of a chunk; more than the 8 KiB that S3 asks for.
const CHUNK: usize = 16 << 10;

/// What somebody on the way does to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// Nothing.
    Nothing,
    /// Changes a byte.
    Data,
    /// Changes the signature of a chunk.
    ChunkSignature,
    /// Leaves the last chunk of data out.
    LostChunk,
    /// Exchanges two chunks.
    Order,
    /// Changes the checksum in the trailer.
    Trailer,
    /// Changes the trailer's signature.
    TrailerSignature,
}

impl Tamper {
    /// All that must be noticed.
    pub const ALL: [Self; 6] =
        [Self::Data, Self::ChunkSignature, Self::LostChunk, Self::Order, Self::Trailer, Self::TrailerSignature];
}

impl Signer {
    /// `body` in chunks that continue from the `seed` signature of the request's head, signed at `now`.
    pub fn chunks(&self, seed: &str, body: &[u8], now: std::time::SystemTime, tamper: Tamper) -> Bytes {
        let (day, instant) = stamp(now);
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let empty = hex::encode(Sha256::digest(b""));
        let mut before = seed.to_owned();
        let mut sign = |kind: &str, middle: &str, data: &[u8]| {
            let hash = hex::encode(Sha256::digest(data));
            let text = format!("AWS4-HMAC-SHA256-{kind}\n{instant}\n{scope}\n{before}\n{middle}{hash}");
            before = hex::encode(mac(&self.key, text.as_bytes()));
            before.clone()
        };
        let mut chunks: Vec<Vec<u8>> = Vec::new();
        for (number, data) in body.chunks(CHUNK).chain([&[][..]]).enumerate() {
            let mut signature = sign("PAYLOAD", &format!("{empty}\n"), data);
            let mut data = data.to_vec();
            if number == 0 && tamper == Tamper::ChunkSignature {
                signature = flipped(&signature);
            }
            if number == 0 && tamper == Tamper::Data {
                data[0] ^= 1;
            }
            let end: &[u8] = if data.is_empty() { b"" } else { b"\r\n" };
            let head = format!("{:x};chunk-signature={signature}\r\n", data.len());
            chunks.push([head.as_bytes(), &data, end].concat());
        }
        let last = chunks.len() - 1;
        match tamper {
            Tamper::LostChunk => drop(chunks.remove(last - 1)),
            Tamper::Order => chunks.swap(0, 1),
            _ => {}
        }
        let sum = sum_of(body);
        let signature = sign("TRAILER", "", format!("x-amz-checksum-sha256:{sum}\n").as_bytes());
        let sum = if tamper == Tamper::Trailer { sum_of(b"another body") } else { sum };
        let signature = if tamper == Tamper::TrailerSignature { flipped(&signature) } else { signature };
        let trailer = format!("x-amz-checksum-sha256:{sum}\r\nx-amz-trailer-signature:{signature}\r\n\r\n");
        chunks.push(trailer.into_bytes());
        chunks.concat().into()
    }
}

fn sum_of(body: &[u8]) -> String {
    BASE64.encode(Sha256::digest(body))
}

/// Another signature of the same length.
fn flipped(signature: &str) -> String {
    let first = if signature.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &signature[1..])
}
