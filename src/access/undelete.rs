//! Bringing objects back that are gone: as it is wished, as it is shown, and how it is brought about.

use futures::{StreamExt, stream};
use holdfast_wire::bucket::Bucket;
use holdfast_wire::deleted::{DeletedObject, DeletedPage, ListDeleted, Undelete};
use holdfast_wire::id::{ObjectKey, Seq};
use holdfast_wire::placement;
use holdfast_wire::request::{Read, Refusal, Response, Write, WriteOutcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::provision::BadFile;
use super::view::time;
use super::{Access, AccessError};
use crate::cluster::OperationError;

/// The most that one look shows, and that one request brings back.
pub const LIST_MAX: u32 = 10_000;
/// Writes under way at once.
const AT_ONCE: usize = 16;

/// What to bring back: some keys, or all that have a prefix and no object now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndeleteWish {
    /// These keys.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The newest of every key with this prefix, at most 10,000 of them.
    #[serde(default)]
    pub prefix: Option<String>,
    /// This one, as the list shows it; for one key alone.
    #[serde(default)]
    pub version: Option<String>,
    /// Even where the key has an object now.
    #[serde(default)]
    pub replace: bool,
}

/// An object that is gone and can be brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeletedView {
    /// Its key.
    pub key: String,
    /// Its version number.
    pub version: String,
    /// Its bytes.
    pub bytes: u64,
    /// When it was written.
    pub written: String,
    /// Since when it is gone.
    pub gone: String,
    /// `deleted`, `overwritten`, or `expired` by a lifecycle rule.
    pub why: String,
    /// Whether its key has an object now.
    pub replaced: bool,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Undeleted {
    /// The key.
    pub key: String,
    /// Whether it is back.
    pub back: bool,
    /// Its new version number, or why it is not back.
    pub outcome: String,
}

fn view(found: DeletedObject) -> DeletedView {
    DeletedView {
        key: found.key,
        version: found.seq.to_string(),
        bytes: found.size,
        written: time(found.modified_ms),
        gone: time(found.since_ms),
        why: found.why.as_str().to_owned(),
        replaced: found.covered,
    }
}

fn bad(what: &str, value: &str) -> AccessError {
    AccessError::File(BadFile::Value { what: what.to_owned(), value: value.to_owned() })
}

/// Where every shard begins, and what they have together, in order.
fn merged(pages: Vec<DeletedPage>) -> Vec<DeletedObject> {
    let mut all: Vec<_> = pages.into_iter().flat_map(|page| page.deleted).collect();
    all.sort_by(|a, b| a.key.cmp(&b.key).then(b.seq.cmp(&a.seq)));
    all
}

impl Access {
    async fn kept(&self, bucket: &Bucket, prefix: &str, limit: u32) -> Result<Vec<DeletedObject>, AccessError> {
        let list = ListDeleted { bucket: bucket.id, prefix: prefix.to_owned(), after: None, limit };
        let answers = self.cluster().every_shard(&Read::Deleted(list)).await?;
        let pages = answers.into_iter().map(|answer| match answer {
            Response::Deleted(page) => Ok(*page),
            _ => Err(AccessError::from(OperationError::OtherAnswer)),
        });
        let mut all = merged(pages.collect::<Result<_, _>>()?);
        all.truncate(limit as usize);
        Ok(all)
    }

    /// What of a bucket can be brought back, at most `limit`.
    pub async fn deleted(&self, name: &str, prefix: &str, limit: u32) -> Result<Vec<DeletedView>, AccessError> {
        let bucket = self.bucket(name).await?;
        let kept = self.kept(&bucket, prefix, limit.min(LIST_MAX)).await?;
        Ok(kept.into_iter().map(view).collect())
    }

    /// Brings objects back.
    pub async fn undelete(&self, name: &str, wish: &UndeleteWish) -> Result<Vec<Undeleted>, AccessError> {
        let bucket = self.bucket(name).await?;
        let version = match &wish.version {
            None => None,
            Some(text) if wish.keys.len() == 1 && wish.prefix.is_none() => {
                Some(text.parse::<Seq>().map_err(|_| bad("version", text))?)
            }
            Some(text) => return Err(bad("version", text)),
        };
        let mut wanted: Vec<(String, Option<Seq>)> = wish.keys.iter().map(|key| (key.clone(), version)).collect();
        if let Some(prefix) = &wish.prefix {
            let kept = self.kept(&bucket, prefix, LIST_MAX).await?;
            wanted.extend(newest(kept, wish.replace));
        }
        if wanted.len() > LIST_MAX as usize {
            return Err(bad("keys", &format!("{} keys", wanted.len())));
        }
        let work = wanted.into_iter().map(|(key, seq)| self.bring_back(&bucket, key, seq, wish.replace));
        stream::iter(work).buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn bring_back(
        &self,
        bucket: &Bucket,
        name: String,
        seq: Option<Seq>,
        replace: bool,
    ) -> Result<Undeleted, AccessError> {
        let key: ObjectKey = name.clone().try_into().map_err(|_| bad("key", &name))?;
        let point = placement::hash(bucket.id, bucket.placement, &key);
        let write = Write::Undelete(Undelete { bucket: bucket.id, key, seq, replace });
        let (back, outcome) = match self.cluster().write(point, &write).await {
            Ok(WriteOutcome::Stored { seq, .. }) => (true, seq.to_string()),
            Ok(_) => return Err(OperationError::OtherAnswer.into()),
            Err(OperationError::Write(Refusal::InTheWay)) => {
                (false, "the key has an object now: --replace brings this one back in its stead".to_owned())
            }
            Err(OperationError::Write(refusal)) => (false, refusal.to_string()),
            Err(error) => return Err(error.into()),
        };
        Ok(Undeleted { key: name, back, outcome })
    }
}

/// The newest of every key; of keys that have an object now only if those are to be replaced.
fn newest(kept: Vec<DeletedObject>, replace: bool) -> Vec<(String, Option<Seq>)> {
    let mut wanted: Vec<(String, Option<Seq>)> = Vec::new();
    for found in kept {
        let another = wanted.last().is_none_or(|(key, _)| *key != found.key);
        if another && (replace || !found.covered) {
            wanted.push((found.key, Some(found.seq)));
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use holdfast_wire::deleted::Why;
    use holdfast_wire::id::GroupId;

    use super::*;

    fn gone(key: &str, index: u64, covered: bool) -> DeletedObject {
        DeletedObject {
            key: key.to_owned(),
            seq: Seq { group: GroupId(1), index },
            size: 1,
            etag: "e".to_owned(),
            modified_ms: 1,
            since_ms: 2,
            why: Why::Deleted,
            covered,
        }
    }

    #[test]
    fn the_newest_of_every_key_that_has_no_object_comes_back() {
        let page = |deleted| DeletedPage { deleted, more: false };
        let kept = merged(vec![
            page(vec![gone("a", 9, false), gone("a", 4, false), gone("c", 3, true)]),
            page(vec![gone("b", 5, false)]),
        ]);
        let keys = |found: Vec<(String, Option<Seq>)>| {
            found.into_iter().map(|(key, seq)| format!("{key}{}", seq.unwrap().index)).collect::<Vec<_>>()
        };
        assert_eq!(keys(newest(kept.clone(), false)), ["a9", "b5"]);
        assert_eq!(keys(newest(kept, true)), ["a9", "b5", "c3"]);
    }
}
