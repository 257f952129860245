//! Buckets: a cache of root's records, and the requests that change them.
//!
//! A record is used for five seconds without a question; then one request looks whether it has changed while the
//! others go on with it. Wrong ids correct themselves (a shard that does not know the bucket says so). That there is
//! no such bucket is never remembered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::configuration::{BucketChange, Document};
use holdfast_wire::id::{BucketId, BucketName, GroupId};
use holdfast_wire::identity::Identities;
use holdfast_wire::placement::Placement;
use holdfast_wire::planted::Fault;
use holdfast_wire::request::{Request, Response, RootRefusal, RootRequest};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ask::Ask;
use super::core::{Core, Pace};
use super::lead::Lead;
use super::{RouteError, Router};

/// How long a record is used without asking root whether it has changed.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// How long that question may hold up the request that asks it.
const REFRESH_WITHIN: Duration = Duration::from_millis(250);
/// How long root may take to say what a bucket is that nobody has asked for before: longer than it takes to find a new
/// leader. Then any replica's word is taken.
const ROOT_WITHIN: Duration = Duration::from_millis(1500);
/// How long that word may take.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);
/// Creating, changing and deleting a bucket goes through every shard.
const EVERY_SHARD_WITHIN: Duration = Duration::from_secs(6);

/// Records of buckets that exist.
#[derive(Default)]
pub(super) struct BucketCache {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_name: HashMap<BucketName, Entry>,
    /// Counts removals: an answer that was asked for before one may tell of what was removed.
    removals: u64,
}

struct Entry {
    bucket: Arc<Bucket>,
    checked: Instant,
}

/// What the cache knows.
enum Cached {
    Fresh(Arc<Bucket>),
    /// Usable, and the caller is the one to ask root.
    Stale(Arc<Bucket>),
    Nothing,
}

impl BucketCache {
    fn look(&self, name: &BucketName, now: Instant) -> Cached {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.by_name.get_mut(name) else { return Cached::Nothing };
        if now.duration_since(entry.checked) <= FRESH_FOR {
            return Cached::Fresh(entry.bucket.clone());
        }
        entry.checked = now;
        Cached::Stale(entry.bucket.clone())
    }

    fn removals(&self) -> u64 {
        self.entries.lock().removals
    }

    /// Keeps a record that root was asked for when there had been so many removals.
    fn keep(&self, bucket: Arc<Bucket>, removals: u64, now: Instant) {
        let mut entries = self.entries.lock();
        let age = |bucket: &Bucket| (bucket.id, bucket.revision);
        let known = entries.by_name.get(&bucket.name);
        let unchecked = Fault::CacheUnchecked.is_planted();
        let newest = known.is_none_or(|known| age(&known.bucket) <= age(&bucket));
        if unchecked || entries.removals == removals && newest {
            entries.by_name.insert(bucket.name.clone(), Entry { bucket, checked: now });
        } else if newest {
            // It cannot be kept, and what was known is older than it: the next request asks root.
            entries.by_name.remove(&bucket.name);
        }
    }

    /// Forgets the record of this name up to `id`: a bucket made since then stays.
    fn forget(&self, name: &BucketName, id: Option<BucketId>) {
        let mut entries = self.entries.lock();
        entries.removals += 1;
        if entries.by_name.get(name).is_some_and(|entry| id.is_none_or(|id| entry.bucket.id <= id)) {
            entries.by_name.remove(name);
        }
    }
}

impl Core {
    /// The bucket from root.
    pub async fn resolve(self: &Arc<Self>, name: &BucketName, deadline: Instant) -> Result<Arc<Bucket>, RouteError> {
        let removals = self.buckets.removals();
        match self.ask_root(RootRequest::Bucket { name: name.clone() }, deadline).await? {
            Response::Bucket(bucket) if bucket.state != BucketState::Creating => {
                let bucket = Arc::new(*bucket);
                self.buckets.keep(bucket.clone(), removals, Instant::now());
                Ok(bucket)
            }
            Response::Bucket(_) | Response::RootRefused(RootRefusal::NoSuchBucket) => {
                self.buckets.forget(name, None);
                Err(RouteError::NoSuchBucket)
            }
            Response::RootRefused(refusal) => Err(RouteError::Root(refusal)),
            other => Err(self.nonsense(&other)),
        }
    }

    /// A bucket that is not in the cache: from root, or, while root does not answer, as some replica has it. That may be
    /// old, as what is in the cache may be then: reads that bear that go on, and shards refuse the others.
    async fn meet(self: &Arc<Self>, name: &BucketName) -> Result<Arc<Bucket>, RouteError> {
        let asking = self.resolve(name, self.deadline());
        tokio::pin!(asking);
        if let Ok(answer) = tokio::time::timeout(ROOT_WITHIN, &mut asking).await {
            return answer;
        }
        let removals = self.buckets.removals();
        let known = RootRequest::KnownBucket { name: name.clone() };
        match self.ask_root(known, Instant::now() + KNOWN_WITHIN).await {
            Ok(Response::Bucket(bucket)) if bucket.state != BucketState::Creating => {
                let bucket = Arc::new(*bucket);
                self.buckets.keep(bucket.clone(), removals, Instant::now());
                Ok(bucket)
            }
            _ => asking.await,
        }
    }

    /// The bucket that now has the name of one that a shard does not know.
    pub async fn resolve_again(self: &Arc<Self>, old: &Bucket, deadline: Instant) -> Result<Arc<Bucket>, RouteError> {
        self.buckets.forget(&old.name, Some(old.id));
        self.resolve(&old.name, deadline).await
    }

    async fn ask_root(self: &Arc<Self>, root: RootRequest, deadline: Instant) -> Result<Response, RouteError> {
        let request = |_, _| Request::Root(root.clone());
        let ask = Ask { group: &|view| has_map(view), request: &request, pace: Pace::Root, avoid: &[], deadline };
        Ok(self.ask(ask).await?.response)
    }

    async fn lead_root(&self, root: RootRequest) -> Result<Response, RouteError> {
        let request = |_, _| Request::Root(root.clone());
        let deadline = self.deadline();
        let attempt = EVERY_SHARD_WITHIN.max(self.options.attempt);
        Ok(self.lead(Lead { group: &|view| has_map(view), request: &request, attempt, deadline }).await?.response)
    }

    async fn changed_bucket(&self, root: RootRequest) -> Result<Arc<Bucket>, RouteError> {
        let removals = self.buckets.removals();
        match self.lead_root(root).await? {
            Response::Bucket(bucket) => {
                let bucket = Arc::new(*bucket);
                self.buckets.keep(bucket.clone(), removals, Instant::now());
                Ok(bucket)
            }
            Response::RootRefused(RootRefusal::NoSuchBucket) => Err(RouteError::NoSuchBucket),
            Response::RootRefused(refusal) => Err(RouteError::Root(refusal)),
            other => Err(self.nonsense(&other)),
        }
    }
}

fn has_map(view: &crate::membership::View) -> Option<GroupId> {
    view.layout().map.group(GroupId::ROOT).map(|place| place.group)
}

impl Router {
    /// The bucket of this name, from the cache or from root. What other gateways change arrives within five seconds.
    pub async fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, RouteError> {
        match self.core.buckets.look(name, Instant::now()) {
            Cached::Fresh(bucket) => Ok(bucket),
            Cached::Stale(bucket) => {
                let deadline = Instant::now() + REFRESH_WITHIN;
                match tokio::time::timeout_at(deadline, self.core.resolve(name, self.core.deadline())).await {
                    Ok(Ok(bucket)) => Ok(bucket),
                    Ok(Err(RouteError::NoSuchBucket)) => Err(RouteError::NoSuchBucket),
                    // Root does not answer now: reads of what is here must go on.
                    Ok(Err(_)) | Err(_) => Ok(bucket),
                }
            }
            Cached::Nothing => self.core.meet(name).await,
        }
    }

    /// The bucket of this name, from root.
    pub async fn bucket_now(&self, name: &BucketName) -> Result<Arc<Bucket>, RouteError> {
        self.core.resolve(name, self.core.deadline()).await
    }

    /// All buckets, by name.
    pub async fn buckets(&self) -> Result<Vec<Bucket>, RouteError> {
        match self.core.ask_root(RootRequest::Buckets, self.core.deadline()).await? {
            Response::Buckets(mut buckets) => {
                buckets.retain(|bucket| bucket.state != BucketState::Creating);
                Ok(buckets)
            }
            other => Err(self.core.nonsense(&other)),
        }
    }

    /// Whom the cluster knows, if there are newer identities than `known`.
    pub async fn identities(&self, known: u64) -> Result<Option<Identities>, RouteError> {
        match self.core.ask_root(RootRequest::Identities { known }, self.core.deadline()).await? {
            Response::Identities(identities) => Ok(identities.map(|identities| *identities)),
            other => Err(self.core.nonsense(&other)),
        }
    }

    /// Creates a bucket with its first documents, and with Object Lock if `lock`; `Root(BucketExists)` when it exists.
    pub async fn create_bucket(
        &self,
        name: BucketName,
        owner: String,
        placement: Placement,
        tags: Vec<(String, String)>,
        (lock, documents): (bool, Vec<(Document, String)>),
    ) -> Result<Arc<Bucket>, RouteError> {
        let request = self.core.request_id();
        let create = RootRequest::CreateBucket { request, name, owner, placement, tags, lock, documents };
        self.core.changed_bucket(create).await
    }

    /// Deletes an empty bucket; `Root(BucketNotEmpty)` when it is not.
    pub async fn delete_bucket(&self, name: BucketName) -> Result<(), RouteError> {
        let request = self.core.request_id();
        let deleted = self.core.lead_root(RootRequest::DeleteBucket { request, name: name.clone() }).await;
        // Whatever became of it: the next request asks root.
        self.core.buckets.forget(&name, None);
        match deleted? {
            Response::Done | Response::Bucket(_) => Ok(()),
            Response::RootRefused(RootRefusal::NoSuchBucket) => Err(RouteError::NoSuchBucket),
            Response::RootRefused(refusal) => Err(RouteError::Root(refusal)),
            other => Err(self.core.nonsense(&other)),
        }
    }

    /// Changes a bucket's tags or configuration.
    pub async fn change_bucket(&self, name: BucketName, change: BucketChange) -> Result<Arc<Bucket>, RouteError> {
        let request = self.core.request_id();
        self.core.changed_bucket(RootRequest::ChangeBucket { request, name, change }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::bucket;

    #[test]
    fn what_a_change_has_overtaken_is_not_used_although_another_bucket_was_removed_meanwhile() {
        let (cache, now) = (BucketCache::default(), Instant::now());
        let old = Arc::new(bucket(1, "bucket"));
        cache.keep(old.clone(), cache.removals(), now);
        let asked = cache.removals();
        cache.forget(&"another".parse().unwrap(), None);
        // An answer that is no newer says nothing new.
        cache.keep(Arc::new(Bucket { revision: 0, ..(*old).clone() }), asked, now);
        assert!(matches!(cache.look(&old.name, now), Cached::Fresh(_)));
        cache.keep(Arc::new(Bucket { revision: 2, ..(*old).clone() }), asked, now);
        assert!(matches!(cache.look(&old.name, now), Cached::Nothing));
    }
}
