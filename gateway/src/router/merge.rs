//! Pages of several shards as one page: pure.
//!
//! A shard that has more says nothing about what lies behind its last entry, so the merged page ends there at the
//! latest. Nothing is copied: entries move from the shards' pages into the merged one.

use std::cmp::Ordering;
use std::vec::IntoIter;

use holdfast_wire::object::{Summary, Upload};
use holdfast_wire::request::{ListPage, ListedVersion};

/// Something that a listing shows, in the listing's order.
pub trait Entry {
    /// What its place among common prefixes goes by.
    fn text(&self) -> &str;
    /// The listing's order. Equal entries are the same one.
    fn order(&self, other: &Self) -> Ordering;
}

impl Entry for (String, Summary) {
    fn text(&self) -> &str {
        &self.0
    }

    fn order(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Entry for ListedVersion {
    fn text(&self) -> &str {
        &self.key
    }

    fn order(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| other.summary.seq.cmp(&self.summary.seq))
    }
}

impl Entry for Upload {
    fn text(&self) -> &str {
        self.key.as_str()
    }

    fn order(&self, other: &Self) -> Ordering {
        let place = |upload: &Self| (upload.initiated_ms, upload.id);
        self.key.cmp(&other.key).then_with(|| place(self).cmp(&place(other)))
    }
}

/// A page: entries and common prefixes, each in order, and whether there is more behind the last of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<E> {
    /// Entries.
    pub entries: Vec<E>,
    /// Common prefixes.
    pub prefixes: Vec<String>,
    /// Whether there is more.
    pub more: bool,
}

impl From<ListPage> for Page<(String, Summary)> {
    fn from(page: ListPage) -> Self {
        Self { entries: page.objects, prefixes: page.prefixes, more: page.more }
    }
}

/// A page that has more, and not one entry to go on from: listing on would never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a shard gave a page that is empty and not the last")]
pub struct EmptyPage;

struct Shard<E> {
    entries: IntoIter<E>,
    prefixes: IntoIter<String>,
    more: bool,
}

impl<E: Entry> Shard<E> {
    fn entry(&self) -> Option<&E> {
        self.entries.as_slice().first()
    }

    fn prefix(&self) -> Option<&String> {
        self.prefixes.as_slice().first()
    }

    /// It has more and shows nothing more: what comes next there is unknown.
    fn unknown(&self) -> bool {
        self.more && self.entry().is_none() && self.prefix().is_none()
    }
}

/// Merges pages of different shards, at most `limit` entries and prefixes together. A prefix that several shards have
/// counts once.
pub fn merge<E: Entry>(pages: Vec<Page<E>>, limit: usize) -> Result<Page<E>, EmptyPage> {
    if pages.iter().any(|page| page.more && page.entries.is_empty() && page.prefixes.is_empty()) {
        return Err(EmptyPage);
    }
    // The common case, a prefix with a root directory: one shard.
    if let [page] = &pages[..]
        && page.entries.len() + page.prefixes.len() <= limit
    {
        return Ok(pages.into_iter().next().expect("there is one"));
    }
    let room = |sum: usize| sum.min(limit);
    let mut merged = Page {
        entries: Vec::with_capacity(room(pages.iter().map(|page| page.entries.len()).sum())),
        prefixes: Vec::with_capacity(room(pages.iter().map(|page| page.prefixes.len()).sum())),
        more: false,
    };
    let mut shards: Vec<_> = pages
        .into_iter()
        .map(|page| Shard { entries: page.entries.into_iter(), prefixes: page.prefixes.into_iter(), more: page.more })
        .collect();
    loop {
        let unknown = shards.iter().any(Shard::unknown);
        let full = merged.entries.len() + merged.prefixes.len() == limit;
        let entries = shards.iter().enumerate().filter_map(|(at, shard)| Some((at, shard.entry()?)));
        let prefixes = shards.iter().enumerate().filter_map(|(at, shard)| Some((at, shard.prefix()?)));
        let entry = entries.min_by(|(_, a), (_, b)| a.order(b));
        let prefix = prefixes.min_by(|(_, a), (_, b)| a.cmp(b));
        let (at, is_entry) = match (entry, prefix) {
            _ if unknown || full => {
                merged.more = unknown || entry.is_some() || prefix.is_some();
                return Ok(merged);
            }
            (None, None) => return Ok(merged),
            (Some((at, entry)), Some((_, prefix))) if *entry.text() <= **prefix => (at, true),
            (_, Some((at, _))) => (at, false),
            (Some((at, _)), None) => (at, true),
        };
        if is_entry {
            let taken = shards[at].entries.next().expect("it comes first");
            for shard in &mut shards {
                while shard.entry().is_some_and(|same| same.order(&taken).is_eq()) {
                    shard.entries.next();
                }
            }
            merged.entries.push(taken);
        } else {
            let taken = shards[at].prefixes.next().expect("it comes first");
            for shard in &mut shards {
                while shard.prefix() == Some(&taken) {
                    shard.prefixes.next();
                }
            }
            merged.prefixes.push(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use holdfast_wire::id::{ObjectKey, UploadId};
    use holdfast_wire::object::Attributes;
    use holdfast_wire::request::ListFrom;
    use proptest::prelude::*;

    fn upload(key: &str, initiated_ms: u64, id: u128) -> Upload {
        Upload {
            key: key.parse::<ObjectKey>().unwrap(),
            id: UploadId(id),
            initiated_ms,
            owner: String::new(),
            attributes: Attributes::default(),
            checksum: None,
        }
    }

    fn summary() -> Summary {
        Summary { size: 1, modified_ms: 2, etag: "e".to_owned(), ..Summary::default() }
    }

    type Keys = Vec<(String, Summary)>;

    /// What a listing of `keys` is, by its definition, cut at `limit`.
    fn model(keys: &BTreeSet<String>, prefix: &str, after: &ListFrom, limit: usize) -> Page<(String, Summary)> {
        let mut page = Page { entries: Keys::new(), prefixes: Vec::new(), more: false };
        for key in keys.iter().filter(|key| key.starts_with(prefix)) {
            let common = key[prefix.len()..].find('/').map(|at| &key[..=prefix.len() + at]);
            let text = common.unwrap_or(key);
            let passed = match after {
                ListFrom::Start => false,
                ListFrom::After(text) => key <= text,
                ListFrom::AfterPrefix(prefix) => key.starts_with(prefix) || key < prefix,
            };
            if passed || page.prefixes.last().is_some_and(|last| last == text) {
                continue;
            }
            if page.entries.len() + page.prefixes.len() == limit {
                page.more = true;
                return page;
            }
            match common {
                Some(common) => page.prefixes.push(common.to_owned()),
                None => page.entries.push((key.clone(), summary())),
            }
        }
        page
    }

    fn next_from(page: &Page<(String, Summary)>) -> ListFrom {
        match (page.entries.last(), page.prefixes.last()) {
            (Some((key, _)), Some(prefix)) if key > prefix => ListFrom::After(key.clone()),
            (_, Some(prefix)) => ListFrom::AfterPrefix(prefix.clone()),
            (Some((key, _)), None) => ListFrom::After(key.clone()),
            (None, None) => panic!("nothing to go on from"),
        }
    }

    proptest! {
        /// Whatever the shards hold, and however small their own pages are, page after page shows what one flat
        /// listing shows: all of it, once, in order.
        #[test]
        fn pages_of_shards_are_the_pages_of_a_flat_listing(
            keys in prop::collection::btree_set("[ab/]{1,5}", 0..60),
            shards in 1usize..5,
            salt: u64,
            prefix in "[ab]{0,1}",
            limit in 1usize..12,
            own_limits in prop::collection::vec(1usize..14, 5),
        ) {
            let mut held = vec![BTreeSet::new(); shards];
            for (at, key) in keys.iter().enumerate() {
                held[(at as u64 ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % shards].insert(key.clone());
            }
            let whole = model(&keys, &prefix, &ListFrom::Start, usize::MAX);
            let (mut entries, mut prefixes, mut from) = (Vec::new(), Vec::new(), ListFrom::Start);
            loop {
                let pages: Vec<_> = held.iter().zip(&own_limits)
                    .map(|(held, own)| model(held, &prefix, &from, limit.min(*own)))
                    .collect();
                let full = pages.iter().zip(&own_limits).all(|(page, own)| *own >= limit || !page.more);
                let page = merge(pages, limit).unwrap();
                prop_assert!(page.entries.len() + page.prefixes.len() <= limit);
                if full {
                    // Shards that fill their pages make a page that is exactly the flat one.
                    prop_assert_eq!(&page, &model(&keys, &prefix, &from, limit));
                }
                let more = page.more;
                if more {
                    from = next_from(&page);
                }
                entries.extend(page.entries);
                prefixes.extend(page.prefixes);
                if !more {
                    break;
                }
            }
            prop_assert_eq!(entries, whole.entries);
            prop_assert_eq!(prefixes, whole.prefixes);
        }
    }

    fn page(keys: &[&str], prefixes: &[&str], more: bool) -> Page<(String, Summary)> {
        Page {
            entries: keys.iter().map(|key| ((*key).to_owned(), summary())).collect(),
            prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
            more,
        }
    }

    #[test]
    fn nothing_behind_the_last_entry_of_a_shard_with_more_is_shown() {
        let merged = merge(vec![page(&["b"], &[], true), page(&["a", "c"], &[], false)], 10).unwrap();
        assert_eq!(merged, page(&["a", "b"], &[], true));
    }

    #[test]
    fn no_page_is_longer_than_was_asked_for_whatever_a_shard_gave() {
        let merged = merge(vec![page(&["a", "b", "c"], &[], false)], 2).unwrap();
        assert_eq!(merged, page(&["a", "b"], &[], true));
        let merged = merge(vec![page(&["a"], &["b/", "c/"], false)], 2).unwrap();
        assert_eq!(merged, page(&["a"], &["b/"], true));
    }

    #[test]
    fn a_prefix_of_several_shards_counts_once_and_is_not_more() {
        let merged = merge(vec![page(&["a"], &["x/"], false), page(&[], &["x/"], false)], 2).unwrap();
        assert_eq!(merged, page(&["a"], &["x/"], false));
    }

    #[test]
    fn an_empty_page_with_more_is_refused() {
        assert_eq!(merge(vec![page(&[], &[], true), page(&["a"], &[], false)], 10), Err(EmptyPage));
    }

    #[test]
    fn uploads_go_by_key_then_time_then_id() {
        let pages = vec![
            Page { entries: vec![upload("a", 2, 1), upload("c", 1, 1)], prefixes: vec!["d/".to_owned()], more: false },
            Page {
                entries: vec![upload("a", 1, 9), upload("a", 2, 2), upload("b", 9, 9)],
                prefixes: vec![],
                more: false,
            },
        ];
        let merged = merge(pages, 5).unwrap();
        let order: Vec<_> = merged.entries.iter().map(|u| (u.key.as_str(), u.initiated_ms, u.id.0)).collect();
        assert_eq!(order, [("a", 1, 9), ("a", 2, 1), ("a", 2, 2), ("b", 9, 9), ("c", 1, 1)]);
        assert!(merged.more && merged.prefixes.is_empty());
    }

    #[test]
    fn versions_and_uploads_stand_among_common_prefixes_by_their_keys() {
        fn first<E: Entry>(entry: E, prefix: &str) -> (usize, usize) {
            let of = |entries, prefixes| Page { entries, prefixes, more: false };
            let pages = vec![of(vec![entry], Vec::new()), of(Vec::new(), vec![prefix.to_owned()])];
            let merged = merge(pages, 1).unwrap();
            assert!(merged.more, "the other one is left");
            (merged.entries.len(), merged.prefixes.len())
        }
        let version = |key: &str| ListedVersion { key: key.to_owned(), latest: true, summary: summary() };
        assert_eq!(first(version("b"), "a/"), (0, 1));
        assert_eq!(first(version("b"), "c/"), (1, 0));
        assert_eq!(first(upload("b", 1, 1), "a/"), (0, 1));
        assert_eq!(first(upload("b", 1, 1), "c/"), (1, 0));
    }
}
