//! A client that deletes and overwrites what it needs, and brings it back: it knows at any time what must still be there
//! to be brought back, and with which bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use holdfast_gateway::router::{Modes, RouteError, Router};
use holdfast_wire::bucket::{Bucket, ReadMode};
use holdfast_wire::condition::{ReadCondition, WriteCondition};
use holdfast_wire::deleted::Undelete;
use holdfast_wire::id::{BucketName, ObjectKey, Seq};
use holdfast_wire::object::{Attributes, NewBody};
use holdfast_wire::placement::Placement;
use holdfast_wire::request::{DeleteKey, GetObject, PutObject, RangeSpec, Refusal, RootRefusal, Write, WriteOutcome};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::cluster::UNDELETE;
use crate::rng::Rng;

/// What came of it.
#[derive(Debug, Default)]
pub struct Regret {
    /// Objects that came back and were read.
    pub back: u64,
    /// Those that had been gone for too long.
    pub too_late: u64,
    /// What must not be.
    pub violations: Vec<String>,
    /// It is to end.
    pub enough: bool,
    /// It has ended.
    pub ended: bool,
}

/// An object that was put, by its number.
#[derive(Clone)]
struct Thing {
    seq: Seq,
    text: String,
}

/// One key: what it holds, and what is gone and since when at the earliest.
struct Shelf {
    key: ObjectKey,
    holds: Option<Thing>,
    gone: Vec<(Thing, Instant)>,
}

/// Does so in a bucket of its own, until it is told that it is enough.
pub async fn regret(router: Router, mut rng: Rng, told: Arc<Mutex<Regret>>) {
    let name: BucketName = "regret".parse().expect("a bucket's name");
    let bucket = loop {
        let made = (false, Vec::new());
        match router.create_bucket(name.clone(), "regret".to_owned(), Placement::WholeKey, Vec::new(), made).await {
            Ok(bucket) => break bucket,
            Err(RouteError::Root(RootRefusal::BucketExists(bucket))) => break Arc::new(*bucket),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    for number in 0.. {
        let key: ObjectKey = format!("{number}").try_into().expect("a key");
        let mut shelf = Shelf { key, holds: None, gone: Vec::new() };
        for step in 0..12 {
            if told.lock().enough {
                told.lock().ended = true;
                return;
            }
            sleep(Duration::from_millis(rng.below(400))).await;
            match one(&router, &bucket, &mut shelf, &mut rng, number * 100 + step, &told).await {
                Ok(()) => {}
                // Nobody knows what this key holds now: on to another one.
                Err(_) => break,
            }
        }
    }
}

async fn write(router: &Router, bucket: &Bucket, key: &ObjectKey, write: Write) -> Result<WriteOutcome, RouteError> {
    router.write(bucket, key, Modes::default(), write).await.map(|written| written.outcome)
}

async fn one(
    router: &Router,
    bucket: &Bucket,
    shelf: &mut Shelf,
    rng: &mut Rng,
    number: u64,
    told: &Mutex<Regret>,
) -> Result<(), RouteError> {
    let key = shelf.key.clone();
    let began = Instant::now();
    let choice = rng.below(10);
    if choice < 4 {
        let text = format!("body {number} {}", "x".repeat(rng.below(300) as usize));
        let put = PutObject {
            bucket: bucket.id,
            key: key.clone(),
            condition: WriteCondition::default(),
            owner: "regret".to_owned(),
            attributes: Attributes::default(),
            etag: format!("{number:032x}"),
            checksum: None,
            body: NewBody::Inline(Bytes::from(text.clone().into_bytes())),
        };
        if let WriteOutcome::Stored { seq, .. } = write(router, bucket, &key, Write::Put(put)).await? {
            let before = shelf.holds.replace(Thing { seq, text });
            shelf.gone.extend(before.map(|thing| (thing, began)));
        }
        return Ok(());
    }
    if choice < 6 {
        let keys = vec![DeleteKey::current(key.clone(), WriteCondition::default())];
        let delete = Write::Delete { bucket: bucket.id, keys, bypass_governance: false };
        write(router, bucket, &key, delete).await?;
        shelf.gone.extend(shelf.holds.take().map(|thing| (thing, began)));
        return Ok(());
    }
    let seq = shelf.gone.last().filter(|_| choice == 9).map(|(thing, _)| thing.seq);
    let replace = rng.percent(50);
    let undelete = Undelete { bucket: bucket.id, key: key.clone(), seq, replace };
    let violation = |what: String| told.lock().violations.push(format!("{key}: {what}"));
    match write(router, bucket, &key, Write::Undelete(undelete)).await {
        Ok(WriteOutcome::Stored { seq, .. }) => {
            // The newest by its number is what goes without saying.
            shelf.gone.sort_by_key(|(thing, _)| thing.seq);
            let Some((thing, _)) = shelf.gone.pop() else {
                violation("something came back, and nothing was gone".to_owned());
                return Ok(());
            };
            if shelf.holds.is_some() && !replace {
                violation("what was there was replaced unasked".to_owned());
            }
            let before = shelf.holds.replace(Thing { seq, text: thing.text });
            shelf.gone.extend(before.map(|thing| (thing, began)));
            let found = read(router, bucket, &key).await?;
            let wanted = shelf.holds.as_ref().map(|thing| thing.text.as_str());
            if found.as_deref() != wanted {
                violation(format!("{wanted:?} came back and {found:?} is there"));
            }
            told.lock().back += 1;
        }
        Ok(other) => violation(format!("brought back: {other:?}")),
        Err(RouteError::Refused(Refusal::InTheWay)) => {
            if shelf.holds.is_none() || replace {
                violation("something is in the way".to_owned());
            }
        }
        Err(RouteError::Refused(Refusal::NotKept)) => {
            shelf.gone.sort_by_key(|(thing, _)| thing.seq);
            if let Some((_, since)) = shelf.gone.pop() {
                // It was decided now at the latest, and gone when its deletion began at the earliest.
                let at_most = since.elapsed();
                if at_most < UNDELETE {
                    let ms = at_most.as_millis();
                    violation(format!("let go of when it had been gone for {ms} ms at most"));
                }
                // All of it is older.
                shelf.gone.clear();
                told.lock().too_late += 1;
            }
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The bytes under a key.
async fn read(router: &Router, bucket: &Bucket, key: &ObjectKey) -> Result<Option<String>, RouteError> {
    let get = GetObject {
        bucket: bucket.id,
        key: key.clone(),
        head: false,
        range: RangeSpec::All,
        condition: ReadCondition::default(),
        version: None,
        seq: None,
    };
    let modes = Modes { read: Some(ReadMode::Strong), ..Modes::default() };
    match router.get(bucket, modes, get).await {
        Ok(got) => {
            let body: Vec<Bytes> =
                got.body.try_collect().await.map_err(|error| RouteError::SlowDown(error.to_string()))?;
            Ok(Some(String::from_utf8_lossy(&body.concat()).into_owned()))
        }
        Err(RouteError::Absent(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
