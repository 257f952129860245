//! Whether a body of signed chunks came with its last, empty one. s3s takes the end of the body for it; then nothing
//! that was signed says that there is no more.

use http::HeaderMap;

/// More than the head of a last chunk, its signature and what may follow.
const TAIL: usize = 128;
const KIND: &[u8] = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNATURE: &[u8] = b";chunk-signature=";
/// Characters of a signature.
const SIGNATURE_HEX: usize = 64;

/// The end of what came so far of a body of signed chunks.
#[derive(Debug, Default)]
pub struct LastChunk(Vec<u8>);

impl LastChunk {
    /// `None`: the body does not consist of signed chunks, or trailers follow them, which s3s demands.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get("x-amz-content-sha256")?;
        (kind.as_bytes() == KIND).then(Self::default)
    }

    /// `bytes` came.
    pub fn moved(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.0.drain(..self.0.len().saturating_sub(TAIL));
    }

    /// Whether what came ends with a last chunk, its signature whole: s3s, which checks that, takes the end of the body for
    /// the end of the chunks even within a chunk's first line.
    pub fn came(&self) -> bool {
        let Some(at) = self.0.windows(SIGNATURE.len()).rposition(|window| window == SIGNATURE) else { return false };
        let signed = self.0.get(at + SIGNATURE.len() + SIGNATURE_HEX..).is_some_and(|rest| rest.starts_with(b"\r\n"));
        let line = self.0[..at].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        signed && !line.is_empty() && line.iter().all(|byte| *byte == b'0')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(body: &str, pieces: usize) -> bool {
        let mut last = LastChunk::default();
        body.as_bytes().chunks(pieces).for_each(|piece| last.moved(piece));
        last.came()
    }

    #[test]
    fn it_is_asked_for_where_chunks_are_signed_and_no_trailer_follows() {
        let asked = |kind: &'static str| {
            let headers = [("x-amz-content-sha256".parse().unwrap(), kind.parse().unwrap())].into_iter().collect();
            LastChunk::of(&headers).is_some()
        };
        assert!(asked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
        assert!(!asked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"));
        assert!(!asked("STREAMING-UNSIGNED-PAYLOAD-TRAILER"));
        assert!(!asked("UNSIGNED-PAYLOAD"));
        assert!(LastChunk::of(&HeaderMap::new()).is_none());
    }

    #[test]
    fn only_an_empty_chunk_is_the_last() {
        let signature = "a".repeat(64);
        let end = format!("0;chunk-signature={signature}\r\n\r\n");
        let data = format!("3e8;chunk-signature={signature}\r\n{}\r\n", "x".repeat(1000));
        let ten = format!("10;chunk-signature={signature}\r\n{}\r\n", "x".repeat(16));
        for pieces in [1, 7, 100, 5000] {
            assert!(came(&end, pieces));
            assert!(came(&format!("{data}{end}"), pieces));
            assert!(came(&format!("{data}00{end}"), pieces));
            assert!(!came(&data, pieces));
            assert!(!came(&ten, pieces));
            assert!(!came("", pieces));
            for cut in 3..=end.len() - 2 {
                assert!(!came(&format!("{data}{}", &end[..end.len() - cut]), pieces), "cut off by {cut}");
            }
        }
    }
}
