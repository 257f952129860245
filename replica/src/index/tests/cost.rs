//! What the index costs, measured rather than asserted: `cargo test --release -p holdfast-replica cost -- --ignored
//! --nocapture`.

use tokio::time::Instant;

use super::support::*;
use super::*;
use crate::index::engine::{Lsm, LsmOptions};

const OBJECTS: usize = 100_000;

/// CPU time of the whole process, µs: background work of the engine counts.
fn cpu_us() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "the process's own accounting")]
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap().split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    (fields[11] + fields[12]) * 10_000.0
}

fn memory_mib() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the process's own accounting")]
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096 / (1 << 20)
}

fn measure<T>(what: &str, count: usize, run: impl FnOnce() -> T) -> T {
    let (cpu, start) = (cpu_us(), Instant::now());
    let result = run();
    let wall = start.elapsed().as_micros() as f64 / count as f64;
    println!("{what}: {:.2} µs CPU, {wall:.2} µs wall; RSS {} MiB", (cpu_us() - cpu) / count as f64, memory_mib());
    result
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    let directory = tempfile::tempdir().unwrap();
    let name = |i: usize| format!("logs/2026/{:03}/object-{:08}", i * 7919 % 1000, i);
    println!("at start: RSS {} MiB", memory_mib());
    let index = shard(Arc::new(Lsm::open(directory.path(), LsmOptions::default()).unwrap()));
    println!("open: RSS {} MiB", memory_mib());
    let mut log = Log::default();
    log.apply(&index, 1, Command::InstallBucket(bucket(1)));
    let body = Bytes::from(vec![b'x'; 4096]);
    let mut run = |what: &str, body: NewBody, from: usize| {
        measure(what, OBJECTS, || {
            for i in 0..OBJECTS {
                let request = Some((from + i) as u128 * 0x9e37_79b9_7f4a_7c15_f39c);
                log.request(&index, request, 1_700_000_000_000 + (from + i) as u64, put(&name(i), body.clone()));
            }
        });
    };
    run("encode and apply a 4 KiB put", NewBody::Inline(body), 0);
    run("encode and apply a replacing put of 5 bytes", inline("small"), OBJECTS);
    measure("get", OBJECTS, || {
        for i in 0..OBJECTS {
            let reader = index.reader();
            let object = reader.object(BucketId(1), &key(&name(i * 31 % OBJECTS))).unwrap().unwrap();
            assert_eq!(object.summary.size, 5);
        }
    });
    measure("get with body", OBJECTS, || {
        for i in 0..OBJECTS {
            let reader = index.reader();
            let object = reader.object(BucketId(1), &key(&name(i * 31 % OBJECTS))).unwrap().unwrap();
            let Source::Inline(number) = object.detail.pieces[0].source else { panic!("an inline body") };
            reader.inline_body(number).unwrap().unwrap();
        }
    });
    let mut list = list("", None, 1000);
    measure("list page of 1000", OBJECTS / 1000, || {
        for _ in 0..OBJECTS / 1000 {
            let page = index.list(&list).unwrap();
            assert_eq!(page.objects.len(), 1000);
            list.after = ListFrom::After(page.objects.last().unwrap().0.clone());
        }
    });
    let list = support::list("logs/2026/", Some("/"), 1000);
    measure("list 1000 common prefixes", 20, || {
        for _ in 0..20 {
            assert_eq!(index.list(&list).unwrap().prefixes.len(), 1000);
        }
    });
    measure("snapshot row", OBJECTS * 2, || index.snapshot().chunks().map(|chunk| chunk.unwrap().len()).sum::<usize>());
}
