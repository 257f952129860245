//! Lifecycle configurations: S3's XML and its rules on one side, what shards carry out on the other.

use std::collections::BTreeSet;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::BucketChange;
use holdfast_wire::lifecycle::{Expiration, Filter, Lifecycle, Noncurrent, Rule};
use holdfast_wire::lock::DAY_MS;
use holdfast_wire::object::Summary;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, ExpirationStatus,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Tag, Timestamp,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use time::OffsetDateTime;

use super::answer::{http_date, int};
use super::request::not_implemented;
use super::unconfigured::Absent;
use super::{S3Service, tags};

/// Rules of one configuration.
const RULES_MAX: usize = 1000;
/// Characters of a rule's name.
const ID_MAX: usize = 255;
/// The most versions that a rule keeps for being new.
const NEWER_MAX: i32 = 100;

/// `x-amz-expiration`: when the current object goes, and by which rule.
pub fn expiration(bucket: &Bucket, key: &str, summary: &Summary, tags: &[(String, String)]) -> Option<String> {
    let (due_ms, rule) = bucket.configuration.lifecycle.as_ref()?.current(key, summary, tags)?;
    let id = utf8_percent_encode(&rule.id, &ID_KEPT);
    Some(format!("expiry-date=\"{}\", rule-id=\"{id}\"", http_date(due_ms)))
}

/// What lifecycle rules may ask about a new object; kept only where there are rules.
pub struct Expires {
    size: u64,
    tags: Vec<(String, String)>,
}

impl Expires {
    /// Of an object of this size and with these tags.
    pub fn of(bucket: &Bucket, size: u64, tags: &[(String, String)]) -> Option<Self> {
        bucket.configuration.lifecycle.as_ref().map(|_| Self { size, tags: tags.to_vec() })
    }

    /// `x-amz-expiration`
    pub fn told(self, bucket: &Bucket, key: &str, modified_ms: u64) -> Option<String> {
        let summary = Summary { size: self.size, modified_ms, ..Summary::default() };
        expiration(bucket, key, &summary, &self.tags)
    }
}

/// What stands in a rule's name as it is; the rest is percent-encoded.
const ID_KEPT: percent_encoding::AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

fn malformed() -> S3Error {
    s3_error!(MalformedXML)
}

/// A count of days: at least one.
fn days(days: i32, what: &str) -> S3Result<u32> {
    match u32::try_from(days) {
        Ok(days @ 1..) => Ok(days),
        _ => Err(s3_error!(InvalidArgument, "'{what}' must be a positive integer")),
    }
}

fn size(bytes: Option<i64>) -> S3Result<Option<u64>> {
    let bytes = bytes.map(u64::try_from).transpose();
    bytes.map_err(|_| s3_error!(InvalidArgument, "An object's size must not be negative"))
}

fn filter(rule: &mut LifecycleRule) -> S3Result<(Filter, bool)> {
    match (rule.prefix.take(), rule.filter.take()) {
        (Some(prefix), None) => Ok((Filter { prefix, ..Filter::default() }, true)),
        (None, Some(filter)) => Ok((of_filter(filter)?, false)),
        (None, None) => Err(malformed()),
        (Some(_), Some(_)) => Err(s3_error!(InvalidRequest, "Filter and Prefix cannot both be used in a rule")),
    }
}

fn of_filter(filter: LifecycleRuleFilter) -> S3Result<Filter> {
    let count = [
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
        filter.and.is_some(),
    ];
    if count.into_iter().filter(|there| *there).count() > 1 {
        return Err(malformed());
    }
    let and = filter.and.unwrap_or_default();
    let tags = tags::of_object(and.tags.unwrap_or_default().into_iter().chain(filter.tag).collect())?;
    let greater_than = size(filter.object_size_greater_than.or(and.object_size_greater_than))?;
    let less_than = size(filter.object_size_less_than.or(and.object_size_less_than))?;
    if let (Some(greater), Some(less)) = (greater_than, less_than)
        && greater >= less
    {
        return Err(s3_error!(InvalidRequest, "'ObjectSizeGreaterThan' must be less than 'ObjectSizeLessThan'"));
    }
    Ok(Filter { prefix: filter.prefix.or(and.prefix).unwrap_or_default(), tags, greater_than, less_than })
}

/// A date of a rule, Unix milliseconds.
fn midnight(date: Timestamp) -> S3Result<u64> {
    let seconds = OffsetDateTime::from(date).unix_timestamp();
    let ms = u64::try_from(seconds).ok().map(|seconds| seconds * 1000).filter(|ms| ms % DAY_MS == 0);
    ms.ok_or_else(|| s3_error!(InvalidArgument, "'Date' must be at midnight GMT"))
}

/// When current objects go, and whether a delete marker does that is left alone.
fn of_expiration(expiration: Option<LifecycleExpiration>) -> S3Result<(Option<Expiration>, bool)> {
    let Some(expiration) = expiration else { return Ok((None, false)) };
    match (expiration.days, expiration.date, expiration.expired_object_delete_marker) {
        (Some(count), None, None) => Ok((Some(Expiration::Days(days(count, "Days")?)), false)),
        (None, Some(date), None) => Ok((Some(Expiration::At(midnight(date)?)), false)),
        (None, None, Some(markers)) => Ok((None, markers)),
        _ => Err(malformed()),
    }
}

fn of_noncurrent(expiration: Option<NoncurrentVersionExpiration>) -> S3Result<Option<Noncurrent>> {
    let Some(expiration) = expiration else { return Ok(None) };
    let count = expiration.noncurrent_days.ok_or_else(malformed)?;
    let newer = match expiration.newer_noncurrent_versions {
        None => 0,
        Some(newer @ 1..=NEWER_MAX) => newer.unsigned_abs(),
        Some(_) => {
            let message = "'NewerNoncurrentVersions' must be between 1 and 100";
            return Err(S3Error::with_message(s3s::S3ErrorCode::InvalidArgument, message));
        }
    };
    Ok(Some(Noncurrent { days: days(count, "NoncurrentDays")?, newer }))
}

fn of_rule(mut rule: LifecycleRule, number: usize) -> S3Result<Rule> {
    // What is wrong is said before what is not there.
    for date in rule.transitions.iter().flatten().filter_map(|transition| transition.date.clone()) {
        midnight(date)?;
    }
    if rule.transitions.as_ref().is_some_and(|all| !all.is_empty())
        || rule.noncurrent_version_transitions.as_ref().is_some_and(|all| !all.is_empty())
    {
        return Err(not_implemented("Transition to another storage class (there is only one)"));
    }
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed()),
    };
    let (filter, bare_prefix) = filter(&mut rule)?;
    let (expiration, expired_markers) = of_expiration(rule.expiration.take())?;
    let noncurrent = of_noncurrent(rule.noncurrent_version_expiration.take())?;
    let abort = rule.abort_incomplete_multipart_upload.take();
    let abort_uploads = match abort {
        None => None,
        Some(abort) => {
            let count = abort.days_after_initiation.ok_or_else(malformed)?;
            Some(days(count, "DaysAfterInitiation")?)
        }
    };
    if expiration.is_none() && !expired_markers && noncurrent.is_none() && abort_uploads.is_none() {
        return Err(s3_error!(InvalidRequest, "At least one action needs to be specified in a rule"));
    }
    // Uploads have neither tags nor, before they end, a size; delete markers have no tags.
    let tags = !filter.tags.is_empty();
    let size = filter.greater_than.is_some() || filter.less_than.is_some();
    if tags && expired_markers {
        return Err(s3_error!(InvalidRequest, "ExpiredObjectDeleteMarker cannot be specified with Tags"));
    }
    if tags && abort_uploads.is_some() {
        return Err(s3_error!(InvalidRequest, "AbortIncompleteMultipartUpload cannot be specified with Tags"));
    }
    if size && abort_uploads.is_some() {
        return Err(s3_error!(InvalidRequest, "AbortIncompleteMultipartUpload cannot be specified with Object Size"));
    }
    let id = rule.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("rule-{number}"));
    if id.chars().count() > ID_MAX {
        return Err(s3_error!(InvalidArgument, "ID length should not exceed allowed limit of {ID_MAX}"));
    }
    Ok(Rule { id, enabled, filter, bare_prefix, expiration, expired_markers, noncurrent, abort_uploads })
}

fn of_rules(rules: Vec<LifecycleRule>, day_ms: u64) -> S3Result<Lifecycle> {
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(malformed());
    }
    let rules = rules.into_iter().zip(1..).map(|(rule, number)| of_rule(rule, number)).collect::<S3Result<Vec<_>>>()?;
    let mut ids = BTreeSet::new();
    if !rules.iter().all(|rule| ids.insert(rule.id.as_str())) {
        return Err(s3_error!(InvalidArgument, "Rule ID must be unique. Found same ID for more than one rule"));
    }
    Ok(Lifecycle { rules, day_ms })
}

fn tag((key, value): &(String, String)) -> Tag {
    Tag { key: Some(key.clone()), value: Some(value.clone()) }
}

fn shown_filter(filter: &Filter) -> LifecycleRuleFilter {
    let (greater, less) = (filter.greater_than.and_then(int), filter.less_than.and_then(int));
    let prefix = (!filter.prefix.is_empty()).then(|| filter.prefix.clone());
    let parts = usize::from(prefix.is_some())
        + filter.tags.len()
        + usize::from(greater.is_some())
        + usize::from(less.is_some());
    if parts > 1 {
        let tags = (!filter.tags.is_empty()).then(|| filter.tags.iter().map(tag).collect());
        let and =
            LifecycleRuleAndOperator { prefix, tags, object_size_greater_than: greater, object_size_less_than: less };
        return LifecycleRuleFilter { and: Some(and), ..Default::default() };
    }
    LifecycleRuleFilter {
        and: None,
        prefix: if parts == 0 { Some(String::new()) } else { prefix },
        tag: filter.tags.first().map(tag),
        object_size_greater_than: greater,
        object_size_less_than: less,
    }
}

fn shown(rule: &Rule) -> LifecycleRule {
    let count = |days: u32| i32::try_from(days).ok();
    let expiration = match rule.expiration {
        Some(Expiration::Days(days)) => Some(LifecycleExpiration { days: count(days), ..Default::default() }),
        Some(Expiration::At(ms)) => {
            let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
            let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            Some(LifecycleExpiration { date: Some(Timestamp::from(date)), ..Default::default() })
        }
        None => rule
            .expired_markers
            .then(|| LifecycleExpiration { expired_object_delete_marker: Some(true), ..Default::default() }),
    };
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    LifecycleRule {
        abort_incomplete_multipart_upload: rule
            .abort_uploads
            .map(|days| AbortIncompleteMultipartUpload { days_after_initiation: count(days) }),
        expiration,
        filter: (!rule.bare_prefix).then(|| shown_filter(&rule.filter)),
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
            newer_noncurrent_versions: Some(noncurrent.newer).filter(|newer| *newer > 0).and_then(count),
            noncurrent_days: count(noncurrent.days),
        }),
        noncurrent_version_transitions: None,
        prefix: rule.bare_prefix.then(|| rule.filter.prefix.clone()),
        status: ExpirationStatus::from_static(status),
        transitions: None,
    }
}

/// PutBucketLifecycleConfiguration
pub async fn put(
    s3: &S3Service,
    req: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let input = req.input;
    let rules = input.lifecycle_configuration.map(|configuration| configuration.rules).unwrap_or_default();
    let lifecycle = of_rules(rules, s3.config.lifecycle_day_ms)?;
    let bucket = s3.bucket_now(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    s3.router.change_bucket(bucket.name.clone(), BucketChange::Lifecycle(Some(lifecycle))).await?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

/// GetBucketLifecycleConfiguration
pub async fn get(
    s3: &S3Service,
    req: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let lifecycle = bucket.configuration.lifecycle.as_ref().ok_or_else(|| Absent::Lifecycle.error())?;
    let rules = Some(lifecycle.rules.iter().map(shown).collect());
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput { rules, ..Default::default() }))
}

/// DeleteBucketLifecycle
pub async fn delete(
    s3: &S3Service,
    req: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    if bucket.configuration.lifecycle.is_some() {
        s3.router.change_bucket(bucket.name.clone(), BucketChange::Lifecycle(None)).await?;
    }
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

#[cfg(test)]
mod tests {
    use s3s::dto::Transition;

    use super::*;

    fn rule(id: &str) -> LifecycleRule {
        LifecycleRule {
            expiration: Some(LifecycleExpiration { days: Some(3), ..Default::default() }),
            filter: Some(LifecycleRuleFilter { prefix: Some("a/".to_owned()), ..Default::default() }),
            id: Some(id.to_owned()),
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            abort_incomplete_multipart_upload: None,
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            transitions: None,
        }
    }

    fn code(rules: Vec<LifecycleRule>) -> String {
        of_rules(rules, DAY_MS).err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn rules_come_back_as_they_went() {
        let and = LifecycleRuleAndOperator {
            prefix: Some("p".to_owned()),
            tags: Some(vec![tag(&("t".to_owned(), "v".to_owned()))]),
            object_size_greater_than: Some(1),
            object_size_less_than: Some(9),
        };
        let all = vec![
            rule("one"),
            LifecycleRule { filter: Some(LifecycleRuleFilter { and: Some(and), ..Default::default() }), ..rule("two") },
            LifecycleRule {
                filter: None,
                prefix: Some(String::new()),
                expiration: None,
                abort_incomplete_multipart_upload: Some(AbortIncompleteMultipartUpload {
                    days_after_initiation: Some(2),
                }),
                noncurrent_version_expiration: Some(NoncurrentVersionExpiration {
                    newer_noncurrent_versions: Some(4),
                    noncurrent_days: Some(5),
                }),
                ..rule("three")
            },
        ];
        let lifecycle = of_rules(all.clone(), DAY_MS).unwrap();
        assert_eq!(lifecycle.rules.iter().map(shown).collect::<Vec<_>>(), all);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let expiration = |days, expired_object_delete_marker| {
            Some(LifecycleExpiration { days, expired_object_delete_marker, ..Default::default() })
        };
        assert_eq!(code(vec![]), "MalformedXML");
        assert_eq!(code(vec![rule("a"), rule("a")]), "InvalidArgument");
        assert_eq!(code(vec![rule(&"i".repeat(256))]), "InvalidArgument");
        assert_eq!(code(vec![LifecycleRule { expiration: expiration(Some(0), None), ..rule("a") }]), "InvalidArgument");
        assert_eq!(
            code(vec![LifecycleRule { expiration: expiration(Some(1), Some(true)), ..rule("a") }]),
            "MalformedXML"
        );
        assert_eq!(code(vec![LifecycleRule { expiration: None, ..rule("a") }]), "InvalidRequest");
        assert_eq!(code(vec![LifecycleRule { filter: None, ..rule("a") }]), "MalformedXML");
        let transitions = Some(vec![Transition { days: Some(1), ..Default::default() }]);
        assert_eq!(code(vec![LifecycleRule { transitions, ..rule("a") }]), "NotImplemented");
        let date = Some(OffsetDateTime::from_unix_timestamp(1).unwrap().into());
        let transitions = Some(vec![Transition { date, ..Default::default() }]);
        assert_eq!(code(vec![LifecycleRule { transitions, ..rule("a") }]), "InvalidArgument");
        let status = ExpirationStatus::from_static("enabled");
        assert_eq!(code(vec![LifecycleRule { status, ..rule("a") }]), "MalformedXML");
        let abort = Some(AbortIncompleteMultipartUpload { days_after_initiation: Some(2) });
        let tagged = LifecycleRuleFilter { tag: Some(tag(&("t".into(), "v".into()))), ..Default::default() };
        let large = LifecycleRuleFilter { object_size_greater_than: Some(1), ..Default::default() };
        let small = LifecycleRuleFilter { object_size_less_than: Some(9), ..Default::default() };
        for (filter, what) in [(tagged, "Tags"), (large, "Object Size"), (small, "Object Size")] {
            let both =
                LifecycleRule { filter: Some(filter), abort_incomplete_multipart_upload: abort.clone(), ..rule("a") };
            let error = of_rules(vec![both], DAY_MS).unwrap_err();
            assert_eq!(error.code(), &s3s::S3ErrorCode::InvalidRequest);
            let expected = format!("AbortIncompleteMultipartUpload cannot be specified with {what}");
            assert_eq!(error.message(), Some(expected.as_str()));
        }
        let named = LifecycleRule { id: None, ..rule("") };
        assert_eq!(of_rules(vec![named], DAY_MS).unwrap().rules[0].id, "rule-1");
    }
}
