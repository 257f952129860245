//! Shares of quotas: root's leader hands them out to the shards, in rounds, and shards ask for more when theirs are
//! used up. What the state machine makes of it stands in `index::apply::quota`.
//!
//! One round: root's log gives it a number; every shard gives back what it can spare; what all of them together have not
//! got is handed out again, first to the shard that asked, the rest in equal parts. Whoever is told that the bucket is
//! full is told so on the word of a round that is at most [`BELIEVED_FOR`] old.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::error::CallError;
use holdfast_wire::id::{BucketId, GroupId};
use holdfast_wire::request::{CopyObject, Request, Response, RootRefusal, RootRequest, Write};
use holdfast_wire::service::{Body, Service};
use holdfast_wire::transport::Remote;
use holdfast_wire::usage::{Share, Usage};
use tokio::time::{Instant, timeout_at};

use super::root::{propose, push};
use crate::group::Group;
use crate::index::IndexError;
use crate::index::command::{Command, Outcome, QuotaStep, RootCommand};
use crate::node::Host;

/// How long the word of a round that found a bucket full is believed.
const BELIEVED_FOR: Duration = Duration::from_millis(200);
/// A shard keeps this part of an equal share before it is asked for all that it can spare.
const KEPT: u64 = 4;

/// One round at a time; what the last ones left, by bucket.
#[derive(Debug, Default)]
pub struct Rounds(tokio::sync::Mutex<BTreeMap<BucketId, (Instant, Share)>>);

/// A shard in a round.
struct Shard {
    group: GroupId,
    usage: Usage,
    share: Share,
}

/// Shares a bucket's quota out anew, for a shard that needs more of it if one does. `false`: there is not so much left.
pub async fn share_out(
    host: &Host,
    bucket: BucketId,
    asks: Option<(GroupId, Share)>,
    deadline: Instant,
) -> Result<bool, CallError> {
    let late = |_| CallError::Overloaded;
    let mut last = timeout_at(deadline, host.quotas().0.lock()).await.map_err(late)?;
    last.retain(|_, (at, _)| at.elapsed() < BELIEVED_FOR);
    if let (Some((_, left)), Some((_, need))) = (last.get(&bucket), asks)
        && !left.holds(need)
    {
        return Ok(false);
    }
    let buckets = host.group(GroupId::ROOT)?.index().buckets();
    let Some(found) = buckets.iter().find(|found| found.id == bucket) else { return Ok(true) };
    let Some(quota) = found.configuration.quota.filter(|_| found.state == BucketState::Active) else { return Ok(true) };
    let Outcome::Round(round) = propose(host, None, RootCommand::BeginRound, deadline).await? else {
        return Err(CallError::Unavailable { reason: "no round could be begun".to_owned() });
    };
    let groups: Vec<GroupId> = host.layout().borrow().map.shards().map(|place| place.group).collect();
    let whole = quota.whole();
    let count = groups.len() as u64;
    let gather = |spare: Share| {
        let step = QuotaStep::Return { spare };
        try_join_all(groups.iter().map(move |&group| shared(host, group, bucket, round, step, deadline)))
    };
    let (asker, need) = asks.map_or((None, Share::default()), |(group, need)| (Some(group), need));
    let mut shards = gather(whole.part(KEPT * count)).await?;
    // Where a bound is new, or less than it was, shares may be more than all of it.
    let held = shards.iter().fold(Share::default(), |held, shard| held.plus(shard.share));
    if !whole.holds(held) || !room(whole, &shards, asker).holds(need) {
        shards = gather(Share::default()).await?;
    }
    let room = room(whole, &shards, asker);
    let granted = room.holds(need);
    if granted {
        last.remove(&bucket);
    } else {
        last.insert(bucket, (Instant::now(), room));
    }
    let free = free(whole, &shards);
    let mut grown: Vec<(GroupId, Share)> = Vec::new();
    let mut rest = free;
    for shard in &shards {
        let wanted = match granted && asker == Some(shard.group) {
            true => shard.share.max(shard.usage.weight().plus(need)),
            false => shard.share,
        };
        rest = rest.less(wanted.less(shard.share));
        grown.push((shard.group, wanted));
    }
    let each = rest.part(count);
    let taken = grown.into_iter().map(|(group, share)| {
        let step = QuotaStep::Take { share: share.plus(each) };
        shared(host, group, bucket, round, step, deadline)
    });
    try_join_all(taken).await?;
    Ok(granted)
}

/// What of a quota no shard has a share of.
fn free(whole: Share, shards: &[Shard]) -> Share {
    shards.iter().fold(whole, |free, shard| free.less(shard.share))
}

/// What one shard could get: what is free, and what it has of its own.
fn room(whole: Share, shards: &[Shard], asker: Option<GroupId>) -> Share {
    let own = shards.iter().find(|shard| Some(shard.group) == asker);
    free(whole, shards).plus(own.map_or(Share::default(), |own| own.share.less(own.usage.weight())))
}

/// One step in one shard.
async fn shared(
    host: &Host,
    group: GroupId,
    bucket: BucketId,
    round: u64,
    step: QuotaStep,
    deadline: Instant,
) -> Result<Shard, CallError> {
    match push(host, group, &Command::Quota { bucket, round, step }, deadline).await? {
        Outcome::Shared { usage, share } => Ok(Shard { group, usage, share }),
        _ => Err(CallError::Unavailable { reason: format!("group {group} has heard of a later round") }),
    }
}

/// What a write makes the bucket grow by in this shard, as far as can be said before it is applied.
pub fn need(group: &Group, write: &Write) -> Result<Share, IndexError> {
    let one = |bytes| Share { bytes, objects: 1 };
    Ok(match write {
        Write::Put(put) => one(put.body.len()),
        Write::PutPart(part) => Share { bytes: part.body.len(), objects: 0 },
        Write::Copy(CopyObject { from_bucket, from_key, .. }) => {
            one(group.index().object(*from_bucket, from_key)?.map_or(0, |object| object.summary.size))
        }
        Write::CompleteUpload(_) => one(0),
        _ => Share::default(),
    })
}

/// Whether the shard's share has room for it.
pub fn has_room(group: &Group, bucket: BucketId, need: Share) -> Result<bool, IndexError> {
    let share = group.index().reader().share(bucket)?;
    let weight = group.index().usage(bucket).weight();
    Ok(share.holds(weight.plus(need)))
}

/// Asks root's leader for more. `false`: the bucket is full.
pub async fn ask(
    host: &Host,
    bucket: &Bucket,
    group: GroupId,
    need: Share,
    deadline: Instant,
) -> Result<bool, CallError> {
    let unknown = || CallError::Unavailable { reason: "root's leader is not known".to_owned() };
    let leader = host.leader_of(GroupId::ROOT).ok_or_else(unknown)?;
    if leader == host.id() {
        return share_out(host, bucket.id, Some((group, need)), deadline).await;
    }
    let target = host.peers().target(leader).ok_or_else(unknown)?;
    let request = RootRequest::ShareQuota { bucket: bucket.id, group, need };
    let remote = Remote::new(host.client().clone(), target);
    let asked = timeout_at(deadline, remote.call(Request::Root(request), Body::empty())).await;
    let (answer, _) = asked.map_err(|_| CallError::Overloaded)??;
    match answer {
        Response::Done => Ok(true),
        Response::RootRefused(RootRefusal::QuotaExceeded) => Ok(false),
        _ => Err(CallError::Malformed { reason: "an answer of another kind".to_owned() }),
    }
}
