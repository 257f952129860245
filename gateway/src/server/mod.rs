//! The S3 listener: accepts connections, guards what s3s leaves open, hands requests to s3s, and drains on stop.
//!
//! ```text
//!  accept ─▶ connection ─▶ exchange: health · request id · gate · guard ─▶ s3s ─▶ finish: ids, error document
//!  (limits)  (time-outs)                                                (signature, access, handler)
//! ```
//!
//! Every task belongs to the [`Gateway`]: [`Gateway::stop`] lets requests under way finish, dropping it cuts them off.

mod bare;
mod body;
mod connection;
mod crossing;
mod details;
mod exchange;
mod last_chunk;
mod turn_away;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast_wire::handshake::ClusterSecret;
use holdfast_wire::seam::{Clock, Listener, Seams};
use hyper_util::server::conn::auto;
use s3s::config::S3Config;
use s3s::region::Region;
use s3s::service::{S3Service as Protocol, S3ServiceBuilder};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access_log::AccessLog;
use crate::audit::Auditor;
use crate::auth::{Access, Buckets, Keyring, Provider, RootKey};
use crate::form;
use crate::guard::hoisted::Rules;
use crate::guard::host::{DomainError, Domains};
use crate::guard::refusal::Cause;
use crate::guard::request_id::RequestIds;
use crate::limits::{Gate, Limits};
use crate::metrics::GatewayMetrics;
use crate::policy::value::Network;
use crate::sampling::Sampling;
use crate::sts::Sts;
use crate::sts::oidc::{self, Nets, OidcConfig};

/// The path on the S3 port that says whether this gateway can serve.
pub const READY_PATH: &str = "/_health/ready";

const MAX_PUT: u64 = 5 << 30;
/// A signed chunk is held whole until its signature is checked; SDKs send at most a few hundred KiB.
const MAX_SIGNED_CHUNK: usize = 16 << 20;

/// Says whether this process can serve, or why not.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// How to run the S3 listener.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// `host:port` to listen on.
    pub listen: String,
    /// Domains under which `bucket.domain` names a bucket. Path style works under any name.
    pub domains: Vec<String>,
    /// The region that signatures must name.
    pub region: String,
    /// The key that may do everything.
    pub root: RootKey,
    /// Everybody's keys; `None`: the root key alone.
    pub keyring: Option<Arc<Keyring>>,
    /// Whether the listener speaks TLS.
    pub secure: bool,
    /// Proxies whose word about a client's address and TLS is taken.
    pub trusted_proxies: Vec<Network>,
    /// Who vouches for web identities.
    pub oidc: Option<OidcConfig>,
    /// How they are reached; `None`: as everything else, and only over http.
    pub oidc_nets: Option<Nets>,
    /// Who is told of changes and refusals.
    pub audit: Auditor,
    /// What is taken on at once.
    pub limits: Limits,
    /// Which requests are logged.
    pub access_log: AccessLog,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// While set, every request is answered with a 503: the fault API has "crashed" the process.
    pub closed: Arc<AtomicBool>,
}

impl GatewayConfig {
    /// Listens on `listen`, in `us-east-1`, with path style and the default limits.
    pub fn new(listen: impl Into<String>, root: RootKey) -> Self {
        Self {
            listen: listen.into(),
            domains: Vec::new(),
            region: "us-east-1".to_owned(),
            root,
            keyring: None,
            secure: false,
            trusted_proxies: Vec::new(),
            oidc: None,
            oidc_nets: None,
            audit: Auditor::default(),
            limits: Limits::default(),
            access_log: AccessLog::default(),
            sampling: Sampling::default(),
            closed: Arc::default(),
        }
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address cannot be bound.
    #[error("cannot listen for S3 on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A configured domain cannot be used.
    #[error("cannot use the configured domains: {0}")]
    Domain(#[from] DomainError),
    /// The region is no region's name.
    #[error("{0:?} is not a region's name")]
    Region(String),
}

/// What all connections share.
struct Shared {
    protocol: Protocol,
    http: auto::Builder<Owned>,
    domains: Domains,
    buckets: Option<Arc<dyn Buckets>>,
    limits: Limits,
    access_log: AccessLog,
    sampling: Sampling,
    gate: Arc<Gate>,
    ids: RequestIds,
    forms: form::Judge,
    readiness: Readiness,
    closed: Arc<AtomicBool>,
    secure: bool,
    trusted_proxies: Vec<Network>,
    audit: Auditor,
    clock: Arc<dyn Clock>,
    metrics: Arc<GatewayMetrics>,
    stop: CancellationToken,
    kill: CancellationToken,
}

/// Runs hyper's own tasks (HTTP/2 streams) under the gateway's tracker.
#[derive(Clone)]
struct Owned(TaskTracker);

impl<F> hyper::rt::Executor<F> for Owned
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// A running S3 listener.
pub struct Gateway {
    address: SocketAddr,
    limits: Limits,
    tasks: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Gateway {
    /// Binds the address and serves `s3` until stopped. `buckets` is asked which buckets exist when an anonymous
    /// request is refused; without it the answer is `AccessDenied` always.
    pub async fn start(
        config: GatewayConfig,
        seams: Seams,
        s3: impl s3s::S3,
        buckets: Option<Arc<dyn Buckets>>,
        readiness: Readiness,
        metrics: Arc<GatewayMetrics>,
    ) -> Result<Self, GatewayError> {
        let domains = Domains::new(&config.domains)?;
        let keyring = config.keyring.clone().unwrap_or_else(|| {
            Arc::new(Keyring::new(config.root.clone(), &ClusterSecret::new(""), seams.clock.clone(), None))
        });
        let protocol = protocol(&config, &seams, domains.clone(), s3, keyring.clone(), buckets.clone())?;
        let unbound = |source| GatewayError::Listen { address: config.listen.clone(), source };
        let listener = seams.net.listen(&config.listen).await.map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;

        let (stop, kill, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            protocol,
            http: http(&config.limits, &tasks),
            domains,
            buckets,
            gate: Arc::new(Gate::new(&config.limits)),
            ids: RequestIds::new(seams.random.as_ref()),
            forms: form::Judge {
                keyring: keyring.clone(),
                clock: seams.clock.clone(),
                random: seams.random.clone(),
                region: config.region.clone(),
            },
            readiness,
            closed: config.closed.clone(),
            secure: config.secure,
            trusted_proxies: config.trusted_proxies.clone(),
            audit: config.audit.clone(),
            clock: seams.clock.clone(),
            metrics,
            stop: stop.clone(),
            kill: kill.clone(),
            limits: config.limits.clone(),
            access_log: config.access_log,
            sampling: config.sampling,
        });
        tasks.spawn(stop.clone().run_until_cancelled_owned(keyring.watch()));
        tasks.spawn(accept(shared, listener, tasks.clone()));
        tracing::info!(%address, "listening for S3");
        Ok(Self { address, limits: config.limits, tasks, stop, kill })
    }

    /// The address it listens on (the port is known even when 0 was asked for).
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way finish for at most the drain time-out, then closes what is left.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.limits.drain_timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "requests did not finish in time and are cut off");
            self.kill.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
    }
}

fn protocol(
    config: &GatewayConfig,
    seams: &Seams,
    domains: Domains,
    s3: impl s3s::S3,
    keyring: Arc<Keyring>,
    buckets: Option<Arc<dyn Buckets>>,
) -> Result<Protocol, GatewayError> {
    let region = Region::new(config.region.as_str().into()).map_err(|_| GatewayError::Region(config.region.clone()))?;
    let mut rules = S3Config::default();
    rules.expected_region = Some(region);
    rules.sig_v4_allowed_services = vec!["s3".to_owned(), "sts".to_owned()];
    rules.enable_sig_v2 = false;
    rules.put_object_max_size = Some(MAX_PUT);
    rules.post_object_max_file_size = MAX_PUT;
    rules.xml_max_body_size = usize::try_from(config.limits.max_document_bytes).unwrap_or(usize::MAX);
    rules.aws_chunked_stream_max_chunk_size = MAX_SIGNED_CHUNK;
    // What s3s gets of a form has passed the limits of ours, and names twice what it renames.
    rules.form_max_fields_size = 2 * form::fields::FIELDS_MAX;
    rules.form_max_field_size = 4 * form::fields::FIELD_MAX;
    rules.form_max_parts = 2 * form::fields::PARTS_MAX;
    // `x-id` is an undefined parameter: it must not choose the operation past the allow-list.
    rules.operation_id_routing = false;
    let mut builder = S3ServiceBuilder::new(s3);
    builder.set_config(Arc::new(Rules(Arc::new(rules))));
    builder.set_host(domains);
    let nets = config.oidc_nets.clone().unwrap_or_else(|| Nets { plain: seams.net.clone(), https: None });
    let provider = config.oidc.clone().map(|oidc| oidc::Provider::new(oidc, nets));
    builder.set_route(Sts::new(keyring.clone(), seams.random.clone(), provider));
    builder.set_auth(Provider(keyring.clone()));
    builder.set_access(Access::new(keyring, buckets, config.region.clone()));
    Ok(builder.build())
}

fn http(limits: &Limits, tasks: &TaskTracker) -> auto::Builder<Owned> {
    let mut builder = auto::Builder::new(Owned(tasks.clone()));
    // Heads are refused by our own, smaller limit first, with an S3 error; this is what a connection may buffer.
    builder.http1().max_buf_size((4 * limits.max_header_bytes).max(64 << 10)).half_close(false);
    builder
        .http2()
        .max_concurrent_streams(128)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
    builder
}

async fn accept(shared: Arc<Shared>, listener: Box<dyn Listener>, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(shared.limits.max_connections));
    let turned_away = Arc::new(Semaphore::new(turn_away::AT_ONCE));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: connections that close will free some.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            tasks.spawn(connection::serve(shared.clone(), stream, from, place));
            continue;
        }
        shared.metrics.refused(Cause::Connections);
        if let Ok(place) = turned_away.clone().try_acquire_owned() {
            tasks.spawn(turn_away::turn_away(shared.clone(), stream, place));
        }
    }
}

#[cfg(test)]
mod tests;
