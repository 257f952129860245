//! Why a configuration is refused.

use std::io;
use std::path::PathBuf;

use holdfast_gateway::seal::BadKeyRing;
use holdfast_replica::index::engine::BadUrl;
use holdfast_wire::id::NotABucketName;

use super::SECRET_MIN;
use super::peers::BadPeers;

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
