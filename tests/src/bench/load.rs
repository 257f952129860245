//! The load: some clients, each on a connection of its own to one of the gateways, doing one kind of thing for a while.
//! Every byte that comes back is compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::client::raw::{Call, Raw};
use crate::client::sign::Keys;
use crate::client::xml;
use crate::rng::Rng;

/// Directories over which keys are spread: placement hashes the first one.
const DIRECTORIES: u64 = 97;
/// Room for the offsets of different objects in the common bytes.
const SLACK: u64 = 1 << 20;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Put objects over existing ones.
    Put,
    /// Put objects under new keys.
    Create,
    /// Get whole objects.
    Get,
    /// Head objects.
    Head,
    /// List everything, page by page, each client from the start.
    List,
    /// 70 % get, 20 % put, 5 % head, 5 % list of a directory.
    Mixed,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Case {
    /// What.
    pub kind: Kind,
    /// Bytes of an object.
    pub size: u64,
    /// Clients at once.
    pub clients: u32,
    /// Objects to choose from.
    pub objects: u64,
    /// How long.
    pub span: Duration,
    /// Ends earlier, after so many operations.
    pub operations: Option<u64>,
}

impl Case {
    /// `put-4KiB-32`
    pub fn name(&self) -> String {
        let kind = format!("{:?}", self.kind).to_lowercase();
        format!("{kind}-{}-{}", size_name(self.size), self.clients)
    }
}

/// `4KiB`, `64MiB`.
pub fn size_name(size: u64) -> String {
    match size {
        0 => "0".into(),
        size if size % (1 << 20) == 0 => format!("{}MiB", size >> 20),
        size if size % 1024 == 0 => format!("{}KiB", size >> 10),
        size => format!("{size}B"),
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Operations that succeeded.
    pub operations: u64,
    /// Bytes of objects moved.
    pub bytes: u64,
    /// Keys listed.
    pub keys: u64,
    /// Operations that did not succeed, and the first reason.
    pub errors: u64,
    /// The first reason.
    pub first_error: Option<String>,
    /// Bodies with wrong bytes.
    pub wrong: u64,
    /// Time from the first operation to the last.
    pub elapsed: Duration,
    /// µs.
    pub latency: Histogram<u64>,
}

/// Where to send it, and the bytes that objects are made of.
#[derive(Clone)]
pub struct Target {
    /// `host:port` of every gateway.
    pub gateways: Vec<String>,
    /// Credentials.
    pub keys: Keys,
    /// The bucket.
    pub bucket: String,
    /// Whether bodies are signed.
    pub sign_body: bool,
    /// Headers of every request.
    pub headers: Vec<(&'static str, String)>,
    bytes: Bytes,
}

impl Target {
    /// For objects of up to `largest` bytes.
    pub fn new(gateways: Vec<String>, keys: Keys, bucket: &str, largest: u64) -> Self {
        let bytes = Rng::new(42).bytes((largest + SLACK) as usize).into();
        Self { gateways, keys, bucket: bucket.into(), sign_body: false, headers: Vec::new(), bytes }
    }

    /// Object number `number` of a size: always the same bytes.
    fn content(&self, number: u64, size: u64) -> Bytes {
        let offset = (number.wrapping_mul(4099) % SLACK) as usize;
        self.bytes.slice(offset..offset + size as usize)
    }

    fn call(&self, method: Method, key: &str) -> Call {
        let call = Call::object(method, &self.bucket, key);
        self.headers.iter().fold(call, |call, (name, value)| call.header(name, value))
    }
}

fn key(size: u64, number: u64) -> String {
    format!("d{}-{}/obj{number:07}", number % DIRECTORIES, size_name(size))
}

struct Client {
    target: Target,
    raw: Raw,
    rng: Rng,
    case: Case,
    next: Arc<AtomicU64>,
    token: Option<String>,
    outcome: Outcome,
}

enum Did {
    Right { bytes: u64, keys: u64 },
    Wrong,
    Failed(String),
}

impl Client {
    async fn step(&mut self) -> Did {
        match self.case.kind {
            Kind::Put => self.put().await,
            Kind::Create => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.put_number(number).await
            }
            Kind::Get => self.get().await,
            Kind::Head => self.head().await,
            Kind::List => self.list("").await,
            Kind::Mixed => match self.rng.below(100) {
                0..=69 => self.get().await,
                70..=89 => self.put().await,
                90..=94 => self.head().await,
                _ => {
                    self.token = None;
                    let prefix = format!("d{}-{}/", self.rng.below(DIRECTORIES), size_name(self.case.size));
                    self.list(&prefix).await
                }
            },
        }
    }

    async fn put(&mut self) -> Did {
        let number = self.rng.below(self.case.objects);
        self.put_number(number).await
    }

    async fn put_number(&mut self, number: u64) -> Did {
        let size = self.case.size;
        let mut call = self.target.call(Method::PUT, &key(size, number)).body(self.target.content(number, size));
        call.sign_body = self.target.sign_body;
        match self.raw.call(call).await {
            Ok(reply) if reply.status == StatusCode::OK => Did::Right { bytes: size, keys: 0 },
            Ok(reply) => Did::Failed(format!("{} {}", reply.status, reply.text())),
            Err(why) => Did::Failed(why.to_string()),
        }
    }

    async fn get(&mut self) -> Did {
        let (number, size) = (self.rng.below(self.case.objects), self.case.size);
        let expected = self.target.content(number, size);
        let call = self.target.call(Method::GET, &key(size, number));
        let (mut at, mut right) = (0, true);
        let result = self
            .raw
            .stream(call, |chunk| {
                right &= expected.get(at..at + chunk.len()) == Some(chunk);
                at += chunk.len();
            })
            .await;
        match result {
            Ok((StatusCode::OK, _)) if right && at as u64 == size => Did::Right { bytes: size, keys: 0 },
            Ok((StatusCode::OK, _)) => Did::Wrong,
            Ok((status, _)) => Did::Failed(status.to_string()),
            Err(why) => Did::Failed(why.to_string()),
        }
    }

    async fn head(&mut self) -> Did {
        let (number, size) = (self.rng.below(self.case.objects), self.case.size);
        match self.raw.call(self.target.call(Method::HEAD, &key(size, number))).await {
            Ok(reply) if reply.status == StatusCode::OK => match reply.header("content-length") {
                Some(stated) if stated == size.to_string() => Did::Right { bytes: 0, keys: 0 },
                _ => Did::Wrong,
            },
            Ok(reply) => Did::Failed(reply.status.to_string()),
            Err(why) => Did::Failed(why.to_string()),
        }
    }

    async fn list(&mut self, prefix: &str) -> Did {
        let mut call = Call::bucket(Method::GET, &self.target.bucket)
            .query("list-type", 2)
            .query("max-keys", 1000)
            .query("prefix", prefix);
        if let Some(token) = &self.token {
            call = call.query("continuation-token", token);
        }
        match self.raw.call(call).await {
            Ok(reply) if reply.status == StatusCode::OK => {
                let text = String::from_utf8_lossy(&reply.body);
                let keys = text.matches("<Key>").count() as u64;
                self.token = xml::text(&text, "NextContinuationToken");
                let stated = xml::text(&text, "KeyCount");
                if stated == Some(keys.to_string()) { Did::Right { bytes: 0, keys } } else { Did::Wrong }
            }
            Ok(reply) => Did::Failed(format!("{} {}", reply.status, reply.text())),
            Err(why) => Did::Failed(why.to_string()),
        }
    }

    async fn run(mut self, started: Instant, ended: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Outcome {
        while !ended.load(Ordering::Relaxed) && started.elapsed() < self.case.span {
            if self.case.operations.is_some_and(|limit| count.fetch_add(1, Ordering::Relaxed) >= limit) {
                break;
            }
            let at = Instant::now();
            match self.step().await {
                Did::Right { bytes, keys } => {
                    let _ = self.outcome.latency.record(at.elapsed().as_micros() as u64);
                    self.outcome.operations += 1;
                    self.outcome.bytes += bytes;
                    self.outcome.keys += keys;
                }
                Did::Wrong => self.outcome.wrong += 1,
                Did::Failed(why) => {
                    self.outcome.errors += 1;
                    self.outcome.first_error.get_or_insert(why);
                    if self.outcome.errors > 10_000 {
                        ended.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        self.outcome
    }
}

fn nothing() -> Outcome {
    Outcome {
        operations: 0,
        bytes: 0,
        keys: 0,
        errors: 0,
        first_error: None,
        wrong: 0,
        elapsed: Duration::ZERO,
        // Up to ten minutes, in µs: one that grows by itself clamps what `saturating_record` gives it.
        latency: Histogram::new_with_bounds(1, 600_000_000, 3).expect("sound bounds"),
    }
}

/// Puts every object that a case will read.
pub async fn fill(target: &Target, size: u64, objects: u64) -> Outcome {
    let case = Case {
        kind: Kind::Create,
        size,
        clients: if size > 1 << 20 { 2 } else { 16 },
        objects,
        span: Duration::from_secs(600),
        operations: Some(objects),
    };
    run(target, &case).await
}

/// Runs a case.
pub async fn run(target: &Target, case: &Case) -> Outcome {
    let (ended, count, next) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..case.clients {
        let gateway = &target.gateways[number as usize % target.gateways.len()];
        let client = Client {
            target: target.clone(),
            raw: Raw::new(gateway, target.keys.clone(), Duration::from_secs(120)),
            rng: Rng::new(u64::from(number) + 1),
            case: case.clone(),
            next: Arc::clone(&next),
            token: None,
            outcome: nothing(),
        };
        clients.spawn(client.run(started, ended.clone(), Arc::clone(&count)));
    }
    let mut sum = nothing();
    while let Some(client) = clients.join_next().await {
        let one = client.expect("a client does not panic");
        sum.operations += one.operations;
        sum.bytes += one.bytes;
        sum.keys += one.keys;
        sum.errors += one.errors;
        sum.wrong += one.wrong;
        sum.first_error = sum.first_error.or(one.first_error);
        sum.latency.add(&one.latency).expect("all histograms are alike");
    }
    sum.elapsed = started.elapsed();
    sum
}
