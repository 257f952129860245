//! Bodies in every mode, in any chunks, delivered in any pieces: sound ones come out the same; one that was changed leaves
//! no object, unless a second reading says that it still means the same.

use arbitrary::Unstructured;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::sigv4::{scope, sign};
use super::{Edit, one};
use crate::second::chunked::{Chain, Mode};
use crate::second::http::Request;
use crate::second::sigv4::sha256;
use crate::stand::{Answer, Stand};

const TRAILER: &str = "x-amz-checksum-crc32";

/// CRC-32 as IEEE 802.3 has it, bit by bit.
fn crc32(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    });
    STANDARD.encode((!sum).to_be_bytes())
}

struct Case {
    mode: Mode,
    body: Vec<u8>,
    /// Where chunks end.
    chunks: Vec<usize>,
    edits: Vec<Edit>,
    /// How much the told length differs.
    lie: i8,
    /// Where the network cuts.
    cuts: Vec<usize>,
}

fn places(u: &mut Unstructured<'_>, most: usize, len: usize) -> arbitrary::Result<Vec<usize>> {
    let count = u.int_in_range(0..=most)?;
    let mut places: Vec<usize> = (0..count).map(|_| u.int_in_range(0..=len)).collect::<arbitrary::Result<_>>()?;
    places.sort_unstable();
    Ok(places)
}

fn case(u: &mut Unstructured<'_>) -> arbitrary::Result<Case> {
    let mode = *one(u, &Mode::ALL)?;
    let lie = if u.ratio(1, 8)? { u.arbitrary()? } else { 0 };
    let count = u.int_in_range(0..=2)?;
    // Where edits and cuts may fall is known only roughly.
    let edits = (0..count).map(|_| Edit::of(u, 700)).collect::<arbitrary::Result<_>>()?;
    let cuts = places(u, 6, 1400)?;
    let times = *one(u, &[1, 1, 1, 7, 300])?;
    let body = u.bytes(u.len().min(300))?.repeat(times);
    let chunks = places(u, 4, body.len())?;
    Ok(Case { mode, body, chunks, edits, lie, cuts })
}

/// `bytes`, cut at these places.
fn cut<'a>(mut bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let (mut pieces, mut done) = (Vec::new(), 0);
    for place in places {
        let (piece, rest) = bytes.split_at((place - done).min(bytes.len()));
        pieces.push(piece);
        (bytes, done) = (rest, *place);
    }
    pieces.push(bytes);
    pieces
}

/// The target.
pub fn run(data: &[u8]) {
    let Ok(case) = case(&mut Unstructured::new(data)) else { return };
    let scope = scope(0);
    let (mode, hash) = (case.mode, sha256(&case.body));
    let mut request = Request { method: "PUT".to_owned(), target: "/bucket/k".to_owned(), ..Request::default() };
    request.add("host", "stand");
    let told = case.body.len() as i64 + i64::from(case.lie);
    if mode != Mode::Hashed {
        request.add("content-encoding", "aws-chunked");
        request.add("x-amz-decoded-content-length", &told.to_string());
    }
    if mode.trails() {
        request.add("x-amz-trailer", TRAILER);
    }
    let seed = sign(&mut request, &scope, &mode.payload(&case.body));
    let chain = Chain { mode, scope, seed, trailer: TRAILER };
    let mut body = chain.encode(&cut(&case.body, &case.chunks), &crc32(&case.body));
    let sound = body.clone();
    case.edits.iter().for_each(|edit| edit.apply(&mut body));
    let meant = chain.decode(&body, &hash).filter(|(bytes, value)| {
        let length = mode == Mode::Hashed || bytes.len() as i64 == told;
        length && value.as_ref().is_none_or(|value| *value == crc32(bytes))
    });
    let edited = body != sound || case.lie != 0 && mode != Mode::Hashed;
    request.body = body;
    let bytes = request.bytes();
    let behind_head = bytes.len() - request.body.len();
    let places: Vec<usize> = case.cuts.iter().map(|place| behind_head.saturating_sub(700) + place).collect();
    let ask = |places: &[usize]| {
        Stand::with(|stand| {
            let pieces: Vec<Bytes> = cut(&bytes, places).into_iter().map(Bytes::copy_from_slice).collect();
            let answer = stand.ask_whatever(pieces.into_iter().filter(|piece| !piece.is_empty()));
            let there = !stand.replica().keys().is_empty();
            (answer, there.then(|| stand.replica().stored("k")))
        })
    };
    let judge = |(answer, stored): &(Answer, Option<Bytes>)| {
        let shown = || format!("{mode:?} {answer:?}\n{}", String::from_utf8_lossy(&bytes));
        assert_eq!(stored.is_some(), answer.status == 200, "{}", shown());
        if let Some(stored) = stored {
            let (meant, _) = meant.as_ref().unwrap_or_else(|| panic!("a tampered body was taken: {}", shown()));
            assert!(stored == meant, "other bytes were stored than were meant: {}", shown());
        } else {
            assert!(edited, "a sound body was refused: {}", shown());
            assert!((400..500).contains(&answer.status), "refused as what it is not: {}", shown());
        }
    };
    let (whole, split) = (ask(&[]), ask(&places));
    judge(&whole);
    judge(&split);
    assert_eq!(whole.1.is_some(), split.1.is_some(), "it depends on how the network cut: {bytes:?}");
}
