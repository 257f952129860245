//! How a node is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::handshake::ClusterSecret;

use super::faults::Faults;
use crate::group::{Guards, Timings};
use crate::log::LogOptions;

/// How a node is set up.
#[derive(Clone)]
pub struct NodeConfig {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
    /// Name and address of every first node, this one included. Empty: a cluster of its own.
    pub peers: Vec<(String, String)>,
    /// Where to listen for peers.
    pub listen: String,
    /// Where peers reach this node, `host:port`.
    pub address: String,
    /// Proves membership.
    pub secret: ClusterSecret,
    /// Shards of a new cluster.
    pub shards: u32,
    /// Voters that each group should have.
    pub replicas: u8,
    /// Raft's timings.
    pub timings: Timings,
    /// On, but in the tests that prove them.
    pub guards: Guards,
    /// Software version.
    pub version: String,
    /// The log's settings.
    pub log: LogOptions,
    /// Log bytes kept for followers that fall behind, over all groups.
    pub log_retain_bytes: u64,
    /// Log entries kept likewise, per group.
    pub log_retain_entries: u64,
    /// How long objects that are gone can be brought back.
    pub undelete: Duration,
    /// How long bytes that nothing names any more are kept.
    pub gc_grace: Duration,
    /// How long an upload may take from its first byte to its entry: bytes that are older and still have none never get one.
    pub upload_max: Duration,
    /// Between two rounds of the collector.
    pub gc_every: Duration,
    /// Between the end of a scrub and the next.
    pub scrub_every: Duration,
    /// How fast a scrub reads, bytes a second.
    pub scrub_bytes_per_second: u64,
    /// Takes orders of the fault API, if given.
    pub faults: Option<Arc<Faults>>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: "n1".to_owned(),
            data: PathBuf::from("holdfast-data"),
            peers: Vec::new(),
            listen: "127.0.0.1:9003".to_owned(),
            address: "127.0.0.1:9003".to_owned(),
            secret: ClusterSecret::new(Vec::new()),
            shards: 4,
            replicas: 3,
            timings: Timings::default(),
            guards: Guards::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            log: LogOptions::default(),
            log_retain_bytes: 256 << 20,
            log_retain_entries: 50_000,
            undelete: Duration::from_secs(3600),
            gc_grace: Duration::from_secs(300),
            upload_max: Duration::from_secs(24 * 3600),
            gc_every: Duration::from_secs(15),
            scrub_every: Duration::from_secs(7 * 24 * 3600),
            scrub_bytes_per_second: 20 << 20,
            faults: None,
        }
    }
}
