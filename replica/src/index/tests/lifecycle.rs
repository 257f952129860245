//! Lifecycle rules: what goes when its time has come, and what does not.

use holdfast_wire::bucket::BucketState;
use holdfast_wire::configuration::Versioning;
use holdfast_wire::id::VersionId;
use holdfast_wire::lifecycle::{Expiration, Filter, Lifecycle, Noncurrent, Rule};
use holdfast_wire::lock::{BucketLock, DAY_MS, LockMode, ObjectLock, Retention};
use holdfast_wire::object::Attributes;
use holdfast_wire::request::{Amend, Amendment, PutObject, Write};

use super::command::Expired;
use super::support::*;
use super::*;

const DAY: u64 = 1000;

struct Shard {
    index: Index,
    log: Log,
    home: Bucket,
}

fn rule(prefix: &str) -> Rule {
    let filter = Filter { prefix: prefix.to_owned(), ..Filter::default() };
    Rule { id: prefix.to_owned(), enabled: true, filter, ..Rule::default() }
}

fn after_days(prefix: &str, days: u32) -> Rule {
    Rule { expiration: Some(Expiration::Days(days)), ..rule(prefix) }
}

fn noncurrent(prefix: &str, days: u32, newer: u32) -> Rule {
    Rule { noncurrent: Some(Noncurrent { days, newer }), ..rule(prefix) }
}

impl Shard {
    fn new(versioning: Versioning) -> Self {
        let mut home = bucket(1);
        home.configuration.versioning = versioning;
        let mut shard = Self { index: shard(Arc::new(Memory::new())), log: Log::default(), home };
        shard.install(1);
        shard
    }

    fn install(&mut self, now_ms: u64) {
        self.home.revision += 1;
        self.log.apply(&self.index, now_ms, Command::InstallBucket(self.home.clone()));
    }

    /// Sets rules and lets them see what is there, three rows at a time.
    fn rules(&mut self, now_ms: u64, rules: Vec<Rule>) {
        self.home.configuration.lifecycle = Some(Lifecycle { rules, day_ms: DAY });
        self.install(now_ms);
        while let Some(bucket) = self.index.reader().unindexed().unwrap() {
            self.log.apply(&self.index, now_ms, Command::Reindex { bucket, limit: 3 });
        }
    }

    fn put(&mut self, now_ms: u64, name: &str) {
        self.log.apply(&self.index, now_ms, put(name, inline("body")));
    }

    fn delete(&mut self, now_ms: u64, name: &str) {
        self.log.apply(&self.index, now_ms, delete(&[name]));
    }

    /// All that is due by then, two rows at a time.
    fn expire(&mut self, now_ms: u64) -> (u32, u32, u32, u32) {
        let mut all = (0, 0, 0, 0);
        while self.index.reader().is_due(now_ms).unwrap() {
            let Outcome::Expired(Expired { objects, versions, markers, uploads, .. }) =
                self.log.apply(&self.index, now_ms, Command::Expire { limit: 2 })
            else {
                panic!("expiry answers what expired")
            };
            all = (all.0 + objects, all.1 + versions, all.2 + markers, all.3 + uploads);
        }
        all
    }

    /// Keys with `+` for each version and `-` for each marker, newest first.
    fn held(&self) -> Vec<String> {
        let mut held: Vec<String> = Vec::new();
        for version in self.index.list_versions(&list_versions()).unwrap().versions {
            let sign = if version.summary.marker { '-' } else { '+' };
            match held.last_mut() {
                Some(last) if !version.latest => last.push(sign),
                _ => held.push(format!("{}{sign}", version.key)),
            }
        }
        held
    }
}

#[test]
fn objects_go_when_their_days_are_over_whether_rules_or_they_came_first() {
    let mut shard = Shard::new(Versioning::Off);
    for name in ["a/1", "a/2", "b", "c/1"] {
        shard.put(10, name);
    }
    shard.rules(20, vec![after_days("a/", 2), after_days("c/", 5)]);
    shard.put(500, "a/3");
    shard.put(2500, "a/1");
    assert_eq!(shard.expire(2999), (0, 0, 0, 0));
    assert_eq!(shard.expire(3000), (2, 0, 0, 0));
    assert_eq!(shard.held(), ["a/1+", "b+", "c/1+"], "what was written again has its time anew");
    // Other rules: what is due by the old ones only stays.
    shard.rules(3100, vec![after_days("c/", 8)]);
    assert_eq!(shard.expire(6000), (0, 0, 0, 0));
    assert_eq!(shard.expire(9000), (1, 0, 0, 0));
    assert_eq!(shard.held(), ["a/1+", "b+"]);
}

/// A page of rules seeing what is there is followed by the next, in every table.
#[test]
fn rules_see_all_that_is_there_however_much_it_is() {
    for versioning in [Versioning::Off, Versioning::Enabled] {
        let mut shard = Shard::new(versioning);
        for at in 0..10 {
            shard.put(10, &format!("k{at}"));
            shard.log.apply(&shard.index, 10, create_upload(&format!("u{at}"), at));
        }
        if versioning == Versioning::Enabled {
            (0..10).for_each(|at| shard.put(11, &format!("k{at}")));
        }
        shard.rules(20, vec![Rule { abort_uploads: Some(1), ..noncurrent("", 1, 0) }, after_days("", 2)]);
        let versions = if versioning == Versioning::Enabled { 10 } else { 0 };
        assert_eq!(shard.expire(2000), (0, versions, 0, 10));
        assert_eq!(shard.expire(3000), (10, 0, 0, 0));
    }
}

#[test]
fn an_expiry_tells_whether_more_is_due() {
    let mut shard = Shard::new(Versioning::Off);
    shard.rules(1, vec![after_days("", 1)]);
    for name in ["a", "b", "c"] {
        shard.put(10, name);
    }
    let mut expire = || match shard.log.apply(&shard.index, 2000, Command::Expire { limit: 2 }) {
        Outcome::Expired(Expired { objects, more, .. }) => (objects, more),
        other => panic!("{other}"),
    };
    assert_eq!((expire(), expire()), ((2, true), (1, false)));
}

#[test]
fn a_marker_that_was_overtaken_is_a_version_that_is_not_current() {
    let mut shard = Shard::new(Versioning::Enabled);
    shard.rules(1, vec![noncurrent("", 1, 0)]);
    shard.put(10, "k");
    shard.delete(20, "k");
    shard.put(500, "k");
    assert_eq!(shard.held(), ["k+-+"]);
    assert_eq!(shard.expire(2000), (0, 2, 0, 0));
    assert_eq!(shard.held(), ["k+"]);
}

/// What is found before its time is looked at again, not forgotten and not let go of.
#[test]
fn rules_that_give_more_time_are_waited_for() {
    let mut shard = Shard::new(Versioning::Enabled);
    let rules = |days| {
        let upload = Rule { abort_uploads: Some(days), ..rule("up") };
        let markers = Rule { expired_markers: false, ..after_days("m", days) };
        vec![upload, markers, after_days("k", days), noncurrent("v", days, 0)]
    };
    shard.rules(1, rules(1));
    shard.log.apply(&shard.index, 10, create_upload("up", 1));
    shard.delete(10, "m");
    shard.put(10, "k");
    shard.put(10, "v");
    shard.put(11, "v");
    shard.rules(20, rules(5));
    let held = shard.held();
    assert_eq!(shard.expire(2000), (0, 0, 0, 0));
    assert_eq!(shard.held(), held);
    assert_eq!(shard.expire(5999), (0, 0, 0, 0));
    let (objects, versions, markers, uploads) = shard.expire(6000);
    assert_eq!((objects, versions, uploads), (1, 1, 1));
    assert_eq!(markers, 1, "a marker over nothing has the days of an object");
}

#[test]
fn a_bucket_that_is_being_deleted_is_looked_at_again_a_minute_later() {
    let mut shard = Shard::new(Versioning::Off);
    shard.rules(1, vec![after_days("", 1)]);
    shard.put(10, "a");
    shard.home.state = BucketState::Deleting;
    shard.install(20);
    shard.log.apply(&shard.index, 2000, Command::Expire { limit: 9 });
    assert_eq!(shard.held(), ["a+"]);
    let due = |now_ms| shard.index.reader().is_due(now_ms).unwrap();
    assert_eq!((due(61_999), due(62_000)), (false, true));
}

#[test]
fn tags_decide_when_it_comes_to_it() {
    let mut shard = Shard::new(Versioning::Off);
    let tag = || ("fate".to_owned(), "gone".to_owned());
    let filter = Filter { tags: vec![tag()], ..Filter::default() };
    shard.rules(1, vec![Rule { filter, ..after_days("", 1) }]);
    for name in ["a", "b"] {
        shard.put(10, name);
        let change = Amendment::Tags(vec![tag()]);
        let amend = Amend { bucket: BucketId(1), key: key(name), version: None, change };
        shard.log.apply(&shard.index, 20, Command::Write(Write::Amend(amend)));
    }
    let amend = Amend { bucket: BucketId(1), key: key("b"), version: None, change: Amendment::Tags(vec![]) };
    shard.log.apply(&shard.index, 30, Command::Write(Write::Amend(amend)));
    assert_eq!(shard.expire(2000), (1, 0, 0, 0));
    assert_eq!(shard.held(), ["b+"]);
}

#[test]
fn versions_go_after_being_replaced_but_for_the_newest_that_are_kept() {
    let mut shard = Shard::new(Versioning::Enabled);
    shard.rules(1, vec![noncurrent("all", 1, 0), noncurrent("kept", 1, 2)]);
    for name in ["all", "kept", "other"] {
        for at in 0..4 {
            shard.put(10 + at, name);
        }
    }
    assert_eq!(shard.expire(1999), (0, 0, 0, 0));
    assert_eq!(shard.expire(2000), (0, 4, 0, 0));
    assert_eq!(shard.held(), ["all+", "kept+++", "other++++"]);
    shard.put(2100, "kept");
    assert_eq!(shard.held()[1], "kept++++");
    assert_eq!(shard.expire(2101), (0, 1, 0, 0), "one more is newer, and its days were over");
    assert_eq!(shard.held()[1], "kept+++");
    assert_eq!(shard.index.usage(BucketId(1)).versions, 2 + 3);
}

#[test]
fn expired_objects_are_covered_and_markers_go_when_nothing_is_left() {
    let mut shard = Shard::new(Versioning::Enabled);
    let markers = Rule { expired_markers: true, ..noncurrent("", 1, 0) };
    shard.rules(1, vec![after_days("old", 1), markers]);
    shard.put(10, "old");
    shard.put(10, "new");
    shard.delete(20, "deleted before");
    assert_eq!(shard.expire(100), (0, 0, 1, 0), "a marker over nothing goes at once");
    assert_eq!(shard.expire(2000), (1, 0, 0, 0));
    assert_eq!(shard.held(), ["new+", "old-+"]);
    assert_eq!(shard.expire(4000), (0, 1, 1, 0));
    assert_eq!(shard.held(), ["new+"]);
}

#[test]
fn locked_versions_wait_until_they_may_go() {
    let mut shard = Shard::new(Versioning::Enabled);
    shard.home.configuration.lock = Some(BucketLock::default());
    shard.rules(1, vec![noncurrent("", 1, 0)]);
    let retention = Some(Retention { mode: LockMode::Governance, until_ms: 5500 });
    let attributes = Attributes { lock: ObjectLock { retention, legal_hold: None }, ..Attributes::default() };
    let locked = PutObject { attributes, ..put_object("k", inline("body")) };
    shard.log.apply(&shard.index, 10, Command::Write(Write::Put(locked)));
    shard.put(20, "k");
    assert_eq!(shard.expire(5499), (0, 0, 0, 0));
    assert_eq!(shard.held(), ["k++"]);
    assert_eq!(shard.expire(5500), (0, 1, 0, 0));
    let hold = |shard: &mut Shard, now_ms, version, hold| {
        let change = Amendment::LegalHold(hold);
        let amend = Amend { bucket: BucketId(1), key: key("k"), version: Some(version), change };
        shard.log.apply(&shard.index, now_ms, Command::Write(Write::Amend(amend)));
    };
    let seq = shard.index.object(BucketId(1), &key("k")).unwrap().unwrap().summary.seq;
    hold(&mut shard, 5600, VersionId::Of(seq), true);
    shard.put(5700, "k");
    assert_eq!(shard.expire(50_000), (0, 0, 0, 0));
    let due = |now_ms| shard.index.reader().is_due(now_ms).unwrap();
    assert_eq!((due(50_000 + DAY_MS - 1), due(50_000 + DAY_MS)), (false, true), "looked at again a day later");
    assert_eq!(shard.held(), ["k++"]);
}

#[test]
fn uploads_go_with_their_parts() {
    let mut shard = Shard::new(Versioning::Off);
    shard.log.apply(&shard.index, 10, create_upload("up/a", 1));
    shard.log.apply(&shard.index, 10, put_part("up/a", 1, 1, blob(7, 100)));
    shard.rules(20, vec![Rule { abort_uploads: Some(1), ..rule("up/") }]);
    shard.log.apply(&shard.index, 30, create_upload("up/b", 2));
    shard.log.apply(&shard.index, 30, create_upload("other", 3));
    shard.log.apply(&shard.index, 40, abort("up/b", 2));
    assert_eq!(shard.expire(1999), (0, 0, 0, 0));
    assert_eq!(shard.expire(2000), (0, 0, 0, 1));
    let open = shard.index.list_uploads(&list_uploads("")).unwrap().uploads;
    assert_eq!(open.len(), 1);
    assert_eq!(shard.index.references(BlobId(7)).unwrap(), 0);
}

#[test]
fn no_rows_are_left_of_what_went_otherwise() {
    let mut shard = Shard::new(Versioning::Enabled);
    shard.rules(
        1,
        vec![Rule { abort_uploads: Some(9), expired_markers: true, ..noncurrent("", 9, 3) }, after_days("", 9)],
    );
    for at in 0..5 {
        shard.put(10 + at, "k");
    }
    shard.delete(20, "k");
    shard.log.apply(&shard.index, 30, create_upload("k", 1));
    shard.log.apply(&shard.index, 31, abort("k", 1));
    let keys = shard.index.list_versions(&list_versions()).unwrap().versions.into_iter().map(|version| {
        let summary = version.summary;
        let key = key(&version.key);
        holdfast_wire::request::DeleteKey { key, version: Some(summary.version()), condition: Default::default() }
    });
    let keys = keys.collect();
    let all = Write::Delete { bucket: BucketId(1), keys, bypass_governance: false };
    shard.log.apply(&shard.index, 40, Command::Write(all));
    assert!(shard.held().is_empty());
    // Nothing but the marker's, which was due when it was made.
    assert_eq!(shard.expire(41), (0, 0, 0, 0));
    assert!(!shard.index.reader().is_due(u64::MAX - 1).unwrap());
}
