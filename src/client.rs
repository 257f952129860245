//! The command line's side of the admin API.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use holdfast_wire::seam::Net;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyDataStream, BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::ClientConfig;
use crate::status::Status;
use crate::tls::{self, Dialer, Sources, TlsError, TlsNet};

/// A call may take this long.
const WITHIN: Duration = Duration::from_secs(15);
/// The longest answer.
const ANSWER_MAX: usize = 64 << 20;

/// Why a call failed; one line each.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a URL that this client speaks.
    #[error("{0:?} is not an admin URL: expected http://HOST:PORT or https://HOST:PORT")]
    Url(String),
    /// Nobody to believe.
    #[error("{0:?} speaks https: name the authority of its certificate with --ca or HOLDFAST_CA")]
    NoAuthority(String),
    /// The authority's file.
    #[error("--ca: {0}")]
    Authority(#[from] TlsError),
    /// Nobody answers.
    #[error("cannot reach the admin API at {url}: {reason} (name another node with --admin or HOLDFAST_ADMIN)")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// The API says no.
    #[error("{0}")]
    Refused(String),
    /// Nobody said which node.
    #[error("which node? Name it, or set HOLDFAST_NAME")]
    NoNode,
    /// It holds things still.
    #[error("{0}")]
    NotDrained(String),
    /// The answer makes no sense.
    #[error("{url} did not answer like an admin API of this version")]
    NotOurs {
        /// Where.
        url: String,
    },
}

/// Talks to one admin API.
pub struct AdminClient {
    net: Arc<dyn Net>,
    config: ClientConfig,
    authority: String,
}

impl AdminClient {
    /// For the API that `config` names.
    pub fn new(net: Arc<dyn Net>, config: ClientConfig, sources: &Sources) -> Result<AdminClient, ClientError> {
        let bad = || ClientError::Url(config.admin.clone());
        let url: Uri = config.admin.parse().map_err(|_| bad())?;
        let secure = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad()),
        };
        let authority = url.authority().filter(|_| matches!(url.path(), "" | "/")).ok_or_else(bad)?;
        let port = if secure { 443 } else { 80 };
        let authority = if authority.port().is_some() { authority.to_string() } else { format!("{authority}:{port}") };
        let net: Arc<dyn Net> = if secure {
            let ca = config.ca.as_ref().ok_or_else(|| ClientError::NoAuthority(config.admin.clone()))?;
            let dialer = Dialer::new(&sources.clock, tls::authorities(sources, ca)?, None);
            Arc::new(TlsNet { inner: net, dialer: Arc::new(dialer) })
        } else {
            net
        };
        Ok(AdminClient { net, config, authority })
    }

    /// The node that the configuration names.
    pub fn name(&self) -> Option<&str> {
        self.config.name.as_deref()
    }

    /// The cluster's status.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let answer = self.call(Method::GET, "/v1/cluster", Bytes::new()).await?;
        serde_json::from_slice(&answer).map_err(|_| self.not_ours())
    }

    /// Posts `body` to `path`.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<(), ClientError> {
        let body = serde_json::to_vec(body).expect("requests are always serializable");
        self.call(Method::POST, path, body.into()).await.map(drop)
    }

    /// Gets `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.call(Method::GET, path, Bytes::new()).await?;
        serde_json::from_slice(&answer).map_err(|_| self.not_ours())
    }

    /// Posts `body` to `path` and reads the answer.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("requests are always serializable");
        let answer = self.call(Method::POST, path, body.into()).await?;
        serde_json::from_slice(&answer).map_err(|_| self.not_ours())
    }

    /// Asks anything and gives the answer's JSON.
    pub async fn raw(&self, method: Method, path: &str, body: Vec<u8>) -> Result<serde_json::Value, ClientError> {
        let answer = self.call(method, path, body.into()).await?;
        serde_json::from_slice(&answer).map_err(|_| self.not_ours())
    }

    /// The answer makes no sense.
    pub fn not_ours(&self) -> ClientError {
        ClientError::NotOurs { url: self.config.admin.clone() }
    }

    fn unreachable(&self, reason: impl ToString) -> ClientError {
        ClientError::Unreachable { url: self.config.admin.clone(), reason: reason.to_string() }
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let (status, answer) = timeout(WITHIN, self.exchange(method, path, body))
            .await
            .map_err(|_| self.unreachable("no answer in time"))??;
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(|_| self.not_ours())?;
        Err(ClientError::Refused(answer["error"].as_str().ok_or_else(|| self.not_ours())?.to_owned()))
    }

    /// What `path` streams: the answer's headers, and the bytes as they come.
    pub async fn stream(
        &self,
        path: &str,
    ) -> Result<(HeaderMap, BoxStream<'static, Result<Bytes, ClientError>>), ClientError> {
        let sent = timeout(WITHIN, self.send(Method::GET, path, Bytes::new()));
        let (response, driver) = sent.await.map_err(|_| self.unreachable("no answer in time"))??;
        if response.status() != StatusCode::OK {
            return Err(self.refused(Limited::new(response.into_body(), ANSWER_MAX)).await);
        }
        let (parts, body) = response.into_parts();
        let url = self.config.admin.clone();
        let bytes = BodyDataStream::new(body).map(move |bytes| {
            // The connection lives as long as its stream.
            let _driver = &driver;
            bytes.map_err(|error| ClientError::Unreachable { url: url.clone(), reason: error.to_string() })
        });
        Ok((parts.headers, bytes.boxed()))
    }

    async fn refused(&self, body: Limited<Incoming>) -> ClientError {
        let Ok(answer) = body.collect().await else { return self.not_ours() };
        let answer: Result<serde_json::Value, _> = serde_json::from_slice(&answer.to_bytes());
        match answer.ok().and_then(|answer| answer["error"].as_str().map(str::to_owned)) {
            Some(refusal) => ClientError::Refused(refusal),
            None => self.not_ours(),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let (response, _driver) = self.send(method, path, body).await?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(|error| self.unreachable(error))?;
        Ok((status, body.to_bytes()))
    }

    /// Sends a request; the connection ends with the set that comes with the answer.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, JoinSet<Result<(), hyper::Error>>), ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.config.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request.body(Full::new(body)).map_err(|_| ClientError::Url(self.config.admin.clone()))?;
        let stream = self.net.connect(&self.authority).await.map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(error))?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| self.unreachable(error))?;
        Ok((response, driver))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_replica::file::RealFiles;
    use holdfast_wire::seam::{SystemClock, TcpNet};

    use super::*;
    use crate::admin::Admin;
    use crate::admin::cluster::RemoveNode;
    use crate::cluster::tests::{access, cluster};
    use crate::config::Secret;
    use crate::http::HttpServer;
    use crate::status::tests::healthy;

    fn client(admin: &str, token: Option<&str>) -> Result<AdminClient, ClientError> {
        let config = ClientConfig { admin: admin.to_owned(), token: token.map(Secret::new), ca: None, name: None };
        let sources = Sources { files: Arc::new(RealFiles), clock: Arc::new(SystemClock) };
        AdminClient::new(Arc::new(TcpNet), config, &sources)
    }

    #[tokio::test]
    async fn client_and_api_understand_each_other() {
        let listener = TcpNet.listen("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let api = Admin::new(
            cluster(Some(healthy())),
            access(cluster(Some(healthy()))),
            Some(Secret::new("sixteen-letters!")),
        );
        let server = HttpServer::start(listener, Arc::new(api));

        let right = client(&url, Some("sixteen-letters!")).unwrap();
        assert_eq!(right.status().await.unwrap(), Status::of(&healthy()));
        let refused = right.post("/v1/cluster/remove-node", &RemoveNode { node: "n9".to_owned() }).await;
        assert_eq!(refused.unwrap_err().to_string(), "there is no node n9");
        let refused = client(&url, None).unwrap().status().await.unwrap_err().to_string();
        assert!(refused.contains("HOLDFAST_ADMIN_TOKEN"), "{refused}");
        server.stop().await;
        let error = right.status().await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    }

    #[test]
    fn only_urls_of_an_admin_api_are_taken() {
        assert_eq!(client("http://n1", None).unwrap().authority, "n1:80");
        assert_eq!(client("http://[::1]:9001/", None).unwrap().authority, "[::1]:9001");
        for url in ["n1:9001", "https://n1:9001", "http://n1:9001/v1", ""] {
            assert!(client(url, None).is_err(), "{url}");
        }
    }
}
