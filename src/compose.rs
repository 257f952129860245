//! Puts a process together: replicas, gateway, admin API, ops listener; and takes it apart in order.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all, select_all};
use holdfast_gateway::audit::{AuditSink, Auditor, Record};
use holdfast_gateway::auth::{Buckets, KeyError, Keyring, RootKey, Secret};
use holdfast_gateway::membership::Membership;
use holdfast_gateway::metrics::{self as gateway_metrics, GatewayMetrics};
use holdfast_gateway::ownership::Ownership;
use holdfast_gateway::router::{RouteError, Router, RouterOptions};
use holdfast_gateway::s3::{S3Config, S3Service};
use holdfast_gateway::server::{Gateway, GatewayConfig, GatewayError, Readiness};
use holdfast_gateway::sts::oidc::Nets;
use holdfast_replica::file::Files;
use holdfast_replica::group::Timings;
use holdfast_replica::index::engine::EngineError;
use holdfast_replica::node::faults::Faults;
use holdfast_replica::node::format::{self, FormatError};
use holdfast_replica::node::{Node, NodeConfig, NodeError};
use holdfast_wire::acl::Acl;
use holdfast_wire::handshake::ClusterSecret;
use holdfast_wire::heartbeat::ClusterView;
use holdfast_wire::id::BucketName;
use holdfast_wire::placement::Placement;
use holdfast_wire::request::RootRefusal;
use holdfast_wire::seam::{Net, Seams};
use holdfast_wire::service::Service;
use holdfast_wire::transport::Client;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::provision::{BadFile, Provision};
use crate::access::{Access, AccessError, audit};
use crate::admin::Admin;
use crate::cluster::{Cluster, LocalViews, Views};
use crate::config::Config;
use crate::http::HttpServer;
use crate::index;
use crate::metrics;
use crate::ops::{self, Ops, OpsHandler};
use crate::profile::Profiles;
use crate::sockets::{BindError, Sockets};
use crate::status::Status;
use crate::tls::{self, Port, Tls, TlsError};

/// Pause before a default bucket is tried again.
const BUCKET_AGAIN: Duration = Duration::from_millis(50);

/// Pause before a provision file is tried again.
const PROVISION_AGAIN: Duration = Duration::from_millis(200);

/// How long work that outlives its client may take when the process stops.
const TASKS_WITHIN: Duration = Duration::from_secs(10);
/// Pause before a node is asked again whether it is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Why a process does not start; one line each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be made.
    #[error("data directory {}: {error}", path.display())]
    Data {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The index.
    #[error("data directory {}: {error}", path.display())]
    Index {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        error: EngineError,
    },
    /// The data directory's form.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A replica.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The root key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The authorities that an identity provider is believed by.
    #[error("oidc-ca: {0}")]
    Authorities(#[from] TlsError),
    /// The provision file.
    #[error("provision: {0}")]
    Provision(#[from] BadFile),
    /// The audit log.
    #[error("audit log {}: {error}", path.display())]
    Audit {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// What a process is made of.
pub struct Plan {
    /// Its configuration; listeners are bound in `sockets` under these addresses.
    pub config: Config,
    /// Its replicas: none for a gateway, several for `dev`.
    pub nodes: Vec<NodeConfig>,
    /// The listening sockets.
    pub sockets: Arc<Sockets>,
    /// Certificates: those of the listeners are in use already.
    pub tls: Arc<Tls>,
}

/// A running process.
pub struct Process {
    nodes: Vec<Node>,
    gateway: Option<S3>,
    /// Creates the default buckets.
    buckets: TaskTracker,
    stop: CancellationToken,
    ops: Arc<Ops>,
    servers: Vec<HttpServer>,
    tls: Arc<Tls>,
}

/// The parts that answer S3.
struct S3 {
    server: Gateway,
    /// Work that outlives a client who leaves.
    tasks: TaskTracker,
    membership: Arc<Membership>,
    router: Router,
}

/// The configuration of the one replica of a `server` or `replica`.
pub fn node_config(config: &Config) -> NodeConfig {
    NodeConfig {
        name: config.name.clone(),
        data: config.data.clone(),
        peers: config.peers.iter().map(|peer| (peer.name.clone(), peer.address.clone())).collect(),
        listen: config.peer_listen.clone(),
        address: config.peer_address.clone(),
        secret: secret(config),
        shards: config.shards,
        replicas: config.replicas,
        timings: Timings {
            heartbeat_ms: config.raft.heartbeat_ms,
            election_min_ms: config.raft.election_min_ms,
            election_max_ms: config.raft.election_max_ms,
        },
        version: config.release.version.to_owned(),
        undelete: Duration::from_secs(config.undelete_minutes * 60),
        scrub_every: Duration::from_secs(config.scrub_hours * 3600),
        scrub_bytes_per_second: config.scrub_bytes,
        faults: config.enable_faults.then(Arc::default),
        ..NodeConfig::default()
    }
}

fn secret(config: &Config) -> ClusterSecret {
    ClusterSecret::new(config.cluster_secret.reveal()).speaking(config.release.protocol)
}

/// The gateway's view of the cluster.
struct RouterViews(Router);

impl Views for RouterViews {
    fn view(&self) -> BoxFuture<'_, Option<Arc<ClusterView>>> {
        futures::future::ready(self.0.view()).boxed()
    }
}

impl Process {
    /// Starts everything. Returns when every part runs; the cluster may take longer to be ready.
    pub async fn start(plan: Plan, seams: Seams, files: Arc<dyn Files>) -> Result<Process, StartError> {
        let Plan { config, nodes: planned, sockets, tls: certificates } = plan;
        let reading = tls::Sources { files: files.clone(), clock: seams.clock.clone() };
        let providers = provider_nets(&config, seams.net.clone(), reading)?;
        let seams = Seams { net: sockets.clone(), ..seams };
        let names: Vec<_> = planned.iter().map(|node| node.name.clone()).collect();
        let mut seeds: Vec<_> = config.peers.iter().map(|peer| peer.address.clone()).collect();
        seeds.extend(planned.iter().map(|node| node.address.clone()));
        seeds.sort();
        seeds.dedup();
        // The faults of the one node of a `server` are those of its gateway too.
        let faults = planned.first().filter(|_| planned.len() == 1).and_then(|node| node.faults.clone());
        let outside = match &faults {
            Some(faults) => Seams { net: faults.net(seams.net.clone()), ..seams.clone() },
            None => seams.clone(),
        };
        let mut nodes = Vec::new();
        for node in planned {
            nodes.push(start_node(node, &config, &seams, &files).await?);
        }
        let audit = match &config.audit_log {
            None => audit::Log::default(),
            Some(path) => {
                audit::Log::open(&*files, path).map_err(|error| StartError::Audit { path: path.clone(), error })?
            }
        };
        let read = |path: &std::path::Path| holdfast_replica::file::read(&*files, path);
        let provision = config.provision.as_ref().map(|path| Provision::load(path, &read)).transpose()?;
        let client = Client::new(seams.clone(), secret(&config));
        let local: Option<Arc<dyn Service>> = nodes.first().map(Node::service);

        let meters: Vec<_> = names.iter().cloned().zip(nodes.iter().map(Node::meter)).collect();
        let mut sources: Vec<metrics::Source> = vec![Box::new(move || {
            let counted = meters.iter().filter_map(|(name, meter)| Some((name.clone(), meter()?)));
            metrics::nodes(&counted.collect::<Vec<_>>())
        })];
        let shown = certificates.clone();
        sources.push(Box::new(move || shown.metrics()));
        let (mut gateway, mut watched) = (None, None);
        let (buckets, stop) = (TaskTracker::new(), CancellationToken::new());
        let views: Arc<dyn Views> = match (&config.root, local) {
            (Some(root), local) => {
                let peers = Client::new(outside.clone(), secret(&config));
                let membership = Membership::start(peers, local, seeds, seams.clone());
                let router = Router::new(membership.clone(), seams.clone(), RouterOptions::default());
                let counters = Arc::new(GatewayMetrics::default());
                let (server, tasks) = start_gateway(
                    &config,
                    root,
                    &router,
                    (&seams, providers),
                    counters.clone(),
                    faults.as_deref(),
                    audit.clone(),
                )
                .await?;
                watched = Some(counters.clone());
                sources.push(Box::new(move || gateway_metrics::render(&counters)));
                let counters = router.metrics().clone();
                sources.push(Box::new(move || metrics::router(&counters)));
                let making = create_buckets(
                    router.clone(),
                    config.default_buckets.clone(),
                    root.access.clone(),
                    config.default_ownership,
                );
                buckets.spawn(stop.clone().run_until_cancelled_owned(making));
                let views = Arc::new(RouterViews(router.clone()));
                gateway = Some(S3 { server, tasks, membership, router });
                views
            }
            (None, Some(local)) => Arc::new(LocalViews(local)),
            (None, None) => unreachable!("a process without a replica is a gateway and has a root key"),
        };
        let cluster = Cluster::new(views, client, seams.random.clone());
        let profiles = config.admin_token.clone().filter(|_| config.profiles).map(Profiles::new);
        let ops = Ops::new(config.release.version, cluster.clone(), files, names, sources).with_profiles(profiles);
        let ops = Arc::new(ops);
        let root = config.root.as_ref().map(|root| root.access.clone());
        let access = Access::new(cluster.clone(), &secret(&config), seams.clone(), root, audit)
            .with_day(config.lifecycle_day_ms)
            .with_ownership(config.default_ownership);
        if let Some(wish) = provision {
            buckets.spawn(stop.clone().run_until_cancelled_owned(bring_about(access.clone(), wish)));
        }
        let admin = Admin::new(cluster, access, config.admin_token.clone()).with_gateway(watched);
        let mut servers = Vec::new();
        if let Some(listener) = sockets.take(&config.admin_listen) {
            servers.push(HttpServer::start(listener, Arc::new(admin)));
        }
        if let Some(listener) = sockets.take(&config.ops_listen) {
            servers.push(HttpServer::start(listener, Arc::new(OpsHandler(ops.clone()))));
        }
        buckets.close();
        Ok(Process { nodes, gateway, buckets, stop, ops, servers, tls: certificates })
    }

    /// Waits until every group has a leader, every node of the process is ready, and the default buckets exist.
    pub async fn ready(&self) {
        if let Some(S3 { membership, router, .. }) = &self.gateway {
            let router = router.clone();
            membership
                .until(move |_| {
                    router.view().is_some_and(|view| {
                        let status = Status::of(&view);
                        !status.groups.is_empty() && status.groups.iter().all(|group| group.leader.is_some())
                    })
                })
                .await;
        }
        while self.nodes.iter().any(|node| node.not_ready().is_some()) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.buckets.wait().await;
    }

    /// Takes over rotated certificates, for ever.
    pub async fn watch_certificates(&self) {
        self.tls.watch().await;
    }

    /// Resolves with the reason once a replica cannot go on: the process must end at once.
    pub async fn failed(&self) -> String {
        if self.nodes.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.nodes.iter().map(|node| node.failed().boxed_local())).await.0
    }

    /// Hands leaderships over, takes no more requests, lets those under way finish, and ends every part.
    pub async fn stop(self) {
        self.ops.drain();
        self.stop.cancel();
        // Whoever writes through other gateways is not to wait for the slowest request of this one.
        join_all(self.nodes.iter().map(Node::hand_over)).await;
        self.buckets.wait().await;
        if let Some(S3 { server, tasks, membership, .. }) = self.gateway {
            server.stop().await;
            tasks.close();
            if timeout(TASKS_WITHIN, tasks.wait()).await.is_err() {
                tracing::warn!(tasks = tasks.len(), "work of clients that have left is cut off");
            }
            membership.stop().await;
        }
        join_all(self.nodes.into_iter().map(Node::stop)).await;
        join_all(self.servers.into_iter().map(HttpServer::stop)).await;
    }
}

async fn start_node(
    node: NodeConfig,
    config: &Config,
    seams: &Seams,
    files: &Arc<dyn Files>,
) -> Result<Node, StartError> {
    files.create_dir_all(&node.data).map_err(|error| StartError::Data { path: node.data.clone(), error })?;
    format::check(&**files, &node.data, config.release.format)?;
    Node::is_at_home(&node, seams, files).await?;
    let engine = index::open(config.index.as_ref(), config.cache_bytes, &node, &*seams.random, files)
        .map_err(|error| StartError::Index { path: node.data.clone(), error })?;
    Ok(Node::start(node, seams.clone(), files.clone(), engine).await?)
}

/// How identity providers are reached: not as nodes are.
fn provider_nets(config: &Config, plain: Arc<dyn Net>, sources: tls::Sources) -> Result<Nets, TlsError> {
    let roots = match (&config.oidc, &config.oidc_ca) {
        (None, _) => None,
        (Some(_), Some(path)) => Some(tls::authorities(&sources, path)?),
        (Some(_), None) => tls::system_authorities(&sources),
    };
    let https = roots.map(|roots| -> Arc<dyn Net> {
        let dialer = Arc::new(tls::Dialer::new(&sources.clock, roots, None));
        Arc::new(tls::TlsNet { inner: plain.clone(), dialer })
    });
    Ok(Nets { plain, https })
}

async fn start_gateway(
    config: &Config,
    root: &crate::config::RootKey,
    router: &Router,
    (seams, providers): (&Seams, Nets),
    metrics: Arc<GatewayMetrics>,
    faults: Option<&Faults>,
    audit: audit::Log,
) -> Result<(Gateway, TaskTracker), StartError> {
    let key = RootKey::new(root.access.clone(), Secret::new(root.secret.reveal()))?;
    let mut gateway = GatewayConfig::new(config.s3_listen.clone(), key.clone());
    gateway.domains = config.s3_domains.clone();
    gateway.region = config.region.clone();
    if let Some(faults) = faults {
        gateway.closed = faults.down();
    }
    gateway.audit = Auditor(Some(Arc::new(audit)));
    gateway.oidc.clone_from(&config.oidc);
    gateway.oidc_nets = Some(providers);
    gateway.secure = config.tls.covers(Port::S3);
    gateway.trusted_proxies.clone_from(&config.trusted_proxies);
    let source = Arc::new(router.clone());
    gateway.keyring = Some(Arc::new(Keyring::new(key, &secret(config), seams.clock.clone(), Some(source))));
    gateway.access_log = config.access_log;
    gateway.sampling = config.sampling;
    let mut s3 = S3Config::new(root.access.clone());
    s3.inline_max = config.inline_max;
    s3.lifecycle_day_ms = config.lifecycle_day_ms;
    s3.default_ownership = config.default_ownership;
    s3.region = config.region.clone();
    s3.keys.clone_from(&config.encryption_keys);
    s3.customer_keys_over_http = config.customer_keys_over_http;
    let service = S3Service::new(router.clone(), seams.random.clone(), s3);
    let view = router.clone();
    let readiness: Readiness = Arc::new(move || {
        let reasons = ops::not_ready(view.view().as_deref(), &[], false);
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
    });
    let tasks = service.tasks().clone();
    let buckets: Arc<dyn Buckets> = Arc::new(router.clone());
    let server = Gateway::start(gateway, seams.clone(), service, Some(buckets), readiness, metrics).await?;
    Ok((server, tasks))
}

/// Applies what the file at start says, until that worked or cannot work.
async fn bring_about(access: Access, wish: Provision) {
    loop {
        match access.provision(&wish).await {
            Ok(applied) => {
                for line in applied.changed {
                    tracing::info!(what = line, "provisioned");
                    access.audit().record(&Record {
                        time_ms: access.seams().clock.unix_millis(),
                        interface: "admin",
                        who: "the configuration",
                        access_key: None,
                        what: "provision",
                        resource: &line,
                        result: "done",
                        status: 200,
                        why: None,
                        source: None,
                        request_id: "start",
                    });
                }
                return;
            }
            Err(AccessError::Operation(_) | AccessError::Contention) => tokio::time::sleep(PROVISION_AGAIN).await,
            Err(error) => return tracing::error!(%error, "the provision file cannot be applied"),
        }
    }
}

/// Creates buckets until each exists.
async fn create_buckets(router: Router, names: Vec<BucketName>, owner: String, ownership: Ownership) {
    let documents = Ownership::documents(None, ownership, &Acl::private(&owner));
    for name in names {
        loop {
            match router
                .create_bucket(
                    name.clone(),
                    owner.clone(),
                    Placement::default(),
                    Vec::new(),
                    (false, documents.clone()),
                )
                .await
            {
                Ok(_) => {
                    tracing::info!(bucket = %name, "created a default bucket");
                    break;
                }
                Err(RouteError::Root(RootRefusal::BucketExists(_))) => break,
                Err(error) => {
                    tracing::debug!(bucket = %name, %error, "a default bucket is not there yet");
                    tokio::time::sleep(BUCKET_AGAIN).await;
                }
            }
        }
    }
}
