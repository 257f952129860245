//! What is never carried out is refused before its body is read.

use super::*;
use crate::guard::table::REFUSED;

/// How each refused operation is asked for. In targets that are signed, names without values have their `=`.
fn refused() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("CreateBucketMetadataConfiguration", "POST", "/bucket?metadataConfiguration="),
        ("CreateBucketMetadataTableConfiguration", "POST", "/bucket?metadataTable="),
        ("CreateSession", "GET", "/bucket?session="),
        ("DeleteBucketAnalyticsConfiguration", "DELETE", "/bucket?analytics=&id=a"),
        ("DeleteBucketIntelligentTieringConfiguration", "DELETE", "/bucket?id=a&intelligent-tiering="),
        ("DeleteBucketInventoryConfiguration", "DELETE", "/bucket?id=a&inventory="),
        ("DeleteBucketMetadataConfiguration", "DELETE", "/bucket?metadataConfiguration="),
        ("DeleteBucketMetadataTableConfiguration", "DELETE", "/bucket?metadataTable="),
        ("DeleteBucketMetricsConfiguration", "DELETE", "/bucket?id=a&metrics="),
        ("DeleteObjectAnnotation", "DELETE", "/bucket/key?annotation=&annotationName=a"),
        ("GetBucketAbac", "GET", "/bucket?abac="),
        ("GetBucketAnalyticsConfiguration", "GET", "/bucket?analytics=&id=a"),
        ("GetBucketIntelligentTieringConfiguration", "GET", "/bucket?id=a&intelligent-tiering="),
        ("GetBucketInventoryConfiguration", "GET", "/bucket?id=a&inventory="),
        ("GetBucketMetadataConfiguration", "GET", "/bucket?metadataConfiguration="),
        ("GetBucketMetadataTableConfiguration", "GET", "/bucket?metadataTable="),
        ("GetBucketMetricsConfiguration", "GET", "/bucket?id=a&metrics="),
        ("GetObjectAnnotation", "GET", "/bucket/key?annotation=&annotationName=a"),
        ("GetObjectTorrent", "GET", "/bucket/key?torrent="),
        ("ListBucketAnalyticsConfigurations", "GET", "/bucket?analytics="),
        ("ListBucketIntelligentTieringConfigurations", "GET", "/bucket?intelligent-tiering="),
        ("ListBucketInventoryConfigurations", "GET", "/bucket?inventory="),
        ("ListBucketMetricsConfigurations", "GET", "/bucket?metrics="),
        ("ListDirectoryBuckets", "GET", "/?x-id=ListDirectoryBuckets"),
        ("ListObjectAnnotations", "GET", "/bucket/key?annotation="),
        ("ListenBucketNotification", "GET", "/bucket?events=s3"),
        ("PutBucketAbac", "PUT", "/bucket?abac="),
        ("PutBucketAnalyticsConfiguration", "PUT", "/bucket?analytics=&id=a"),
        ("PutBucketIntelligentTieringConfiguration", "PUT", "/bucket?id=a&intelligent-tiering="),
        ("PutBucketInventoryConfiguration", "PUT", "/bucket?id=a&inventory="),
        ("PutBucketMetricsConfiguration", "PUT", "/bucket?id=a&metrics="),
        ("PutBucketReplication", "PUT", "/bucket?replication="),
        ("PutObjectAnnotation", "PUT", "/bucket/key?annotation=&annotationName=a"),
        ("RestoreObject", "POST", "/bucket/key?restore="),
        ("SelectObjectContent", "POST", "/bucket/key?select=&select-type=2"),
        ("UpdateBucketMetadataAnnotationTableConfiguration", "PUT", "/bucket?metadataAnnotationTable="),
        ("UpdateBucketMetadataInventoryTableConfiguration", "PUT", "/bucket?metadataInventoryTable="),
        ("UpdateBucketMetadataJournalTableConfiguration", "PUT", "/bucket?metadataJournalTable="),
        ("UpdateObjectEncryption", "PUT", "/bucket/key?encryption="),
        ("WriteGetObjectResponse", "POST", "/WriteGetObjectResponse"),
    ]
}

#[tokio::test]
async fn what_is_never_carried_out_is_a_501_whatever_its_body() {
    let harness = Harness::plain().await;
    let all = refused();
    assert_eq!(all.iter().map(|(operation, ..)| *operation).collect::<Vec<_>>(), REFUSED);
    for (operation, method, target) in all {
        let bodies: &[&str] = if method == "PUT" || method == "POST" { &["", "<a/>", "not XML"] } else { &[""] };
        for body in bodies {
            let mut request = harness.request(method, target).body(body);
            if operation == "WriteGetObjectResponse" {
                request = request.header("x-amz-request-route", "r").header("x-amz-request-token", "t");
            }
            let answer = harness.send(&request.sign()).await;
            assert_eq!((answer.status, answer.code().as_str()), (501, "NotImplemented"), "{operation} {body:?}");
        }
    }
    assert_eq!(harness.fake.calls(), 0);
}
