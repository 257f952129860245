//! The store, its writers and readers, on real files.
#![expect(clippy::disallowed_methods, reason = "the tests alter files behind the store's back")]

use std::sync::atomic::Ordering;

use bytes::Bytes;
use holdfast_wire::id::BlobId;

use super::format::BLOCK;
use super::reader::READ;
use super::testing::{GROUP, Rig, bytes, read};
use super::writer::{BATCH, RUN};
use super::{BlobError, Damage};

const A: BlobId = BlobId(0xaa << 120 | 1);
const B: BlobId = BlobId(0xbb << 120 | 2);

fn damage(result: Result<Vec<u8>, BlobError>) -> Damage {
    match result {
        Err(BlobError::Corrupt { damage, .. }) => damage,
        other => panic!("expected corruption, got {:?}", other.map(|bytes| bytes.len())),
    }
}

#[tokio::test]
async fn blobs_of_all_sizes_around_the_borders_come_back() {
    let rig = Rig::new().await;
    let sizes = [BLOCK, BATCH, READ, RUN, 2 * RUN].into_iter().flat_map(|border| [border - 1, border, border + 1]);
    for (n, size) in [0, 1, 17].into_iter().chain(sizes).enumerate() {
        let (id, data) = (BlobId(n as u128), bytes(size, n as u64));
        assert_eq!(rig.put(id, &data).await, size as u64);
        for store in [rig.store.clone(), rig.reopened().await] {
            assert_eq!(read(&store, id, 0..u64::MAX).await.unwrap(), data, "{size}");
            assert_eq!(store.verify(GROUP, id).await.unwrap(), Some(size as u64));
        }
    }
}

#[tokio::test]
async fn any_range_and_any_chunking_gives_the_same_bytes() {
    let rig = Rig::new().await;
    let data = bytes(2 * READ + 12_345, 1);
    let mut writer = rig.store.create(GROUP, A).await.unwrap();
    let (mut left, mut size) = (data.clone(), 1);
    while !left.is_empty() {
        writer.write(left.split_to(size.min(left.len()))).await.unwrap();
        size = size * 7 % 90_001;
    }
    writer.finish().await.unwrap();
    let (len, block, chunk) = (data.len() as u64, BLOCK as u64, READ as u64);
    let ranges = [0..0, 0..1, len - 1..len, block - 1..block + 1, block..2 * block, 5..len - 5, chunk - 1..chunk + 1];
    for range in ranges.into_iter().chain([chunk..chunk, 77..chunk + 77, len..len + 9, len + 5..len + 9]) {
        let want = &data[(range.start.min(len) as usize)..(range.end.min(len) as usize)];
        assert_eq!(read(&rig.store, A, range.clone()).await.unwrap(), want, "{range:?}");
    }
}

#[tokio::test]
async fn what_was_not_finished_is_not_there() {
    let rig = Rig::new().await;
    let mut writer = rig.store.create(GROUP, A).await.unwrap();
    writer.write(bytes(3 * BATCH, 1)).await.unwrap();
    assert!(!rig.store.holds(GROUP, A).await.unwrap());
    assert!(rig.store.open_blob(GROUP, A).await.unwrap().is_none());
    assert!(matches!(rig.store.create(GROUP, A).await, Err(BlobError::Exists { .. })), "one writer an id");
    drop(writer);
    rig.becomes_empty().await;
    rig.put(A, &bytes(10, 1)).await;
    assert!(matches!(rig.store.create(GROUP, A).await, Err(BlobError::Exists { .. })));
}

#[tokio::test]
async fn bytes_then_name_then_directory_are_synced_before_a_blob_is_reported() {
    let rig = Rig::new().await;
    for round in 0..2 {
        let id = BlobId(A.0 + round);
        rig.faults.trace.lock().clear();
        rig.put(id, &bytes(3 * BATCH, 1)).await;
        let trace = rig.faults.trace.lock().clone();
        let (file, prefix) = (rig.file(id), rig.file(id).parent().unwrap().to_owned());
        let (group, blobs) = (prefix.parent().unwrap().to_owned(), rig.dir.path().join("blobs"));
        let last = |what: &str, path: Option<&std::path::Path>| {
            let of = |(done, on): &(&str, std::path::PathBuf)| *done == what && path.is_none_or(|path| on == path);
            trace.iter().rposition(of)
        };
        let order = [
            last("write", None).unwrap(),
            last("sync_data", None).unwrap(),
            last("rename", Some(&file)).unwrap(),
            last("sync_dir", Some(&prefix)).unwrap(),
        ];
        assert!(order.is_sorted(), "{trace:?}");
        if round == 0 {
            let made = last("create_dir", None).unwrap();
            assert!(made < last("sync_dir", Some(&group)).unwrap(), "the new directory's own name");
            assert!(made < last("sync_dir", Some(&blobs)).unwrap(), "and its parent's");
        }
    }
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_and_finished_blobs_stay() {
    let rig = Rig::new().await;
    rig.put(A, &bytes(1000, 1)).await;
    let mut writer = rig.store.create(GROUP, B).await.unwrap();
    writer.write(bytes(2 * BATCH, 1)).await.unwrap();
    std::mem::forget(writer);
    assert_eq!(rig.all_files().len(), 2);
    let store = rig.reopened().await;
    assert_eq!(rig.all_files().len(), 1);
    assert!(store.holds(GROUP, A).await.unwrap());
    assert!(!store.holds(GROUP, B).await.unwrap());
}

#[tokio::test]
async fn every_flipped_byte_and_every_truncation_is_found() {
    let rig = Rig::new().await;
    for size in [300, BLOCK + 40] {
        let id = BlobId(size as u128);
        let data = bytes(size, 3);
        rig.put(id, &data).await;
        let sound = std::fs::read(rig.file(id)).unwrap();
        let step = |at: &usize| at.is_multiple_of(997) || *at > BLOCK || sound.len() < BLOCK;
        for at in (0..sound.len()).filter(step) {
            let mut altered = sound.clone();
            altered[at] ^= 1 << (at % 8);
            std::fs::write(rig.file(id), altered).unwrap();
            damage(read(&rig.store, id, 0..size as u64).await);
            std::fs::write(rig.file(id), &sound[..at]).unwrap();
            damage(read(&rig.store, id, 0..size as u64).await);
        }
        std::fs::write(rig.file(id), [&sound[..], b"x"].concat()).unwrap();
        damage(read(&rig.store, id, 0..size as u64).await);
        std::fs::write(rig.file(id), &sound).unwrap();
        assert_eq!(read(&rig.store, id, 0..size as u64).await.unwrap(), data);
    }
    assert!(rig.store.stats().corrupt_blocks > 600);
}

#[tokio::test]
async fn bytes_before_a_bad_block_are_right_and_none_come_after() {
    use futures::StreamExt;
    let rig = Rig::new().await;
    let data = bytes(3 * READ, 4);
    rig.put(A, &data).await;
    let mut altered = std::fs::read(rig.file(A)).unwrap();
    altered[READ + BLOCK + 7] ^= 0x10;
    std::fs::write(rig.file(A), altered).unwrap();
    let reader = rig.store.open_blob(GROUP, A).await.unwrap().unwrap();
    let chunks: Vec<_> = reader.read(0..u64::MAX).collect().await;
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[0].as_ref().unwrap(), &data[..READ]);
    let bad = READ as u64 / BLOCK as u64 + 1;
    assert!(matches!(chunks[1], Err(BlobError::Corrupt { damage: Damage::Block(n), .. }) if n == bad));
    assert_eq!(read(&rig.store, A, 0..READ as u64).await.unwrap(), &data[..READ], "other blocks still serve");
    assert_eq!(rig.store.damaged(), [(GROUP, A)]);
    rig.store.damage_found().await;
}

#[tokio::test]
async fn swapped_files_and_misdirected_blocks_are_found() {
    let rig = Rig::new().await;
    for id in [A, B] {
        rig.put(id, &bytes(3 * BLOCK, 7)).await;
    }
    let (a, b) = (std::fs::read(rig.file(A)).unwrap(), std::fs::read(rig.file(B)).unwrap());
    std::fs::write(rig.file(A), &b).unwrap();
    std::fs::write(rig.file(B), &a).unwrap();
    assert_eq!(damage(read(&rig.store, A, 0..9).await), Damage::Foreign { group: GROUP, id: B });
    assert_eq!(damage(read(&rig.store, B, 0..9).await), Damage::Foreign { group: GROUP, id: A });
    // The same bytes under the same numbers, from the other blob's file: data and its checksums, not the trailer.
    let trailer = a.len() - super::format::TRAILER;
    std::fs::write(rig.file(A), [&b[..trailer], &a[trailer..]].concat()).unwrap();
    assert_eq!(damage(read(&rig.store, A, 0..9).await), Damage::Footer);
    // Two blocks of one blob in each other's place.
    let blocks = [&a[BLOCK..2 * BLOCK], &a[..BLOCK], &a[2 * BLOCK..]].concat();
    std::fs::write(rig.file(A), blocks).unwrap();
    assert_eq!(damage(read(&rig.store, A, 0..9).await), Damage::Block(0));
}

#[tokio::test]
async fn a_full_disk_refuses_early_and_late_and_keeps_nothing() {
    let rig = Rig::new().await;
    rig.faults.full.store(true, Ordering::Relaxed);
    assert!(matches!(rig.store.create(GROUP, A).await, Err(BlobError::NoSpace)));
    assert_eq!(rig.store.stats().refused, 1);
    rig.faults.full.store(false, Ordering::Relaxed);

    for room in [0, 100, BATCH as i64 + 5, 1_000_000] {
        rig.faults.room.store(room, Ordering::Relaxed);
        let mut writer = rig.store.create(GROUP, A).await.unwrap();
        let mut result = Ok(());
        for _ in 0..8 {
            result = writer.write(bytes(BATCH / 2, 1)).await;
            if result.is_err() {
                break;
            }
        }
        let result = match result {
            Ok(()) => writer.finish().await.map(|_| ()),
            Err(error) => {
                drop(writer);
                Err(error)
            }
        };
        assert!(matches!(result, Err(BlobError::NoSpace)), "{result:?}");
        rig.becomes_empty().await;
    }
    rig.faults.room.store(i64::MAX, Ordering::Relaxed);
    rig.put(A, &bytes(BATCH, 1)).await;
}

#[tokio::test]
async fn an_upload_under_way_stops_when_the_reserve_is_reached() {
    let rig = Rig::new().await;
    let mut writer = rig.store.create(GROUP, A).await.unwrap();
    writer.write(bytes(BATCH, 1)).await.unwrap();
    rig.faults.full.store(true, Ordering::Relaxed);
    let mut result = Ok(());
    for _ in 0..32 {
        result = writer.write(bytes(BATCH, 1)).await;
        if result.is_err() {
            break;
        }
    }
    assert!(matches!(result, Err(BlobError::NoSpace)));
}

#[tokio::test]
async fn a_failed_sync_is_the_end_of_writing_but_not_of_reading() {
    for dir in [false, true] {
        let rig = Rig::new().await;
        rig.put(A, &bytes(100, 1)).await;
        let flag = if dir { &rig.faults.fail_sync_dir } else { &rig.faults.fail_sync };
        let mut writer = rig.store.create(GROUP, B).await.unwrap();
        writer.write(bytes(100, 1)).await.unwrap();
        flag.store(true, Ordering::Relaxed);
        assert!(matches!(writer.finish().await, Err(BlobError::SyncFailed)));
        flag.store(false, Ordering::Relaxed);
        assert!(rig.store.has_failed());
        assert!(matches!(rig.store.create(GROUP, B).await, Err(BlobError::SyncFailed)), "it is not tried again");
        assert!(!rig.store.holds(GROUP, B).await.unwrap());
        assert_eq!(read(&rig.store, A, 0..100).await.unwrap(), bytes(100, 1));
    }
}

#[tokio::test]
async fn a_copy_that_the_device_cannot_read_is_a_bad_copy() {
    let rig = Rig::new().await;
    rig.put(A, &bytes(100, 1)).await;
    rig.faults.fail_read.store(true, Ordering::Relaxed);
    let error = rig.store.verify(GROUP, A).await.unwrap_err();
    assert!(matches!(error, BlobError::Unreadable { .. }) && error.is_bad_copy());
    assert_eq!(rig.store.damaged(), [(GROUP, A)]);
}

#[tokio::test]
async fn replacing_swaps_the_copy_and_clears_its_record() {
    let rig = Rig::new().await;
    let data = bytes(2 * BLOCK, 1);
    rig.put(A, &data).await;
    std::fs::write(rig.file(A), b"rot").unwrap();
    assert!(rig.store.verify(GROUP, A).await.is_err());
    let mut writer = rig.store.replace(GROUP, A, 5).await.unwrap();
    writer.write(data.clone()).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(read(&rig.store, A, 0..u64::MAX).await.unwrap(), data);
    assert_eq!(rig.store.open_blob(GROUP, A).await.unwrap().unwrap().created_ms(), 5);
    assert!(rig.store.damaged().is_empty());
    assert_eq!(rig.store.stats().repaired, 1);
}

#[tokio::test]
async fn listings_are_paged_in_order_and_per_group() {
    let rig = Rig::new().await;
    let ids: Vec<BlobId> = (0..20u128).map(|n| BlobId(n.wrapping_mul(0x77 << 117 | 13))).collect();
    for &id in &ids {
        rig.put(id, &bytes(id.0 as usize % 100, 1)).await;
    }
    let other = rig.store.create(holdfast_wire::id::GroupId(2), A).await.unwrap();
    other.finish().await.unwrap();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = rig.store.list(GROUP, after, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        listed.extend(page);
    }
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(listed.iter().map(|held| held.id).collect::<Vec<_>>(), sorted);
    assert!(listed.iter().all(|held| held.len == Some(held.id.0 as u64 % 100) && held.stored_ms > 0));

    rig.store.remove(GROUP, ids[3]).await.unwrap();
    rig.store.remove(GROUP, ids[3]).await.unwrap();
    assert!(!rig.store.holds(GROUP, ids[3]).await.unwrap());
    rig.store.remove_group(GROUP).await.unwrap();
    assert_eq!(rig.store.list(GROUP, None, 99).await.unwrap(), []);
    assert!(rig.store.holds(holdfast_wire::id::GroupId(2), A).await.unwrap());
    rig.put(A, &Bytes::from_static(b"again")).await;
}

#[tokio::test]
async fn an_open_reader_goes_on_after_removal() {
    let rig = Rig::new().await;
    let data = bytes(2 * READ, 1);
    rig.put(A, &data).await;
    let reader = rig.store.open_blob(GROUP, A).await.unwrap().unwrap();
    rig.store.remove(GROUP, A).await.unwrap();
    reader.verify().await.unwrap();
    assert!(rig.store.open_blob(GROUP, A).await.unwrap().is_none());
}
