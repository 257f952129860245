//! Who may ask, as an operator handles it: users, groups, roles, keys, policies and buckets, through root's leader.
//!
//! [`edit`] decides (pure: the identities and a wish in, changes out), [`Access`] asks root and tries again when somebody
//! else was faster, [`provision`] brings a whole file about, [`explain`] says why a request is allowed or not.

pub mod audit;
pub mod command;
pub mod edit;
pub mod explain;
pub mod limits;
pub mod print;
pub mod provision;
pub mod undelete;
pub mod view;

use std::sync::Arc;

use holdfast_gateway::auth::directory::KEYS;
use holdfast_gateway::ownership::Ownership;
use holdfast_gateway::policy::Malformed;
use holdfast_wire::acl::Acl;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::{BucketChange, Document};
use holdfast_wire::handshake::ClusterSecret;
use holdfast_wire::id::{BucketName, RequestId};
use holdfast_wire::identity::{EntityKind, Identities, IdentityChange, IdentityRefusal};
use holdfast_wire::lock::DAY_MS;
use holdfast_wire::placement::Placement;
use holdfast_wire::request::{Response, RootRefusal, RootRequest};
use holdfast_wire::seal::Seal;
use holdfast_wire::seam::Seams;

use crate::cluster::{Cluster, OperationError};

/// How often a change is decided anew because others changed something meanwhile.
const ATTEMPTS: usize = 16;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No such thing.
    #[error("there is no {} {name:?}", kind.as_str())]
    NoSuch {
        /// What kind.
        kind: EntityKind,
        /// Its name.
        name: String,
    },
    /// There is one already.
    #[error("there is a {} {name:?} already", kind.as_str())]
    Exists {
        /// What kind.
        kind: EntityKind,
        /// Its name.
        name: String,
    },
    /// A name that cannot be one.
    #[error("{0:?} cannot be a name: use 1 to 64 letters, digits and any of .+=@_-")]
    Name(String),
    /// An access key that cannot be one.
    #[error(
        "an access key has 16 to 128 letters and digits and does not begin with ASIA; its secret has 16 to 128 printable characters"
    )]
    Key,
    /// A time that cannot be read.
    #[error("{0:?} is no time: use RFC 3339 (2027-01-31T00:00:00Z) or a duration (90d, 12h, 30m)")]
    Time(String),
    /// A session that is too long or too short.
    #[error("sessions last from 900 to 43200 seconds")]
    Session,
    /// A document that is no policy.
    #[error("policy {name:?}: {error}")]
    Policy {
        /// Which.
        name: String,
        /// Why.
        error: Malformed,
    },
    /// No such bucket, or none of that name possible.
    #[error("there is no bucket {0:?}")]
    NoSuchBucket(String),
    /// Not a bucket's name.
    #[error("{0:?} cannot be a bucket's name")]
    BucketName(String),
    /// Something else is wrong with a file that is to be applied.
    #[error("{0}")]
    File(#[from] provision::BadFile),
    /// Root does not want it so.
    #[error(transparent)]
    Refused(IdentityRefusal),
    /// Root could not be asked, or refuses otherwise.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// Others kept changing the identities.
    #[error("others keep changing the identities: try again")]
    Contention,
}

/// A handle on everybody whom the cluster knows. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    cluster: Cluster,
    seal: Seal,
    seams: Seams,
    /// The root key's public half, where this process knows it.
    root: Option<Arc<str>>,
    audit: audit::Log,
    day_ms: u64,
    ownership: Ownership,
}

impl Access {
    /// Through `cluster`; secrets are sealed under the cluster's.
    pub fn new(
        cluster: Cluster,
        secret: &ClusterSecret,
        seams: Seams,
        root: Option<String>,
        audit: audit::Log,
    ) -> Self {
        Self {
            cluster,
            seal: Seal::new(secret, KEYS),
            seams,
            root: root.map(Arc::from),
            audit,
            day_ms: DAY_MS,
            ownership: Ownership::default(),
        }
    }

    /// With days of lifecycle rules that last so many milliseconds.
    pub fn with_day(self, day_ms: u64) -> Self {
        Self { day_ms, ..self }
    }

    /// With this object ownership for buckets that it makes.
    pub fn with_ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    /// How long a day is in lifecycle rules, milliseconds.
    pub fn day_ms(&self) -> u64 {
        self.day_ms
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What seals secrets.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The outside world.
    pub fn seams(&self) -> &Seams {
        &self.seams
    }

    /// The root key's public half, where this process knows it.
    pub fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }

    /// The audit log.
    pub fn audit(&self) -> &audit::Log {
        &self.audit
    }

    /// Everybody whom the cluster knows now.
    pub async fn identities(&self) -> Result<Identities, AccessError> {
        match self.cluster.root(RootRequest::Identities { known: 0 }).await? {
            Response::Identities(identities) => Ok(identities.map(|identities| *identities).unwrap_or_default()),
            _ => Err(OperationError::OtherAnswer.into()),
        }
    }

    /// Makes the changes that `decide` wants, given the identities; says whether there were any.
    pub async fn change(
        &self,
        decide: impl Fn(&Identities) -> Result<Vec<IdentityChange>, AccessError>,
    ) -> Result<bool, AccessError> {
        for _ in 0..ATTEMPTS {
            let now = self.identities().await?;
            let changes = decide(&now)?;
            if changes.is_empty() {
                return Ok(false);
            }
            let request = RequestId(self.seams.random.next_u128());
            match self.cluster.root(RootRequest::ChangeIdentities { request, expect: now.version, changes }).await? {
                Response::Done => return Ok(true),
                Response::RootRefused(RootRefusal::Identity(IdentityRefusal::Moved)) => {}
                Response::RootRefused(RootRefusal::Identity(IdentityRefusal::NoSuch { kind, name })) => {
                    return Err(AccessError::NoSuch { kind, name });
                }
                Response::RootRefused(RootRefusal::Identity(refusal)) => return Err(AccessError::Refused(refusal)),
                Response::RootRefused(refusal) => return Err(OperationError::Refused(refusal).into()),
                _ => return Err(OperationError::OtherAnswer.into()),
            }
        }
        Err(AccessError::Contention)
    }

    /// All buckets, by name.
    pub async fn buckets(&self) -> Result<Vec<Bucket>, AccessError> {
        match self.cluster.root(RootRequest::Buckets).await? {
            Response::Buckets(buckets) => Ok(buckets),
            _ => Err(OperationError::OtherAnswer.into()),
        }
    }

    /// One bucket.
    pub async fn bucket(&self, name: &str) -> Result<Bucket, AccessError> {
        let parsed: BucketName = name.parse().map_err(|_| AccessError::NoSuchBucket(name.to_owned()))?;
        self.bucket_answer(name, RootRequest::Bucket { name: parsed }).await
    }

    /// Makes a bucket; gives the one that is there.
    pub async fn create_bucket(&self, name: &str, owner: &str) -> Result<Bucket, AccessError> {
        let parsed: BucketName = name.parse().map_err(|_| AccessError::BucketName(name.to_owned()))?;
        let request = RequestId(self.seams.random.next_u128());
        let create = RootRequest::CreateBucket {
            request,
            name: parsed,
            owner: owner.to_owned(),
            placement: Placement::default(),
            tags: Vec::new(),
            lock: false,
            documents: Ownership::documents(None, self.ownership, &Acl::private(owner)),
        };
        self.bucket_answer(name, create).await
    }

    /// Removes an empty bucket.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), AccessError> {
        let parsed: BucketName = name.parse().map_err(|_| AccessError::NoSuchBucket(name.to_owned()))?;
        let request = RequestId(self.seams.random.next_u128());
        match self.cluster.root(RootRequest::DeleteBucket { request, name: parsed }).await? {
            Response::Done | Response::Bucket(_) => Ok(()),
            Response::RootRefused(RootRefusal::NoSuchBucket) => Err(AccessError::NoSuchBucket(name.to_owned())),
            Response::RootRefused(refusal) => Err(OperationError::Refused(refusal).into()),
            _ => Err(OperationError::OtherAnswer.into()),
        }
    }

    /// Sets or removes a bucket's policy; says whether it was another.
    pub async fn set_bucket_policy(&self, name: &str, policy: Option<String>) -> Result<bool, AccessError> {
        let bucket = self.bucket(name).await?;
        if let Some(text) = &policy {
            let checked = holdfast_gateway::policy::Policy::bucket(text, name);
            checked.map_err(|error| AccessError::Policy { name: name.to_owned(), error })?;
        }
        if bucket.document(Document::Policy) == policy.as_deref() {
            return Ok(false);
        }
        self.change_bucket(name, BucketChange::Document(Document::Policy, policy)).await?;
        Ok(true)
    }

    /// Changes a bucket.
    pub async fn change_bucket(&self, name: &str, change: BucketChange) -> Result<Bucket, AccessError> {
        let parsed: BucketName = name.parse().map_err(|_| AccessError::NoSuchBucket(name.to_owned()))?;
        let request = RequestId(self.seams.random.next_u128());
        self.bucket_answer(name, RootRequest::ChangeBucket { request, name: parsed, change }).await
    }

    async fn bucket_answer(&self, name: &str, request: RootRequest) -> Result<Bucket, AccessError> {
        match self.cluster.root(request).await? {
            Response::Bucket(bucket) | Response::RootRefused(RootRefusal::BucketExists(bucket)) => Ok(*bucket),
            Response::RootRefused(RootRefusal::NoSuchBucket) => Err(AccessError::NoSuchBucket(name.to_owned())),
            Response::RootRefused(refusal) => Err(OperationError::Refused(refusal).into()),
            _ => Err(OperationError::OtherAnswer.into()),
        }
    }
}
