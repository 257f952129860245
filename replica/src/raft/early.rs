//! Answering when the leader's own log has an entry: who waits for which request, and the log's word that it is on disk.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_wire::id::RequestId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::index::command::Envelope;

/// Requests that want an answer before commit. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Early {
    waiting: Arc<Mutex<HashMap<RequestId, oneshot::Sender<u64>>>>,
}

/// One waiting request; forgotten when dropped.
pub struct Waiting {
    early: Early,
    request: RequestId,
    /// Answers with the log index once the entry is on this node's disk.
    pub durable: oneshot::Receiver<u64>,
}

impl Early {
    /// Registers `request` before it is proposed.
    pub fn wait(&self, request: RequestId) -> Waiting {
        let (sender, durable) = oneshot::channel();
        self.waiting.lock().insert(request, sender);
        Waiting { early: self.clone(), request, durable }
    }

    /// The log has synced these entries (index and payload).
    pub fn synced<'a>(&self, entries: impl Iterator<Item = (u64, &'a [u8])>) {
        if self.waiting.lock().is_empty() {
            return;
        }
        for (index, payload) in entries {
            let Some(request) = Envelope::peek_request(payload) else { continue };
            if let Some(sender) = self.waiting.lock().remove(&request) {
                // The receiver may have left.
                let _ = sender.send(index);
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.early.waiting.lock().remove(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_left_is_forgotten() {
        let early = Early::default();
        let (one, two) = (early.wait(RequestId(1)), early.wait(RequestId(2)));
        drop(one);
        assert_eq!(early.waiting.lock().keys().collect::<Vec<_>>(), [&RequestId(2)]);
        drop(two);
        assert!(early.waiting.lock().is_empty());
    }
}
