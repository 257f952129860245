//! What buckets hold and may hold, and what goes by itself: as it is wished, as it is shown, and how it is brought about.

use std::collections::BTreeMap;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::BucketChange;
use holdfast_wire::due::{Due, DueKind, DuePage, LifecycleReport};
use holdfast_wire::lifecycle::{Expiration, Filter, Lifecycle, Noncurrent, Rule};
use holdfast_wire::lock::DAY_MS;
use holdfast_wire::request::{Read, Response};
use holdfast_wire::usage::{Quota, Usage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::provision::BadFile;
use super::view::time;
use super::{Access, AccessError};
use crate::cluster::OperationError;

/// The most that one look into the expiry index gives.
pub const DUE_MAX: u32 = 10_000;

/// What a bucket may hold. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaWish {
    /// Bytes, as a number, with a unit (`10GiB`, `500MB`), or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Value>,
    /// Objects, older versions and delete markers, or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Value>,
}

/// What a bucket may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QuotaView {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Objects, older versions and delete markers.
    pub objects: Option<u64>,
}

/// What a bucket holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageView {
    /// Its name.
    pub bucket: String,
    /// Current objects.
    pub objects: u64,
    /// Older versions and delete markers.
    pub versions: u64,
    /// Bytes of all versions.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
    /// Bytes of their parts.
    pub part_bytes: u64,
    /// Bytes that it may hold, parts included.
    pub quota_bytes: Option<u64>,
    /// Objects, older versions and delete markers that it may hold.
    pub quota_objects: Option<u64>,
}

/// One lifecycle rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleEntry {
    /// Its name, unique in the bucket.
    pub id: String,
    /// Whether it is carried out; it is by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Only keys with this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only objects with all these tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// Only objects of more bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// Only objects of fewer bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
    /// Current objects go so many days after they were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_days: Option<u32>,
    /// Current objects go at this time: RFC 3339, midnight GMT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<String>,
    /// Delete markers go that are all there is of their key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_markers: Option<bool>,
    /// Versions go so many days after they were replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent_days: Option<u32>,
    /// And so many of the newest of them stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent_keep: Option<u32>,
    /// Open uploads go so many days after they were begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_uploads_days: Option<u32>,
}

/// The rules of a bucket, and what the nodes have done for all buckets' rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LifecycleView {
    /// Its rules.
    pub rules: Vec<RuleEntry>,
    /// How long a day of theirs is, seconds.
    pub day_seconds: u64,
    /// Whether they are so new that not all that was there before them is indexed yet.
    pub indexing: bool,
    /// What was done since the nodes started.
    pub done: DoneView,
}

/// What the nodes have done for lifecycle rules since they started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DoneView {
    /// Current objects that went, or were covered by a delete marker.
    pub objects: u64,
    /// Versions that went.
    pub versions: u64,
    /// Delete markers that went.
    pub markers: u64,
    /// Uploads that were aborted.
    pub uploads: u64,
    /// When something was due last.
    pub last: Option<String>,
}

/// What will go, in the order of its times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DueView {
    /// When.
    pub due: String,
    /// `object`, `version`, `marker` or `upload`.
    pub what: String,
    /// Its key.
    pub key: String,
    /// The version, or the upload.
    pub id: String,
    /// Its bytes.
    pub bytes: u64,
    /// Whether Object Lock will protect it then, so that it stays for longer.
    pub held: bool,
}

fn bad(what: &str, value: &str) -> AccessError {
    AccessError::File(BadFile::Value { what: what.to_owned(), value: value.to_owned() })
}

/// An amount: a number, perhaps with a unit, or `none`.
pub fn amount(what: &str, value: &Value, units: bool) -> Result<Option<u64>, AccessError> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => return number.as_u64().map(Some).ok_or_else(|| bad(what, &number.to_string())),
        Value::String(text) if text == "none" => return Ok(None),
        Value::String(text) => text.trim(),
        other => return Err(bad(what, &other.to_string())),
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].trim() {
        "" => 1,
        _ if !units => return Err(bad(what, text)),
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(bad(what, text)),
    };
    let number = text[..digits].parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    number.map(Some).ok_or_else(|| bad(what, text))
}

/// The quota that a wish makes of one; `None`: no bound at all.
pub fn quota(now: Option<Quota>, wish: &QuotaWish) -> Result<Option<Quota>, AccessError> {
    let mut quota = now.unwrap_or_default();
    if let Some(bytes) = &wish.bytes {
        quota.bytes = amount("bytes", bytes, true)?;
    }
    if let Some(objects) = &wish.objects {
        quota.objects = amount("objects", objects, false)?;
    }
    Ok(Some(quota).filter(|quota| !quota.is_none()))
}

fn usage_view(bucket: &Bucket, usage: Usage) -> UsageView {
    let Usage { objects, versions, bytes, uploads, part_bytes } = usage;
    let quota = bucket.configuration.quota.unwrap_or_default();
    let (quota_bytes, quota_objects) = (quota.bytes, quota.objects);
    UsageView {
        bucket: bucket.name.to_string(),
        objects,
        versions,
        bytes,
        uploads,
        part_bytes,
        quota_bytes,
        quota_objects,
    }
}

/// The rules that entries say.
pub fn lifecycle(entries: &[RuleEntry], day_ms: u64) -> Result<Option<Lifecycle>, AccessError> {
    let mut rules: Vec<Rule> = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.id.is_empty() || entry.id.chars().count() > 255 || rules.iter().any(|rule| rule.id == entry.id) {
            return Err(bad("a lifecycle rule's id, which is unique and has 1 to 255 characters,", &entry.id));
        }
        rules.push(rule(entry)?);
    }
    Ok((!rules.is_empty()).then_some(Lifecycle { rules, day_ms }))
}

fn rule(entry: &RuleEntry) -> Result<Rule, AccessError> {
    let unfit = |what: &str| bad(&format!("lifecycle rule {:?}", entry.id), what);
    let days = |days: Option<u32>, what: &str| match days {
        Some(0) => Err(unfit(&format!("{what} = 0"))),
        days => Ok(days),
    };
    let expiration = match (days(entry.expire_days, "expire_days")?, &entry.expire_at) {
        (Some(_), Some(_)) => return Err(unfit("expire_days and expire_at")),
        (Some(days), None) => Some(Expiration::Days(days)),
        (None, Some(text)) => {
            let at = super::edit::moment(text, 0)?.filter(|ms| *ms % DAY_MS == 0 && text.contains('-'));
            Some(Expiration::At(at.ok_or_else(|| unfit(text))?))
        }
        (None, None) => None,
    };
    let noncurrent = days(entry.noncurrent_days, "noncurrent_days")?;
    let noncurrent = noncurrent.map(|days| Noncurrent { days, newer: entry.noncurrent_keep.unwrap_or(0) });
    if noncurrent.is_none() && entry.noncurrent_keep.is_some() {
        return Err(unfit("noncurrent_keep without noncurrent_days"));
    }
    let abort_uploads = days(entry.abort_uploads_days, "abort_uploads_days")?;
    let expired_markers = entry.expired_markers.unwrap_or(false);
    if expiration.is_none() && !expired_markers && noncurrent.is_none() && abort_uploads.is_none() {
        return Err(unfit("nothing that it does"));
    }
    if expired_markers && expiration.is_some() {
        return Err(unfit("expired_markers beside expire_days or expire_at"));
    }
    let tags: Vec<(String, String)> = entry.tags.clone().unwrap_or_default().into_iter().collect();
    if !tags.is_empty() && (expired_markers || abort_uploads.is_some()) {
        return Err(unfit("tags, which delete markers and uploads do not have"));
    }
    if let (Some(larger), Some(smaller)) = (entry.larger_than, entry.smaller_than)
        && larger >= smaller
    {
        return Err(unfit("larger_than, not less than smaller_than"));
    }
    Ok(Rule {
        id: entry.id.clone(),
        enabled: entry.enabled.unwrap_or(true),
        filter: Filter {
            prefix: entry.prefix.clone().unwrap_or_default(),
            tags,
            greater_than: entry.larger_than,
            less_than: entry.smaller_than,
        },
        bare_prefix: false,
        expiration,
        expired_markers,
        noncurrent,
        abort_uploads,
    })
}

/// The inverse of [`lifecycle`].
fn entry(rule: &Rule) -> RuleEntry {
    let Filter { prefix, tags, greater_than, less_than } = &rule.filter;
    RuleEntry {
        id: rule.id.clone(),
        enabled: Some(rule.enabled),
        prefix: Some(prefix.clone()).filter(|prefix| !prefix.is_empty()),
        tags: (!tags.is_empty()).then(|| tags.iter().cloned().collect()),
        larger_than: *greater_than,
        smaller_than: *less_than,
        expire_days: match rule.expiration {
            Some(Expiration::Days(days)) => Some(days),
            _ => None,
        },
        expire_at: match rule.expiration {
            Some(Expiration::At(ms)) => Some(time(ms)),
            _ => None,
        },
        expired_markers: rule.expired_markers.then_some(true),
        noncurrent_days: rule.noncurrent.map(|noncurrent| noncurrent.days),
        noncurrent_keep: rule.noncurrent.map(|noncurrent| noncurrent.newer).filter(|newer| *newer > 0),
        abort_uploads_days: rule.abort_uploads,
    }
}

fn due_view(due: Due) -> DueView {
    let (what, id) = match due.what {
        DueKind::Object(version) => ("object", version.to_string()),
        DueKind::Version(version) => ("version", version.to_string()),
        DueKind::Marker(version) => ("marker", version.to_string()),
        DueKind::Upload(upload) => ("upload", upload.to_string()),
    };
    DueView { due: time(due.due_ms), what: what.to_owned(), key: due.key, id, bytes: due.size, held: due.held }
}

impl Access {
    /// What a bucket holds, or every one: the sums over all shards, each as of the moment it was asked.
    pub async fn usage(&self, name: Option<&str>) -> Result<Vec<UsageView>, AccessError> {
        let buckets = match name {
            Some(name) => vec![self.bucket(name).await?],
            None => self.buckets().await?,
        };
        let read = Read::Usage { bucket: name.and_then(|_| buckets.first().map(|bucket| bucket.id)) };
        let mut sums = BTreeMap::new();
        for answer in self.cluster().every_shard(&read).await? {
            let Response::Usage(held) = answer else { return Err(OperationError::OtherAnswer.into()) };
            for one in held {
                let sum: &mut Usage = sums.entry(one.bucket).or_default();
                *sum = sum.plus(one.usage);
            }
        }
        let held = |bucket: &Bucket| sums.get(&bucket.id).copied().unwrap_or_default();
        Ok(buckets.iter().map(|bucket| usage_view(bucket, held(bucket))).collect())
    }

    /// Sets what a bucket may hold; says what it is now, and whether it was another.
    pub async fn set_quota(&self, name: &str, wish: &QuotaWish) -> Result<(QuotaView, bool), AccessError> {
        let bucket = self.bucket(name).await?;
        let quota = quota(bucket.configuration.quota, wish)?;
        let changed = quota != bucket.configuration.quota;
        if changed {
            self.change_bucket(name, BucketChange::Quota(quota)).await?;
        }
        let Quota { bytes, objects } = quota.unwrap_or_default();
        Ok((QuotaView { bytes, objects }, changed))
    }

    /// Sets a bucket's lifecycle rules; says whether they were others.
    pub async fn set_lifecycle(&self, bucket: &Bucket, entries: &[RuleEntry]) -> Result<bool, AccessError> {
        let before = bucket.configuration.lifecycle.as_ref();
        let rules = lifecycle(entries, self.day_ms())?;
        let same = match (before, &rules) {
            (Some(before), Some(rules)) => before.rules == rules.rules,
            (before, rules) => before.is_none() && rules.is_none(),
        };
        if !same {
            self.change_bucket(bucket.name.as_str(), BucketChange::Lifecycle(rules)).await?;
        }
        Ok(!same)
    }

    async fn due_pages(&self, bucket: &Bucket, limit: u32) -> Result<Vec<DuePage>, AccessError> {
        let answers = self.cluster().every_shard(&Read::Due { bucket: bucket.id, limit }).await?;
        let pages = answers.into_iter().map(|answer| match answer {
            Response::Due(page) => Ok(*page),
            _ => Err(OperationError::OtherAnswer.into()),
        });
        pages.collect()
    }

    /// A bucket's rules, and what was done.
    pub async fn lifecycle(&self, name: &str) -> Result<LifecycleView, AccessError> {
        let bucket = self.bucket(name).await?;
        let pages = self.due_pages(&bucket, 0).await?;
        let nodes: BTreeMap<_, LifecycleReport> = pages.iter().map(|page| page.done).collect();
        let sum = |of: fn(&LifecycleReport) -> u64| nodes.values().map(of).sum();
        let last_ms = nodes.values().map(|report| report.last_ms).max().filter(|ms| *ms > 0);
        let lifecycle = bucket.configuration.lifecycle.as_ref();
        Ok(LifecycleView {
            rules: lifecycle.map(|lifecycle| lifecycle.rules.iter().map(entry).collect()).unwrap_or_default(),
            day_seconds: lifecycle.map_or(self.day_ms(), |lifecycle| lifecycle.day_ms) / 1000,
            indexing: pages.iter().any(|page| page.indexing),
            done: DoneView {
                objects: sum(|report| report.objects),
                versions: sum(|report| report.versions),
                markers: sum(|report| report.markers),
                uploads: sum(|report| report.uploads),
                last: last_ms.map(time),
            },
        })
    }

    /// What of a bucket will go first, at most `limit`.
    pub async fn due(&self, name: &str, limit: u32) -> Result<Vec<DueView>, AccessError> {
        let bucket = self.bucket(name).await?;
        let pages = self.due_pages(&bucket, limit.min(DUE_MAX)).await?;
        let mut due: Vec<Due> = pages.into_iter().flat_map(|page| page.due).collect();
        due.sort_by(|a, b| (a.due_ms, &a.key).cmp(&(b.due_ms, &b.key)));
        due.truncate(limit as usize);
        Ok(due.into_iter().map(due_view).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_numbers_with_or_without_a_unit() {
        for (value, found) in [
            (json!(5), Some(5)),
            (json!("7"), Some(7)),
            (json!("10GiB"), Some(10 << 30)),
            (json!("2 MB"), Some(2_000_000)),
            (json!("none"), None),
            (json!(null), None),
        ] {
            assert_eq!(amount("bytes", &value, true).unwrap(), found, "{value}");
        }
        for value in [json!("GiB"), json!("1.5GiB"), json!("99999999999TiB"), json!(-1), json!("5 parsecs"), json!([])]
        {
            assert!(amount("bytes", &value, true).is_err(), "{value}");
        }
        assert!(amount("objects", &json!("5kB"), false).is_err());
    }

    #[test]
    fn a_quota_keeps_what_is_not_wished() {
        let both = Some(Quota { bytes: Some(5), objects: Some(6) });
        let bytes = |value| QuotaWish { bytes: Some(value), objects: None };
        assert_eq!(quota(both, &bytes(json!(7))).unwrap(), Some(Quota { bytes: Some(7), objects: Some(6) }));
        let none = QuotaWish { bytes: Some(json!("none")), objects: Some(json!("none")) };
        assert_eq!(quota(both, &none).unwrap(), None);
        assert_eq!(quota(None, &QuotaWish::default()).unwrap(), None);
    }

    #[test]
    fn rules_are_those_of_s3_and_come_back_as_they_went() {
        let entries = [
            RuleEntry {
                id: "logs".into(),
                prefix: Some("logs/".into()),
                expire_days: Some(30),
                noncurrent_days: Some(1),
                noncurrent_keep: Some(3),
                ..RuleEntry::default()
            },
            RuleEntry { id: "uploads".into(), abort_uploads_days: Some(7), ..RuleEntry::default() },
            RuleEntry { id: "once".into(), expire_at: Some("2027-01-01T00:00:00Z".into()), ..RuleEntry::default() },
        ];
        let rules = lifecycle(&entries, DAY_MS).unwrap().unwrap();
        let shown: Vec<RuleEntry> = rules.rules.iter().map(entry).collect();
        assert_eq!(lifecycle(&shown, DAY_MS).unwrap().unwrap(), rules);
        assert_eq!(shown[2].expire_at.as_deref(), Some("2027-01-01T00:00:00Z"));
        let with = |change: fn(&mut RuleEntry)| {
            let mut one = entries[0].clone();
            change(&mut one);
            lifecycle(&[one], DAY_MS)
        };
        assert!(with(|rule| rule.expire_days = Some(0)).is_err());
        assert!(with(|rule| rule.expire_at = Some("2027-01-01T00:00:00Z".into())).is_err());
        assert!(with(|rule| rule.id = String::new()).is_err());
        assert!(
            with(|rule| (rule.expire_days, rule.noncurrent_days, rule.noncurrent_keep) = (None, None, None)).is_err()
        );
        assert!(with(|rule| rule.noncurrent_days = None).is_err());
        assert!(lifecycle(&[entries[1].clone(), entries[1].clone()], DAY_MS).is_err());
        assert_eq!(lifecycle(&[], DAY_MS).unwrap(), None);
    }
}
