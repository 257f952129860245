//! Listings in the order of keys, a page at a time, so that two of them can be walked side by side.

use std::collections::VecDeque;

use aws_sdk_s3::Client;

use super::ImportError;

/// An object as listings tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// Without quotes.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// A place in a listing.
pub struct Cursor<'a> {
    client: Option<&'a Client>,
    bucket: String,
    prefix: String,
    token: Option<String>,
    read: VecDeque<Entry>,
}

impl<'a> Cursor<'a> {
    /// Before the first key.
    pub fn new(client: &'a Client, bucket: &str, prefix: &str) -> Self {
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Self { client: Some(client), bucket, prefix, token: None, read: VecDeque::new() }
    }

    /// Of a bucket that is not there.
    pub fn empty() -> Self {
        Self { client: None, bucket: String::new(), prefix: String::new(), token: None, read: VecDeque::new() }
    }

    /// What is next, up to a thousand objects; nothing at the end.
    pub async fn page(&mut self) -> Result<VecDeque<Entry>, ImportError> {
        // Pages may be empty although others follow.
        while let Some(client) = self.client {
            let asked = client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix);
            let page = asked.set_continuation_token(self.token.take()).send().await;
            let page =
                page.map_err(|error| ImportError::asked(format!("a listing of bucket {}", self.bucket), error))?;
            self.token = page.next_continuation_token;
            if page.is_truncated != Some(true) || self.token.is_none() {
                self.client = None;
            }
            let entries: VecDeque<_> = page.contents.unwrap_or_default().into_iter().filter_map(entry).collect();
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(VecDeque::new())
    }

    /// The object with this key, which must be behind every key that was asked for before.
    pub async fn at(&mut self, key: &str) -> Result<Option<Entry>, ImportError> {
        loop {
            while self.read.front().is_some_and(|entry| entry.key.as_str() < key) {
                self.read.pop_front();
            }
            match self.read.front() {
                Some(entry) if entry.key == key => return Ok(self.read.pop_front()),
                Some(_) => return Ok(None),
                None => self.read = self.page().await?,
            }
            if self.read.is_empty() {
                return Ok(None);
            }
        }
    }
}

fn entry(object: aws_sdk_s3::types::Object) -> Option<Entry> {
    Some(Entry {
        key: object.key?,
        etag: super::object::bare(&object.e_tag.unwrap_or_default()),
        size: object.size.unwrap_or_default().max(0) as u64,
    })
}
