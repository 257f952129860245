//! Encryption: what the replica gets, what comes back, and to whom.

use super::*;

const KEY_A: [(&str, &str); 3] = [
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
    ("x-amz-server-side-encryption-customer-key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ("x-amz-server-side-encryption-customer-key-md5", "tLibFy9SGWH4jl1ZkuaWsQ=="),
];
const SSE: (&str, &str) = ("x-amz-server-side-encryption", "AES256");
const DEFAULT: &str = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
                       <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\
                       </ServerSideEncryptionConfiguration>";

fn customer(name: &str) -> Vec<(&'static str, String)> {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let key: Vec<u8> = name.bytes().cycle().take(32).collect();
    vec![
        (KEY_A[0].0, "AES256".to_owned()),
        (KEY_A[1].0, base64(&key)),
        (KEY_A[2].0, base64(&of(ChecksumAlgorithm::Md5, &key))),
    ]
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Whether a run of the plain bytes is among those that the replica keeps under this key.
fn leaks(gateway: &Gateway, key: &str, plain: &[u8]) -> bool {
    let stored = gateway.replica.stored(key);
    let probe = &plain[..plain.len().min(24)];
    stored.windows(probe.len()).any(|window| window == probe)
}

#[tokio::test]
async fn the_replica_sees_no_plain_bytes_and_ranges_come_back() {
    let gateway = Gateway::start().await;
    for len in [1, 100, 64 << 10, (64 << 10) + 1, 300_000] {
        let body = pattern(len);
        let put = gateway.put("d/k", &[SSE], body.clone()).await;
        assert_eq!((put.status, put.header(SSE.0)), (StatusCode::OK, "AES256"), "{}", put.text());
        assert_eq!(put.header("etag"), format!("\"{}\"", md5(&body)));
        assert!(len < 24 || !leaks(&gateway, "d/k", &body));
        let get = gateway.get("d/k", &[]).await;
        assert_eq!((get.status, get.header(SSE.0)), (StatusCode::OK, "AES256"));
        assert_eq!(get.header("content-length"), len.to_string());
        assert!(get.body == body);
        for (first, last) in [(0, 0), (len / 2, len - 1), (len - 1, len - 1), (len / 3, len / 2)] {
            let get = gateway.get("d/k", &[("range", &format!("bytes={first}-{last}"))]).await;
            assert_eq!(get.status, StatusCode::PARTIAL_CONTENT);
            assert_eq!(get.header("content-range"), format!("bytes {first}-{last}/{len}"));
            assert!(get.body == body.slice(first..last + 1), "{first}-{last} of {len}");
        }
        let head = gateway.send("HEAD", "/bucket/d/k", &[], "").await;
        assert_eq!((head.header("content-length"), head.header(SSE.0)), (len.to_string().as_str(), "AES256"));
    }
    let empty = gateway.put("d/k", &[SSE], "").await;
    assert_eq!(empty.status, StatusCode::OK);
    assert!(gateway.get("d/k", &[]).await.body.is_empty());
}

#[tokio::test]
async fn a_customers_key_is_needed_and_hides_the_tag() {
    let gateway = Gateway::start().await;
    let (mine, other) = (customer("mine"), customer("other"));
    let body = pattern(200_000);
    let put = gateway.put("d/k", &borrowed(&mine), body.clone()).await;
    assert_eq!((put.status, put.header(KEY_A[0].0)), (StatusCode::OK, "AES256"), "{}", put.text());
    assert_eq!(put.header(KEY_A[2].0), mine[2].1);
    assert!(put.header(SSE.0).is_empty() && !leaks(&gateway, "d/k", &body));
    assert_ne!(put.header("etag"), format!("\"{}\"", md5(&body)));
    assert_eq!(put.header("etag").len(), 34);
    let get = gateway.get("d/k", &borrowed(&mine)).await;
    assert_eq!(get.header("etag"), put.header("etag"));
    assert!(get.body == body);
    for headers in [vec![], borrowed(&other)] {
        let get = gateway.get("d/k", &headers).await;
        assert_eq!((get.status, get.element("Code").as_str()), (StatusCode::BAD_REQUEST, "InvalidRequest"));
        assert_eq!(gateway.send("HEAD", "/bucket/d/k", &headers, "").await.status, StatusCode::BAD_REQUEST);
    }
    gateway.put("d/plain", &[], "x").await;
    let get = gateway.get("d/plain", &borrowed(&mine)).await;
    assert_eq!(get.element("Code"), "InvalidRequest");
}

#[tokio::test]
async fn headers_that_do_not_fit_together_are_refused() {
    let gateway = Gateway::start().await;
    let mine = customer("mine");
    let (algorithm, key, sum) =
        ((KEY_A[0].0, "AES256"), (KEY_A[1].0, mine[1].1.as_str()), (KEY_A[2].0, mine[2].1.as_str()));
    for (headers, code) in [
        (vec![algorithm, key], "InvalidArgument"),
        (vec![key, sum], "InvalidArgument"),
        (vec![algorithm, sum], "InvalidArgument"),
        (vec![algorithm, key, (KEY_A[2].0, "AAAAAAAAAAAAAAAAAAAAAA==")], "InvalidArgument"),
        (vec![algorithm, (KEY_A[1].0, "c2hvcnQ="), sum], "InvalidArgument"),
        (vec![(KEY_A[0].0, "AES128"), key, sum], "InvalidEncryptionAlgorithmError"),
        (vec![algorithm, key, sum, SSE], "InvalidArgument"),
        (vec![(SSE.0, "aws:kms")], "NotImplemented"),
        (vec![(SSE.0, "aes:kms")], "InvalidArgument"),
        (vec![SSE, ("x-amz-server-side-encryption-aws-kms-key-id", "a-key")], "InvalidArgument"),
    ] {
        assert_eq!(gateway.put("d/k", &headers, "x").await.element("Code"), code, "{headers:?}");
    }
    assert_eq!(gateway.get("d/k", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn customers_keys_need_a_secure_connection_unless_configured() {
    let gateway = Gateway::start_with(|config| config.customer_keys_over_http = false).await;
    let mine = customer("mine");
    let put = gateway.put("d/k", &borrowed(&mine), "x").await;
    assert_eq!(put.element("Code"), "InvalidRequest");
    let mut request = Request::put("/bucket/d/k").header("host", "s3.test").header("content-length", 1);
    for (name, value) in &mine {
        request = request.header(*name, value);
    }
    let mut request = request.body(s3s::Body::from(Bytes::from_static(b"x"))).unwrap();
    let address = std::net::IpAddr::from([127, 0, 0, 1]);
    request.extensions_mut().insert(crate::auth::Origin { address, secure: true });
    assert_eq!(gateway.protocol.call(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn without_keys_of_the_cluster_it_is_refused_rather_than_pretended() {
    let gateway = Gateway::start_with(|config| config.keys = None).await;
    assert_eq!(gateway.put("d/k", &[SSE], "x").await.element("Code"), "NotImplemented");
    let put = gateway.send("PUT", "/bucket?encryption", &[], DEFAULT).await;
    assert_eq!(put.element("Code"), "NotImplemented");
}

#[tokio::test]
async fn a_buckets_default_encrypts_and_can_block_customers_keys() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.put("d/before", &[], "plain").await.status, StatusCode::OK);
    let put = gateway.send("PUT", "/bucket?encryption", &[], DEFAULT).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text());
    assert_eq!(gateway.send("GET", "/bucket?encryption", &[], "").await.element("SSEAlgorithm"), "AES256");
    let put = gateway.put("d/k", &[], pattern(100)).await;
    assert_eq!(put.header(SSE.0), "AES256");
    assert!(!leaks(&gateway, "d/k", &pattern(100)));
    assert!(gateway.get("d/before", &[]).await.header(SSE.0).is_empty());
    // A copy is a new object.
    let copy = gateway.put("d/copy", &[("x-amz-copy-source", "/bucket/d/before")], "").await;
    assert_eq!((copy.status, copy.header(SSE.0)), (StatusCode::OK, "AES256"), "{}", copy.text());
    assert!(!leaks(&gateway, "d/copy", b"plain"));
    assert_eq!(gateway.get("d/copy", &[]).await.text(), "plain");

    let blocked = DEFAULT.replace(
        "</Rule>",
        "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule>",
    );
    assert_eq!(gateway.send("PUT", "/bucket?encryption", &[], blocked).await.status, StatusCode::OK);
    let put = gateway.put("d/c", &borrowed(&customer("mine")), "x").await;
    assert_eq!((put.status, put.element("Code").as_str()), (StatusCode::FORBIDDEN, "AccessDenied"));
    assert_eq!(gateway.send("DELETE", "/bucket?encryption", &[], "").await.status, StatusCode::NO_CONTENT);
    assert!(gateway.put("d/k", &[], "x").await.header(SSE.0).is_empty());
    let get = gateway.send("GET", "/bucket?encryption", &[], "").await;
    assert_eq!(get.element("Code"), "ServerSideEncryptionConfigurationNotFoundError");
    let kms = DEFAULT.replace("AES256", "aws:kms");
    assert_eq!(gateway.send("PUT", "/bucket?encryption", &[], kms).await.element("Code"), "NotImplemented");
}

#[tokio::test]
async fn copies_take_other_keys() {
    let gateway = Gateway::start().await;
    let (mine, other) = (customer("mine"), customer("other"));
    let body = pattern(150_000);
    gateway.put("d/sse", &[SSE], body.clone()).await;
    let from_sse = ("x-amz-copy-source", "/bucket/d/sse");
    let before = gateway.replica.stored("d/sse");
    let copy = gateway.put("d/sse2", &[from_sse, SSE], "").await;
    assert_eq!(copy.header(SSE.0), "AES256", "{}", copy.text());
    assert!(gateway.replica.stored("d/sse2") == before, "wrapped anew, and no byte moved");
    assert!(gateway.get("d/sse2", &[]).await.body == body);
    let plain = gateway.put("d/plain", &[from_sse], "").await;
    assert!(plain.status == StatusCode::OK && plain.header(SSE.0).is_empty());
    assert!(gateway.get("d/plain", &[]).await.body == body);

    let mut headers = borrowed(&mine);
    headers.push(from_sse);
    assert_eq!(gateway.put("d/c", &headers, "").await.status, StatusCode::OK);
    assert!(gateway.get("d/c", &borrowed(&mine)).await.body == body);
    // From one customer's key to another's.
    let source: Vec<_> =
        mine.iter().map(|(name, value)| (name.replace("x-amz-", "x-amz-copy-source-"), value.as_str())).collect();
    let mut headers = borrowed(&other);
    headers.push(("x-amz-copy-source", "/bucket/d/c"));
    assert_eq!(gateway.put("d/c2", &headers, "").await.status, StatusCode::BAD_REQUEST);
    headers.extend(source.iter().map(|(name, value)| (name.as_str(), *value)));
    let copy = gateway.put("d/c2", &headers, "").await;
    assert_eq!(copy.status, StatusCode::OK, "{}", copy.text());
    assert!(gateway.get("d/c2", &borrowed(&other)).await.body == body);
    assert_eq!(gateway.get("d/c2", &borrowed(&mine)).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn parts_are_encrypted_each_for_itself() {
    let gateway = Gateway::start().await;
    for (create, part) in [(vec![SSE], vec![]), (borrowed(&customer("mine")), borrowed(&customer("mine")))] {
        let created = gateway.send("POST", "/bucket/d/k?uploads", &create, "").await;
        assert_eq!(created.status, StatusCode::OK, "{}", created.text());
        let id = created.element("UploadId");
        let bodies = [pattern(5 * MIB), pattern(5 * MIB + 77), pattern(10)];
        let mut list = String::new();
        for (number, body) in (1..).zip(&bodies) {
            let path = format!("/bucket/d/k?partNumber={number}&uploadId={id}");
            let sent = gateway.send("PUT", &path, &part, body.clone()).await;
            assert_eq!(sent.status, StatusCode::OK, "{}", sent.text());
            let tag = sent.header("etag");
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
            if !part.is_empty() {
                let other = customer("other");
                assert_eq!(gateway.send("PUT", &path, &borrowed(&other), "x").await.status, StatusCode::BAD_REQUEST);
                assert_eq!(gateway.send("PUT", &path, &[], "x").await.status, StatusCode::BAD_REQUEST);
            }
        }
        let document = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let done = gateway.send("POST", &format!("/bucket/d/k?uploadId={id}"), &[], document).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.text());
        let all = bodies.concat();
        assert!(!leaks(&gateway, "d/k", &all));
        assert!(gateway.get("d/k", &part).await.body == all);
        let (first, last) = (5 * MIB - 10, 10 * MIB + 80);
        let mut headers = part.clone();
        let range = format!("bytes={first}-{last}");
        headers.push(("range", &range));
        assert!(gateway.get("d/k", &headers).await.body == all[first..=last]);
        let second = gateway.send("GET", "/bucket/d/k?partNumber=2", &part, "").await;
        assert!(second.body == bodies[1]);
    }
}
