//! Listings where the model does not reach: many rows, uploads, markers.

use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_wire::request::ListUploads;

use super::support::*;
use super::*;
use crate::index::engine::{EngineStats, Row, View};

/// An engine that counts the rows it gives.
struct Counting(Memory, Arc<AtomicUsize>);

struct CountingView(Box<dyn View>, Arc<AtomicUsize>);

fn counted<'a>(
    rows: Box<dyn Iterator<Item = Row> + Send + 'a>,
    counter: &Arc<AtomicUsize>,
) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
    let counter = counter.clone();
    Box::new(rows.inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    }))
}

impl View for Counting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.0.get(space, key)
    }
    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        counted(self.0.range(space, from, to), &self.1)
    }
}

impl View for CountingView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.0.get(space, key)
    }
    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        counted(self.0.range(space, from, to), &self.1)
    }
}

impl Engine for Counting {
    fn write(&self, batch: Vec<Mutation>, durability: Durability) -> Result<(), EngineError> {
        self.0.write(batch, durability)
    }
    fn snapshot(&self) -> Box<dyn View> {
        Box::new(CountingView(self.0.snapshot(), self.1.clone()))
    }
    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        self.0.clear(prefix)
    }
    fn stats(&self) -> EngineStats {
        self.0.stats()
    }

    fn stored(&self) -> Vec<engine::Stored> {
        self.0.stored()
    }
}

fn ready(engine: Arc<dyn Engine>) -> (Index, Log) {
    let (index, mut log) = (shard(engine), Log::default());
    log.apply(&index, 1, Command::InstallBucket(bucket(1)));
    (index, log)
}

#[test]
fn a_common_prefix_costs_the_same_whatever_it_holds() {
    let counter = Arc::new(AtomicUsize::new(0));
    let (index, mut log) = ready(Arc::new(Counting(Memory::new(), counter.clone())));
    for directory in 0..4 {
        for file in 0..500 {
            log.apply(&index, 2, put(&format!("{directory}/{file}"), inline("")));
        }
    }
    log.apply(&index, 2, put("top", inline("")));
    counter.store(0, Ordering::Relaxed);
    let page = index.list(&list("", Some("/"), 1000)).unwrap();
    assert_eq!(
        (page.prefixes, page.objects.len(), page.more),
        (vec!["0/".into(), "1/".into(), "2/".into(), "3/".into()], 1, false)
    );
    assert!(counter.load(Ordering::Relaxed) < 50, "2001 keys in {counter:?} rows");
}

#[test]
fn markers_need_not_exist_and_other_buckets_do_not_show() {
    let (index, mut log) = ready(Arc::new(Memory::new()));
    log.apply(&index, 1, Command::InstallBucket(bucket(2)));
    let mut elsewhere = put_object("b", inline(""));
    elsewhere.bucket = BucketId(2);
    log.apply(&index, 2, Command::Write(holdfast_wire::request::Write::Put(elsewhere)));
    for name in ["a", "b/1", "b/2", "c"] {
        log.apply(&index, 2, put(name, inline("")));
    }
    let names = |after: ListFrom, prefix: &str, delimiter: Option<&str>| {
        let page = index.list(&ListObjects { after, ..list(prefix, delimiter, 10) }).unwrap();
        let mut names: Vec<String> = page.objects.into_iter().map(|(name, _)| name).collect();
        names.extend(page.prefixes);
        names.sort();
        names
    };
    assert_eq!(names(ListFrom::Start, "", None), ["a", "b/1", "b/2", "c"]);
    assert_eq!(names(ListFrom::After("a!".into()), "", None), ["b/1", "b/2", "c"]);
    assert_eq!(names(ListFrom::After("b/1".into()), "b", None), ["b/2"]);
    assert_eq!(names(ListFrom::After("a".into()), "b", Some("/")), ["b/"]);
    assert_eq!(names(ListFrom::AfterPrefix("b/".into()), "", Some("/")), ["c"]);
    assert_eq!(names(ListFrom::After("z".into()), "", None), [""; 0]);
    assert_eq!(names(ListFrom::After("b".into()), "a", None), [""; 0]);
    let nothing = index.list(&list("", None, 0)).unwrap();
    assert!(nothing.objects.is_empty() && !nothing.more);
}

#[test]
fn uploads_are_listed_by_key_then_time_then_id() {
    let (index, mut log) = ready(Arc::new(Memory::new()));
    for (at, name, id) in [(9, "a", 1), (3, "a", 2), (3, "a", 5), (3, "a/b", 3), (1, "b", 4), (2, "a/c", 6)] {
        log.apply(&index, at, create_upload(name, id));
    }
    let ids = |after: Option<(&str, Option<u128>)>, delimiter: Option<&str>, limit: u32| {
        let after = after.map(|(key, id)| (key.to_owned(), id.map(UploadId)));
        let delimiter = delimiter.map(str::to_owned);
        let page = index.list_uploads(&ListUploads { after, delimiter, limit, ..list_uploads("") }).unwrap();
        (page.uploads.iter().map(|upload| upload.id.0).collect::<Vec<_>>(), page.prefixes, page.more)
    };
    assert_eq!(ids(None, None, 10), (vec![2, 5, 1, 3, 6, 4], vec![], false));
    assert_eq!(ids(None, None, 2), (vec![2, 5], vec![], true));
    assert_eq!(ids(Some(("a", Some(5))), None, 2), (vec![1, 3], vec![], true));
    assert_eq!(ids(Some(("a", None)), None, 2), (vec![3, 6], vec![], true));
    assert_eq!(ids(None, Some("/"), 10), (vec![2, 5, 1, 4], vec!["a/".to_owned()], false));
    assert_eq!(ids(Some(("a/", None)), Some("/"), 10), (vec![4], vec![], false));
    assert_eq!(ids(Some(("a", Some(99))), None, 2), (vec![2, 5], vec![], true), "a marker that has ended");
    assert_eq!(ids(Some(("b", Some(4))), None, 2), (vec![], vec![], false));
    let page = index.list_uploads(&list_uploads("a/")).unwrap();
    assert_eq!(page.uploads.iter().map(|upload| upload.id.0).collect::<Vec<_>>(), [3, 6]);
}
