//! Workload W: clients over all gateways that put, overwrite, get, list, delete and copy a few hot and many cold keys,
//! each doing one thing at a time and remembering it. Keys come in generations, so that no key's history grows beyond
//! what a search can judge.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::raw::{Call, Wire};
use crate::client::sign::Keys;
use crate::history::client::Client;
use crate::history::statuses::Statuses;
use crate::history::versioned::by_key;
use crate::history::{History, Outcome, versioned};

/// What to run against what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `host:port` of every gateway.
    pub gateways: Vec<String>,
    /// Credentials.
    pub keys: Keys,
    /// A bucket that nobody else uses.
    pub bucket: String,
    /// Another one, which keeps versions; `None`: nothing is done to versions.
    pub versions: Option<String>,
    /// Clients at once.
    pub clients: u32,
    /// Operations until the keys change.
    pub generation: u64,
    /// Whether to use bodies of 1 MiB and multipart uploads of 8 MiB.
    pub large: bool,
    /// Whether every other client asks for the word of the leader alone (`x-holdfast-ack: leader`): what it was told is
    /// stored may be lost.
    pub early: bool,
    /// Pause between a client's operations.
    pub think: Duration,
    /// How long a client waits for an answer.
    pub timeout: Duration,
    /// Of all choices.
    pub seed: u64,
    /// How the gateways are reached.
    pub net: Wire,
}

impl Plan {
    /// The standard workload.
    pub fn new(gateways: Vec<String>, keys: Keys, bucket: &str) -> Self {
        Self {
            gateways,
            keys,
            bucket: bucket.into(),
            versions: Some(format!("{bucket}-versions")),
            clients: 8,
            generation: 1500,
            large: true,
            early: false,
            think: Duration::from_millis(2),
            timeout: Duration::from_secs(15),
            seed: 1,
            net: Wire::tcp(),
        }
    }
}

impl Plan {
    /// What makes the buckets; each can be repeated until it succeeds.
    pub fn preparations(&self) -> Vec<Call> {
        let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let keeps = |bucket: &String| {
            let versioning = Call::bucket(Method::PUT, bucket).query("versioning", "").body(enabled);
            [Call::bucket(Method::PUT, bucket), versioning]
        };
        let versions = self.versions.iter().flat_map(keeps);
        std::iter::once(Call::bucket(Method::PUT, &self.bucket)).chain(versions).collect()
    }
}

/// What clients share.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) clock: Instant,
    writes: AtomicU64,
    operations: AtomicU64,
    /// Of the request that took longest, nanoseconds.
    longest: AtomicU64,
}

impl Shared {
    /// A write id that nobody has.
    pub(crate) fn write_id(&self) -> u64 {
        self.writes.fetch_add(1, Ordering::Relaxed)
    }

    /// The generation of the next operation.
    pub(crate) fn generation(&self) -> u64 {
        self.operations.fetch_add(1, Ordering::Relaxed) / self.plan.generation
    }

    /// A request took so many nanoseconds, with or without an answer.
    pub(crate) fn took(&self, nanos: u64) {
        self.longest.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

/// A running workload.
pub struct Workload {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    clients: JoinSet<Client>,
}

impl Workload {
    /// Starts it.
    pub fn start(plan: Plan) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            plan,
            clock: Instant::now(),
            writes: AtomicU64::new(1),
            operations: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        });
        let mut clients = JoinSet::new();
        for number in 0..shared.plan.clients {
            let mut client = Client::new(number, shared.clone());
            let stopped = stopped.clone();
            clients.spawn(async move {
                while !*stopped.borrow() {
                    client.step().await;
                    tokio::time::sleep(client.think()).await;
                }
                client
            });
        }
        Self { shared, stop, clients }
    }

    /// Operations begun so far.
    pub fn operations(&self) -> u64 {
        self.shared.operations.load(Ordering::Relaxed)
    }

    /// How long the longest request took until now, answered or not.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.shared.longest.load(Ordering::Relaxed))
    }

    /// Ends it: every client finishes what it is doing.
    pub async fn stop(mut self) -> Finished {
        let _ = self.stop.send(true);
        let (mut history, mut statuses) = (History::default(), Statuses::default());
        while let Some(client) = self.clients.join_next().await {
            let (done, seen) = client.expect("a client does not panic").into_parts();
            history.extend(done);
            statuses.add(seen);
        }
        Finished { history, statuses, shared: self.shared }
    }
}

/// A workload that has ended.
pub struct Finished {
    /// What it did.
    pub history: History,
    /// What it was answered.
    pub statuses: Statuses,
    shared: Arc<Shared>,
}

/// What a scan reads at once.
enum Target {
    Object(String),
    Versions(String),
    /// The whole bucket, with this delimiter.
    List(Option<&'static str>),
}

impl Target {
    /// Whether all of it was learnt.
    async fn read(&self, reader: &mut Client) -> bool {
        match self {
            Self::Object(key) => reader.get(key).await,
            Self::Versions(key) => reader.read_versions(key).await,
            Self::List(delimiter) => reader.list("", *delimiter).await,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(key) => f.write_str(key),
            Self::Versions(key) => write!(f, "versions of {key}"),
            Self::List(None) => f.write_str("the list of all keys"),
            Self::List(Some(delimiter)) => write!(f, "the list of all prefixes up to {delimiter}"),
        }
    }
}

impl Finished {
    /// Reads every key once through each of the gateways in turn and lists the bucket, adding to the history and to what
    /// was answered. To be called when the cluster is whole again; what cannot be read is repeated for a while, then
    /// given back.
    pub async fn scan(&mut self) -> Vec<String> {
        let objects = self.history.by_key().into_keys().map(|key| Target::Object(key.to_owned()));
        let versions = by_key(&self.history.versioned).into_keys().map(|key| Target::Versions(key.to_owned()));
        let lists = [None, Some("/")].map(Target::List);
        let targets: Vec<Target> = objects.chain(versions).chain(lists).collect();
        let mut reader = Client::new(self.shared.plan.clients, self.shared.clone());
        let mut unread = Vec::new();
        for target in targets {
            let deadline = Instant::now() + Duration::from_secs(20);
            reader.next_gateway();
            while !target.read(&mut reader).await {
                if Instant::now() > deadline {
                    unread.push(target.to_string());
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let (read, statuses) = reader.into_parts();
        self.history.extend(read);
        self.statuses.add(statuses);
        unread
    }

    /// Counts of acknowledged, unknown and failed operations, for a report.
    pub fn summary(&self) -> String {
        let (mut unknown, mut failed) = (0, 0);
        for record in &self.history.records {
            unknown += u64::from(matches!(record.outcome, Outcome::Unknown(_)));
            failed += u64::from(matches!(record.outcome, Outcome::Failed(_)));
        }
        for record in &self.history.versioned {
            unknown += u64::from(matches!(record.outcome, versioned::Outcome::Unknown(_)));
            failed += u64::from(matches!(record.outcome, versioned::Outcome::Failed(_)));
        }
        format!(
            "{} operations, {} acknowledged writes, {unknown} unknown, {failed} failed, statuses {}",
            self.history.operations(),
            self.history.acknowledged(),
            self.statuses
        )
    }
}
