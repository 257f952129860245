//! What is wrong with others and stays so is said now and then, not at every attempt.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const AGAIN_AFTER: Duration = Duration::from_secs(60);
const REMEMBERED: usize = 1024;

/// Says a thing about someone once, and again a minute later if it is still so.
#[derive(Default)]
pub struct Complaints {
    said: Mutex<HashMap<String, (String, Instant)>>,
}

impl Complaints {
    /// Whether `what` about `whom` is worth a line now.
    pub fn is_news(&self, whom: &str, what: &str) -> bool {
        let mut said = self.said.lock();
        let now = Instant::now();
        if let Some((before, when)) = said.get(whom)
            && before == what
            && now.duration_since(*when) < AGAIN_AFTER
        {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.clear();
        }
        said.insert(whom.to_owned(), (what.to_owned(), now));
        true
    }

    /// All is well with `whom`.
    pub fn settle(&self, whom: &str) {
        self.said.lock().remove(whom);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_is_not_said_twice_in_a_minute() {
        let complaints = Complaints::default();
        assert!(complaints.is_news("n1", "expired"));
        assert!(!complaints.is_news("n1", "expired"));
        assert!(complaints.is_news("n2", "expired"));
        assert!(complaints.is_news("n1", "another name"));
        tokio::time::advance(AGAIN_AFTER).await;
        assert!(complaints.is_news("n1", "another name"));
        complaints.settle("n1");
        assert!(complaints.is_news("n1", "another name"));
    }
}
