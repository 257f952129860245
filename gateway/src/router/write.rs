//! Writes of keys.

use std::sync::Arc;

use futures::future::join_all;
use holdfast_wire::bucket::{AckMode, Bucket};
use holdfast_wire::id::{BucketId, GroupId, ObjectKey, RequestId};
use holdfast_wire::object::NewBody;
use holdfast_wire::placement;
use holdfast_wire::request::{DeleteKey, Deleted, Refusal, Request, Response, Write, WriteOutcome, WriteRequest};
use tokio::time::Instant;

use super::core::Core;
use super::lead::{ATTEMPT_MIN, Lead};
use super::metrics::Cause;
use super::retry::Backoff;
use super::{Modes, RouteError, Router, Written};
use crate::membership::View;

/// How often a bucket that a shard does not know is looked up again for one write.
const RESOLVE_MAX: u32 = 3;
/// Keys in one delete.
const DELETE_MAX: usize = 1000;

/// The shard of a point of the hash space.
pub(super) fn shard_of(view: &View, point: u64) -> Option<GroupId> {
    view.layout().map.shard_of(point).map(|place| place.group)
}

/// The point at which a key lives.
pub(super) fn point_of(bucket: &Bucket, key: &ObjectKey) -> u64 {
    placement::hash(bucket.id, bucket.placement, key)
}

/// What one request id came to.
struct Outcome {
    outcome: WriteOutcome,
    ack: AckMode,
    group: GroupId,
    /// An earlier attempt under this id had no answer.
    repeated: bool,
}

impl Core {
    /// One request id, from the first attempt to an answer.
    async fn commit(
        &self,
        point: u64,
        ack: Option<AckMode>,
        (request, write): (RequestId, &Write),
        deadline: Instant,
    ) -> Result<Outcome, RouteError> {
        let lead = Lead {
            group: &|view| shard_of(view, point),
            request: &|group, deadline_ms| {
                Request::Write(WriteRequest { group, request, ack, deadline_ms, write: write.clone() })
            },
            attempt: self.options.attempt,
            deadline,
        };
        let led = self.lead(lead).await?;
        match led.response {
            Response::Written { outcome, ack } => {
                Ok(Outcome { outcome, ack, group: led.group, repeated: led.repeated })
            }
            other => Err(self.nonsense(&other)),
        }
    }

    /// `once`: the identity that the client gave its request.
    pub async fn write(
        self: &Arc<Self>,
        once: Option<RequestId>,
        bucket: &Bucket,
        key: &ObjectKey,
        modes: Modes,
        mut write: Write,
        deadline: Instant,
    ) -> Result<Written, RouteError> {
        let mut backoff = Backoff::new();
        let mut newer: Option<Arc<Bucket>> = None;
        let mut resolved = 0;
        let mut tries = 0;
        loop {
            let bucket = newer.as_deref().unwrap_or(bucket);
            // A new id every time: what was refused stays refused under its own.
            let request = once.map_or_else(|| self.request_id(), |once| RequestId(once.0.wrapping_add(tries)));
            tries += 1;
            let done = self.commit(point_of(bucket, key), modes.ack, (request, &write), deadline).await?;
            match done.outcome {
                WriteOutcome::Refused(Refusal::WrongShard) if done.repeated => {
                    return Err(self.unknown("the key moved to another shard after an attempt without an answer"));
                }
                WriteOutcome::Refused(Refusal::WrongShard) => {
                    // The map is newer than the view.
                    self.wait_for_map(&mut backoff, deadline).await?;
                }
                WriteOutcome::Refused(Refusal::NoSuchBucket) => {
                    resolved += 1;
                    let found = self.resolve_again(bucket, deadline).await?;
                    if resolved == RESOLVE_MAX {
                        return Err(RouteError::NoSuchBucket);
                    }
                    if found.id == bucket.id {
                        // Root knows it: the shard is about to.
                        self.wait_for_map(&mut backoff, deadline).await?;
                    } else if !moved_to(&mut write, found.id, || {
                        shard_of(&self.view(), point_of(&found, key)) == Some(done.group)
                    }) {
                        return Err(self.slow_down(Cause::Unavailable, "the bucket was made anew in between"));
                    }
                    newer = Some(found);
                }
                WriteOutcome::Refused(refusal) => return Err(RouteError::Refused(refusal)),
                outcome => return Ok(Written { outcome, ack: done.ack }),
            }
        }
    }

    /// Waits for a newer map, a moment at most.
    async fn wait_for_map(&self, backoff: &mut Backoff, deadline: Instant) -> Result<(), RouteError> {
        let version = self.view().layout().version;
        let until = Instant::now() + backoff.pause(self.chance());
        if until + ATTEMPT_MIN > deadline {
            return Err(self.slow_down(Cause::Unavailable, "the map did not settle in time"));
        }
        self.pause(until, |view| view.layout().version > version).await;
        Ok(())
    }

    pub async fn delete_many(
        self: &Arc<Self>,
        bucket: &Bucket,
        modes: Modes,
        keys: Vec<DeleteKey>,
        bypass_governance: bool,
    ) -> Vec<Result<Deleted, RouteError>> {
        let deadline = self.deadline();
        let mut backoff = Backoff::new();
        let mut newer: Option<Arc<Bucket>> = None;
        let mut resolved = 0;
        let mut answers: Vec<Option<Result<Deleted, RouteError>>> = vec![None; keys.len()];
        let mut open: Vec<usize> = (0..keys.len()).collect();
        while !open.is_empty() {
            let bucket = newer.as_deref().unwrap_or(bucket);
            let batches = self.batches(bucket, &keys, &open);
            let sent = batches.iter().map(|batch| {
                let some = batch.iter().map(|&at| keys[at].clone()).collect();
                let write = Write::Delete { bucket: bucket.id, keys: some, bypass_governance };
                let point = point_of(bucket, &keys[batch[0]].key);
                async move { self.commit(point, modes.ack, (self.request_id(), &write), deadline).await }
            });
            let (mut wrong_shard, mut no_bucket) = (false, false);
            open.clear();
            for (batch, done) in batches.iter().zip(join_all(sent).await) {
                let (repeated, done) = match done {
                    Ok(done) => (done.repeated, Ok(done.outcome)),
                    Err(error) => (false, Err(error)),
                };
                match done {
                    Ok(WriteOutcome::Deleted { keys, .. }) if keys.len() == batch.len() => {
                        for (&at, key) in batch.iter().zip(keys) {
                            answers[at] = Some(match key {
                                Ok(deleted) => Ok(deleted),
                                Err(Refusal::NoSuchBucket) => Err(RouteError::NoSuchBucket),
                                Err(refusal) => Err(RouteError::Refused(refusal)),
                            });
                        }
                    }
                    Ok(WriteOutcome::Refused(Refusal::WrongShard)) if !repeated => {
                        wrong_shard = true;
                        open.extend(batch);
                    }
                    Ok(WriteOutcome::Refused(Refusal::NoSuchBucket)) => {
                        no_bucket = true;
                        open.extend(batch);
                    }
                    other => {
                        let error = match other {
                            Err(error) => error,
                            Ok(WriteOutcome::Refused(Refusal::WrongShard)) => {
                                self.unknown("keys moved to another shard after an attempt without an answer")
                            }
                            Ok(WriteOutcome::Refused(refusal)) => RouteError::Refused(refusal),
                            Ok(_) => self.unknown("a replica gave an answer of another kind than was asked for"),
                        };
                        batch.iter().for_each(|&at| answers[at] = Some(Err(error.clone())));
                    }
                }
            }
            let mut go_on = Ok(());
            if no_bucket {
                resolved += 1;
                go_on = match self.resolve_again(bucket, deadline).await {
                    Ok(_) if resolved == RESOLVE_MAX => Err(RouteError::NoSuchBucket),
                    Ok(found) => {
                        wrong_shard |= found.id == bucket.id;
                        newer = Some(found);
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
            }
            if wrong_shard && go_on.is_ok() {
                go_on = self.wait_for_map(&mut backoff, deadline).await;
            }
            if let Err(error) = go_on {
                open.drain(..).for_each(|at| answers[at] = Some(Err(error.clone())));
            }
        }
        answers.into_iter().map(|answer| answer.expect("every key leaves the loop with an answer")).collect()
    }

    /// The open keys by shard, as indexes, each batch small enough for one request.
    fn batches(&self, bucket: &Bucket, keys: &[DeleteKey], open: &[usize]) -> Vec<Vec<usize>> {
        let view = self.view();
        let mut by_shard = std::collections::BTreeMap::<Option<GroupId>, Vec<usize>>::new();
        for &at in open {
            by_shard.entry(shard_of(&view, point_of(bucket, &keys[at].key))).or_default().push(at);
        }
        // Without a map they go one by one, each to the shard that it turns out to have.
        by_shard
            .into_iter()
            .flat_map(|(shard, batch)| {
                let size = if shard.is_some() { DELETE_MAX } else { 1 };
                batch.chunks(size).map(<[usize]>::to_vec).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// Makes a write one for the bucket that now has the name. False when its bytes or its source stay behind in the old
/// bucket's shard.
fn moved_to(write: &mut Write, id: BucketId, same_shard: impl Fn() -> bool) -> bool {
    match write {
        Write::Put(put) => {
            put.bucket = id;
            matches!(put.body, NewBody::Inline(_)) || same_shard()
        }
        Write::PutPart(part) => {
            part.bucket = id;
            matches!(part.body, NewBody::Inline(_)) || same_shard()
        }
        Write::Delete { bucket, .. } | Write::CreateUpload { bucket, .. } | Write::AbortUpload { bucket, .. } => {
            *bucket = id;
            true
        }
        Write::CompleteUpload(complete) => {
            complete.bucket = id;
            true
        }
        Write::Rename(rename) => {
            rename.bucket = id;
            true
        }
        Write::Amend(amend) => {
            amend.bucket = id;
            true
        }
        Write::Copy(_) | Write::CopyPart(_) | Write::Undelete(_) => false,
    }
}

impl Router {
    /// Carries out a write of one key. Retries what is certain not to have been applied, and repeats with the same
    /// request id what may have been. A bucket that was made anew under its name in between is written to under its
    /// new id.
    pub async fn write(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        modes: Modes,
        write: Write,
    ) -> Result<Written, RouteError> {
        self.core.write(None, bucket, key, modes, write, self.core.deadline()).await
    }

    /// The same for a write that names what was [uploaded](Self::upload), which has until then.
    pub async fn write_by(
        &self,
        by: Instant,
        bucket: &Bucket,
        key: &ObjectKey,
        modes: Modes,
        write: Write,
    ) -> Result<Written, RouteError> {
        self.core.write(None, bucket, key, modes, write, by).await
    }

    /// The same under an identity that the client gave its request, if it gave one: what the shard remembers of it is
    /// answered again.
    pub async fn write_as(
        &self,
        once: Option<RequestId>,
        bucket: &Bucket,
        key: &ObjectKey,
        modes: Modes,
        write: Write,
    ) -> Result<Written, RouteError> {
        self.core.write(once, bucket, key, modes, write, self.core.deadline()).await
    }

    /// Deletes many keys, shard by shard side by side; one answer per key in the order given.
    pub async fn delete_many(
        &self,
        bucket: &Bucket,
        modes: Modes,
        keys: Vec<DeleteKey>,
        bypass_governance: bool,
    ) -> Vec<Result<Deleted, RouteError>> {
        self.core.delete_many(bucket, modes, keys, bypass_governance).await
    }
}
