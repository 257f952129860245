//! Plain requests to the admin API and the ops listener.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody listens, or the connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not HTTP.
    #[error(transparent)]
    Protocol(#[from] hyper::Error),
    /// Not a request.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// Too slow.
    #[error("nothing within {0:?}")]
    TimedOut(Duration),
}

/// One request on a connection of its own; `token` as a bearer token, within ten seconds.
pub async fn request(
    method: Method,
    authority: &str,
    path: &str,
    token: Option<&str>,
    body: impl Into<Bytes>,
) -> Result<(StatusCode, String), HttpError> {
    let mut request = Request::builder().method(method).uri(path).header("host", authority);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    send(authority, request.body(Full::new(body.into()))?).await
}

/// Posts a form.
pub async fn form(authority: &str, path: &str, form: impl Into<Bytes>) -> Result<(StatusCode, String), HttpError> {
    let request = Request::post(path).header("host", authority);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    send(authority, request.body(Full::new(form.into()))?).await
}

async fn send(authority: &str, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), HttpError> {
    let response = exchange(authority, request).await?;
    Ok((response.status(), response.into_body()))
}

/// One request as it stands, on a connection of its own, within ten seconds.
pub async fn exchange(authority: &str, request: Request<Full<Bytes>>) -> Result<Response<String>, HttpError> {
    // A transfer of a leadership may take two elections.
    const LIMIT: Duration = Duration::from_secs(10);
    let whole = async {
        let stream = TcpStream::connect(authority).await?;
        let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let (parts, body) = send.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(parts, String::from_utf8_lossy(&body).into_owned()))
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            broken = connection => {
                broken?;
                exchange.await
            }
        }
    };
    tokio::time::timeout(LIMIT, whole).await.map_err(|_| HttpError::TimedOut(LIMIT))?
}

/// `GET path`.
pub async fn get(authority: &str, path: &str, token: Option<&str>) -> Result<(StatusCode, String), HttpError> {
    request(Method::GET, authority, path, token, Bytes::new()).await
}
