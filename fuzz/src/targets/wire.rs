//! What travels between nodes: frames of shared connections, heads of HTTP bodies, framed uploads, and the heads themselves.
//! What was put is taken however it is cut; what was changed is refused or is another whole frame; nobody allocates for
//! bytes that did not come.

use arbitrary::Unstructured;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use holdfast_wire::frame::{Framer, Unframer};
use holdfast_wire::heartbeat::Heartbeat;
use holdfast_wire::request::{Request, Response};
use holdfast_wire::service::Body;
use holdfast_wire::transport::fuzzing::{Frame, Kind, join, split};
use holdfast_wire::transport::{decode, encode};

use super::{Edit, one, wait};
use crate::bounds::measured;

/// The longest that a frame may say it is (`SHARED_MAX` and what stands around it), and room to grow into.
const FRAME: usize = 1 << 20;

fn some(u: &mut Unstructured<'_>, most: usize) -> arbitrary::Result<Bytes> {
    let len = u.int_in_range(0..=most)?;
    Ok(Bytes::copy_from_slice(u.bytes(len.min(u.len()))?))
}

fn pieces(u: &mut Unstructured<'_>, bytes: &[u8]) -> arbitrary::Result<Vec<Bytes>> {
    let size = u.int_in_range(1..=64)?;
    let size = if u.ratio(1, 3)? { bytes.len().max(1) } else { size };
    Ok(bytes.chunks(size).map(Bytes::copy_from_slice).collect())
}

/// The target.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let _ = match u.int_in_range(0..=3).unwrap_or(0) {
        0 => shared(&mut u),
        1 => alone(&mut u),
        2 => uploads(&mut u),
        _ => heads(&mut u),
    };
}

fn shared(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    const KINDS: [Kind; 8] =
        [Kind::Ask, Kind::Answer, Kind::Refusal, Kind::TooLong, Kind::Cancel, Kind::GoAway, Kind::Ping, Kind::Pong];
    let (mut frames, mut bytes) = (Vec::new(), BytesMut::new());
    for _ in 0..u.int_in_range(0..=4)? {
        let (path, head, payload) = (some(u, 40)?, some(u, 80)?, some(u, 80)?);
        let frame = Frame { kind: *one(u, &KINDS)?, id: u.arbitrary()?, path, head, payload };
        frame.put(&mut bytes);
        frames.push(frame);
    }
    let mut bytes = bytes.to_vec();
    let sound = bytes.clone();
    let count = u.int_in_range(0..=2)?;
    for _ in 0..count {
        Edit::of(u, bytes.len())?.apply(&mut bytes);
    }
    let pieces = pieces(u, &bytes)?;
    let ((taken, broken, left), held) = measured(|| {
        let (mut buffer, mut taken, mut broken) = (BytesMut::new(), Vec::new(), false);
        'all: for piece in &pieces {
            buffer.extend_from_slice(piece);
            loop {
                match Frame::take(&mut buffer) {
                    Ok(Some(frame)) => taken.push(frame),
                    Ok(None) => break,
                    Err(_) => {
                        broken = true;
                        break 'all;
                    }
                }
            }
        }
        (taken, broken, buffer.to_vec())
    });
    assert!(held <= FRAME + 8 * bytes.len(), "{held} bytes for {}", bytes.len());
    assert!(
        bytes != sound || taken == frames && !broken && left.is_empty(),
        "sound frames do not come back: {bytes:?}"
    );
    // Whatever was taken is exactly what stood there, byte for byte.
    let mut again = BytesMut::new();
    taken.iter().for_each(|frame| frame.put(&mut again));
    assert!(bytes.starts_with(&again), "a frame is not what stood there: {bytes:?}");
    assert!(broken || again.len() + left.len() == bytes.len(), "bytes went missing: {bytes:?}");
    Ok(())
}

fn alone(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (head, payload) = (some(u, 60)?, some(u, 60)?);
    let joined = wait(join(&head, Body::from(payload.clone())).collect(1 << 20)).expect("nothing failed");
    let mut bytes = joined.to_vec();
    let count = u.int_in_range(0..=2)?;
    for _ in 0..count {
        Edit::of(u, bytes.len())?.apply(&mut bytes);
    }
    let pieces = pieces(u, &bytes)?;
    let told = if u.arbitrary()? { Some(bytes.len() as u64) } else { None };
    let stream = futures::stream::iter(pieces.into_iter().map(Ok)).boxed();
    let (answer, held) = measured(|| {
        wait(async {
            let (head, rest) = split(Body { len: told, stream }).await?;
            Ok::<_, holdfast_wire::error::CallError>((head, rest.collect(1 << 20).await?))
        })
    });
    assert!(held <= (64 << 10) + 16 * bytes.len(), "{held} bytes for {}", bytes.len());
    let len = bytes.get(..4).map(|len| u32::from_le_bytes(len.try_into().expect("four bytes")) as usize);
    let there = len.and_then(|len| Some((bytes.get(4..4 + len)?, &bytes[4 + len..])));
    match (answer, there) {
        (Ok((head, rest)), Some((right, behind))) => {
            assert_eq!((&*head, &*rest), (right, behind));
        }
        (Ok(_), None) => panic!("a head that did not come: {bytes:?}"),
        (Err(error), Some(_)) => panic!("{error}: {bytes:?}"),
        (Err(_), None) => assert_ne!(bytes, joined, "a sound body is refused"),
    }
    Ok(())
}

fn uploads(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut chunks = Vec::new();
    for _ in 0..u.int_in_range(0..=3)? {
        chunks.push(some(u, 100)?);
    }
    let framer = Framer::new(futures::stream::iter(chunks.clone().into_iter().map(Ok)));
    let sound: Vec<u8> = wait(framer.map(|piece| piece.expect("nothing failed")).collect::<Vec<_>>()).concat();
    let mut bytes = sound.clone();
    let count = u.int_in_range(0..=2)?;
    for _ in 0..count {
        Edit::of(u, bytes.len())?.apply(&mut bytes);
    }
    let pieces = pieces(u, &bytes)?;
    let stream = futures::stream::iter(pieces.into_iter().map(Ok)).boxed();
    let (came, held) = measured(|| wait(Unframer::new(stream).collect::<Vec<_>>()));
    assert!(held <= (64 << 10) + 64 * bytes.len(), "{held} bytes for {}", bytes.len());
    match came.into_iter().collect::<Result<Vec<_>, _>>() {
        // Bytes behind the end frame are another matter: the connection's.
        Ok(came) => {
            assert!(bytes.starts_with(&sound) || came.concat() != chunks.concat(), "taken, though changed: {bytes:?}")
        }
        Err(error) => assert!(!bytes.starts_with(&sound), "{error}: {bytes:?}"),
    }
    Ok(())
}

/// Whatever bytes: what is decoded is encoded and decoded to the same.
fn heads(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    fn round<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        let (decoded, held) = measured(|| decode::<T>(bytes));
        // A vector of unknown length is given room for what a claimed count says, up to serde's own limit of 1 MiB.
        assert!(held <= (4 << 20) + 256 * bytes.len(), "{held} bytes for {}", bytes.len());
        if let Ok(value) = decoded {
            assert_eq!(decode::<T>(&encode(&value)).as_ref(), Ok(&value));
        }
    }
    let which = u.int_in_range(0..=2)?;
    let bytes = u.bytes(u.len())?;
    match which {
        0 => round::<Request>(bytes),
        1 => round::<Response>(bytes),
        _ => round::<Heartbeat>(bytes),
    }
    Ok(())
}
