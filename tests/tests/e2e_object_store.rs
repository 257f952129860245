//! The Rust crate `object_store`, which Delta Lake, DataFusion and SlateDB write through: its own integration suite, against
//! three real nodes.

use std::sync::Arc;

use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3ConditionalPut, S3CopyIfNotExists};
use object_store::integration::*;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt};

const BUCKET: &str = "store";
const OTHER: &str = "other";

fn builder(cluster: &Cluster, at: usize) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(format!("http://{}", cluster.gateways()[at]))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(BUCKET)
        .with_access_key_id(&cluster.keys().access)
        .with_secret_access_key(&cluster.keys().secret)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
}

fn store(builder: AmazonS3Builder) -> AmazonS3 {
    builder.build().expect("a store")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_suite_passes() {
    // It wants one although it speaks plain HTTP here; another test of this process may have chosen one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    on_cluster(Options::default(), async |cluster| -> Result<(), Failure> {
        let mut raw =
            Raw::new(cluster.gateways()[0].clone(), cluster.keys().clone(), std::time::Duration::from_secs(20));
        for bucket in [BUCKET, OTHER] {
            assert!(raw.call(Call::bucket(Method::PUT, bucket)).await?.status.is_success());
        }
        let one = store(builder(cluster, 0));
        put_get_delete_list(&one).await;
        list_with_offset_exclusivity(&one).await;
        get_opts(&one).await;
        list_uses_directories_correctly(&one).await;
        list_with_delimiter(&one).await;
        rename_and_copy(&one).await;
        stream_get(&one).await;
        put_get_attributes(&one).await;
        // It leaves behind what others do not expect.
        list_paginated(&one, &one).await;

        // The rest at another gateway, in another bucket.
        let two = store(builder(cluster, 1).with_bucket_name(OTHER));
        multipart(&two, &two).await;
        multipart_with_opts(&two, &two).await;
        multipart_put_part_out_of_order(&two, &two).await;
        multipart_race_condition(&two, true).await;
        multipart_out_of_order(&two).await;
        copy_if_not_exists(&two).await;
        copy_rename_nonexistent_object(&two).await;
        put_opts(&two, true).await;

        // Every way to say what a body is.
        for other in [
            builder(cluster, 2).with_bucket_name(OTHER).with_unsigned_payload(true),
            builder(cluster, 2).with_bucket_name(OTHER).with_checksum_algorithm(Checksum::SHA256),
            builder(cluster, 2).with_bucket_name(OTHER).with_checksum_algorithm(Checksum::CRC64NVME),
        ] {
            put_get_delete_list(&store(other)).await;
        }

        let missing = get_nonexistent_object(&one, Some(Path::from("none"))).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        let elsewhere: Arc<AmazonS3> = Arc::new(store(builder(cluster, 0).with_bucket_name("no-such-bucket")));
        let missing = elsewhere.get(&Path::from("none")).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        Ok(())
    })
    .await;
}
