//! Requests to root: buckets, nodes and identities. What concerns every shard is pushed to the shards' leaders and answered when all
//! of them have it; what is interrupted is taken up again by [`task::root`](crate::task::root).

use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::bucket::{AckMode, Bucket, BucketState};
use holdfast_wire::configuration::BucketChange;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{BucketName, GroupId, RequestId};
use holdfast_wire::request::{Response, RootRefusal, RootRequest};
use holdfast_wire::service::Body;
use holdfast_wire::transport::{decode, encode};
use tokio::time::{Instant, sleep, timeout_at};

use super::{SHARD, ShardAsk, quota};
use crate::index::command::{Command, Outcome, RootCommand};
use crate::node::Host;

/// One try to reach a shard's leader.
const TRY_WITHIN: Duration = Duration::from_secs(2);
/// Between tries.
const TRY_AGAIN: Duration = Duration::from_millis(30);

/// Answers one request to root.
pub async fn root(host: &Host, request: RootRequest, deadline: Instant) -> Result<Response, CallError> {
    // Before the first layout stands in the log there are no ids to give out.
    if host.group(GroupId::ROOT)?.index().cluster().is_none() {
        return Err(CallError::Unavailable { reason: "root is being founded".to_owned() });
    }
    match request {
        RootRequest::Bucket { name } => {
            fresh(host, deadline).await?;
            known(host, &name)
        }
        RootRequest::KnownBucket { name } => known(host, &name),
        RootRequest::Buckets => {
            fresh(host, deadline).await?;
            let buckets = host.group(GroupId::ROOT)?.index().buckets();
            let visible = buckets.iter().filter(|bucket| bucket.state != BucketState::Creating);
            Ok(Response::Buckets(visible.map(|bucket| (**bucket).clone()).collect()))
        }
        RootRequest::CreateBucket { request, name, owner, placement, tags, lock, documents } => {
            let command = RootCommand::CreateBucket { name, owner, placement, tags, lock, documents };
            match propose(host, Some(request), command, deadline).await? {
                Outcome::Bucket(bucket) => activate(host, bucket, deadline).await,
                outcome => respond(host, outcome),
            }
        }
        RootRequest::ChangeBucket { request, name, change } => {
            let quota = matches!(change, BucketChange::Quota(_));
            let command = RootCommand::ChangeBucket { name, change };
            let outcome = propose(host, Some(request), command, deadline).await?;
            if let Outcome::Bucket(bucket) = &outcome {
                install_everywhere(host, bucket, deadline).await?;
                if quota && bucket.configuration.quota.is_some() {
                    quota::share_out(host, bucket.id, None, deadline).await?;
                }
            }
            respond(host, outcome)
        }
        RootRequest::ShareQuota { bucket, group, need } => {
            let granted = quota::share_out(host, bucket, Some((group, need)), deadline).await?;
            Ok(if granted { Response::Done } else { Response::RootRefused(RootRefusal::QuotaExceeded) })
        }
        RootRequest::DeleteBucket { request, name } => delete_bucket(host, request, name, deadline).await,
        RootRequest::Join { request, node } => {
            let known = host.layout().borrow().nodes.iter().any(|known| known.id == node.id);
            let command = if known { RootCommand::UpdateNode { node } } else { RootCommand::Join { node } };
            let outcome = propose(host, Some(request), command, deadline).await?;
            respond(host, outcome)
        }
        RootRequest::Identities { known } => {
            fresh(host, deadline).await?;
            let identities = host.group(GroupId::ROOT)?.index().identities();
            let newer = (identities.version > known).then(|| Box::new((*identities).clone()));
            Ok(Response::Identities(newer))
        }
        RootRequest::ChangeIdentities { request, expect, changes } => {
            let command = RootCommand::ChangeIdentities { expect, changes };
            let outcome = propose(host, Some(request), command, deadline).await?;
            respond(host, outcome)
        }
        RootRequest::RemoveNode { request, node } => {
            let outcome = propose(host, Some(request), RootCommand::RemoveNode { node }, deadline).await?;
            respond(host, outcome)
        }
        RootRequest::DrainNode { request, node, drain } => {
            let outcome = propose(host, Some(request), RootCommand::DrainNode { node, drain }, deadline).await?;
            respond(host, outcome)
        }
    }
}

fn known(host: &Host, name: &BucketName) -> Result<Response, CallError> {
    let bucket = host.group(GroupId::ROOT)?.index().bucket_named(name);
    // One that is being created does not exist yet; one that is being deleted still does.
    let visible = bucket.filter(|bucket| bucket.state != BucketState::Creating);
    Ok(visible.map_or(Response::RootRefused(RootRefusal::NoSuchBucket), |bucket| {
        Response::Bucket(Box::new((*bucket).clone()))
    }))
}

fn respond(host: &Host, outcome: Outcome) -> Result<Response, CallError> {
    match outcome {
        Outcome::Bucket(bucket) => Ok(Response::Bucket(Box::new(bucket))),
        Outcome::RootRefused(refusal) => Ok(Response::RootRefused(refusal)),
        Outcome::Joined { node } => Ok(Response::Joined { cluster: host.identity().cluster, node }),
        Outcome::Done => Ok(Response::Done),
        Outcome::None
        | Outcome::Written(_)
        | Outcome::BucketInstalled { .. }
        | Outcome::Expired(_)
        | Outcome::Shared { .. }
        | Outcome::Round(_) => {
            Err(CallError::Malformed { reason: format!("the request id belongs to another request: {outcome}") })
        }
    }
}

async fn fresh(host: &Host, deadline: Instant) -> Result<(), CallError> {
    let group = host.group(GroupId::ROOT)?;
    let index = group.read_index(deadline).await?;
    group.wait_applied(index, deadline).await
}

/// Proposes a command of root's.
pub async fn propose(
    host: &Host,
    request: Option<RequestId>,
    command: RootCommand,
    deadline: Instant,
) -> Result<Outcome, CallError> {
    let group = host.group(GroupId::ROOT)?;
    if !group.leads() {
        let leader = group.leader().filter(|leader| *leader != host.id());
        return Err(CallError::NotLeader { leader });
    }
    Ok(group.propose(request, Command::Root(command), AckMode::Majority, deadline).await?.outcome)
}

/// Makes a reserved bucket known to every shard, then visible.
pub async fn activate(host: &Host, bucket: Bucket, deadline: Instant) -> Result<Response, CallError> {
    let active = match bucket.state {
        BucketState::Creating => {
            // Writes to the copies are possible as soon as a shard has one, and nobody knows the id before root shows it.
            let copy = Bucket { state: BucketState::Active, ..bucket.clone() };
            install_everywhere(host, &copy, deadline).await?;
            propose(host, None, RootCommand::ActivateBucket { bucket: bucket.id }, deadline).await?
        }
        BucketState::Active | BucketState::Deleting => Outcome::Bucket(bucket),
    };
    respond(host, active)
}

async fn delete_bucket(
    host: &Host,
    request: RequestId,
    name: BucketName,
    deadline: Instant,
) -> Result<Response, CallError> {
    let begun = propose(host, Some(request), RootCommand::BeginDeleteBucket { name: name.clone() }, deadline).await?;
    match begun {
        Outcome::Bucket(bucket) => {
            // A repetition of the request gets the first outcome: look at what has become of the bucket since.
            let now = host.group(GroupId::ROOT)?.index().bucket_named(&name);
            match now {
                Some(now) if now.id == bucket.id && now.state == BucketState::Deleting => {
                    finish_delete(host, (*now).clone(), deadline).await
                }
                Some(now) if now.id == bucket.id => Ok(Response::RootRefused(RootRefusal::BucketNotEmpty)),
                _ => Ok(Response::Done),
            }
        }
        outcome => respond(host, outcome),
    }
}

/// Finishes the deletion of a bucket that is `Deleting` in root: it is frozen in every shard, found empty or not, and
/// removed or given back.
pub async fn finish_delete(host: &Host, bucket: Bucket, deadline: Instant) -> Result<Response, CallError> {
    let busy = || Ok(Response::RootRefused(RootRefusal::BucketBusy));
    let Ok(_one_at_a_time) = timeout_at(deadline, host.deleting().lock()).await else { return busy() };
    match host.group(GroupId::ROOT)?.index().bucket_named(&bucket.name) {
        Some(now) if now.id == bucket.id && now.revision == bucket.revision => {}
        Some(now) if now.id == bucket.id => return Ok(Response::RootRefused(RootRefusal::BucketNotEmpty)),
        _ => return Ok(Response::Done),
    }
    let empty = install_everywhere(host, &bucket, deadline).await?;
    if !empty {
        let active = propose(host, None, RootCommand::AbandonDeleteBucket { bucket: bucket.id }, deadline).await?;
        if let Outcome::Bucket(bucket) = &active {
            install_everywhere(host, bucket, deadline).await?;
        }
        return Ok(Response::RootRefused(RootRefusal::BucketNotEmpty));
    }
    // A shard gives up only a copy that is frozen.
    if !everywhere(host, &Command::RemoveBucket { bucket: bucket.id }, deadline).await? {
        return busy();
    }
    match propose(host, None, RootCommand::RemoveBucket { bucket: bucket.id }, deadline).await? {
        Outcome::RootRefused(refusal) if refusal != RootRefusal::NoSuchBucket => Ok(Response::RootRefused(refusal)),
        _ => Ok(Response::Done),
    }
}

/// Sets every shard's copy of a bucket; says whether it is empty in all of them.
pub async fn install_everywhere(host: &Host, bucket: &Bucket, deadline: Instant) -> Result<bool, CallError> {
    everywhere(host, &Command::InstallBucket(bucket.clone()), deadline).await
}

async fn everywhere(host: &Host, command: &Command, deadline: Instant) -> Result<bool, CallError> {
    let shards: Vec<GroupId> = host.layout().borrow().map.shards().map(|place| place.group).collect();
    let pushes = shards.into_iter().map(|shard| push(host, shard, command, deadline));
    let outcomes = futures::future::try_join_all(pushes).await?;
    Ok(outcomes.iter().all(|outcome| matches!(outcome, Outcome::BucketInstalled { empty: true })))
}

/// Has a shard's leader propose `command`, trying again as leaders change. The command must bear repetition.
pub async fn push(host: &Host, group: GroupId, command: &Command, deadline: Instant) -> Result<Outcome, CallError> {
    let mut last = CallError::Unavailable { reason: format!("no leader known for group {group}") };
    while Instant::now() < deadline {
        match host.leader_of(group) {
            Some(leader) if leader == host.id() => {
                let proposed = match host.group(group) {
                    Ok(group) => {
                        let within = deadline.min(Instant::now() + TRY_WITHIN);
                        group.propose(None, command.clone(), AckMode::Majority, within).await
                    }
                    Err(error) => Err(error),
                };
                match proposed {
                    Ok(proposed) => return Ok(proposed.outcome),
                    Err(error) => last = error,
                }
            }
            Some(leader) => match host.peers().target(leader) {
                Some(target) => {
                    let head = encode(&ShardAsk { group, command: command.clone() });
                    let asked: Result<(Bytes, Body), CallError> =
                        host.client().ask(&target, SHARD, head, Bytes::new(), TRY_WITHIN).await;
                    match asked.and_then(|(head, _)| decode(&head)) {
                        Ok(outcome) => return Ok(outcome),
                        Err(error) => last = error,
                    }
                }
                None => last = CallError::Unavailable { reason: format!("the address of node {leader} is not known") },
            },
            None => {}
        }
        sleep(TRY_AGAIN).await;
    }
    tracing::info!(%group, error = %last, "a shard could not be told in time");
    Err(CallError::Unknown { reason: format!("group {group}: {last}") })
}
