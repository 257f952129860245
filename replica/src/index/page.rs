//! Listings: pages of objects, uploads and parts, in S3's order (UTF-8 bytes), with delimiters.
//!
//! A common prefix costs one step whatever it holds: the page looks at a few rows behind it and then seeks past it.

use holdfast_wire::id::{BucketId, ObjectKey, UploadId};
use holdfast_wire::object::{Part, Upload};
use holdfast_wire::request::{ListFrom, ListObjects, ListPage, ListUploads};

use super::IndexError;
use super::engine::{Space, behind};
use super::key::{self, BEFORE_KEY, Suffix, Table};
use super::record::{self, UploadPlace};
use super::rows::{Row, Rows, read};

/// Rows of a common prefix that are walked over before the page seeks past it.
const WALK: usize = 8;

/// A page of uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// Uploads in order.
    pub uploads: Vec<Upload>,
    /// Common prefixes in order.
    pub prefixes: Vec<String>,
    /// Whether there is more behind the last of either.
    pub more: bool,
}

/// A page of objects. A limit of 0 gives an empty page with nothing more.
pub fn objects(rows: Rows<'_>, list: &ListObjects) -> Result<ListPage, IndexError> {
    let mut page = ListPage::default();
    if list.limit == 0 {
        return Ok(page);
    }
    let at = |text: &str| key::object(list.bucket, text.as_bytes());
    let first = at(&list.prefix);
    let start = match &list.after {
        ListFrom::Start => first.clone(),
        ListFrom::After(text) => first.clone().max(just_behind(at(text))),
        ListFrom::AfterPrefix(text) => first.clone().max(behind(&at(text))),
    };
    let mut walk = Walk::new(rows, start, behind(&first));
    while let Some(row) = walk.next() {
        let (suffix, value) = row?;
        if page.objects.len() + page.prefixes.len() == list.limit as usize {
            page.more = true;
            break;
        }
        let key = text(&suffix[BEFORE_KEY..])?;
        match common_prefix(&key, &list.prefix, list.delimiter.as_deref()) {
            Some(common) => {
                walk.skip(at(common));
                page.prefixes.push(common.to_owned());
            }
            None => page.objects.push((key, read(&suffix, record::decode_summary(&value))?)),
        }
    }
    Ok(page)
}

/// A page of open uploads. A limit of 0 gives an empty page with nothing more.
pub fn uploads(rows: Rows<'_>, list: &ListUploads) -> Result<UploadPage, IndexError> {
    let mut page = UploadPage::default();
    if list.limit == 0 {
        return Ok(page);
    }
    let delimiter = list.delimiter.as_deref();
    let first = key::uploads(list.bucket, list.prefix.as_bytes());
    let start = match &list.after {
        None => first.clone(),
        Some((text, upload)) => first.clone().max(upload_start(rows, list, text, *upload)?),
    };
    let mut walk = Walk::new(rows, start, behind(&first));
    while let Some(row) = walk.next() {
        let (suffix, value) = row?;
        if page.uploads.len() + page.prefixes.len() == list.limit as usize {
            page.more = true;
            break;
        }
        let upload: Upload = read(&suffix, record::decode(&value))?;
        match common_prefix(upload.key.as_str(), &list.prefix, delimiter) {
            Some(common) => {
                walk.skip(key::uploads(list.bucket, common.as_bytes()));
                page.prefixes.push(common.to_owned());
            }
            None => page.uploads.push(upload),
        }
    }
    Ok(page)
}

/// The first row behind the marker of a page of uploads.
fn upload_start(
    rows: Rows<'_>,
    list: &ListUploads,
    text: &str,
    upload: Option<UploadId>,
) -> Result<Suffix, IndexError> {
    let own = key::uploads_of(list.bucket, text.as_bytes());
    let Some(upload) = upload else {
        // A marker that is a common prefix of this very listing stands for all keys it holds.
        let common = text.starts_with(&list.prefix)
            && common_prefix(text, &list.prefix, list.delimiter.as_deref()) == Some(text);
        return Ok(behind(&if common { key::uploads(list.bucket, text.as_bytes()) } else { own }));
    };
    let place: Option<UploadPlace> = rows.record(&key::by_upload(Table::UploadIds, upload))?;
    Ok(match place {
        Some(place) if place.bucket == list.bucket && place.key.as_str() == text => {
            just_behind(key::upload(list.bucket, text, place.initiated_ms, upload))
        }
        // It has ended meanwhile: rather show the others of its key again than leave one out.
        Some(_) | None => own,
    })
}

/// An open upload with a page of its parts above number `after`, and whether there are more.
pub fn parts(
    rows: Rows<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    upload: UploadId,
    after: u16,
    limit: u32,
) -> Result<Option<(Upload, Vec<Part>, bool)>, IndexError> {
    let place: Option<UploadPlace> = rows.record(&key::by_upload(Table::UploadIds, upload))?;
    let Some(place) = place.filter(|place| place.bucket == bucket && place.key == *key) else { return Ok(None) };
    let Some(found) = rows.record(&key::upload(bucket, key.as_str(), place.initiated_ms, upload))? else {
        return Err(IndexError::Corrupt { table: Table::Uploads as u8 });
    };
    let from = just_behind(key::part(upload, after));
    let to = behind(&key::by_upload(Table::Parts, upload));
    let mut parts = Vec::new();
    for row in rows.range(Space::Records, &from, &to) {
        let (suffix, value) = row?;
        if parts.len() == limit as usize {
            return Ok(Some((found, parts, limit > 0)));
        }
        parts.push(read(&suffix, record::decode(&value))?);
    }
    Ok(Some((found, parts, false)))
}

/// Rows in order, with skips.
pub(super) struct Walk<'a> {
    rows: Rows<'a>,
    to: Suffix,
    found: Box<dyn Iterator<Item = Row> + Send + 'a>,
    skipping: Option<Suffix>,
}

impl<'a> Walk<'a> {
    pub fn new(rows: Rows<'a>, from: Suffix, to: Suffix) -> Self {
        let found = Box::new(rows.range(Space::Records, &from, &to));
        Self { rows, to, found, skipping: None }
    }

    /// Passes over all rows that start with `prefix`.
    pub fn skip(&mut self, prefix: Suffix) {
        self.skipping = Some(prefix);
    }

    pub fn next(&mut self) -> Option<Row> {
        let Some(prefix) = self.skipping.take() else { return self.found.next() };
        for _ in 0..WALK {
            match self.found.next()? {
                Ok((suffix, _)) if suffix.starts_with(&prefix) => {}
                row => return Some(row),
            }
        }
        self.found = Box::new(self.rows.range(Space::Records, &behind(&prefix), &self.to));
        self.found.next()
    }
}

/// The first possible key behind one.
pub(super) fn just_behind(mut suffix: Suffix) -> Suffix {
    suffix.push(0);
    suffix
}

pub(super) fn text(key: &[u8]) -> Result<String, IndexError> {
    match std::str::from_utf8(key) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(IndexError::Corrupt { table: Table::Objects as u8 }),
    }
}

/// Prefix and what follows it up to and with the first delimiter, if there is one. An empty delimiter is none.
pub(super) fn common_prefix<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key[prefix.len()..].find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}
