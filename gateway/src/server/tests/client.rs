//! A client that sends what no SDK would: raw sockets, and a signer of its own (SigV4 as in the AWS API reference).

use std::time::Duration;

use holdfast_wire::seam::{Clock, Seams, SystemClock};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ACCESS_KEY, SECRET_KEY};

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query as they go over the wire; the tests use paths that need no encoding.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    pub service: String,
    /// Seconds since 1970.
    pub time: u64,
}

pub fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

impl Request {
    pub fn new(method: &str, target: &str, host: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("host".to_owned(), host.to_owned())],
            body: Vec::new(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            region: "us-east-1".to_owned(),
            service: "s3".to_owned(),
            time: SystemClock.unix_millis() / 1000,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    /// Replaces a header's value, or adds the header.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.headers.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
    }

    pub fn value(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    pub fn drop(&mut self, name: &str) {
        self.headers.retain(|(known, _)| known != name);
    }

    pub fn stamp(&self) -> String {
        let time = time::OffsetDateTime::from_unix_timestamp(self.time as i64).unwrap();
        let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
        time.format(format).unwrap()
    }

    pub fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.stamp()[..8], self.region, self.service)
    }

    pub fn canonical(&self, signed: &[String], payload: &str) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-Signature="))
            .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
            .collect();
        // By name first: `select` stands before `select-type`.
        pairs.sort_by(|one, other| one.split_once('=').cmp(&other.split_once('=')));
        let headers: String = signed.iter().map(|name| format!("{name}:{}\n", self.value(name).trim())).collect();
        format!("{}\n{path}\n{}\n{headers}\n{}\n{payload}", self.method, pairs.join("&"), signed.join(";"))
    }

    pub fn to_sign(&self, canonical: &str) -> String {
        format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.stamp(), self.scope(), hex_sha256(canonical.as_bytes()))
    }

    pub fn signature(&self, to_sign: &str) -> String {
        let date = hmac(format!("AWS4{}", self.secret_key).as_bytes(), &self.stamp().as_bytes()[..8]);
        let region = hmac(&date, self.region.as_bytes());
        let key = hmac(&hmac(&region, self.service.as_bytes()), b"aws4_request");
        hex::encode(hmac(&key, to_sign.as_bytes()))
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Signs every header that is there, in the `Authorization` header.
    pub fn sign(self) -> Self {
        let names = |request: &Self| request.names();
        self.sign_with(names)
    }

    /// Signs the headers that `choose` names.
    pub fn sign_with(mut self, choose: impl FnOnce(&Self) -> Vec<String>) -> Self {
        self.set("x-amz-date", &self.stamp());
        if self.value("x-amz-content-sha256").is_empty() {
            self.set("x-amz-content-sha256", &hex_sha256(&self.body));
        }
        let names = choose(&self);
        let to_sign = self.to_sign(&self.canonical(&names, &self.value("x-amz-content-sha256")));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
            self.access_key,
            self.scope(),
            names.join(";"),
            self.signature(&to_sign)
        );
        self.header("authorization", &authorization)
    }

    /// Signs in the query, for `seconds`.
    pub fn presign(mut self, seconds: u64) -> Self {
        let names = self.names();
        let credential = encode(&format!("{}/{}", self.access_key, self.scope()));
        let joint = if self.target.contains('?') { '&' } else { '?' };
        self.target += &format!(
            "{joint}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}&X-Amz-Expires={seconds}\
             &X-Amz-SignedHeaders={}",
            self.stamp(),
            encode(&names.join(";"))
        );
        let to_sign = self.to_sign(&self.canonical(&names, "UNSIGNED-PAYLOAD"));
        let signature = self.signature(&to_sign);
        self.target += &format!("&X-Amz-Signature={signature}");
        self
    }

    /// The head alone.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let framed = self.headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
        if !framed && (!self.body.is_empty() || self.method == "PUT" || self.method == "POST") {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        (head + "\r\n").into_bytes()
    }

    pub fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of an element of the error document.
    pub fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.to_owned())
    }

    pub fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }
}

pub struct Connection {
    stream: Box<dyn holdfast_wire::seam::Connection>,
    buffer: Vec<u8>,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Connection {
    pub async fn open(address: &str) -> Self {
        Self { stream: Seams::real().net.connect(address).await.unwrap(), buffer: Vec::new() }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads more; false at the end (or a reset).
    async fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk)).await.expect("the gateway hangs");
        let count = read.unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..count]);
        count > 0
    }

    /// The next response; `None` when the connection ends before it.
    pub async fn response(&mut self, head_only: bool) -> Option<Response> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        if head_only || status < 200 || status == 204 {
            return Some(response);
        }
        let length: usize = response.header("content-length").unwrap_or("0").parse().unwrap();
        while self.buffer.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        response.body = self.buffer.drain(..length).collect();
        Some(response)
    }

    /// Waits for the other side to close; what it sent before that is dropped.
    pub async fn closed(&mut self) {
        while self.fill().await {}
    }
}
