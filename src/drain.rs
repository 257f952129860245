//! How far a node is with giving everything away, told until it is done.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backup::progress;
use crate::client::{AdminClient, ClientError};
use crate::status::{Status, drain};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// After a drain was ordered, the process asked may take this long to hear of it.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A drain was ordered just now: until the node holds nothing.
    Ordered,
    /// Until the node holds nothing, if it is being drained at all.
    Wait,
    /// Once: what it holds still is an error.
    Once,
}

/// Says how far `node` is.
pub async fn watch(client: &AdminClient, node: &str, look: Look) -> Result<(), ClientError> {
    let (mut said, since) = (String::new(), Instant::now());
    let bar = progress::steps("drain", 0);
    loop {
        let status: Status = client.status().await?;
        let missing = || ClientError::Refused(format!("there is no node {node}"));
        let progress = drain::progress(&status, node).ok_or_else(missing)?;
        let heard = !matches!(progress, drain::Progress::Stays { .. });
        if look == Look::Ordered && !heard && since.elapsed() < HEARD_WITHIN {
            sleep(LOOK_EVERY).await;
            continue;
        }
        let text = progress.to_string();
        if look == Look::Once && matches!(progress, drain::Progress::Holds { .. }) {
            return Err(ClientError::NotDrained(text));
        }
        let left = match progress {
            drain::Progress::Holds { leads, votes, hosts, .. } => (leads + votes + hosts) as u64,
            drain::Progress::Stays { .. } | drain::Progress::Empty { .. } => 0,
        };
        bar.set_length(bar.length().unwrap_or(0).max(left));
        bar.set_position(bar.length().unwrap_or(0) - left);
        if text != said {
            // Above the bar, where there is one.
            bar.suspend(|| println!("{text}"));
            said = text;
        }
        if left == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}
