//! Quotas: a bucket may grow in this shard up to its share, and a write that would go beyond is refused whole.
//!
//! Shares are handed out by root's leader in rounds (`service::quota`). A round first has every shard give back what it
//! can spare, then hands that out again. The number of a round is a log index of root's: a shard that has heard of a
//! round does not hear older ones, so that all shares together never exceed the quota, whoever believes to lead root.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::BucketId;
use holdfast_wire::request::Refusal;
use holdfast_wire::usage::Share;

use super::draft::Draft;
use crate::index::IndexError;
use crate::index::command::{Outcome, QuotaStep};
use crate::index::key::{self, Table};
use crate::index::record::Allowance;

/// Whether what was drafted makes the bucket grow beyond its share, given its weight before.
pub fn judge(draft: &Draft<'_>, bucket: &Bucket, before: Share) -> Result<Result<(), Refusal>, IndexError> {
    if bucket.configuration.quota.is_none() {
        return Ok(Ok(()));
    }
    let after = draft.usage(bucket.id).weight();
    let need = after.less(before);
    if need == Share::default() {
        return Ok(Ok(()));
    }
    let allowance: Option<Allowance> = draft.record(&key::bucket(Table::Allowances, bucket.id))?;
    let share = allowance.unwrap_or_default().share;
    let beyond = need.bytes > 0 && after.bytes > share.bytes || need.objects > 0 && after.objects > share.objects;
    Ok(if beyond { Err(Refusal::ShareUsedUp { need }) } else { Ok(()) })
}

/// One step of a round.
pub fn step(draft: &mut Draft<'_>, bucket: BucketId, round: u64, step: QuotaStep) -> Result<Outcome, IndexError> {
    let suffix = key::bucket(Table::Allowances, bucket);
    let known: Option<Allowance> = draft.record(&suffix)?;
    let heard = known.map_or(0, |known| known.round);
    if draft.bucket(bucket).is_none_or(|bucket| bucket.configuration.quota.is_none()) || heard > round {
        return Ok(Outcome::None);
    }
    let usage = draft.usage(bucket);
    let share = match step {
        QuotaStep::Return { spare } => {
            let kept = usage.weight().plus(spare);
            known.map_or(usage.weight(), |known| known.share.min(kept))
        }
        QuotaStep::Take { share } if heard == round => share,
        QuotaStep::Take { .. } => return Ok(Outcome::None),
    };
    draft.put(suffix, &Allowance { round, share });
    Ok(Outcome::Shared { usage, share })
}

/// A bucket without a quota has no share of one.
pub fn forget(draft: &mut Draft<'_>, bucket: BucketId) -> Result<(), IndexError> {
    let suffix = key::bucket(Table::Allowances, bucket);
    if draft.has(&suffix)? {
        draft.remove(suffix);
    }
    Ok(())
}
