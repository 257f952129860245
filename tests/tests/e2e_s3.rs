//! The AWS SDK for Rust against three real nodes.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective,
    ObjectAttributes, ObjectIdentifier, Tag, Tagging,
};
use bytes::Bytes;
use holdfast_tests::body;
use holdfast_tests::client::plain;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::client::sdk::{self, Options as Sdk};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_wire::id::Seq;
use http::{Method, StatusCode};

type Test = Result<(), Failure>;

const MIB: usize = 1 << 20;

fn client(cluster: &Cluster, at: usize) -> Client {
    sdk::client(&cluster.endpoint(at), cluster.keys(), &Sdk::default())
}

/// A client of the first gateway and a bucket.
async fn with_bucket(cluster: &Cluster, bucket: &str) -> Result<Client, Failure> {
    let s3 = client(cluster, 0);
    s3.create_bucket().bucket(bucket).send().await?;
    Ok(s3)
}

#[track_caller]
fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(result: Result<T, E>, code: &str) {
    let error = result.expect_err(code);
    assert_eq!(error.code(), Some(code), "{error:?}");
}

async fn bytes_of(s3: &Client, bucket: &str, key: &str) -> Result<Bytes, Failure> {
    Ok(s3.get_object().bucket(bucket).key(key).send().await?.body.collect().await?.into_bytes())
}

#[tokio::test]
async fn buckets() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let (s3, other) = (client(cluster, 0), client(cluster, 1));
        assert_eq!(s3.list_buckets().send().await?.buckets().len(), 0);
        s3.create_bucket().bucket("one").send().await?;
        other.create_bucket().bucket("two").send().await?;
        // The owner's second creation in us-east-1 succeeds.
        other.create_bucket().bucket("one").send().await?;
        for through in 0..3 {
            let list = client(cluster, through).list_buckets().send().await?;
            let names: Vec<_> = list.buckets().iter().filter_map(|bucket| bucket.name()).collect();
            assert_eq!(names, ["one", "two"]);
        }
        s3.head_bucket().bucket("two").send().await?;
        let location = s3.get_bucket_location().bucket("two").send().await?;
        assert!(location.location_constraint().is_none_or(|place| place.as_str().is_empty()), "{location:?}");
        refused(s3.create_bucket().bucket("Not_A_Name").send().await, "InvalidBucketName");
        refused(s3.get_object().bucket("three").key("k").send().await, "NoSuchBucket");
        refused(s3.delete_bucket().bucket("three").send().await, "NoSuchBucket");

        s3.put_object().bucket("two").key("k").body(ByteStream::from_static(b"x")).send().await?;
        refused(other.delete_bucket().bucket("two").send().await, "BucketNotEmpty");
        other.delete_object().bucket("two").key("k").send().await?;
        other.delete_bucket().bucket("two").send().await?;
        assert!(s3.head_bucket().bucket("two").send().await.is_err());
        refused(s3.put_object().bucket("two").key("k").send().await, "NoSuchBucket");
        // A bucket made anew has nothing of the old one.
        s3.create_bucket().bucket("two").send().await?;
        assert_eq!(s3.list_objects_v2().bucket("two").send().await?.key_count(), Some(0));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn objects() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = with_bucket(cluster, "objects").await?;
        // Around the size up to which bodies travel inside the log entry, and above.
        for size in [0, 1, 4096, 65_535, 65_536, 65_537, MIB, 8 * MIB + 1] {
            let (key, body) = (format!("size/{size}"), body::make(size as u64, size));
            s3.put_object().bucket("objects").key(&key).body(body.clone().into()).send().await?;
            for through in 0..3 {
                let read = bytes_of(&client(cluster, through), "objects", &key).await?;
                assert!(read == body, "{size} bytes through gateway {through}");
            }
        }
        let object = || s3.put_object().bucket("objects").key("full");
        let put = object()
            .body(ByteStream::from_static(b"0123456789"))
            .content_type("text/x-test")
            .cache_control("no-cache")
            .content_disposition("attachment")
            .content_encoding("identity2")
            .content_language("de")
            .metadata("color", "blue")
            .metadata("empty", "")
            .send()
            .await?;
        assert_eq!(put.e_tag(), Some("\"781e5e245d69b566979b86e28d23f2c7\""));
        let head = client(cluster, 1).head_object().bucket("objects").key("full").send().await?;
        assert_eq!(head.content_length(), Some(10));
        assert_eq!(head.content_type(), Some("text/x-test"));
        assert_eq!(head.cache_control(), Some("no-cache"));
        assert_eq!(head.content_disposition(), Some("attachment"));
        assert_eq!(head.content_encoding(), Some("identity2"));
        assert_eq!(head.content_language(), Some("de"));
        assert_eq!(head.e_tag(), put.e_tag());
        assert!(head.last_modified().is_some());
        let metadata = head.metadata().expect("metadata");
        assert_eq!(metadata.get("color").map(String::as_str), Some("blue"));
        assert_eq!(metadata.get("empty").map(String::as_str), Some(""));

        let get = || s3.get_object().bucket("objects").key("full");
        for (range, part, stated) in [
            ("bytes=0-0", "0", "bytes 0-0/10"),
            ("bytes=3-5", "345", "bytes 3-5/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-2", "89", "bytes 8-9/10"),
            ("bytes=5-99", "56789", "bytes 5-9/10"),
        ] {
            let got = get().range(range).send().await?;
            assert_eq!(got.content_range(), Some(stated));
            assert_eq!(got.body.collect().await?.into_bytes(), part);
        }
        refused(get().range("bytes=10-").send().await, "InvalidRange");
        let etag = put.e_tag().unwrap_or_default();
        assert_eq!(get().if_match(etag).send().await?.content_length(), Some(10));
        refused(get().if_match("\"other\"").send().await, "PreconditionFailed");
        let unchanged = get().if_none_match(etag).send().await.expect_err("304");
        assert_eq!(unchanged.raw_response().map(|raw| raw.status().as_u16()), Some(304));
        let overridden = get().response_content_type("a/b").response_cache_control("c").send().await?;
        assert_eq!((overridden.content_type(), overridden.cache_control()), (Some("a/b"), Some("c")));

        refused(s3.get_object().bucket("objects").key("none").send().await, "NoSuchKey");
        s3.delete_object().bucket("objects").key("none").send().await?;
        s3.delete_object().bucket("objects").key("full").send().await?;
        for through in 0..3 {
            refused(client(cluster, through).get_object().bucket("objects").key("full").send().await, "NoSuchKey");
        }
        let odd = ["a b+c", "ü/ß/日本", "..", "a//b", "/lead", "%2e%2e%2f", "tail/", "q?x=1&y", "'\"<&>", "\u{1F600}"];
        for key in odd {
            let body = Bytes::from(key.as_bytes().to_vec());
            s3.put_object().bucket("objects").key(key).body(body.clone().into()).send().await?;
            assert_eq!(bytes_of(&s3, "objects", key).await?, body, "{key:?}");
        }
        let long = "k".repeat(1024);
        s3.put_object().bucket("objects").key(&long).body(ByteStream::from_static(b"l")).send().await?;
        refused(s3.put_object().bucket("objects").key(format!("{long}k")).send().await, "KeyTooLongError");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn conditions() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = with_bucket(cluster, "conditions").await?;
        let put = |key: &str, body: &'static str| {
            s3.put_object().bucket("conditions").key(key).body(ByteStream::from_static(body.as_bytes()))
        };
        // Of many that create one key through all gateways exactly one wins.
        for round in 0..3 {
            let mut racers = tokio::task::JoinSet::new();
            for racer in 0..24 {
                let s3 = client(cluster, racer % 3);
                racers.spawn(async move {
                    s3.put_object()
                        .bucket("conditions")
                        .key(format!("race{round}"))
                        .if_none_match("*")
                        .body(body::make(racer as u64, 100).into())
                        .send()
                        .await
                        .map(|_| racer as u64)
                });
            }
            let mut winners = Vec::new();
            while let Some(racer) = racers.join_next().await {
                match racer? {
                    Ok(winner) => winners.push(winner),
                    Err(error) => {
                        let code = error.code().unwrap_or_default().to_owned();
                        assert!(code == "PreconditionFailed" || code == "ConditionalRequestConflict", "{error:?}");
                    }
                }
            }
            assert_eq!(winners.len(), 1, "{winners:?}");
            let read = bytes_of(&s3, "conditions", &format!("race{round}")).await?;
            assert_eq!(body::verify(winners[0], &read), Ok(()));
        }
        let first = put("cas", "1").send().await?;
        let etag = first.e_tag().unwrap_or_default();
        let second = put("cas", "2").if_match(etag).send().await?;
        refused(put("cas", "3").if_match(etag).send().await, "PreconditionFailed");
        refused(put("absent", "3").if_match(etag).send().await, "NoSuchKey");
        refused(put("cas", "3").if_none_match("*").send().await, "PreconditionFailed");
        assert_eq!(bytes_of(&s3, "conditions", "cas").await?, "2");
        let delete = |etag: &str| s3.delete_object().bucket("conditions").key("cas").if_match(etag);
        refused(delete(etag).send().await, "PreconditionFailed");
        delete(second.e_tag().unwrap_or_default()).send().await?;
        refused(s3.get_object().bucket("conditions").key("cas").send().await, "NoSuchKey");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn listings() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = with_bucket(cluster, "lists").await?;
        // Many directories, so that every shard holds some of the keys.
        let mut keys: Vec<String> = (0..30).flat_map(|d| (0..3).map(move |k| format!("d{d:02}/k{k}"))).collect();
        keys.extend(["a b+c", "top", "z/ü"].map(str::to_owned));
        keys.sort();
        for key in &keys {
            s3.put_object().bucket("lists").key(key).body(ByteStream::from_static(b"x")).send().await?;
        }
        for page in [1, 7, 1000] {
            let (mut found, mut token) = (Vec::new(), None);
            loop {
                let list = client(cluster, found.len() % 3)
                    .list_objects_v2()
                    .bucket("lists")
                    .max_keys(page)
                    .set_continuation_token(token)
                    .send()
                    .await?;
                found.extend(list.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
                token = list.next_continuation_token().map(str::to_owned);
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(found, keys, "v2 in pages of {page}");
        }
        let (mut found, mut marker) = (Vec::new(), None);
        loop {
            let list = s3.list_objects().bucket("lists").max_keys(10).set_marker(marker).send().await?;
            found.extend(list.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
            if list.is_truncated() != Some(true) {
                break;
            }
            marker = found.last().cloned();
        }
        assert_eq!(found, keys, "v1");
        let rolled = s3.list_objects_v2().bucket("lists").delimiter("/").send().await?;
        let prefixes: Vec<_> = rolled.common_prefixes().iter().filter_map(|common| common.prefix()).collect();
        assert_eq!((prefixes.len(), rolled.contents().len()), (31, 2), "{prefixes:?}");
        let (mut prefixes, mut marker) = (Vec::new(), None);
        loop {
            let list = s3.list_objects().bucket("lists").delimiter("/").max_keys(7).set_marker(marker).send().await?;
            prefixes.extend(list.common_prefixes().iter().filter_map(|common| common.prefix()).map(str::to_owned));
            marker = list.next_marker().map(str::to_owned);
            if list.is_truncated() != Some(true) {
                break;
            }
        }
        assert_eq!(prefixes.len(), 31, "{prefixes:?}");
        let under = s3.list_objects_v2().bucket("lists").prefix("d07/").start_after("d07/k0").send().await?;
        let under: Vec<_> = under.contents().iter().filter_map(|object| object.key()).collect();
        assert_eq!(under, ["d07/k1", "d07/k2"]);
        let none = s3.list_objects_v2().bucket("lists").max_keys(0).send().await?;
        assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
        let encoded = s3
            .list_objects_v2()
            .bucket("lists")
            .prefix("a")
            .encoding_type(aws_sdk_s3::types::EncodingType::Url)
            .send()
            .await?;
        let key = encoded.contents().first().and_then(|object| object.key());
        assert!(matches!(key, Some("a%20b%2Bc" | "a+b%2Bc")), "{key:?}");
        // What was just deleted or made is never in, or missing from, the next listing.
        for round in 0..20 {
            let key = format!("fresh{round}/x");
            client(cluster, round % 3).put_object().bucket("lists").key(&key).send().await?;
            let list =
                client(cluster, (round + 1) % 3).list_objects_v2().bucket("lists").prefix("fresh").send().await?;
            assert!(list.contents().iter().any(|object| object.key() == Some(&key)), "{key}");
            client(cluster, (round + 2) % 3).delete_object().bucket("lists").key(&key).send().await?;
            let list = client(cluster, round % 3).list_objects_v2().bucket("lists").prefix("fresh").send().await?;
            assert_eq!(list.key_count(), Some(0), "{key}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn multipart() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = with_bucket(cluster, "parts").await?;
        let whole = body::make(5, 11 * MIB);
        let (key, slices) =
            ("dir/big", [whole.slice(..5 * MIB), whole.slice(5 * MIB..10 * MIB), whole.slice(10 * MIB..)]);
        let created = s3.create_multipart_upload().bucket("parts").key(key).metadata("m", "v").send().await?;
        let upload = created.upload_id().unwrap_or_default().to_owned();
        let mut parts = Vec::new();
        // Out of order, each through another gateway; the second one twice.
        for number in [2, 1, 3, 2] {
            let body = slices[number - 1].clone();
            let sent = client(cluster, number % 3)
                .upload_part()
                .bucket("parts")
                .key(key)
                .upload_id(&upload)
                .part_number(number as i32)
                .body(body.into())
                .send()
                .await?;
            parts.retain(|part: &CompletedPart| part.part_number() != Some(number as i32));
            parts.push(
                CompletedPart::builder()
                    .part_number(number as i32)
                    .set_e_tag(sent.e_tag().map(str::to_owned))
                    .set_checksum_crc32(sent.checksum_crc32().map(str::to_owned))
                    .build(),
            );
        }
        parts.sort_by_key(CompletedPart::part_number);
        let listed = s3.list_parts().bucket("parts").key(key).upload_id(&upload).send().await?;
        let sizes: Vec<_> = listed.parts().iter().filter_map(|part| part.size()).collect();
        assert_eq!(sizes, [5 * MIB as i64, 5 * MIB as i64, MIB as i64]);
        let uploads = client(cluster, 1).list_multipart_uploads().bucket("parts").send().await?;
        assert_eq!(uploads.uploads().iter().filter_map(|upload| upload.key()).collect::<Vec<_>>(), [key]);
        refused(s3.get_object().bucket("parts").key(key).send().await, "NoSuchKey");

        let complete = |parts: Vec<CompletedPart>| {
            s3.complete_multipart_upload()
                .bucket("parts")
                .key(key)
                .upload_id(&upload)
                .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
                .send()
        };
        let wrong = vec![CompletedPart::builder().part_number(1).e_tag("\"00000000000000000000000000000000\"").build()];
        refused(complete(wrong).await, "InvalidPart");
        let mut disordered = parts.clone();
        disordered.swap(0, 1);
        refused(complete(disordered).await, "InvalidPartOrder");
        let done = complete(parts.clone()).await?;
        let etag = done.e_tag().unwrap_or_default().to_owned();
        assert!(etag.ends_with("-3\""), "{etag}");
        let again = complete(parts).await?;
        assert_eq!(again.e_tag(), Some(etag.as_str()), "repeated");
        let got = client(cluster, 2).get_object().bucket("parts").key(key).send().await?;
        assert_eq!(got.metadata().and_then(|m| m.get("m")).map(String::as_str), Some("v"));
        assert_eq!(got.e_tag(), Some(etag.as_str()));
        assert!(got.body.collect().await?.into_bytes() == whole);
        let second = s3.get_object().bucket("parts").key(key).part_number(2).send().await?;
        assert_eq!(second.parts_count(), Some(3));
        assert!(second.body.collect().await?.into_bytes() == slices[1]);
        let across = s3.get_object().bucket("parts").key(key).range("bytes=5242870-5242890").send().await?;
        assert!(across.body.collect().await?.into_bytes() == whole.slice(5_242_870..5_242_891));
        let attributes = s3
            .get_object_attributes()
            .bucket("parts")
            .key(key)
            .object_attributes(ObjectAttributes::ObjectSize)
            .object_attributes(ObjectAttributes::ObjectParts)
            .send()
            .await?;
        assert_eq!(attributes.object_size(), Some(11 * MIB as i64));

        let small = s3.create_multipart_upload().bucket("parts").key("small").send().await?;
        let small = small.upload_id().unwrap_or_default();
        let mut tiny = Vec::new();
        for number in 1..=2 {
            let part = s3.upload_part().bucket("parts").key("small").upload_id(small).part_number(number);
            let sent = part.body(ByteStream::from_static(b"tiny")).send().await?;
            tiny.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(str::to_owned)).build());
        }
        let tiny = CompletedMultipartUpload::builder().set_parts(Some(tiny)).build();
        let complete = s3.complete_multipart_upload().bucket("parts").key("small").upload_id(small);
        refused(complete.multipart_upload(tiny).send().await, "EntityTooSmall");
        s3.abort_multipart_upload().bucket("parts").key("small").upload_id(small).send().await?;
        refused(s3.list_parts().bucket("parts").key("small").upload_id(small).send().await, "NoSuchUpload");

        let copied = s3.create_multipart_upload().bucket("parts").key("other/copied").send().await?;
        let copied = copied.upload_id().unwrap_or_default();
        let part = s3
            .upload_part_copy()
            .bucket("parts")
            .key("other/copied")
            .upload_id(copied)
            .part_number(1)
            .copy_source(format!("parts/{key}"))
            .copy_source_range("bytes=1048576-7340031")
            .send()
            .await?;
        let etag = part.copy_part_result().and_then(|result| result.e_tag()).map(str::to_owned);
        let one = CompletedPart::builder().part_number(1).set_e_tag(etag).build();
        let one = CompletedMultipartUpload::builder().parts(one).build();
        let complete = s3.complete_multipart_upload().bucket("parts").key("other/copied").upload_id(copied);
        complete.multipart_upload(one).send().await?;
        assert!(bytes_of(&s3, "parts", "other/copied").await? == whole.slice(MIB..7 * MIB));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn copies_and_bulk_deletes() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = with_bucket(cluster, "copies").await?;
        for (at, size) in [100, 70_000, 3 * MIB].into_iter().enumerate() {
            let body = body::make(at as u64, size);
            let (from, to) = (format!("from{at}/a b"), format!("to{at}/c"));
            let put = s3.put_object().bucket("copies").key(&from).metadata("m", "old").body(body.clone().into());
            let put = put.send().await?;
            let source = format!("copies/from{at}/a%20b");
            let copy = || s3.copy_object().bucket("copies").key(&to).copy_source(&source);
            copy().send().await?;
            let got = client(cluster, 1).get_object().bucket("copies").key(&to).send().await?;
            assert_eq!(got.metadata().and_then(|m| m.get("m")).map(String::as_str), Some("old"));
            assert_eq!(got.e_tag(), put.e_tag());
            assert!(got.body.collect().await?.into_bytes() == body);
            copy().metadata_directive(MetadataDirective::Replace).metadata("m", "new").send().await?;
            let head = s3.head_object().bucket("copies").key(&to).send().await?;
            assert_eq!(head.metadata().and_then(|m| m.get("m")).map(String::as_str), Some("new"));
            refused(copy().copy_source_if_match("\"no\"").send().await, "PreconditionFailed");
            // The copy outlives its source.
            s3.delete_object().bucket("copies").key(&from).send().await?;
            assert!(bytes_of(&s3, "copies", &to).await? == body);
        }
        let itself = s3.copy_object().bucket("copies").key("to0/c").copy_source("copies/to0/c");
        refused(itself.send().await, "InvalidRequest");
        refused(s3.copy_object().bucket("copies").key("x").copy_source("copies/none").send().await, "NoSuchKey");

        let mut doomed = Delete::builder();
        for key in 0..40 {
            s3.put_object().bucket("copies").key(format!("bulk{key}/x")).send().await?;
            doomed = doomed.objects(ObjectIdentifier::builder().key(format!("bulk{key}/x")).build()?);
        }
        let doomed = doomed.objects(ObjectIdentifier::builder().key("never/was").build()?).build()?;
        let deleted = s3.delete_objects().bucket("copies").delete(doomed).send().await?;
        assert_eq!((deleted.deleted().len(), deleted.errors().len()), (41, 0), "{deleted:?}");
        let left = s3.list_objects_v2().bucket("copies").prefix("bulk").send().await?;
        assert_eq!(left.key_count(), Some(0));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn checksums() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = with_bucket(cluster, "sums").await?;
        for size in [10, 200_000] {
            for algorithm in [
                ChecksumAlgorithm::Crc32,
                ChecksumAlgorithm::Crc32C,
                ChecksumAlgorithm::Crc64Nvme,
                ChecksumAlgorithm::Sha1,
                ChecksumAlgorithm::Sha256,
            ] {
                let (key, body) = (format!("{algorithm}/{size}"), body::make(size as u64, size));
                let put = s3.put_object().bucket("sums").key(&key).checksum_algorithm(algorithm.clone());
                put.body(body.clone().into()).send().await?;
                let got = client(cluster, 1).get_object().bucket("sums").key(&key);
                let got = got.checksum_mode(ChecksumMode::Enabled).send().await?;
                let stated = match algorithm {
                    ChecksumAlgorithm::Crc32 => got.checksum_crc32(),
                    ChecksumAlgorithm::Crc32C => got.checksum_crc32_c(),
                    ChecksumAlgorithm::Crc64Nvme => got.checksum_crc64_nvme(),
                    ChecksumAlgorithm::Sha1 => got.checksum_sha1(),
                    _ => got.checksum_sha256(),
                };
                assert!(stated.is_some(), "{key}");
                assert!(got.body.collect().await?.into_bytes() == body, "{key}");
            }
        }
        let put = || s3.put_object().bucket("sums").key("bad").body(ByteStream::from_static(b"body"));
        refused(put().checksum_crc32("AAAAAA==").send().await, "BadDigest");
        refused(put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await, "BadDigest");
        refused(s3.get_object().bucket("sums").key("bad").send().await, "NoSuchKey");

        // Bodies that are signed, and signed wrongly.
        let gateway = &cluster.gateways()[0];
        let mut raw = Raw::new(gateway, cluster.keys().clone(), Duration::from_secs(15));
        let mut call = Call::object(Method::PUT, "sums", "signed").body("hello");
        call.sign_body = true;
        assert_eq!(raw.call(call).await?.status, StatusCode::OK);
        assert_eq!(bytes_of(&s3, "sums", "signed").await?, "hello");
        let mut forged = cluster.keys().clone();
        forged.secret.push('x');
        let mut forger = Raw::new(gateway, forged, Duration::from_secs(15));
        let reply = forger.call(Call::object(Method::PUT, "sums", "forged").body("hello")).await?;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert!(reply.text().contains("SignatureDoesNotMatch"), "{}", reply.text());
        refused(s3.get_object().bucket("sums").key("forged").send().await, "NoSuchKey");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn presigned_urls_and_virtual_hosts() {
    let domains = vec![("HOLDFAST_S3_DOMAINS".to_owned(), "s3.test".to_owned())];
    on_cluster(Options { env: domains, ..Options::default() }, async |cluster| -> Test {
        let s3 = with_bucket(cluster, "hosts").await?;
        s3.put_object().bucket("hosts").key("dir/k").body(ByteStream::from_static(b"here")).send().await?;
        let minute = || PresigningConfig::expires_in(Duration::from_secs(60));
        let url = s3.get_object().bucket("hosts").key("dir/k").presigned(minute()?).await?;
        let uri: http::Uri = url.uri().parse()?;
        let authority = uri.authority().map(|authority| authority.to_string()).unwrap_or_default();
        let path = uri.path_and_query().map(|path| path.to_string()).unwrap_or_default();
        let (status, body) = plain::get(&authority, &path, None).await?;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "here"));
        let (status, body) = plain::get(&authority, &path.replace("dir/k", "dir/j"), None).await?;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        let (status, body) = plain::get(&authority, "/hosts/dir/k", None).await?;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        let put = s3.put_object().bucket("hosts").key("put/k").presigned(minute()?).await?;
        let uri: http::Uri = put.uri().parse()?;
        let path = uri.path_and_query().map(|path| path.to_string()).unwrap_or_default();
        let (status, body) = plain::request(Method::PUT, &authority, &path, None, "presigned").await?;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(bytes_of(&s3, "hosts", "put/k").await?, "presigned");

        let mut raw = Raw::new(&cluster.gateways()[1], cluster.keys().clone(), Duration::from_secs(15));
        let mut call = Call::bucket(Method::GET, "dir/k").header("host", "hosts.s3.test");
        let reply = raw.call(call.clone()).await?;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "here"), "{}", reply.text());
        call = call.header("x-amz-expected-bucket-owner", "somebody-else");
        assert_eq!(raw.call(call).await?.status, StatusCode::FORBIDDEN);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn modes_and_what_is_not_configured() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let s3 = with_bucket(cluster, "modes").await?;
        refused(s3.get_bucket_tagging().bucket("modes").send().await, "NoSuchTagSet");
        let tag = |name: &str, value: &str| Tag::builder().key(name).value(value).build();
        let tags = Tagging::builder().tag_set(tag("holdfast.ack", "all")?).tag_set(tag("team", "x")?).build()?;
        s3.put_bucket_tagging().bucket("modes").tagging(tags).send().await?;
        let read = client(cluster, 2).get_bucket_tagging().bucket("modes").send().await?;
        assert_eq!(read.tag_set().len(), 2);
        let wrong = Tagging::builder().tag_set(tag("holdfast.ack", "nobody")?).build()?;
        assert!(s3.put_bucket_tagging().bucket("modes").tagging(wrong).send().await.is_err());
        let mut raw = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
        for (name, value) in [("x-holdfast-ack", "leader"), ("x-holdfast-ack", "all"), ("x-holdfast-ack", "majority")] {
            let put = Call::object(Method::PUT, "modes", "k/x").body(value).header(name, value);
            let reply = raw.call(put).await?;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        }
        let put = raw.call(Call::object(Method::PUT, "modes", "k/x").body("newest")).await?;
        let seq = put.header("x-holdfast-seq").unwrap_or_default().to_owned();
        let written: Seq = seq.parse()?;
        for gateway in cluster.gateways() {
            raw.turn_to(gateway);
            let get = Call::object(Method::GET, "modes", "k/x").header("x-holdfast-read", "session");
            let reply = raw.call(get.header("x-holdfast-seq", &seq)).await?;
            assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "newest"));
            let read: Seq = reply.header("x-holdfast-seq").unwrap_or_default().parse()?;
            assert!(read.group == written.group && read.index >= written.index, "{read} after {written}");
            let get = Call::object(Method::GET, "modes", "k/x").header("x-holdfast-read", "eventual");
            assert!(matches!(raw.call(get).await?.status, StatusCode::OK | StatusCode::NOT_FOUND));
        }
        let bad = raw.call(Call::object(Method::GET, "modes", "k/x").header("x-holdfast-read", "sometimes")).await?;
        assert_eq!(bad.status, StatusCode::BAD_REQUEST);

        refused(s3.get_bucket_policy().bucket("modes").send().await, "NoSuchBucketPolicy");
        refused(s3.get_bucket_cors().bucket("modes").send().await, "NoSuchCORSConfiguration");
        refused(s3.get_bucket_lifecycle_configuration().bucket("modes").send().await, "NoSuchLifecycleConfiguration");
        assert!(s3.get_bucket_versioning().bucket("modes").send().await?.status().is_none());
        let payment = "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>";
        let faster = "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>";
        for (query, body) in [("accelerate", faster), ("requestPayment", payment)] {
            let reply = raw.call(Call::bucket(Method::PUT, "modes").query(query, "").body(body)).await?;
            assert_eq!(reply.status, StatusCode::NOT_IMPLEMENTED, "{query}: {}", reply.text());
        }
        // What is not understood must never fall through to the bucket or the object.
        for call in [
            Call::bucket(Method::DELETE, "modes").query("policies", ""),
            Call::object(Method::DELETE, "modes", "k/x").query("acl", ""),
        ] {
            let reply = raw.call(call).await?;
            assert!(!reply.status.is_success(), "{}", reply.status);
        }
        assert_eq!(bytes_of(&s3, "modes", "k/x").await?, "newest");
        Ok(())
    })
    .await;
}
