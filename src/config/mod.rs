//! The configuration: read in layers, checked whole, never looked up again. Every refusal is one line that names the
//! key as the user wrote it.

mod client;
pub mod key;
pub mod layer;
mod log;
pub mod peers;
mod secret;
mod tls;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_gateway::access_log::AccessLog;
use holdfast_gateway::ownership::Ownership;
use holdfast_gateway::policy::value::Network;
use holdfast_gateway::sampling::Sampling;
use holdfast_gateway::seal::{BadKeyRing, KeyRing};
use holdfast_gateway::sts::jwt::KeySet;
use holdfast_gateway::sts::oidc::{Jwks, OidcConfig};
use holdfast_replica::index::engine::{BadUrl, check_url};
use holdfast_wire::id::{BucketName, NotABucketName};

pub use client::{ClientConfig, ImportConfig, ops};
use key::{Key, Role};
use layer::{Layer, Setting, Value};
pub use log::{LogConfig, LogFormat};
use peers::BadPeers;
pub use peers::Peer;
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

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("{name} = {}: {error}", path.display())]
    Unreadable {
        /// The key that names it.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that is not UTF-8.
    #[error("{name} = {}: not UTF-8 text", path.display())]
    NotText {
        /// The key that names it.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// Not TOML.
    #[error("configuration file, line {line}: {reason}")]
    Syntax {
        /// From 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A key of the file that does not exist.
    #[error("configuration file: unknown key `{field}` (`holdfast config keys` lists them)")]
    UnknownField {
        /// The key.
        field: String,
    },
    /// A value of the file with a type that no key takes.
    #[error("configuration file: `{field}` takes text, a number or a list of texts")]
    FieldType {
        /// The key.
        field: String,
    },
    /// A variable that does not exist.
    #[error("unknown environment variable {variable} (`holdfast config keys` lists them)")]
    UnknownVariable {
        /// The variable.
        variable: String,
    },
    /// A key set twice in one layer.
    #[error("both {one} and {other} are set: set one")]
    Twice {
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
    /// Not the number that is asked for.
    #[error("{name}: expected a whole number from {min} to {max}, found {found:?}")]
    Number {
        /// The key.
        name: String,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
        /// What stands there.
        found: String,
    },
    /// Not an address.
    #[error("{name}: expected HOST:PORT, found {found:?}")]
    Address {
        /// The key.
        name: String,
        /// What stands there.
        found: String,
    },
    /// None of the possible values.
    #[error("{name}: expected {expected}, found {found:?}")]
    Choice {
        /// The key.
        name: String,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A bad list of peers.
    #[error("{name}: {error}")]
    Peers {
        /// The key.
        name: String,
        /// Why.
        error: BadPeers,
    },
    /// A bad bucket name.
    #[error("{name}: {found:?}: {error}")]
    Bucket {
        /// The key.
        name: String,
        /// What stands there.
        found: String,
        /// Why.
        error: NotABucketName,
    },
    /// Not a range of addresses.
    #[error("{name}: expected ADDRESS or ADDRESS/BITS, found {found:?}")]
    Network {
        /// The key.
        name: String,
        /// What stands there.
        found: String,
    },
    /// A secret of the wrong length.
    #[error("{name}: must have {min} to {max} printable ASCII characters without spaces")]
    SecretForm {
        /// The key.
        name: String,
        /// Least.
        min: usize,
        /// Most.
        max: usize,
    },
    /// Bad encryption keys.
    #[error("{name}: {error}")]
    EncryptionKeys {
        /// The key.
        name: String,
        /// Why.
        error: BadKeyRing,
    },
    /// No place for an index. What stands there may hold a password.
    #[error("{name}: {error}, or `embedded`")]
    Index {
        /// The key.
        name: String,
        /// What is expected.
        error: BadUrl,
    },
    /// A key that must be set.
    #[error("{field} is required: {why} (set --{flag} or {variable})")]
    Required {
        /// In the file.
        field: String,
        /// As a flag.
        flag: String,
        /// In the environment.
        variable: String,
        /// Why.
        why: &'static str,
    },
    /// No secret although others can reach the peer port.
    #[error(
        "HOLDFAST_CLUSTER_SECRET is required: {address} is not loopback (set it, or HOLDFAST_CLUSTER_SECRET_FILE, to \
         the same text of at least {SECRET_MIN} characters on every node)"
    )]
    NoClusterSecret {
        /// The address.
        address: String,
    },
    /// An admin API that everybody could use.
    #[error(
        "HOLDFAST_ADMIN_TOKEN is required: {address} is not loopback (or keep the admin API on 127.0.0.1 with \
         --admin-listen)"
    )]
    NoAdminToken {
        /// The address.
        address: String,
    },
    /// Raft's times out of order.
    #[error("election-min-ms must be at least twice heartbeat-ms, and election-max-ms greater than election-min-ms")]
    RaftTimes,
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
        Ok(None) => return Err(ConfigError::Unreadable { name, path, error: io::ErrorKind::NotFound.into() }),
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

/// Settings being turned into a configuration.
struct Reader<'a> {
    layer: &'a Layer,
    read: ReadFile<'a>,
}

impl Reader<'_> {
    fn set(&self, key: &str) -> Option<(String, &str)> {
        let setting = self.layer.get(key)?;
        Some((setting.name(Key::of(key)?), text(setting)))
    }

    fn text(&self, key: &str) -> String {
        self.set(key).map_or(String::new(), |(_, text)| text.to_owned())
    }

    fn oidc(&self) -> Result<Option<OidcConfig>, ConfigError> {
        let Some((_, issuer)) = self.set("oidc-issuer") else { return Ok(None) };
        let jwks = match self.set("oidc-jwks") {
            None => Jwks::Discovered,
            Some((_, url)) if url.starts_with("http://") || url.starts_with("https://") => Jwks::Url(url.to_owned()),
            Some((name, path)) => {
                let path = PathBuf::from(path);
                let unreadable = |error| ConfigError::Unreadable { name: name.clone(), path: path.clone(), error };
                let text = (self.read)(&path).map_err(unreadable)?;
                let text = text.ok_or_else(|| unreadable(io::ErrorKind::NotFound.into()))?;
                let keys = KeySet::parse(&text);
                Jwks::Given(keys.ok_or_else(|| unreadable(io::ErrorKind::InvalidData.into()))?)
            }
        };
        let audiences = self.list("oidc-audience");
        Ok(Some(OidcConfig { issuer: issuer.to_owned(), audiences, jwks }))
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.set(key).map(|(_, text)| PathBuf::from(text))
    }

    fn number(&self, key: &str, min: u64, max: u64) -> Result<u64, ConfigError> {
        let (name, text) = self.set(key).unwrap_or_else(|| (key.to_owned(), ""));
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(ConfigError::Number { name, min, max, found: text.to_owned() }),
        }
    }

    fn switch(&self, key: &str) -> Result<bool, ConfigError> {
        match self.set(key) {
            None | Some((_, "false")) => Ok(false),
            Some((_, "true")) => Ok(true),
            Some((name, found)) => {
                Err(ConfigError::Choice { name, expected: "true or false", found: found.to_owned() })
            }
        }
    }

    fn address(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some((name, text)) = self.set(key) else { return Ok(None) };
        if peers::is_address(text) {
            Ok(Some(text.to_owned()))
        } else {
            Err(ConfigError::Address { name, found: text.to_owned() })
        }
    }

    fn list(&self, key: &str) -> Vec<String> {
        self.text(key).split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    fn networks(&self, key: &str) -> Result<Vec<Network>, ConfigError> {
        let name = self.set(key).map_or(String::new(), |(name, _)| name);
        let parsed =
            |found: String| Network::parse(&found).ok_or_else(|| ConfigError::Network { name: name.clone(), found });
        self.list(key).into_iter().map(parsed).collect()
    }

    fn secret(&self, key: &str, min: usize, max: usize) -> Result<Option<Secret>, ConfigError> {
        let Some((name, text)) = self.secret_text(key)? else { return Ok(None) };
        let sound = (min..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if sound { Ok(Some(Secret::new(text))) } else { Err(ConfigError::SecretForm { name, min, max }) }
    }

    fn index(&self) -> Result<Option<Secret>, ConfigError> {
        let Some((name, text)) = self.secret_text("index")? else { return Ok(None) };
        if text == "embedded" {
            return Ok(None);
        }
        check_url(&text).map_err(|error| ConfigError::Index { name, error })?;
        Ok(Some(Secret::new(text)))
    }

    fn encryption_keys(&self) -> Result<Option<Arc<KeyRing>>, ConfigError> {
        let Some((name, text)) = self.secret_text("encryption-keys")? else { return Ok(None) };
        let ring = KeyRing::parse(&text).map_err(|error| ConfigError::EncryptionKeys { name, error })?;
        Ok(Some(Arc::new(ring)))
    }

    /// Whether customers' keys are taken over plain HTTP.
    fn default_ownership(&self) -> Result<Ownership, ConfigError> {
        let expected = "BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter";
        let Some((name, found)) = self.set("default-object-ownership") else { return Ok(Ownership::Enforced) };
        found.parse().map_err(|_| ConfigError::Choice { name, expected, found: found.to_owned() })
    }

    fn customer_keys_over_http(&self) -> Result<bool, ConfigError> {
        match self.set("customer-keys-over") {
            None | Some((_, "https")) => Ok(false),
            Some((_, "any")) => Ok(true),
            Some((name, found)) => Err(ConfigError::Choice { name, expected: "https or any", found: found.to_owned() }),
        }
    }

    /// A secret as it stands there, and what sets it.
    fn secret_text(&self, key: &str) -> Result<Option<(String, String)>, ConfigError> {
        let (Some(setting), Some(key)) = (self.layer.get(key), Key::of(key)) else { return Ok(None) };
        let name = setting.name(key);
        let text = match &setting.value {
            Value::Text(text) => text.clone(),
            Value::InFile(path) => {
                let unreadable = |error| ConfigError::Unreadable { name: name.clone(), path: path.clone(), error };
                let bytes = (self.read)(path).map_err(unreadable)?;
                let bytes = bytes.ok_or_else(|| unreadable(io::ErrorKind::NotFound.into()))?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| ConfigError::NotText { name: name.clone(), path: path.clone() })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        Ok(Some((name, text)))
    }

    fn access_log(&self) -> Result<AccessLog, ConfigError> {
        let Some((name, found)) = self.set("access-log") else { return Ok(AccessLog::default()) };
        let choice = |_| ConfigError::Choice { name, expected: "off, failures or all", found: found.to_owned() };
        found.parse().map_err(choice)
    }

    fn root(&self, role: Role) -> Result<Option<RootKey>, ConfigError> {
        if !role.has_gateway() {
            return Ok(None);
        }
        let access = self.secret("root-access-key", 3, 128)?;
        let secret = self.secret("root-secret-key", 8, 128)?;
        match (access, secret) {
            (Some(access), Some(secret)) => Ok(Some(RootKey { access: access.reveal().to_owned(), secret })),
            (None, None) if role == Role::Dev => Ok(None),
            (None, _) => Err(required("root-access-key", "there are no default credentials")),
            (_, None) => Err(required("root-secret-key", "there are no default credentials")),
        }
    }

    /// Name, peers, where this node listens for peers, and what they dial.
    fn place(&self, role: Role) -> Result<(String, Vec<Peer>, String, String), ConfigError> {
        let list = self.set("peers");
        let peers = match &list {
            Some((name, text)) => {
                peers::parse(text).map_err(|error| ConfigError::Peers { name: name.clone(), error })?
            }
            None => Vec::new(),
        };
        match role {
            Role::Dev | Role::Client => return Ok((String::new(), Vec::new(), String::new(), String::new())),
            Role::Gateway if peers.is_empty() => return Err(required("peers", "a gateway keeps no data itself")),
            Role::Gateway => return Ok((String::new(), peers, String::new(), String::new())),
            Role::Server | Role::Replica => {}
        }
        let name = match self.set("name") {
            Some((_, text)) if peers::is_name(text) => text.to_owned(),
            Some((name, text)) => {
                let error = BadPeers::Name(text.to_owned());
                return Err(ConfigError::Peers { name, error });
            }
            None if peers.is_empty() => "n1".to_owned(),
            None => return Err(required("name", "this node must know which of the peers it is")),
        };
        let own = peers.iter().find(|peer| peer.name == name).map(|peer| peer.address.clone());
        let listen = self.address("peer-listen")?;
        let address = match (self.address("peer-address")?, own, &listen) {
            (Some(address), _, _) | (None, Some(address), _) => address,
            (None, None, Some(listen)) if peers.is_empty() && peers::is_loopback(listen) => listen.clone(),
            (None, None, _) if peers.is_empty() => "127.0.0.1:9003".to_owned(),
            (None, None, _) => return Err(required("peer-address", "this node's name is not among the peers")),
        };
        let listen = listen.unwrap_or_else(|| {
            let port = peers::port(&address).unwrap_or_default();
            if peers::is_loopback(&address) { address.clone() } else { format!("0.0.0.0:{port}") }
        });
        let peers = if peers.is_empty() { vec![Peer { name: name.clone(), address: address.clone() }] } else { peers };
        Ok((name, peers, listen, address))
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
