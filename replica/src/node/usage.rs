//! What buckets hold in the shards that this node leads, for metrics: the largest ones by name, the rest together, so that
//! there are never more names than a monitoring system bears.

use std::collections::BTreeMap;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::{BucketId, GroupId};
use holdfast_wire::usage::{Quota, Usage};

use super::Host;

/// Buckets that are named.
const NAMED_MAX: usize = 50;

/// What is told of buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketMetrics {
    /// The largest buckets; under the empty name all others together.
    pub held: BTreeMap<String, Usage>,
    /// Quotas of the named ones, from the node that leads root alone.
    pub quotas: BTreeMap<String, Quota>,
}

impl Host {
    pub(super) fn bucket_metrics(&self) -> BucketMetrics {
        let mut sums: BTreeMap<BucketId, (Option<String>, Usage)> = BTreeMap::new();
        let groups = self.groups();
        for group in groups.iter().filter(|group| group.id() != GroupId::ROOT && group.leads()) {
            for one in group.index().usages() {
                let name = || group.index().bucket(one.bucket).map(|bucket| bucket.name.to_string());
                let (_, sum) = sums.entry(one.bucket).or_insert_with(|| (name(), Usage::default()));
                *sum = sum.plus(one.usage);
            }
        }
        let root = self.group(GroupId::ROOT).ok().filter(|root| root.leads());
        let buckets = root.map(|root| root.index().buckets()).unwrap_or_default();
        let bound = |bucket: &Bucket| Some((bucket.name.to_string(), bucket.configuration.quota?));
        BucketMetrics {
            held: named(sums.into_values().filter_map(|(name, usage)| Some((name?, usage))).collect()),
            quotas: buckets.iter().filter_map(|bucket| bound(bucket)).take(NAMED_MAX).collect(),
        }
    }
}

/// The largest by name, the others together under none.
fn named(mut all: Vec<(String, Usage)>) -> BTreeMap<String, Usage> {
    all.sort_by(|(a, x), (b, y)| (y.bytes, a).cmp(&(x.bytes, b)));
    let rest = all.split_off(all.len().min(NAMED_MAX));
    let mut held: BTreeMap<String, Usage> = all.into_iter().collect();
    if !rest.is_empty() {
        held.insert(String::new(), rest.into_iter().fold(Usage::default(), |sum, (_, usage)| sum.plus(usage)));
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_nothing_is_lost() {
        let all: Vec<_> = (0..200u64).map(|n| (format!("b{n:03}"), Usage { bytes: n, ..Usage::default() })).collect();
        let held = named(all);
        assert_eq!(held.len(), NAMED_MAX + 1);
        assert_eq!(held.values().map(|usage| usage.bytes).sum::<u64>(), 199 * 200 / 2);
        assert!(held.contains_key("b199") && !held.contains_key("b000"));
        assert_eq!(named(vec![("a".into(), Usage::default())]).len(), 1);
    }
}
