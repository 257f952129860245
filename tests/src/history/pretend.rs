//! An S3 endpoint in memory, as small as the workload needs it, with faults on request: what it does wrong, the
//! checkers must find. It checks no signatures.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::client::xml;
use crate::rng::Rng;

/// What it does wrong now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Closes the connection instead of answering a write, which it has carried out or not. No fault: clients must
    /// cope with it.
    NoAnswer,
    /// Acknowledges a put that it forgets.
    LostWrite,
    /// Reads the value before the current one.
    StaleRead,
    /// Acknowledges a delete that it does not carry out.
    LostDelete,
    /// Flips a bit of a body.
    WrongByte,
    /// Leaves a key out of a listing.
    ShortList,
    /// Carries out a write whose precondition does not hold.
    IgnoredCondition,
    /// Gives two writes one version.
    RepeatedVersion,
    /// Cuts a body short, in a way that HTTP does not notice.
    ShortBody,
    /// Answers with a 500.
    InternalError,
    /// Says that the bucket is not there.
    LostBucket,
}

/// Every fault that a checker must find.
pub const CAUGHT: [Fault; 10] = [
    Fault::LostWrite,
    Fault::StaleRead,
    Fault::LostDelete,
    Fault::WrongByte,
    Fault::ShortList,
    Fault::IgnoredCondition,
    Fault::RepeatedVersion,
    Fault::ShortBody,
    Fault::InternalError,
    Fault::LostBucket,
];

#[derive(Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    meta: Vec<(String, String)>,
}

struct Upload {
    meta: Vec<(String, String)>,
    parts: BTreeMap<u32, Bytes>,
}

struct State {
    fault: Fault,
    rng: Rng,
    objects: BTreeMap<String, Stored>,
    before: HashMap<String, Stored>,
    uploads: HashMap<String, Upload>,
    version: u64,
}

/// The endpoint; gone when dropped.
pub struct Pretend {
    /// `host:port`
    pub authority: String,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Pretend {
    /// Listens on loopback.
    pub async fn start(fault: Fault, seed: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let authority = listener.local_addr()?.to_string();
        let state = Arc::new(Mutex::new(State {
            fault,
            rng: Rng::new(seed),
            objects: BTreeMap::new(),
            before: HashMap::new(),
            uploads: HashMap::new(),
            version: 0,
        }));
        let mut tasks = JoinSet::new();
        let shared = state.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                connections.spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { authority, state, _tasks: tasks })
    }

    /// From now on it does this wrong.
    pub fn turn_to(&self, fault: Fault) {
        self.state.lock().expect("nobody panics with it").fault = fault;
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
struct Closed;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Closed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    let query: BTreeMap<String, String> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), decode(value)))
        .collect();
    let path = decode(head.uri.path());
    let key = path.trim_start_matches('/').split_once('/').map_or(String::new(), |(_, key)| key.to_owned());
    let mut state = state.lock().expect("nobody panics with it");
    let silent = state.fault == Fault::NoAnswer && head.method != Method::GET && state.rng.percent(3);
    if silent && state.rng.percent(50) {
        return Err(Closed);
    }
    let response = state.answer(&head.method, key, &query, &head.headers, body);
    if silent { Err(Closed) } else { Ok(response) }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    reply(status, format!("<Error><Code>{code}</Code></Error>"))
}

fn with(mut response: Response<Full<Bytes>>, name: &'static str, value: &str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(name, value.parse().expect("a header value"));
    response
}

fn meta(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let pairs = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-meta-"));
    pairs.map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl State {
    fn goes_wrong(&mut self, fault: Fault, percent: u64) -> bool {
        self.fault == fault && self.rng.percent(percent)
    }

    fn answer(
        &mut self,
        method: &Method,
        key: String,
        query: &BTreeMap<String, String>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response<Full<Bytes>> {
        if self.goes_wrong(Fault::InternalError, 5) {
            return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        if self.goes_wrong(Fault::LostBucket, 5) {
            return error(StatusCode::NOT_FOUND, "NoSuchBucket");
        }
        let upload = query.get("uploadId").cloned();
        match (method.as_str(), key.is_empty(), upload) {
            ("GET", true, _) => self.list(query),
            ("POST", true, _) => self.delete_many(&String::from_utf8_lossy(&body)),
            (_, true, _) => reply(StatusCode::OK, ""),
            ("GET" | "HEAD", false, _) => self.read(&key, headers, method == Method::HEAD),
            ("PUT", false, Some(upload)) => {
                let number = query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
                if let Some(upload) = self.uploads.get_mut(&upload) {
                    upload.parts.insert(number, body);
                }
                reply(StatusCode::OK, "")
            }
            ("POST", false, Some(upload)) => self.complete(key, &upload),
            ("POST", false, None) => {
                let id = format!("u{}", self.rng.next_u64());
                self.uploads.insert(id.clone(), Upload { meta: meta(headers), parts: BTreeMap::new() });
                reply(StatusCode::OK, format!("<R><UploadId>{id}</UploadId></R>"))
            }
            ("PUT", false, None) => self.put(key, headers, body),
            _ => {
                self.delete(&key);
                with(reply(StatusCode::NO_CONTENT, ""), "x-holdfast-seq", &format!("1-{}", self.version))
            }
        }
    }

    fn put(&mut self, key: String, headers: &HeaderMap, body: Bytes) -> Response<Full<Bytes>> {
        // It cannot read signed chunks; to be asked to come back is never wrong.
        if headers.contains_key("x-amz-trailer") {
            return error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
        }
        let quoted = |name: &str| header(headers, name).map(|etag| etag.trim_matches('"').to_owned());
        let present = self.objects.get(&key).map(|stored| stored.etag.clone());
        if !self.goes_wrong(Fault::IgnoredCondition, 50) {
            if quoted("if-none-match").is_some() && present.is_some() {
                return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
            }
            match (quoted("if-match"), present) {
                (Some(_), None) => return error(StatusCode::NOT_FOUND, "NoSuchKey"),
                (Some(wanted), Some(etag)) if wanted != etag => {
                    return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
                }
                _ => {}
            }
        }
        let body = match header(headers, "x-amz-copy-source") {
            None => body,
            Some(source) => {
                let source = decode(source);
                let source = source.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
                match self.objects.get(source) {
                    None => return error(StatusCode::NOT_FOUND, "NoSuchKey"),
                    Some(stored) if Some(&stored.etag) != quoted("x-amz-copy-source-if-match").as_ref() => {
                        return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
                    }
                    Some(stored) => stored.body.clone(),
                }
            }
        };
        let etag = hex::encode(Md5::digest(&body));
        self.store(key, body, etag, meta(headers))
    }

    fn store(&mut self, key: String, body: Bytes, etag: String, meta: Vec<(String, String)>) -> Response<Full<Bytes>> {
        if !self.goes_wrong(Fault::RepeatedVersion, 2) {
            self.version += 1;
        }
        let stored = Stored { body, etag: etag.clone(), meta };
        if !self.goes_wrong(Fault::LostWrite, 2)
            && let Some(before) = self.objects.insert(key.clone(), stored)
        {
            self.before.insert(key, before);
        }
        let answer = reply(StatusCode::OK, format!("<R><ETag>\"{etag}\"</ETag></R>"));
        with(with(answer, "etag", &format!("\"{etag}\"")), "x-holdfast-seq", &format!("1-{}", self.version))
    }

    fn complete(&mut self, key: String, upload: &str) -> Response<Full<Bytes>> {
        let Some(upload) = self.uploads.remove(upload) else { return error(StatusCode::NOT_FOUND, "NoSuchUpload") };
        let digests: Vec<u8> = upload.parts.values().flat_map(|part| Md5::digest(part).to_vec()).collect();
        let etag = format!("{}-{}", hex::encode(Md5::digest(&digests)), upload.parts.len());
        let body: Vec<u8> = upload.parts.into_values().flatten().collect();
        self.store(key, body.into(), etag, upload.meta)
    }

    fn delete(&mut self, key: &str) {
        if !self.goes_wrong(Fault::LostDelete, 10) {
            self.version += 1;
            self.objects.remove(key);
            self.before.remove(key);
        }
    }

    fn delete_many(&mut self, body: &str) -> Response<Full<Bytes>> {
        let keys = xml::texts(body, "Key");
        keys.iter().for_each(|key| self.delete(key));
        let deleted: String = keys.iter().map(|key| format!("<Deleted><Key>{key}</Key></Deleted>")).collect();
        reply(StatusCode::OK, format!("<DeleteResult>{deleted}</DeleteResult>"))
    }

    fn read(&mut self, key: &str, headers: &HeaderMap, head: bool) -> Response<Full<Bytes>> {
        let stale = self.goes_wrong(Fault::StaleRead, 5);
        let found = self.before.get(key).filter(|_| stale).or_else(|| self.objects.get(key));
        let Some(stored) = found.cloned() else { return error(StatusCode::NOT_FOUND, "NoSuchKey") };
        let whole = stored.body.len();
        let range = header(headers, "range").and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?.min(whole.saturating_sub(1))))
        });
        let mut bytes = match range {
            Some((first, _)) if first >= whole => return error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"),
            Some((first, last)) => stored.body.slice(first..=last),
            None => stored.body.clone(),
        };
        if !bytes.is_empty() && self.goes_wrong(Fault::WrongByte, 2) {
            let mut wrong = bytes.to_vec();
            let at = self.rng.below(wrong.len() as u64) as usize;
            wrong[at] ^= 1;
            bytes = wrong.into();
        }
        if !bytes.is_empty() && self.goes_wrong(Fault::ShortBody, 2) {
            bytes.truncate(bytes.len() - 1);
        }
        let mut answer = match (head, range) {
            (true, _) => with(reply(StatusCode::OK, ""), "content-length", &whole.to_string()),
            (false, None) => reply(StatusCode::OK, bytes),
            (false, Some((first, last))) => with(
                reply(StatusCode::PARTIAL_CONTENT, bytes),
                "content-range",
                &format!("bytes {first}-{last}/{whole}"),
            ),
        };
        for (name, value) in &stored.meta {
            let name: http::HeaderName = name.parse().expect("a header name");
            answer.headers_mut().insert(name, value.parse().expect("a header value"));
        }
        let seq = format!("1-{}", self.version);
        with(with(answer, "etag", &format!("\"{}\"", stored.etag)), "x-holdfast-seq", &seq)
    }

    fn list(&mut self, query: &BTreeMap<String, String>) -> Response<Full<Bytes>> {
        let of = |name: &str| query.get(name).cloned().unwrap_or_default();
        let (prefix, delimiter, after) = (of("prefix"), of("delimiter"), of("continuation-token"));
        let limit: usize = of("max-keys").parse().unwrap_or(1000);
        let short = self.goes_wrong(Fault::ShortList, 20);
        let mut found: Vec<(String, bool)> = Vec::new();
        for key in self.objects.keys().filter(|key| key.starts_with(&prefix)) {
            let rest = &key[prefix.len()..];
            let entry = match rest.find(&delimiter).filter(|_| !delimiter.is_empty()) {
                Some(at) => (key[..prefix.len() + at + delimiter.len()].to_owned(), true),
                None => (key.clone(), false),
            };
            if entry.0 > after && found.last() != Some(&entry) {
                found.push(entry);
            }
        }
        if short && !found.is_empty() {
            found.remove(found.len() / 2);
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let entries: String = found
            .iter()
            .map(|(name, common)| match common {
                true => format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"),
                false => {
                    let etag = self.objects.get(name).map_or("", |stored| &stored.etag);
                    format!("<Contents><Key>{name}</Key><ETag>\"{etag}\"</ETag></Contents>")
                }
            })
            .collect();
        let token = found.last().filter(|_| more);
        let token =
            token.map_or(String::new(), |(name, _)| format!("<NextContinuationToken>{name}</NextContinuationToken>"));
        let count = found.len();
        reply(
            StatusCode::OK,
            format!("<L><KeyCount>{count}</KeyCount><IsTruncated>{more}</IsTruncated>{token}{entries}</L>"),
        )
    }
}
