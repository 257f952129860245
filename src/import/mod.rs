//! `holdfast import`: brings the objects of another S3 here, and may be repeated: what is here already is not copied
//! again, what has changed there since is, and what somebody else wrote here is left alone. It removes nothing.
//!
//! No clock decides. Every object that is brought says so in its metadata ([`object::ORIGIN`]), and every write here is
//! conditional on what was seen here.

mod list;
mod object;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BucketVersioningStatus, Tagging, VersioningConfiguration};
use futures::StreamExt;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::backup::progress;
use crate::sdk::told;
use list::{Cursor, Entry};
use object::{Condition, Outcome, Way};

/// One attempt at a request without a body, from its first byte to the answer's head.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Failures that are told one by one.
const TOLD: usize = 100;

/// What to bring, and from where.
pub struct Import {
    /// The S3 that has it.
    pub from: Client,
    /// The one that is to have it.
    pub to: Client,
    /// Which buckets; all of them if none is named.
    pub buckets: Vec<String>,
    /// Only keys that begin so.
    pub prefix: String,
    /// Objects that are copied at a time.
    pub jobs: usize,
    /// Whether to replace also what somebody else wrote here.
    pub overwrite: bool,
    /// Whether only to say what would be done.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Bucket by bucket.
    pub buckets: BTreeMap<String, Counts>,
    /// Whether nothing was done about it.
    pub dry_run: bool,
    /// The first hundred objects that could not be copied.
    pub failures: Vec<Failure>,
}

/// Of one bucket.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Whether the bucket was made for it.
    pub made: bool,
    /// Objects that were copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were here already.
    pub same: u64,
    /// Objects that were left alone, since somebody else wrote what is here.
    pub kept: u64,
    /// Objects that went away there before they could be copied.
    pub gone: u64,
    /// Objects that could not be copied.
    pub failed: u64,
}

/// An object that could not be copied.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// Why an import came to an end; one line.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// One of the two did not answer as it should.
    #[error("{what}: {reason}")]
    Asked {
        /// What it was asked.
        what: String,
        /// What the SDK says.
        reason: String,
    },
}

impl ImportError {
    fn asked<E>(what: impl Into<String>, error: SdkError<E>) -> Self
    where
        SdkError<E>: std::error::Error + ProvideErrorMetadata,
    {
        Self::Asked { what: what.into(), reason: told(&error) }
    }
}

/// The HTTP status that an error came with.
fn status<E>(error: &SdkError<E>) -> Option<u16> {
    Some(error.raw_response()?.status().as_u16())
}

impl Import {
    /// Copies what is not here. An object that cannot be copied is counted and does not hold up the others.
    pub async fn run(&self) -> Result<Imported, ImportError> {
        let mut imported = Imported { dry_run: self.dry_run, ..Imported::default() };
        let bar = progress::counted("import");
        for bucket in self.wanted().await? {
            let counts = self.bucket(&bucket, &bar, &mut imported.failures).await?;
            imported.buckets.insert(bucket, counts);
        }
        bar.finish_and_clear();
        Ok(imported)
    }

    async fn wanted(&self) -> Result<Vec<String>, ImportError> {
        if !self.buckets.is_empty() {
            return Ok(self.buckets.clone());
        }
        let mut pages = self.from.list_buckets().into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| ImportError::asked("the list of buckets there", error))?;
            found.extend(page.buckets().iter().filter_map(|bucket| bucket.name.clone()));
        }
        Ok(found)
    }

    async fn bucket(
        &self,
        bucket: &str,
        bar: &ProgressBar,
        failures: &mut Vec<Failure>,
    ) -> Result<Counts, ImportError> {
        let made = self.prepare(bucket).await?;
        let mut counts = Counts { made, ..Counts::default() };
        let mut here = match made && self.dry_run {
            true => Cursor::empty(),
            false => Cursor::new(&self.to, bucket, &self.prefix),
        };
        let mut there = Cursor::new(&self.from, bucket, &self.prefix);
        loop {
            let page = there.page().await?;
            if page.is_empty() {
                return Ok(counts);
            }
            let mut tasks = Vec::new();
            for entry in page {
                match here.at(&entry.key).await? {
                    Some(here) if here.size == entry.size && here.etag == entry.etag => counts.same += 1,
                    here => {
                        bar.inc_length(entry.size);
                        tasks.push((entry, here.map(|here| here.etag)));
                    }
                }
            }
            let tasks = futures::stream::iter(tasks).map(|(entry, here)| async move {
                let done = self.object(bucket, &entry, here).await;
                (entry, done)
            });
            let mut tasks = tasks.buffer_unordered(self.jobs);
            while let Some((entry, done)) = tasks.next().await {
                bar.inc(entry.size);
                match done {
                    Ok(Outcome::Copied(bytes)) => {
                        counts.copied += 1;
                        counts.bytes += bytes;
                    }
                    Ok(Outcome::Same) => counts.same += 1,
                    Ok(Outcome::Kept) => counts.kept += 1,
                    Ok(Outcome::Gone) => counts.gone += 1,
                    Err(reason) => {
                        counts.failed += 1;
                        if failures.len() < TOLD {
                            failures.push(Failure { bucket: bucket.to_owned(), key: entry.key, reason });
                        }
                    }
                }
            }
        }
    }

    /// An object that is not here, or is with another entity tag.
    async fn object(&self, bucket: &str, there: &Entry, here: Option<String>) -> Result<Outcome, String> {
        let way = Way { from: &self.from, to: &self.to, bucket, key: &there.key };
        let condition = match here {
            None => Condition::Absent,
            Some(here) => match way.here().await? {
                Some(origin) if origin == there.etag => return Ok(Outcome::Same),
                None if !self.overwrite => return Ok(Outcome::Kept),
                _ => Condition::Still(here),
            },
        };
        if self.dry_run {
            return Ok(Outcome::Copied(there.size));
        }
        way.copy(&condition).await
    }

    /// Makes the bucket if it is not here, with the tags and versioning that it has there. Says whether it was not here.
    async fn prepare(&self, bucket: &str) -> Result<bool, ImportError> {
        match self.to.head_bucket().bucket(bucket).send().await {
            Ok(_) => return Ok(false),
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => return Err(ImportError::asked(format!("bucket {bucket} here"), error)),
        }
        let there = |error| ImportError::asked(format!("bucket {bucket} there"), error);
        let versioning = self.from.get_bucket_versioning().bucket(bucket).send().await;
        let versioning = versioning.map_err(there)?.status;
        let tags = match self.from.get_bucket_tagging().bucket(bucket).send().await {
            Ok(tags) => tags.tag_set,
            // Without tags it is a 404, and not every S3 knows tags.
            Err(error) if matches!(status(&error), Some(404 | 501)) => Vec::new(),
            Err(error) => return Err(ImportError::asked(format!("the tags of bucket {bucket} there"), error)),
        };
        if self.dry_run {
            return Ok(true);
        }
        let here = |error: String| ImportError::Asked { what: format!("making bucket {bucket} here"), reason: error };
        let made = self.to.create_bucket().bucket(bucket).send().await;
        made.map_err(|error| here(told(&error)))?;
        if versioning == Some(BucketVersioningStatus::Enabled) {
            let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let set = self.to.put_bucket_versioning().bucket(bucket).versioning_configuration(enabled).send().await;
            set.map_err(|error| here(told(&error)))?;
        }
        if !tags.is_empty() {
            let tags = Tagging::builder().set_tag_set(Some(tags)).build().expect("a set is given");
            let set = self.to.put_bucket_tagging().bucket(bucket).tagging(tags).send().await;
            set.map_err(|error| here(told(&error)))?;
        }
        Ok(true)
    }
}

impl Imported {
    /// Whether all that was there to be copied was.
    pub fn whole(&self) -> bool {
        self.buckets.values().all(|counts| counts.failed == 0)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, counts) in &self.buckets {
            let Counts { made, copied, bytes, same, kept, gone, failed } = counts;
            let (copy, new) = match self.dry_run {
                true => ("to copy", " (to be made)"),
                false => ("copied", " (made)"),
            };
            let new = if *made { new } else { "" };
            text += &format!("{name}{new}: {copied} objects of {bytes} bytes {copy}, {same} were here already");
            for (count, what) in
                [(kept, "were written here by others and stay"), (gone, "went away there"), (failed, "FAILED")]
            {
                if *count > 0 {
                    text += &format!(", {count} {what}");
                }
            }
            text.push('\n');
        }
        for Failure { bucket, key, reason } in &self.failures {
            text += &format!("{bucket}/{key}: {reason}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_went_wrong() {
        let mut imported = Imported::default();
        let counts = Counts { made: true, copied: 2, bytes: 7, same: 1, failed: 1, ..Counts::default() };
        imported.buckets.insert("b".to_owned(), counts);
        imported.failures.push(Failure { bucket: "b".to_owned(), key: "k".to_owned(), reason: "no".to_owned() });
        let expected = "b (made): 2 objects of 7 bytes copied, 1 were here already, 1 FAILED\nb/k: no\n";
        assert_eq!((imported.text().as_str(), imported.whole()), (expected, false));
    }
}
