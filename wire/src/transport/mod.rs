//! Requests between nodes on authenticated connections: small ones share a connection ([`shared`]), the others have
//! HTTP/1.1 on kept-alive ones. Behind the handshake the connecting side says with one byte which it is.
//!
//! Every request is `POST PATH` with the body `head length u32 LE | head | payload`; answers have the same shape, with
//! status 200, or status 503 and a [`CallError`] as head. Heads are postcard; payloads are raw bytes.

mod client;
mod complaints;
mod remote;
mod server;
mod shared;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CallError;
use crate::service::Body;

pub use client::{Client, Target};
pub use complaints::Complaints;
pub use remote::{CALL, HEARTBEATS, Remote, serve_call, serve_heartbeats};
pub use server::{Handler, Identities, serve};

/// What fuzz targets see of the bytes on connections.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use super::shared::{Frame, Kind};
    pub use super::{join, split};
}

/// The byte behind the handshake: HTTP/1.1 follows.
const ALONE: u8 = b'H';
/// The byte behind the handshake: [`shared`] frames follow.
const SHARED: u8 = b'S';
/// The longest head.
const HEAD_MAX: usize = 64 << 20;
/// Payload chunks up to this size are joined with the head into one write.
const JOIN_MAX: usize = 16 << 10;

/// A head's bytes.
pub fn encode<T: Serialize>(head: &T) -> Bytes {
    postcard::to_allocvec(head).expect("heads are always encodable").into()
}

/// A head from its bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    postcard::from_bytes(bytes).map_err(|error| CallError::Malformed { reason: format!("undecodable head: {error}") })
}

/// Head and payload as one body.
pub fn join(head: &Bytes, payload: Body) -> Body {
    let len = payload.len.map(|len| len + 4 + head.len() as u64);
    let mut prefix = BytesMut::with_capacity(4 + head.len());
    prefix.put_u32_le(head.len() as u32);
    prefix.put_slice(head);
    if payload.len == Some(0) {
        return Body::from(prefix.freeze());
    }
    let mut prefix = Some(prefix);
    let stream = payload.stream.flat_map(move |chunk| {
        let pieces = match (prefix.take(), chunk) {
            (None, chunk) => [Some(chunk), None],
            (Some(mut prefix), Ok(chunk)) if chunk.len() <= JOIN_MAX => {
                prefix.extend_from_slice(&chunk);
                [Some(Ok(prefix.freeze())), None]
            }
            (Some(prefix), chunk) => [Some(Ok(prefix.freeze())), Some(chunk)],
        };
        futures::stream::iter(pieces.into_iter().flatten())
    });
    Body { len, stream: stream.boxed() }
}

/// The head of a body, and the payload behind it.
pub async fn split(mut body: Body) -> Result<(Bytes, Body), CallError> {
    let mut buffer = BytesMut::new();
    let mut wanted = 4;
    loop {
        if buffer.len() >= 4 {
            let head = u32::from_le_bytes(buffer[..4].try_into().expect("4 bytes")) as usize;
            if head > HEAD_MAX {
                return Err(CallError::Malformed { reason: "a head of impossible length".to_owned() });
            }
            wanted = 4 + head;
        }
        if buffer.len() >= wanted {
            break;
        }
        match body.stream.next().await.transpose()? {
            // The common case: everything in one chunk, nothing copied.
            Some(mut chunk) if buffer.is_empty() && chunk.len() >= 4 => {
                let head = u32::from_le_bytes(chunk[..4].try_into().expect("4 bytes")) as usize;
                if chunk.len() >= 4 + head {
                    chunk.advance(4);
                    let head_bytes = chunk.split_to(head);
                    return Ok((head_bytes, rest(body, chunk, 4 + head)));
                }
                buffer.extend_from_slice(&chunk);
            }
            Some(chunk) => buffer.extend_from_slice(&chunk),
            None => return Err(CallError::Unknown { reason: "the body ended within its head".to_owned() }),
        }
    }
    buffer.advance(4);
    let head = buffer.split_to(wanted - 4).freeze();
    Ok((head, rest(body, buffer.freeze(), wanted)))
}

/// The payload: what was read beyond the head, then the rest of the body.
fn rest(body: Body, first: Bytes, head: usize) -> Body {
    let len = body.len.map(|len| len.saturating_sub(head as u64));
    if first.is_empty() {
        return Body { len, stream: body.stream };
    }
    if len == Some(first.len() as u64) {
        return Body::from(first);
    }
    Body { len, stream: futures::stream::once(async move { Ok(first) }).chain(body.stream).boxed() }
}
