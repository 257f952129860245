//! What a power cut leaves at any moment: every write of a node's disk is recorded, and the disk is made anew as it was
//! at random flushes, half of the time with some of the writes that no flush had covered yet. Each such image must
//! mount, pass `holdfast verify`, start, and hold everything that was acknowledged before. Needs root, loop devices
//! and `qemu-storage-daemon`. `TEST_ROUNDS=12` looks at 300 images.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_tests::body;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::blocklog::{Recorder, Recording};
use holdfast_tests::cluster::disk::{Disk, Kind};
use holdfast_tests::cluster::tool::run;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::Failure;
use holdfast_tests::fault;
use holdfast_tests::rng::Rng;
use holdfast_tests::storm::rounds;
use http::{Method, StatusCode};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

type Test = Result<(), Failure>;

const BYTES: u64 = 384 << 20;
const WRITERS: u64 = 6;
const READERS: usize = 4;
const IMAGES_A_ROUND: usize = 25;
/// Keys at most: what they take is to fit on the disk, whatever the server's speed.
const KEYS: u64 = 3000;
const SIZES: [usize; 4] = [100, 4096, 70_000, 300_000];

/// What one key went through: places in the log of the disk's writes.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// The put was acknowledged before this place.
    put: Option<u64>,
    /// A delete was sent after this place.
    doomed: Option<u64>,
    /// The delete was acknowledged before this place.
    gone: Option<u64>,
}

fn key(number: u64) -> String {
    format!("d{}/k{number}", number % 7)
}

fn content(number: u64) -> bytes::Bytes {
    body::make(number, SIZES[number as usize % SIZES.len()])
}

/// Writes new keys and deletes some, for so long at most, and notes what was acknowledged where.
async fn load(
    cluster: &Cluster,
    recorder: &Arc<Mutex<Recorder>>,
    span: Duration,
) -> Result<BTreeMap<u64, Life>, Failure> {
    let (until, numbers) = (Instant::now() + span, Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut raw = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
        let (numbers, recorder) = (numbers.clone(), recorder.clone());
        writers.spawn(async move {
            let (mut lives, mut rng) = (BTreeMap::<u64, Life>::new(), Rng::new(writer));
            while Instant::now() < until {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number >= KEYS {
                    break;
                }
                let put = raw.call(Call::object(Method::PUT, "images", &key(number)).body(content(number))).await?;
                let acknowledged = (put.status == StatusCode::OK).then_some(recorder.lock().await.entries()?);
                lives.insert(number, Life { put: acknowledged, ..Life::default() });
                if rng.percent(30) {
                    let victim = *rng.pick(&lives.keys().copied().collect::<Vec<_>>());
                    let doomed = Some(recorder.lock().await.entries()?);
                    let gone = raw.call(Call::object(Method::DELETE, "images", &key(victim))).await?;
                    let gone = (gone.status == StatusCode::NO_CONTENT).then_some(recorder.lock().await.entries()?);
                    let life = lives.entry(victim).or_default();
                    // A second delete changes nothing.
                    life.doomed = life.doomed.or(doomed);
                    life.gone = life.gone.or(gone);
                }
            }
            Ok::<_, Failure>(lives)
        });
    }
    let mut all = BTreeMap::new();
    while let Some(lives) = writers.join_next().await {
        all.extend(lives??);
    }
    Ok(all)
}

/// An acknowledged write that a node was found to hold: its key's number, and whether it was a delete.
type Held = (u64, bool);

/// Whether the node that has just started on an image of the first `safe` writes holds what it must: that.
async fn holds(cluster: &Cluster, lives: &BTreeMap<u64, Life>, safe: u64) -> Result<Vec<Held>, Failure> {
    let lives: Vec<_> = lives.iter().collect();
    let parts = lives.chunks(lives.len().div_ceil(READERS).max(1)).map(|part| held(cluster, part, safe));
    Ok(futures::future::try_join_all(parts).await?.concat())
}

async fn held(cluster: &Cluster, lives: &[(&u64, &Life)], safe: u64) -> Result<Vec<Held>, Failure> {
    let mut raw = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
    let mut held = Vec::new();
    for &(&number, life) in lives {
        let before = |place: Option<u64>| place.is_some_and(|place| place <= safe);
        let must_be = before(life.put) && !before(life.doomed);
        let must_not = before(life.gone);
        let got = raw.call(Call::object(Method::GET, "images", &key(number))).await?;
        let right = match got.status {
            StatusCode::OK => !must_not && body::verify(number, &got.body) == Ok(()),
            StatusCode::NOT_FOUND => !must_be,
            _ => false,
        };
        if !right {
            let what = format!("{} at write {safe}: {} ({life:?})", key(number), got.status);
            return Err(Failure::new(what));
        }
        if must_be || must_not {
            held.push((number, must_not));
        }
    }
    Ok(held)
}

struct Images {
    recording: Recording,
    lives: BTreeMap<u64, Life>,
    first: u64,
}

/// Looks at so many images; the acknowledged writes that they held, and how many these are over all images.
async fn look(
    cluster: &mut Cluster,
    images: &Images,
    kind: Kind,
    count: usize,
    home: &Path,
) -> Result<(BTreeSet<Held>, usize), Failure> {
    let Images { recording, lives, first } = images;
    let mut rng = Rng::new(count as u64);
    // Not before the bucket was there: an empty disk holds nothing.
    let mut places: Vec<usize> =
        (0..count).map(|_| (*first + rng.below(recording.len() as u64 - first)) as usize).collect();
    places.sort_unstable();
    let current = home.join("current.img");
    let base = File::options().create(true).truncate(true).read(true).write(true).open(&current)?;
    base.set_len(BYTES)?;
    let (mut done, mut held, mut times) = (0, BTreeSet::new(), 0);
    for (number, place) in places.into_iter().enumerate() {
        let safe = recording.safe(place);
        if safe > done {
            recording.replay(&base, done..safe, || true)?;
            done = safe;
        }
        // A file of its own: a loop device that lingers on an earlier one has nothing of this one in its cache, and writes
        // nothing into it.
        let image = home.join(format!("image{number}.img"));
        // Holes stay holes.
        run("cp", &["--sparse=always", &current.display().to_string(), &image.display().to_string()])?;
        let lost = number % 2 == 1;
        if lost {
            recording.replay(&File::options().write(true).open(&image)?, safe..place, || rng.percent(50))?;
        }
        match recovers(cluster, (&image, kind), home, lives, safe as u64).await {
            Ok(found) => {
                times += found.len();
                held.extend(found);
            }
            Err(error) => {
                let kept = std::env::temp_dir().join(format!("holdfast-{kind:?}-{}-{place}.img", std::process::id()));
                run("cp", &["--sparse=always", &image.display().to_string(), &kept.display().to_string()])?;
                let where_from = format!("{kind:?}, {place} writes, {safe} safe, kept as {}", kept.display());
                return Err(Failure::new(format!("{where_from}: {error}")));
            }
        }
        std::fs::remove_file(&image)?;
    }
    Ok((held, times))
}

/// Whether a node comes up on this image of its disk and holds what it must: that.
async fn recovers(
    cluster: &mut Cluster,
    (image, kind): (&Path, Kind),
    home: &Path,
    lives: &BTreeMap<u64, Life>,
    safe: u64,
) -> Result<Vec<Held>, Failure> {
    // Where the node had it.
    let disk = Disk::of(image.to_owned(), home.join("mount"), kind)?;
    let verified = Command::new(cluster.binary()).args(["verify", "--data"]).arg(disk.path().join("data")).output()?;
    if !verified.status.success() {
        let said = String::from_utf8_lossy(&[verified.stdout, verified.stderr].concat()).into_owned();
        return Err(Failure::new(format!("not sound: {said}")));
    }
    cluster.node(0).start()?;
    cluster.node_ready(0).await?;
    let found = holds(cluster, lives, safe).await;
    cluster.node(0).kill();
    disk.take_off()?;
    found
}

async fn images(kind: Kind, count: usize) -> Test {
    let home = tempfile::TempDir::with_prefix("holdfast-images-")?;
    let what = format!("images of {kind:?} at any flush");
    let recorder = match Recorder::make(home.path(), kind, BYTES) {
        Ok(recorder) => recorder,
        Err(error) => {
            fault::skipped("6", &what, &error);
            return Ok(());
        }
    };
    let data = vec![(0, home.path().join("mount/data"))];
    let options = Options { nodes: 1, shards: 2, data, ..Options::default() };
    let mut cluster = Cluster::lay_out(options).await?;
    cluster.node(0).start()?;
    cluster.ready().await?;
    let mut raw = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
    let made = raw.call(Call::bucket(Method::PUT, "images")).await?;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    let first = recorder.entries()?;
    let recorder = Arc::new(Mutex::new(recorder));
    let span = if count > IMAGES_A_ROUND { Duration::from_secs(60) } else { Duration::from_secs(3) };
    let lives = load(&cluster, &recorder, span).await?;
    cluster.node(0).kill();
    let recorder = Arc::into_inner(recorder).ok_or_else(|| Failure::harness("a writer goes on"))?.into_inner();
    let recording = recorder.finish()?;
    fault::counted("6", &what, recording.flushes() as u64, "flushes recorded")?;
    let (writes, flushes) = (recording.len(), recording.flushes());
    let acknowledged: usize = lives.values().map(|life| life.put.iter().chain(&life.gone).count()).sum();
    let looked = Images { recording, lives, first };
    let (held, times) = look(&mut cluster, &looked, kind, count, home.path()).await?;
    println!(
        "FIGURE {what}: {count} of {count} recovered, out of {writes} writes with {flushes} flushes; {} of \
         {acknowledged} puts and deletes checked {times} times",
        held.len()
    );
    println!("{} acknowledged writes, of {acknowledged}, were in some image", held.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_power_cut_leaves_holds_what_was_acknowledged() {
    let rounds = rounds(1);
    let whole = async {
        match rounds {
            1 => images(Kind::Ext4, 6).await,
            many => {
                images(Kind::Ext4, many * IMAGES_A_ROUND / 2).await?;
                images(Kind::Xfs, many * IMAGES_A_ROUND / 2).await
            }
        }
    };
    if let Err(failure) = whole.await {
        panic!("{failure}");
    }
}
