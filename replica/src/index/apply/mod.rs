//! The pure state machine: an entry's command and the state it meets give outcome, changes and effects. No clock, no
//! randomness, no I/O but reads of the state, no order that differs between members; every command has an outcome.

mod bucket;
mod collect;
mod copy;
mod draft;
mod lifecycle;
mod lock;
mod multipart;
mod object;
mod quota;
mod root;
mod undelete;
mod version;

use std::sync::Arc;

use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::id::{BlobId, BucketId, ObjectKey};
use holdfast_wire::object::NewBody;
use holdfast_wire::placement;
use holdfast_wire::planted::Fault;
use holdfast_wire::request::{Refusal, Write, WriteOutcome};

use super::IndexError;
use super::command::{Command, Outcome};

pub use draft::{Changes, Draft, Effects, Place};
pub use lifecycle::due as due_of;
pub use multipart::PART_MIN;
pub use undelete::{AT_ONCE, len as kept_len};

/// Decides a command. On refusal the draft holds no changes but those of blobs that the command named in vain.
pub fn apply(draft: &mut Draft<'_>, command: Command) -> Result<Outcome, IndexError> {
    name_blobs(draft, &command)?;
    match command {
        Command::Write(write) => {
            let brought = brought(&write);
            match self::write(draft, write) {
                Ok(outcome) => Ok(Outcome::Written(outcome)),
                Err(Stop::Refused(refusal)) => {
                    if matches!(refusal, Refusal::ShareUsedUp { .. }) {
                        // Known only when all was drafted.
                        draft.start_over();
                        brought.map_or(Ok(()), |(blob, len)| draft.name_blob(blob, len))?;
                    }
                    Ok(Outcome::Written(WriteOutcome::Refused(refusal)))
                }
                Err(Stop::Failed(error)) => Err(error),
            }
        }
        Command::InstallBucket(bucket) => bucket::install(draft, bucket),
        Command::RemoveBucket { bucket } => bucket::remove(draft, bucket),
        Command::SetRange { range, epoch } => Ok(bucket::set_range(draft, range, epoch)),
        Command::Root(command) => Ok(root::apply(draft, command)),
        Command::Expire { limit } => lifecycle::expire(draft, limit),
        Command::Reindex { bucket, limit } => lifecycle::reindex(draft, bucket, limit),
        Command::Collect { before_ms } => collect::collect(draft, before_ms),
        Command::Forget { before_ms } => undelete::forget(draft, before_ms),
        Command::Quota { bucket, round, step } => quota::step(draft, bucket, round, step),
    }
}

/// The blobs that a command brings: unless something names them in the end, they go to the trash.
pub fn name_blobs(draft: &mut Draft<'_>, command: &Command) -> Result<(), IndexError> {
    match command {
        Command::Write(write) => brought(write).map_or(Ok(()), |(blob, len)| draft.name_blob(blob, len)),
        _ => Ok(()),
    }
}

/// The blob that a write brings, with its bytes.
fn brought(write: &Write) -> Option<(BlobId, u64)> {
    let body = match write {
        Write::Put(put) => &put.body,
        Write::PutPart(part) => &part.body,
        _ => return None,
    };
    match body {
        NewBody::Blob { id, len } => Some((*id, *len)),
        NewBody::Inline(_) => None,
    }
}

/// Why a write ends early.
enum Stop {
    Refused(Refusal),
    Failed(IndexError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<IndexError> for Stop {
    fn from(error: IndexError) -> Self {
        Self::Failed(error)
    }
}

fn write(draft: &mut Draft<'_>, write: Write) -> Result<WriteOutcome, Stop> {
    let bucket = writable(draft, write.bucket())?;
    let before = draft.usage(bucket.id).weight();
    let outcome = match write {
        Write::Put(put) => object::put(draft, &bucket, put),
        // Quotas stand in nobody's way who removes something, though it leave a delete marker.
        Write::Delete { keys, bypass_governance, .. } => {
            return object::delete(draft, &bucket, keys, bypass_governance);
        }
        Write::Copy(copy) => copy::object(draft, &bucket, copy),
        Write::CopyPart(part) => copy::part(draft, &bucket, part),
        Write::Rename(rename) => copy::rename(draft, &bucket, rename),
        Write::Amend(amend) => object::amend(draft, &bucket, amend),
        Write::CreateUpload { upload, .. } => multipart::create(draft, &bucket, upload),
        Write::PutPart(part) => multipart::put_part(draft, &bucket, part),
        Write::CompleteUpload(complete) => multipart::complete(draft, &bucket, complete),
        Write::AbortUpload { key, upload, .. } => multipart::abort(draft, &bucket, &key, upload),
        Write::Undelete(wish) => undelete::undelete(draft, &bucket, wish),
    }?;
    quota::judge(draft, &bucket, before)??;
    Ok(outcome)
}

/// The bucket, if it takes writes.
fn writable(draft: &Draft<'_>, bucket: BucketId) -> Result<Arc<Bucket>, Refusal> {
    let bucket = draft.bucket(bucket).ok_or(Refusal::NoSuchBucket)?;
    match bucket.state {
        BucketState::Deleting => Err(Refusal::BucketFrozen),
        // A gateway sees a bucket once every shard has it and root calls it active; the copy here may be older.
        BucketState::Creating | BucketState::Active => Ok(bucket),
    }
}

/// Whether the key lives here.
fn held(draft: &Draft<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<(), Refusal> {
    match draft.shard() {
        _ if Fault::RangeUnchecked.is_planted() => Ok(()),
        Some(shard) if !shard.range.contains(placement::hash(bucket.id, bucket.placement, key)) => {
            Err(Refusal::WrongShard)
        }
        Some(_) | None => Ok(()),
    }
}
