//! What every engine must do, run on each.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::in_redis::RedisServer;
use super::*;

fn put(space: Space, key: &str, value: &str) -> Mutation {
    Mutation::Put(space, key.as_bytes().to_vec(), Bytes::copy_from_slice(value.as_bytes()))
}

fn remove(space: Space, key: &str) -> Mutation {
    Mutation::Remove(space, key.as_bytes().to_vec())
}

fn get(view: &dyn View, space: Space, key: &str) -> Option<String> {
    view.get(space, key.as_bytes()).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn keys(view: &dyn View, space: Space, from: &str, to: &str) -> Vec<String> {
    view.range(space, from.as_bytes(), to.as_bytes())
        .map(|row| String::from_utf8(row.unwrap().0.to_vec()).unwrap())
        .collect()
}

fn spaces_are_apart(engine: &dyn Engine) {
    engine
        .write(vec![put(Space::Records, "a", "record"), put(Space::Bodies, "a", "body")], Durability::Buffered)
        .unwrap();
    engine.write(vec![remove(Space::Records, "a"), remove(Space::Records, "never")], Durability::Synced).unwrap();
    assert_eq!(get(engine, Space::Records, "a"), None);
    assert_eq!(get(engine, Space::Bodies, "a").as_deref(), Some("body"));
    engine.write(vec![], Durability::Synced).unwrap();
    engine.write(vec![], Durability::Buffered).unwrap();
}

fn ranges_are_half_open_and_ordered(engine: &dyn Engine) {
    let rows = ["b", "a", "ab", "a\u{0}", "ä", "c"].map(|key| put(Space::Records, key, "x"));
    engine.write(rows.to_vec(), Durability::Buffered).unwrap();
    assert_eq!(keys(engine, Space::Records, "", ""), ["a", "a\0", "ab", "b", "c", "ä"]);
    assert_eq!(keys(engine, Space::Records, "a\0", "c"), ["a\0", "ab", "b"]);
    assert_eq!(keys(engine, Space::Records, "d", ""), ["ä"]);
    assert!(keys(engine, Space::Records, "b", "b").is_empty());
    assert!(keys(engine, Space::Records, "c", "a").is_empty());
}

fn a_snapshot_stays_as_it_is(engine: &dyn Engine) {
    engine.write(vec![put(Space::Records, "a", "1"), put(Space::Bodies, "b", "1")], Durability::Buffered).unwrap();
    let first = engine.snapshot();
    engine
        .write(
            vec![put(Space::Records, "a", "2"), put(Space::Records, "c", "2"), remove(Space::Bodies, "b")],
            Durability::Buffered,
        )
        .unwrap();
    let second = engine.snapshot();
    engine.clear(b"").unwrap();
    assert_eq!(get(&*first, Space::Records, "a").as_deref(), Some("1"));
    assert_eq!(get(&*first, Space::Bodies, "b").as_deref(), Some("1"));
    assert_eq!(keys(&*first, Space::Records, "", ""), ["a"]);
    assert_eq!(get(&*second, Space::Records, "a").as_deref(), Some("2"));
    assert_eq!(get(&*second, Space::Bodies, "b"), None);
    drop(first);
    assert_eq!(keys(&*second, Space::Records, "", ""), ["a", "c"]);
    assert!(keys(engine, Space::Records, "", "").is_empty());
}

fn a_range_shows_one_moment(engine: &dyn Engine) {
    let batch = (0..500).map(|i| put(Space::Records, &format!("{i:03}"), "old")).collect();
    engine.write(batch, Durability::Buffered).unwrap();
    let mut rows = engine.range(Space::Records, b"", b"");
    rows.next().unwrap().unwrap();
    let batch = (0..500).map(|i| put(Space::Records, &format!("{i:03}"), "new")).collect();
    engine.write(batch, Durability::Buffered).unwrap();
    engine.write(vec![put(Space::Records, "999", "new")], Durability::Buffered).unwrap();
    let rest: Vec<_> = rows.map(Result::unwrap).collect();
    assert_eq!(rest.len(), 499);
    assert!(rest.iter().all(|(_, value)| value == "old"));
}

fn clear_removes_a_prefix_and_nothing_else(engine: &dyn Engine) {
    let mut batch: Vec<_> = (0..5000).map(|i| put(Space::Records, &format!("p{i}"), "x")).collect();
    batch.extend([put(Space::Records, "o", "x"), put(Space::Records, "q", "x"), put(Space::Bodies, "p", "x")]);
    batch.push(Mutation::Put(Space::Bodies, vec![0xff, 0xff, 1], Bytes::from_static(b"x")));
    engine.write(batch, Durability::Buffered).unwrap();
    engine.clear(b"p").unwrap();
    assert_eq!(keys(engine, Space::Records, "", ""), ["o", "q"]);
    assert_eq!(engine.range(Space::Bodies, b"", b"").count(), 1);
    engine.clear(&[0xff, 0xff]).unwrap();
    assert_eq!(engine.range(Space::Bodies, b"", b"").count(), 0);
}

fn large_values_come_back(engine: &dyn Engine) {
    for len in [0, 1, 511, 512, 4096, 65536, 1 << 20] {
        let value: Bytes = (0..len).map(|i| (i * 7 + len) as u8).collect::<Vec<_>>().into();
        let key = format!("{len}").into_bytes();
        for space in Space::ALL {
            engine.write(vec![Mutation::Put(space, key.clone(), value.clone())], Durability::Buffered).unwrap();
            assert_eq!(engine.get(space, &key).unwrap().as_ref(), Some(&value));
        }
    }
}

fn run(make: &dyn Fn() -> Box<dyn Engine>) {
    let suite: [fn(&dyn Engine); 6] = [
        spaces_are_apart,
        ranges_are_half_open_and_ordered,
        a_snapshot_stays_as_it_is,
        a_range_shows_one_moment,
        clear_removes_a_prefix_and_nothing_else,
        large_values_come_back,
    ];
    for case in suite {
        case(&*make());
    }
}

/// A lsm engine and the directory that goes with it.
struct OnDisk(Lsm, #[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir);

impl View for OnDisk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.0.get(space, key)
    }
    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        self.0.range(space, from, to)
    }
}

impl Engine for OnDisk {
    fn write(&self, batch: Vec<Mutation>, durability: Durability) -> Result<(), EngineError> {
        self.0.write(batch, durability)
    }
    fn snapshot(&self) -> Box<dyn View> {
        self.0.snapshot()
    }
    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        self.0.clear(prefix)
    }
    fn stats(&self) -> EngineStats {
        self.0.stats()
    }
    fn stored(&self) -> Vec<Stored> {
        self.0.stored()
    }
}

fn on_disk() -> OnDisk {
    let directory = tempfile::tempdir().unwrap();
    OnDisk(Lsm::open(directory.path(), LsmOptions::default()).unwrap(), directory)
}

/// A Redis engine and the directory that goes with it.
struct InRedis(Redis, #[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir);

impl View for InRedis {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.0.get(space, key)
    }
    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        self.0.range(space, from, to)
    }
}

impl Engine for InRedis {
    fn write(&self, batch: Vec<Mutation>, durability: Durability) -> Result<(), EngineError> {
        self.0.write(batch, durability)
    }
    fn snapshot(&self) -> Box<dyn View> {
        self.0.snapshot()
    }
    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        self.0.clear(prefix)
    }
    fn stats(&self) -> EngineStats {
        self.0.stats()
    }
    fn stored(&self) -> Vec<Stored> {
        self.0.stored()
    }
}

/// A new data directory takes the set over from the one before.
fn on_redis(server: &RedisServer) -> InRedis {
    let directory = tempfile::tempdir().unwrap();
    InRedis(in_redis::open(server, directory.path(), 1).unwrap(), directory)
}

#[test]
fn memory_conforms() {
    run(&|| Box::new(Memory::new()));
    run(&|| Box::new(Memory::with_power_cuts()));
}

#[test]
fn lsm_conforms() {
    run(&|| Box::new(on_disk()));
}

#[test]
fn redis_conforms() {
    let server = RedisServer::start();
    run(&|| Box::new(on_redis(&server)));
}

#[test]
fn lsm_finds_everything_again_in_the_same_process() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let engine = Lsm::open(directory.path(), LsmOptions::default()).unwrap();
        assert_eq!(keys(&engine, Space::Records, "", "").len(), round);
        assert!(Lsm::open(directory.path(), LsmOptions::default()).is_err(), "one engine at a time");
        let batch = vec![put(Space::Records, &format!("{round}"), "x"), put(Space::Bodies, &format!("{round}"), "y")];
        engine.write(batch, Durability::Buffered).unwrap();
    }
}

#[test]
fn a_power_cut_leaves_a_prefix_that_holds_what_was_synced() {
    for surviving in 0..4 {
        let engine = Memory::with_power_cuts();
        engine.write(vec![put(Space::Records, "a", "1")], Durability::Synced).unwrap();
        engine.write(vec![put(Space::Records, "a", "2"), put(Space::Bodies, "b", "2")], Durability::Buffered).unwrap();
        engine.write(vec![remove(Space::Records, "a")], Durability::Buffered).unwrap();
        assert_eq!(engine.cut_power(surviving), 2);
        let expected = [(Some("1"), None), (Some("2"), Some("2")), (None, Some("2"))][surviving.min(2) as usize];
        assert_eq!(get(&engine, Space::Records, "a").as_deref(), expected.0);
        assert_eq!(get(&engine, Space::Bodies, "b").as_deref(), expected.1);
        assert_eq!(engine.cut_power(0), 0, "what survived one cut survives the next");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(bool, u8, Option<u8>)>),
    Freeze,
    Thaw,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = proptest::collection::vec((any::<bool>(), 0..12u8, any::<Option<u8>>()), 0..6).prop_map(Step::Write);
    proptest::collection::vec(prop_oneof![4 => write, 1 => Just(Step::Freeze), 1 => Just(Step::Thaw)], 1..40)
}

type Model = [BTreeMap<Vec<u8>, Bytes>; 2];

fn assert_same(view: &dyn View, model: &Model) {
    for space in Space::ALL {
        let rows: Vec<_> = view.range(space, b"", b"").map(|row| row.unwrap()).map(|(k, v)| (k.to_vec(), v)).collect();
        assert_eq!(rows, model[space as usize].clone().into_iter().collect::<Vec<_>>());
        for key in 0..12u8 {
            assert_eq!(view.get(space, &[key]).unwrap(), model[space as usize].get(&vec![key]).cloned());
        }
    }
}

fn check(engine: &dyn Engine, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut frozen: Vec<(Box<dyn View>, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Write(changes) => {
                let mut batch = Vec::new();
                for (bodies, key, value) in changes {
                    let space = if bodies { Space::Bodies } else { Space::Records };
                    // An engine need not say which of two changes of one key in one batch wins.
                    let known = |m: &Mutation| match m {
                        Mutation::Put(s, k, _) | Mutation::Remove(s, k) => *s == space && k[..] == [key],
                    };
                    if batch.iter().any(known) {
                        continue;
                    }
                    match value {
                        Some(value) => {
                            let value = Bytes::from(vec![value; usize::from(value) * 8]);
                            model[space as usize].insert(vec![key], value.clone());
                            batch.push(Mutation::Put(space, vec![key], value));
                        }
                        None => {
                            model[space as usize].remove(&vec![key]);
                            batch.push(Mutation::Remove(space, vec![key]));
                        }
                    }
                }
                engine.write(batch, Durability::Buffered).unwrap();
            }
            Step::Freeze => frozen.push((engine.snapshot(), model.clone())),
            Step::Thaw => {
                if !frozen.is_empty() {
                    frozen.remove(0);
                }
            }
        }
    }
    assert_same(engine, &model);
    for (view, model) in &frozen {
        assert_same(&**view, model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn memory_behaves_as_a_map_with_frozen_views(steps in steps()) {
        check(&Memory::new(), steps.clone());
        check(&Memory::with_power_cuts(), steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn lsm_behaves_as_a_map_with_frozen_views(steps in steps()) {
        check(&on_disk(), steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn redis_behaves_as_a_map_with_frozen_views(steps in steps()) {
        thread_local! {
            static SERVER: RedisServer = RedisServer::start();
        }
        SERVER.with(|server| check(&on_redis(server), steps));
    }
}

#[test]
fn behind_is_the_end_of_a_prefix() {
    assert_eq!(behind(b"a"), b"b");
    assert_eq!(behind(&[1, 0xff, 0xff]), [2]);
    assert!(behind(&[0xff]).is_empty());
    assert!(behind(b"").is_empty());
}
