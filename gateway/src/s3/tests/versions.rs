//! Version ids that cannot be one, wherever a request may name one.

use super::*;

#[tokio::test]
async fn what_is_no_version_id_is_an_invalid_argument() {
    let gateway = Gateway::start().await;
    gateway.put("k", &[], "x").await;
    let attributes = [("x-amz-object-attributes", "ETag")];
    let tagging = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let copy = [("x-amz-copy-source", "bucket/k?versionId=nope")];
    for (method, path, headers, body) in [
        ("GET", "/bucket/k?versionId=nope", &[][..], ""),
        ("DELETE", "/bucket/k?versionId=nope", &[], ""),
        ("GET", "/bucket/k?tagging&versionId=nope", &[], ""),
        ("PUT", "/bucket/k?tagging&versionId=nope", &[], tagging),
        ("DELETE", "/bucket/k?tagging&versionId=nope", &[], ""),
        ("GET", "/bucket/k?acl&versionId=nope", &[], ""),
        ("PUT", "/bucket/k?acl&versionId=nope", &[("x-amz-acl", "private")], ""),
        ("GET", "/bucket/k?retention&versionId=nope", &[], ""),
        ("GET", "/bucket/k?legal-hold&versionId=nope", &[], ""),
        ("GET", "/bucket/k?attributes&versionId=nope", &attributes, ""),
        ("PUT", "/bucket/to", &copy, ""),
        ("GET", "/bucket?versions&key-marker=k&version-id-marker=nonsense", &[], ""),
    ] {
        let answer = gateway.send(method, path, headers, body).await;
        let told = (answer.status, answer.element("Code"), answer.element("Message"));
        let expected = (StatusCode::BAD_REQUEST, "InvalidArgument".into(), "Invalid version id specified".into());
        assert_eq!(told, expected, "{method} {path}");
    }
    let head = gateway.send("HEAD", "/bucket/k?versionId=nope", &[], "").await;
    assert_eq!(head.status, StatusCode::BAD_REQUEST);
    assert_eq!(gateway.get("k", &[]).await.text(), "x", "nothing was deleted");
}

#[tokio::test]
async fn among_many_keys_it_is_an_error_of_its_key() {
    let gateway = Gateway::start().await;
    gateway.put("a", &[], "x").await;
    gateway.put("b", &[], "x").await;
    let body = "<Delete><Object><Key>a</Key><VersionId>nope</VersionId></Object><Object><Key>b</Key></Object></Delete>";
    let answer = gateway.send("POST", "/bucket?delete", &[], body).await;
    assert_eq!((answer.status, answer.element("Code").as_str()), (StatusCode::OK, "NoSuchVersion"));
    assert!(answer.text().contains("<Deleted><Key>b</Key></Deleted>"), "{}", answer.text());
    assert!(answer.text().contains("<VersionId>nope</VersionId>"), "{}", answer.text());
    assert_eq!(gateway.get("a", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_version_of_amazons_is_absent() {
    let gateway = Gateway::start().await;
    gateway.put("k", &[], "x").await;
    let answer = gateway.get(&format!("k?versionId={AMAZONS_VERSION}"), &[]).await;
    assert_eq!((answer.status, answer.element("Code").as_str()), (StatusCode::NOT_FOUND, "NoSuchVersion"));
}
