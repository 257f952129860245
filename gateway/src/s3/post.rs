//! PostObject: a browser's form upload. s3s reads the form, checks its policy and writes the answer; the object is put
//! like any other.

use http::{HeaderValue, header};
use s3s::dto::{ETag, PostObjectInput, PostObjectOutput, PutObjectInput};
use s3s::{S3Request, S3Response, S3Result};

use super::{S3Service, complete, put};

/// The same object without the form around it.
macro_rules! without_form {
    ($input:ident: $($field:ident)*) => {
        PutObjectInput { $($field: $input.$field),* }
    };
}

fn put_input(input: PostObjectInput) -> PutObjectInput {
    without_form! { input:
        acl body bucket bucket_key_enabled cache_control checksum_algorithm checksum_crc32 checksum_crc32c
        checksum_crc64nvme checksum_md5 checksum_sha1 checksum_sha256 checksum_sha512 checksum_xxhash128
        checksum_xxhash3 checksum_xxhash64 content_disposition content_encoding content_language content_length
        content_md5 content_type expected_bucket_owner expires grant_full_control grant_read grant_read_acp
        grant_write_acp if_match if_none_match key metadata object_lock_legal_hold_status object_lock_mode
        object_lock_retain_until_date request_payer sse_customer_algorithm sse_customer_key sse_customer_key_md5
        ssekms_encryption_context ssekms_key_id server_side_encryption storage_class tagging
        website_redirect_location write_offset_bytes
    }
}

/// PostObject
pub async fn object(s3: &S3Service, req: S3Request<PostObjectInput>) -> S3Result<S3Response<PostObjectOutput>> {
    let location = complete::location(&req.headers, &req.input.bucket, &req.input.key)?;
    let redirects = req.input.success_action_redirect.is_some();
    let put = put::object(s3, req.map_input(put_input)).await?;
    let (tag, version_id, mut headers) = (put.output.e_tag, put.output.version_id, put.headers);
    // In the document and in the redirect's query, too, a tag stands in its quotes.
    let quoted = tag.map(|tag| format!("\"{}\"", tag.value()));
    if let Some(tag) = quoted.as_deref().and_then(|tag| HeaderValue::try_from(tag).ok()) {
        headers.insert(header::ETAG, tag);
    }
    // What redirects says itself whereto.
    if let (false, Ok(location)) = (redirects, HeaderValue::try_from(location)) {
        headers.insert(header::LOCATION, location);
    }
    let output = PostObjectOutput { e_tag: quoted.map(ETag::Strong), version_id, ..Default::default() };
    Ok(S3Response::with_headers(output, headers))
}
