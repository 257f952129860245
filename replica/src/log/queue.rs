//! What waits to be written, in the order in which it will stand in the log.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::group::Group;
use super::record::{SMALL_RECORD, entry_bytes};
use super::{Failure, LogEntry};
use crate::gather::gather;
use crate::position::{Ballot, Position};

/// Called when something is durable, or will never be.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// One thing to write.
pub struct Op {
    /// The group it belongs to.
    pub group: Arc<Group>,
    /// What to write.
    pub what: What,
    /// Whom to tell.
    pub done: Option<Done>,
}

/// What to write.
pub enum What {
    /// Entries, each following the one before.
    Entries(Vec<LogEntry>),
    /// A vote.
    Ballot(Ballot),
    /// The new end.
    Truncate(Option<Position>),
    /// The new beginning.
    Purge(Position),
    /// What is known to be committed; never written for its own sake.
    Committed(Option<Position>),
    /// The group leaves.
    Forget,
    /// Nothing: only asks to be told.
    Flush,
}

impl Op {
    /// The bytes it takes in a batch, at most.
    pub fn bytes(&self) -> u64 {
        match &self.what {
            What::Entries(entries) => entries.iter().map(|entry| entry_bytes(entry.payload.len())).sum(),
            What::Flush => 0,
            _ => SMALL_RECORD,
        }
    }

    /// Tells whoever waits for it.
    pub fn complete(self, result: io::Result<()>) {
        if let Some(done) = self.done {
            done(result);
        }
    }
}

#[derive(Default)]
struct Waiting {
    ops: VecDeque<Op>,
    bytes: u64,
    urgent: bool,
    closed: bool,
    failed: Option<Failure>,
}

/// The queue of one log.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

impl Queue {
    /// Puts `op` behind all others and releases `order`, the lock that decided on the place. After a failure or
    /// [`close`](Self::close) the op is told so at once.
    pub fn push<T>(&self, op: Op, order: T) {
        let mut waiting = self.waiting.lock();
        if let Some(error) = waiting.refusal() {
            drop(waiting);
            drop(order);
            return op.complete(Err(error));
        }
        let calls = !waiting.urgent;
        waiting.push(op);
        if calls && waiting.urgent {
            self.wake.notify_one();
        }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> u64 {
        self.waiting.lock().bytes
    }

    /// Everything that waits, up to `max` bytes but at least one thing, as soon as something is worth a batch and nobody
    /// adds to it any more; `None` after [`close`](Self::close), when nothing is left.
    pub async fn next(&self, max: u64) -> Option<Vec<Op>> {
        loop {
            {
                let waiting = self.waiting.lock();
                if waiting.urgent || (waiting.closed && !waiting.ops.is_empty()) {
                    break;
                }
                if waiting.closed {
                    return None;
                }
            }
            self.wake.notified().await;
        }
        // A sync costs the same for one as for many.
        gather(|| self.waiting.lock().ops.len()).await;
        let mut waiting = self.waiting.lock();
        (!waiting.ops.is_empty()).then(|| waiting.take(max))
    }

    /// Refuses everything from now on; what waits is still written.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_one();
    }

    /// Refuses everything from now on, and what waits as well.
    pub fn fail(&self, failure: &Failure) {
        let ops = {
            let mut waiting = self.waiting.lock();
            waiting.failed = Some(failure.clone());
            std::mem::take(&mut waiting.ops)
        };
        for op in ops {
            op.complete(Err(failure.error()));
        }
    }
}

impl Waiting {
    fn refusal(&self) -> Option<io::Error> {
        if let Some(failure) = &self.failed {
            return Some(failure.error());
        }
        self.closed.then(|| io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed"))
    }

    fn push(&mut self, op: Op) {
        self.bytes += op.bytes();
        match (&op.what, self.ops.back_mut()) {
            (What::Committed(new), Some(Op { group, what: What::Committed(old), .. }))
                if Arc::ptr_eq(group, &op.group) =>
            {
                self.bytes -= SMALL_RECORD;
                *old = *new;
                return;
            }
            (What::Committed(_), _) => {}
            _ => self.urgent = true,
        }
        self.ops.push_back(op);
    }

    fn take(&mut self, max: u64) -> Vec<Op> {
        let mut bytes = 0;
        let mut count = 0;
        for op in &self.ops {
            bytes += op.bytes();
            if bytes > max && count > 0 {
                bytes -= op.bytes();
                break;
            }
            count += 1;
        }
        self.bytes -= bytes;
        let rest = self.ops.split_off(count);
        let taken = std::mem::replace(&mut self.ops, rest);
        self.urgent = !self.ops.is_empty();
        taken.into()
    }
}
