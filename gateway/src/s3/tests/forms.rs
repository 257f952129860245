//! Form uploads.

use super::*;

const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nd/a & b\r\n\
                    --x\r\nContent-Disposition: form-data; name=\"success_action_status\"\r\n\r\n201\r\n\
                    --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbytes\r\n--x--\r\n";

#[tokio::test]
async fn a_form_s_document_names_the_whole_url() {
    let gateway = Gateway::start().await;
    let kind = [("content-type", "multipart/form-data; boundary=x")];
    let answer = gateway.send("POST", "/bucket", &kind, FORM).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.header("location"), "http://s3.test/bucket/d/a%20%26%20b");
    assert_eq!(answer.element("Location"), answer.header("location"));
    assert_eq!((answer.element("Key").as_str(), answer.element("Bucket").as_str()), ("d/a &amp; b", "bucket"));
    assert_eq!(answer.element("ETag"), answer.header("etag"));
}
