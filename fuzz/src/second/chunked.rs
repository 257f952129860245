//! `aws-chunked` bodies, made and read. Amazon S3 API reference, "Signature calculations for the authorization header:
//! transferring payload in multiple chunks" and its page about trailing headers.

use super::sigv4::{Scope, sha256};

/// Checksums that a trailer can have.
const CHECKSUMS: [&str; 10] =
    ["crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256", "sha512", "xxhash64", "xxhash3", "xxhash128"];

/// How a body is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`
    Signed,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`
    SignedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`
    UnsignedTrailer,
    /// Not in chunks, its hash under the signature.
    Hashed,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Signed, Self::SignedTrailer, Self::UnsignedTrailer, Self::Hashed];

    /// What `x-amz-content-sha256` says.
    pub fn payload(self, body: &[u8]) -> String {
        match self {
            Self::Signed => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Self::SignedTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            Self::UnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
            Self::Hashed => sha256(body),
        }
    }

    /// Whether every chunk has a signature.
    fn signs(self) -> bool {
        matches!(self, Self::Signed | Self::SignedTrailer)
    }

    /// Whether a trailer follows.
    pub fn trails(self) -> bool {
        matches!(self, Self::SignedTrailer | Self::UnsignedTrailer)
    }
}

/// What the chunks of one body hang on.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The mode.
    pub mode: Mode,
    /// Who signs.
    pub scope: Scope,
    /// The signature of the head.
    pub seed: String,
    /// The trailer's name.
    pub trailer: &'static str,
}

impl Chain {
    fn chunk(&self, last: &str, bytes: &[u8]) -> String {
        let (time, scope, nothing) = (&self.scope.time, self.scope.text(), sha256(b""));
        self.scope.sign(&format!("AWS4-HMAC-SHA256-PAYLOAD\n{time}\n{scope}\n{last}\n{nothing}\n{}", sha256(bytes)))
    }

    fn closing(&self, last: &str, value: &str) -> String {
        let (time, scope) = (&self.scope.time, self.scope.text());
        let hash = sha256(format!("{}:{value}\n", self.trailer).as_bytes());
        self.scope.sign(&format!("AWS4-HMAC-SHA256-TRAILER\n{time}\n{scope}\n{last}\n{hash}"))
    }

    /// A body in these chunks; `checksum`: the trailer's value.
    pub fn encode(&self, chunks: &[&[u8]], checksum: &str) -> Vec<u8> {
        if self.mode == Mode::Hashed {
            return chunks.concat();
        }
        let (mut body, mut last) = (Vec::new(), self.seed.clone());
        for bytes in chunks.iter().copied().filter(|bytes| !bytes.is_empty()).chain([&[][..]]) {
            body.extend_from_slice(format!("{:x}", bytes.len()).as_bytes());
            if self.mode.signs() {
                last = self.chunk(&last, bytes);
                body.extend_from_slice(format!(";chunk-signature={last}").as_bytes());
            }
            body.extend_from_slice(b"\r\n");
            body.extend_from_slice(bytes);
            if !bytes.is_empty() || !self.mode.trails() {
                body.extend_from_slice(b"\r\n");
            }
        }
        if self.mode.trails() {
            body.extend_from_slice(format!("{}:{checksum}\r\n", self.trailer).as_bytes());
            if self.mode.signs() {
                let signature = self.closing(&last, checksum);
                body.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
            }
            body.extend_from_slice(b"\r\n");
        }
        body
    }

    /// The bytes in a body, and what its trailer says; `None` if anything about it is wrong. `hash`: of a body in one piece.
    ///
    /// Nothing signs how the length of a chunk is written, nor spaces around a trailer's value and how its lines end. To s3s
    /// whatever stands behind a length's digits means nothing, and of several signatures of the trailer the last one counts.
    pub fn decode(&self, body: &[u8], hash: &str) -> Option<(Vec<u8>, Option<String>)> {
        if self.mode == Mode::Hashed {
            return (sha256(body) == hash).then(|| (body.to_vec(), None));
        }
        let (mut rest, mut all, mut last) = (body, Vec::new(), self.seed.clone());
        loop {
            let line;
            (line, rest) = line_of(rest)?;
            let line = String::from_utf8_lossy(line);
            let (size, signature) = match line.split_once(";chunk-signature=") {
                Some((size, signature)) => (size, Some(signature)),
                None => (&*line, None),
            };
            let digits: String = size.chars().take_while(char::is_ascii_hexdigit).take(8).collect();
            let size = usize::from_str_radix(&digits, 16).ok()?;
            let bytes = rest.get(..size)?;
            if self.mode.signs() {
                last = self.chunk(&last, bytes);
            }
            if signature.is_some() != self.mode.signs()
                || signature.is_some_and(|given| !given.eq_ignore_ascii_case(&last))
            {
                return None;
            }
            all.extend_from_slice(bytes);
            rest = &rest[size..];
            if size == 0 {
                break;
            }
            rest = rest.strip_prefix(b"\r\n")?;
        }
        let tail = String::from_utf8(rest.to_vec()).ok()?;
        if !self.mode.trails() {
            return matches!(&*tail, "" | "\r\n").then_some((all, None));
        }
        let lines: Vec<&str> = tail.split('\n').map(|line| line.trim_matches([' ', '\t', '\r'])).collect();
        let (mut values, mut signatures) = (Vec::new(), Vec::new());
        for line in lines.into_iter().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            match name.trim().to_ascii_lowercase() {
                name if name == self.trailer => values.push(value.trim().to_owned()),
                name if name == "x-amz-trailer-signature" && self.mode.signs() => signatures.push(value.trim()),
                name if CHECKSUMS.iter().any(|of| name.strip_prefix("x-amz-checksum-") == Some(of)) => return None,
                _ if self.mode.signs() => return None,
                // It is under no signature, and means nothing.
                _ => {}
            }
        }
        let [value] = &values[..] else { return None };
        if self.mode.signs() && !signatures.last()?.eq_ignore_ascii_case(&self.closing(&last, value)) {
            return None;
        }
        Some((all, Some(value.clone())))
    }
}

fn line_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read_and_nothing_else() {
        let scope = Scope {
            access: "a".to_owned(),
            secret: "s".to_owned(),
            time: "20130524T000000Z".to_owned(),
            region: "r".to_owned(),
            service: "s3".to_owned(),
        };
        for mode in Mode::ALL {
            let chain = Chain { mode, scope: scope.clone(), seed: "0".repeat(64), trailer: "x-amz-checksum-crc32" };
            let body = chain.encode(&[b"hold", b"fast"], "AAAA");
            let value = mode.trails().then(|| "AAAA".to_owned());
            assert_eq!(chain.decode(&body, &sha256(b"holdfast")), Some((b"holdfast".to_vec(), value)));
            let mut wrong = body.clone();
            let at = wrong.windows(4).position(|window| window == b"hold").unwrap();
            wrong[at] ^= 1;
            assert!(chain.decode(&wrong, &sha256(b"holdfast")).is_none() || mode == Mode::UnsignedTrailer);
            assert_eq!(chain.decode(&body[..body.len().saturating_sub(9)], &sha256(b"holdfast")), None);
        }
    }
}
