//! Object Lock: judged here, at the entry's place in the log and with its time, so that no path gets round it.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::lock::{ObjectLock, Retention};
use holdfast_wire::object::Object;
use holdfast_wire::request::Refusal;

/// What protects a new version: what the write asks for, or the bucket's default.
pub fn of_new(bucket: &Bucket, asked: ObjectLock, now_ms: u64) -> Result<ObjectLock, Refusal> {
    let Some(lock) = bucket.configuration.lock else {
        return if asked == ObjectLock::default() { Ok(asked) } else { Err(Refusal::NoLock) };
    };
    if let Some(retention) = asked.retention {
        in_future(retention, now_ms)?;
        return Ok(asked);
    }
    let retention =
        lock.default.map(|default| Retention { mode: default.mode, until_ms: now_ms + default.period.ms() });
    Ok(ObjectLock { retention, ..asked })
}

/// Whether a version may go for good.
pub fn may_go(object: &Object, now_ms: u64, bypass: bool) -> Result<(), Refusal> {
    if object.detail.lock.holds(now_ms, bypass) { Err(Refusal::Locked) } else { Ok(()) }
}

/// The protection with another retention.
pub fn with_retention(
    bucket: &Bucket,
    lock: ObjectLock,
    retention: Option<Retention>,
    now_ms: u64,
    bypass: bool,
) -> Result<ObjectLock, Refusal> {
    exists(bucket)?;
    if let Some(retention) = retention {
        in_future(retention, now_ms)?;
    }
    match lock.may_become(retention, now_ms, bypass) {
        true => Ok(ObjectLock { retention, ..lock }),
        false => Err(Refusal::Locked),
    }
}

/// The protection with the legal hold set or taken back.
pub fn with_hold(bucket: &Bucket, lock: ObjectLock, legal_hold: bool) -> Result<ObjectLock, Refusal> {
    exists(bucket)?;
    Ok(ObjectLock { legal_hold: Some(legal_hold), ..lock })
}

fn exists(bucket: &Bucket) -> Result<(), Refusal> {
    if bucket.configuration.lock.is_some() { Ok(()) } else { Err(Refusal::NoLock) }
}

fn in_future(retention: Retention, now_ms: u64) -> Result<(), Refusal> {
    if retention.until_ms > now_ms { Ok(()) } else { Err(Refusal::RetentionPast) }
}
