//! Versions against a plain model: puts, copies, renames, deletes with and without version ids, while versioning is off,
//! enabled and suspended; blob references, counters, reads and listings.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_wire::bucket::BucketState;
use holdfast_wire::condition::WriteCondition;
use holdfast_wire::configuration::Versioning;
use holdfast_wire::id::{Seq, VersionId};
use holdfast_wire::request::{
    Amend, Amendment, CopyObject, DeleteKey, GetObject, ListVersions, NotRead, RangeSpec, Refusal, RenameObject, Write,
    WriteOutcome,
};
use proptest::prelude::*;

use super::support::*;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, Option<u128>),
    Copy(&'static str, usize, &'static str),
    Rename(&'static str, &'static str),
    /// Keys, each with a pick of its versions or none.
    Delete(Vec<(&'static str, Option<usize>)>),
    DeleteNull(&'static str),
    Tag(&'static str, usize),
    Versioning(bool),
    Move,
}

fn keys() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("a/b"), Just("a\0"), Just("a/c/d"), Just("ä")]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (keys(), proptest::option::of(1..5u128)).prop_map(|(key, blob)| Step::Put(key, blob)),
        3 => (keys(), 0..4usize, keys()).prop_map(|(from, pick, to)| Step::Copy(from, pick, to)),
        2 => (keys(), keys()).prop_map(|(from, to)| Step::Rename(from, to)),
        6 => proptest::collection::vec((keys(), proptest::option::of(0..4usize)), 1..4).prop_map(Step::Delete),
        2 => keys().prop_map(Step::DeleteNull),
        2 => (keys(), 0..4usize).prop_map(|(key, pick)| Step::Tag(key, pick)),
        2 => any::<bool>().prop_map(Step::Versioning),
        1 => Just(Step::Move),
    ];
    proptest::collection::vec(step, 1..50)
}

/// A version, oldest first in its key's list.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    index: u64,
    null: bool,
    /// `None`: a delete marker.
    body: Option<Body>,
    tagged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    Inline,
    Blob(u128),
}

impl Version {
    fn id(&self) -> VersionId {
        if self.null { VersionId::Null } else { VersionId::Of(Seq { group: SHARD, index: self.index }) }
    }

    fn len(&self) -> u64 {
        match self.body {
            None => 0,
            Some(Body::Inline) => 4,
            Some(Body::Blob(id)) => 1000 + id as u64,
        }
    }
}

#[derive(Default)]
struct Model {
    versioning: Versioning,
    keys: BTreeMap<&'static str, Vec<Version>>,
}

impl Model {
    fn current(&self, key: &str) -> Option<&Version> {
        self.keys.get(key).and_then(|all| all.last()).filter(|newest| newest.body.is_some())
    }

    fn picked(&self, key: &str, pick: usize) -> Option<&Version> {
        let all = self.keys.get(key)?;
        all.get(pick % all.len().max(1))
    }

    fn push(&mut self, key: &'static str, index: u64, body: Option<Body>) {
        let all = self.keys.entry(key).or_default();
        let null = self.versioning != Versioning::Enabled;
        match self.versioning {
            Versioning::Off => all.clear(),
            Versioning::Suspended => all.retain(|version| !version.null),
            Versioning::Enabled => {}
        }
        if body.is_some() || self.versioning != Versioning::Off {
            all.push(Version { index, null, body, tagged: false });
        }
    }

    fn remove(&mut self, key: &str, id: VersionId) {
        if let Some(all) = self.keys.get_mut(key) {
            all.retain(|version| version.id() != id);
        }
    }

    fn check(&self, index: &Index) {
        let all = || self.keys.values().flatten();
        let objects = self.keys.keys().filter(|key| self.current(key).is_some()).count() as u64;
        let usage = Usage {
            objects,
            versions: all().count() as u64 - objects,
            bytes: all().map(Version::len).sum(),
            ..Usage::default()
        };
        assert_eq!(index.usage(BucketId(1)), usage);
        let mut references = BTreeMap::<u128, u64>::new();
        all().for_each(|version| {
            if let Some(Body::Blob(id)) = version.body {
                *references.entry(id).or_default() += 1;
            }
        });
        let counted: BTreeMap<u128, u64> =
            index.blobs(None, 100).unwrap().into_iter().map(|(id, _)| (id.0, index.references(id).unwrap())).collect();
        assert_eq!(counted, references);
        let inline = all().filter(|version| version.body == Some(Body::Inline)).count();
        assert_eq!(index.reader().rows().range(Space::Bodies, &[], &[]).count(), inline);
        for (name, versions) in &self.keys {
            self.check_key(index, name, versions);
        }
        for (prefix, delimiter) in [("", None), ("", Some("/")), ("a/", Some("/")), ("a", None), ("a", Some("\0"))] {
            let expected = self.listed(prefix, delimiter);
            for limit in [1, 2, 3, 1000] {
                assert_eq!(pages(index, prefix, delimiter, limit), expected, "{prefix:?} {delimiter:?} by {limit}");
            }
        }
        let current: Vec<String> =
            self.keys.keys().filter(|key| self.current(key).is_some()).map(|key| (*key).to_owned()).collect();
        let listed = index.list(&list("", None, 1000)).unwrap().objects;
        assert_eq!(listed.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), current);
    }

    fn check_key(&self, index: &Index, name: &str, versions: &[Version]) {
        let read = |version| index.reader().find(&get(name, version)).unwrap();
        match (self.current(name), versions.last()) {
            (Some(current), _) => assert_eq!(read(None).unwrap().summary.seq.index, current.index),
            (None, Some(marker)) => match read(None) {
                Err(NotRead::DeleteMarker { summary, named: false }) => {
                    assert_eq!((summary.seq.index, summary.version()), (marker.index, marker.id()));
                }
                other => panic!("{name:?}: {other:?}"),
            },
            (None, None) => assert_eq!(read(None), Err(NotRead::NoSuchKey)),
        }
        for version in versions {
            match read(Some(version.id())) {
                Ok(object) => {
                    assert_eq!((object.summary.seq.index, object.summary.size), (version.index, version.len()));
                    assert!(version.body.is_some());
                    assert_eq!(!object.detail.tags.is_empty(), version.tagged);
                    let newest = versions.last() == Some(version);
                    assert_eq!(object.detail.noncurrent_ms.is_none(), newest, "since when it is behind");
                    let of_seq = GetObject { seq: Some(object.summary.seq), ..get(name, None) };
                    assert_eq!(index.reader().find(&of_seq).unwrap().as_ref(), Ok(&object));
                }
                Err(NotRead::DeleteMarker { named: true, .. }) => assert!(version.body.is_none()),
                other => panic!("{name:?} {version:?}: {other:?}"),
            }
        }
        let nobody = VersionId::Of(Seq { group: SHARD, index: 1 << 40 });
        assert_eq!(read(Some(nobody)), Err(NotRead::NoSuchVersion));
    }

    /// Key, version id, whether the newest; or a common prefix.
    fn listed(&self, prefix: &str, delimiter: Option<&str>) -> Vec<Shown> {
        let mut listed = Vec::new();
        let mut commons = BTreeSet::new();
        for (name, versions) in self.keys.iter().filter(|(name, _)| name.starts_with(prefix)) {
            let rest = &name[prefix.len()..];
            if let Some(delimiter) = delimiter
                && let Some(at) = rest.find(delimiter)
            {
                let common = format!("{prefix}{}", &rest[..at + delimiter.len()]);
                if !versions.is_empty() && commons.insert(common.clone()) {
                    listed.push((common, None));
                }
                continue;
            }
            let newest = versions.len();
            let shown = versions.iter().enumerate().rev();
            listed.extend(shown.map(|(at, version)| ((*name).to_owned(), Some((version.id(), at + 1 == newest)))));
        }
        listed
    }
}

type Shown = (String, Option<(VersionId, bool)>);

fn get(name: &str, version: Option<VersionId>) -> GetObject {
    GetObject {
        bucket: BucketId(1),
        key: key(name),
        head: true,
        range: RangeSpec::All,
        condition: Default::default(),
        version,
        seq: None,
    }
}

/// A whole listing, page by page.
fn pages(index: &Index, prefix: &str, delimiter: Option<&str>, limit: u32) -> Vec<Shown> {
    let mut ask = ListVersions {
        bucket: BucketId(1),
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        after: ListFrom::Start,
        after_version: None,
        limit,
    };
    let mut all = Vec::new();
    loop {
        let page = index.list_versions(&ask).unwrap();
        let versions = page.versions.iter().map(|v| (v.key.clone(), Some((v.summary.version(), v.latest))));
        let mut listed: Vec<Shown> = versions.collect();
        for common in &page.prefixes {
            let at = listed.partition_point(|(text, _)| text < common);
            listed.insert(at, (common.clone(), None));
        }
        assert!(listed.len() <= limit as usize);
        match listed.last().cloned() {
            Some((common, None)) => (ask.after, ask.after_version) = (ListFrom::AfterPrefix(common), None),
            Some((key, Some((id, _)))) => (ask.after, ask.after_version) = (ListFrom::After(key), Some(id)),
            None => assert!(!page.more),
        }
        all.extend(listed);
        if !page.more {
            return all;
        }
    }
}

fn put_command(name: &str, body: Option<u128>) -> (Command, Body) {
    match body {
        Some(id) => (put(name, blob(id, 1000 + id as u64)), Body::Blob(id)),
        None => (put(name, inline("body")), Body::Inline),
    }
}

fn run(steps: Vec<Step>) {
    let mut model = Model::default();
    let (mut index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    let mut home = bucket(1);
    log.apply(&index, 1, Command::InstallBucket(home.clone()));
    for (number, step) in steps.into_iter().enumerate() {
        let now_ms = 10 + number as u64;
        let mut write = |write| match log.apply(&index, now_ms, Command::Write(write)) {
            Outcome::Written(outcome) => (outcome, log.index),
            other => panic!("{other}"),
        };
        match step {
            Step::Put(name, body) => {
                let (Command::Write(put), body) = put_command(name, body) else { panic!("a put is a write") };
                let (outcome, at) = write(put);
                model.push(name, at, Some(body));
                let WriteOutcome::Stored { version, .. } = outcome else { panic!("{outcome:?}") };
                let made = model.current(name).expect("just put").id();
                assert_eq!(version, (model.versioning != Versioning::Off).then_some(made));
            }
            Step::Copy(from, pick, to) => {
                let picked = model.picked(from, pick).cloned();
                let source = picked.clone().unwrap_or(Version { index: 0, null: true, body: None, tagged: false });
                let copy = copy_of(from, Seq { group: SHARD, index: source.index }, to);
                let (outcome, at) = write(Write::Copy(CopyObject { from_version: Some(source.id()), ..copy }));
                match picked.and_then(|source| source.body) {
                    Some(body) => {
                        assert!(matches!(outcome, WriteOutcome::Stored { .. }), "{outcome:?}");
                        model.push(to, at, Some(body));
                    }
                    None => assert!(matches!(outcome, WriteOutcome::Refused(_)), "{outcome:?}"),
                }
            }
            Step::Rename(from, to) => {
                let rename = RenameObject {
                    bucket: BucketId(1),
                    key: key(to),
                    from_key: key(from),
                    condition: Default::default(),
                    from_condition: Default::default(),
                };
                let (outcome, at) = write(Write::Rename(rename));
                match model.current(from).cloned() {
                    Some(source) if from != to => {
                        model.push(to, at, source.body);
                        model.keys.get_mut(to).and_then(|all| all.last_mut()).expect("just put").tagged = source.tagged;
                        model.push(from, at, None);
                    }
                    Some(_) => assert_eq!(outcome, WriteOutcome::Refused(Refusal::SameKey)),
                    None => assert_eq!(outcome, WriteOutcome::Refused(Refusal::NoSuchKey)),
                }
            }
            Step::Delete(named) => {
                let named: Vec<_> = named
                    .into_iter()
                    .map(|(name, pick)| {
                        (name, pick.and_then(|pick| model.picked(name, pick)).map(Version::id), pick.is_some())
                    })
                    .filter(|(_, id, picks)| id.is_some() == *picks)
                    .map(|(name, id, _)| (name, id))
                    .collect();
                let of = |(name, version): &(&str, Option<VersionId>)| DeleteKey {
                    key: key(name),
                    version: *version,
                    condition: WriteCondition::default(),
                };
                let keys = named.iter().map(of).collect();
                let (outcome, at) = write(Write::Delete { bucket: BucketId(1), keys, bypass_governance: false });
                let WriteOutcome::Deleted { keys, .. } = outcome else { panic!("{outcome:?}") };
                for ((name, id), answer) in named.into_iter().zip(keys) {
                    let answer = answer.unwrap();
                    match id {
                        Some(id) => {
                            model.remove(name, id);
                            assert_eq!(answer.version, Some(id));
                        }
                        None if model
                            .keys
                            .get(name)
                            .and_then(|all| all.last())
                            .is_some_and(|newest| newest.index == at && newest.body.is_none()) => {}
                        None => {
                            model.push(name, at, None);
                            assert_eq!(answer.marker, model.versioning != Versioning::Off);
                        }
                    }
                }
            }
            Step::DeleteNull(name) => {
                let keys = vec![DeleteKey {
                    version: Some(VersionId::Null),
                    ..DeleteKey::current(key(name), Default::default())
                }];
                write(Write::Delete { bucket: BucketId(1), keys, bypass_governance: false });
                model.remove(name, VersionId::Null);
            }
            Step::Tag(name, pick) => {
                let Some(picked) = model.picked(name, pick).cloned() else { continue };
                let change = Amendment::Tags(vec![("t".to_owned(), "v".to_owned())]);
                let amend = Amend { bucket: BucketId(1), key: key(name), version: Some(picked.id()), change };
                let (outcome, _) = write(Write::Amend(amend));
                if picked.body.is_none() {
                    assert_eq!(outcome, WriteOutcome::Refused(Refusal::IsMarker));
                    continue;
                }
                let all = model.keys.get_mut(name).expect("picked from it");
                all.iter_mut().filter(|version| version.id() == picked.id()).for_each(|version| version.tagged = true);
            }
            Step::Versioning(on) => {
                model.versioning = if on { Versioning::Enabled } else { Versioning::Suspended };
                home.revision += 1;
                home.configuration.versioning = model.versioning;
                log.apply(&index, now_ms, Command::InstallBucket(home.clone()));
            }
            Step::Move => {
                let moved = shard(Arc::new(Memory::new()));
                let mut installer = moved.install();
                index.snapshot().chunks().for_each(|chunk| installer.push(chunk.unwrap()).unwrap());
                assert_eq!(installer.finish().unwrap(), index.applied());
                index = moved;
            }
        }
        // What went for good is not kept any longer: the model knows nothing of it.
        log.apply(&index, now_ms, forget());
        model.check(&index);
        assert_eq!(index.reader().unsound().unwrap(), Vec::<String>::new());
    }
    // Versions and markers keep a bucket from being removed, and nothing is left when they are gone.
    home.revision += 1;
    home.state = BucketState::Deleting;
    let empty = model.keys.values().all(Vec::is_empty);
    assert_eq!(log.apply(&index, 1000, Command::InstallBucket(home)), Outcome::BucketInstalled { empty });
    let removed = log.apply(&index, 1001, Command::RemoveBucket { bucket: BucketId(1) });
    assert_eq!(removed, Outcome::BucketInstalled { empty });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn versions_behave_as_lists_in_memory(steps in steps()) {
        run(steps);
    }
}
