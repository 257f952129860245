//! `aws-chunked` bodies: every chunk signed, with signed trailers, and unsigned with a checksum as trailer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::client::hex_sha256;
use super::*;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const FIRST: usize = 8 << 10;

/// A body in the making: the head is signed when it is sent.
#[derive(Clone)]
struct Upload {
    request: Request,
    /// Bytes of each chunk with its signature, if it has one; the last is empty.
    chunks: Vec<(Vec<u8>, Option<String>)>,
    trailer: Vec<(String, String)>,
    trailer_signature: Option<String>,
    /// What the frames themselves look like, where something is wrong with them.
    raw: Option<Vec<u8>>,
}

fn crc32(bytes: &[u8]) -> String {
    STANDARD.encode(crate::checksum::of(holdfast_wire::object::ChecksumAlgorithm::Crc32, bytes))
}

fn body() -> Vec<u8> {
    (0..FIRST + 1000).map(|at| (at % 251) as u8).collect()
}

impl Upload {
    /// As it should be; `kind` is what `x-amz-content-sha256` says.
    fn new(host: &str, kind: &str) -> Self {
        let signed = kind.starts_with("STREAMING-AWS4");
        let with_trailer = kind.ends_with("-TRAILER");
        let body = body();
        let mut request = Request::new("PUT", "/bucket/chunked", host)
            .header("x-amz-content-sha256", kind)
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", &body.len().to_string());
        if with_trailer {
            request = request.header("x-amz-trailer", "x-amz-checksum-crc32");
        }
        let mut upload = Self {
            request: request.sign(),
            chunks: vec![(body[..FIRST].to_vec(), None), (body[FIRST..].to_vec(), None), (Vec::new(), None)],
            trailer: Vec::new(),
            trailer_signature: None,
            raw: None,
        };
        if with_trailer {
            upload.trailer = vec![("x-amz-checksum-crc32".to_owned(), crc32(&body))];
        }
        if signed {
            upload.sign();
        }
        upload
    }

    fn seed(&self) -> String {
        let value = self.request.value("authorization");
        value.rsplit("Signature=").next().unwrap_or_default().to_owned()
    }

    /// Signs the chunks and the trailer as they are now.
    fn sign(&mut self) {
        let scope = format!("{}\n{}", self.request.stamp(), self.request.scope());
        let mut last = self.seed();
        for (bytes, signature) in &mut self.chunks {
            let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{scope}\n{last}\n{EMPTY}\n{}", hex_sha256(bytes));
            last = self.request.signature(&text);
            *signature = Some(last.clone());
        }
        if !self.trailer.is_empty() {
            let lines: String = self.trailer.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
            let text = format!("AWS4-HMAC-SHA256-TRAILER\n{scope}\n{last}\n{}", hex_sha256(lines.as_bytes()));
            self.trailer_signature = Some(self.request.signature(&text));
        }
    }

    fn frames(&self) -> Vec<u8> {
        let mut frames = Vec::new();
        for (bytes, signature) in &self.chunks {
            let signature = signature.as_ref().map(|text| format!(";chunk-signature={text}")).unwrap_or_default();
            frames.extend_from_slice(format!("{:x}{signature}\r\n", bytes.len()).as_bytes());
            frames.extend_from_slice(bytes);
            if !bytes.is_empty() || self.trailer.is_empty() {
                frames.extend_from_slice(b"\r\n");
            }
        }
        for (name, value) in &self.trailer {
            frames.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
        }
        if let Some(signature) = &self.trailer_signature {
            frames.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
        if !self.trailer.is_empty() {
            frames.extend_from_slice(b"\r\n");
        }
        frames
    }

    fn request(&self) -> Request {
        let mut request = self.request.clone();
        request.body = self.raw.clone().unwrap_or_else(|| self.frames());
        request
    }
}

fn spoil(text: &mut Option<String>) {
    let text = text.as_mut().expect("it is signed");
    let other = if text.starts_with('0') { "1" } else { "0" };
    text.replace_range(..1, other);
}

type Change = fn(&mut Upload);

const BROKEN: &[Refusal] = &[(400, "IncompleteBody"), REQUEST];

/// Those of frames, whatever is signed.
const FRAMES: &[(&str, Change, &[Refusal])] = &[
    (
        "broken off in a chunk",
        |u| {
            let frames = u.frames();
            u.raw = Some(frames[..FIRST / 2].to_vec());
        },
        BROKEN,
    ),
    (
        "no last chunk",
        |u| drop(u.chunks.pop()),
        &[(400, "IncompleteBody"), REQUEST, MISMATCH, (400, "MalformedTrailerError")],
    ),
    (
        "a length that is no number",
        |u| {
            let frames = String::from_utf8_lossy(&u.frames()).into_owned();
            u.raw = Some(format!("zz{}", &frames[1..]).into_bytes());
        },
        BROKEN,
    ),
    (
        "a length that is too long",
        |u| {
            let frames = u.frames();
            u.raw = Some([b"ffffffff".to_vec(), frames].concat());
        },
        &[(400, "IncompleteBody"), (400, "EntityTooLarge"), REQUEST],
    ),
    ("not in chunks at all", |u| u.raw = Some(body()), BROKEN),
    (
        "fewer bytes than announced",
        |u| {
            u.chunks.remove(1);
            if u.chunks[0].1.is_some() {
                u.sign();
            }
        },
        &[(400, "IncompleteBody"), (400, "BadDigest")],
    ),
    (
        "more bytes than announced",
        |u| {
            u.chunks[1].0.push(b'!');
            if u.chunks[0].1.is_some() {
                u.sign();
            }
        },
        &[(400, "IncompleteBody"), (400, "BadDigest"), REQUEST],
    ),
    ("announced length changed", |u| u.request.set("x-amz-decoded-content-length", "1"), &[MISMATCH]),
    (
        "announced length dropped",
        |u| u.request.drop("x-amz-decoded-content-length"),
        &[MISMATCH, DENIED, (411, "MissingContentLength"), REQUEST],
    ),
    ("signed as one piece", |u| u.request.set("x-amz-content-sha256", EMPTY), &[MISMATCH]),
    ("not signed at all", |u| u.request.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), &[MISMATCH]),
];

const SIGNED: &[(&str, Change, &[Refusal])] = &[
    ("first chunk's signature", |u| spoil(&mut u.chunks[0].1), &[MISMATCH]),
    ("second chunk's signature", |u| spoil(&mut u.chunks[1].1), &[MISMATCH]),
    ("last chunk's signature", |u| spoil(&mut u.chunks[2].1), &[MISMATCH]),
    ("first chunk's bytes", |u| u.chunks[0].0[0] ^= 1, &[MISMATCH]),
    ("second chunk's bytes", |u| u.chunks[1].0[999] ^= 1, &[MISMATCH]),
    ("chunks swapped", |u| u.chunks.swap(0, 1), &[MISMATCH]),
    (
        "a chunk twice",
        |u| {
            let copy = u.chunks[0].clone();
            u.chunks.insert(1, copy);
        },
        &[MISMATCH],
    ),
    ("a chunk left out", |u| drop(u.chunks.remove(0)), &[MISMATCH]),
    (
        "no chunk is signed",
        |u| u.chunks.iter_mut().for_each(|chunk| chunk.1 = None),
        &[(400, "IncompleteBody"), MISMATCH, REQUEST, DENIED],
    ),
    ("one chunk is not signed", |u| u.chunks[1].1 = None, &[(400, "IncompleteBody"), MISMATCH, REQUEST, DENIED]),
    (
        "broken off in the last chunk's signature",
        |u| {
            let mut frames = u.frames();
            let mark = b";chunk-signature=";
            let at = frames.windows(mark.len()).rposition(|window| window == mark).expect("chunks are signed");
            frames.truncate(at + mark.len() + 20);
            u.raw = Some(frames);
        },
        &[(400, "IncompleteBody"), MISMATCH, (400, "MalformedTrailerError")],
    ),
    (
        "signed from another seed",
        |u| {
            let own = u.request.clone();
            let mut other = own.value("authorization").to_owned();
            let last = if other.pop() == Some('0') { '1' } else { '0' };
            other.push(last);
            u.request.set("authorization", &other);
            u.sign();
            u.request = own;
        },
        &[MISMATCH],
    ),
    (
        "signed with another secret",
        |u| {
            let own = u.request.secret_key.clone();
            u.request.secret_key = "another".to_owned();
            u.sign();
            u.request.secret_key = own;
        },
        &[MISMATCH],
    ),
    (
        "bytes behind the end",
        |u| {
            let mut frames = u.frames();
            frames.extend_from_slice(b"5\r\nhello\r\n");
            u.raw = Some(frames);
        },
        &[(400, "IncompleteBody"), MISMATCH, REQUEST, (400, "MalformedTrailerError")],
    ),
];

const TRAILERS: &[(&str, Change, &[Refusal])] = &[
    (
        "trailer's value",
        |u| {
            u.trailer[0].1 = crc32(b"other");
            if u.trailer_signature.is_some() {
                u.sign();
            }
        },
        &[(400, "BadDigest")],
    ),
    (
        "trailer's value that is none",
        |u| {
            u.trailer[0].1 = "nothing".to_owned();
            if u.trailer_signature.is_some() {
                u.sign();
            }
        },
        &[REQUEST, (400, "BadDigest"), (400, "MalformedTrailerError")],
    ),
    (
        "another trailer than announced",
        |u| {
            u.trailer[0].0 = "x-amz-checksum-sha1".to_owned();
            if u.trailer_signature.is_some() {
                u.sign();
            }
        },
        &[(400, "MalformedTrailerError"), REQUEST],
    ),
    (
        "no trailer",
        |u| {
            let frames = u.frames();
            let text = frames.windows(21).position(|window| window == b"\r\nx-amz-checksum-crc32"[..21].as_ref());
            let end = text.map_or(frames.len(), |at| at + 2);
            u.raw = Some([&frames[..end], b"\r\n"].concat());
        },
        &[(400, "MalformedTrailerError"), MISMATCH, (400, "IncompleteBody"), REQUEST],
    ),
    (
        "trailer not announced",
        |u| u.request.drop("x-amz-trailer"),
        &[MISMATCH, DENIED, REQUEST, (400, "MalformedTrailerError"), MALFORMED],
    ),
    ("another trailer announced", |u| u.request.set("x-amz-trailer", "x-amz-checksum-sha1"), &[MISMATCH]),
];

const SIGNED_TRAILERS: &[(&str, Change, &[Refusal])] = &[
    ("trailer's value alone", |u| u.trailer[0].1 = crc32(b"other"), &[MISMATCH]),
    ("trailer's signature", |u| spoil(&mut u.trailer_signature), &[MISMATCH]),
    (
        "no trailer signature",
        |u| u.trailer_signature = None,
        &[MISMATCH, (400, "MalformedTrailerError"), (400, "IncompleteBody"), REQUEST],
    ),
    (
        "one more trailer",
        |u| u.trailer.push(("x-amz-meta-late".to_owned(), "1".to_owned())),
        &[MISMATCH, REQUEST, (400, "MalformedTrailerError")],
    ),
];

pub async fn tried(stand: &Stand) -> Vec<String> {
    let mut wrong = Vec::new();
    for (way, kind, tables) in [
        ("chunked: signed", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &[FRAMES, SIGNED][..]),
        (
            "chunked with a trailer: signed",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            &[FRAMES, SIGNED, TRAILERS, SIGNED_TRAILERS][..],
        ),
        ("chunked with a trailer, unsigned", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", &[FRAMES, TRAILERS][..]),
    ] {
        let good = Upload::new(&stand.host(), kind);
        let refused = stand.accepts(way, &good.request()).await;
        if refused.is_none() {
            assert_eq!(stand.replica.stored("chunked"), body(), "{way}");
        }
        wrong.extend(refused);
        for (name, change, expected) in tables.iter().copied().flatten() {
            let mut upload = good.clone();
            change(&mut upload);
            let mut request = upload.request();
            // A connection that ends where the body should go on is told by its length alone.
            request.drop("content-length");
            wrong.extend(stand.refuses(way, name, &request, expected).await);
        }
    }
    wrong
}
