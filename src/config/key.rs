//! The one table of configuration keys. Flags, environment variables, the keys of `holdfast.toml` and
//! `docs/configuration.md` all come from it.

use std::fmt::Write;

/// Which command a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `holdfast dev`
    Dev,
    /// `holdfast server`
    Server,
    /// `holdfast replica`
    Replica,
    /// `holdfast gateway`
    Gateway,
    /// `holdfast cluster`
    Client,
}

impl Role {
    /// Every role, in the order of the documentation.
    pub const ALL: [Role; 5] = [Role::Dev, Role::Server, Role::Replica, Role::Gateway, Role::Client];

    /// The command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Server => "server",
            Self::Replica => "replica",
            Self::Gateway => "gateway",
            Self::Client => "cluster",
        }
    }

    /// Whether the process answers S3.
    pub fn has_gateway(self) -> bool {
        matches!(self, Self::Dev | Self::Server | Self::Gateway)
    }

    /// Whether the process keeps data.
    pub fn has_replica(self) -> bool {
        matches!(self, Self::Dev | Self::Server | Self::Replica)
    }
}

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// As a flag, without the two dashes.
    pub name: &'static str,
    /// What a value looks like.
    pub value: &'static str,
    /// The value if nobody sets one; empty: none.
    pub default: &'static str,
    /// A secret has no flag (flags are visible to every user of the machine), is never printed, and may stand in a
    /// file that the key with `-file` behind it names.
    pub secret: bool,
    /// The commands that know it.
    pub roles: &'static [Role],
    /// What it does: one sentence.
    pub about: &'static str,
}

const ALL: &[Role] = &Role::ALL;
const RUNNING: &[Role] = &[Role::Dev, Role::Server, Role::Replica, Role::Gateway];
const MEMBER: &[Role] = &[Role::Server, Role::Replica, Role::Gateway];
const REPLICA: &[Role] = &[Role::Dev, Role::Server, Role::Replica];
const NAMED: &[Role] = &[Role::Server, Role::Replica];
const GATEWAY: &[Role] = &[Role::Dev, Role::Server, Role::Gateway];

macro_rules! key {
    ($name:literal, $value:literal, $default:literal, $roles:ident, $about:literal) => {
        Key { name: $name, value: $value, default: $default, secret: false, roles: $roles, about: $about }
    };
    (secret $name:literal, $roles:ident, $about:literal) => {
        Key { name: $name, value: "TEXT", default: "", secret: true, roles: $roles, about: $about }
    };
}

/// Every key.
pub const KEYS: &[Key] = &[
    key!("config", "FILE", "", ALL, "Configuration file; without it `./holdfast.toml` is read if it exists."),
    key!("name", "NAME", "", NAMED, "This node's name, unique in the cluster. `n1` for a cluster of one."),
    key!("data", "DIR", "holdfast-data", REPLICA, "Where this node keeps its data."),
    key!(
        "peers",
        "NAME=HOST:PORT,…",
        "",
        MEMBER,
        "The cluster's first nodes, the same list on every node. Names that do not resolve yet are tried again."
    ),
    key!(
        "peer-listen",
        "ADDR",
        "",
        NAMED,
        "Where other nodes reach this one. Default: the node's own entry in `peers` if that is loopback, otherwise its \
         port on every interface."
    ),
    key!(
        "peer-address",
        "HOST:PORT",
        "",
        NAMED,
        "What other nodes dial to reach this one. Default: the node's own entry in `peers`."
    ),
    key!("s3-listen", "ADDR", "0.0.0.0:9000", GATEWAY, "Where S3 is served (`dev`: 127.0.0.1:9000)."),
    key!(
        "admin-listen",
        "ADDR",
        "127.0.0.1:9001",
        RUNNING,
        "Where the admin API is served; only on loopback unless `admin-token` is set."
    ),
    key!(
        "ops-listen",
        "ADDR",
        "0.0.0.0:9002",
        RUNNING,
        "Where metrics and health are served, without authentication (`dev`: 127.0.0.1:9002)."
    ),
    key!(
        "tls-cert",
        "FILE",
        "",
        RUNNING,
        "Certificate chain (PEM) of the S3, admin and ops listeners, with `tls-key`; without it they are plain. Rotated \
         files are taken over within seconds."
    ),
    key!("tls-key", "FILE", "", RUNNING, "Private key (PEM) of `tls-cert`."),
    key!(
        "tls-plain",
        "LISTENER,…",
        "",
        RUNNING,
        "Listeners that stay plain although there is a certificate: any of `s3`, `admin`, `ops`."
    ),
    key!(
        "peer-cert",
        "FILE",
        "",
        MEMBER,
        "Certificate chain (PEM) that this process shows to nodes; with `peer-key` and `peer-ca` everything between \
         nodes is encrypted, and both sides must show a certificate. The same on every process of the cluster."
    ),
    key!("peer-key", "FILE", "", MEMBER, "Private key (PEM) of `peer-cert`."),
    key!("peer-ca", "FILE", "", MEMBER, "Authorities (PEM) of which every node must show a certificate."),
    key!("shards", "COUNT", "4", REPLICA, "How many shards a new cluster starts with (1 to 256)."),
    key!("replicas", "COUNT", "3", NAMED, "How many nodes keep each shard (1 to 7)."),
    key!(
        secret "cluster-secret",
        MEMBER,
        "What the cluster's processes prove to one another that they know, at least 16 characters. Required unless \
         every peer address is loopback."
    ),
    key!(
        secret "root-access-key",
        GATEWAY,
        "Access key id of the root user, 3 to 128 characters. Required for `server` and `gateway`; `dev` makes one."
    ),
    key!(secret "root-secret-key", GATEWAY, "Secret key of the root user, 8 to 128 characters."),
    key!(
        secret "encryption-keys",
        GATEWAY,
        "Keys that wrap those of encrypted objects, the same on every gateway: lines `NAME:KEY` (32 bytes in base64), \
         newest first. Without them SSE-S3 is refused; `dev` makes one."
    ),
    key!(
        "customer-keys-over",
        "WHAT",
        "https",
        GATEWAY,
        "Connections over which clients may send encryption keys of their own (SSE-C): `https`, or `any`."
    ),
    key!(secret "admin-token", ALL, "Bearer token of the admin API, at least 16 characters."),
    key!("admin", "URL", "http://127.0.0.1:9001", CLIENT, "Admin API that `holdfast cluster` talks to, http or https."),
    key!("ca", "FILE", "", CLIENT, "Authorities (PEM) that an admin API with https is believed by."),
    key!("default-buckets", "NAME,…", "", GATEWAY, "Buckets that are created at start if they do not exist."),
    key!("region", "NAME", "us-east-1", GATEWAY, "The region that clients sign for."),
    key!("s3-domains", "DOMAIN,…", "", GATEWAY, "Domains under which `BUCKET.DOMAIN` names a bucket."),
    key!(
        "oidc-issuer",
        "URL",
        "",
        GATEWAY,
        "Identity provider whose tokens STS takes for `AssumeRoleWithWebIdentity`: the tokens' `iss`."
    ),
    key!(
        "oidc-audience",
        "NAME,…",
        "sts.amazonaws.com",
        GATEWAY,
        "Audiences that such tokens may be for: their `aud`."
    ),
    key!(
        "oidc-jwks",
        "URL or FILE",
        "",
        GATEWAY,
        "The provider's keys: a URL (http or https) or a file. Default: where the issuer's discovery document says."
    ),
    key!(
        "oidc-ca",
        "FILE",
        "",
        GATEWAY,
        "Authorities (PEM) that a provider with https is believed by. Default: those of the system."
    ),
    key!(
        "provision",
        "FILE",
        "",
        RUNNING,
        "File with users, keys, policies and buckets (docs/access.md) that is applied at start."
    ),
    key!(
        "audit-log",
        "FILE",
        "",
        RUNNING,
        "File that gets a line of JSON for every administrative change and refusal. Default: the process's log."
    ),
    key!(
        "trusted-proxies",
        "CIDR,…",
        "",
        GATEWAY,
        "Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: what policies and the audit log see as \
         the client's address."
    ),
    key!(
        "default-object-ownership",
        "OWNERSHIP",
        "BucketOwnerEnforced",
        RUNNING,
        "What a bucket made through this process gets when its maker does not say: `BucketOwnerEnforced` (access control lists count for nothing), \
         `BucketOwnerPreferred` or `ObjectWriter`."
    ),
    key!(
        "lifecycle-day-seconds",
        "SECONDS",
        "86400",
        GATEWAY,
        "How long a day is in lifecycle rules put through this gateway: shorter only to try rules out."
    ),
    key!("inline-max", "BYTES", "65536", GATEWAY, "The largest body that travels inside a log entry (0 to 1048576)."),
    key!(
        secret "index",
        REPLICA,
        "Where the node keeps its index: `embedded` (in its data directory; the default), or a Redis, \
         `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]` or `rediss://` with TLS (docs/redis.md)."
    ),
    key!("cache-bytes", "BYTES", "33554432", REPLICA, "Memory of one node for the index's block cache."),
    key!("heartbeat-ms", "MS", "100", REPLICA, "Interval of a leader's Raft heartbeats."),
    key!("election-min-ms", "MS", "300", REPLICA, "Shortest silence after which a follower stands for election."),
    key!("election-max-ms", "MS", "500", REPLICA, "Longest such silence; also the wait before a node starts."),
    key!(
        "undelete-minutes",
        "MINUTES",
        "60",
        REPLICA,
        "How long objects without versions that were deleted or overwritten can be brought back (`holdfast undelete`); \
         their space is free 5 minutes later, or at once where a disk is nearly full. The same on every node."
    ),
    key!(
        "scrub-hours",
        "HOURS",
        "168",
        REPLICA,
        "Time from the end of a scrub, in which a node reads all its blobs again, to the next."
    ),
    key!("scrub-bytes", "BYTES", "20971520", REPLICA, "How much of its disk a scrub reads in a second."),
    key!(
        "enable-faults",
        "BOOL",
        "false",
        REPLICA,
        "Take orders of the fault API (`holdfast fault`), with which whoever may use the admin API can crash, cut off \
         and slow down this node. For tests alone."
    ),
    key!(
        "profiles",
        "BOOL",
        "false",
        RUNNING,
        "Serve CPU and heap profiles under `/debug/pprof/` of the ops listener, to whoever has the `admin-token`."
    ),
    key!("threads", "COUNT", "", RUNNING, "Threads that run requests. Default: the cores, at most 4."),
    key!(
        "log",
        "LEVEL",
        "info",
        RUNNING,
        "`error`, `warn`, `info`, `debug`, `trace`, or filters like `info,holdfast_replica=debug`."
    ),
    key!(
        "access-log",
        "WHICH",
        "failures",
        GATEWAY,
        "Which S3 requests are logged when they end: `off`, `failures` (answered with 500 and above) or `all`."
    ),
    key!(
        "log-format",
        "FORMAT",
        "auto",
        RUNNING,
        "`json`, `text`, or `auto`: text on a terminal, JSON lines elsewhere."
    ),
];

const CLIENT: &[Role] = &[Role::Client];

impl Key {
    /// The key of this flag name.
    pub fn of(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("HOLDFAST_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// The key in `holdfast.toml`.
    pub fn field(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// The table of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut table =
        String::from("| key | environment | flag | default | commands | what it does |\n|---|---|---|---|---|---|\n");
    for key in KEYS {
        let (field, variable) = (key.field(), key.variable());
        let flag =
            if key.secret { format!("`--{}-file FILE`", key.name) } else { format!("`--{} {}`", key.name, key.value) };
        let default = if key.default.is_empty() { "–".to_owned() } else { format!("`{}`", key.default) };
        let roles: Vec<_> = key.roles.iter().map(|role| role.as_str()).collect();
        let roles = if roles.len() == Role::ALL.len() { "all".to_owned() } else { roles.join(", ") };
        let about = key.about;
        let (field, variable) = match (key.name, key.secret) {
            ("config", _) => ("–".to_owned(), format!("`{variable}`")),
            (_, true) => (format!("`{field}`, `{field}_file`"), format!("`{variable}`, `{variable}_FILE`")),
            _ => (format!("`{field}`"), format!("`{variable}`")),
        };
        writeln!(table, "| {field} | {variable} | {flag} | {default} | {roles} | {about} |")
            .expect("writing to a string");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fewer_than_sixty_keys_and_each_is_named_once() {
        assert!(KEYS.len() < 60);
        for (at, key) in KEYS.iter().enumerate() {
            assert!(KEYS[at + 1..].iter().all(|other| other.name != key.name), "{} stands twice", key.name);
            assert!(!key.name.ends_with("-file") && !key.roles.is_empty() && key.about.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn the_documentation_has_this_very_table() {
        let page = include_str!("../../docs/configuration.md");
        let begin = "<!-- begin: holdfast config keys -->\n";
        let (_, rest) = page.split_once(begin).expect("the page marks where the table begins");
        let (table, _) = rest.split_once("<!-- end -->").expect("the page marks where the table ends");
        assert!(table == markdown(), "docs/configuration.md is stale: put the output of `holdfast config keys` there");
    }
}
