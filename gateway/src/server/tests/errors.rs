//! Error documents: the texts and elements that S3 gives.

use super::forged::Stand;
use super::*;

#[tokio::test]
async fn documents_say_what_they_are_about() {
    let harness = Harness::plain().await;
    let answer = harness.signed("GET", "/bucket/d/absent%20key", "").await;
    assert_eq!((answer.code().as_str(), answer.element("Key").as_deref()), ("NoSuchKey", Some("d/absent key")));
    let anonymous = harness.request("GET", "/absent-bucket/key");
    let answer = harness.send(&anonymous).await;
    assert_eq!(answer.element("BucketName").as_deref(), Some("absent-bucket"));
    let host = harness.send(&Request::new("GET", "/key", "absent-bucket.s3.test")).await;
    assert_eq!((host.code().as_str(), host.element("BucketName").as_deref()), ("NoSuchBucket", Some("absent-bucket")));
}

#[tokio::test]
async fn documents_that_are_others_are_malformed_as_on_s3() {
    let harness = Harness::plain().await;
    const MESSAGE: &str = "The XML you provided was not well-formed or did not validate against our published schema";
    for (body, element) in [
        ("<Delete><Object><Key>a</Object></Delete>", Some("Delete/Object/Key")),
        ("<Erase><Object><Key>a</Key></Object></Erase>", Some("Erase/Object/Key")),
        ("<Delete><Object></Object></Delete>", Some("Delete/Object")),
        ("<Delete><Object><Key>a</Key></Object><Object/></Delete>", Some("Delete")),
        ("nothing", None),
    ] {
        let answer = harness.signed("POST", "/bucket?delete", body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "MalformedXML"), "{body}");
        assert_eq!(answer.element("Message").as_deref(), Some(MESSAGE), "{body}");
        assert_eq!(answer.element("Element").as_deref(), element, "{body}");
    }
    let empty = harness.signed("POST", "/bucket?delete", "").await;
    assert_eq!((empty.status, empty.code().as_str()), (400, "MissingRequestBodyError"));
    assert_eq!(empty.element("Message").as_deref(), Some("Request Body is empty"));
    assert_eq!(harness.fake.calls(), 0);
}

#[tokio::test]
async fn clocks_that_differ_are_told_by_how_much_they_may() {
    let harness = Harness::plain().await;
    let mut request = harness.request("GET", "/bucket/key");
    request.time -= 16 * 60;
    let stamp = request.stamp();
    let answer = harness.send(&request.sign()).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "RequestTimeTooSkewed"));
    let message = "The difference between the request time and the current time is too large.";
    assert_eq!(answer.element("Message").as_deref(), Some(message));
    assert_eq!(answer.element("RequestTime"), Some(stamp));
    assert_eq!(answer.element("MaxAllowedSkewMilliseconds").as_deref(), Some("900000"));
    let server = answer.element("ServerTime").unwrap();
    assert_eq!((server.len(), &server[10..11], &server[19..]), (20, "T", "Z"), "{server}");
}

#[tokio::test]
async fn a_scope_that_is_another_is_told() {
    let harness = Harness::plain().await;
    let mut request = harness.request("GET", "/bucket/key");
    request.region = "eu-west-1".to_owned();
    let request = request.sign();
    let names = request.names().into_iter().filter(|name| name != "authorization").collect::<Vec<_>>();
    let canonical = request.canonical(&names, &request.value("x-amz-content-sha256"));
    let answer = harness.send(&request).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "AuthorizationHeaderMalformed"));
    let expected = "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-1'";
    assert_eq!(answer.element("Message").as_deref(), Some(expected));
    assert_eq!(answer.element("Region").as_deref(), Some("us-east-1"));
    assert_eq!(answer.element("CanonicalRequest"), Some(canonical.clone()));
    assert_eq!(answer.element("StringToSign"), Some(request.to_sign(&canonical)));

    let mut request = harness.request("GET", "/bucket/key");
    request.service = "ec2".to_owned();
    let answer = harness.send(&request.sign()).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "AuthorizationHeaderMalformed"));
    assert!(answer.element("Message").unwrap().contains("incorrect service &quot;ec2&quot;"), "{}", answer.text());
}

#[tokio::test]
async fn the_real_operations_say_what_they_are_about() {
    let stand = Stand::start().await;
    stand.replica.set("key", "hello");
    let copy = ("x-amz-copy-source", "/bucket/key?versionId=nope");
    let version = [("ArgumentName", "versionId"), ("ArgumentValue", "nope")];
    let list = [("ArgumentName", "x-amz-acl"), ("ArgumentValue", "nonsense")];
    let owned = "InvalidBucketAclWithObjectOwnership";
    let none = ("x-trace", "1");
    for (method, target, header, status, code, elements) in [
        ("GET", "/bucket/key?versionId=nope", none, 400, "InvalidArgument", &version[..]),
        ("DELETE", "/bucket/key?versionId=nope", none, 400, "InvalidArgument", &version),
        ("PUT", "/bucket/to", copy, 400, "InvalidArgument", &version),
        (
            "GET",
            "/bucket/key?versionId=3sL4kqtJlcpXroDTDmJ.rmSpXd3_IbrH",
            none,
            404,
            "NoSuchVersion",
            &[("Key", "key")],
        ),
        ("PUT", "/bucket/to", ("x-amz-copy-source", "/bucket/none"), 404, "NoSuchKey", &[("Key", "none")]),
        ("PUT", "/bucket/key", ("if-none-match", "*"), 412, "PreconditionFailed", &[("Condition", "If-None-Match")]),
        ("GET", "/bucket/key", ("if-match", "\"x\""), 412, "PreconditionFailed", &[("Condition", "If-Match")]),
        (
            "GET",
            "/bucket/key",
            ("range", "bytes=9-"),
            416,
            "InvalidRange",
            &[("RangeRequested", "bytes=9-"), ("ActualObjectSize", "5")],
        ),
        ("PUT", "/bucket/key", ("x-amz-acl", "nonsense"), 400, "InvalidArgument", &list),
        ("PUT", "/bucket/key", ("x-amz-acl", "bucket-owner-read"), 400, "AccessControlListNotSupported", &[]),
        ("PUT", "/another-bucket", ("x-amz-acl", "public-read"), 400, owned, &[]),
    ] {
        let request = Request::new(method, target, &stand.host()).header(header.0, header.1).sign();
        let answer = stand.send(&request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {target} {header:?}: {answer:?}");
        for (name, value) in elements {
            assert_eq!(
                answer.element(name).as_deref(),
                Some(*value),
                "{method} {target} {header:?}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(stand.replica.keys(), ["key"]);
}
