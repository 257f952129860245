//! The connecting side of a shared connection: many requests under way, answers in any order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::frame::{Frame, Incoming, Kind, Outbox, Outgoing, outbox};
use crate::error::CallError;
use crate::seam::Connection;
use crate::transport::decode;

/// A connection on which nothing was heard for so long after something was asked is given up: TCP alone may take very
/// long to find out that the other machine is gone, or there again.
const SILENT_FOR: Duration = Duration::from_millis(1500);
/// How often that is looked at. What has been due for so long is asked for: the other side's process answers even while
/// all its requests wait.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// With more bytes than this waiting to be written, the other side does not keep up.
const WAITING_MAX: usize = 32 << 20;

/// What came back.
pub enum Answered {
    /// Head and payload.
    Here(Bytes, Bytes),
    /// It is too long for a shared connection; the request was handled all the same.
    TooLong,
}

type Waiter = oneshot::Sender<Result<Answered, CallError>>;

/// A connection in use by many. Shared.
pub struct SharedConnection {
    ids: AtomicU32,
    /// `None` once the connection is down.
    waiters: Mutex<Option<HashMap<u32, Waiter>>>,
    outbox: Mutex<Option<Outbox>>,
    retired: AtomicBool,
    /// Since when something is due from the other side.
    due: Mutex<Option<Instant>>,
    down: CancellationToken,
}

impl SharedConnection {
    /// Takes over a connection that has shaken hands; the future drives it and must be polled.
    pub fn new(stream: Box<dyn Connection>) -> (Arc<Self>, impl Future<Output = ()> + Send) {
        let (outbox, outgoing) = outbox();
        let shared = Arc::new(Self {
            ids: AtomicU32::new(0),
            waiters: Mutex::new(Some(HashMap::new())),
            outbox: Mutex::new(Some(outbox)),
            retired: AtomicBool::new(false),
            due: Mutex::new(None),
            down: CancellationToken::new(),
        });
        let (read, write) = tokio::io::split(stream);
        (shared.clone(), shared.drive(read, write, outgoing))
    }

    async fn drive(
        self: Arc<Self>,
        read: ReadHalf<Box<dyn Connection>>,
        mut write: WriteHalf<Box<dyn Connection>>,
        outgoing: Outgoing,
    ) {
        let reading = async {
            let mut incoming = Incoming::new(read);
            while let Ok(Some(frame)) = incoming.next().await {
                self.hear(frame);
                let waited_for = self.waiters.lock().as_ref().is_some_and(|waiters| !waiters.is_empty());
                *self.due.lock() = waited_for.then(Instant::now);
            }
        };
        let writing = async {
            // After the last frame the answers to what was asked may still come.
            if outgoing.write_to(&mut write).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
            () = self.watch() => {}
            () = self.down.cancelled() => {}
        }
        self.retired.store(true, Ordering::Relaxed);
        self.outbox.lock().take();
        for (_, waiter) in self.waiters.lock().take().into_iter().flatten() {
            // Whoever does not wait any more need not know.
            waiter.send(Err(CallError::Unknown { reason: "the connection broke".to_owned() })).ok();
        }
    }

    fn hear(&self, frame: Frame) {
        let answer = match frame.kind {
            Kind::Answer => Ok(Answered::Here(frame.head, frame.payload)),
            Kind::TooLong => Ok(Answered::TooLong),
            Kind::Refusal => Err(decode::<CallError>(&frame.head).unwrap_or_else(|error| error)),
            Kind::GoAway => {
                self.retired.store(true, Ordering::Relaxed);
                return self.close_when_idle();
            }
            Kind::Pong => return,
            Kind::Ask | Kind::Cancel | Kind::Ping => return self.give_up(),
        };
        let waiter = self.waiters.lock().as_mut().and_then(|waiters| waiters.remove(&frame.id));
        if let Some(waiter) = waiter {
            waiter.send(answer).ok();
        }
        self.close_when_idle();
    }

    /// Returns when the other side has been silent for too long.
    async fn watch(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            let silent = self.due.lock().map(|since| since.elapsed());
            match silent {
                Some(silent) if silent >= SILENT_FOR => return,
                Some(silent) if silent >= LOOK_EVERY => {
                    if let Some(outbox) = &*self.outbox.lock() {
                        outbox.put(Frame::bare(Kind::Ping, 0));
                    }
                }
                _ => {}
            }
        }
    }

    fn give_up(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.down.cancel();
    }

    fn close_when_idle(&self) {
        if self.retired.load(Ordering::Relaxed) && self.waiters.lock().as_ref().is_none_or(HashMap::is_empty) {
            self.outbox.lock().take();
        }
    }

    /// Whether it takes new requests.
    pub fn is_open(&self) -> bool {
        !self.retired.load(Ordering::Relaxed)
    }

    /// Makes a request; `None` if this connection takes none any more: nothing was sent.
    pub async fn ask(
        self: &Arc<Self>,
        path: &'static str,
        head: Bytes,
        payload: Bytes,
        deadline: Instant,
    ) -> Option<Result<Answered, CallError>> {
        let outbox = self.outbox.lock().clone()?;
        if !self.is_open() {
            return None;
        }
        if outbox.waiting() > WAITING_MAX {
            return Some(Err(CallError::Unreachable { reason: "too much waits to be sent to it".to_owned() }));
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (waiter, answered) = oneshot::channel();
        self.waiters.lock().as_mut()?.insert(id, waiter);
        let mut waiting = Waiting { connection: self, outbox, id, answered: false };
        let path = Bytes::from_static(path.as_bytes());
        let sent = Instant::now();
        self.due.lock().get_or_insert(sent);
        waiting.outbox.put(Frame { kind: Kind::Ask, id, path, head, payload });
        let answer = timeout_at(deadline, answered).await;
        Some(match answer {
            Ok(answer) => {
                waiting.answered = true;
                let broke = || CallError::Unknown { reason: "the connection broke".to_owned() };
                answer.unwrap_or_else(|_| Err(broke()))
            }
            Err(_) => Err(CallError::Unknown { reason: format!("no answer within {:?}", sent.elapsed()) }),
        })
    }
}

/// A request under way; tells the other side if it is given up.
struct Waiting<'a> {
    connection: &'a SharedConnection,
    outbox: Outbox,
    id: u32,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let waiter = self.connection.waiters.lock().as_mut().and_then(|waiters| waiters.remove(&self.id));
        if waiter.is_some() {
            self.outbox.put(Frame::bare(Kind::Cancel, self.id));
        }
        self.connection.close_when_idle();
    }
}
