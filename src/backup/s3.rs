//! Backups in an S3 bucket, any S3: keys from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, the region from
//! `AWS_REGION`, the endpoint from `--endpoint` or `AWS_ENDPOINT_URL`.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::time::Duration;

use super::store::{Store, StoreError, Writer};
use crate::sdk::{Place, causes, told};

/// A file longer than this is sent in parts of this length: 10,000 of them are 160 GiB.
const PART: usize = 16 << 20;
/// One attempt to send a part or to get an answer's head.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(120);

/// A bucket and a prefix.
pub struct S3 {
    url: String,
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3 {
    /// `rest` is what stands behind `s3://`.
    pub fn new(
        url: &str,
        rest: &str,
        endpoint: Option<String>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, StoreError> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(StoreError::Url(url.to_owned()));
        }
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let place = Place { attempt_within: Some(ATTEMPT_WITHIN), ..Place::of(endpoint, variable)? };
        Ok(Self { url: url.to_owned(), client: place.client(), bucket: bucket.to_owned(), prefix })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn failed<E>(bucket: &str, key: &str, error: SdkError<E>) -> StoreError
where
    SdkError<E>: std::error::Error + ProvideErrorMetadata,
{
    StoreError::S3 { bucket: bucket.to_owned(), key: key.to_owned(), reason: told(&error) }
}

#[async_trait]
impl Store for S3 {
    fn url(&self) -> &str {
        &self.url
    }

    async fn list(&self, directory: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let prefix = self.key(directory);
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed(&self.bucket, &prefix, error))?;
            for object in page.contents() {
                if let Some(name) = object.key().and_then(|key| key.strip_prefix(&self.prefix)) {
                    found.push((name.to_owned(), object.size().unwrap_or_default().max(0) as u64));
                }
            }
        }
        Ok(found)
    }

    async fn create(&self, name: &str) -> Result<Box<dyn Writer>, StoreError> {
        let (client, bucket, key) = (self.client.clone(), self.bucket.clone(), self.key(name));
        Ok(Box::new(Upload { client, bucket, key, buffer: BytesMut::new(), parts: None }))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let key = self.key(name);
        let removed = self.client.delete_object().bucket(&self.bucket).key(&key).send().await;
        removed.map(drop).map_err(|error| failed(&self.bucket, &key, error))
    }

    async fn read(&self, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
        let (bucket, key) = (self.bucket.clone(), self.key(name));
        let object = match self.client.get_object().bucket(&bucket).key(&key).send().await {
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            object => object.map_err(|error| failed(&bucket, &key, error))?,
        };
        let stream = futures::stream::unfold(object.body, move |mut body| {
            let (bucket, key) = (bucket.clone(), key.clone());
            async move {
                let chunk = body.next().await?;
                Some((chunk.map_err(|error| StoreError::S3 { bucket, key, reason: causes(&error) }), body))
            }
        });
        Ok(Some(stream.boxed()))
    }
}

/// An object being written: in one request if it is short, in parts otherwise. A multipart upload whose writer is
/// dropped stays open; the bucket's lifecycle rules are there for that.
struct Upload {
    client: Client,
    bucket: String,
    key: String,
    buffer: BytesMut,
    parts: Option<(String, Vec<CompletedPart>)>,
}

impl Upload {
    async fn send_part(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let (client, bucket, key) = (&self.client, &self.bucket, &self.key);
        if self.parts.is_none() {
            let begun = client.create_multipart_upload().bucket(bucket).key(key).send().await;
            let begun = begun.map_err(|error| failed(bucket, key, error))?;
            self.parts = Some((begun.upload_id().unwrap_or_default().to_owned(), Vec::new()));
        }
        let Some((upload, parts)) = &mut self.parts else { unreachable!("it was begun just now") };
        let number = parts.len() as i32 + 1;
        let sent = client.upload_part().bucket(bucket).key(key).upload_id(&*upload).part_number(number);
        let sent = sent.body(bytes.into()).send().await.map_err(|error| failed(bucket, key, error))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build();
        parts.push(part);
        Ok(())
    }
}

#[async_trait]
impl Writer for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(&bytes);
        while self.buffer.len() >= PART {
            let part = self.buffer.split_to(PART).freeze();
            self.send_part(part).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let rest = self.buffer.split().freeze();
        if self.parts.is_none() {
            let put = self.client.put_object().bucket(&self.bucket).key(&self.key).body(rest.into()).send().await;
            return put.map(drop).map_err(|error| failed(&self.bucket, &self.key, error));
        }
        if !rest.is_empty() {
            self.send_part(rest).await?;
        }
        let Some((upload, parts)) = self.parts.take() else { return Ok(()) };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let done = self.client.complete_multipart_upload().bucket(&self.bucket).key(&self.key);
        let done = done.upload_id(upload).multipart_upload(parts).send().await;
        done.map(drop).map_err(|error| failed(&self.bucket, &self.key, error))
    }
}
