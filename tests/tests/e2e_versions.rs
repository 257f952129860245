//! Versions, Object Lock, tags, copies and renames, with the AWS SDK for Rust against three real nodes.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, DefaultRetention, Delete, MetadataDirective,
    ObjectIdentifier, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus,
    ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule, Tag, Tagging, TaggingDirective,
    VersioningConfiguration,
};
use holdfast_tests::body;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::client::sdk::{self, Options as Sdk};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use http::{Method, StatusCode};

type Test = Result<(), Failure>;

const BUCKET: &str = "bucket";

fn client(cluster: &Cluster, at: usize) -> Client {
    sdk::client(&cluster.endpoint(at), cluster.keys(), &Sdk::default())
}

#[track_caller]
fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(result: Result<T, E>, code: &str) {
    let error = result.expect_err(code);
    assert_eq!(error.code(), Some(code), "{error:?}");
}

async fn versioning(s3: &Client, status: BucketVersioningStatus) -> Test {
    let configuration = VersioningConfiguration::builder().status(status).build();
    s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(configuration).send().await?;
    Ok(())
}

async fn put(s3: &Client, key: &str, body: &str) -> Result<String, Failure> {
    let body = ByteStream::from(body.as_bytes().to_vec());
    let put = s3.put_object().bucket(BUCKET).key(key).body(body).send().await?;
    Ok(put.version_id().unwrap_or_default().to_owned())
}

async fn get(s3: &Client, key: &str, version: Option<&str>) -> Result<String, Failure> {
    let got = s3.get_object().bucket(BUCKET).key(key).set_version_id(version.map(str::to_owned)).send().await?;
    Ok(String::from_utf8_lossy(&got.body.collect().await?.into_bytes()).into_owned())
}

/// Key, version id, whether the newest, whether a delete marker: as ListObjectVersions shows them, page by page.
async fn versions(s3: &Client, page: i32) -> Result<Vec<(String, String, bool, bool)>, Failure> {
    let mut all = Vec::new();
    let (mut key, mut version) = (None, None);
    loop {
        let list = s3.list_object_versions().bucket(BUCKET).max_keys(page);
        let list = list.set_key_marker(key).set_version_id_marker(version).send().await?;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        all.extend(list.versions().iter().map(|version| {
            (text(version.key()), text(version.version_id()), version.is_latest() == Some(true), false)
        }));
        all.extend(
            list.delete_markers()
                .iter()
                .map(|marker| (text(marker.key()), text(marker.version_id()), marker.is_latest() == Some(true), true)),
        );
        if list.is_truncated() != Some(true) {
            return Ok(all);
        }
        key = list.next_key_marker().map(str::to_owned);
        version = list.next_version_id_marker().map(str::to_owned);
    }
}

#[tokio::test]
async fn versions_are_kept_covered_and_revived() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let (s3, other) = (client(cluster, 0), client(cluster, 1));
        s3.create_bucket().bucket(BUCKET).send().await?;
        assert!(s3.get_bucket_versioning().bucket(BUCKET).send().await?.status().is_none());
        assert_eq!(put(&s3, "k", "zero").await?, "");
        versioning(&s3, BucketVersioningStatus::Enabled).await?;
        let status = other.get_bucket_versioning().bucket(BUCKET).send().await?;
        assert_eq!(status.status(), Some(&BucketVersioningStatus::Enabled));
        let one = put(&s3, "k", "one").await?;
        let two = put(&other, "k", "two").await?;
        assert!(!one.is_empty() && one != two);
        assert_eq!(get(&other, "k", None).await?, "two");
        assert_eq!(get(&other, "k", Some(&one)).await?, "one");
        assert_eq!(get(&other, "k", Some("null")).await?, "zero");
        refused(
            s3.get_object().bucket(BUCKET).key("k").version_id("000000010000000000000001").send().await,
            "NoSuchVersion",
        );
        refused(s3.get_object().bucket(BUCKET).key("k").version_id("no such id!").send().await, "InvalidArgument");

        let gone = s3.delete_object().bucket(BUCKET).key("k").send().await?;
        let marker = gone.version_id().unwrap_or_default().to_owned();
        assert_eq!(gone.delete_marker(), Some(true));
        refused(other.get_object().bucket(BUCKET).key("k").send().await, "NoSuchKey");
        let mut raw = Raw::new(&cluster.gateways()[1], cluster.keys().clone(), Duration::from_secs(10));
        let head = raw.call(Call::object(Method::HEAD, BUCKET, "k")).await?;
        assert_eq!((head.status, head.header("x-amz-delete-marker")), (StatusCode::NOT_FOUND, Some("true")));
        assert_eq!(head.header("x-amz-version-id"), Some(&marker[..]));
        let named = raw.call(Call::object(Method::GET, BUCKET, "k").query("versionId", &marker)).await?;
        assert_eq!((named.status, named.header("x-amz-delete-marker")), (StatusCode::METHOD_NOT_ALLOWED, Some("true")));
        assert_eq!(s3.list_objects_v2().bucket(BUCKET).send().await?.key_count(), Some(0));
        // A marker counts as absent.
        s3.put_object().bucket(BUCKET).key("k").if_none_match("*").body(ByteStream::from_static(b"x")).send().await?;
        let newest = versions(&s3, 1000).await?.into_iter().find(|version| version.2).expect("a newest version");
        s3.delete_object().bucket(BUCKET).key("k").version_id(&newest.1).send().await?;

        let k = || "k".to_owned();
        let mut expected = vec![
            (k(), marker.clone(), true, true),
            (k(), two.clone(), false, false),
            (k(), one.clone(), false, false),
            (k(), "null".to_owned(), false, false),
        ];
        let by_page = versions(&other, 1).await?;
        assert_eq!(by_page, expected, "one by one, in order");
        let removed = s3.delete_object().bucket(BUCKET).key("k").version_id(&marker).send().await?;
        assert_eq!((removed.delete_marker(), removed.version_id()), (Some(true), Some(&marker[..])));
        assert_eq!(get(&other, "k", None).await?, "two", "the one below is the newest again");
        s3.delete_object().bucket(BUCKET).key("k").version_id(&two).send().await?;
        assert_eq!(get(&other, "k", None).await?, "one");
        expected.drain(..2);
        expected[0].2 = true;
        assert_eq!(versions(&other, 1000).await?, expected);
        refused(s3.delete_bucket().bucket(BUCKET).send().await, "BucketNotEmpty");

        // Suspended: the version `null` is replaced, the others stay.
        versioning(&s3, BucketVersioningStatus::Suspended).await?;
        assert_eq!(put(&s3, "k", "null again").await?, "null");
        assert_eq!(get(&other, "k", Some("null")).await?, "null again");
        assert_eq!(get(&other, "k", Some(&one)).await?, "one");
        let covered = s3.delete_object().bucket(BUCKET).key("k").send().await?;
        assert_eq!((covered.delete_marker(), covered.version_id()), (Some(true), Some("null")));
        assert_eq!(versions(&s3, 1).await?, [(k(), "null".to_owned(), true, true), (k(), one.clone(), false, false)]);
        // Bulk deletes name versions, and say what became of them.
        let named = |version: &str| ObjectIdentifier::builder().key("k").version_id(version).build();
        let objects = vec![named("null")?, named(&one)?];
        let deleted = s3.delete_objects().bucket(BUCKET).delete(Delete::builder().set_objects(Some(objects)).build()?);
        let deleted = deleted.send().await?;
        assert_eq!((deleted.deleted().len(), deleted.errors().len()), (2, 0));
        assert_eq!(deleted.deleted()[0].delete_marker_version_id(), Some("null"));
        assert!(versions(&s3, 1000).await?.is_empty());
        s3.delete_bucket().bucket(BUCKET).send().await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn copies_parts_tags_and_renames_know_versions() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = client(cluster, 0);
        s3.create_bucket().bucket(BUCKET).send().await?;
        // A rename is one step, and only where both keys live together.
        put(&s3, "d/old", "moved").await?;
        let rename = |source: &str, key: &str| s3.rename_object().bucket(BUCKET).key(key).rename_source(source);
        rename("d/old", "d/new").send().await?;
        assert_eq!(get(&s3, "d/new", None).await?, "moved");
        refused(s3.get_object().bucket(BUCKET).key("d/old").send().await, "NoSuchKey");
        refused(rename("d/old", "d/new").send().await, "NoSuchKey");
        put(&s3, "d/other", "other").await?;
        refused(rename("d/new", "d/other").destination_if_none_match("*").send().await, "PreconditionFailed");
        refused(rename("d/new", "d/other").source_if_match("\"0\"").send().await, "PreconditionFailed");
        rename("/bucket/d/new", "d/other").send().await?;
        assert_eq!(get(&s3, "d/other", None).await?, "moved");
        let apart = (0..20).map(|at| format!("apart{at}/x"));
        let mut refusals = 0;
        for key in apart {
            refusals += i32::from(
                rename("d/other", &key)
                    .source_if_match("\"0\"")
                    .send()
                    .await
                    .is_err_and(|error| error.code() == Some("NotImplemented")),
            );
        }
        assert!(refusals > 0, "some of twenty directories live in other shards");

        versioning(&s3, BucketVersioningStatus::Enabled).await?;
        let one = put(&s3, "c/k", "one").await?;
        put(&s3, "c/k", "two").await?;
        let copy =
            |from: &str, to: &str| s3.copy_object().bucket(BUCKET).key(to).copy_source(format!("{BUCKET}/{from}"));
        let copied = copy(&format!("c/k?versionId={one}"), "c/copy").send().await?;
        assert_eq!(copied.copy_source_version_id(), Some(&one[..]));
        assert!(copied.version_id().is_some());
        assert_eq!(get(&s3, "c/copy", None).await?, "one");
        copy(&format!("c/k?versionId={one}"), "c/k").send().await?;
        assert_eq!(get(&s3, "c/k", None).await?, "one", "an older version is brought back by copying it");

        // Tags of versions.
        let tags = |value: &str| -> Result<Tagging, Failure> {
            Ok(Tagging::builder().tag_set(Tag::builder().key("t").value(value).build()?).build()?)
        };
        s3.put_object_tagging().bucket(BUCKET).key("c/k").version_id(&one).tagging(tags("first")?).send().await?;
        let tagged =
            |version: Option<String>| s3.get_object_tagging().bucket(BUCKET).key("c/k").set_version_id(version).send();
        assert_eq!(tagged(Some(one.clone())).await?.tag_set()[0].value(), "first");
        assert!(tagged(None).await?.tag_set().is_empty());
        let head = s3.head_object().bucket(BUCKET).key("c/k").version_id(&one).send().await?;
        assert_eq!((head.tag_count(), head.version_id()), (Some(1), Some(&one[..])));
        copy(&format!("c/k?versionId={one}"), "c/tagged").send().await?;
        assert_eq!(s3.get_object_tagging().bucket(BUCKET).key("c/tagged").send().await?.tag_set().len(), 1);
        copy("c/tagged", "c/retagged").tagging_directive(TaggingDirective::Replace).tagging("a=1&b=2").send().await?;
        assert_eq!(s3.get_object_tagging().bucket(BUCKET).key("c/retagged").send().await?.tag_set().len(), 2);
        s3.delete_object_tagging().bucket(BUCKET).key("c/k").version_id(&one).send().await?;
        assert!(tagged(Some(one.clone())).await?.tag_set().is_empty());
        copy("c/k", "c/k").metadata_directive(MetadataDirective::Replace).metadata("m", "n").send().await?;

        // An upload of parts becomes a version; a part that is a whole object of the same shard moves no bytes.
        let source = body::make(7, 6 << 20);
        s3.put_object().bucket(BUCKET).key("c/source").body(source.clone().into()).send().await?;
        let upload = s3.create_multipart_upload().bucket(BUCKET).key("c/k").send().await?;
        let id = upload.upload_id().unwrap_or_default();
        let mut parts = Vec::new();
        for number in 1..=2 {
            let part = s3.upload_part_copy().bucket(BUCKET).key("c/k").upload_id(id).part_number(number);
            let part = part.copy_source(format!("{BUCKET}/c/source")).send().await?;
            let etag = part.copy_part_result().and_then(|result| result.e_tag()).unwrap_or_default().to_owned();
            parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = s3.complete_multipart_upload().bucket(BUCKET).key("c/k").upload_id(id).multipart_upload(parts);
        let complete = complete.send().await?;
        let made = complete.version_id().unwrap_or_default();
        let got = s3.get_object().bucket(BUCKET).key("c/k").version_id(made).send().await?;
        let got = got.body.collect().await?.into_bytes();
        assert!(got[..] == [&source[..], &source[..]].concat()[..], "{} bytes", got.len());
        // The source may go: its bytes have other names.
        for (key, version, ..) in versions(&s3, 1000).await?.into_iter().filter(|version| version.0 == "c/source") {
            s3.delete_object().bucket(BUCKET).key(key).version_id(version).send().await?;
        }
        let got = s3.get_object().bucket(BUCKET).key("c/k").part_number(2).send().await?;
        assert!(got.body.collect().await?.into_bytes() == source);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn locked_versions_stay() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = client(cluster, 0);
        s3.create_bucket().bucket("plain").send().await?;
        refused(
            s3.get_object_lock_configuration().bucket("plain").send().await,
            "ObjectLockConfigurationNotFoundError",
        );
        let days = |days| {
            let default = DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(days).build();
            let rule = ObjectLockRule::builder().default_retention(default).build();
            ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).rule(rule).build()
        };
        let put_days = |bucket: &str, count| {
            s3.put_object_lock_configuration().bucket(bucket).object_lock_configuration(days(count)).send()
        };
        refused(put_days("plain", 1).await, "InvalidBucketState");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() as i64;
        let later = |seconds: i64| DateTime::from_secs(now + seconds);
        let locked_put = s3.put_object().bucket("plain").key("k").object_lock_mode(ObjectLockMode::Governance);
        refused(locked_put.object_lock_retain_until_date(later(3600)).send().await, "InvalidRequest");

        s3.create_bucket().bucket(BUCKET).object_lock_enabled_for_bucket(true).send().await?;
        assert!(s3.get_bucket_versioning().bucket(BUCKET).send().await?.status().is_some());
        let suspend = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
        let suspended = s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(suspend).send().await;
        refused(suspended, "InvalidBucketState");
        refused(put_days(BUCKET, 0).await, "InvalidRetentionPeriod");
        let free = put(&s3, "free", "x").await?;
        put_days(BUCKET, 2).await?;
        let by_default = put(&s3, "k", "x").await?;
        let head = s3.head_object().bucket(BUCKET).key("k").send().await?;
        assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Governance));
        let left = head.object_lock_retain_until_date().map_or(0, DateTime::secs) - now;
        assert!((2 * 86_400 - 60..2 * 86_400 + 60).contains(&left), "{left} seconds");

        let delete = |key: &str, version: &str| s3.delete_object().bucket(BUCKET).key(key).version_id(version);
        delete("free", &free).send().await?;
        refused(delete("k", &by_default).send().await, "AccessDenied");
        let one = ObjectIdentifier::builder().key("k").version_id(&by_default).build()?;
        let bulk = s3.delete_objects().bucket(BUCKET).delete(Delete::builder().objects(one).build()?).send().await?;
        assert_eq!(bulk.errors().first().and_then(|error| error.code()), Some("AccessDenied"));
        let retain = |mode: ObjectLockRetentionMode, seconds| {
            let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(later(seconds)).build();
            s3.put_object_retention().bucket(BUCKET).key("k").version_id(&by_default).retention(retention)
        };
        refused(retain(ObjectLockRetentionMode::Governance, 3600).send().await, "AccessDenied");
        retain(ObjectLockRetentionMode::Governance, 3600).bypass_governance_retention(true).send().await?;
        let hold = |status| {
            let hold = ObjectLockLegalHold::builder().status(status).build();
            s3.put_object_legal_hold().bucket(BUCKET).key("k").version_id(&by_default).legal_hold(hold).send()
        };
        let held = || s3.get_object_legal_hold().bucket(BUCKET).key("k").version_id(&by_default).send();
        refused(held().await, "NoSuchObjectLockConfiguration");
        hold(ObjectLockLegalHoldStatus::On).await?;
        let bypassed = || delete("k", &by_default).bypass_governance_retention(true).send();
        refused(bypassed().await, "AccessDenied");
        hold(ObjectLockLegalHoldStatus::Off).await?;
        bypassed().await?;

        let compliant = s3.put_object().bucket(BUCKET).key("c").object_lock_mode(ObjectLockMode::Compliance);
        let compliant = compliant.object_lock_retain_until_date(later(3600)).send().await?;
        let compliant = compliant.version_id().unwrap_or_default();
        refused(delete("c", compliant).bypass_governance_retention(true).send().await, "AccessDenied");
        let got = s3.get_object_retention().bucket(BUCKET).key("c").send().await?;
        let got = got.retention().and_then(|retention| retention.mode());
        assert_eq!(got, Some(&ObjectLockRetentionMode::Compliance));
        // Covering it with a delete marker takes nothing away.
        assert_eq!(s3.delete_object().bucket(BUCKET).key("c").send().await?.delete_marker(), Some(true));
        assert_eq!(get(&s3, "c", Some(compliant)).await?, "");
        Ok(())
    })
    .await;
}
