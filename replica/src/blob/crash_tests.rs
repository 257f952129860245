//! Power cuts after every file operation.

use std::path::Path;
use std::sync::Arc;

use holdfast_wire::id::BlobId;
use holdfast_wire::seam::SystemClock;

use super::testing::{GROUP, bytes, read};
use super::writer::BATCH;
use super::{BlobError, BlobStore};
use crate::file::{Cut, Files, SimulatedFiles};

const OLD: BlobId = BlobId(1);
const NEW: BlobId = BlobId(2);

async fn open(disk: &SimulatedFiles) -> BlobStore {
    BlobStore::open(Arc::new(disk.process()), "/blobs".into(), Arc::new(SystemClock)).await.unwrap()
}

async fn put(store: &BlobStore, id: BlobId, replace: bool) -> Result<u64, BlobError> {
    let mut writer = if replace { store.replace(GROUP, id, 7).await? } else { store.create_copy(GROUP, id, 7).await? };
    for part in 0..3 {
        writer.write(bytes(BATCH + 999, part)).await?;
    }
    writer.finish().await
}

/// Cuts the power after each operation in turn, until one comes too late.
async fn sweep(id: BlobId, replace: bool, cut: Cut) {
    let whole = [0, 1, 2].map(|part| bytes(BATCH + 999, part)).concat();
    for count in 0.. {
        let disk = SimulatedFiles::new(count);
        let store = open(&disk).await;
        put(&store, OLD, false).await.unwrap();
        disk.crash_after(count);
        let reported = put(&store, id, replace).await.is_ok();
        let crashed = disk.has_crashed();
        disk.power_cut(cut);

        let store = open(&disk).await;
        assert_eq!(read(&store, OLD, 0..u64::MAX).await.unwrap(), whole, "after {count} operations");
        match store.open_blob(GROUP, id).await.unwrap() {
            Some(_) => assert_eq!(read(&store, id, 0..u64::MAX).await.unwrap(), whole, "after {count} operations"),
            None => assert!(!reported, "a blob reported after {count} operations was lost"),
        }
        assert_eq!(disk.read_dir(Path::new("/blobs/staging")).unwrap(), [], "nothing staged outlives a start");
        if !crashed {
            assert!(reported && count > 5, "{count}");
            return;
        }
    }
}

#[tokio::test]
async fn what_was_reported_survives_and_nothing_half_written_does() {
    for cut in [Cut::Clean, Cut::Torn] {
        sweep(NEW, false, cut).await;
    }
}

#[tokio::test]
async fn a_copy_that_is_being_replaced_is_there_all_the_time() {
    for cut in [Cut::Clean, Cut::Torn] {
        sweep(OLD, true, cut).await;
    }
}
