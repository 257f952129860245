//! The admin API: JSON over HTTP. The command line and the console use nothing else.
//!
//! ```text
//! GET  /v1/cluster                                          the status (`crate::status::Status`)
//! POST /v1/cluster/transfer-leader {"group": 1, "node": "n2"}   {}
//! POST /v1/cluster/remove-node     {"node": "n2"}               {}
//! ```
//! Errors are `{"error": "…"}` with a 4xx or 503. With a token configured every request carries it as
//! `Authorization: Bearer …`; without one the listener is on loopback, and requests that a web page on this machine
//! could have made are refused.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_wire::id::GroupId;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, OperationError};
use crate::config::{Secret, peers};
use crate::http::{Handler, error, json};
use crate::status::Status;

/// Body of `transfer-leader`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferLeader {
    /// The group.
    pub group: u32,
    /// The voter that is to lead: name or id.
    pub node: String,
}

/// Body of `remove-node`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNode {
    /// The node: name or id.
    pub node: String,
}

/// Answers the admin API.
pub struct Admin {
    cluster: Cluster,
    token: Option<Secret>,
}

impl Admin {
    /// The API over `cluster`, guarded by `token`.
    pub fn new(cluster: Cluster, token: Option<Secret>) -> Self {
        Self { cluster, token }
    }

    fn refusal(&self, request: &Request<Bytes>) -> Option<Response<Bytes>> {
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
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> {
        if let Some(refusal) = self.refusal(&request) {
            return async move { refusal }.boxed();
        }
        route(self.cluster.clone(), request).boxed()
    }
}

async fn route(cluster: Cluster, request: Request<Bytes>) -> Response<Bytes> {
    let (path, post) = (request.uri().path(), request.method() == Method::POST);
    match path {
        "/v1/cluster" if request.method() == Method::GET => match cluster.view().await {
            Some(view) => json(StatusCode::OK, &Status::of(&view)),
            None => failed(&OperationError::NoView),
        },
        "/v1/cluster/transfer-leader" if post => match body::<TransferLeader>(&request) {
            Ok(TransferLeader { group, node }) => done(cluster.transfer_leader(GroupId(group), &node).await),
            Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
        },
        "/v1/cluster/remove-node" if post => match body::<RemoveNode>(&request) {
            Ok(RemoveNode { node }) => done(cluster.remove_node(&node).await),
            Err(problem) => error(StatusCode::BAD_REQUEST, &problem),
        },
        "/v1/cluster" | "/v1/cluster/transfer-leader" | "/v1/cluster/remove-node" => {
            error(StatusCode::METHOD_NOT_ALLOWED, "another method is needed here")
        }
        _ => error(StatusCode::NOT_FOUND, "there is no such resource"),
    }
}

fn body<T: DeserializeOwned>(request: &Request<Bytes>) -> Result<T, String> {
    serde_json::from_slice(request.body()).map_err(|problem| problem.to_string())
}

fn done(result: Result<(), OperationError>) -> Response<Bytes> {
    match result {
        Ok(()) => json(StatusCode::OK, &serde_json::json!({})),
        Err(problem) => failed(&problem),
    }
}

fn failed(problem: &OperationError) -> Response<Bytes> {
    let status = match problem {
        OperationError::NoSuchGroup(_) | OperationError::NoSuchNode(_) => StatusCode::NOT_FOUND,
        OperationError::NotAVoter { .. } | OperationError::Refused(_) => StatusCode::CONFLICT,
        OperationError::NoView | OperationError::NoLeader(_) | OperationError::Call { .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        OperationError::OtherAnswer => StatusCode::BAD_GATEWAY,
    };
    error(status, &problem.to_string())
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
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
mod tests {
    use super::*;
    use crate::cluster::tests::cluster;
    use crate::status::tests::healthy;

    fn admin(token: Option<&str>) -> Admin {
        Admin::new(cluster(Some(healthy())), token.map(Secret::new))
    }

    async fn ask(
        admin: &Admin,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, serde_json::Value) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:9001");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = admin.handle(request.body(Bytes::from(body.to_owned())).unwrap()).await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    #[tokio::test]
    async fn the_status_is_json() {
        let (status, body) = ask(&admin(None), "GET", "/v1/cluster", &[], "").await;
        assert_eq!((status, &body["health"]), (200, &"ok".into()));
        assert_eq!(body["nodes"][1]["name"], "n2");
        let silent = Admin::new(cluster(None), None);
        assert_eq!(ask(&silent, "GET", "/v1/cluster", &[], "").await.0, 503);
    }

    #[tokio::test]
    async fn a_token_is_asked_for_if_there_is_one() {
        let guarded = admin(Some("sixteen-letters!"));
        for headers in
            [&[][..], &[("authorization", "Bearer sixteen-letters?")], &[("authorization", "sixteen-letters!")]]
        {
            assert_eq!(ask(&guarded, "GET", "/v1/cluster", headers, "").await.0, 401);
        }
        let right = [("authorization", "bearer sixteen-letters!")];
        assert_eq!(ask(&guarded, "GET", "/v1/cluster", &right, "").await.0, 200);
    }

    #[tokio::test]
    async fn without_a_token_web_pages_are_refused() {
        let open = admin(None);
        assert_eq!(ask(&open, "GET", "/v1/cluster", &[("origin", "http://evil.example")], "").await.0, 403);
        let rebound = Request::get("/v1/cluster").header("host", "evil.example:9001").body(Bytes::new()).unwrap();
        assert_eq!(open.handle(rebound).await.status(), 403);
        let nameless = Request::get("/v1/cluster").body(Bytes::new()).unwrap();
        assert_eq!(open.handle(nameless).await.status(), 403);
    }

    #[tokio::test]
    async fn operations_are_parsed_strictly_and_answered_in_words() {
        let open = admin(None);
        let transfer = "/v1/cluster/transfer-leader";
        assert_eq!(ask(&open, "POST", transfer, &[], r#"{"group":1,"node":"n2"}"#).await.0, 200);
        assert_eq!(ask(&open, "POST", transfer, &[], r#"{"group":9,"node":"n2"}"#).await.0, 404);
        assert_eq!(ask(&open, "POST", transfer, &[], r#"{"group":1,"node":"n2","x":1}"#).await.0, 400);
        assert_eq!(ask(&open, "POST", transfer, &[], "").await.0, 400);
        assert_eq!(ask(&open, "GET", transfer, &[], "").await.0, 405);
        assert_eq!(ask(&open, "GET", "/v1/nothing", &[], "").await.0, 404);
        let (status, body) = ask(&open, "POST", "/v1/cluster/remove-node", &[], r#"{"node":"n9"}"#).await;
        assert_eq!((status, body["error"].as_str().unwrap()), (404, "there is no node n9"));
    }
}
