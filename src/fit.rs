//! `holdfast cluster fit`: makes a cluster ready to lose its highest-numbered nodes, and forgets those that have gone. What a
//! StatefulSet cannot tell its pods, that one of them is not to come back, its owner says here first.

use std::time::Duration;

use tokio::time::sleep;

use crate::admin::cluster::{DrainNode, RemoveNode};
use crate::client::{AdminClient, ClientError};
use crate::drain::{self, Look};
use crate::status::fit;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Drains all nodes from the number `count` on, and waits until they hold nothing.
pub async fn shrink(client: &AdminClient, count: u64) -> Result<(), ClientError> {
    let status = client.status().await?;
    let beyond = fit::beyond(&status, count).map_err(|error| ClientError::Refused(error.to_string()))?;
    // All are told before one is waited for, so that none gives its copies to another that goes too.
    for node in beyond.iter().filter(|node| !node.draining) {
        client.post("/v1/cluster/drain-node", &DrainNode { node: node.name.clone(), drain: true }).await?;
    }
    for node in &beyond {
        drain::watch(client, &node.name, Look::Ordered).await?;
    }
    if beyond.is_empty() {
        println!("no node has the number {count} or a higher one");
    }
    Ok(())
}

/// Removes the drained nodes from the number `count` on as they stop. One that is not being drained is an error.
pub async fn forget(client: &AdminClient, count: u64) -> Result<(), ClientError> {
    loop {
        let status = client.status().await?;
        let beyond = fit::beyond(&status, count).map_err(|error| ClientError::Refused(error.to_string()))?;
        if beyond.is_empty() {
            return Ok(());
        }
        for node in beyond {
            if !node.draining {
                let text = format!("{} is not being drained: `holdfast cluster fit {count}` comes first", node.name);
                return Err(ClientError::Refused(text));
            }
            if !node.alive {
                client.post("/v1/cluster/remove-node", &RemoveNode { node: node.name.clone() }).await?;
                println!("{} is removed", node.name);
            }
        }
        sleep(LOOK_EVERY).await;
    }
}
