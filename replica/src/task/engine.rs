//! Steps aside while the index engine does not answer, so that others lead and serve, and ends the node when the engine
//! holds something else than was written to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::index::engine::Trouble;
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_millis(100);
/// Between attempts to be rid of leaderships.
const AGAIN: Duration = Duration::from_secs(2);
/// A silence that is borne: a hiccup is no reason to move leaderships.
pub(crate) const BORNE: Duration = Duration::from_millis(300);

/// Looks after the engine.
pub async fn run(host: Arc<Host>) {
    let mut aside: Option<Instant> = None;
    loop {
        sleep(EVERY).await;
        match host.trouble() {
            Some(Trouble::Lost(reason)) => return host.fail(reason),
            Some(Trouble::Silent { since, .. }) if since >= BORNE => {
                if aside.is_some_and(|last| last.elapsed() < AGAIN) {
                    continue;
                }
                aside = Some(Instant::now());
                host.tell();
                host.give_leaderships().await;
            }
            _ => {
                if aside.take().is_some() {
                    tracing::info!("the index engine answers again");
                    host.tell();
                }
            }
        }
    }
}
