//! Where keys live: placement hash, hash ranges, the shard map.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::id::{BucketId, Epoch, GroupId, NodeId, ObjectKey};

/// What of a key the placement hash sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Placement {
    /// The root directory: everything under one top-level prefix lives in one shard (the default).
    #[default]
    RootDirectory,
    /// The whole key: one prefix spreads over all shards, and every listing asks all of them.
    WholeKey,
}

/// `xxh3_64(bucket id, root directory or whole key)`: the point of the hash space at which a key lives.
pub fn hash(bucket: BucketId, placement: Placement, key: &ObjectKey) -> u64 {
    match placement {
        Placement::RootDirectory => hash_text(bucket, key.root_directory()),
        Placement::WholeKey => hash_text(bucket, key.as_str()),
    }
}

/// The one point at which every key with `prefix` lives, if there is one.
pub fn hash_of_prefix(bucket: BucketId, placement: Placement, prefix: &str) -> Option<u64> {
    match (placement, prefix.split_once('/')) {
        (Placement::RootDirectory, Some((root, _))) => Some(hash_text(bucket, root)),
        _ => None,
    }
}

fn hash_text(bucket: BucketId, text: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&bucket.0.to_le_bytes());
    hasher.update(text.as_bytes());
    hasher.digest()
}

/// A closed range of the hash space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashRange {
    /// First point.
    pub first: u64,
    /// Last point, included.
    pub last: u64,
}

impl HashRange {
    /// Whether `point` lies in the range.
    pub fn contains(&self, point: u64) -> bool {
        (self.first..=self.last).contains(&point)
    }

    /// `count` ranges of equal size that tile the whole hash space.
    pub fn tile(count: u32) -> Vec<HashRange> {
        let count = u128::from(count.max(1));
        let edge = |i: u128| (i << 64) / count;
        (0..count).map(|i| HashRange { first: edge(i) as u64, last: (edge(i + 1) - 1) as u64 }).collect()
    }
}

/// One group of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlace {
    /// The group.
    pub group: GroupId,
    /// The hash range it holds; `None` for root.
    pub range: Option<HashRange>,
    /// Moves with every change of this entry.
    pub epoch: Epoch,
    /// The nodes that are to be its voters, ascending.
    pub voters: Vec<NodeId>,
}

impl GroupPlace {
    /// The voter that should lead: the groups' leaders spread round robin over their voters.
    pub fn preferred_leader(&self) -> Option<NodeId> {
        let at = (self.group.0 as usize).checked_rem(self.voters.len())?;
        self.voters.get(at).copied()
    }

    /// How many voters come before `node`, counted from the one that should lead; `None` if it is no voter.
    pub fn turn(&self, node: NodeId) -> Option<u32> {
        let count = self.voters.len();
        let first = (self.group.0 as usize).checked_rem(count)?;
        let at = self.voters.iter().position(|voter| *voter == node)?;
        Some(((at + count - first) % count) as u32)
    }
}

/// Hash ranges → groups → nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardMap {
    /// Moves with every change of the map.
    pub epoch: Epoch,
    /// All groups, root included, ascending by id. The ranges tile the hash space.
    pub groups: Vec<GroupPlace>,
}

impl ShardMap {
    /// The shard that holds `point`.
    pub fn shard_of(&self, point: u64) -> Option<&GroupPlace> {
        self.groups.iter().find(|g| g.range.is_some_and(|range| range.contains(point)))
    }

    /// Every shard.
    pub fn shards(&self) -> impl Iterator<Item = &GroupPlace> {
        self.groups.iter().filter(|g| g.range.is_some())
    }

    /// One group's entry.
    pub fn group(&self, group: GroupId) -> Option<&GroupPlace> {
        self.groups.iter().find(|g| g.group == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_hash_space_without_gap_or_overlap() {
        for count in [1, 2, 3, 4, 7, 64] {
            let tiles = HashRange::tile(count);
            assert_eq!(tiles.len(), count as usize);
            assert_eq!(tiles[0].first, 0);
            assert_eq!(tiles[tiles.len() - 1].last, u64::MAX);
            assert!(tiles.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
        }
    }

    #[test]
    fn a_prefix_with_a_root_directory_lives_where_its_keys_live() {
        let bucket = BucketId(7);
        let key: ObjectKey = "logs/2026/11".parse().unwrap();
        let point = hash(bucket, Placement::RootDirectory, &key);
        assert_eq!(hash_of_prefix(bucket, Placement::RootDirectory, "logs/"), Some(point));
        assert_eq!(hash_of_prefix(bucket, Placement::RootDirectory, "logs/20"), Some(point));
        assert_eq!(hash_of_prefix(bucket, Placement::RootDirectory, "log"), None);
        assert_eq!(hash_of_prefix(bucket, Placement::WholeKey, "logs/20"), None);
    }
}
