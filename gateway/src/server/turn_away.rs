//! One connection too many: it gets a 503 that says when to come back, and is closed.

use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::seam::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use crate::guard::refusal::{Cause, Refusal};

/// How many are turned away politely at once; any more are just closed.
pub const AT_ONCE: usize = 64;

const PATIENCE: Duration = Duration::from_secs(2);

/// Reads what the client sent first (a reset would overtake the answer), answers, waits for it to hang up.
pub async fn turn_away(shared: Arc<Shared>, mut stream: Box<dyn Connection>, _place: OwnedSemaphorePermit) {
    let id = shared.ids.next();
    let body = Refusal::slow_down(Cause::Connections).xml("/", id.as_str(), shared.ids.host());
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nretry-after: 1\r\n\
         x-amz-request-id: {id}\r\nx-amz-id-2: {}\r\nconnection: close\r\n\r\n",
        body.len(),
        shared.ids.host()
    );
    let answer = async {
        let mut scratch = [0; 4096];
        if stream.read(&mut scratch).await? == 0 {
            return std::io::Result::Ok(());
        }
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.shutdown().await?;
        while stream.read(&mut scratch).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => {}
        // Whatever becomes of it, the connection ends here.
        _ = tokio::time::timeout(PATIENCE, answer) => {}
    }
}
