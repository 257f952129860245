//! The chunks that wait for one follower. The leader puts in, the connection takes out.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::Stream;
use holdfast_wire::error::CallError;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::course::WINDOW;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// All bytes were put in.
    Sound,
    /// There will be no more, and the blob is not whole.
    Broken,
}

struct Queue {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    taken: Option<Instant>,
    end: End,
    waker: Option<Waker>,
}

/// The leader's end. Dropped without [`end`](Self::end), the follower sees an abort.
pub(super) struct Feed(Arc<Mutex<Queue>>);

/// The connection's end.
pub(super) struct Fed {
    queue: Arc<Mutex<Queue>>,
    /// Told when a follower is on pace again.
    moved: Arc<Notify>,
}

/// A feed; `moved` is told when so much was taken out that no more than [`WINDOW`] bytes wait.
pub(super) fn feed(moved: Arc<Notify>) -> (Feed, Fed) {
    let queue = Queue { chunks: VecDeque::new(), bytes: 0, taken: None, end: End::Open, waker: None };
    let queue = Arc::new(Mutex::new(queue));
    (Feed(queue.clone()), Fed { queue, moved })
}

impl Feed {
    /// Puts a chunk in.
    pub fn put(&self, chunk: Bytes) {
        let mut queue = self.0.lock();
        if queue.end == End::Open && !chunk.is_empty() {
            queue.bytes += chunk.len();
            queue.chunks.push_back(chunk);
            queue.wake();
        }
    }

    /// All bytes were put in.
    pub fn end(&self) {
        self.0.lock().close(End::Sound);
    }

    /// Gives up: what waits is let go at once.
    pub fn abort(&self) {
        let mut queue = self.0.lock();
        queue.end = End::Broken;
        queue.chunks = VecDeque::new();
        queue.bytes = 0;
        queue.wake();
    }

    /// Bytes that wait, and when some were last taken.
    pub fn standing(&self) -> (usize, Option<Instant>) {
        let queue = self.0.lock();
        (queue.bytes, queue.taken)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        if queue.end == End::Open {
            queue.chunks = VecDeque::new();
        }
        queue.close(End::Broken);
    }
}

impl Queue {
    fn close(&mut self, how: End) {
        if self.end == End::Open {
            self.end = how;
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Fed {
    type Item = Result<Bytes, CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.queue.lock();
        if let Some(chunk) = queue.chunks.pop_front() {
            let before = queue.bytes;
            queue.bytes -= chunk.len();
            queue.taken = Some(Instant::now());
            if before > WINDOW && queue.bytes <= WINDOW {
                self.moved.notify_one();
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        match queue.end {
            End::Open => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            End::Sound => Poll::Ready(None),
            End::Broken => Poll::Ready(Some(Err(CallError::Aborted))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    #[test]
    fn an_end_is_sound_only_when_it_was_said() {
        for said in [true, false] {
            let (feed, mut fed) = feed(Arc::default());
            feed.put(Bytes::from_static(b"abc"));
            assert_eq!(fed.next().now_or_never(), Some(Some(Ok(Bytes::from_static(b"abc")))));
            assert_eq!(fed.next().now_or_never(), None);
            if said {
                feed.end();
            }
            drop(feed);
            let end = if said { None } else { Some(Err(CallError::Aborted)) };
            assert_eq!(fed.next().now_or_never(), Some(end));
        }
    }

    #[test]
    fn coming_back_on_pace_is_told_once() {
        let moved = Arc::new(Notify::new());
        let (feed, mut fed) = feed(moved.clone());
        (0..3).for_each(|_| feed.put(vec![0; WINDOW].into()));
        assert_eq!(feed.standing(), (3 * WINDOW, None));
        fed.next().now_or_never();
        assert!(moved.notified().now_or_never().is_none());
        fed.next().now_or_never();
        assert!(moved.notified().now_or_never().is_some());
        fed.next().now_or_never();
        assert!(moved.notified().now_or_never().is_none());
    }
}
