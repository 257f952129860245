//! Documents in request bodies are what their heads say, or nothing is done; one that a handler wrote is the answer.

use holdfast_wire::object::ChecksumAlgorithm;

use super::*;
use crate::checksum;

const DOCUMENT: &str = "<Delete><Object><Key>a</Key></Object></Delete>";

#[tokio::test]
async fn a_document_that_is_not_what_its_head_says_does_nothing() {
    let harness = Harness::plain().await;
    let request = || harness.request("POST", "/bucket?delete").body(DOCUMENT);
    let md5 = checksum::encode(&checksum::of(ChecksumAlgorithm::Md5, DOCUMENT.as_bytes()));
    let other_md5 = checksum::encode(&checksum::of(ChecksumAlgorithm::Md5, b"other"));
    let mut headers = vec![("content-md5", md5, other_md5)];
    for algorithm in checksum::ALL {
        let of = |bytes| checksum::encode(&checksum::of(algorithm, bytes));
        headers.push((checksum::header(algorithm), of(DOCUMENT.as_bytes()), of(b"other")));
    }
    for (done, (header, right, wrong)) in headers.iter().enumerate() {
        let answer = harness.send(&request().header(header, wrong).sign()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "BadDigest"), "{header}");
        assert_eq!(harness.fake.calls(), done, "{header}");
        let answer = harness.send(&request().header(header, right).sign()).await;
        assert_eq!(answer.status, 200, "{header}: {}", answer.text());
    }

    let answer = harness.send(&request().header("content-md5", "nonsense").sign()).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidDigest"));
}

#[tokio::test]
async fn a_wrong_signature_is_told_before_a_wrong_digest() {
    let harness = Harness::plain().await;
    let wrong = checksum::encode(&checksum::of(ChecksumAlgorithm::Md5, b"other"));
    let mut request = harness.request("POST", "/bucket?delete").body(DOCUMENT).header("content-md5", &wrong).sign();
    request.set("x-amz-date", "20200101T000000Z");
    let answer = harness.send(&request).await;
    assert_eq!(answer.status, 403);
    assert_eq!(harness.fake.calls(), 0);
}

#[tokio::test]
async fn a_document_that_a_handler_wrote_is_the_answer() {
    let harness = Harness::plain().await;
    let answer = harness.signed("PUT", "/bucket/told", "bytes").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "<Told/>"));
    assert_eq!(answer.header("content-length"), Some("7"));
    assert_eq!(harness.signed("PUT", "/bucket/key", "bytes").await.text(), "");
}
