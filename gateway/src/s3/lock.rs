//! Object Lock: the bucket's configuration, retention and legal hold of versions. What they forbid is decided where
//! writes are applied; here is only the language.

use holdfast_wire::configuration::BucketChange;
use holdfast_wire::lock::{BucketLock, DefaultRetention, LockMode, ObjectLock, Period, Retention};
use holdfast_wire::object::Object;
use holdfast_wire::request::{Amend, Amendment, Write, WriteOutcome};
use http::StatusCode;
use s3s::dto::{
    self, GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode, ObjectLockRule, PutObjectLegalHoldInput, PutObjectLegalHoldOutput,
    PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput, PutObjectRetentionInput,
    PutObjectRetentionOutput, Timestamp,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use time::OffsetDateTime;

use super::S3Service;
use super::answer::written;
use super::put::unexpected;
use super::request::{key, modes, version};
use crate::error::custom;

/// The longest default retention, as S3 has it.
const DAYS_MAX: i32 = 36_500;
/// The same in years.
const YEARS_MAX: i32 = 100;

/// The lock headers of a write, before they are checked.
#[derive(Default)]
pub struct RawLock {
    pub mode: Option<ObjectLockMode>,
    pub until: Option<Timestamp>,
    pub hold: Option<ObjectLockLegalHoldStatus>,
}

impl RawLock {
    /// Checked, as it is kept.
    pub fn check(self) -> S3Result<ObjectLock> {
        let retention = match (self.mode, self.until) {
            (None, None) => None,
            (Some(name), Some(until)) => {
                let mode =
                    mode(name.as_str()).ok_or_else(|| s3_error!(InvalidArgument, "Unknown wormMode directive."))?;
                Some(Retention { mode, until_ms: ms(&until) })
            }
            (None, Some(_)) | (Some(_), None) => {
                return Err(s3_error!(
                    InvalidArgument,
                    "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
                ));
            }
        };
        let legal_hold = match self.hold.as_ref().map(ObjectLockLegalHoldStatus::as_str) {
            None => None,
            Some("OFF") => Some(false),
            Some("ON") => Some(true),
            Some(_) => return Err(s3_error!(InvalidArgument, "Legal Hold must be either of 'ON' or 'OFF'")),
        };
        Ok(ObjectLock { retention, legal_hold })
    }
}

fn mode(name: &str) -> Option<LockMode> {
    match name {
        "GOVERNANCE" => Some(LockMode::Governance),
        "COMPLIANCE" => Some(LockMode::Compliance),
        _ => None,
    }
}

fn name(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "GOVERNANCE",
        LockMode::Compliance => "COMPLIANCE",
    }
}

fn ms(time: &Timestamp) -> u64 {
    u64::try_from(OffsetDateTime::from(time.clone()).unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

fn time(unix_ms: u64) -> Timestamp {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .into()
}

/// `x-amz-object-lock-mode`
pub fn shown_mode(lock: &ObjectLock) -> Option<ObjectLockMode> {
    lock.retention.map(|retention| ObjectLockMode::from_static(name(retention.mode)))
}

/// `x-amz-object-lock-retain-until-date`
pub fn shown_until(lock: &ObjectLock) -> Option<Timestamp> {
    lock.retention.map(|retention| time(retention.until_ms))
}

/// `x-amz-object-lock-legal-hold`
pub fn shown_hold(lock: &ObjectLock) -> Option<ObjectLockLegalHoldStatus> {
    lock.legal_hold.map(hold_status)
}

fn hold_status(on: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(match on {
        true => ObjectLockLegalHoldStatus::ON,
        false => ObjectLockLegalHoldStatus::OFF,
    })
}

fn bucket_lock(configuration: Option<ObjectLockConfiguration>) -> S3Result<BucketLock> {
    let malformed = || s3_error!(MalformedXML);
    let configuration = configuration.ok_or_else(malformed)?;
    if configuration.object_lock_enabled.as_ref().is_some_and(|enabled| enabled.as_str() != ObjectLockEnabled::ENABLED)
    {
        return Err(malformed());
    }
    let Some(rule) = configuration.rule else {
        return match configuration.object_lock_enabled {
            Some(_) => Ok(BucketLock { default: None }),
            None => Err(malformed()),
        };
    };
    let default = rule.default_retention.ok_or_else(malformed)?;
    let mode = default.mode.and_then(|name| mode(name.as_str())).ok_or_else(malformed)?;
    let period = match (default.days, default.years) {
        (Some(days @ 1..=DAYS_MAX), None) => Period::Days(days.unsigned_abs()),
        (None, Some(years @ 1..=YEARS_MAX)) => Period::Years(years.unsigned_abs()),
        (Some(count), None) | (None, Some(count)) => {
            let message = match count {
                ..=0 => "Default retention period must be a positive integer value".to_owned(),
                1.. => format!("Default retention period must not be longer than {DAYS_MAX} days or {YEARS_MAX} years"),
            };
            return Err(custom("InvalidRetentionPeriod", StatusCode::BAD_REQUEST, message));
        }
        (None, None) | (Some(_), Some(_)) => return Err(malformed()),
    };
    Ok(BucketLock { default: Some(DefaultRetention { mode, period }) })
}

/// PutObjectLockConfiguration
pub async fn put_configuration(
    s3: &S3Service,
    req: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let input = req.input;
    let lock = bucket_lock(input.object_lock_configuration)?;
    let bucket = s3.bucket_now(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    s3.router.change_bucket(bucket.name.clone(), BucketChange::Lock(lock)).await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

/// GetObjectLockConfiguration
pub async fn configuration(
    s3: &S3Service,
    req: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let Some(lock) = bucket.configuration.lock else {
        let mut error =
            s3_error!(ObjectLockConfigurationNotFoundError, "Object Lock configuration does not exist for this bucket");
        error.set_status_code(StatusCode::NOT_FOUND);
        return Err(error);
    };
    let rule = lock.default.map(|default| {
        let count = |count: u32| i32::try_from(count).ok();
        let (days, years) = match default.period {
            Period::Days(days) => (count(days), None),
            Period::Years(years) => (None, count(years)),
        };
        let mode = Some(ObjectLockRetentionMode::from_static(name(default.mode)));
        ObjectLockRule { default_retention: Some(dto::DefaultRetention { days, mode, years }) }
    });
    let object_lock_enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    Ok(S3Response::new(GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(ObjectLockConfiguration { object_lock_enabled, rule }),
    }))
}

/// The version that a request is about.
pub struct Subject<'a> {
    /// The bucket's name.
    pub bucket: &'a str,
    /// Whose the bucket must be.
    pub owner: Option<&'a str>,
    /// The object's key.
    pub key: String,
    /// The version's id.
    pub version: Option<&'a str>,
}

/// The [`Subject`] of an input.
macro_rules! subject {
    ($input:expr) => {
        $crate::s3::lock::Subject {
            bucket: &$input.bucket,
            owner: $input.expected_bucket_owner.as_deref(),
            key: std::mem::take(&mut $input.key),
            version: $input.version_id.as_deref(),
        }
    };
}

pub(super) use subject;

impl S3Service {
    /// A version whose lock is asked for, in a bucket that has locks.
    async fn lockable(
        &self,
        headers: &http::HeaderMap,
        Subject { bucket, owner: expected_owner, key: name, version: version_id }: Subject<'_>,
    ) -> S3Result<Object> {
        let version = version(version_id)?;
        if self.bucket(bucket, expected_owner).await?.configuration.lock.is_none() {
            return Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"));
        }
        Ok(self.record(headers, bucket, expected_owner, name, version).await?.1)
    }

    /// Changes what is kept beside a version's bytes.
    pub(super) async fn amend<T>(
        &self,
        headers: &http::HeaderMap,
        subject: Subject<'_>,
        change: Amendment,
        output: impl FnOnce(Option<String>) -> T,
    ) -> S3Result<S3Response<T>> {
        let modes = modes(headers)?;
        let (key, version) = (key(subject.key)?, version(subject.version)?);
        let bucket = self.bucket(subject.bucket, subject.owner).await?;
        let amend = Amend { bucket: bucket.id, key: key.clone(), version, change };
        let answer = self.router.write(&bucket, &key, modes, Write::Amend(amend)).await?;
        let WriteOutcome::Stored { seq, version, .. } = answer.outcome else { return Err(unexpected(&answer)) };
        Ok(written(output(version.map(|version| version.to_string())), seq, answer.ack))
    }
}

fn no_lock() -> s3s::S3Error {
    custom(
        "NoSuchObjectLockConfiguration",
        StatusCode::NOT_FOUND,
        "The specified object does not have a ObjectLock configuration",
    )
}

/// GetObjectRetention
pub async fn retention(
    s3: &S3Service,
    mut req: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let input = &mut req.input;
    let object = s3.lockable(&req.headers, subject!(input)).await?;
    let retention = object.detail.lock.retention.ok_or_else(no_lock)?;
    let retention = ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(name(retention.mode))),
        retain_until_date: Some(time(retention.until_ms)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
}

fn asked_retention(retention: Option<ObjectLockRetention>) -> S3Result<Option<Retention>> {
    match retention.map(|retention| (retention.mode, retention.retain_until_date)) {
        None | Some((None, None)) => Ok(None),
        Some((Some(name), Some(until))) => match mode(name.as_str()) {
            Some(mode) => Ok(Some(Retention { mode, until_ms: ms(&until) })),
            None => Err(s3_error!(MalformedXML)),
        },
        Some(_) => Err(s3_error!(MalformedXML)),
    }
}

/// PutObjectRetention
pub async fn put_retention(
    s3: &S3Service,
    mut req: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    let input = &mut req.input;
    let retention = asked_retention(input.retention.take())?;
    let bypass_governance = input.bypass_governance_retention.unwrap_or(false);
    let change = Amendment::Retention { retention, bypass_governance };
    let output = |_| PutObjectRetentionOutput::default();
    s3.amend(&req.headers, subject!(input), change, output).await
}

/// GetObjectLegalHold
pub async fn legal_hold(
    s3: &S3Service,
    mut req: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    let input = &mut req.input;
    let object = s3.lockable(&req.headers, subject!(input)).await?;
    let hold = object.detail.lock.legal_hold.ok_or_else(no_lock)?;
    let status = Some(hold_status(hold));
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status }) }))
}

/// PutObjectLegalHold
pub async fn put_legal_hold(
    s3: &S3Service,
    mut req: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    let input = &mut req.input;
    let status = input.legal_hold.take().and_then(|hold| hold.status);
    let hold = match status.as_ref().map(ObjectLockLegalHoldStatus::as_str) {
        Some("ON") => true,
        Some("OFF") => false,
        None | Some(_) => return Err(s3_error!(MalformedXML)),
    };
    let output = |_| PutObjectLegalHoldOutput::default();
    s3.amend(&req.headers, subject!(input), Amendment::LegalHold(hold), output).await
}

#[cfg(test)]
mod tests {
    use s3s::dto::ObjectLockRule;

    use super::*;

    fn code<T>(result: S3Result<T>) -> String {
        result.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_configuration_has_one_period_within_bounds() {
        let of = |mode: &'static str, days, years| {
            let mode = Some(ObjectLockRetentionMode::from_static(mode));
            bucket_lock(Some(ObjectLockConfiguration {
                object_lock_enabled: Some(ObjectLockEnabled::from_static("Enabled")),
                rule: Some(ObjectLockRule { default_retention: Some(dto::DefaultRetention { days, mode, years }) }),
            }))
        };
        let expected = DefaultRetention { mode: LockMode::Governance, period: Period::Days(3) };
        assert_eq!(of("GOVERNANCE", Some(3), None).unwrap().default, Some(expected));
        assert_eq!(code(of("GOVERNANCE", Some(0), None)), "InvalidRetentionPeriod");
        assert_eq!(code(of("GOVERNANCE", None, Some(-1))), "InvalidRetentionPeriod");
        for (days, years, expected) in [
            (Some(0), None, "Default retention period must be a positive integer value"),
            (Some(36_501), None, "Default retention period must not be longer than 36500 days or 100 years"),
            (None, Some(101), "Default retention period must not be longer than 36500 days or 100 years"),
        ] {
            assert_eq!(of("GOVERNANCE", days, years).unwrap_err().message(), Some(expected));
        }
        assert_eq!(code(of("GOVERNANCE", Some(1), Some(1))), "MalformedXML");
        assert_eq!(code(of("governance", Some(1), None)), "MalformedXML");
        assert_eq!(code(bucket_lock(None)), "MalformedXML");
    }

    #[test]
    fn headers_come_in_pairs() {
        let raw = |mode: Option<&'static str>, until: Option<u64>, hold: Option<&'static str>| {
            let mode = mode.map(ObjectLockMode::from_static);
            RawLock { mode, until: until.map(time), hold: hold.map(ObjectLockLegalHoldStatus::from_static) }.check()
        };
        assert_eq!(raw(None, None, None).unwrap(), ObjectLock::default());
        let retention = Some(Retention { mode: LockMode::Compliance, until_ms: 5000 });
        assert_eq!(
            raw(Some("COMPLIANCE"), Some(5000), Some("ON")).unwrap(),
            ObjectLock { retention, legal_hold: Some(true) }
        );
        for refused in [
            raw(Some("COMPLIANCE"), None, None),
            raw(None, Some(5), None),
            raw(Some("abc"), Some(5), None),
            raw(None, None, Some("on")),
        ] {
            assert_eq!(code(refused), "InvalidArgument");
        }
    }
}
