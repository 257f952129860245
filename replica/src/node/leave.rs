//! Leaving in order: leaderships go to voters that stay, before anything else ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_wire::id::NodeId;
use tokio::time::{Instant, timeout};

use super::Host;

impl Host {
    /// Gives every leadership to a living voter, as far as that goes within two seconds.
    pub(super) async fn hand_over(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.tell();
        self.give_leaderships().await;
    }

    /// The same without leaving: for a node that cannot lead at the moment.
    pub(crate) async fn give_leaderships(&self) {
        let transfers = self.groups().into_iter().filter(|group| group.leads()).map(|group| async move {
            let voters = group.status(0).voters;
            let deadline = Instant::now() + Duration::from_millis(1500);
            let ready = |voter: &&NodeId| {
                self.neighbours().alive(**voter).is_some_and(|heartbeat| heartbeat.not_ready.is_none())
            };
            let alive = voters.iter().find(ready);
            let alive = alive.or_else(|| voters.iter().find(|voter| self.neighbours().alive(**voter).is_some()));
            if let Some(to) = alive
                && let Err(error) = group.transfer(*to, deadline).await
            {
                tracing::debug!(group = %group.id(), %to, %error, "a leadership was not handed over");
            }
        });
        let _ = timeout(Duration::from_secs(2), futures::future::join_all(transfers)).await;
    }
}
