//! What an owner sets on a bucket besides its tags, and the changes of it: kept by root, copied into every shard.
//!
//! What `apply` must understand has a type of its own; what only gateways read is a [`Document`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lifecycle::Lifecycle;
use crate::lock::BucketLock;
use crate::usage::Quota;

/// Everything that is configured. The default is a bucket as it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Whether objects have versions.
    pub versioning: Versioning,
    /// Object Lock; once there it stays.
    pub lock: Option<BucketLock>,
    /// What goes by itself, and when.
    pub lifecycle: Option<Lifecycle>,
    /// What it may hold.
    pub quota: Option<Quota>,
    /// Documents that only gateways read, as their handlers wrote them.
    pub documents: BTreeMap<Document, String>,
}

/// Whether objects have versions. Once left, `Off` does not come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// Never enabled: a write replaces the object, a delete removes it.
    #[default]
    Off,
    /// Every write makes a version.
    Enabled,
    /// Writes replace the version `null`; versions made before stay.
    Suspended,
}

/// Kinds of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the operations are")]
pub enum Document {
    Policy,
    Cors,
    Website,
    Encryption,
    PublicAccessBlock,
    OwnershipControls,
    Notification,
    Logging,
    Acl,
}

/// A change of one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketChange {
    /// Replaces the tags.
    Tags(Vec<(String, String)>),
    /// Enables or suspends versioning. `Off`, and suspending where Object Lock is, are refused.
    Versioning(Versioning),
    /// Sets Object Lock, which needs versioning enabled.
    Lock(BucketLock),
    /// Sets or removes the lifecycle rules.
    Lifecycle(Option<Lifecycle>),
    /// Sets or removes a document.
    Document(Document, Option<String>),
    /// Sets or removes the quota.
    Quota(Option<Quota>),
}
