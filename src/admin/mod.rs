//! The admin API: JSON over HTTP. The command line and the console use nothing else.
//!
//! [`routes`] is the whole of it: what `/v1/openapi.json` says, what is answered and which command uses it come from
//! that one table. Errors are `{"error": "…"}` with a 4xx or 503. With a token configured every request carries it as
//! `Authorization: Bearer …`; without one the listener is on loopback, and requests that a web page on this machine
//! could have made are refused.

pub mod access;
mod audit;
pub mod backup;
pub mod cluster;
pub mod fault;
pub mod limits;
pub mod openapi;
pub mod route;
pub mod scrub;
pub mod trace;
pub mod undelete;

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_gateway::metrics::GatewayMetrics;
use http::{HeaderMap, Request, Response, StatusCode, header};

use self::route::{Ask, Route};
use crate::access::Access;
use crate::cluster::Cluster;
use crate::config::{Secret, peers};
use crate::http::{Content, Handler, Peer, error};

/// Everything that the API answers, in the order of its documentation.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    [
        openapi::ROUTES,
        cluster::ROUTES,
        access::ROUTES,
        limits::ROUTES,
        undelete::ROUTES,
        fault::ROUTES,
        scrub::ROUTES,
        backup::ROUTES,
        trace::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// What handlers work with.
pub struct Context {
    /// The cluster, seen from this process.
    pub cluster: Cluster,
    /// Whom it knows.
    pub access: Access,
    /// What this process's gateway counts and tells; `None` where there is no gateway.
    pub gateway: Option<Arc<GatewayMetrics>>,
}

/// Answers the admin API.
pub struct Admin {
    context: Arc<Context>,
    token: Option<Secret>,
}

impl Admin {
    /// The API over `cluster`, guarded by `token`.
    pub fn new(cluster: Cluster, access: Access, token: Option<Secret>) -> Self {
        Self { context: Arc::new(Context { cluster, access, gateway: None }), token }
    }

    /// With this process's gateway.
    pub fn with_gateway(self, gateway: Option<Arc<GatewayMetrics>>) -> Self {
        let (cluster, access) = (self.context.cluster.clone(), self.context.access.clone());
        Self { context: Arc::new(Context { cluster, access, gateway }), ..self }
    }

    fn asker(&self, request: &Request<Bytes>) -> audit::Asker {
        let source = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        audit::Asker { source, id: format!("{:016X}", self.context.access.seams().random.next_u64()) }
    }

    fn refusal(&self, request: &Request<Bytes>) -> Option<Response<Content>> {
        let headers = request.headers();
        match &self.token {
            Some(token) => {
                let given = bearer(headers).is_some_and(|given| token.is(given));
                (!given).then(|| {
                    let mut refusal =
                        error(StatusCode::UNAUTHORIZED, "the admin API needs its bearer token (HOLDFAST_ADMIN_TOKEN)");
                    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
                    refusal
                })
            }
            None if headers.contains_key(header::ORIGIN) || !host_is_loopback(headers) => {
                Some(error(StatusCode::FORBIDDEN, "without a token the admin API answers only local programs"))
            }
            None => None,
        }
    }
}

impl Handler for Admin {
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'static, Response<Content>> {
        let path = request.uri().path().to_owned();
        let asker = self.asker(&request);
        if let Some(refusal) = self.refusal(&request) {
            audit::record(&self.context.access, &asker, request.method().as_str(), &path, &refusal);
            return futures::future::ready(refusal).boxed();
        }
        let mut other_method = false;
        for route in routes() {
            let Some(parameters) = route.matches(&path) else { continue };
            if route.method == request.method() {
                let query = request.uri().query().unwrap_or_default().to_owned();
                let ask = Ask::new(parameters, query, request.into_body());
                let (context, resource) = (self.context.clone(), audit::resource(&ask));
                let handled = (route.handle)(context.clone(), ask);
                if !audit::concerns(route) {
                    return handled;
                }
                let handled = async move {
                    let response = handled.await;
                    audit::record(&context.access, &asker, route.command, &resource, &response);
                    response
                };
                return handled.boxed();
            }
            other_method = true;
        }
        let refusal = match other_method {
            true => error(StatusCode::METHOD_NOT_ALLOWED, "another method is needed here"),
            false => error(StatusCode::NOT_FOUND, "there is no such resource"),
        };
        futures::future::ready(refusal).boxed()
    }
}

/// The token that a request brings.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// A page that a browser loaded from elsewhere names that place, even if its name resolves to this machine.
fn host_is_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    peers::is_loopback(host) || peers::is_loopback(&format!("{host}:80"))
}

#[cfg(test)]
mod tests;
