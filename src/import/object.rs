//! One object's way. Its bytes are never held: they go from one connection to the other. Where its entity tag is the MD5
//! that it should be, nothing is committed that does not match it; parts are cut as they were there, so that it stays the
//! same.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{ANSWER_WITHIN, status};
use crate::sdk::{told, within};

/// The user metadata that every object gets which is brought here: the entity tag that it had there. By it an object that
/// somebody else wrote here is told from an older state of the one there.
pub const ORIGIN: &str = "holdfast-origin";

/// Attempts at an object that are made before it is given up.
const ATTEMPTS: u32 = 5;
/// The pause before the second one; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// What one request may carry; a longer object goes in parts.
const SINGLE_MAX: u64 = 5 << 30;
/// Parts of objects that do not say how they were cut, at least.
const PART_MIN: u64 = 64 << 20;
const PARTS_MAX: u64 = 10_000;

/// The slowest way that is waited for, bytes a second.
const SLOWEST: u64 = 64 << 10;

/// How long one request with so many bytes may take.
fn upload_limit(bytes: u64) -> Duration {
    ANSWER_WITHIN + Duration::from_secs(bytes / SLOWEST)
}

/// What must hold here when the object is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is none.
    Absent,
    /// It is still the one with this entity tag.
    Still(String),
}

impl Condition {
    /// `If-None-Match` and `If-Match`.
    fn headers(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Absent => (Some("*".to_owned()), None),
            Self::Still(etag) => (None, Some(format!("\"{etag}\""))),
        }
    }
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is here; so many bytes.
    Copied(u64),
    /// It was here.
    Same,
    /// Somebody else wrote what is here.
    Kept,
    /// It is no longer there.
    Gone,
}

/// Why an attempt failed.
enum Stopped {
    /// Another one would, too.
    ForGood(String),
    /// Another one may not.
    ForNow(String),
    /// It is no longer there.
    Gone,
    /// What is here is not what the condition says.
    Changed,
}

/// An entity tag without its quotes.
pub fn bare(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// An object's two ends.
pub struct Way<'a> {
    /// Where it is.
    pub from: &'a Client,
    /// Where it goes.
    pub to: &'a Client,
    /// Its bucket, on both sides.
    pub bucket: &'a str,
    /// Its key, on both sides.
    pub key: &'a str,
}

/// What a head says beside the length; the same fields of two kinds of requests.
macro_rules! described {
    ($request:expr, $head:expr, $tags:expr) => {
        $request
            .set_content_type($head.content_type.clone())
            .set_cache_control($head.cache_control.clone())
            .set_content_disposition($head.content_disposition.clone())
            .set_content_encoding($head.content_encoding.clone())
            .set_content_language($head.content_language.clone())
            .set_expires(expires($head))
            .set_website_redirect_location($head.website_redirect_location.clone())
            .set_storage_class($head.storage_class.clone())
            .set_metadata($head.metadata.clone())
            .metadata(ORIGIN, bare($head.e_tag().unwrap_or_default()))
            .set_tagging($tags)
    };
}

fn expires(head: &HeadObjectOutput) -> Option<DateTime> {
    DateTime::from_str(head.expires_string.as_deref()?, DateTimeFormat::HttpDate).ok()
}

/// Failed requests there: what is not there any more, or not the same, is no failure of the way.
fn read<E>(error: SdkError<E>) -> Stopped
where
    SdkError<E>: std::error::Error + ProvideErrorMetadata,
{
    match status(&error) {
        Some(404) => Stopped::Gone,
        Some(403 | 400 | 501) => Stopped::ForGood(format!("reading it: {}", told(&error))),
        // 412: it was overwritten between its head and its bytes.
        _ => Stopped::ForNow(format!("reading it: {}", told(&error))),
    }
}

/// Failed requests here.
fn write<E>(error: SdkError<E>) -> Stopped
where
    SdkError<E>: std::error::Error + ProvideErrorMetadata,
{
    match status(&error) {
        Some(412 | 409) => Stopped::Changed,
        Some(404) if error.code() == Some("NoSuchKey") => Stopped::Changed,
        // 400 is also what a body gets that broke off or was garbled on its way.
        Some(403 | 405 | 411 | 501) => Stopped::ForGood(format!("writing it: {}", told(&error))),
        _ => Stopped::ForNow(format!("writing it: {}", told(&error))),
    }
}

impl Way<'_> {
    /// Copies the object, with everything that its head says of it.
    ///
    /// # Errors
    /// In one line, when it has been tried often enough or cannot be.
    pub async fn copy(&self, condition: &Condition) -> Result<Outcome, String> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            match self.once(condition).await {
                Ok(bytes) => return Ok(Outcome::Copied(bytes)),
                Err(Stopped::Gone) => return Ok(Outcome::Gone),
                Err(Stopped::Changed) => return self.changed().await,
                Err(Stopped::ForNow(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                Err(Stopped::ForNow(reason) | Stopped::ForGood(reason)) => return Err(reason),
            }
        }
    }

    /// The entity tag that what is here had there, if an import brought it.
    ///
    /// # Errors
    /// In one line.
    pub async fn here(&self) -> Result<Option<String>, String> {
        match self.to.head_object().bucket(self.bucket).key(self.key).send().await {
            Ok(head) => Ok(head.metadata.and_then(|mut metadata| metadata.remove(ORIGIN))),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(format!("looking what is here: {}", told(&error))),
        }
    }

    /// A condition did not hold: somebody else wrote, or an earlier attempt did whose answer was lost.
    async fn changed(&self) -> Result<Outcome, String> {
        let there = match self.from.head_object().bucket(self.bucket).key(self.key).send().await {
            Ok(there) => there,
            Err(error) if status(&error) == Some(404) => return Ok(Outcome::Gone),
            Err(error) => return Err(format!("looking what is there: {}", told(&error))),
        };
        match self.here().await? {
            Some(origin) if there.e_tag.as_deref().map(bare).as_ref() == Some(&origin) => {
                Ok(Outcome::Copied(there.content_length.unwrap_or_default().max(0) as u64))
            }
            _ => Ok(Outcome::Kept),
        }
    }

    async fn once(&self, condition: &Condition) -> Result<u64, Stopped> {
        let head = self.from.head_object().bucket(self.bucket).key(self.key).send().await.map_err(read)?;
        let etag = bare(head.e_tag().unwrap_or_default());
        let size = head.content_length.unwrap_or_default().max(0) as u64;
        let tags = match head.tag_count {
            Some(1..) => Some(self.tags().await?),
            _ => None,
        };
        // Encrypted otherwise than with the service's own keys, its tag is that of no bytes that anybody sees.
        let plain = matches!(&head.server_side_encryption, None | Some(ServerSideEncryption::Aes256))
            && head.sse_customer_algorithm.is_none();
        let md5s = Md5s::of(&etag).filter(|_| plain);
        let object = Object { in_parts: etag.contains('-'), head, tags, etag, size, md5s };
        match !object.in_parts && size <= SINGLE_MAX {
            true => self.single(&object, condition).await,
            false => self.parts(&object, condition).await,
        }
    }

    async fn tags(&self) -> Result<String, Stopped> {
        let tags = self.from.get_object_tagging().bucket(self.bucket).key(self.key).send().await.map_err(read)?;
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = tags.tag_set.iter().map(|tag| format!("{}={}", encoded(&tag.key), encoded(&tag.value)));
        Ok(pairs.collect::<Vec<_>>().join("&"))
    }

    async fn single(&self, object: &Object, condition: &Condition) -> Result<u64, Stopped> {
        let Object { head, tags, size, .. } = object;
        let got = self.asked(object).send().await.map_err(read)?;
        let (absent, still) = condition.headers();
        let put = self.to.put_object().bucket(self.bucket).key(self.key);
        let put = described!(put, head, tags.clone())
            .content_length(*size as i64)
            .set_content_md5(object.digest().map(|digest| BASE64.encode(digest)))
            .set_if_none_match(absent)
            .set_if_match(still)
            .body(got.body);
        put.customize().config_override(within(upload_limit(*size))).send().await.map_err(write)?;
        Ok(*size)
    }

    /// A request for its bytes as they were when its head was read.
    fn asked(&self, object: &Object) -> GetObjectFluentBuilder {
        self.from.get_object().bucket(self.bucket).key(self.key).if_match(format!("\"{}\"", object.etag))
    }

    async fn parts(&self, object: &Object, condition: &Condition) -> Result<u64, Stopped> {
        let Object { head, tags, .. } = object;
        let begun = self.to.create_multipart_upload().bucket(self.bucket).key(self.key);
        let begun = described!(begun, head, tags.clone()).send().await.map_err(write)?;
        let upload = begun.upload_id.unwrap_or_default();
        let done = self.fill(&upload, object, condition).await;
        if done.is_err() {
            // What it has is given back at once; if that fails, the bucket's lifecycle or a later abort does it.
            let abort = self.to.abort_multipart_upload().bucket(self.bucket).key(self.key).upload_id(&upload);
            let _ = abort.send().await;
        }
        done
    }

    async fn fill(&self, upload: &str, object: &Object, condition: &Condition) -> Result<u64, Stopped> {
        let size = object.size;
        let first = self.asked(object).part_number(1).send().await.map_err(read)?;
        let numbered = first.parts_count.filter(|count| *count > 0);
        let length = size.div_ceil(PARTS_MAX).max(PART_MIN);
        let count = numbered.map_or_else(|| size.div_ceil(length).max(1), |count| count as u64);
        let mut sent = Vec::new();
        if numbered.is_some() {
            sent.push(self.part(upload, 1, first).await?);
        }
        for number in sent.len() as u64 + 1..=count {
            let part = match numbered {
                Some(_) => self.asked(object).part_number(number as i32),
                None => {
                    let start = (number - 1) * length;
                    self.asked(object).range(format!("bytes={start}-{}", (start + length).min(size) - 1))
                }
            };
            sent.push(self.part(upload, number as i32, part.send().await.map_err(read)?).await?);
        }
        let etag = &object.etag;
        let comparable = object.md5s == Some(Md5s::Parts) && numbered.is_some();
        if comparable && composite(&sent).as_ref() != Some(etag) {
            return Err(Stopped::ForNow(format!("its parts are not those of {etag}: they changed on their way")));
        }
        let (absent, still) = condition.headers();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(sent)).build();
        let complete = self.to.complete_multipart_upload().bucket(self.bucket).key(self.key).upload_id(upload);
        let complete = complete.set_if_none_match(absent).set_if_match(still).multipart_upload(parts);
        complete.send().await.map_err(write)?;
        Ok(size)
    }

    async fn part(&self, upload: &str, number: i32, got: GetObjectOutput) -> Result<CompletedPart, Stopped> {
        let length = got.content_length.unwrap_or_default();
        let part = self.to.upload_part().bucket(self.bucket).key(self.key).upload_id(upload).part_number(number);
        let limit = within(upload_limit(length.max(0) as u64));
        let part = part.content_length(length).body(got.body).customize().config_override(limit);
        let sent = part.send().await.map_err(write)?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build())
    }
}

/// An object as its head tells it.
struct Object {
    head: HeadObjectOutput,
    tags: Option<String>,
    etag: String,
    size: u64,
    in_parts: bool,
    /// Nothing where the tag is that of other bytes than those that are read.
    md5s: Option<Md5s>,
}

impl Object {
    fn digest(&self) -> Option<[u8; 16]> {
        match self.md5s {
            Some(Md5s::Whole(digest)) => Some(digest),
            _ => None,
        }
    }
}

/// What an entity tag is the MD5 of.
#[derive(Debug, PartialEq, Eq)]
enum Md5s {
    /// All bytes.
    Whole([u8; 16]),
    /// Those of the parts.
    Parts,
}

impl Md5s {
    fn of(etag: &str) -> Option<Self> {
        let (digest, parts) = etag.split_once('-').map_or((etag, None), |(digest, parts)| (digest, Some(parts)));
        let digest = <[u8; 16]>::try_from(hex::decode(digest).ok()?).ok()?;
        match parts {
            None => Some(Self::Whole(digest)),
            Some(parts) => parts.parse::<u64>().ok().map(|_| Self::Parts),
        }
    }
}

/// The entity tag of an object in these parts.
fn composite(parts: &[CompletedPart]) -> Option<String> {
    let mut all = Md5::new();
    for part in parts {
        all.update(hex::decode(bare(part.e_tag()?)).ok()?);
    }
    Some(format!("{}-{}", hex::encode(all.finalize()), parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_told_apart() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        assert!(matches!(Md5s::of(md5), Some(Md5s::Whole([0xd4, .., 0x7e]))));
        assert_eq!(Md5s::of(&format!("{md5}-3")), Some(Md5s::Parts));
        for other in ["", "nonsense", "d41d", "d41d8cd98f00b204e9800998ecf8427e-x"] {
            assert_eq!(Md5s::of(other), None, "{other}");
        }
        assert_eq!(bare("\"a-1\""), "a-1");
    }

    #[test]
    fn parts_make_the_tag_that_every_s3_makes_of_them() {
        // Of the parts "a" and "b", by md5sum.
        let part = |digest: &str| CompletedPart::builder().e_tag(format!("\"{digest}\"")).build();
        let parts = [part("0cc175b9c0f1b6a831c399e269772661"), part("92eb5ffee6ae2fec3ad71c777531578f")];
        assert_eq!(composite(&parts).as_deref(), Some("96e024ba2074fe77e8e965ba43a704be-2"));
        assert_eq!(composite(&[part("x")]), None);
    }
}
