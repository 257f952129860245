//! One HTTP/1.1 connection to one gateway, with our own signatures. Tells "never sent" from "no answer": after the
//! first the request was certainly not carried out, after the second it may have been.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use holdfast_wire::seam::{Net, TcpNet};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::client::chunked::{CHUNKED, Tamper};
use crate::client::sign::{Keys, Signer, UNSIGNED, encode, query_string};

/// A request to be signed and sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// HTTP method.
    pub method: Method,
    /// `/`, `/bucket` or `/bucket/key`, percent-encoded.
    pub path: String,
    /// Query, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Headers beside those of the signature; `host` only to pretend another one.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body.
    pub body: Bytes,
    /// Whether the body's SHA-256 is part of the signature.
    pub sign_body: bool,
    /// Whether it goes in signed chunks with a trailer, and what is done to them on the way.
    pub chunked: Option<Tamper>,
}

impl Call {
    /// Of a bucket.
    pub fn bucket(method: Method, bucket: &str) -> Self {
        Self {
            method,
            path: format!("/{bucket}"),
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            sign_body: false,
            chunked: None,
        }
    }

    /// Of an object.
    pub fn object(method: Method, bucket: &str, key: &str) -> Self {
        let mut call = Self::bucket(method, bucket);
        call.path.push('/');
        call.path.push_str(&encode(key, true));
        call
    }

    /// With a query parameter.
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        let value = HeaderValue::from_str(&value.to_string()).expect("a header value of printable ASCII");
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// No complete answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoReply {
    /// Nothing of the request left this process: certainly not carried out.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It was sent, wholly or in part; nobody knows.
    #[error("no answer: {0}")]
    Lost(String),
}

/// The network that clients use.
#[derive(Clone)]
pub struct Wire(pub Arc<dyn Net>);

impl Wire {
    /// The real one.
    pub fn tcp() -> Self {
        Self(Arc::new(TcpNet))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// The client. One request at a time; connects when it must.
pub struct Raw {
    net: Wire,
    authority: String,
    signer: Signer,
    timeout: Duration,
    connection: Option<Connection>,
}

struct Connection {
    send: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Raw {
    /// A client of the gateway at `authority` (`host:port`) that waits `timeout` for each whole answer.
    pub fn new(authority: impl Into<String>, keys: Keys, timeout: Duration) -> Self {
        Self::over(Wire::tcp(), authority, keys, timeout)
    }

    /// As [`new`](Self::new), over another network.
    pub fn over(net: Wire, authority: impl Into<String>, keys: Keys, timeout: Duration) -> Self {
        Self { net, authority: authority.into(), signer: Signer::new(keys), timeout, connection: None }
    }

    /// Turns to another gateway, leaving the connection.
    pub fn turn_to(&mut self, authority: impl Into<String>) {
        self.authority = authority.into();
        self.connection = None;
    }

    /// Where it talks to.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends a request and reads the whole answer.
    pub async fn call(&mut self, call: Call) -> Result<Reply, NoReply> {
        let mut body = Vec::new();
        let (status, headers) = self.stream(call, |chunk| body.extend_from_slice(chunk)).await?;
        Ok(Reply { status, headers, body: body.into() })
    }

    /// Sends a request and gives the answer's bytes to `take` as they arrive.
    pub async fn stream(
        &mut self,
        call: Call,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(StatusCode, HeaderMap), NoReply> {
        let timeout = self.timeout;
        let whole = async {
            let request = self.request(call);
            let response = self.send(request).await?;
            let (head, mut body) = response.into_parts();
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => frame.data_ref().into_iter().for_each(|data| take(data)),
                    Err(error) => return Err(NoReply::Lost(format!("in the answer's body: {error}"))),
                }
            }
            Ok((head.status, head.headers))
        };
        let result = match tokio::time::timeout(timeout, whole).await {
            Ok(result) => result,
            Err(_) => Err(NoReply::Lost(format!("nothing within {timeout:?}"))),
        };
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    /// The head of a signed request as it goes over the wire, for tests that send less than what they promise.
    pub fn head(&mut self, call: Call, content_length: u64) -> String {
        let request = self.request(call.header("content-length", content_length));
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            head += &format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
        }
        head + "\r\n"
    }

    fn request(&mut self, call: Call) -> Request<Full<Bytes>> {
        let mut headers = HeaderMap::with_capacity(call.headers.len() + 4);
        headers.insert(HOST, HeaderValue::from_str(&self.authority).expect("host:port"));
        for (name, value) in call.headers {
            match name == HOST {
                true => drop(headers.insert(name, value)),
                false => drop(headers.append(name, value)),
            }
        }
        if call.chunked.is_some() {
            headers.insert("content-encoding", HeaderValue::from_static("aws-chunked"));
            headers.insert("x-amz-decoded-content-length", call.body.len().into());
            headers.insert("x-amz-trailer", HeaderValue::from_static("x-amz-checksum-sha256"));
        } else if matches!(call.method, Method::PUT | Method::POST) {
            // hyper leaves it out when there is no body, and S3 wants it.
            headers.entry(CONTENT_LENGTH).or_insert_with(|| call.body.len().into());
        }
        let hash = if call.sign_body { hex::encode(Sha256::digest(&call.body)) } else { UNSIGNED.into() };
        let (now, hash) = (SystemTime::now(), if call.chunked.is_some() { CHUNKED.to_owned() } else { hash });
        self.signer.sign(call.method.as_str(), &call.path, &call.query, &mut headers, &hash, now);
        let body = match call.chunked {
            None => call.body,
            Some(tamper) => {
                let authorization = String::from_utf8_lossy(headers[AUTHORIZATION].as_bytes()).into_owned();
                let seed = authorization.rsplit_once('=').map_or("", |(_, signature)| signature);
                let body = self.signer.chunks(seed, &call.body, now, tamper);
                headers.insert(CONTENT_LENGTH, body.len().into());
                body
            }
        };
        let uri = match call.query.is_empty() {
            true => call.path,
            false => format!("{}?{}", call.path, query_string(&call.query)),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = call.method;
        *request.uri_mut() = uri.parse().expect("an encoded path and query");
        *request.headers_mut() = headers;
        request
    }

    /// Sends on the kept connection if it still takes requests, else on a new one. What hyper hands back was not sent.
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NoReply> {
        loop {
            let kept = self.connection.is_some();
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => self.connection.insert(connect(&self.net, &self.authority).await?),
            };
            if connection.send.ready().await.is_err() {
                self.connection = None;
                if kept {
                    continue;
                }
                return Err(NoReply::NotSent("closed at once".into()));
            }
            match connection.send.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => {
                    self.connection = None;
                    match error.take_message() {
                        Some(unsent) if kept => request = unsent,
                        Some(_) => return Err(NoReply::NotSent(error.into_error().to_string())),
                        None => return Err(NoReply::Lost(error.into_error().to_string())),
                    }
                }
            }
        }
    }
}

async fn connect(net: &Wire, authority: &str) -> Result<Connection, NoReply> {
    let not_sent = |error: &dyn fmt::Display| NoReply::NotSent(format!("{authority}: {error}"));
    let stream = net.0.connect(authority).await.map_err(|error| not_sent(&error))?;
    let (send, connection) = http1::Builder::new()
        .max_buf_size(256 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| not_sent(&error))?;
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Connection { send, driver })
}
