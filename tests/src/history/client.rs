//! One client of the workload: does one operation at a time and records what it learnt.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use holdfast_wire::id::Seq;
use http::{Method, StatusCode};
use md5::{Digest, Md5};

use crate::body;
use crate::client::chunked::Tamper;
use crate::client::raw::{Call, NoReply, Raw, Reply};
use crate::client::xml;
use crate::history::answer::{code, etag, refused, seq};
use crate::history::statuses::{Asked, Statuses};
use crate::history::versioned::Versioned;
use crate::history::workload::Shared;
use crate::history::{Condition, History, NEVER, Op, Outcome, Record, Seen, Written};
use crate::rng::Rng;

mod list;
mod versions;

const HOT_KEYS: u64 = 6;
const KEYS: u64 = 64;
const DIRECTORIES: u64 = 8;
const PART: usize = 5 << 20;

/// The client.
pub struct Client {
    number: u32,
    shared: Arc<Shared>,
    raw: Raw,
    gateway: usize,
    rng: Rng,
    /// What it last saw under a key: value and id of the body.
    known: HashMap<String, (Seen, u64)>,
    records: Vec<Record>,
    /// Ids of versions that it made or saw, per key.
    versions: HashMap<String, Vec<String>>,
    versioned: Vec<Versioned>,
    statuses: Statuses,
}

impl Client {
    pub(crate) fn new(number: u32, shared: Arc<Shared>) -> Self {
        let gateway = number as usize % shared.plan.gateways.len();
        let raw = Raw::over(
            shared.plan.net.clone(),
            &shared.plan.gateways[gateway],
            shared.plan.keys.clone(),
            shared.plan.timeout,
        );
        let rng = Rng::new(shared.plan.seed ^ u64::from(number) << 32);
        Self {
            number,
            shared,
            raw,
            gateway,
            rng,
            known: HashMap::new(),
            records: Vec::new(),
            versions: HashMap::new(),
            versioned: Vec::new(),
            statuses: Statuses::default(),
        }
    }

    pub(crate) fn think(&self) -> Duration {
        self.shared.plan.think
    }

    pub(crate) fn into_parts(self) -> (History, Statuses) {
        (History { records: self.records, versioned: self.versioned }, self.statuses)
    }

    pub(crate) fn next_gateway(&mut self) {
        self.gateway = (self.gateway + 1) % self.shared.plan.gateways.len();
        self.raw.turn_to(&self.shared.plan.gateways[self.gateway]);
    }

    /// One operation of the mix.
    pub(crate) async fn step(&mut self) {
        let generation = self.shared.generation();
        if self.shared.plan.versions.is_some() && self.rng.percent(12) {
            return self.version(generation).await;
        }
        let key = self.key(generation);
        match self.rng.below(100) {
            0..=31 => self.put(&key, Condition::None).await,
            32..=36 => self.put(&key, Condition::Absent).await,
            37..=42 => {
                let condition = self.known.get(&key).map(|(seen, _)| Condition::Match(seen.etag.clone()));
                self.put(&key, condition.unwrap_or(Condition::Absent)).await;
            }
            43..=70 => {
                self.get(&key).await;
            }
            71..=76 => self.range(&key).await,
            77..=84 => self.head(&key).await,
            85..=90 => self.delete(&key).await,
            91 => {
                let keys: Vec<String> = (0..3).map(|_| self.key(generation)).collect();
                self.delete_many(keys).await;
            }
            93..=94 => {
                let to = self.key(generation);
                self.copy(&key, &to).await;
            }
            95 if self.shared.plan.large => self.multipart(&key).await,
            92 => self.chunked(&key).await,
            96 => {
                self.list(&format!("w{generation}-"), None).await;
            }
            97 => {
                self.list(&format!("w{generation}-"), Some("/")).await;
            }
            _ => {
                let directory = key.split_once('/').map_or("", |(directory, _)| directory).to_owned();
                self.list(&format!("{directory}/"), None).await;
            }
        }
    }

    fn key(&mut self, generation: u64) -> String {
        let number = if self.rng.percent(70) { self.rng.below(HOT_KEYS) } else { self.rng.below(KEYS) };
        format!("w{generation}-{}/k{number:02}", number % DIRECTORIES)
    }

    fn size(&mut self) -> usize {
        match self.rng.below(100) {
            0..=84 => 4096,
            85..=87 => 0,
            88..=90 => 1,
            91..=94 => 65_535,
            95..=96 => 65_537,
            _ if self.shared.plan.large => 1 << 20,
            _ => 4095,
        }
    }

    /// Whether this client's writes ask for the leader's word alone.
    fn asks_early(&self) -> bool {
        self.shared.plan.early && self.number % 2 == 1
    }

    /// Whether a write that was acknowledged may be lost all the same: its leader alone stands for it, as was asked.
    fn excuses(&self, reply: &Reply) -> bool {
        self.asks_early() && reply.header("x-holdfast-ack") == Some("leader")
    }

    fn object(&self, method: Method, key: &str) -> Call {
        let early = self.asks_early() && matches!(method, Method::PUT | Method::DELETE);
        let call = Call::object(method, &self.shared.plan.bucket, key);
        if early { call.header("x-holdfast-ack", "leader") } else { call }
    }

    /// Sends; afterwards turns away from a gateway that does not answer.
    async fn send(&mut self, asked: Asked, call: Call) -> Result<Reply, NoReply> {
        let began = self.shared.now();
        let result = self.raw.call(call).await;
        self.shared.took(self.shared.now() - began);
        self.statuses.count(asked, &result);
        if result.is_err() {
            self.next_gateway();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        result
    }

    fn record(&mut self, key: &str, op: Op, start: u64, outcome: Outcome, seq: Option<Seq>) {
        let end = match (&op, &outcome) {
            (Op::Write(_) | Op::Delete, Outcome::Unknown(_)) => NEVER,
            _ => self.shared.now(),
        };
        self.records.push(Record { client: self.number, key: key.into(), op, start, end, outcome, seq });
    }

    /// Records a write and what its answer says, and remembers the value if it is there now.
    fn wrote(&mut self, key: &str, mut write: Written, body: u64, start: u64, result: Result<Reply, NoReply>) {
        let (outcome, seq) = match &result {
            // A late error travels in a 200.
            Ok(reply) if reply.status.is_success() && reply.body.windows(6).any(|w| w == b"<Error") => {
                (Outcome::Unknown(code(reply)), None)
            }
            Ok(reply) if reply.status.is_success() && self.excuses(reply) => {
                (Outcome::Unknown("the leader's word alone".into()), None)
            }
            Ok(reply) if reply.status.is_success() => {
                let stated = etag(reply)
                    .or_else(|| xml::text(&reply.text(), "ETag").map(|etag| etag.trim_matches('"').to_owned()));
                if let Some(etag) = stated.filter(|_| write.etag.is_none()) {
                    write.etag = Some(etag);
                }
                (Outcome::Done, seq(reply))
            }
            Ok(reply) if reply.status == StatusCode::PRECONDITION_FAILED && write.condition != Condition::None => {
                (Outcome::RefusedPresent, None)
            }
            Ok(reply)
                if reply.status == StatusCode::NOT_FOUND
                    && matches!(write.condition, Condition::Match(_))
                    && code(reply) == "NoSuchKey" =>
            {
                (Outcome::RefusedAbsent, None)
            }
            _ => (refused(&result), None),
        };
        if let (Outcome::Done, Some(etag)) = (&outcome, &write.etag) {
            let seen = Seen { write: write.write, size: write.size, etag: etag.clone(), fault: None };
            self.known.insert(key.into(), (seen, body));
        }
        self.record(key, Op::Write(write), start, outcome, seq);
    }

    async fn put(&mut self, key: &str, condition: Condition) {
        let (id, size) = (self.shared.write_id(), self.size());
        let bytes = body::make(id, size);
        let etag = hex::encode(Md5::digest(&bytes));
        let mut call = self.object(Method::PUT, key).header("x-amz-meta-write", id).header("x-amz-meta-body", id);
        match &condition {
            Condition::None => {}
            Condition::Absent => call = call.header("if-none-match", "*"),
            Condition::Match(etag) => call = call.header("if-match", format!("\"{etag}\"")),
        }
        let start = self.shared.now();
        let result = self.send(Asked::put(&condition), call.body(bytes)).await;
        let write = Written { write: id, size: size as u64, etag: Some(etag), condition };
        self.wrote(key, write, id, start, result);
    }

    /// Puts in signed chunks; half of the time somebody tampers with them, which must be noticed.
    async fn chunked(&mut self, key: &str) {
        let id = self.shared.write_id();
        let bytes = body::make(id, 40_000);
        let tamper = if self.rng.percent(50) { *self.rng.pick(&Tamper::ALL) } else { Tamper::Nothing };
        let etag = hex::encode(Md5::digest(&bytes));
        let mut call = self.object(Method::PUT, key).header("x-amz-meta-write", id).header("x-amz-meta-body", id);
        call.chunked = Some(tamper);
        let start = self.shared.now();
        let call = call.body(bytes);
        // A refusal of what was tampered with is no failure of the store.
        let result = match tamper {
            Tamper::Nothing => self.send(Asked::Put, call).await,
            _ => self.raw.call(call).await,
        };
        let write = Written { write: id, size: 40_000, etag: Some(etag), condition: Condition::None };
        if tamper == Tamper::Nothing {
            return self.wrote(key, write, id, start, result);
        }
        let outcome = match &result {
            Ok(reply) if reply.status.is_success() => Outcome::Forged(format!("{tamper:?}")),
            // Nothing of it may ever be seen, whatever the answer was.
            _ => Outcome::Failed(format!("tampered with: {tamper:?}")),
        };
        self.record(key, Op::Write(write), start, outcome, None);
    }

    /// What a read's answer shows; `None` when it shows nothing.
    fn seen(&mut self, key: &str, reply: &Reply, size: u64, fault: impl FnOnce(u64) -> Option<String>) -> Outcome {
        let number = |name: &str| reply.header(name).and_then(|value| value.parse::<u64>().ok());
        let (Some(write), Some(body), Some(etag)) =
            (number("x-amz-meta-write"), number("x-amz-meta-body"), etag(reply))
        else {
            let fault = Some(format!("metadata or entity tag is missing: {:?}", reply.headers));
            return Outcome::Saw(Some(Seen { write: 0, size, etag: String::new(), fault }));
        };
        let seen = Seen { write, size, etag, fault: fault(body) };
        self.known.insert(key.into(), (seen.clone(), body));
        Outcome::Saw(Some(seen))
    }

    fn read(&mut self, key: &str, start: u64, outcome: Outcome, result: &Result<Reply, NoReply>) {
        let seq = result.as_ref().ok().and_then(seq).filter(|_| matches!(outcome, Outcome::Saw(_)));
        self.record(key, Op::Read, start, outcome, seq);
    }

    fn unread(&mut self, key: &str, result: &Result<Reply, NoReply>) -> Outcome {
        match result {
            Ok(reply) if reply.status == StatusCode::NOT_FOUND && matches!(code(reply).as_str(), "NoSuchKey" | "") => {
                self.known.remove(key);
                Outcome::Saw(None)
            }
            Ok(reply) => Outcome::Failed(format!("{} {}", reply.status, code(reply))),
            Err(why) => Outcome::Failed(why.to_string()),
        }
    }

    /// Reads a whole object; whether something was learnt.
    pub(crate) async fn get(&mut self, key: &str) -> bool {
        let start = self.shared.now();
        let result = self.send(Asked::Get, self.object(Method::GET, key)).await;
        let outcome = match &result {
            Ok(reply) if reply.status == StatusCode::OK => {
                let bytes: Bytes = reply.body.clone();
                let size = bytes.len() as u64;
                self.seen(key, reply, size, |id| body::verify(id, &bytes).err().map(|fault| fault.to_string()))
            }
            _ => self.unread(key, &result),
        };
        let learnt = matches!(outcome, Outcome::Saw(_));
        self.read(key, start, outcome, &result);
        learnt
    }

    async fn range(&mut self, key: &str) {
        let first = self.rng.below(4096) as usize;
        let last = first + self.rng.below(70_000) as usize;
        let start = self.shared.now();
        let call = self.object(Method::GET, key).header("range", format!("bytes={first}-{last}"));
        let result = self.send(Asked::GetRange, call).await;
        let outcome = match &result {
            Ok(reply) if reply.status == StatusCode::PARTIAL_CONTENT => {
                let whole = reply.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok());
                let whole: u64 = whole.unwrap_or(0);
                let bytes = reply.body.clone();
                let expected = (last as u64 + 1).min(whole).saturating_sub(first as u64);
                self.seen(key, reply, whole, |id| {
                    if bytes.len() as u64 != expected {
                        return Some(format!("a range of {} bytes instead of {expected}", bytes.len()));
                    }
                    body::verify_range(id, whole as usize, first, &bytes).err().map(|fault| fault.to_string())
                })
            }
            _ => self.unread(key, &result),
        };
        self.read(key, start, outcome, &result);
    }

    async fn head(&mut self, key: &str) {
        let start = self.shared.now();
        let result = self.send(Asked::Head, self.object(Method::HEAD, key)).await;
        let outcome = match &result {
            Ok(reply) if reply.status == StatusCode::OK => {
                let size = reply.header("content-length").and_then(|size| size.parse().ok()).unwrap_or(u64::MAX);
                self.seen(key, reply, size, |_| None)
            }
            _ => self.unread(key, &result),
        };
        self.read(key, start, outcome, &result);
    }

    async fn delete(&mut self, key: &str) {
        let start = self.shared.now();
        let result = self.send(Asked::Delete, self.object(Method::DELETE, key)).await;
        let (outcome, seq) = match &result {
            Ok(reply) if reply.status.is_success() && self.excuses(reply) => {
                (Outcome::Unknown("the leader's word alone".into()), None)
            }
            Ok(reply) if reply.status.is_success() => (Outcome::Done, seq(reply)),
            _ => (refused(&result), None),
        };
        self.known.remove(key);
        self.record(key, Op::Delete, start, outcome, seq);
    }

    async fn delete_many(&mut self, mut keys: Vec<String>) {
        keys.sort();
        keys.dedup();
        let objects: String =
            keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", xml::escape(key))).collect();
        let body = format!("<Delete>{objects}</Delete>");
        let md5 = BASE64.encode(Md5::digest(body.as_bytes()));
        let call = Call::bucket(Method::POST, &self.shared.plan.bucket).query("delete", "").header("content-md5", md5);
        let start = self.shared.now();
        let result = self.send(Asked::DeleteMany, call.body(body)).await;
        let deleted: Vec<String> = match &result {
            Ok(reply) if reply.status.is_success() => {
                let text = reply.text();
                xml::elements(&text, "Deleted").iter().filter_map(|one| xml::text(one, "Key")).collect()
            }
            _ => Vec::new(),
        };
        for key in keys {
            let outcome = match &result {
                Ok(reply) if reply.status.is_success() && deleted.contains(&key) => Outcome::Done,
                Ok(reply) if reply.status.is_success() => Outcome::Unknown("an error inside the 200".into()),
                _ => refused(&result),
            };
            self.known.remove(&key);
            self.record(&key, Op::Delete, start, outcome, None);
        }
    }

    /// Copies what this client last saw under `from`, if it is still that.
    async fn copy(&mut self, from: &str, to: &str) {
        let Some((source, body)) = self.known.get(from).cloned().filter(|_| from != to) else {
            self.head(from).await;
            return;
        };
        let id = self.shared.write_id();
        let call = self
            .object(Method::PUT, to)
            .header("x-amz-copy-source", format!("/{}/{from}", self.shared.plan.bucket))
            .header("x-amz-copy-source-if-match", format!("\"{}\"", source.etag))
            .header("x-amz-metadata-directive", "REPLACE")
            .header("x-amz-meta-write", id)
            .header("x-amz-meta-body", body);
        let start = self.shared.now();
        let result = self.send(Asked::Copy, call).await;
        // One entity tag can belong to two bodies only when these are too short to tell apart by it.
        let short = source.size == 0;
        let write = Written { write: id, size: source.size, etag: None, condition: Condition::None };
        self.wrote(to, write, if short { id } else { body }, start, result);
    }

    async fn multipart(&mut self, key: &str) {
        let id = self.shared.write_id();
        let bytes = body::make(id, 8 << 20);
        let call = self
            .object(Method::POST, key)
            .query("uploads", "")
            .header("x-amz-meta-write", id)
            .header("x-amz-meta-body", id);
        let Ok(created) = self.send(Asked::CreateUpload, call).await else { return };
        let Some(upload) = xml::text(&created.text(), "UploadId") else { return };
        let (mut parts, mut digests) = (String::new(), Vec::new());
        for (number, part) in [bytes.slice(..PART), bytes.slice(PART..)].into_iter().enumerate() {
            let digest = Md5::digest(&part);
            let call =
                self.object(Method::PUT, key).query("partNumber", number + 1).query("uploadId", &upload).body(part);
            match self.send(Asked::PutPart, call).await {
                Ok(reply) if reply.status.is_success() => {}
                _ => return self.abort(key, &upload).await,
            }
            let etag = hex::encode(digest);
            parts += &format!("<Part><PartNumber>{}</PartNumber><ETag>\"{etag}\"</ETag></Part>", number + 1);
            digests.extend_from_slice(&digest);
        }
        let etag = format!("{}-2", hex::encode(Md5::digest(&digests)));
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let start = self.shared.now();
        let call = self.object(Method::POST, key).query("uploadId", &upload).body(body);
        let result = self.send(Asked::CompleteUpload, call).await;
        let write = Written { write: id, size: bytes.len() as u64, etag: Some(etag), condition: Condition::None };
        self.wrote(key, write, id, start, result);
    }

    async fn abort(&mut self, key: &str, upload: &str) {
        let _ = self.send(Asked::AbortUpload, self.object(Method::DELETE, key).query("uploadId", upload)).await;
    }
}
