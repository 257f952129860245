//! Whether somebody may do something: brings together who asks, what is required, and whose policies speak about it.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Document;
use holdfast_wire::id::{BucketId, BucketName, ObjectKey};
use holdfast_wire::request::{GetObject, RangeSpec};
use parking_lot::Mutex;

use super::facts::{RequestFacts, Tags};
use super::table::Required;
use crate::policy::{Decision, Policy, Question, Standing, evaluate, public};
use crate::public_access::PublicAccess;
use crate::router::{Modes, RouteError, Router};

/// What is known of a bucket's existence.
pub enum Lookup {
    /// It is there.
    Found(Arc<Bucket>),
    /// It is not.
    Missing,
    /// That cannot be said now.
    Unknown,
}

/// Buckets, as far as access to them is concerned.
#[async_trait::async_trait]
pub trait Buckets: Send + Sync + 'static {
    /// The bucket.
    async fn find(&self, name: &str) -> Lookup;

    /// The tags of an object, or of the version named; `None`: it is not there, or cannot be read now.
    async fn tags(&self, bucket: &Bucket, key: &str, version: Option<&str>) -> Option<Tags>;
}

#[async_trait::async_trait]
impl Buckets for Router {
    async fn find(&self, name: &str) -> Lookup {
        let Ok(name) = BucketName::try_from(name.to_owned()) else { return Lookup::Missing };
        match self.bucket(&name).await {
            Ok(bucket) => Lookup::Found(bucket),
            Err(RouteError::NoSuchBucket) => Lookup::Missing,
            Err(_) => Lookup::Unknown,
        }
    }

    async fn tags(&self, bucket: &Bucket, key: &str, version: Option<&str>) -> Option<Tags> {
        let version = version.map(str::parse).transpose().ok()?;
        let key = ObjectKey::try_from(key.to_owned()).ok()?;
        let get = GetObject {
            bucket: bucket.id,
            key,
            head: true,
            range: RangeSpec::All,
            condition: Default::default(),
            version,
            seq: None,
        };
        let got = self.get(bucket, Modes::default(), get).await.ok()?;
        Some(got.object.detail.tags)
    }
}

/// A bucket's policy, compiled.
struct Compiled {
    revision: u64,
    /// `Err`: there is one that cannot be read. Nobody but the root key is let in.
    policy: Result<Option<Arc<Policy>>, ()>,
    restricted: bool,
}

/// Decides, with a memory of compiled bucket policies.
#[derive(Default)]
pub struct Authorizer {
    compiled: Mutex<HashMap<BucketId, Arc<Compiled>>>,
}

/// Buckets whose compiled policies are remembered.
const REMEMBERED: usize = 4096;

impl Authorizer {
    fn compiled(&self, bucket: &Bucket) -> Arc<Compiled> {
        if let Some(known) = self.compiled.lock().get(&bucket.id)
            && known.revision == bucket.revision
        {
            return known.clone();
        }
        let policy = match bucket.document(Document::Policy).map(|text| Policy::bucket(text, bucket.name.as_str())) {
            None => Ok(None),
            Some(Ok(policy)) => Ok(Some(Arc::new(policy))),
            Some(Err(error)) => {
                tracing::error!(bucket = %bucket.name, %error, "a bucket's policy cannot be read: only the root key is let in");
                Err(())
            }
        };
        let public = policy.as_ref().is_ok_and(|policy| policy.as_deref().is_some_and(public::is_public));
        let restricted = public && PublicAccess::of(bucket).restrict_public_buckets;
        let compiled = Arc::new(Compiled { revision: bucket.revision, policy, restricted });
        let mut memory = self.compiled.lock();
        if memory.len() >= REMEMBERED {
            memory.clear();
        }
        memory.insert(bucket.id, compiled.clone());
        compiled
    }

    /// Decides whether `who` may do one thing.
    pub async fn decide(
        &self,
        buckets: Option<&dyn Buckets>,
        required: &Required<'_>,
        bucket: Option<&Bucket>,
        mut facts: RequestFacts<'_>,
    ) -> Decision {
        let who = facts.who;
        let compiled = bucket.map(|bucket| self.compiled(bucket));
        let own = match compiled.as_deref().map(|compiled| &compiled.policy) {
            None | Some(Ok(None)) => None,
            Some(Ok(Some(policy))) => Some(&**policy),
            Some(Err(())) => return Decision::NotAllowed,
        };
        let (identity, session) = who.policies();
        let all = || identity.iter().chain(session).map(|(_, policy)| &**policy).chain(own);
        let mut tags = None;
        if !required.place.key.is_empty()
            && let (Some(bucket), Some(buckets)) = (bucket, buckets)
            && all().any(|policy| policy.asks_for("s3:existingobjecttag/"))
        {
            tags = buckets.tags(bucket, required.place.key, required.place.version).await;
        }
        facts.old_tags = tags.as_ref();
        facts.version = required.place.version;
        let resource = required.place.arn();
        let question = Question { action: required.action, resource: &resource, caller: who.caller(), facts: &facts };
        let identity: Vec<(&str, &Policy)> = identity.iter().map(|(name, policy)| (name.as_str(), &**policy)).collect();
        let session: Vec<(&str, &Policy)> = session.iter().map(|(name, policy)| (name.as_str(), &**policy)).collect();
        let standing = Standing {
            identity: &identity,
            session: &session,
            bucket: own,
            owner: bucket.is_some_and(|bucket| who.owns(&bucket.owner)),
            restricted: compiled.as_deref().is_some_and(|compiled| compiled.restricted),
        };
        evaluate(&question, &standing)
    }
}
