//! ListMultipartUploads, ListParts.

use holdfast_wire::request::ListUploads;
use s3s::dto::{
    self, ChecksumAlgorithm, ChecksumType, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListPartsInput, ListPartsOutput, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::{etag, int, kind, owner, set_checksum, timestamp};
use super::list::{Encoding, common_prefix, page_size};
use super::request::{key, upload_id};
use crate::checksum;
use crate::ownership::Ownership;

/// Sorts behind every key that begins with the text before it, save keys with this very character there.
const LAST_CHARACTER: char = char::MAX;

fn initiator(id: &str) -> Initiator {
    Initiator { id: Some(id.to_owned()), display_name: Some(id.to_owned()) }
}

fn storage_class(class: Option<String>) -> StorageClass {
    class.map_or_else(|| StorageClass::from_static(StorageClass::STANDARD), StorageClass::from)
}

/// Where a listing of uploads goes on: behind a key or one of its uploads, or behind all of a common prefix.
fn after(
    prefix: &str,
    delimiter: Option<&str>,
    key_marker: Option<&str>,
    upload_marker: Option<&str>,
) -> S3Result<Option<(String, Option<holdfast_wire::id::UploadId>)>> {
    let Some(marker) = key_marker.filter(|marker| !marker.is_empty()) else { return Ok(None) };
    if common_prefix(prefix, delimiter, marker) == Some(marker) {
        return Ok(Some((format!("{marker}{LAST_CHARACTER}"), None)));
    }
    let upload = match upload_marker.filter(|marker| !marker.is_empty()) {
        None => None,
        Some(id) => Some(id.parse().map_err(|_| s3_error!(InvalidArgument, "Invalid uploadId marker"))?),
    };
    Ok(Some((marker.to_owned(), upload)))
}

/// ListMultipartUploads
pub async fn list(
    s3: &S3Service,
    req: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = req.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_size(input.max_uploads, "max-uploads")?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let after = after(prefix, delimiter, input.key_marker.as_deref(), input.upload_id_marker.as_deref())?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let (uploads, prefixes, more) = match u32::try_from(limit) {
        Ok(limit @ 1..) => {
            let list = ListUploads {
                bucket: bucket.id,
                prefix: prefix.to_owned(),
                delimiter: delimiter.map(str::to_owned),
                after,
                limit,
            };
            s3.router.list_uploads(&bucket, list).await?
        }
        _ => Default::default(),
    };
    let last_upload = uploads.last().map(|upload| (upload.key.as_str().to_owned(), upload.id.to_string()));
    let (next_key, next_upload) = match (more, last_upload, prefixes.last()) {
        (false, ..) | (true, None, None) => (None, None),
        (true, Some((key, id)), Some(prefix)) if key > *prefix => (Some(key), Some(id)),
        (true, Some((key, id)), None) => (Some(key), Some(id)),
        (true, _, Some(prefix)) => (Some(prefix.clone()), None),
    };
    let uploads = uploads.into_iter().map(|upload| {
        Ok(dto::MultipartUpload {
            checksum_algorithm: upload
                .checksum
                .map(|(algorithm, _)| ChecksumAlgorithm::from_static(checksum::name(algorithm))),
            checksum_type: upload.checksum.map(|(_, of)| ChecksumType::from_static(kind(of))),
            initiated: Some(timestamp(upload.initiated_ms)),
            initiator: Some(initiator(&upload.owner)),
            key: Some(encoding.name(upload.key.as_str())?),
            owner: Some(owner(Ownership::of(&bucket).shown(&upload.owner, &bucket.owner))),
            storage_class: Some(storage_class(upload.attributes.storage_class)),
            upload_id: Some(upload.id.to_string()),
        })
    });
    Ok(S3Response::new(ListMultipartUploadsOutput {
        uploads: Some(uploads.collect::<S3Result<_>>()?),
        common_prefixes: Some(encoding.prefixes(&prefixes)?),
        delimiter: encoding.opt(delimiter)?,
        encoding_type: encoding.answer(),
        is_truncated: Some(more),
        key_marker: Some(encoding.name(input.key_marker.as_deref().unwrap_or_default())?),
        max_uploads: Some(limit),
        next_key_marker: encoding.opt(next_key.as_deref())?,
        next_upload_id_marker: next_upload,
        prefix: Some(encoding.name(prefix)?),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        bucket: Some(input.bucket),
        request_charged: None,
    }))
}

/// ListParts
pub async fn parts(s3: &S3Service, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = req.input;
    let limit = page_size(input.max_parts, "max-parts")?;
    let after = match u16::try_from(input.part_number_marker.unwrap_or(0)) {
        Ok(after) => after,
        Err(_) if input.part_number_marker < Some(0) => {
            return Err(s3_error!(
                InvalidArgument,
                "Argument part-number-marker must be an integer between 0 and 2147483647"
            ));
        }
        Err(_) => u16::MAX,
    };
    let id = upload_id(&input.upload_id)?;
    let key = key(input.key)?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let limit_u32 = u32::try_from(limit).unwrap_or(0);
    let (upload, parts, more) = s3.router.list_parts(&bucket, &key, id, after, limit_u32).await?;
    let more = more && limit > 0;
    let next = parts.last().map_or(after, |part| part.number);
    let parts = parts.iter().map(|part| {
        let mut shown = dto::Part {
            e_tag: Some(etag(&part.etag)),
            last_modified: Some(timestamp(part.modified_ms)),
            part_number: Some(i32::from(part.number)),
            size: int(part.size),
            ..Default::default()
        };
        set_checksum!(shown, &part.checksum);
        shown
    });
    Ok(S3Response::new(ListPartsOutput {
        parts: Some(parts.collect()),
        bucket: Some(input.bucket),
        checksum_algorithm: upload
            .checksum
            .map(|(algorithm, _)| ChecksumAlgorithm::from_static(checksum::name(algorithm))),
        checksum_type: upload.checksum.map(|(_, of)| ChecksumType::from_static(kind(of))),
        initiator: Some(initiator(&upload.owner)),
        is_truncated: Some(more),
        key: Some(key.into()),
        max_parts: Some(limit),
        next_part_number_marker: Some(i32::from(next)),
        owner: Some(owner(Ownership::of(&bucket).shown(&upload.owner, &bucket.owner))),
        part_number_marker: Some(i32::from(after)),
        storage_class: Some(storage_class(upload.attributes.storage_class)),
        upload_id: Some(input.upload_id),
        ..Default::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_of_uploads() {
        let id = "0123456789abcdef0123456789abcdef";
        let text = |text: &str| text.to_owned();
        assert_eq!(after("", None, None, Some(id)).unwrap(), None);
        assert_eq!(after("", None, Some("k"), None).unwrap(), Some((text("k"), None)));
        assert_eq!(after("", None, Some("k"), Some(id)).unwrap(), Some((text("k"), Some(id.parse().unwrap()))));
        assert_eq!(after("", Some("/"), Some("d/"), None).unwrap(), Some((text("d/\u{10ffff}"), None)));
        assert!(after("", None, Some("k"), Some("garbage")).is_err());
    }
}
