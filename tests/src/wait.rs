//! Waiting for a condition, never for an amount of time.

use std::time::{Duration, Instant};

/// The condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {waited:?} for {what}; last: {last}")]
pub struct TimedOut {
    what: String,
    waited: Duration,
    last: String,
}

/// Asks `probe` again and again until it gives a value; its last refusal is in the error.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, TimedOut> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(5);
    let mut last = String::from("the probe itself did not return");
    loop {
        let left = limit.saturating_sub(start.elapsed());
        match tokio::time::timeout(left.max(Duration::from_millis(1)), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(refusal)) => last = refusal,
            // The one that the limit cuts off says less than the one before it.
            Err(_) => {}
        }
        if start.elapsed() >= limit {
            return Err(TimedOut { what: what.into(), waited: start.elapsed(), last });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
