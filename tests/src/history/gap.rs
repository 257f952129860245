//! How long writes stop: one writer per shard group puts a small object again and again, through whatever gateway
//! answers, and notes every success.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_wire::id::{GroupId, Seq};
use http::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::raw::{Call, Raw};
use crate::client::sign::Keys;

/// Moments at which writes to each group succeeded.
type Successes = Arc<Mutex<BTreeMap<GroupId, Vec<Instant>>>>;

/// Which gateways the writers go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// One writer for a group, which turns to the next gateway when one does not answer: what a client sees.
    OneAtATime,
    /// One writer for a group at each gateway: what the cluster offers to clients who reach a gateway that works.
    Every,
}

/// Between two writes of a writer that is its group's only one.
const PAUSE: Duration = Duration::from_millis(10);
/// Likewise of one of many, which together leave the machine to those whom they measure.
const PAUSE_OF_MANY: Duration = Duration::from_millis(30);

/// The writers.
pub struct Probes {
    groups: usize,
    successes: Successes,
    stop: watch::Sender<bool>,
    writers: JoinSet<()>,
}

/// No key was found for each group.
#[derive(Debug, thiserror::Error)]
#[error("keys were found for {found} of {wanted} groups only; the last answer: {last}")]
pub struct NotPlaced {
    found: usize,
    wanted: usize,
    last: String,
}

impl Probes {
    /// Finds a key in each of `groups` shards of `bucket` and starts to write it.
    pub async fn start(
        gateways: &[String],
        keys: &Keys,
        bucket: &str,
        groups: usize,
        through: Through,
    ) -> Result<Self, NotPlaced> {
        let mut placed: BTreeMap<GroupId, String> = BTreeMap::new();
        let mut raw = Raw::new(&gateways[0], keys.clone(), Duration::from_secs(10));
        let mut last = String::new();
        for number in 0..200 {
            if placed.len() == groups {
                break;
            }
            let key = format!("probe{number}/x");
            match raw.call(Call::object(Method::PUT, bucket, &key).body("x")).await {
                Ok(reply) => {
                    last = format!("{} {}", reply.status, reply.text());
                    if let Some(seq) = reply.header("x-holdfast-seq").and_then(|seq| seq.parse::<Seq>().ok()) {
                        placed.entry(seq.group).or_insert(key);
                    }
                }
                Err(why) => last = why.to_string(),
            }
        }
        if placed.len() < groups {
            return Err(NotPlaced { found: placed.len(), wanted: groups, last });
        }
        let (stop, stopped) = watch::channel(false);
        let successes = Successes::default();
        let mut writers = JoinSet::new();
        for (at, (group, key)) in placed.into_iter().enumerate() {
            let roads: Vec<Vec<String>> = match through {
                Through::OneAtATime => {
                    let mut all = gateways.to_vec();
                    all.rotate_left(at % gateways.len());
                    vec![all]
                }
                Through::Every => gateways.iter().map(|gateway| vec![gateway.clone()]).collect(),
            };
            for gateways in roads {
                let write = Call::object(Method::PUT, bucket, &key).body("x");
                let raw = Raw::new(&gateways[0], keys.clone(), Duration::from_secs(5));
                writers.spawn(probe(raw, gateways, write, (group, successes.clone()), stopped.clone()));
            }
        }
        Ok(Self { groups, successes, stop, writers })
    }

    /// Whether writes to every group have succeeded since `at`.
    pub fn all_since(&self, at: Instant) -> bool {
        let successes = self.successes.lock().expect("nobody panics with it");
        successes.len() == self.groups && successes.values().all(|times| times.last().is_some_and(|t| *t > at))
    }

    /// The longest time without a success, per group, among the pauses that were going on at some moment between
    /// `from` and now.
    pub fn gaps(&self, from: Instant) -> BTreeMap<GroupId, Duration> {
        let successes = self.successes.lock().expect("nobody panics with it");
        let longest = |times: &[Instant]| {
            let pauses = times.windows(2).filter(|pair| pair[1] >= from).map(|pair| pair[1] - pair[0]);
            pauses.max().unwrap_or_default()
        };
        successes.iter().map(|(group, times)| (*group, longest(times))).collect()
    }

    /// Ends the writers.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.writers.join_next().await.is_some() {}
    }
}

/// Writes again and again until it is stopped, turning to the next gateway when one refuses.
async fn probe(
    mut raw: Raw,
    gateways: Vec<String>,
    write: Call,
    (group, successes): (GroupId, Successes),
    stopped: watch::Receiver<bool>,
) {
    let mut gateway = 0;
    while !*stopped.borrow() {
        match raw.call(write.clone()).await {
            Ok(reply) if reply.status.is_success() => {
                let mut successes = successes.lock().expect("nobody panics with it");
                successes.entry(group).or_default().push(Instant::now());
            }
            _ if gateways.len() > 1 => {
                gateway = (gateway + 1) % gateways.len();
                raw.turn_to(&gateways[gateway]);
            }
            _ => {}
        }
        tokio::time::sleep(if gateways.len() > 1 { PAUSE } else { PAUSE_OF_MANY }).await;
    }
}

/// The value below which `percent` of 100 values lie (nearest rank).
pub fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
