//! Metrics and health, for Prometheus, Kubernetes and operators.
//!
//! ```text
//! GET /metrics         Prometheus text
//! GET /health/live     200 as long as the process answers
//! GET /health/ready    200, or 503 with reasons: whether this process should get requests
//! GET /health/cluster  the status and problems; 503 while some keys cannot be written
//! GET /debug/pprof/…   CPU and heap profiles, where they are configured (profile)
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_replica::file::Files;
use holdfast_wire::heartbeat::ClusterView;
use http::{Method, Request, Response, StatusCode};
use serde_json::json as object;

use crate::cluster::Cluster;
use crate::http::{Content, Handler, error, json, text};
use crate::metrics::{self, Process};
use crate::profile::Profiles;
use crate::status::{Health, Status};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the ops listener shows. Shared with whoever drains the process.
pub struct Ops {
    version: &'static str,
    cluster: Cluster,
    files: Arc<dyn Files>,
    /// Names of the nodes in this process.
    own: Vec<String>,
    sources: Vec<metrics::Source>,
    draining: AtomicBool,
    profiles: Option<Profiles>,
}

impl Ops {
    /// Over `cluster`, for a process of this version with the nodes `own`; `sources` add metrics.
    pub fn new(
        version: &'static str,
        cluster: Cluster,
        files: Arc<dyn Files>,
        own: Vec<String>,
        sources: Vec<metrics::Source>,
    ) -> Self {
        Self { version, cluster, files, own, sources, draining: AtomicBool::new(false), profiles: None }
    }

    /// The same with profiles.
    pub fn with_profiles(self, profiles: Option<Profiles>) -> Self {
        Self { profiles, ..self }
    }

    /// From now on the process is not ready: no new requests, please.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn metrics(&self, view: Option<&ClusterView>) -> String {
        let status = view.map(Status::of);
        let mut page = metrics::page(self.version, Process::read(&*self.files), status.as_ref());
        self.sources.iter().for_each(|source| page.push_str(&source()));
        page
    }
}

/// Why the process with the nodes `own` should not get requests.
pub fn not_ready(view: Option<&ClusterView>, own: &[String], draining: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    if draining {
        reasons.push("the process is stopping".to_owned());
    }
    let Some(view) = view else {
        reasons.push("the cluster has not been heard yet".to_owned());
        return reasons;
    };
    if view.layout.map.groups.is_empty() {
        reasons.push("the cluster is still being formed".to_owned());
    }
    for name in own {
        match view.heartbeats.iter().find(|(heartbeat, _)| heartbeat.node.name == *name) {
            Some((heartbeat, _)) => reasons.extend(heartbeat.not_ready.iter().map(|why| format!("node {name}: {why}"))),
            None => reasons.push(format!("node {name} has not started yet")),
        }
    }
    reasons
}

/// Answers the ops listener.
pub struct OpsHandler(pub Arc<Ops>);

impl Handler for OpsHandler {
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'static, Response<Content>> {
        route(self.0.clone(), request).boxed()
    }
}

async fn route(ops: Arc<Ops>, request: Request<Bytes>) -> Response<Content> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return error(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here");
    }
    match request.uri().path() {
        path if path.starts_with("/debug/pprof/") => match &ops.profiles {
            Some(profiles) => profiles.answer(request.uri(), request.headers()).await,
            None => error(StatusCode::NOT_FOUND, "profiles are not served here (HOLDFAST_PROFILES=true)"),
        },
        "/metrics" => {
            let view = ops.cluster.view().await;
            text(StatusCode::OK, PROMETHEUS, ops.metrics(view.as_deref()))
        }
        "/health/live" => json(StatusCode::OK, &object!({ "live": true })),
        "/health/ready" => {
            let view = ops.cluster.view().await;
            let reasons = not_ready(view.as_deref(), &ops.own, ops.draining.load(Ordering::Relaxed));
            let ready = reasons.is_empty();
            json(
                if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE },
                &object!({ "ready": ready, "reasons": reasons }),
            )
        }
        "/health/cluster" => match ops.cluster.view().await.map(|view| Status::of(&view)) {
            Some(status) => {
                let code =
                    if status.health == Health::Unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                json(code, &object!({ "health": status.health, "problems": status.problems }))
            }
            None => {
                let problems = ["the cluster has not been heard yet"];
                json(StatusCode::SERVICE_UNAVAILABLE, &object!({ "health": Health::Unavailable, "problems": problems }))
            }
        },
        _ => error(StatusCode::NOT_FOUND, "there is no such resource"),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_replica::file::RealFiles;

    use super::*;
    use crate::cluster::tests::cluster;
    use crate::status::tests::healthy;

    fn ops(view: Option<ClusterView>) -> OpsHandler {
        let source: metrics::Source = Box::new(|| "own_metric 7\n".to_owned());
        OpsHandler(Arc::new(Ops::new("0", cluster(view), Arc::new(RealFiles), vec!["n1".to_owned()], vec![source])))
    }

    async fn get(ops: &OpsHandler, path: &str) -> (u16, String) {
        let response = ops.handle(Request::get(path).body(Bytes::new()).unwrap()).await;
        (response.status().as_u16(), String::from_utf8(response.body().whole().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_process_is_live_before_it_is_ready() {
        let ops = ops(None);
        assert_eq!(get(&ops, "/health/live").await.0, 200);
        let (status, body) = get(&ops, "/health/ready").await;
        assert_eq!(status, 503);
        assert!(body.contains("has not been heard yet"), "{body}");
        assert_eq!(get(&ops, "/health/cluster").await.0, 503);
        assert!(get(&ops, "/metrics").await.1.contains("own_metric 7"), "metrics come without a cluster");
    }

    #[tokio::test]
    async fn a_process_is_ready_until_it_drains_or_its_node_says_why_not() {
        let well = ops(Some(healthy()));
        assert_eq!(get(&well, "/health/ready").await.0, 200);
        well.0.drain();
        let (status, body) = get(&well, "/health/ready").await;
        assert!(status == 503 && body.contains("stopping"), "{body}");

        let mut view = healthy();
        view.heartbeats[0].0.not_ready = Some("replaying".to_owned());
        view.heartbeats[1].0.not_ready = Some("somebody else's".to_owned());
        let (status, body) = get(&ops(Some(view)), "/health/ready").await;
        assert!(status == 503 && body.contains("node n1: replaying") && !body.contains("somebody"), "{body}");
    }

    #[tokio::test]
    async fn the_cluster_is_judged_by_what_it_serves() {
        assert_eq!(get(&ops(Some(healthy())), "/health/cluster").await.0, 200);
        let mut view = healthy();
        view.heartbeats.truncate(1);
        let (status, body) = get(&ops(Some(view)), "/health/cluster").await;
        assert!(status == 503 && body.contains("lost its majority"), "{body}");
        assert_eq!(get(&ops(None), "/nothing").await.0, 404);
    }
}
