//! Random operations against plain maps: objects, counters, blob references, listings, snapshots, reopening.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_wire::deleted::{Kept, ListDeleted};
use holdfast_wire::id::Seq;
use holdfast_wire::request::{ListFrom, ListObjects, Write, WriteOutcome};
use proptest::prelude::*;

use super::support::*;
use super::*;
use crate::index::engine::{Lsm, LsmOptions};

#[derive(Clone, Debug)]
enum Step {
    Put(String, Body),
    Delete(Vec<String>),
    Copy(String, String),
    Create(String, u128),
    Part(String, u128, u16, Body),
    Complete(String, u128, Vec<u16>),
    Abort(String, u128),
    /// Apply the last command again, under the same request id.
    Repeat,
    Collect,
    /// Bring back the newest that is kept of a key, perhaps in the stead of what is there.
    Undelete(String, bool),
    /// Let go of what has been kept since before so many steps ago.
    Forget(u64),
    Reopen,
    /// Move to another engine by snapshot.
    Move,
}

#[derive(Clone, Debug)]
enum Body {
    Inline(String),
    Blob(u128, u64),
}

impl Body {
    fn new_body(&self) -> NewBody {
        match self {
            Self::Inline(text) => inline(text),
            Self::Blob(id, len) => blob(*id, *len),
        }
    }
}

fn names() -> impl Strategy<Value = String> {
    let piece = prop_oneof![Just("a"), Just("b"), Just("/"), Just("\0"), Just("ä"), Just("a/"), Just("//")];
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn bodies() -> impl Strategy<Value = Body> {
    // A blob's length goes with its id.
    prop_oneof!["[a-z]{0,6}".prop_map(Body::Inline), (1..6u128).prop_map(|id| Body::Blob(id, 1000 + id as u64))]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let uploads = || (names(), 1..4u128);
    let step = prop_oneof![
        8 => (names(), bodies()).prop_map(|(name, body)| Step::Put(name, body)),
        4 => proptest::collection::vec(names(), 1..4).prop_map(Step::Delete),
        4 => (names(), names()).prop_map(|(from, to)| Step::Copy(from, to)),
        3 => uploads().prop_map(|(name, id)| Step::Create(name, id)),
        4 => (uploads(), 1..4u16, bodies()).prop_map(|((name, id), number, body)| Step::Part(name, id, number, body)),
        2 => (uploads(), proptest::collection::vec(1..4u16, 1..3))
            .prop_map(|((name, id), parts)| Step::Complete(name, id, parts)),
        1 => uploads().prop_map(|(name, id)| Step::Abort(name, id)),
        2 => Just(Step::Repeat),
        1 => Just(Step::Collect),
        4 => (names(), any::<bool>()).prop_map(|(name, replace)| Step::Undelete(name, replace)),
        1 => (0..20u64).prop_map(Step::Forget),
        1 => Just(Step::Reopen),
        1 => Just(Step::Move),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What should be there, in the plainest form.
#[derive(Clone, Debug, Default)]
struct Model {
    objects: BTreeMap<String, (u64, Vec<Body>)>,
    uploads: BTreeMap<u128, (String, BTreeMap<u16, Body>)>,
    finished: BTreeSet<(u128, String)>,
    /// What is gone and kept: by key and number, since when and what.
    kept: BTreeMap<(String, u64), (u64, Vec<Body>)>,
}

impl Model {
    fn references(&self) -> BTreeMap<u128, u64> {
        let parts = self.uploads.values().flat_map(|(_, parts)| parts.values());
        let kept = self.kept.values().flat_map(|(_, bodies)| bodies);
        let bodies = self.objects.values().flat_map(|(_, bodies)| bodies).chain(kept).chain(parts);
        let mut count = BTreeMap::new();
        bodies.for_each(|body| {
            if let Body::Blob(id, _) = body {
                *count.entry(*id).or_default() += 1;
            }
        });
        count
    }

    fn bytes(bodies: &[Body]) -> u64 {
        bodies.iter().map(|body| body.new_body().len()).sum()
    }

    fn text(bodies: &[Body]) -> String {
        let texts = bodies.iter().map(|body| match body {
            Body::Inline(text) => text.clone(),
            Body::Blob(id, _) => format!("<{}>", BlobId(*id)),
        });
        texts.collect()
    }

    fn keep(&mut self, name: &str, now_ms: u64) {
        if let Some((at, bodies)) = self.objects.remove(name) {
            self.kept.insert((name.to_owned(), at), (now_ms, bodies));
        }
    }

    fn set(&mut self, name: &str, index: u64, now_ms: u64, bodies: Vec<Body>) {
        self.keep(name, now_ms);
        self.objects.insert(name.to_owned(), (index, bodies));
    }

    fn newest_kept(&self, name: &str) -> Option<(String, u64)> {
        self.kept.keys().rfind(|(key, _)| key == name).cloned()
    }

    /// Follows a step that was applied as entry `index`; says whether it should have succeeded.
    fn follow(&mut self, step: &Step, index: u64, now_ms: u64) -> bool {
        match step {
            Step::Put(name, body) => {
                self.set(name, index, now_ms, vec![body.clone()]);
                true
            }
            Step::Delete(names) => {
                names.iter().for_each(|name| self.keep(name, now_ms));
                true
            }
            Step::Copy(from, to) => match self.objects.get(from).cloned() {
                Some((_, bodies)) => {
                    self.set(to, index, now_ms, bodies);
                    true
                }
                None => false,
            },
            Step::Undelete(name, replace) => {
                let Some(found) = self.newest_kept(name).filter(|_| *replace || !self.objects.contains_key(name))
                else {
                    return false;
                };
                let (_, bodies) = self.kept.remove(&found).expect("looked up just now");
                self.set(name, index, now_ms, bodies);
                true
            }
            Step::Forget(ago) => {
                self.kept.retain(|_, (since_ms, _)| *since_ms >= now_ms.saturating_sub(*ago));
                true
            }
            Step::Create(name, id) => {
                self.uploads.entry(*id).or_insert_with(|| (name.clone(), BTreeMap::new()));
                true
            }
            Step::Part(name, id, number, body) => match self.uploads.get_mut(id) {
                Some((key, parts)) if key == name => {
                    parts.insert(*number, body.clone());
                    true
                }
                _ => false,
            },
            Step::Complete(name, id, numbers) => {
                if self.finished.contains(&(*id, name.clone())) {
                    return true;
                }
                let Some((key, parts)) = self.uploads.get(id) else { return false };
                // All parts are small: only a single one can make an object.
                if key != name || numbers.len() != 1 || !parts.contains_key(&numbers[0]) {
                    return false;
                }
                let body = parts[&numbers[0]].clone();
                self.set(name, index, now_ms, vec![body]);
                self.uploads.remove(id);
                self.finished.retain(|(other, _)| other != id);
                self.finished.insert((*id, name.clone()));
                true
            }
            Step::Abort(name, id) => match self.uploads.get(id) {
                Some((key, _)) if key == name => self.uploads.remove(id).is_some(),
                _ => false,
            },
            Step::Collect => {
                self.finished.clear();
                true
            }
            Step::Repeat | Step::Reopen | Step::Move => true,
        }
    }

    fn command(&self, step: &Step, now_ms: u64) -> Option<Command> {
        Some(match step {
            Step::Put(name, body) => put(name, body.new_body()),
            Step::Delete(names) => delete(&names.iter().map(String::as_str).collect::<Vec<_>>()),
            Step::Copy(from, to) => {
                let index = self.objects.get(from).map_or(0, |(index, _)| *index);
                Command::Write(Write::Copy(copy_of(from, Seq { group: SHARD, index }, to)))
            }
            Step::Create(name, id) => create_upload(name, *id),
            Step::Part(name, id, number, body) => put_part(name, *id, *number, body.new_body()),
            Step::Complete(name, id, numbers) => {
                let len = |number| {
                    let body = self.uploads.get(id).and_then(|(_, parts)| parts.get(number));
                    body.map_or(0, |body| body.new_body().len())
                };
                complete(name, *id, &numbers.iter().map(|number| (*number, len(number))).collect::<Vec<_>>())
            }
            Step::Abort(name, id) => abort(name, *id),
            Step::Collect => Command::Collect { before_ms: now_ms },
            Step::Undelete(name, replace) => undelete(name, None, *replace),
            Step::Forget(ago) => Command::Forget { before_ms: now_ms.saturating_sub(*ago) },
            Step::Repeat | Step::Reopen | Step::Move => return None,
        })
    }

    fn list(&self, prefix: &str, delimiter: Option<&str>) -> Vec<String> {
        let mut listed = BTreeSet::new();
        for name in self.objects.keys().filter(|name| name.starts_with(prefix)) {
            let rest = &name[prefix.len()..];
            listed.insert(match delimiter.and_then(|delimiter| Some((rest.find(delimiter)?, delimiter))) {
                Some((at, delimiter)) => format!("{prefix}{}", &rest[..at + delimiter.len()]),
                None => name.clone(),
            });
        }
        listed.into_iter().collect()
    }

    fn check(&self, index: &Index) {
        for (name, (at, bodies)) in &self.objects {
            let object = index.object(BucketId(1), &key(name)).unwrap().unwrap_or_else(|| panic!("{name:?} is there"));
            assert_eq!(object.summary.seq.index, *at);
            assert_eq!(object.summary.size, Self::bytes(bodies));
            assert_eq!(bytes_of(index, &object), Self::text(bodies));
        }
        let bytes = self.objects.values().map(|(_, bodies)| Self::bytes(bodies)).sum();
        let parts = self.uploads.values().flat_map(|(_, parts)| parts.values());
        let part_bytes = parts.map(|body| body.new_body().len()).sum();
        let (objects, uploads) = (self.objects.len() as u64, self.uploads.len() as u64);
        assert_eq!(index.usage(BucketId(1)), Usage { objects, versions: 0, bytes, uploads, part_bytes });
        let blobs: BTreeMap<u128, u64> = index
            .blobs(None, 100)
            .unwrap()
            .into_iter()
            .map(|(id, _)| id.0)
            .map(|id| (id, index.references(BlobId(id)).unwrap()))
            .collect();
        assert_eq!(blobs, self.references());
        let all: Vec<&Body> = self
            .objects
            .values()
            .flat_map(|(_, bodies)| bodies)
            .chain(self.kept.values().flat_map(|(_, bodies)| bodies))
            .chain(self.uploads.values().flat_map(|(_, parts)| parts.values()))
            .collect();
        let inline = all.iter().filter(|body| matches!(body, Body::Inline(text) if !text.is_empty())).count();
        assert_eq!(index.reader().rows().range(Space::Bodies, &[], &[]).count(), inline, "no body is left behind");
        let kept = Kept {
            objects: self.kept.len() as u64,
            bytes: self.kept.values().map(|(_, bodies)| Self::bytes(bodies)).sum(),
        };
        assert_eq!(index.kept(), kept);
        let list = ListDeleted { bucket: BucketId(1), prefix: String::new(), after: None, limit: 1000 };
        let listed = index.reader().deleted(&list).unwrap().deleted;
        let mut listed: Vec<_> = listed.into_iter().map(|gone| (gone.key, gone.seq.index)).collect();
        assert!(listed.is_sorted_by(|a, b| a.0 < b.0 || a.0 == b.0 && a.1 > b.1), "{listed:?}");
        listed.sort();
        assert_eq!(listed, self.kept.keys().cloned().collect::<Vec<_>>());
        assert_eq!(index.reader().unsound().unwrap(), Vec::<String>::new());
        for (prefix, delimiter) in [
            ("", None),
            ("", Some("/")),
            ("a", Some("/")),
            ("a/", Some("/")),
            ("", Some("\0")),
            ("ä", None),
            ("", Some("a/")),
            ("", Some("//")),
        ] {
            let expected = self.list(prefix, delimiter);
            for limit in [1, 2, 3, 1000] {
                assert_eq!(pages(index, prefix, delimiter, limit), expected, "{prefix:?} {delimiter:?} by {limit}");
            }
        }
        for (id, (name, parts)) in &self.uploads {
            let (_, listed, more) = index.list_parts(BucketId(1), &key(name), UploadId(*id), 0, 1000).unwrap().unwrap();
            assert_eq!(
                listed.iter().map(|part| part.number).collect::<Vec<_>>(),
                parts.keys().copied().collect::<Vec<_>>()
            );
            assert!(!more);
        }
        let open: BTreeSet<u128> =
            index.list_uploads(&list_uploads("")).unwrap().uploads.iter().map(|upload| upload.id.0).collect();
        assert_eq!(open, self.uploads.keys().copied().collect());
    }
}

/// A whole listing, page by page.
fn pages(index: &Index, prefix: &str, delimiter: Option<&str>, limit: u32) -> Vec<String> {
    let mut ask = ListObjects { limit, ..list(prefix, delimiter, limit) };
    let mut all = Vec::new();
    loop {
        let page = index.list(&ask).unwrap();
        let mut listed: Vec<(String, bool)> = page.objects.into_iter().map(|(name, _)| (name, false)).collect();
        listed.extend(page.prefixes.into_iter().map(|prefix| (prefix, true)));
        listed.sort();
        assert!(listed.len() <= limit as usize);
        match listed.last().cloned() {
            Some((last, true)) => ask.after = ListFrom::AfterPrefix(last),
            Some((last, false)) => ask.after = ListFrom::After(last),
            None => assert!(!page.more),
        }
        all.extend(listed.into_iter().map(|(name, _)| name));
        if !page.more {
            return all;
        }
    }
}

/// Runs the steps on two members, of which one is reopened and moved on its own; both must agree at the end.
fn run(steps: Vec<Step>, engine: &dyn Fn(Option<Arc<dyn Engine>>) -> Arc<dyn Engine>) {
    let mut model = Model::default();
    let (mut index, mut log) = (shard(engine(None)), Log::default());
    let twin = shard(Arc::new(Memory::new()));
    let mut twin_log = Log::default();
    let mut last: Option<(u128, Command, Outcome)> = None;
    for (indexes, logs) in [(&index, &mut log), (&twin, &mut twin_log)] {
        logs.apply(indexes, 1, Command::InstallBucket(bucket(1)));
    }
    for (number, step) in steps.into_iter().enumerate() {
        let now_ms = 10 + number as u64;
        match step {
            Step::Repeat => {
                let Some((request, command, first)) = last.clone() else { continue };
                assert_eq!(log.request(&index, Some(request), now_ms, command.clone()), first);
                assert_eq!(twin_log.request(&twin, Some(request), now_ms, command), first);
            }
            Step::Reopen => {
                let same = index.0.engine.clone();
                drop(index);
                index = shard(engine(Some(same)));
            }
            Step::Move => {
                let moved = shard(engine(None));
                let mut installer = moved.install();
                index.snapshot().chunks().for_each(|chunk| installer.push(chunk.unwrap()).unwrap());
                assert_eq!(installer.finish().unwrap(), index.applied());
                index = moved;
            }
            step => {
                let command = model.command(&step, now_ms).expect("the other steps are commands");
                let request = 1000 + number as u128;
                let outcome = log.request(&index, Some(request), now_ms, command.clone());
                assert_eq!(twin_log.request(&twin, Some(request), now_ms, command.clone()), outcome);
                assert_eq!(twin_log.effects, log.effects);
                let refused = matches!(outcome, Outcome::Written(WriteOutcome::Refused(_)));
                assert_eq!(!refused, model.follow(&step, log.index, now_ms), "{step:?}: {outcome}");
                last = Some((request, command, outcome));
            }
        }
        assert_eq!(index.applied(), twin.applied());
    }
    model.check(&index);
    model.check(&twin);
    assert_eq!(rows(&index), rows(&twin));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_index_behaves_as_maps_in_memory(steps in steps()) {
        run(steps, &|same| same.unwrap_or_else(|| Arc::new(Memory::new())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_index_behaves_as_maps_on_disk(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let engines = std::cell::Cell::new(0);
        run(steps, &|same| {
            // Reopening is dropping the engine and opening its directory again.
            match same {
                Some(same) => drop(same),
                None => engines.set(engines.get() + 1),
            }
            let place = directory.path().join(engines.get().to_string());
            Arc::new(Lsm::open(&place, LsmOptions::default()).unwrap())
        });
    }
}
