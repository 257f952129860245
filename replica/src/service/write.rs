//! Writes: from a request to an entry, on the leader.

use holdfast_wire::bucket::AckMode;
use holdfast_wire::error::CallError;
use holdfast_wire::id::BlobId;
use holdfast_wire::object::NewBody;
use holdfast_wire::request::{Refusal, Response, Write, WriteOutcome, WriteRequest};
use tokio::time::Instant;

use super::{quota, upload};
use crate::group::Group;
use crate::index::command::{Command, Outcome};
use crate::node::Host;
use holdfast_wire::planted::Fault;

/// Room in the log that a write needs besides its inline body, bytes.
const ENTRY_ROOM: u64 = 64 << 10;

/// Proposes a write and answers as its ack mode says.
pub async fn write(host: &Host, request: WriteRequest, deadline: Instant) -> Result<Response, CallError> {
    let group = host.group(request.group)?;
    if !group.leads() {
        let leader = group.leader().filter(|leader| *leader != host.id());
        return Err(CallError::NotLeader { leader });
    }
    let write = request.write;
    let Some(bucket) = group.index().bucket(write.bucket()) else {
        // The copy may be on its way; what is applied after the read index decides.
        return refuse_unknown_bucket(&group, &write, deadline).await;
    };
    let mut ack = request.ack.unwrap_or_else(|| bucket.ack());
    if Fault::OneReplica.is_planted() {
        ack = AckMode::Leader;
    }
    match &write {
        Write::Put(put) => check_body(host, &group, &put.body, deadline).await?,
        Write::PutPart(part) => check_body(host, &group, &part.body, deadline).await?,
        Write::CreateUpload { .. }
        | Write::Delete { .. }
        | Write::Copy(_)
        | Write::CopyPart(_)
        | Write::Rename(_)
        | Write::Amend(_)
        | Write::CompleteUpload(_)
        | Write::AbortUpload { .. }
        | Write::Undelete(_) => {}
    }
    let bounded = bucket.configuration.quota.is_some();
    let mut full = false;
    if bounded {
        // What is refused for a quota must never have been answered.
        if ack == AckMode::Leader {
            ack = AckMode::Majority;
        }
        let need = quota::need(&group, &write).map_err(super::unavailable)?;
        if !quota::has_room(&group, bucket.id, need).map_err(super::unavailable)? {
            // It is proposed all the same: it may repeat a request that went through, or need less than that.
            full = !quota::ask(host, &bucket, group.id(), need, deadline).await?;
        }
    }
    let request = (!Fault::AppliedTwice.is_planted()).then_some(request.request);
    let answer = propose(&group, request, write, ack, deadline).await?;
    match answer {
        Response::Written { outcome: WriteOutcome::Refused(Refusal::ShareUsedUp { need }), ack } => {
            let full = full || !quota::ask(host, &bucket, group.id(), need, deadline).await?;
            let refusal = if full { Refusal::QuotaExceeded } else { Refusal::ShareUsedUp { need } };
            Ok(Response::Written { outcome: WriteOutcome::Refused(refusal), ack })
        }
        answer => Ok(answer),
    }
}

async fn propose(
    group: &Group,
    request: Option<holdfast_wire::id::RequestId>,
    write: Write,
    ack: AckMode,
    deadline: Instant,
) -> Result<Response, CallError> {
    let proposed = group.propose(request, Command::Write(write), ack, deadline).await?;
    match proposed.outcome {
        Outcome::Written(outcome) => Ok(Response::Written { outcome, ack: proposed.ack }),
        other => Err(CallError::Malformed { reason: format!("the request id belongs to another request: {other}") }),
    }
}

/// A full disk refuses new bytes before anything is proposed; deletes and what frees room go on.
async fn check_body(host: &Host, group: &Group, body: &NewBody, deadline: Instant) -> Result<(), CallError> {
    match body {
        NewBody::Inline(bytes) => {
            if !host.log().has_room(bytes.len() as u64 + ENTRY_ROOM) {
                return Err(CallError::NoSpace);
            }
            Ok(())
        }
        NewBody::Blob { id, len } => check_blob(host, group, *id, *len, deadline).await,
    }
}

/// An entry may name a blob only when a majority has it on disk.
async fn check_blob(host: &Host, group: &Group, blob: BlobId, len: u64, deadline: Instant) -> Result<(), CallError> {
    if group.index().references(blob).map_err(super::unavailable)? > 0 {
        // A repetition of a request that went through.
        return Ok(());
    }
    match upload::held_len(host, group.id(), blob).await? {
        Some(held) if held == len => {}
        Some(_) => return Err(CallError::Malformed { reason: "the blob has another length".to_owned() }),
        None => {
            return Err(CallError::Unavailable { reason: "the uploaded blob is not held by the leader".to_owned() });
        }
    }
    let voters = group.status(0).voters;
    let majority = voters.len() / 2 + 1;
    let holders = match host.staged().holders(blob) {
        Some(holders) => holders,
        // It was uploaded to a former leader.
        None => upload::ask_holders(host, group.id(), blob, &voters, deadline).await,
    };
    let count = voters.iter().filter(|voter| holders.contains(voter)).count();
    if count < majority {
        let reason = format!("{count} of {} voters hold the uploaded blob", voters.len());
        return Err(CallError::Unavailable { reason });
    }
    Ok(())
}

async fn refuse_unknown_bucket(group: &Group, write: &Write, deadline: Instant) -> Result<Response, CallError> {
    let index = group.read_index(deadline).await?;
    group.wait_applied(index, deadline).await?;
    if group.index().bucket(write.bucket()).is_some() {
        return Err(CallError::Unavailable { reason: "the bucket has just become known".to_owned() });
    }
    let outcome = WriteOutcome::Refused(Refusal::NoSuchBucket);
    Ok(Response::Written { outcome, ack: AckMode::Majority })
}
