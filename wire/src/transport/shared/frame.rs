//! What travels on a shared connection, and in which bytes.
//!
//! ```text
//! length of the rest u32 LE | kind u8 | id u32 LE | path length u8 | path | head length u32 LE | head | payload
//! ```
//! Only requests have a path.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// The longest head and payload together; what is longer gets a connection of its own.
pub const SHARED_MAX: usize = 256 << 10;
/// Length, kind, id, and the lengths of path and head.
const PREFIX: usize = 4 + 1 + 4 + 1 + 4;
/// Nothing longer is accepted: the largest head and payload, and the longest path.
const REST_MAX: usize = PREFIX + SHARED_MAX + 255;
/// Frames are gathered up to so many bytes for one write.
const GATHER: usize = 128 << 10;
/// Bytes asked for with one read.
const READ: usize = 64 << 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Ask,
    /// Its answer.
    Answer,
    /// Its refusal: the head is a [`CallError`](crate::error::CallError).
    Refusal,
    /// The answer is too long for a shared connection: ask again on one of your own.
    TooLong,
    /// Nobody waits for the answer any more.
    Cancel,
    /// No new requests, please: the process is stopping.
    GoAway,
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Which request it is or belongs to.
    pub id: u32,
    /// Of requests.
    pub path: Bytes,
    /// The head.
    pub head: Bytes,
    /// The payload.
    pub payload: Bytes,
}

impl Frame {
    /// A frame of nothing but its kind and id.
    pub fn bare(kind: Kind, id: u32) -> Self {
        Self { kind, id, path: Bytes::new(), head: Bytes::new(), payload: Bytes::new() }
    }

    /// Bytes on the wire.
    pub fn size(&self) -> usize {
        PREFIX + self.path.len() + self.head.len() + self.payload.len()
    }

    /// Appends it to what is to be written.
    pub fn put(&self, into: &mut BytesMut) {
        into.reserve(self.size());
        into.put_u32_le((self.size() - 4) as u32);
        into.put_u8(match self.kind {
            Kind::Ask => 1,
            Kind::Answer => 2,
            Kind::Refusal => 3,
            Kind::TooLong => 4,
            Kind::Cancel => 5,
            Kind::GoAway => 6,
            Kind::Ping => 7,
            Kind::Pong => 8,
        });
        into.put_u32_le(self.id);
        into.put_u8(self.path.len() as u8);
        into.put_slice(&self.path);
        into.put_u32_le(self.head.len() as u32);
        into.put_slice(&self.head);
        into.put_slice(&self.payload);
    }

    /// The first frame of `buffer`, if all of it is there.
    pub fn take(buffer: &mut BytesMut) -> io::Result<Option<Self>> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a broken frame on a shared connection");
        if buffer.len() < 4 {
            return Ok(None);
        }
        let rest = u32::from_le_bytes(buffer[..4].try_into().expect("4 bytes")) as usize;
        if !(PREFIX - 4..=REST_MAX).contains(&rest) {
            return Err(broken());
        }
        if buffer.len() < 4 + rest {
            buffer.reserve(4 + rest - buffer.len());
            return Ok(None);
        }
        let mut frame = buffer.split_to(4 + rest).freeze();
        frame.advance(4);
        let kind = match frame.get_u8() {
            1 => Kind::Ask,
            2 => Kind::Answer,
            3 => Kind::Refusal,
            4 => Kind::TooLong,
            5 => Kind::Cancel,
            6 => Kind::GoAway,
            7 => Kind::Ping,
            8 => Kind::Pong,
            _ => return Err(broken()),
        };
        let id = frame.get_u32_le();
        let path = usize::from(frame.get_u8());
        if frame.len() < path + 4 {
            return Err(broken());
        }
        let path = frame.split_to(path);
        let head = frame.get_u32_le() as usize;
        if frame.len() < head {
            return Err(broken());
        }
        let head = frame.split_to(head);
        Ok(Some(Self { kind, id, path, head, payload: frame }))
    }
}

/// Where frames are put to be written. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    frames: mpsc::UnboundedSender<Frame>,
    bytes: std::sync::Arc<AtomicUsize>,
}

/// What an [`Outbox`] holds.
pub struct Outgoing {
    frames: mpsc::UnboundedReceiver<Frame>,
    bytes: std::sync::Arc<AtomicUsize>,
}

/// A way out for frames.
pub fn outbox() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let bytes = std::sync::Arc::new(AtomicUsize::new(0));
    (Outbox { frames: sender, bytes: bytes.clone() }, Outgoing { frames: receiver, bytes })
}

impl Outbox {
    /// Queues a frame; whether the connection still stands.
    pub fn put(&self, frame: Frame) -> bool {
        self.bytes.fetch_add(frame.size(), Ordering::Relaxed);
        self.frames.send(frame).is_ok()
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Outgoing {
    /// Writes what is put, as much as there is at a time; returns once every [`Outbox`] is gone and all is written.
    pub async fn write_to(mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let (mut batch, mut buffer) = (Vec::new(), BytesMut::new());
        while self.frames.recv_many(&mut batch, 256).await > 0 {
            // Whoever is about to ask does so now, and all travel in one segment. Answers come in batches by themselves.
            if batch.iter().any(|frame| frame.kind == Kind::Ask) {
                tokio::task::yield_now().await;
            }
            while let Ok(frame) = self.frames.try_recv() {
                batch.push(frame);
            }
            for frame in batch.drain(..) {
                frame.put(&mut buffer);
                self.bytes.fetch_sub(frame.size(), Ordering::Relaxed);
                if buffer.len() >= GATHER {
                    to.write_all(&buffer).await?;
                    buffer.clear();
                }
            }
            to.write_all(&buffer).await?;
            to.flush().await?;
            match buffer.capacity() > 2 * GATHER {
                true => buffer = BytesMut::new(),
                false => buffer.clear(),
            }
        }
        to.shutdown().await
    }
}

/// Reads frames.
pub struct Incoming<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads from `from`.
    pub fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::new() }
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(READ);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        let kinds =
            [Kind::Ask, Kind::Answer, Kind::Refusal, Kind::TooLong, Kind::Cancel, Kind::GoAway, Kind::Ping, Kind::Pong];
        let bytes = |max| prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from);
        (prop::sample::select(kinds.to_vec()), any::<u32>(), bytes(20), bytes(200), bytes(400))
            .prop_map(|(kind, id, path, head, payload)| Frame { kind, id, path, head, payload })
    }

    proptest! {
        #[test]
        fn what_was_put_is_taken_however_it_is_cut(frames in prop::collection::vec(any_frame(), 0..8), cut in 1usize..99) {
            let mut all = BytesMut::new();
            frames.iter().for_each(|frame| frame.put(&mut all));
            let (mut buffer, mut taken) = (BytesMut::new(), Vec::new());
            for piece in all.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = Frame::take(&mut buffer).unwrap() {
                    taken.push(frame);
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(taken, frames);
        }

        #[test]
        fn nothing_makes_it_panic_or_hoard(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::take(&mut buffer) {}
            prop_assert!(buffer.capacity() <= 2 * REST_MAX);
        }
    }
}
