//! Form uploads as a browser sends them, signed as the S3 API reference says ("Authenticating requests in browser-based
//! uploads using POST"), so that it is independent of the server's reading.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;

use super::plain::{self, HttpError};
use super::sign::{Keys, REGION, derive, mac, stamp};

/// Posts `file` with these fields to a bucket. With `keys` a policy names every field as it is, and is signed; without,
/// the form is anonymous.
pub async fn post(
    authority: &str,
    bucket: &str,
    keys: Option<&Keys>,
    fields: &[(&str, &str)],
    file: &str,
) -> Result<Response<String>, HttpError> {
    let mut all: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    if let Some(keys) = keys {
        let (day, instant) = stamp(SystemTime::now());
        let credential = format!("{}/{day}/{REGION}/s3/aws4_request", keys.access);
        for (name, value) in [
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential", credential),
            ("x-amz-date", instant),
        ] {
            all.push((name.to_owned(), value));
        }
        let conditions: Vec<_> =
            all.iter().map(|(name, value)| json!({ name: value.replace("${filename}", "f") })).collect();
        let policy = json!({ "expiration": "2999-01-01T00:00:00Z", "conditions": conditions });
        let policy = STANDARD.encode(policy.to_string());
        let signature = hex::encode(mac(&derive(&keys.secret, &day), policy.as_bytes()));
        all.push(("policy".to_owned(), policy));
        all.push(("x-amz-signature".to_owned(), signature));
    }
    let mut body = String::new();
    for (name, value) in all {
        body += &format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    body += &format!("{file}\r\n--edge--\r\n");
    let request = Request::post(format!("/{bucket}")).header("host", authority);
    let request = request.header("content-type", "multipart/form-data; boundary=edge");
    plain::exchange(authority, request.body(Full::new(body.into()))?).await
}
