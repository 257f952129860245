//! Who runs where: replica nodes with their disks, gateways, and the clients' host.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use holdfast_gateway::auth::{Buckets, RootKey, Secret};
use holdfast_gateway::membership::Membership;
use holdfast_gateway::metrics::GatewayMetrics;
use holdfast_gateway::router::{Router, RouterOptions};
use holdfast_gateway::s3::{S3Config, S3Service};
use holdfast_gateway::server::{Gateway, GatewayConfig};
use holdfast_replica::file::{Cut, Files, SimulatedFiles};
use holdfast_replica::group::Timings;
use holdfast_replica::index::engine::Memory;
use holdfast_replica::log::LogOptions;
use holdfast_replica::node::{Node, NodeConfig};
use holdfast_wire::handshake::ClusterSecret;
use holdfast_wire::id::NodeId;
use holdfast_wire::seam::{Clock, Net, Random, Seams};
use holdfast_wire::transport::Client;
use parking_lot::Mutex;

use super::host::Host;
use super::net::SimNet;
use super::scenario::Scenario;
use crate::client::sign::Keys;
use crate::rng::Rng;

/// Length of a tick.
pub const TICK: Duration = Duration::from_millis(1);
const SECRET: &str = "a-secret-of-the-simulation";
/// Unix milliseconds at the start of every run.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// Wall-clock time of one host.
#[derive(Clone, Default)]
pub struct HostClock {
    now_ms: Arc<AtomicU64>,
    skew_ms: Arc<AtomicI64>,
}

impl HostClock {
    /// Sets it so far off.
    pub fn jump(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn unix_millis(&self) -> u64 {
        let now = EPOCH_MS + self.now_ms.load(Ordering::Relaxed);
        now.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed))
    }
}

/// Randomness of one process.
struct Seeded(Mutex<Rng>);

impl Random for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        let len = buffer.len();
        buffer.copy_from_slice(&self.0.lock().bytes(len));
    }
}

/// A replica's machine.
pub struct Machine {
    /// Its process.
    pub host: Host,
    /// Its disk.
    pub disk: SimulatedFiles,
    /// Its index, on the same disk as far as power cuts go.
    pub engine: Memory,
    /// What runs, once it has started.
    pub node: Arc<Mutex<Option<Node>>>,
    /// Why its process ended by itself, or did not start.
    pub died: Arc<Mutex<Option<String>>>,
    /// Its clock.
    pub clock: HostClock,
    /// Processes so far.
    pub lives: u64,
}

/// The cluster.
pub struct Cluster {
    /// The network.
    pub net: SimNet,
    /// The replicas.
    pub machines: Vec<Machine>,
    gateways: Vec<Host>,
    /// Processes of gateways so far.
    gateway_lives: u64,
    /// The clients' host.
    pub clients: Host,
    seed: u64,
    now: Arc<AtomicU64>,
    ticks: u64,
    order: Rng,
    config: NodeConfig,
}

/// How long objects that are gone can be brought back.
pub const UNDELETE: Duration = Duration::from_secs(3);

/// A clock's speed, in thousandths: up to 5 % off.
fn drawn_rate(rng: &mut Rng) -> u64 {
    950 + rng.below(101)
}

/// Replica number `at` as it is called.
pub fn name(at: usize) -> String {
    format!("n{}", at + 1)
}

/// The keys of the root user.
pub fn keys() -> Keys {
    Keys { access: "holdfastroot".into(), secret: "a-root-secret-for-tests".into() }
}

impl Cluster {
    /// `nodes` replicas and two gateways, all starting.
    pub fn new(seed: u64, nodes: usize, shards: u32, scenario: Scenario) -> Self {
        let now = Arc::new(AtomicU64::new(0));
        let config = NodeConfig {
            peers: (0..nodes).map(|at| (name(at), format!("{}:9003", name(at)))).collect(),
            secret: ClusterSecret::new(SECRET),
            shards,
            replicas: scenario.copies(),
            timings: Timings { heartbeat_ms: 100, election_min_ms: 300, election_max_ms: 600 },
            log: LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() },
            // Small, so that snapshots and purges happen in nearly every run.
            log_retain_bytes: 2 << 20,
            log_retain_entries: 20,
            undelete: UNDELETE,
            gc_grace: Duration::from_secs(2),
            upload_max: scenario.upload_max(),
            gc_every: scenario.collects_every(),
            ..NodeConfig::default()
        };
        let mut cluster = Self {
            net: SimNet::new(seed ^ 0x6e65_7477_6f72_6b00),
            machines: Vec::new(),
            gateways: Vec::new(),
            gateway_lives: 0,
            clients: Host::default(),
            seed,
            now,
            ticks: 0,
            order: Rng::new(seed ^ 0x6f72_6465_7200_0000),
            config,
        };
        for _ in 0..nodes {
            cluster.add();
        }
        let mut rates = Rng::new(seed ^ 0x7261_7465_7300_0000);
        if scenario.drifts() {
            cluster.machines.iter_mut().for_each(|machine| machine.host.drift(drawn_rate(&mut rates)));
        }
        for at in 0..2 {
            let mut host = Host::default();
            if scenario.drifts() {
                host.drift(drawn_rate(&mut rates));
            }
            cluster.gateways.push(host);
            cluster.start_gateway(at, 0);
        }
        cluster
    }

    fn start_gateway(&mut self, at: usize, life: u64) {
        let name = format!("g{}", at + 1);
        let seams = self.seams(&name, HostClock { now_ms: self.now.clone(), skew_ms: Arc::default() }, life);
        let seeds = self.config.peers.iter().map(|(_, address)| address.clone()).collect();
        self.gateways[at].start(gateway(seams, seeds, name));
    }

    /// The process of a gateway dies with whatever is under way, and another one starts.
    pub fn restart_gateway(&mut self, at: usize) {
        self.net.kill(&format!("g{}", at + 1), false);
        self.gateways[at].kill();
        self.gateway_lives += 1;
        self.start_gateway(at, self.gateway_lives);
    }

    /// One more replica, starting: the first ones make the cluster, later ones ask to join it.
    pub fn add(&mut self) -> usize {
        let at = self.machines.len();
        let clock = HostClock { now_ms: self.now.clone(), skew_ms: Arc::default() };
        let disk = SimulatedFiles::new(self.seed.wrapping_mul(31) + at as u64);
        self.machines.push(Machine {
            host: Host::default(),
            disk: disk.with_clock(Arc::new(clock.clone())),
            engine: Memory::with_power_cuts(),
            node: Arc::default(),
            died: Arc::default(),
            clock,
            lives: 0,
        });
        self.start(at);
        at
    }

    /// A router of the clients' host, for what S3 has no request for.
    pub fn router(&self) -> impl Future<Output = Router> + Send + use<> {
        let clock = HostClock { now_ms: self.now.clone(), skew_ms: Arc::default() };
        let seams = self.seams("c1", clock, 1);
        let seeds = self.config.peers.iter().map(|(_, address)| address.clone()).collect();
        async move {
            let client = Client::new(seams.clone(), ClusterSecret::new(SECRET));
            let membership = Membership::start(client, None, seeds, seams.clone());
            Router::new(membership, seams, RouterOptions::default())
        }
    }

    fn seams(&self, host: &str, clock: HostClock, life: u64) -> Seams {
        let salt = host.bytes().fold(life, |salt, byte| salt.wrapping_mul(257) + u64::from(byte));
        // Mixed, since the generators of neighbouring salts must not walk over the same numbers a step apart.
        let [seed, salt] = [self.seed, salt].map(|number| Rng::new(number).next_u64());
        let random = Seeded(Mutex::new(Rng::new(seed ^ salt.rotate_left(32))));
        Seams { net: self.net.host(host), clock: Arc::new(clock), random: Arc::new(random) }
    }

    /// The clients' network.
    pub fn client_net(&self) -> Arc<dyn Net> {
        self.net.host("c1")
    }

    /// `host:port` of every gateway.
    pub fn gateways(&self) -> Vec<String> {
        (0..self.gateways.len()).map(|at| format!("g{}:9000", at + 1)).collect()
    }

    /// Milliseconds since the start.
    pub fn now_ms(&self) -> u64 {
        self.ticks
    }

    /// Starts the process of a replica that has none.
    pub fn start(&mut self, at: usize) {
        // A machine that is back resets the streams of its earlier life, of which it knows nothing.
        self.net.kill(&name(at), false);
        let machine = &mut self.machines[at];
        machine.lives += 1;
        let (life, clock) = (machine.lives, machine.clock.clone());
        let seams = self.seams(&name(at), clock, life);
        let machine = &mut self.machines[at];
        let config = NodeConfig {
            name: name(at),
            data: "/data".into(),
            listen: format!("{}:9003", name(at)),
            address: format!("{}:9003", name(at)),
            ..self.config.clone()
        };
        let files: Arc<dyn Files> = Arc::new(machine.disk.process());
        let engine = Arc::new(machine.engine.clone());
        machine.node = Arc::default();
        machine.died = Arc::default();
        let (slot, died) = (machine.node.clone(), machine.died.clone());
        machine.host.start(async move {
            let failed = match Node::start(config, seams, files, engine).await {
                Ok(node) => {
                    let failed = node.failure();
                    *slot.lock() = Some(node);
                    failed.await
                }
                Err(error) => format!("not started: {error}"),
            };
            *died.lock() = Some(failed);
        });
    }

    /// The process of a replica dies; its machine goes on.
    pub fn kill(&mut self, at: usize) {
        self.net.kill(&name(at), false);
        let machine = &mut self.machines[at];
        machine.host.kill();
        machine.node = Arc::default();
    }

    /// The machine of a replica loses its power: it falls silent, and what was not synced is lost, or a part of it.
    pub fn cut_power(&mut self, at: usize, torn: bool, rng: &mut Rng) {
        self.net.kill(&name(at), true);
        let machine = &mut self.machines[at];
        machine.host.kill();
        machine.node = Arc::default();
        machine.disk.power_cut(if torn { Cut::Torn } else { Cut::Clean });
        let kept = if torn { rng.below(200) } else { 0 };
        machine.engine.cut_power(kept);
    }

    /// Everything that a replica has stored is gone. Its process must not run.
    pub fn wipe(&mut self, at: usize) {
        let seed = self.seed.wrapping_mul(31) + at as u64 + 1000 * self.machines[at].lives;
        let clock = Arc::new(self.machines[at].clock.clone());
        self.machines[at].disk = SimulatedFiles::new(seed).with_clock(clock);
        self.machines[at].engine = Memory::with_power_cuts();
    }

    /// One tick: bytes arrive, and every process runs a little, in an order drawn from the seed. A process that has
    /// failed ends.
    pub fn tick(&mut self) {
        self.ticks += 1;
        self.now.store(self.ticks, Ordering::Relaxed);
        self.net.advance(TICK.as_micros() as u64);
        let count = self.machines.len() + self.gateways.len() + 1;
        let first = self.order.below(count as u64) as usize;
        for at in (first..count).chain(0..first) {
            let host = match at {
                at if at < self.machines.len() => &mut self.machines[at].host,
                at if at < count - 1 => &mut self.gateways[at - self.machines.len()],
                _ => &mut self.clients,
            };
            host.step(TICK);
        }
        for at in 0..self.machines.len() {
            if self.machines[at].host.runs() && self.machines[at].died.lock().is_some() {
                self.kill(at);
            }
        }
    }

    /// The id of a replica that runs.
    pub fn node_id(&self, at: usize) -> Option<NodeId> {
        self.machines[at].node.lock().as_ref()?.id()
    }

    /// Whether every replica runs and says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.machines.iter().all(|machine| {
            machine.host.runs() && machine.node.lock().as_ref().is_some_and(|node| node.not_ready().is_none())
        })
    }

    /// The finished blobs on a replica's disk.
    pub fn blob_files(&self, at: usize) -> Vec<PathBuf> {
        let (disk, root) = (&self.machines[at].disk, Path::new("/data/blobs"));
        let list = |dir: &Path| disk.read_dir(dir).unwrap_or_default();
        let mut found = Vec::new();
        for group in list(root).into_iter().filter(|entry| entry.is_dir && entry.name != "staging") {
            for prefix in list(&root.join(&group.name)) {
                let dir = root.join(&group.name).join(&prefix.name);
                found.extend(list(&dir).into_iter().map(|entry| dir.join(entry.name)));
            }
        }
        found
    }
}

/// The process of a gateway: the product's own parts, put together as the product does.
async fn gateway(seams: Seams, seeds: Vec<String>, name: String) {
    let client = Client::new(seams.clone(), ClusterSecret::new(SECRET));
    let membership = Membership::start(client, None, seeds, seams.clone());
    let router = Router::new(membership.clone(), seams.clone(), RouterOptions::default());
    let keys = keys();
    let root = RootKey::new(keys.access.clone(), Secret::new(keys.secret)).expect("a sound key");
    let service = S3Service::new(router.clone(), seams.random.clone(), S3Config::new(keys.access));
    let buckets: Arc<dyn Buckets> = Arc::new(router);
    let config = GatewayConfig::new(format!("{name}:9000"), root);
    let metrics = Arc::new(GatewayMetrics::default());
    let _gateway = Gateway::start(config, seams, service, Some(buckets), Arc::new(|| Ok(())), metrics)
        .await
        .expect("the simulated port is free");
    let _heard = membership;
    std::future::pending().await
}
