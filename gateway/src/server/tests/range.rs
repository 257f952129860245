//! A `Range` that cannot be understood is ignored, and does not open what a signature keeps shut.

use super::*;

fn without_range(request: &Request) -> Vec<String> {
    request.names().into_iter().filter(|name| name != "range").collect()
}

#[tokio::test]
async fn a_range_that_cannot_be_read_is_ignored() {
    let harness = Harness::plain().await;
    harness.fake.put("key", "hello");
    let request = |method: &str, range: &str| harness.request(method, "/bucket/key?x-id=a%20b").header("range", range);
    for range in ["bytes=2-1", "bytes=0-1,3-4", "nonsense"] {
        for method in ["GET", "HEAD"] {
            for request in [
                request(method, range).sign(),
                request(method, range).sign_with(without_range),
                request(method, range).presign(60),
            ] {
                let answer = harness.send(&request).await;
                assert_eq!(answer.status, 200, "{method} {range}: {}", answer.text());
                assert_eq!(answer.header("content-length"), Some("5"));
                assert_eq!(answer.header("content-range"), None);
            }
        }
    }
    let huge = harness.send(&request("GET", "bytes=1-99999999999999999999").sign()).await;
    assert_eq!(huge.header("content-range"), Some("bytes=1-9223372036854775807"));
}

#[tokio::test]
async fn it_is_still_under_the_signature() {
    let harness = Harness::plain().await;
    harness.fake.put("key", "hello");
    let request = || harness.request("GET", "/bucket/key");
    let mut forged = request().header("range", "bytes=0-1").sign();
    forged.set("range", "nonsense");
    let answer = harness.send(&forged).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "SignatureDoesNotMatch"));
    let answer = harness.send(&request().header("range", "nonsense")).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"));
    assert_eq!(harness.fake.calls(), 0);
}
