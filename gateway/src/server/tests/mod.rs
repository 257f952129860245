//! The gateway over real sockets, with a small S3 behind it: each thing that s3s leaves to us has its test here.

mod client;
mod cost;
mod document;
mod errors;
mod fake;
mod forged;
mod forgery;
mod form;
mod framing;
mod guarding;
mod matrix;
mod range;
mod refused;
mod slow;
mod stopping;

use std::sync::Arc;

use holdfast_wire::seam::Seams;

use self::client::{Connection, Request, Response};
use self::fake::Fake;
use super::*;
use crate::auth::Secret;

const ACCESS_KEY: &str = "AKIAHOLDFASTROOT";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A gateway on loopback with a fake S3 behind it.
struct Harness {
    gateway: Gateway,
    fake: Fake,
    metrics: Arc<GatewayMetrics>,
}

impl Harness {
    async fn start(limits: Limits) -> Self {
        Self::with(config(limits)).await
    }

    async fn with(config: GatewayConfig) -> Self {
        let fake = Fake::default();
        let metrics = Arc::new(GatewayMetrics::default());
        let gateway = Gateway::start(
            config,
            Seams::real(),
            fake.clone(),
            Some(Arc::new(fake.clone())),
            Arc::new(|| Ok(())),
            metrics.clone(),
        );
        Self { gateway: gateway.await.unwrap(), fake, metrics }
    }

    async fn plain() -> Self {
        Self::start(Limits::default()).await
    }

    fn host(&self) -> String {
        self.gateway.local_addr().to_string()
    }

    fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target, &self.host())
    }

    async fn connect(&self) -> Connection {
        Connection::open(&self.host()).await
    }

    /// Sends on a new connection and reads one response.
    async fn send(&self, request: &Request) -> Response {
        let mut connection = self.connect().await;
        connection.write(&request.bytes()).await;
        connection.response(request.method == "HEAD").await.expect("a response")
    }

    /// Signs, sends, reads.
    async fn signed(&self, method: &str, target: &str, body: &str) -> Response {
        self.send(&self.request(method, target).body(body).sign()).await
    }
}

fn config(limits: Limits) -> GatewayConfig {
    let root = RootKey::new(ACCESS_KEY, Secret::new(SECRET_KEY)).unwrap();
    GatewayConfig { limits, domains: vec!["s3.test".to_owned()], ..GatewayConfig::new("127.0.0.1:0", root) }
}

/// Waits until `condition` holds, for at most ten seconds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let patient = async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), patient).await.unwrap_or_else(|_| panic!("never: {what}"));
}
