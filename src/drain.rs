//! How far a node is with giving everything away, told until it is done.

use std::time::Duration;

use tokio::time::{Instant, sleep};

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
        if text != said {
            println!("{text}");
            said = text;
        }
        if !matches!(progress, drain::Progress::Holds { .. }) {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}
