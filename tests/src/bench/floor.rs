//! What this machine can do at best, measured in the same run: nothing above it can be faster.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use serde::Serialize;
use sha2::Sha256;

use crate::rng::Rng;

const SPAN: Duration = Duration::from_secs(1);
const BLOCK: usize = 4096;
const ROOM: usize = 16 << 20;

/// The floors.
#[derive(Clone, Debug, Serialize)]
pub struct Floors {
    /// 4 KiB appends with fdatasync each, to a file that grows, per second.
    pub append_syncs_per_s: f64,
    /// The same into space that was written before.
    pub overwrite_syncs_per_s: f64,
    /// Median of one such overwrite with its fdatasync, µs.
    pub overwrite_sync_p50_us: f64,
    /// The same of three that begin at once, each in a file of its own, half a millisecond after the last ended: what one
    /// write costs three nodes on one disk, µs.
    pub three_syncs_p50_us: f64,
    /// MD5 on one core, GB/s.
    pub md5_gb_per_s: f64,
    /// SHA-256 on one core, GB/s.
    pub sha256_gb_per_s: f64,
    /// CRC-64/NVME on one core, GB/s.
    pub crc64nvme_gb_per_s: f64,
    /// One TCP stream over loopback, GB/s.
    pub loopback_gb_per_s: f64,
}

/// Measures them all, on the file system of `dir`; takes about six seconds.
pub fn measure(dir: &Path) -> std::io::Result<Floors> {
    let (append_syncs_per_s, _) = syncs(&dir.join("floor-append"), false)?;
    let (overwrite_syncs_per_s, overwrite_sync_p50_us) = syncs(&dir.join("floor-overwrite"), true)?;
    let three_syncs_p50_us = three_syncs(dir)?;
    let bytes = Rng::new(1).bytes(8 << 20);
    Ok(Floors {
        append_syncs_per_s,
        overwrite_syncs_per_s,
        overwrite_sync_p50_us,
        three_syncs_p50_us,
        md5_gb_per_s: hashing(&bytes, |bytes| u64::from(Md5::digest(bytes)[0])),
        sha256_gb_per_s: hashing(&bytes, |bytes| u64::from(Sha256::digest(bytes)[0])),
        crc64nvme_gb_per_s: hashing(&bytes, |bytes| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)),
        loopback_gb_per_s: loopback()?,
    })
}

/// Writes with fdatasync per second, and their median in µs.
fn syncs(path: &Path, prepared: bool) -> std::io::Result<(f64, f64)> {
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    if prepared {
        prepare(&mut file)?;
    }
    let block = Rng::new(2).bytes(BLOCK);
    let start = Instant::now();
    let mut took = Vec::new();
    while start.elapsed() < SPAN {
        let at = Instant::now();
        let offset = took.len() * BLOCK;
        file.write_all_at(&block, (if prepared { offset % ROOM } else { offset }) as u64)?;
        file.sync_data()?;
        took.push(at.elapsed());
    }
    let rate = took.len() as f64 / start.elapsed().as_secs_f64();
    took.sort();
    std::fs::remove_file(path)?;
    Ok((rate, took[took.len() / 2].as_secs_f64() * 1e6))
}

fn prepare(file: &mut File) -> std::io::Result<()> {
    file.write_all(&vec![0; ROOM])?;
    file.sync_all()
}

fn three_syncs(dir: &Path) -> std::io::Result<f64> {
    const ROUNDS: usize = 1000;
    let names = [0, 1, 2].map(|at| dir.join(format!("floor-three-{at}")));
    let open = |path| {
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
        prepare(&mut file)?;
        Ok(file)
    };
    let files: Vec<File> = names.iter().map(open).collect::<std::io::Result<_>>()?;
    let together = Barrier::new(files.len());
    let rounds = |file: &File| {
        let block = Rng::new(2).bytes(BLOCK);
        let round = |at: usize| {
            together.wait();
            let start = Instant::now();
            file.write_all_at(&block, (at * BLOCK % ROOM) as u64)?;
            file.sync_data()?;
            let took = start.elapsed();
            std::thread::sleep(Duration::from_micros(500));
            Ok(took)
        };
        // Whoever fails still meets the others.
        (0..ROUNDS).map(round).collect::<Vec<std::io::Result<Duration>>>()
    };
    let took = std::thread::scope(|scope| {
        let threads: Vec<_> = files.iter().map(|file| scope.spawn(|| rounds(file))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect::<Vec<_>>()
    });
    names.iter().try_for_each(std::fs::remove_file)?;
    let mut took: Vec<Duration> = took.into_iter().collect::<std::io::Result<_>>()?;
    took.sort();
    Ok(took[took.len() / 2].as_secs_f64() * 1e6)
}

fn hashing(bytes: &[u8], hash: impl Fn(&[u8]) -> u64) -> f64 {
    let start = Instant::now();
    let (mut rounds, mut sink) = (0_u64, 0);
    while start.elapsed() < SPAN / 2 {
        sink ^= std::hint::black_box(hash(std::hint::black_box(bytes)));
        rounds += 1;
    }
    std::hint::black_box(sink);
    (rounds * bytes.len() as u64) as f64 / start.elapsed().as_secs_f64() / 1e9
}

fn loopback() -> std::io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let chunk = vec![7; 256 << 10];
        let start = Instant::now();
        while start.elapsed() < SPAN {
            stream.write_all(&chunk)?;
        }
        Ok(())
    });
    let (mut stream, _) = listener.accept()?;
    let mut chunk = vec![0; 256 << 10];
    let (start, mut total) = (Instant::now(), 0_u64);
    loop {
        match stream.read(&mut chunk)? {
            0 => break,
            count => total += count as u64,
        }
    }
    writer.join().map_err(|_| std::io::Error::other("the writer panicked"))??;
    Ok(total as f64 / start.elapsed().as_secs_f64() / 1e9)
}
