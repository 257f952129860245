//! A blob on a simulated disk, damaged: reading it either gives its bytes or fails, and every byte before the failure is
//! right; a footer of another file, or of nothing, is never believed.

use std::path::PathBuf;
use std::sync::Arc;

use arbitrary::Unstructured;
use bytes::Bytes;
use futures::StreamExt;
use holdfast_replica::blob::format::{Footer, Summing, footer_len, len_in};
use holdfast_replica::blob::{BlobError, BlobOptions, BlobStore};
use holdfast_replica::file::SimulatedFiles;
use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::seam::SystemClock;

use super::{Edit, one, wait};
use crate::bounds::measured;

const GROUP: GroupId = GroupId(3);
const ID: BlobId = BlobId(0x1234_5678_9abc_def0);
const OTHER: BlobId = BlobId(7);

/// The target.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let _ = if u.ratio(1, 3).unwrap_or(true) { footers(&mut u) } else { files(&mut u) };
}

/// Footers out of arbitrary bytes, and out of true ones that were changed.
fn footers(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let body = vec![u.arbitrary::<u8>()?; *one(u, &[0, 1, 100, 65_535, 65_536, 65_537, 140_000])?];
    let mut summing = Summing::new(ID);
    let cut = u.int_in_range(0..=body.len())?;
    summing.update(&body[..cut]);
    summing.update(&body[cut..]);
    let footer = summing.footer(GROUP, 99);
    assert_eq!(footer.bytes().len() as u64, footer_len(body.len() as u64));
    let mut tail = footer.bytes().to_vec();
    let mut file_len = (body.len() + tail.len()) as u64;
    let count = u.int_in_range(0..=2)?;
    for _ in 0..count {
        Edit::of(u, tail.len())?.apply(&mut tail);
    }
    if u.ratio(1, 4)? {
        file_len = u.arbitrary()?;
    }
    if u.ratio(1, 8)? {
        tail = u.bytes(u.len())?.to_vec();
    }
    let same = tail.ends_with(footer.bytes()) && file_len == (body.len() + footer.bytes().len()) as u64;
    let (parsed, held) = measured(|| Footer::parse(&tail, file_len));
    assert!(held <= 4096 + 4 * tail.len(), "{held} bytes for a footer of {}", tail.len());
    match parsed {
        Ok(Ok(parsed)) => {
            assert!(same, "a footer that was changed is believed: {tail:?} of {file_len}");
            assert_eq!(parsed, footer);
            assert_eq!(parsed.check(0, &body), Ok(()));
        }
        Ok(Err(needed)) => assert!(needed > tail.len(), "it asks for what it has: {tail:?} of {file_len}"),
        Err(_) => assert!(!same, "a sound footer is refused: {tail:?} of {file_len}"),
    }
    if let Some(len) = len_in(file_len) {
        assert_eq!(len + footer_len(len), file_len);
    }
    Ok(())
}

fn files(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let len = *one(u, &[0, 1, 5000, 65_536, 70_000, 140_000])?;
    let body: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
    let chunk = u.int_in_range(1000..=70_000)?;
    let count = u.int_in_range(0..=2)?;
    let edits = (0..count)
        .map(|_| {
            let most = if u.ratio(1, 2)? { len + 64 } else { 64 };
            Ok((Edit::of(u, most)?, u.ratio(1, 2)?))
        })
        .collect::<arbitrary::Result<Vec<_>>>()?;
    let swapped = u.ratio(1, 10)?;
    let (from, to) = (u.int_in_range(0..=len as u64 + 9)?, u.int_in_range(0..=len as u64 + 9)?);
    wait(async {
        let files = SimulatedFiles::new(1);
        let options = BlobOptions { reserve: 0, read_lanes: 1, write_lanes: 1, sync_lanes: 1 };
        let opening =
            BlobStore::open_with(Arc::new(files.process()), PathBuf::from("/blobs"), Arc::new(SystemClock), options);
        let store = opening.await.expect("an empty disk");
        for id in [ID, OTHER] {
            let mut writer = store.create(GROUP, id).await.expect("a new blob");
            for piece in body.chunks(chunk) {
                writer.write(Bytes::copy_from_slice(piece)).await.expect("the disk is sound");
            }
            writer.finish().await.expect("the disk is sound");
        }
        let at = |id: BlobId| PathBuf::from(format!("/blobs/{GROUP}/{}/{id}", &id.to_string()[..2]));
        let path = at(ID);
        let read =
            |path: &PathBuf| holdfast_replica::file::read(&files, path).expect("it is there").unwrap_or_default();
        let before = read(&path);
        let other = read(&at(OTHER));
        let change = |bytes: &mut Vec<u8>| {
            if swapped {
                *bytes = other;
            }
            for (edit, at_end) in &edits {
                // Counted from the end, edits meet the footer.
                if *at_end {
                    bytes.reverse();
                }
                edit.apply(bytes);
                if *at_end {
                    bytes.reverse();
                }
            }
        };
        files.corrupt(&path, change).expect("it is there");
        let hurt = read(&path) != before;
        let shown = || format!("{len} bytes, {edits:?}, swapped {swapped}");
        let reader = match store.open_blob(GROUP, ID).await {
            Ok(Some(reader)) => reader,
            Ok(None) => panic!("a blob that is there is not: {}", shown()),
            Err(BlobError::Corrupt { .. }) => return assert!(hurt, "a sound blob is refused: {}", shown()),
            Err(error) => panic!("{error}: {}", shown()),
        };
        assert_eq!(reader.len(), len as u64, "{}", shown());
        for range in [0..len as u64, from..to] {
            let asked = range.start.min(range.end).min(len as u64) as usize..range.end.min(len as u64) as usize;
            let (mut stream, mut right) = (reader.read(range.clone()), body.get(asked).unwrap_or_default());
            while let Some(chunk) = stream.next().await {
                match chunk {
                    Ok(chunk) => {
                        right = right
                            .strip_prefix(&*chunk)
                            .unwrap_or_else(|| panic!("wrong bytes at {range:?}: {}", shown()));
                    }
                    Err(BlobError::Corrupt { .. }) => {
                        assert!(hurt, "a sound blob is refused: {}", shown());
                        right = &[];
                    }
                    Err(error) => panic!("{error}: {}", shown()),
                }
            }
            assert!(right.is_empty(), "bytes are missing at {range:?}: {}", shown());
        }
        if hurt {
            let verified = reader.verify().await;
            assert!(verified.is_err(), "a damaged blob verifies: {}", shown());
        }
    });
    Ok(())
}
