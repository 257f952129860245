//! Object Lock: what the state machine refuses, whoever asks.

use holdfast_wire::configuration::Versioning;
use holdfast_wire::id::VersionId;
use holdfast_wire::lock::{BucketLock, DAY_MS, DefaultRetention, LockMode, ObjectLock, Period, Retention};
use holdfast_wire::object::Attributes;
use holdfast_wire::request::{
    Amend, Amendment, DeleteKey, Deleted, PutObject, Refusal, RenameObject, Write, WriteOutcome,
};

use super::support::*;
use super::*;

const GOVERNANCE: LockMode = LockMode::Governance;
const COMPLIANCE: LockMode = LockMode::Compliance;

struct Locked {
    index: Index,
    log: Log,
}

impl Locked {
    fn new(default: Option<DefaultRetention>) -> Self {
        let mut locked = Self { index: shard(Arc::new(Memory::new())), log: Log::default() };
        let mut home = bucket(1);
        home.configuration.versioning = Versioning::Enabled;
        home.configuration.lock = Some(BucketLock { default });
        locked.log.apply(&locked.index, 1, Command::InstallBucket(home));
        locked
    }

    fn write(&mut self, now_ms: u64, write: Write) -> WriteOutcome {
        match self.log.apply(&self.index, now_ms, Command::Write(write)) {
            Outcome::Written(outcome) => outcome,
            other => panic!("{other}"),
        }
    }

    fn put(&mut self, now_ms: u64, lock: ObjectLock) -> Result<VersionId, Refusal> {
        let attributes = Attributes { lock, ..Attributes::default() };
        match self.write(now_ms, Write::Put(PutObject { attributes, ..put_object("k", inline("body")) })) {
            WriteOutcome::Stored { version, .. } => Ok(version.unwrap()),
            WriteOutcome::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn delete(&mut self, now_ms: u64, version: VersionId, bypass_governance: bool) -> Result<Deleted, Refusal> {
        let keys = vec![DeleteKey { version: Some(version), ..DeleteKey::current(key("k"), Default::default()) }];
        match self.write(now_ms, Write::Delete { bucket: BucketId(1), keys, bypass_governance }) {
            WriteOutcome::Deleted { keys, .. } => keys[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    fn amend(&mut self, now_ms: u64, version: VersionId, change: Amendment) -> Result<(), Refusal> {
        match self
            .write(now_ms, Write::Amend(Amend { bucket: BucketId(1), key: key("k"), version: Some(version), change }))
        {
            WriteOutcome::Stored { .. } => Ok(()),
            WriteOutcome::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }
}

fn until(mode: LockMode, until_ms: u64) -> ObjectLock {
    ObjectLock { retention: Some(Retention { mode, until_ms }), legal_hold: None }
}

fn retention(mode: LockMode, until_ms: u64, bypass_governance: bool) -> Amendment {
    Amendment::Retention { retention: Some(Retention { mode, until_ms }), bypass_governance }
}

#[test]
fn retained_versions_stay_until_their_time() {
    let mut bucket = Locked::new(None);
    let governed = bucket.put(10, until(GOVERNANCE, 100)).unwrap();
    let compliant = bucket.put(11, until(COMPLIANCE, 100)).unwrap();
    for now_ms in [12, 99] {
        assert_eq!(bucket.delete(now_ms, governed, false), Err(Refusal::Locked));
        assert_eq!(bucket.delete(now_ms, compliant, false), Err(Refusal::Locked));
        assert_eq!(bucket.delete(now_ms, compliant, true), Err(Refusal::Locked), "nobody bypasses compliance");
    }
    // Covering it with a marker takes nothing away.
    let covered = bucket.log.apply(&bucket.index, 13, delete(&["k"]));
    assert!(
        matches!(covered, Outcome::Written(WriteOutcome::Deleted { keys, .. }) if keys[0].as_ref().unwrap().marker)
    );
    assert!(bucket.delete(14, governed, true).is_ok());
    assert!(bucket.delete(100, compliant, false).is_ok());
}

#[test]
fn a_legal_hold_has_no_end_and_no_bypass() {
    let mut bucket = Locked::new(None);
    let held = bucket.put(10, ObjectLock { retention: None, legal_hold: Some(true) }).unwrap();
    assert_eq!(bucket.delete(u64::MAX, held, true), Err(Refusal::Locked));
    bucket.amend(12, held, Amendment::LegalHold(false)).unwrap();
    assert!(bucket.delete(13, held, false).is_ok());
}

#[test]
fn new_versions_get_the_buckets_default() {
    let mut bucket = Locked::new(Some(DefaultRetention { mode: COMPLIANCE, period: Period::Days(2) }));
    let by_default = bucket.put(10, ObjectLock::default()).unwrap();
    assert_eq!(bucket.delete(9 + 2 * DAY_MS, by_default, true), Err(Refusal::Locked));
    let own = bucket.put(10, until(GOVERNANCE, 20)).unwrap();
    assert!(bucket.delete(20, own, false).is_ok(), "its own retention counts");
    assert!(bucket.delete(10 + 2 * DAY_MS, by_default, false).is_ok());
}

#[test]
fn retentions_are_made_longer_not_shorter() {
    let mut bucket = Locked::new(None);
    let version = bucket.put(10, until(GOVERNANCE, 100)).unwrap();
    assert_eq!(bucket.amend(11, version, retention(GOVERNANCE, 90, false)), Err(Refusal::Locked));
    bucket.amend(12, version, retention(GOVERNANCE, 200, false)).unwrap();
    bucket.amend(13, version, retention(GOVERNANCE, 90, true)).unwrap();
    assert_eq!(bucket.amend(14, version, retention(COMPLIANCE, 95, false)), Err(Refusal::Locked));
    bucket.amend(14, version, retention(COMPLIANCE, 95, true)).unwrap();
    assert_eq!(bucket.amend(15, version, retention(GOVERNANCE, 500, true)), Err(Refusal::Locked));
    assert_eq!(bucket.amend(15, version, retention(COMPLIANCE, 94, true)), Err(Refusal::Locked));
    let none = Amendment::Retention { retention: None, bypass_governance: true };
    assert_eq!(bucket.amend(15, version, none.clone()), Err(Refusal::Locked));
    assert_eq!(bucket.amend(96, version, retention(COMPLIANCE, 96, true)), Err(Refusal::RetentionPast));
    bucket.amend(96, version, none).unwrap();
}

#[test]
fn without_object_lock_nothing_can_be_locked() {
    let (index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    log.apply(&index, 1, Command::InstallBucket(bucket(1)));
    let mut bucket = Locked { index, log };
    assert_eq!(bucket.put(10, until(GOVERNANCE, 100)), Err(Refusal::NoLock));
    assert_eq!(bucket.put(10, ObjectLock { retention: None, legal_hold: Some(true) }), Err(Refusal::NoLock));
    bucket.log.apply(&bucket.index, 11, put("k", inline("body")));
    assert_eq!(bucket.amend(12, VersionId::Null, Amendment::LegalHold(true)), Err(Refusal::NoLock));
    assert_eq!(bucket.amend(12, VersionId::Null, retention(GOVERNANCE, 99, false)), Err(Refusal::NoLock));
    let mut locked = Locked::new(None);
    assert_eq!(locked.put(10, until(GOVERNANCE, 10)), Err(Refusal::RetentionPast));
}

/// What protects a version is its own: neither its copies nor what it is renamed to inherit it.
#[test]
fn copies_and_renames_are_as_free_as_new_versions() {
    let mut locked = Locked::new(None);
    let hold = ObjectLock { retention: None, legal_hold: Some(true) };
    locked.put(10, hold).unwrap();
    let lock = |locked: &Locked, name: &str| locked.index.object(BucketId(1), &key(name)).unwrap().unwrap().detail.lock;
    assert_eq!(lock(&locked, "k"), hold);
    let copy = copy_object(&locked.index, "k", "copy");
    locked.write(20, Write::Copy(copy));
    assert_eq!(lock(&locked, "copy"), ObjectLock::default());
    let rename = RenameObject {
        bucket: BucketId(1),
        key: key("renamed"),
        condition: Default::default(),
        from_key: key("k"),
        from_condition: Default::default(),
    };
    locked.write(30, Write::Rename(rename));
    assert_eq!(lock(&locked, "renamed"), ObjectLock::default());
}

#[test]
fn an_upload_keeps_the_lock_that_it_was_begun_with() {
    let mut locked = Locked::new(None);
    let lock = until(COMPLIANCE, 5000);
    for (id, completed_ms) in [(7, 100), (8, 9000)] {
        let Command::Write(Write::CreateUpload { bucket, mut upload }) = create_upload("k", id) else { unreachable!() };
        upload.attributes.lock = lock;
        locked.write(10, Write::CreateUpload { bucket, upload });
        locked.log.apply(&locked.index, 20, put_part("k", id, 1, inline("body")));
        locked.log.apply(&locked.index, completed_ms, complete("k", id, &[(1, 4)]));
        let object = locked.index.object(BucketId(1), &key("k")).unwrap().unwrap();
        assert_eq!(object.detail.lock, lock, "completed at {completed_ms}");
    }
}
