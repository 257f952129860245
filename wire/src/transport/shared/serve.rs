//! The accepting side of a shared connection.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::frame::{Frame, Incoming, Kind, SHARED_MAX, outbox};
use crate::error::CallError;
use crate::seam::Connection;
use crate::service::Body;
use crate::transport::{Handler, encode};

/// Requests under way on one connection.
#[derive(Default)]
struct Running(Mutex<HashMap<u32, AbortHandle>>);

/// Gives up what is under way once nobody can hear the answers any more.
struct GiveUp(Arc<Running>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.0.lock().values().for_each(AbortHandle::abort);
    }
}

/// Answers requests until the other side closes; at `stop`, asks it to.
pub async fn serve_shared(
    stream: Box<dyn Connection>,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    let (outbox, outgoing) = outbox();
    let tasks = TaskTracker::new();
    let reading = async {
        let running = Arc::new(Running::default());
        let _give_up = GiveUp(running.clone());
        let mut incoming = Incoming::new(read);
        let mut asked_to_go = false;
        loop {
            let frame = tokio::select! {
                frame = incoming.next() => frame?,
                () = stop.cancelled(), if !asked_to_go => {
                    asked_to_go = true;
                    outbox.put(Frame::bare(Kind::GoAway, 0));
                    continue;
                }
            };
            match frame {
                Some(frame) if frame.kind == Kind::Ask => {
                    let id = frame.id;
                    let mut answering = Box::pin(answer(handler.clone(), frame));
                    // What can be said at once needs no task of its own.
                    if let Poll::Ready(answer) = futures::poll!(answering.as_mut()) {
                        outbox.put(answer);
                        continue;
                    }
                    let (outbox, ended) = (outbox.clone(), running.clone());
                    let mut under_way = running.0.lock();
                    let task = tasks.spawn(async move {
                        outbox.put(answering.await);
                        ended.0.lock().remove(&id);
                    });
                    under_way.insert(id, task.abort_handle());
                }
                Some(frame) if frame.kind == Kind::Cancel => {
                    if let Some(task) = running.0.lock().remove(&frame.id) {
                        task.abort();
                    }
                }
                Some(frame) if frame.kind == Kind::Ping => {
                    outbox.put(Frame::bare(Kind::Pong, frame.id));
                }
                Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "only requests come this way")),
                None => return Ok(()),
            }
        }
    };
    tokio::select! {
        ended = reading => ended,
        written = outgoing.write_to(&mut write) => written,
    }
}

async fn answer(handler: Arc<dyn Handler>, frame: Frame) -> Frame {
    let Frame { id, path, head, payload, .. } = frame;
    let answered = match std::str::from_utf8(&path) {
        Ok(path) => handler.handle(path, head, payload.into()).await,
        Err(_) => Err(CallError::Malformed { reason: "a path that is no text".to_owned() }),
    };
    let whole = match answered {
        Ok((head, body)) => whole(head, body).await,
        Err(error) => Err(error),
    };
    match whole {
        Ok(Some((head, payload))) => Frame { kind: Kind::Answer, id, path: Bytes::new(), head, payload },
        Ok(None) => Frame::bare(Kind::TooLong, id),
        Err(error) => Frame { head: encode(&error), ..Frame::bare(Kind::Refusal, id) },
    }
}

/// The answer with all of its payload, if that fits.
async fn whole(head: Bytes, body: Body) -> Result<Option<(Bytes, Bytes)>, CallError> {
    let fits = |len: u64| head.len() as u64 + len <= SHARED_MAX as u64;
    match body.len {
        Some(0) if fits(0) => Ok(Some((head, Bytes::new()))),
        Some(len) if fits(len) => {
            let payload = body.collect(SHARED_MAX).await?;
            Ok(Some((head, payload)))
        }
        _ => Ok(None),
    }
}
