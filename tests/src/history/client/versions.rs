//! What a client does to a bucket that keeps versions.

use http::{Method, StatusCode};
use md5::{Digest, Md5};

use super::Client;
use crate::body;
use crate::client::raw::{Call, NoReply, Reply};
use crate::client::xml;
use crate::history::answer::{code, etag, refused};
use crate::history::statuses::Asked;
use crate::history::versioned::{Listing, Op, Outcome, Shown, Versioned};
use crate::history::{self, NEVER};

/// Few, so that clients meet.
const KEYS: u64 = 4;

impl Client {
    /// One operation of the mix.
    pub(super) async fn version(&mut self, generation: u64) {
        let key = format!("w{generation}-{}/k", self.rng.below(KEYS));
        match self.rng.below(100) {
            0..=34 => self.put_version(&key).await,
            35..=44 => self.mark(&key).await,
            45..=59 => match self.some_version(&key) {
                Some(version) => self.remove(&key, version).await,
                None => self.put_version(&key).await,
            },
            60..=74 => {
                self.read_version(&key, None).await;
            }
            75..=86 => {
                let version = self.some_version(&key);
                self.read_version(&key, version).await;
            }
            _ => {
                self.list_versions(&key).await;
            }
        }
    }

    /// Reads all that is there to be read under a key; whether all of it was learnt.
    pub(crate) async fn read_versions(&mut self, key: &str) -> bool {
        let Some(listing) = self.list_versions(key).await else { return false };
        for (version, _) in listing.objects {
            if !self.read_version(key, Some(version)).await {
                return false;
            }
        }
        self.read_version(key, None).await
    }

    fn some_version(&mut self, key: &str) -> Option<String> {
        let known = self.versions.get(key).filter(|known| !known.is_empty())?;
        Some(self.rng.pick(known).clone())
    }

    fn knows(&mut self, key: &str, version: &str) {
        let known = self.versions.entry(key.to_owned()).or_default();
        if !known.iter().any(|one| one == version) {
            known.push(version.to_owned());
        }
    }

    fn call(&self, method: Method, key: &str, version: Option<&str>) -> Call {
        let bucket = self.shared.plan.versions.as_deref().unwrap_or_default();
        let call = Call::object(method, bucket, key);
        version.map_or(call.clone(), |version| call.query("versionId", version))
    }

    fn keep(&mut self, key: &str, op: Op, start: u64, outcome: Outcome) {
        let end = if matches!(outcome, Outcome::Unknown(_)) { NEVER } else { self.shared.now() };
        let record = Versioned { client: self.number, key: key.into(), op, start, end, outcome };
        self.versioned.push(record);
    }

    /// What is known of a change that made a version, whose id the client knows from now on.
    fn made(&mut self, key: &str, result: &Result<Reply, NoReply>) -> Outcome {
        match result {
            Ok(reply) if reply.status.is_success() => match reply.header("x-amz-version-id") {
                Some(version) => {
                    self.knows(key, version);
                    Outcome::Made(version.to_owned())
                }
                // No version has no name.
                None => Outcome::Made(String::new()),
            },
            _ => uncertain(result),
        }
    }

    async fn put_version(&mut self, key: &str) {
        let write = self.shared.write_id();
        let size = if self.rng.percent(75) { 100 } else { 70_000 };
        let bytes = body::make(write, size);
        let etag = hex::encode(Md5::digest(&bytes));
        let start = self.shared.now();
        let call = self.call(Method::PUT, key, None).header("x-amz-meta-body", write).body(bytes);
        let result = self.send(Asked::Put, call).await;
        let outcome = self.made(key, &result);
        self.keep(key, Op::Put { write, etag }, start, outcome);
    }

    async fn mark(&mut self, key: &str) {
        let start = self.shared.now();
        let result = self.send(Asked::Delete, self.call(Method::DELETE, key, None)).await;
        let outcome = self.made(key, &result);
        self.keep(key, Op::Mark, start, outcome);
    }

    async fn remove(&mut self, key: &str, version: String) {
        let start = self.shared.now();
        let result = self.send(Asked::Delete, self.call(Method::DELETE, key, Some(&version))).await;
        let outcome = match &result {
            Ok(reply) if reply.status.is_success() => Outcome::Removed,
            _ => uncertain(&result),
        };
        self.keep(key, Op::Remove(version), start, outcome);
    }

    async fn read_version(&mut self, key: &str, version: Option<String>) -> bool {
        let start = self.shared.now();
        let asked = if version.is_some() { Asked::GetVersion } else { Asked::Get };
        let result = self.send(asked, self.call(Method::GET, key, version.as_deref())).await;
        let outcome = match &result {
            Ok(reply) => shown(reply).map_or_else(Outcome::Failed, Outcome::Saw),
            Err(why) => Outcome::Failed(why.to_string()),
        };
        let learnt = matches!(outcome, Outcome::Saw(_));
        self.keep(key, Op::Read(version), start, outcome);
        learnt
    }

    async fn list_versions(&mut self, key: &str) -> Option<Listing> {
        let bucket = self.shared.plan.versions.as_deref().unwrap_or_default();
        let call = Call::bucket(Method::GET, bucket).query("versions", "").query("prefix", key);
        let start = self.shared.now();
        let listing = match self.send(Asked::List, call).await {
            Ok(reply) if reply.status == StatusCode::OK => Ok(listing(&reply.text())),
            Ok(reply) => Err(format!("{} {}", reply.status, code(&reply))),
            Err(why) => Err(why.to_string()),
        };
        for (version, _) in listing.iter().flat_map(|listing| &listing.objects) {
            self.knows(key, version);
        }
        let outcome = listing.clone().map_or_else(Outcome::Failed, Outcome::Listed);
        self.keep(key, Op::List, start, outcome);
        listing.ok()
    }
}

/// Of a change that was not acknowledged.
fn uncertain(result: &Result<Reply, NoReply>) -> Outcome {
    match refused(result) {
        history::Outcome::Unknown(why) => Outcome::Unknown(why),
        other => Outcome::Failed(format!("{other:?}")),
    }
}

/// What the answer to a GET shows; an error where it shows nothing.
fn shown(reply: &Reply) -> Result<Shown, String> {
    let marker = reply.header("x-amz-delete-marker") == Some("true");
    match (reply.status, code(reply).as_str()) {
        (StatusCode::OK, _) => {
            let id = reply.header("x-amz-meta-body").and_then(|id| id.parse().ok());
            let fault = match id {
                Some(id) => body::verify(id, &reply.body).err().map(|fault| fault.to_string()),
                None => Some("its metadata is missing".to_owned()),
            };
            let version = reply.header("x-amz-version-id").unwrap_or_default().to_owned();
            Ok(Shown::Object { version, etag: etag(reply).unwrap_or_default(), fault })
        }
        (StatusCode::NOT_FOUND, "NoSuchKey") | (StatusCode::METHOD_NOT_ALLOWED, _) if marker => Ok(Shown::Marker),
        (StatusCode::NOT_FOUND, "NoSuchKey" | "NoSuchVersion") => Ok(Shown::Nothing),
        (status, code) => Err(format!("{status} {code}")),
    }
}

fn listing(text: &str) -> Listing {
    let version = |one: &str| xml::text(one, "VersionId").unwrap_or_default();
    let (objects, markers) = (xml::elements(text, "Version"), xml::elements(text, "DeleteMarker"));
    let newest = |one: &&&str| xml::text(one, "IsLatest").as_deref() == Some("true");
    let latest = objects.iter().chain(&markers).filter(newest).map(|one| version(one)).collect();
    let etag = |one: &str| xml::text(one, "ETag").unwrap_or_default().trim_matches('"').to_owned();
    Listing {
        objects: objects.iter().map(|one| (version(one), etag(one))).collect(),
        markers: markers.iter().map(|one| version(one)).collect(),
        latest,
    }
}
