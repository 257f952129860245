//! ListObjectVersions: every object has the one version `null`.

use holdfast_wire::request::{ListFrom, ListObjects, ListPage};
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion,
    ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::{etag, int, kind, owner, timestamp};
use super::list::{Encoding, from_marker, page_size};
use super::request::{NULL_VERSION, modes};
use crate::checksum;

/// ListObjectVersions
pub async fn list(
    s3: &S3Service,
    req: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = req.input;
    let modes = modes(&req.headers)?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_size(input.max_keys, "max-keys")?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let version_marker = input.version_id_marker.as_deref().filter(|marker| !marker.is_empty());
    if version_marker.is_some() && input.key_marker.as_deref().unwrap_or_default().is_empty() {
        return Err(s3_error!(InvalidArgument, "A version-id marker cannot be specified without a key marker."));
    }
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let page = match u32::try_from(limit) {
        Ok(limit @ 1..) => {
            let list = ListObjects {
                bucket: bucket.id,
                prefix: prefix.to_owned(),
                delimiter: delimiter.map(str::to_owned),
                after: from_marker(prefix, delimiter, input.key_marker.as_deref()),
                limit,
            };
            s3.router.list(&bucket, modes, list).await?
        }
        _ => ListPage::default(),
    };
    let versions = page.objects.iter().map(|(key, summary)| {
        Ok(ObjectVersion {
            checksum_algorithm: summary
                .checksum
                .map(|(algorithm, _)| vec![ChecksumAlgorithm::from_static(checksum::name(algorithm))]),
            checksum_type: summary.checksum.map(|(_, of)| ChecksumType::from_static(kind(of))),
            e_tag: Some(etag(&summary.etag)),
            is_latest: Some(true),
            key: Some(encoding.name(key)?),
            last_modified: Some(timestamp(summary.modified_ms)),
            owner: Some(owner(&summary.owner)),
            restore_status: None,
            size: int(summary.size),
            storage_class: Some(summary.storage_class.clone().map_or_else(
                || ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD),
                ObjectVersionStorageClass::from,
            )),
            version_id: Some(NULL_VERSION.to_owned()),
        })
    });
    let versions = versions.collect::<S3Result<Vec<_>>>()?;
    let next = super::list::last(&page).filter(|_| page.more);
    let next_version = matches!(next, Some(ListFrom::After(_))).then(|| NULL_VERSION.to_owned());
    Ok(S3Response::new(ListObjectVersionsOutput {
        common_prefixes: Some(encoding.prefixes(&page.prefixes)?),
        delete_markers: None,
        delimiter: encoding.opt(delimiter)?,
        encoding_type: encoding.answer(),
        is_truncated: Some(page.more),
        key_marker: Some(encoding.name(input.key_marker.as_deref().unwrap_or_default())?),
        max_keys: Some(limit),
        name: Some(input.bucket),
        next_key_marker: encoding.opt(next.as_ref().map(super::list::text))?,
        next_version_id_marker: next_version,
        prefix: Some(encoding.name(prefix)?),
        request_charged: None,
        version_id_marker: Some(version_marker.unwrap_or_default().to_owned()),
        versions: Some(versions),
    }))
}
