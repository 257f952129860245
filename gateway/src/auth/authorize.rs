//! Whether somebody may do something: brings together who asks, what is required, and whose policies speak about it.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_wire::acl::Acl;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Document;
use holdfast_wire::id::{BucketId, BucketName, ObjectKey, Seq};
use holdfast_wire::request::{GetObject, RangeSpec};
use parking_lot::Mutex;

use super::facts::{RequestFacts, Tags};
use super::table::Required;
use crate::ownership::{self, Ownership};
use crate::policy::lists::{self, Listed, Lists, Verdict};
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

    /// An object, or the version named; `None`: there is none.
    async fn record(&self, bucket: &Bucket, key: &str, version: Option<&str>) -> Result<Option<Record>, Unreadable>;
}

/// An object as far as access to it is concerned.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The write that made it.
    pub seq: Seq,
    /// Who owns it.
    pub owner: String,
    /// Its access control list; `None`: the owner's full control.
    pub acl: Option<Acl>,
    /// Its tags.
    pub tags: Tags,
}

/// It cannot be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The object that a decision was made about. An extension of requests that were allowed because of its list: what is
/// answered must be about the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged(pub Option<Seq>);

/// What a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What is there.
    There,
    /// An object that is only being written: who may write it may give it a list.
    New,
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

    async fn record(&self, bucket: &Bucket, key: &str, version: Option<&str>) -> Result<Option<Record>, Unreadable> {
        // What can be no version and no key names nothing.
        let Ok(version) = version.map(str::parse).transpose() else { return Ok(None) };
        let Ok(key) = ObjectKey::try_from(key.to_owned()) else { return Ok(None) };
        let get = GetObject {
            bucket: bucket.id,
            key,
            head: true,
            range: RangeSpec::All,
            condition: Default::default(),
            version,
            seq: None,
        };
        match self.get(bucket, Modes::default(), get).await {
            Ok(got) => {
                let (summary, detail) = (got.object.summary, got.object.detail);
                Ok(Some(Record { seq: summary.seq, owner: summary.owner, acl: detail.acl, tags: detail.tags }))
            }
            Err(RouteError::NotRead(_) | RouteError::Absent(_)) => Ok(None),
            Err(_) => Err(Unreadable),
        }
    }
}

/// A bucket's policy, compiled.
struct Compiled {
    revision: u64,
    /// `Err`: there is one that cannot be read. Nobody but the root key is let in.
    policy: Result<Option<Arc<Policy>>, ()>,
    restricted: bool,
    /// The bucket's access control list, where lists count, and whether groups do.
    list: Option<(Acl, bool)>,
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
        let list = Ownership::of(bucket).lists_count().then(|| ownership::list_of(bucket));
        let list = list.map(|list| (list, !PublicAccess::of(bucket).ignore_public_acls));
        let compiled = Arc::new(Compiled { revision: bucket.revision, policy, restricted, list });
        let mut memory = self.compiled.lock();
        if memory.len() >= REMEMBERED {
            memory.clear();
        }
        memory.insert(bucket.id, compiled.clone());
        compiled
    }

    /// Decides whether `who` may do one thing; where that hung on an object's access control list, says of which object.
    pub async fn decide(
        &self,
        buckets: Option<&dyn Buckets>,
        (required, subject): (&Required<'_>, Subject),
        bucket: Option<&Bucket>,
        mut facts: RequestFacts<'_>,
    ) -> Result<(Decision, Option<Judged>), Unreadable> {
        let who = facts.who;
        let compiled = bucket.map(|bucket| self.compiled(bucket));
        let own = match compiled.as_deref().map(|compiled| &compiled.policy) {
            None | Some(Ok(None)) => None,
            Some(Ok(Some(policy))) => Some(&**policy),
            Some(Err(())) => return Ok((Decision::NotAllowed, None)),
        };
        let (identity, session) = who.policies();
        let all = || identity.iter().chain(session).map(|(_, policy)| &**policy).chain(own);
        let mut tags = None;
        if !required.place.key.is_empty()
            && let (Some(bucket), Some(buckets)) = (bucket, buckets)
            && all().any(|policy| policy.asks_for("s3:existingobjecttag/"))
        {
            let found = buckets.record(bucket, required.place.key, required.place.version).await;
            tags = found.ok().flatten().map(|record| record.tags);
        }
        facts.old_tags = tags.as_ref();
        facts.version = required.place.version;
        let resource = required.place.arn();
        let restricted = compiled.as_deref().is_some_and(|compiled| compiled.restricted);
        let weigh = |Verdict { owner, granted }| {
            let identity: Vec<(&str, &Policy)> =
                identity.iter().map(|(name, policy)| (name.as_str(), &**policy)).collect();
            let session: Vec<(&str, &Policy)> =
                session.iter().map(|(name, policy)| (name.as_str(), &**policy)).collect();
            let question =
                Question { action: required.action, resource: &resource, caller: who.caller(), facts: &facts };
            evaluate(
                &question,
                &Standing { identity: &identity, session: &session, bucket: own, owner, granted, restricted },
            )
        };
        let list = compiled.as_deref().and_then(|compiled| compiled.list.as_ref());
        let (Some(bucket), Some(buckets), Some((list, public))) = (bucket, buckets, list) else {
            let owner = bucket.is_some_and(|bucket| who.owns(&bucket.owner));
            return Ok((weigh(Verdict { owner, granted: false }), None));
        };
        let caller = who.owner();
        let judged = |action, object| {
            let of_bucket = Listed { owner: &bucket.owner, list: Some(list) };
            let lists = Lists { bucket: of_bucket, object, public: *public };
            weigh(lists::judge(action, caller.as_deref(), &lists))
        };
        if subject == Subject::New {
            return Ok((judged("s3:PutObject", None), None));
        }
        if !lists::needs_object(required.action) {
            return Ok((judged(required.action, None), None));
        }
        // What policies say needs no look at the object.
        let by_policies = weigh(Verdict::default());
        if by_policies != Decision::NotAllowed {
            return Ok((by_policies, None));
        }
        let record = buckets.record(bucket, required.place.key, required.place.version).await?;
        let object = record.as_ref().map(|record| Listed { owner: &record.owner, list: record.acl.as_ref() });
        Ok((judged(required.action, object), Some(Judged(record.as_ref().map(|record| record.seq)))))
    }
}
