//! PostObject: a browser's form upload. The [form](crate::form) was judged when it was read, s3s writes the answer; the
//! object is put like any other.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use s3s::dto::{ETag, PostObjectInput, PostObjectOutput, PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::{ResponseDocument, S3Service, complete, put};
use crate::guard::error_xml::element;

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

/// What an answer to a form carries in headers, of what PutObject tells.
fn told(put: &PutObjectOutput) -> Vec<(HeaderName, String)> {
    let tag = put.e_tag.as_ref().map(|tag| format!("\"{}\"", tag.value()));
    let text = |text: &Option<String>| text.clone();
    let method = put.server_side_encryption.as_ref().map(|method| method.as_str().to_owned());
    let all = [
        ("etag", tag),
        ("x-amz-version-id", text(&put.version_id)),
        ("x-amz-expiration", text(&put.expiration)),
        ("x-amz-server-side-encryption", method),
        ("x-amz-server-side-encryption-customer-algorithm", text(&put.sse_customer_algorithm)),
        ("x-amz-server-side-encryption-customer-key-md5", text(&put.sse_customer_key_md5)),
        ("x-amz-checksum-crc32", text(&put.checksum_crc32)),
        ("x-amz-checksum-crc32c", text(&put.checksum_crc32c)),
        ("x-amz-checksum-crc64nvme", text(&put.checksum_crc64nvme)),
        ("x-amz-checksum-md5", text(&put.checksum_md5)),
        ("x-amz-checksum-sha1", text(&put.checksum_sha1)),
        ("x-amz-checksum-sha256", text(&put.checksum_sha256)),
        ("x-amz-checksum-sha512", text(&put.checksum_sha512)),
        ("x-amz-checksum-xxhash128", text(&put.checksum_xxhash128)),
        ("x-amz-checksum-xxhash3", text(&put.checksum_xxhash3)),
        ("x-amz-checksum-xxhash64", text(&put.checksum_xxhash64)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((HeaderName::from_static(name), value?))).collect()
}

/// The document of a 201: s3s's names a path where S3's names the whole URL.
fn document(location: &str, bucket: &str, key: &str, tag: &str) -> Bytes {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse>".to_owned();
    for (name, value) in [("Location", location), ("Bucket", bucket), ("Key", key), ("ETag", tag)] {
        element(&mut xml, name, value);
    }
    xml.push_str("</PostResponse>");
    xml.into()
}

/// PostObject
pub async fn object(s3: &S3Service, req: S3Request<PostObjectInput>) -> S3Result<S3Response<PostObjectOutput>> {
    let location = complete::location(&req.headers, &req.input.bucket, &req.input.key)?;
    let redirects = req.input.success_action_redirect.is_some();
    let created = req.input.success_action_status == Some(201) && !redirects;
    let names = created.then(|| (req.input.bucket.clone(), req.input.key.clone()));
    let put = put::object(s3, req.map_input(put_input)).await?;
    let mut headers = put.headers;
    for (name, value) in told(&put.output) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    // In the document and in the redirect's query, too, a tag stands in its quotes.
    let quoted = put.output.e_tag.map(|tag| format!("\"{}\"", tag.value()));
    let document = names.map(|(bucket, key)| document(&location, &bucket, &key, quoted.as_deref().unwrap_or_default()));
    // What redirects says itself whereto.
    if let (false, Ok(location)) = (redirects, HeaderValue::try_from(location)) {
        headers.insert(header::LOCATION, location);
    }
    let e_tag = quoted.map(ETag::Strong);
    let output = PostObjectOutput { e_tag, version_id: put.output.version_id, ..Default::default() };
    let mut response = S3Response::with_headers(output, headers);
    if let Some(document) = document {
        response.extensions.insert(ResponseDocument(document));
    }
    Ok(response)
}
