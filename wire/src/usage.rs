//! What a bucket holds, and what it may hold.

use serde::{Deserialize, Serialize};

use crate::id::BucketId;

/// What a bucket holds, in one shard or in all of them. Exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Current objects.
    pub objects: u64,
    /// Other versions: older ones, and delete markers.
    pub versions: u64,
    /// Bytes of all versions, as clients sent them.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
    /// Bytes of their parts.
    pub part_bytes: u64,
}

impl Usage {
    /// Whether there is no object and no version, not even a delete marker.
    pub fn is_empty(&self) -> bool {
        self.objects == 0 && self.versions == 0
    }

    /// What a quota counts: objects and versions, and the bytes of all versions and parts.
    pub fn weight(&self) -> Share {
        Share { bytes: self.bytes.saturating_add(self.part_bytes), objects: self.objects.saturating_add(self.versions) }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            versions: self.versions.saturating_add(other.versions),
            bytes: self.bytes.saturating_add(other.bytes),
            uploads: self.uploads.saturating_add(other.uploads),
            part_bytes: self.part_bytes.saturating_add(other.part_bytes),
        }
    }
}

/// What a bucket may hold. A bound that is not there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of all versions and of the parts of open uploads.
    pub bytes: Option<u64>,
    /// Objects, older versions and delete markers.
    pub objects: Option<u64>,
}

impl Quota {
    /// Whether it bounds nothing.
    pub fn is_none(&self) -> bool {
        self.bytes.is_none() && self.objects.is_none()
    }

    /// The same as numbers; [`u64::MAX`]: no bound.
    pub fn whole(&self) -> Share {
        Share { bytes: self.bytes.unwrap_or(u64::MAX), objects: self.objects.unwrap_or(u64::MAX) }
    }
}

/// An amount of both that a quota bounds: a shard's share of it, or what somebody needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Bytes.
    pub bytes: u64,
    /// Objects and versions.
    pub objects: u64,
}

impl Share {
    /// Per dimension.
    fn each(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self { bytes: f(self.bytes, other.bytes), objects: f(self.objects, other.objects) }
    }

    /// The sum; what is unbounded stays so.
    pub fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// What is left of it; never less than nothing. What is unbounded stays so.
    pub fn less(self, other: Self) -> Self {
        self.each(other, |all, part| if all == u64::MAX { all } else { all.saturating_sub(part) })
    }

    /// The smaller of each.
    pub fn min(self, other: Self) -> Self {
        self.each(other, Ord::min)
    }

    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        self.each(other, Ord::max)
    }

    /// One of `parts` equal parts. What is unbounded stays so.
    pub fn part(self, parts: u64) -> Self {
        let part = |all: u64| if all == u64::MAX { all } else { all / parts.max(1) };
        Self { bytes: part(self.bytes), objects: part(self.objects) }
    }

    /// Whether `other` fits into it, in both.
    pub fn holds(&self, other: Self) -> bool {
        other.bytes <= self.bytes && other.objects <= self.objects
    }
}

/// A bucket in one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketUsage {
    /// The bucket.
    pub bucket: BucketId,
    /// What the shard holds of it.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unbounded_stays_so() {
        let all = Quota { bytes: Some(10), objects: None }.whole();
        let left = all.less(Share { bytes: 12, objects: 5 });
        assert_eq!(left, Share { bytes: 0, objects: u64::MAX });
        assert_eq!(all.part(4), Share { bytes: 2, objects: u64::MAX });
        assert!(all.holds(Share { bytes: 10, objects: 1 << 60 }) && !all.holds(Share { bytes: 11, objects: 0 }));
        assert_eq!(all.plus(Share { bytes: 1, objects: 1 }), Share { bytes: 11, objects: u64::MAX });
    }
}
