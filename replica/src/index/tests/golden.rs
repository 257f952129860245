//! Rows and log entries of the directories in `tests/golden`: the present program reads each, and would write the very
//! same bytes. A change of any record's form shows here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use holdfast_wire::bucket::Bucket;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::file::RealFiles;
use crate::index::engine::{Lsm, LsmOptions, behind};
use crate::index::key::PREFIX;
use crate::index::record::*;
use crate::log::{Log, LogOptions};
use crate::node::format::FORMAT;

fn again<T: DeserializeOwned + Serialize>(value: &Bytes) -> Option<Bytes> {
    decode::<T>(value).ok().map(|record| encode(&record))
}

/// What the present program writes for this row; `None`: it cannot read it.
fn rewritten(table: u8, value: &Bytes) -> Option<Bytes> {
    let is = |known: Table| table == known as u8;
    if is(Table::Applied) {
        again::<Progress>(value)
    } else if is(Table::Shard) {
        again::<Shard>(value)
    } else if is(Table::Root) {
        again::<Root>(value)
    } else if is(Table::Buckets) {
        again::<Bucket>(value)
    } else if is(Table::Usage) {
        again::<Usage>(value)
    } else if is(Table::Requests) {
        again::<Seen>(value)
    } else if is(Table::Identities) {
        again::<Identities>(value)
    } else if is(Table::Objects) || is(Table::Versions) {
        decode_object(value).ok().map(|object| encode_object(&object))
    } else if is(Table::Uploads) {
        again::<Upload>(value)
    } else if is(Table::UploadIds) {
        again::<UploadPlace>(value)
    } else if is(Table::Parts) {
        again::<Part>(value)
    } else if is(Table::Finished) {
        again::<Finished>(value)
    } else if is(Table::Blobs) {
        again::<BlobRow>(value)
    } else if is(Table::Reindex) {
        again::<Reindex>(value)
    } else {
        // Marks, inline bodies, and what others encode.
        Some(value.clone())
    }
}

#[tokio::test]
async fn rows_and_entries_of_released_directories_keep_their_bytes() {
    for format in 1..=FORMAT {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/golden/{format}/data.tar.gz"));
        assert!(golden.exists(), "format {format} has no directory in tests/golden: `make golden`");
        let dir = tempfile::tempdir().unwrap();
        let unpacked = Command::new("tar").arg("-xzf").arg(&golden).current_dir(dir.path()).status().unwrap();
        assert!(unpacked.success());
        let data = dir.path().join("n1");
        let engine: Arc<dyn Engine> = Arc::new(Lsm::open(&data.join("index"), LsmOptions::default()).unwrap());
        let salt = crate::file::read(&RealFiles, &data.join("log.salt")).unwrap().unwrap();
        let options = LogOptions { salt: u64::from_le_bytes(salt[..].try_into().unwrap()), ..LogOptions::default() };
        let log = Log::open(Arc::new(RealFiles), data.join("log"), options).await.unwrap();
        let (mut tables, mut entries) = (BTreeSet::new(), 0);
        for group in log.groups() {
            let prefix = key::group(group);
            for row in engine.range(Space::Records, &prefix, &behind(&prefix)) {
                let (key, value) = row.unwrap();
                let table = key[PREFIX];
                let what = format!("format {format}, group {group}, table {table:#04x}, key {key:?}");
                // Table 0 is the generation in force.
                let found = if table == 0 { again::<u32>(&value) } else { rewritten(table, &value) };
                assert_eq!(found.as_ref(), Some(&value), "{what}: another form than when it was written");
                tables.insert(table);
            }
            let log = log.group(group);
            let state = log.state();
            let (first, last) = (state.purged.map_or(1, |at| at.index + 1), state.last.map_or(0, |at| at.index));
            for entry in log.read(first, last + 1, None).unwrap() {
                let payload = &entry.payload;
                if !matches!(payload.first(), Some(0x00 | 0xff)) {
                    let envelope = Envelope::decode(payload).unwrap_or_else(|_| panic!("format {format}: {payload:?}"));
                    assert_eq!(&envelope.encode(), payload, "format {format}: {envelope:?}");
                    entries += 1;
                }
            }
        }
        log.close().await;
        assert!(entries > 20, "only {entries} entries");
        for table in [
            Table::Applied,
            Table::Shard,
            Table::Root,
            Table::Buckets,
            Table::Usage,
            Table::Requests,
            Table::Identities,
            Table::Objects,
            Table::Versions,
            Table::Uploads,
            Table::UploadIds,
            Table::Parts,
            Table::Finished,
            Table::Blobs,
        ] {
            assert!(tables.contains(&(table as u8)), "format {format} shows no row of {table:?}");
        }
    }
}
