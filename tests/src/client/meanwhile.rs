//! Small requests one after the other while something happens, each with the time that it took.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use http::Method;

use super::raw::{Call, Raw};
use super::sign::Keys;

/// How long a client waits: longer than a gateway may make it wait.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(10);
/// Keys in turn, each in a directory of its own: some of every shard's.
const KEYS: usize = 16;

/// What was asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// How long each request took, answered or not.
    pub took: Vec<Duration>,
    /// Those that failed, with the answer.
    pub failed: Vec<String>,
}

impl Asked {
    /// Adds what somebody else asked.
    pub fn extend(&mut self, other: Self) {
        self.took.extend(other.took);
        self.failed.extend(other.failed);
    }
}

/// Puts and gets objects of a bucket, by one client at each of these gateways, until `event` is over and everything is
/// answered.
pub async fn meanwhile<T>(
    gateways: &[String],
    keys: &Keys,
    bucket: &str,
    event: impl Future<Output = T>,
) -> (T, Asked) {
    let over = Cell::new(false);
    let event = async {
        let value = event.await;
        over.set(true);
        value
    };
    let clients = gateways.iter().map(|gateway| ask(Raw::new(gateway, keys.clone(), TIMEOUT), bucket, &over));
    let (value, asked) = join(event, join_all(clients)).await;
    let mut whole = Asked::default();
    asked.into_iter().for_each(|part| whole.extend(part));
    (value, whole)
}

async fn ask(mut raw: Raw, bucket: &str, over: &Cell<bool>) -> Asked {
    let mut asked = Asked::default();
    for number in (0..KEYS).cycle() {
        let key = format!("d{number}/k");
        for call in [Call::object(Method::PUT, bucket, &key).body("x"), Call::object(Method::GET, bucket, &key)] {
            let what = format!("{} {}", call.method, call.path);
            let began = Instant::now();
            let reply = raw.call(call).await;
            asked.took.push(began.elapsed());
            match reply {
                Ok(reply) if reply.status.is_success() => {}
                Ok(reply) => asked.failed.push(format!("{what}: {} {}", reply.status, reply.text())),
                Err(error) => asked.failed.push(format!("{what}: {error}")),
            }
            tokio::time::sleep(PAUSE).await;
        }
        if over.get() {
            break;
        }
    }
    asked
}
