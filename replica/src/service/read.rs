//! Reads: fresh enough first, then from this node's own index and disk.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use holdfast_wire::bucket::ReadMode;
use holdfast_wire::due::DuePage;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{BlobId, BucketId, Seq};
use holdfast_wire::object::{Object, Piece, Source};
use holdfast_wire::request::{Freshness, GetObject, NotRead, RangeSpec, Read, ReadRequest, Response};
use holdfast_wire::sealed;
use holdfast_wire::service::{Answer, Body};
use holdfast_wire::usage::BucketUsage;
use tokio::time::Instant;

use crate::blob::{BlobError, BlobReader};
use crate::group::Group;
use crate::node::Host;
use holdfast_wire::planted::Fault;

/// Answers a read.
pub async fn read(host: &Arc<Host>, request: ReadRequest, deadline: Instant) -> Answer {
    let started = Instant::now();
    let group = host.group(request.group)?;
    let bucket = bucket_of(&request.read);
    let stale = Fault::StaleList.is_planted() && matches!(request.read, Read::List(_))
        || Fault::LeaseUnchecked.is_planted() && group.leads();
    let freshness = if stale { Freshness::Mode(ReadMode::Eventual) } else { request.freshness };
    freshen(&group, bucket, freshness, deadline).await?;
    let answer = answer(host, &group, request.read).await;
    host.load_meter().read_took(started.elapsed().as_micros() as u64);
    answer
}

/// The bucket that a read is of; `None`: all of them.
fn bucket_of(read: &Read) -> Option<BucketId> {
    match read {
        Read::Get(get) => Some(get.bucket),
        Read::List(list) => Some(list.bucket),
        Read::ListVersions(list) => Some(list.bucket),
        Read::ListUploads(list) => Some(list.bucket),
        Read::ListParts { bucket, .. } | Read::Due { bucket, .. } => Some(*bucket),
        Read::Deleted(list) => Some(list.bucket),
        Read::Usage { bucket } => *bucket,
    }
}

/// Waits until this replica is as fresh as asked.
async fn freshen(
    group: &Group,
    bucket: Option<BucketId>,
    freshness: Freshness,
    deadline: Instant,
) -> Result<(), CallError> {
    let (mode, session) = match freshness {
        Freshness::AtLeast(index) => return group.wait_applied(index, deadline).await,
        Freshness::Mode(mode) => (mode, None),
        Freshness::AsBucketSays(session) => {
            let bucket = bucket.and_then(|bucket| group.index().bucket(bucket));
            // A bucket that is not known here may just not have arrived: only a strong read can say so.
            (bucket.map_or(ReadMode::Strong, |bucket| bucket.read()), session)
        }
    };
    let index = match (mode, session) {
        (ReadMode::Eventual, _) => return Ok(()),
        (ReadMode::Session, Some(index)) => index,
        (ReadMode::Session, None) | (ReadMode::Strong, _) => group.read_index(deadline).await?,
    };
    group.wait_applied(index, deadline).await
}

async fn answer(host: &Arc<Host>, group: &Arc<Group>, read: Read) -> Answer {
    let done = |response| Ok((response, Body::empty()));
    let index = group.index();
    if bucket_of(&read).is_some_and(|bucket| index.bucket(bucket).is_none()) {
        return done(Response::NotRead(NotRead::NoSuchBucket));
    }
    match read {
        Read::Get(get) => get_object(host, group, get).await,
        Read::List(list) => done(Response::Listed(index.list(&list).map_err(super::unavailable)?)),
        Read::ListVersions(list) => {
            done(Response::ListedVersions(index.list_versions(&list).map_err(super::unavailable)?))
        }
        Read::ListUploads(list) => {
            let page = index.list_uploads(&list).map_err(super::unavailable)?;
            done(Response::Uploads { uploads: page.uploads, prefixes: page.prefixes, more: page.more })
        }
        Read::ListParts { bucket, key, upload, after, limit } => {
            match index.list_parts(bucket, &key, upload, after, limit).map_err(super::unavailable)? {
                Some((upload, parts, more)) => done(Response::Parts { upload: Box::new(upload), parts, more }),
                None => done(Response::NotRead(NotRead::NoSuchUpload)),
            }
        }
        Read::Usage { bucket: Some(bucket) } => {
            done(Response::Usage(vec![BucketUsage { bucket, usage: index.usage(bucket) }]))
        }
        Read::Deleted(list) => {
            let page = index.reader().deleted(&list).map_err(super::unavailable)?;
            done(Response::Deleted(Box::new(page)))
        }
        Read::Usage { bucket: None } => done(Response::Usage(index.usages())),
        Read::Due { bucket, limit } => {
            let Some(home) = index.bucket(bucket) else { return done(Response::NotRead(NotRead::NoSuchBucket)) };
            let reader = index.reader();
            let (due, more) = reader.due(&home, limit).map_err(super::unavailable)?;
            let indexing = reader.indexing(bucket).map_err(super::unavailable)?;
            let done_here = (host.id(), host.lifecycle().report());
            done(Response::Due(Box::new(DuePage { due, more, indexing, done: done_here })))
        }
    }
}

/// How often a body that vanished between record and bytes (the object was replaced meanwhile) is looked up anew.
const LOOKS: usize = 4;

async fn get_object(host: &Arc<Host>, group: &Arc<Group>, get: GetObject) -> Answer {
    let not_read = |reason| Ok((Response::NotRead(reason), Body::empty()));
    for _ in 0..LOOKS {
        let applied = group.applied();
        let reader = group.index().reader();
        let object = match reader.find(&get).map_err(super::unavailable)? {
            Ok(object) => object,
            Err(NotRead::NoSuchKey) => {
                let index = reader.applied().map_err(super::unavailable)?;
                return Ok((Response::Absent(Seq { group: group.id(), index }), Body::empty()));
            }
            Err(reason) => return not_read(reason),
        };
        if let Err(refusal) = get.condition.judge(&object.summary) {
            return not_read(NotRead::Condition { refusal, summary: Box::new(object.summary) });
        }
        let range = match get.range.of(&object) {
            Ok(range) => range,
            Err(reason) => return not_read(reason),
        };
        let stored = match get.range {
            RangeSpec::Stored { .. } => range,
            _ => sealed::stored_range(&object, range),
        };
        let body = if get.head { Some(Body::empty()) } else { body(host, group, &object, stored).await? };
        if let Some(body) = body {
            // The lookup may have seen a write that was applied after `applied` was read: what was seen is the state
            // of this key at the later of the two places.
            let seen = object.summary.seq;
            let applied = if seen.group == group.id() { applied.max(seen.index) } else { applied };
            let object = Box::new(object);
            return Ok((Response::Object { object, range, applied }, body));
        }
    }
    Err(CallError::NotHeld)
}

/// A run of bytes to send.
enum Run {
    Here(Bytes),
    Blob(BlobId, BlobReader, std::ops::Range<u64>),
}

/// The stored bytes of `range`; `None` if an inline body is gone because the object was replaced.
async fn body(
    host: &Arc<Host>,
    group: &Arc<Group>,
    object: &Object,
    (first, count): (u64, u64),
) -> Result<Option<Body>, CallError> {
    let mut runs = Vec::new();
    let mut at = 0;
    for Piece { source, len } in &object.detail.pieces {
        let from = first.max(at);
        let to = (first + count).min(at + len);
        if from < to {
            let within = from - at..to - at;
            match source {
                Source::Inline(number) => match group.index().inline_body(*number).map_err(super::unavailable)? {
                    Some(bytes) => runs.push(Run::Here(bytes.slice(within.start as usize..within.end as usize))),
                    None => return Ok(None),
                },
                Source::Blob(blob) => match host.blobs().open_blob(group.id(), *blob).await {
                    Ok(Some(reader)) => runs.push(Run::Blob(*blob, reader, within)),
                    Ok(None) => {
                        host.repair().want(group.id(), *blob);
                        return Err(CallError::NotHeld);
                    }
                    // The store notes the damage, and the repair task sees to it.
                    Err(error) => {
                        tracing::warn!(group = %group.id(), %blob, %error, "a blob cannot be opened");
                        return Err(CallError::NotHeld);
                    }
                },
            }
        }
        at += len;
    }
    if let [Run::Here(bytes)] = &runs[..] {
        return Ok(Some(Body::from(bytes.clone())));
    }
    let id = group.id();
    let stream = futures::stream::iter(runs).flat_map(move |run| -> BoxStream<'static, Result<Bytes, CallError>> {
        match run {
            Run::Here(bytes) => futures::stream::once(async move { Ok(bytes) }).boxed(),
            Run::Blob(blob, reader, range) => {
                let failed = move |error: BlobError| {
                    tracing::warn!(group = %id, %blob, %error, "a blob cannot be read");
                    CallError::NotHeld
                };
                reader.read(range).map_err(failed).boxed()
            }
        }
    });
    Ok(Some(Body { len: Some(count), stream: stream.boxed() }))
}
