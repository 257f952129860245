//! A replica process: its data directory, its groups, and the tasks that keep them.

mod audit;
mod clock;
mod config;
pub mod faults;
pub mod format;
mod founding;
mod host;
mod identity;
mod leave;
mod load;
mod neighbours;
mod restore;
mod stray;
pub mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use holdfast_wire::error::CallError;
use holdfast_wire::fault::{FAULT, FaultAnswer};
use holdfast_wire::handshake;
use holdfast_wire::heartbeat::{GroupStatus, Heartbeat, UNSAID};
use holdfast_wire::request::Request;
use holdfast_wire::seam::Seams;
use holdfast_wire::service::{Answer, Body, Service};
use holdfast_wire::transport::{self, Client, HEARTBEATS, Handler, Identities, serve_heartbeats};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blob::{BlobError, BlobOptions, BlobStore};
use crate::file::{self, Files};
use crate::index::engine::Engine;
use crate::log::{Log, LogError, LogOptions};

pub use config::NodeConfig;
pub use founding::Hello;
pub use host::{Host, NodeMetrics};
pub use identity::{Founding, Identity, IdentityError};
pub use restore::{Restore, RestoreError};
pub use stray::Stray;

use faults::Faults;
use founding::{BEGIN, FOUND, HELLO, Stamp};

/// How often a node that is crashed by order says so.
const EPITAPH_EVERY: Duration = Duration::from_millis(200);

/// Why a node does not start. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The peer port.
    #[error("cannot listen for peers on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data directory.
    #[error("data directory {path}: {source}")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The stamp.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The peers are another cluster's.
    #[error(transparent)]
    Stray(#[from] Stray),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// A running node. [`stop`](Self::stop) ends it in order; dropping it ends its tasks.
pub struct Node {
    inner: Arc<Inner>,
    tasks: TaskTracker,
    stop: CancellationToken,
    serving: CancellationToken,
    local_address: String,
}

/// What the peer port and the local gateway talk to, from the first moment on.
struct Inner {
    stamp: Stamp,
    host: RwLock<Option<Arc<Host>>>,
    failed: watch::Sender<Option<String>>,
    faults: Option<Arc<Faults>>,
    /// What a crashed node goes on to tell of itself.
    epitaph: RwLock<Option<Heartbeat>>,
}

impl Node {
    /// Looks whether the peers are those of the data directory, before anything of it is served; at most half a second. A node
    /// that runs looks again until it has met one of its own.
    ///
    /// # Errors
    /// If all peers that answer are of another cluster.
    pub async fn is_at_home(config: &NodeConfig, seams: &Seams, files: &Arc<dyn Files>) -> Result<(), NodeError> {
        match Identity::load(&**files, &config.data, &config.name)? {
            Some(identity) => Ok(stray::check(&identity, config, seams).await?),
            None => Ok(()),
        }
    }

    /// Opens the data directory and the peer port, and goes on in the background: founding or joining a cluster,
    /// starting groups. Until then requests are answered with [`CallError::Unavailable`].
    pub async fn start(
        config: NodeConfig,
        seams: Seams,
        files: Arc<dyn Files>,
        engine: Arc<dyn Engine>,
    ) -> Result<Self, NodeError> {
        let data_error = |source| NodeError::Data { path: config.data.clone(), source };
        let (mut seams, mut files) = (seams, files);
        if let Some(faults) = &config.faults {
            tracing::warn!(
                name = config.name,
                "FAULT INJECTION IS ENABLED: whoever may use the admin API can crash this node"
            );
            (seams.net, files) = (faults.net(seams.net), faults.files(files));
        }
        files.create_dir_all(&config.data).map_err(data_error)?;
        let stamp = Stamp::load(files.clone(), &config)?;
        let salt = log_salt(&*files, &config, &seams).map_err(data_error)?;
        let config = NodeConfig { log: LogOptions { salt, ..config.log }, ..config };
        let (log, blobs) = open(&config, &seams, &files).await?;
        let listener = seams
            .net
            .listen(&config.listen)
            .await
            .map_err(|source| NodeError::Listen { address: config.listen.clone(), source })?;
        let local_address = listener.local_addr().map_or_else(|_| config.listen.clone(), |addr| addr.to_string());

        let (failed, _) = watch::channel(None);
        let inner = Arc::new(Inner {
            stamp,
            host: RwLock::new(None),
            failed,
            faults: config.faults.clone(),
            epitaph: RwLock::default(),
        });
        let (tasks, stop, serving) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        tasks.spawn(transport::serve(
            listener,
            seams.clone(),
            config.secret.clone(),
            inner.clone(),
            inner.clone(),
            serving.clone(),
        ));
        let client = Client::new(seams.clone(), config.secret.clone());
        let lives = Lives { inner: inner.clone(), config, seams, files, engine, client, tasks: tasks.clone() };
        let (living, stopped) = (lives.run(log, blobs, stop.clone()), stop.clone());
        tasks.spawn(async move { stopped.run_until_cancelled_owned(living).await });
        Ok(Self { inner, tasks, stop, serving, local_address })
    }

    /// The replica as a service, without a socket between.
    pub fn service(&self) -> Arc<dyn Service> {
        self.inner.clone()
    }

    /// The peer port's address.
    pub fn local_address(&self) -> &str {
        &self.local_address
    }

    /// The node's numbers, once it has an identity.
    pub fn metrics(&self) -> Option<NodeMetrics> {
        self.inner.host().ok().map(|host| host.metrics())
    }

    /// As [`metrics`](Self::metrics), for those who do not hold the node.
    pub fn meter(&self) -> impl Fn() -> Option<NodeMetrics> + Send + Sync + use<> {
        let inner = self.inner.clone();
        move || inner.host().ok().map(|host| host.metrics())
    }

    /// Why it is not ready to serve, if it is not.
    pub fn not_ready(&self) -> Option<String> {
        match self.inner.host() {
            Ok(host) => host.not_ready(),
            Err(_) => Some("waiting for peers to found or join a cluster".to_owned()),
        }
    }

    /// Resolves with the reason once the node cannot go on: the process must end at once.
    pub async fn failed(&self) -> String {
        self.failure().await
    }

    /// As [`failed`](Self::failed), for those who do not hold the node.
    pub fn failure(&self) -> impl Future<Output = String> + Send + use<> {
        let mut failed = self.inner.failed.subscribe();
        async move {
            let reason = failed.wait_for(Option::is_some).await.map(|reason| reason.clone());
            match reason {
                Ok(reason) => reason.unwrap_or_default(),
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Its groups as they are, for those who watch from outside.
    pub fn statuses(&self) -> Vec<GroupStatus> {
        self.inner.host().map(|host| host.statuses()).unwrap_or_default()
    }

    /// Says that it is about to stop, and gives its leaderships away; requests are answered all the same. At most two
    /// seconds.
    pub async fn hand_over(&self) {
        if let Ok(host) = self.inner.host() {
            host.hand_over().await;
        }
    }

    /// Hands over what leaderships it has still, stops its groups and the peer port.
    pub async fn stop(self) {
        self.hand_over().await;
        let host = self.inner.host().ok();
        self.stop.cancel();
        if let Some(host) = &host {
            host.stop().await;
        }
        self.serving.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        *self.inner.host.write() = None;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        self.serving.cancel();
    }
}

/// A random number that the log's checksums depend on, so that no client can make its bytes look like a record. Drawn
/// once for a data directory, before there is a log.
fn log_salt(files: &dyn Files, config: &NodeConfig, seams: &Seams) -> std::io::Result<u64> {
    let path = config.data.join("log.salt");
    match file::read(files, &path)?.as_deref().map(<[u8; 8]>::try_from) {
        Some(Ok(salt)) => Ok(u64::from_le_bytes(salt)),
        Some(Err(_)) => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "log.salt is damaged; to replace this node, empty its data directory and start it",
        )),
        None => {
            let salt = seams.random.next_u64();
            file::replace(files, &path, &salt.to_le_bytes())?;
            Ok(salt)
        }
    }
}

/// Opens what a life of the node needs of its data directory.
async fn open(config: &NodeConfig, seams: &Seams, files: &Arc<dyn Files>) -> Result<(Log, BlobStore), NodeError> {
    let log = Log::open(files.clone(), config.data.join("log"), config.log).await?;
    let options = BlobOptions::default();
    let blobs = BlobStore::open_with(files.clone(), config.data.join("blobs"), seams.clock.clone(), options).await?;
    Ok((log, blobs))
}

/// What every life of the node is made of. There is one, unless the fault API ends it.
struct Lives {
    inner: Arc<Inner>,
    config: NodeConfig,
    seams: Seams,
    files: Arc<dyn Files>,
    engine: Arc<dyn Engine>,
    client: Client,
    tasks: TaskTracker,
}

impl Lives {
    async fn run(self, mut log: Log, mut blobs: BlobStore, stop: CancellationToken) {
        loop {
            let life = stop.child_token();
            let Some(faults) = self.config.faults.clone() else { return self.live(log, blobs, life).await };
            tokio::select! {
                () = self.live(log.clone(), blobs, life.clone()) => return,
                () = faults.crash_ordered() => {}
            }
            life.cancel();
            let host = self.inner.host.write().take();
            if let Some(host) = host {
                *self.inner.epitaph.write() = Some(epitaph(host.heartbeat()));
                host.stop().await;
            } else {
                log.close().await;
            }
            faults.stay_down().await;
            (log, blobs) = match open(&self.config, &self.seams, &self.files).await {
                Ok(opened) => opened,
                Err(error) => {
                    self.inner.failed.send_replace(Some(error.to_string()));
                    return;
                }
            };
            faults.up();
        }
    }

    async fn live(&self, log: Log, blobs: BlobStore, life: CancellationToken) {
        let Self { inner, config, seams, files, engine, client, tasks } = self;
        let identity =
            match founding::settle(&inner.stamp, config, client, &*seams.random, log.groups().is_empty()).await {
                Ok(identity) => identity,
                Err(error) => {
                    inner.failed.send_replace(Some(error.to_string()));
                    return;
                }
            };
        let host = Host::new(
            identity,
            config.clone(),
            seams.clone(),
            files.clone(),
            engine.clone(),
            log,
            blobs,
            client.clone(),
            inner.failed.clone(),
        );
        *inner.host.write() = Some(host.clone());
        host.run(tasks.clone(), life).await;
    }
}

/// The last words of a node that is crashed by order: who it is, and nothing that others could rely on.
fn epitaph(last: Heartbeat) -> Heartbeat {
    Heartbeat { not_ready: Some(faults::CRASHED.to_owned()), groups: Vec::new(), clock_ms: UNSAID, ..last }
}

impl Inner {
    fn host(&self) -> Result<Arc<Host>, CallError> {
        let starting = || CallError::Unavailable { reason: "the node has no cluster yet".to_owned() };
        self.host.read().clone().ok_or_else(starting)
    }

    fn answer(&self, request: Request, body: Body) -> BoxFuture<'static, Answer> {
        match self.host() {
            Ok(host) => crate::service::call(host, request, body).boxed(),
            Err(error) => futures::future::ready(Err(error)).boxed(),
        }
    }

    fn answer_peer(
        &self,
        path: &str,
        head: Bytes,
        payload: Body,
    ) -> BoxFuture<'static, Result<(Bytes, Body), CallError>> {
        let early = match path {
            HELLO => Some(Ok(transport::encode(&self.stamp.hello()))),
            FOUND => Some(transport::decode(&head).and_then(|offer| self.stamp.found(offer)).map(|()| Bytes::new())),
            BEGIN => Some(self.stamp.begin().map(|()| Bytes::new())),
            _ => None,
        };
        if let Some(answer) = early {
            return futures::future::ready(answer.map(|head| (head, Body::empty()))).boxed();
        }
        match self.host() {
            Ok(host) => crate::service::handle_peer(host, path, head, payload),
            Err(error) => futures::future::ready(Err(error)).boxed(),
        }
    }

    fn fault(&self, head: Bytes) -> BoxFuture<'static, Result<(Bytes, Body), CallError>> {
        let faults = self.faults.clone();
        async move {
            let order = transport::decode(&head)?;
            let answer = match faults {
                Some(faults) => FaultAnswer::State(faults.obey(order).await?),
                None => {
                    tracing::warn!(?order, "an order of the fault API was refused: this node was not started for it");
                    FaultAnswer::Refused
                }
            };
            Ok((transport::encode(&answer), Body::empty()))
        }
        .boxed()
    }
}

impl Identities for Inner {
    fn identity(&self) -> handshake::Identity {
        self.stamp.identity().map(|identity| identity.handshake()).unwrap_or_default()
    }
}

impl Service for Inner {
    fn call(&self, request: Request, body: Body) -> BoxFuture<'static, Answer> {
        let Some(faults) = &self.faults else { return self.answer(request, body) };
        match faults.life() {
            Ok(life) => until(life, self.answer(request, body)).boxed(),
            Err(error) => futures::future::ready(Err(error)).boxed(),
        }
    }

    fn heartbeats(&self) -> BoxStream<'static, Heartbeat> {
        if let Some(faults) = self.faults.as_ref().filter(|faults| faults.life().is_err()) {
            let Some(epitaph) = self.epitaph.read().clone() else { return Box::pin(futures::stream::empty()) };
            let again = futures::stream::unfold(epitaph, |epitaph| async move {
                tokio::time::sleep(EPITAPH_EVERY).await;
                Some((epitaph.clone(), epitaph))
            });
            let first = self.epitaph.read().clone();
            return futures::stream::iter(first).chain(again).take_until(Box::pin(faults.risen())).boxed();
        }
        match self.host() {
            Ok(host) => host.heartbeats(),
            Err(_) => Box::pin(futures::stream::empty()),
        }
    }
}

impl Handler for Inner {
    fn handle(&self, path: &str, head: Bytes, payload: Body) -> BoxFuture<'static, Result<(Bytes, Body), CallError>> {
        if path == FAULT {
            return self.fault(head);
        }
        let Some(faults) = &self.faults else { return self.answer_peer(path, head, payload) };
        match faults.life() {
            Ok(life) => until(life, self.answer_peer(path, head, payload)).boxed(),
            // Who it is remains visible.
            Err(_) if path == HEARTBEATS => futures::future::ready(Ok(serve_heartbeats(self.heartbeats()))).boxed(),
            Err(error) => futures::future::ready(Err(error)).boxed(),
        }
    }
}

/// Ends an answer, body and all, with the life of the node.
async fn until<T>(
    life: CancellationToken,
    answer: BoxFuture<'static, Result<(T, Body), CallError>>,
) -> Result<(T, Body), CallError> {
    let (head, body) = life.run_until_cancelled(answer).await.ok_or_else(faults::crashed)??;
    let cut_off = Box::pin(life.cancelled_owned());
    Ok((head, Body { len: body.len, stream: body.stream.take_until(cut_off).boxed() }))
}

#[cfg(test)]
mod tests;
