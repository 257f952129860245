//! The configuration: read in layers, checked whole, never looked up again. Every refusal is one line that names the
//! key as the user wrote it.

mod client;
mod error;
pub mod key;
pub mod layer;
mod log;
pub mod peers;
mod reader;
mod secret;
mod tls;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_gateway::access_log::AccessLog;
use holdfast_gateway::ownership::Ownership;
use holdfast_gateway::policy::value::Network;
use holdfast_gateway::sampling::Sampling;
use holdfast_gateway::seal::KeyRing;
use holdfast_gateway::sts::oidc::OidcConfig;
use holdfast_wire::id::BucketName;

pub use client::{ClientConfig, ImportConfig, ops};
pub use error::ConfigError;
use key::{Key, Role};
use layer::{Layer, Setting, Value};
pub use log::{LogConfig, LogFormat};
pub use peers::Peer;
use reader::Reader;
pub use secret::{RootKey, Secret};

use crate::release::Release;
use crate::tls::TlsConfig;

const SECRET_MIN: usize = 16;

/// Raft's times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTimes {
    /// Between heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest election timeout.
    pub election_min_ms: u64,
    /// Longest election timeout.
    pub election_max_ms: u64,
}

/// Everything that a process is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which release of the software this is.
    pub release: Release,
    /// Which requests are traced; by the standard `OTEL_…` variables.
    pub sampling: Sampling,
    /// The command.
    pub role: Role,
    /// This node's name; empty for a gateway.
    pub name: String,
    /// The data directory.
    pub data: PathBuf,
    /// The first nodes.
    pub peers: Vec<Peer>,
    /// Where other nodes reach this one.
    pub peer_listen: String,
    /// What they dial.
    pub peer_address: String,
    /// Where S3 is served.
    pub s3_listen: String,
    /// Where the admin API is served.
    pub admin_listen: String,
    /// Where metrics and health are served.
    pub ops_listen: String,
    /// Shards of a new cluster.
    pub shards: u32,
    /// Copies of each shard.
    pub replicas: u8,
    /// The cluster's secret; empty if every address is loopback and none is set.
    pub cluster_secret: Secret,
    /// The root user; `None` only for `replica`, and for `dev` when it is to make one.
    pub root: Option<RootKey>,
    /// Token of the admin API.
    pub admin_token: Option<Secret>,
    /// The keys that wrap those of encrypted objects.
    pub encryption_keys: Option<Arc<KeyRing>>,
    /// Whether customers may send keys of their own over plain HTTP.
    pub customer_keys_over_http: bool,
    /// Buckets to create at start.
    pub default_buckets: Vec<BucketName>,
    /// The region.
    pub region: String,
    /// Domains of virtual-host addressing.
    pub s3_domains: Vec<String>,
    /// The identity provider.
    pub oidc: Option<OidcConfig>,
    /// Who vouches for it where it speaks https; `None`: the system's authorities.
    pub oidc_ca: Option<PathBuf>,
    /// What to apply at start.
    pub provision: Option<PathBuf>,
    /// Where the audit log goes; `None`: into the process's log.
    pub audit_log: Option<PathBuf>,
    /// Proxies whose word about clients is believed.
    pub trusted_proxies: Vec<Network>,
    /// Largest body inside a log entry, bytes.
    pub inline_max: u64,
    /// Milliseconds of a lifecycle rule's day.
    pub lifecycle_day_ms: u64,
    /// The object ownership of a new bucket whose maker does not say.
    pub default_ownership: Ownership,
    /// The Redis that keeps the index; `None`: the embedded engine.
    pub index: Option<Secret>,
    /// The index's block cache, bytes.
    pub cache_bytes: u64,
    /// Raft's times.
    pub raft: RaftTimes,
    /// Certificates.
    pub tls: TlsConfig,
    /// Threads that run requests; `None`: as the machine has.
    pub threads: Option<usize>,
    /// Minutes for which objects that are gone can be brought back.
    pub undelete_minutes: u64,
    /// Hours between scrubs.
    pub scrub_hours: u64,
    /// Bytes a second that a scrub reads.
    pub scrub_bytes: u64,
    /// Whether the fault API's orders are taken.
    pub enable_faults: bool,
    /// Whether profiles are served.
    pub profiles: bool,
    /// Which requests are logged.
    pub access_log: AccessLog,
}

/// Reads a whole small file.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Option<Vec<u8>>>;

/// All layers as one: flags over environment over the file (that `config` names, or `./holdfast.toml`) over defaults.
pub fn settings(
    flags: impl IntoIterator<Item = (String, String)>,
    environment: impl IntoIterator<Item = (String, String)>,
    read: ReadFile<'_>,
) -> Result<Layer, ConfigError> {
    let flags = layer::flags(flags)?;
    let environment = layer::environment(environment)?;
    let config = Key::of("config").expect("a key of the table");
    let named = flags.get("config").or(environment.get("config"));
    let (name, path) = match named {
        Some(setting) => (setting.name(config), PathBuf::from(text(setting))),
        None => ("configuration file".to_owned(), PathBuf::from("holdfast.toml")),
    };
    let file = match read(&path) {
        Ok(Some(bytes)) => {
            let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText { name, path })?;
            layer::file(&text)?
        }
        Ok(None) if named.is_none() => Layer::new(),
        Ok(None) => return Err(ConfigError::Unreadable { name, path, error: crate::no_such_file() }),
        Err(error) => return Err(ConfigError::Unreadable { name, path, error }),
    };
    Ok(layer::merge([layer::defaults(), file, environment, flags]))
}

/// What a setting says; nothing where it is in a file of its own.
pub fn text(setting: &Setting) -> &str {
    match &setting.value {
        Value::Text(text) => text,
        Value::InFile(_) => "",
    }
}

fn required(flag: &str, why: &'static str) -> ConfigError {
    let key = Key::of(flag).expect("a key of the table");
    let suffix = if key.secret { "-file" } else { "" };
    ConfigError::Required { field: key.field(), flag: format!("{flag}{suffix}"), variable: key.variable(), why }
}

impl Config {
    /// The configuration of a process of this role.
    pub fn new(role: Role, layer: &Layer, read: ReadFile<'_>) -> Result<Config, ConfigError> {
        let from = Reader { layer, read };
        let (name, peers, peer_listen, peer_address) = from.place(role)?;
        let listen = |key: &str, in_dev: &str| {
            let by_default = layer.get(key).is_none_or(|setting| setting.source == layer::Source::Default);
            if role == Role::Dev && by_default {
                return Ok(in_dev.to_owned());
            }
            Ok(from.address(key)?.unwrap_or_default())
        };
        let admin_listen = listen("admin-listen", "127.0.0.1:9001")?;
        let admin_token = from.secret("admin-token", SECRET_MIN, 1024)?;
        if admin_token.is_none() && !peers::is_loopback(&admin_listen) {
            return Err(ConfigError::NoAdminToken { address: admin_listen });
        }
        let profiles = from.switch("profiles")?;
        if profiles && admin_token.is_none() {
            return Err(required("admin-token", "profiles are for those who have it"));
        }
        let cluster_secret = from.secret("cluster-secret", SECRET_MIN, 1024)?;
        let exposed = {
            let mut reachable = peers.iter().map(|peer| &peer.address).chain([&peer_address, &peer_listen]);
            reachable.find(|address| !address.is_empty() && !peers::is_loopback(address)).cloned()
        };
        if let (None, Some(address)) = (&cluster_secret, exposed) {
            return Err(ConfigError::NoClusterSecret { address });
        }
        let mut default_buckets = Vec::new();
        for bucket in from.list("default-buckets") {
            let name = from.set("default-buckets").map_or(String::new(), |(name, _)| name);
            let parsed = bucket.parse().map_err(|error| ConfigError::Bucket { name, found: bucket, error })?;
            default_buckets.push(parsed);
        }
        let raft = RaftTimes {
            heartbeat_ms: from.number("heartbeat-ms", 10, 10_000)?,
            election_min_ms: from.number("election-min-ms", 20, 60_000)?,
            election_max_ms: from.number("election-max-ms", 30, 120_000)?,
        };
        if raft.election_min_ms < 2 * raft.heartbeat_ms || raft.election_max_ms <= raft.election_min_ms {
            return Err(ConfigError::RaftTimes);
        }
        let threads = from.set("threads").is_some();
        Ok(Config {
            release: Release::CURRENT,
            sampling: Sampling::default(),
            role,
            name,
            data: PathBuf::from(from.text("data")),
            peers,
            peer_listen,
            peer_address,
            s3_listen: listen("s3-listen", "127.0.0.1:9000")?,
            admin_listen,
            ops_listen: listen("ops-listen", "127.0.0.1:9002")?,
            shards: from.number("shards", 1, 256)? as u32,
            replicas: from.number("replicas", 1, 7)? as u8,
            cluster_secret: cluster_secret.unwrap_or_else(|| Secret::new("")),
            root: from.root(role)?,
            admin_token,
            encryption_keys: if role.has_gateway() { from.encryption_keys()? } else { None },
            customer_keys_over_http: from.customer_keys_over_http()?,
            default_buckets,
            region: from.text("region"),
            s3_domains: from.list("s3-domains"),
            oidc: from.oidc()?,
            oidc_ca: from.path("oidc-ca"),
            provision: from.path("provision"),
            audit_log: from.path("audit-log"),
            trusted_proxies: from.networks("trusted-proxies")?,
            inline_max: from.number("inline-max", 0, 1 << 20)?,
            default_ownership: from.default_ownership()?,
            lifecycle_day_ms: from.number("lifecycle-day-seconds", 1, 86_400)? * 1000,
            index: from.index()?,
            cache_bytes: from.number("cache-bytes", 1 << 20, 1 << 40)?,
            raft,
            undelete_minutes: from.number("undelete-minutes", 0, 60 * 24 * 365)?,
            scrub_hours: from.number("scrub-hours", 1, 24 * 365)?,
            scrub_bytes: from.number("scrub-bytes", 1 << 16, 1 << 40)?,
            enable_faults: from.switch("enable-faults")?,
            profiles,
            tls: tls::config(&from, role)?,
            access_log: from.access_log()?,
            threads: if threads { Some(from.number("threads", 1, 256)? as usize) } else { None },
        })
    }
}

#[cfg(test)]
mod tests;
