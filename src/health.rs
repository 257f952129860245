//! `holdfast health`: asks the process on this machine, for container health checks. It finds the ops listener where
//! the process itself would, by the same configuration, and believes whatever certificate answers there: it is loopback
//! (or the pod's own address), and the answer carries no secret.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::seam::Net;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::tls::{Sources, TlsNet, unverified};

const WITHIN: Duration = Duration::from_secs(3);
const ANSWER_MAX: usize = 64 << 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the process answers at all.
    Live,
    /// Whether it should get requests.
    Ready,
}

/// Where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `host:port`, never a wildcard.
    pub address: String,
    /// Whether it speaks TLS.
    pub secure: bool,
}

impl Place {
    /// The place of an ops listener that is configured as `listen`.
    pub fn of(listen: &str, secure: bool) -> Place {
        let address = match listen.rsplit_once(':') {
            Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
            Some(("[::]", port)) => format!("[::1]:{port}"),
            _ => listen.to_owned(),
        };
        Place { address, secure }
    }
}

/// Why the process is not well; one line.
#[derive(Debug)]
pub enum Unwell {
    /// Nobody answers.
    Silent(String),
    /// It says so itself.
    Says(String),
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(why) => write!(f, "no answer: {why}"),
            Self::Says(why) => write!(f, "not ready: {why}"),
        }
    }
}

/// Asks.
pub async fn ask(net: Arc<dyn Net>, sources: &Sources, place: &Place, question: Question) -> Result<(), Unwell> {
    let net: Arc<dyn Net> =
        if place.secure { Arc::new(TlsNet { inner: net, dialer: Arc::new(unverified(&sources.clock)) }) } else { net };
    let silent = |why: String| Unwell::Silent(format!("{} ({why})", place.address));
    match timeout(WITHIN, exchange(net, &place.address, question)).await {
        Err(_) => Err(silent(format!("nothing within {WITHIN:?}"))),
        Ok(Err(why)) => Err(silent(why)),
        Ok(Ok((true, _))) => Ok(()),
        Ok(Ok((false, body))) => {
            let answer: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let reasons = answer.as_ref().and_then(|answer| answer["reasons"].as_array());
            let reasons: Vec<_> = reasons.into_iter().flatten().filter_map(|reason| reason.as_str()).collect();
            Err(Unwell::Says(if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join("; ") }))
        }
    }
}

async fn exchange(net: Arc<dyn Net>, address: &str, question: Question) -> Result<(bool, Bytes), String> {
    let path = match question {
        Question::Live => "/health/live",
        Question::Ready => "/health/ready",
    };
    let request = Request::get(path).header(header::HOST, address).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let stream = net.connect(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let well = response.status().is_success();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(|error| error.to_string())?;
    Ok((well, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_asked_on_loopback() {
        assert_eq!(Place::of("0.0.0.0:9002", false).address, "127.0.0.1:9002");
        assert_eq!(Place::of("[::]:9002", true).address, "[::1]:9002");
        assert_eq!(Place::of("10.0.0.7:9002", true).address, "10.0.0.7:9002");
    }
}
