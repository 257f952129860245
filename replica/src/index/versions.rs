//! Reading versions: the one that a request names, and pages of all of them.
//!
//! Current objects and other versions stand in two tables, both in the order of keys: a page walks both at once.

use bytes::Bytes;
use holdfast_wire::id::{BucketId, GroupId, Seq, VersionId};
use holdfast_wire::object::{Object, Summary};
use holdfast_wire::request::{GetObject, ListFrom, ListVersions, ListedVersion, NotRead, VersionPage};

use super::IndexError;
use super::engine::behind;
use super::key::{self, BEFORE_KEY, Table};
use super::page::{Walk, common_prefix, just_behind, text};
use super::record;
use super::rows::{Row, Rows, read};

/// The version that a read asks for, or how it ends without one.
pub fn find(rows: Rows<'_>, get: &GetObject) -> Result<Result<Object, NotRead>, IndexError> {
    let bytes = get.key.as_str().as_bytes();
    let current = object(rows, &key::object(get.bucket, bytes))?;
    let at = |seq| object(rows, &key::version(get.bucket, bytes, seq));
    if let Some(seq) = get.seq {
        let found = match current {
            Some(current) if current.summary.seq == seq => Some(current),
            _ => at(seq)?.filter(|object| !object.summary.marker),
        };
        return Ok(found.ok_or(NotRead::NoSuchKey));
    }
    let Some(id) = get.version else {
        if let Some(current) = current {
            return Ok(Ok(current));
        }
        let newest = rows.under(&key::versions_of(get.bucket, bytes)).next();
        return Ok(Err(match newest {
            None => NotRead::NoSuchKey,
            Some(row) => {
                let (suffix, value) = row?;
                let summary = Box::new(read(&suffix, record::decode_summary(&value))?);
                NotRead::DeleteMarker { summary, named: false }
            }
        }));
    };
    if let Some(current) = current
        && current.summary.version() == id
    {
        return Ok(Ok(current));
    }
    let seq = match id {
        VersionId::Of(seq) => Some(seq),
        VersionId::Null => rows.record::<Seq>(&key::null(get.bucket, bytes))?,
    };
    let found = match seq {
        Some(seq) => at(seq)?.filter(|object| object.summary.version() == id),
        None => None,
    };
    Ok(match found {
        None => Err(NotRead::NoSuchVersion),
        Some(found) if found.summary.marker => {
            Err(NotRead::DeleteMarker { summary: Box::new(found.summary), named: true })
        }
        Some(found) => Ok(found),
    })
}

fn object(rows: Rows<'_>, suffix: &[u8]) -> Result<Option<Object>, IndexError> {
    rows.get(suffix)?.map(|value| read(suffix, record::decode_object(&value))).transpose()
}

/// A page of versions. A limit of 0 gives an empty page with nothing more.
pub fn page(rows: Rows<'_>, list: &ListVersions) -> Result<VersionPage, IndexError> {
    let mut page = VersionPage::default();
    if list.limit == 0 {
        return Ok(page);
    }
    let mut walk = Both::new(rows, list)?;
    let mut last: Option<String> = None;
    while let Some((key, summary)) = walk.next()? {
        let marker = walk.after.as_ref();
        if marker.is_some_and(|(text, seq)| key == *text && summary.seq >= *seq) {
            // At the marker or before it: passed over, but the next one of its key is not the newest.
            last = Some(key);
            continue;
        }
        if page.versions.len() + page.prefixes.len() == list.limit as usize {
            page.more = true;
            break;
        }
        match common_prefix(&key, &list.prefix, list.delimiter.as_deref()) {
            Some(common) => {
                walk.skip(list.bucket, common)?;
                page.prefixes.push(common.to_owned());
            }
            None => {
                let latest = last.as_deref() != Some(&key);
                page.versions.push(ListedVersion { key: key.clone(), latest, summary });
                last = Some(key);
            }
        }
    }
    Ok(page)
}

/// Both tables, merged: keys in order, of each the newest first.
struct Both<'a> {
    objects: Walk<'a>,
    versions: Walk<'a>,
    /// What the walks show next.
    object: Option<(String, Bytes)>,
    version: Option<(String, Bytes)>,
    /// The page begins behind this version.
    after: Option<(String, Seq)>,
}

impl<'a> Both<'a> {
    fn new(rows: Rows<'a>, list: &ListVersions) -> Result<Self, IndexError> {
        let (bucket, prefix) = (list.bucket, list.prefix.as_bytes());
        let (first_object, first_version) = (key::object(bucket, prefix), key::versions(bucket, prefix));
        let mut after = None;
        let (object, version) = match &list.after {
            ListFrom::Start => (first_object.clone(), first_version.clone()),
            ListFrom::AfterPrefix(text) => {
                let text = text.as_bytes();
                (behind(&key::object(bucket, text)), behind(&key::versions(bucket, text)))
            }
            ListFrom::After(text) => {
                let bytes = text.as_bytes();
                let seq = match list.after_version {
                    None => None,
                    Some(VersionId::Of(seq)) => Some(seq),
                    // One that is gone by now: rather show the others of its key again than leave one out.
                    Some(VersionId::Null) => {
                        let newer_than_all = Seq { group: GroupId(u32::MAX), index: u64::MAX };
                        Some(seq_of_null(rows, bucket, bytes)?.unwrap_or(newer_than_all))
                    }
                };
                match seq {
                    None => (just_behind(key::object(bucket, bytes)), behind(&key::versions_of(bucket, bytes))),
                    Some(seq) => {
                        after = Some((text.clone(), seq));
                        (key::object(bucket, bytes), key::versions_of(bucket, bytes))
                    }
                }
            }
        };
        let objects = Walk::new(rows, object.max(first_object.clone()), behind(&first_object));
        let versions = Walk::new(rows, version.max(first_version.clone()), behind(&first_version));
        let mut both = Self { objects, versions, object: None, version: None, after };
        both.object = object_row(both.objects.next())?;
        both.version = version_row(both.versions.next())?;
        Ok(both)
    }

    fn next(&mut self) -> Result<Option<(String, Summary)>, IndexError> {
        let from_objects = match (&self.object, &self.version) {
            (Some((object, _)), Some((version, _))) => object <= version,
            (object, _) => object.is_some(),
        };
        let (shown, table) = match from_objects {
            true => (std::mem::replace(&mut self.object, object_row(self.objects.next())?), Table::Objects),
            false => (std::mem::replace(&mut self.version, version_row(self.versions.next())?), Table::Versions),
        };
        let Some((key, value)) = shown else { return Ok(None) };
        Ok(Some((key, read(&[table as u8], record::decode_summary(&value))?)))
    }

    /// Passes over all keys that start with `common`.
    fn skip(&mut self, bucket: BucketId, common: &str) -> Result<(), IndexError> {
        let inside = |shown: &Option<(String, Bytes)>| shown.as_ref().is_some_and(|(key, _)| key.starts_with(common));
        if inside(&self.object) {
            self.objects.skip(key::object(bucket, common.as_bytes()));
            self.object = object_row(self.objects.next())?;
        }
        if inside(&self.version) {
            self.versions.skip(key::versions(bucket, common.as_bytes()));
            self.version = version_row(self.versions.next())?;
        }
        Ok(())
    }
}

fn seq_of_null(rows: Rows<'_>, bucket: BucketId, key: &[u8]) -> Result<Option<Seq>, IndexError> {
    if let Some(current) = object(rows, &key::object(bucket, key))?
        && !current.summary.versioned
    {
        return Ok(Some(current.summary.seq));
    }
    rows.record(&key::null(bucket, key))
}

type Shown = Result<Option<(String, Bytes)>, IndexError>;

fn object_row(row: Option<Row>) -> Shown {
    let Some((suffix, value)) = row.transpose()? else { return Ok(None) };
    Ok(Some((text(&suffix[BEFORE_KEY..])?, value)))
}

fn version_row(row: Option<Row>) -> Shown {
    let Some((suffix, value)): Option<(Bytes, Bytes)> = row.transpose()? else { return Ok(None) };
    let key = key::read_version_key(&suffix).ok_or(IndexError::Corrupt { table: Table::Versions as u8 })?;
    Ok(Some((text(&key)?, value)))
}
