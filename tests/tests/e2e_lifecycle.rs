//! Lifecycle rules carried out by three real nodes, with days of two seconds.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::builders::LifecycleRuleBuilder;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, ObjectLockMode, Tag,
    Transition, TransitionStorageClass, VersioningConfiguration,
};
use futures::{StreamExt, TryStreamExt};
use holdfast_tests::client::sdk::{self, Options as Sdk};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};

type Test = Result<(), Failure>;

const BUCKET: &str = "bucket";
const DAY: Duration = Duration::from_secs(2);
/// Rules are looked at every second, and a busy machine may take its time.
const WITHIN: Duration = Duration::from_secs(25);

fn client(cluster: &Cluster, at: usize) -> Client {
    sdk::client(&cluster.endpoint(at), cluster.keys(), &Sdk::default())
}

fn options() -> Options {
    let env = vec![("HOLDFAST_LIFECYCLE_DAY_SECONDS".to_owned(), DAY.as_secs().to_string())];
    Options { env, ..Options::default() }
}

fn rule(id: &str, prefix: &str) -> LifecycleRuleBuilder {
    let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
    LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter)
}

fn days(days: i32) -> LifecycleExpiration {
    LifecycleExpiration::builder().days(days).build()
}

async fn set(s3: &Client, rules: Vec<LifecycleRuleBuilder>) -> Test {
    let rules = rules.into_iter().map(LifecycleRuleBuilder::build).collect::<Result<Vec<_>, _>>()?;
    let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build()?;
    s3.put_bucket_lifecycle_configuration().bucket(BUCKET).lifecycle_configuration(configuration).send().await?;
    Ok(())
}

async fn put(s3: &Client, key: &str, tags: Option<&str>) -> Result<String, Failure> {
    let put = s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"body"));
    Ok(put.set_tagging(tags.map(str::to_owned)).send().await?.version_id().unwrap_or_default().to_owned())
}

/// Keys, each with the number of its versions and of its delete markers.
async fn held(s3: &Client) -> Result<Vec<(String, usize, usize)>, Failure> {
    let list = s3.list_object_versions().bucket(BUCKET).send().await?;
    let mut held = std::collections::BTreeMap::<String, (usize, usize)>::new();
    list.versions()
        .iter()
        .for_each(|version| held.entry(version.key().unwrap_or_default().to_owned()).or_default().0 += 1);
    list.delete_markers()
        .iter()
        .for_each(|marker| held.entry(marker.key().unwrap_or_default().to_owned()).or_default().1 += 1);
    Ok(held.into_iter().map(|(key, (versions, markers))| (key, versions, markers)).collect())
}

async fn until_held(s3: &Client, expected: &[(&str, usize, usize)]) -> Test {
    let expected: Vec<_> =
        expected.iter().map(|(key, versions, markers)| ((*key).to_owned(), *versions, *markers)).collect();
    let begun = std::time::Instant::now();
    loop {
        let now = held(s3).await?;
        if now == expected {
            return Ok(());
        }
        assert!(begun.elapsed() < WITHIN, "{now:?} is not {expected:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn objects_and_uploads_expire_and_what_no_rule_takes_stays() {
    on_cluster(options(), async |cluster| -> Test {
        let s3 = client(cluster, 0);
        s3.create_bucket().bucket(BUCKET).send().await?;
        // Before there are rules: they find it when they come.
        put(&s3, "old/a", None).await?;
        put(&s3, "stays", None).await?;
        s3.create_multipart_upload().bucket(BUCKET).key("up/a").send().await?;
        s3.create_multipart_upload().bucket(BUCKET).key("stays").send().await?;
        let tag = Tag::builder().key("fate").value("gone").build()?;
        let tagged = LifecycleRuleFilter::builder().tag(tag).build();
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build();
        let transition = Transition::builder().days(1).storage_class(TransitionStorageClass::Glacier).build();
        let refused = set(&s3, vec![rule("cold", "").transitions(transition)]).await;
        assert!(refused.is_err(), "there is no other storage class");
        set(
            &s3,
            vec![
                rule("old", "old/").expiration(days(1)),
                rule("tagged", "").filter(tagged).expiration(days(1)),
                rule("uploads", "up/").abort_incomplete_multipart_upload(abort),
            ],
        )
        .await?;
        let got = client(cluster, 1).get_bucket_lifecycle_configuration().bucket(BUCKET).send().await?;
        let ids: Vec<_> = got.rules().iter().filter_map(|rule| rule.id()).collect();
        assert_eq!(ids, ["old", "tagged", "uploads"]);
        put(&s3, "old/b", None).await?;
        put(&s3, "tagged", Some("fate=gone")).await?;
        put(&s3, "tagged otherwise", Some("fate=stays")).await?;
        let head = s3.head_object().bucket(BUCKET).key("tagged").send().await?;
        assert!(head.expiration().is_some_and(|expiration| expiration.contains("rule-id=\"tagged\"")), "{head:?}");
        until_held(&s3, &[("stays", 1, 0), ("tagged otherwise", 1, 0)]).await?;
        let begun = std::time::Instant::now();
        loop {
            let uploads = s3.list_multipart_uploads().bucket(BUCKET).send().await?;
            let keys: Vec<_> = uploads.uploads().iter().filter_map(|upload| upload.key()).collect();
            if keys == ["stays"] {
                break;
            }
            assert!(begun.elapsed() < WITHIN, "{keys:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        s3.delete_bucket_lifecycle().bucket(BUCKET).send().await?;
        let none = s3.get_bucket_lifecycle_configuration().bucket(BUCKET).send().await.expect_err("there are no rules");
        assert_eq!(none.code(), Some("NoSuchLifecycleConfiguration"));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn versions_and_markers_expire_but_locks_hold() {
    on_cluster(options(), async |cluster| -> Test {
        let s3 = client(cluster, 0);
        s3.create_bucket().bucket(BUCKET).object_lock_enabled_for_bucket(true).send().await?;
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await?;
        for key in ["few", "many", "gone"] {
            for _ in 0..4 {
                put(&s3, key, None).await?;
            }
        }
        s3.delete_object().bucket(BUCKET).key("gone").send().await?;
        let later = std::time::SystemTime::now() + Duration::from_secs(3600);
        let locked = s3.put_object().bucket(BUCKET).key("locked").object_lock_mode(ObjectLockMode::Compliance);
        locked.object_lock_retain_until_date(DateTime::from(later)).send().await?;
        put(&s3, "locked", None).await?;
        let noncurrent = |newer: Option<i32>| {
            let expiration = NoncurrentVersionExpiration::builder().noncurrent_days(1);
            expiration.set_newer_noncurrent_versions(newer).build()
        };
        let markers = LifecycleExpiration::builder().expired_object_delete_marker(true).build();
        set(
            &s3,
            vec![
                rule("few", "few").noncurrent_version_expiration(noncurrent(None)),
                rule("many", "many").noncurrent_version_expiration(noncurrent(Some(2))),
                rule("gone", "gone").noncurrent_version_expiration(noncurrent(None)).expiration(markers),
                rule("locked", "locked").noncurrent_version_expiration(noncurrent(None)),
            ],
        )
        .await?;
        until_held(&s3, &[("few", 1, 0), ("locked", 2, 0), ("many", 3, 0)]).await?;
        // One more makes the oldest of those kept one too many.
        put(&s3, "many", None).await?;
        until_held(&s3, &[("few", 1, 0), ("locked", 2, 0), ("many", 3, 0)]).await?;
        set(&s3, vec![rule("all", "few").expiration(days(1))]).await?;
        until_held(&s3, &[("few", 1, 1), ("locked", 2, 0), ("many", 3, 0)]).await
    })
    .await;
}

/// How many versions there are, and the keys of all delete markers.
async fn counted(s3: &Client) -> Result<(usize, Vec<String>), Failure> {
    let list = s3.list_object_versions().bucket(BUCKET).send().await?;
    assert_eq!(list.is_truncated(), Some(false), "one page");
    let markers = list.delete_markers().iter().map(|marker| marker.key().unwrap_or_default().to_owned());
    Ok((list.versions().len(), markers.collect()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_expires_twice_while_leaders_change_and_die() {
    // Versions and markers of one page.
    const OBJECTS: usize = 400;
    on_cluster(Options { shards: 1, ..options() }, async |cluster| -> Test {
        let s3 = client(cluster, 0);
        s3.create_bucket().bucket(BUCKET).send().await?;
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await?;
        // Each object has one version, and gets one delete marker when it expires: a second would be seen.
        let puts = (0..OBJECTS).map(|at| {
            let s3 = s3.clone();
            async move { put(&s3, &format!("k/{at:04}"), None).await.map(|_| ()) }
        });
        futures::stream::iter(puts).buffer_unordered(16).try_collect::<Vec<_>>().await?;
        set(&s3, vec![rule("all", "k/").expiration(days(1))]).await?;
        let (begun, mut changes, mut killed) = (std::time::Instant::now(), 0, false);
        loop {
            let (versions, markers) = counted(&s3).await?;
            let markers = markers.len();
            assert_eq!(versions, OBJECTS, "no version goes");
            assert!(markers <= OBJECTS, "{markers} markers of {OBJECTS} objects");
            if markers == OBJECTS && changes > 1 {
                break;
            }
            assert!(begun.elapsed() < 2 * WITHIN, "{markers} of {OBJECTS} have expired");
            let leader = cluster.leader(1, WITHIN).await?;
            if markers > 0 && !killed {
                killed = true;
                cluster.node(leader).kill();
                cluster.node(leader).start()?;
                cluster.node_ready(leader).await?;
            } else {
                let next = format!("n{}", (leader + 1) % 3 + 1);
                // Refused while the one that it is to be has not caught up: then the next time.
                let _ = cluster.transfer(1, &next, 0).await;
            }
            changes += 1;
        }
        // And nothing more comes.
        tokio::time::sleep(2 * DAY).await;
        let (_, markers) = counted(&s3).await?;
        let keys: std::collections::BTreeSet<_> = markers.iter().collect();
        assert_eq!(keys.len(), OBJECTS, "one of each");
        assert_eq!(markers.len(), OBJECTS);
        Ok(())
    })
    .await;
}
