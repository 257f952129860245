//! The index in a Redis: one per node, or one for several of them, and provably safe to lose.
//!
//! Redis holds the rows; what is promised of them does not rest on it. [`Durability::Synced`] writes a dump of the rows to
//! the data directory (`index/engine/dump.rs`), and the raft log is purged only behind such a dump: dump and log together
//! rebuild whatever Redis may lose, all of it at once included. Each batch checks and renews the stamp in the same atomic
//! step, and every read brings the stamp along, read after the rows: a Redis that was flushed, that evicted the set, that
//! came back older, or into which another process writes is noticed before its answer is believed. The engine then is
//! lost for this process, which ends; the next one fills the rows in again from the dump.
//!
//! A Redis that is silent is waited for, up to [`Patience::give_up`]: readers are turned away meanwhile, and
//! [`Engine::trouble`] tells the node to step aside.

mod batch;
mod counted;
mod fill;
mod layout;
mod link;
mod look;
mod rows;
mod undo;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use redis::{Client, Connection, RedisResult, Script, pipe};
use xxhash_rust::xxh3::xxh3_64;

use self::batch::differs;
use self::counted::Counted;
use self::layout::Stamp;
use self::link::{Link, waiting};
use self::rows::{Frozen, Rows};
use self::undo::Undo;
use super::dump::{self, Head};
use super::{Durability, Engine, EngineError, EngineStats, Mutation, Row, Space, Stored, Trouble, View, behind};
use crate::file::{self, Files};

pub use link::Patience;
pub use look::{Found, look};

/// What is kept for open views at most, bytes.
const UNDO: usize = 256 << 20;
/// Rows of a page while the whole set is verified or cleared.
const PAGE: usize = 1024;
/// How long a full disk is left alone.
const FULL: Duration = Duration::from_millis(200);
/// What a count of all rows can find.
const COUNTED_WRONG: &str = "rows are missing, or were put in place of others";
/// Between looks at a Redis that nobody writes to.
const LOOK: Duration = Duration::from_secs(1);

/// Members of a set, as they come.
type Members = Vec<Vec<u8>>;

/// Where the index is, and whose.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://` with TLS.
    pub url: String,
    /// The node's name: part of the name of its set.
    pub node: String,
    /// The node's data directory: the dump is there.
    pub data: PathBuf,
    /// A number that no other life of the process has.
    pub life: u64,
    /// A number that no other data directory has, used when this one has no dump yet.
    pub owner: u128,
    /// Deadlines.
    pub patience: Patience,
}

/// A URL that is none of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS")]
pub struct BadUrl;

/// The index in a Redis.
pub struct Redis {
    shared: Arc<Shared>,
    watch: Option<JoinHandle<()>>,
}

/// What the engine, its views and its thread have in common.
struct Shared {
    link: Link,
    script: Script,
    set: String,
    owner: u128,
    life: u64,
    salt: u64,
    files: Arc<dyn Files>,
    path: PathBuf,
    writer: Mutex<Writer>,
    undo: Mutex<Undo>,
    /// A batch is no longer under way.
    landed: Condvar,
    /// Why the rows can no longer be believed.
    lost: Mutex<Option<String>>,
    /// The newest batch in the dump; held while one is written.
    dumped: Mutex<u64>,
    dump_bytes: AtomicU64,
    stopped: Mutex<bool>,
    stop: Condvar,
}

struct Writer {
    stamp: Stamp,
    connection: Option<Connection>,
}

/// The rows are not what this process wrote.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the index in Redis at {place} can no longer be believed: {reason}; it is filled in again at the next start")]
pub struct Lost {
    place: String,
    reason: String,
}

/// A view that was open for too long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("more has changed since this view was opened than is kept for it")]
pub struct ViewGone;

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("url", &place_of(&self.url))
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Checks a URL.
pub fn check_url(url: &str) -> Result<(), BadUrl> {
    if !(url.starts_with("redis://") || url.starts_with("rediss://")) {
        return Err(BadUrl);
    }
    Client::open(url).map(|_| ()).map_err(|_| BadUrl)
}

/// A URL without user and password.
fn place_of(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => url.to_owned(),
    }
}

/// The file beside the log that holds the rows as of the last sync.
pub fn dump_path(data: &std::path::Path) -> PathBuf {
    data.join("index.dump")
}

impl Redis {
    /// Finds the rows as this data directory left them, or fills them in from its dump. Waits for a Redis that is
    /// silent, up to [`Patience::give_up`].
    pub fn open(options: RedisOptions, files: Arc<dyn Files>) -> Result<Self, EngineError> {
        let dump = dump_path(&options.data);
        let head = match dump::head(&*files, &dump)? {
            Some(head) => head,
            None => {
                let head = Head { owner: options.owner, number: 0 };
                dump::write(&*files, &dump, head, &super::Memory::new(), &|| Ok(()))?;
                head
            }
        };
        let client = Client::open(options.url.as_str()).map_err(|_| EngineError(Box::new(BadUrl)))?;
        let link = Link::new(client, place_of(&options.url), options.patience);
        let salt = xxh3_64(&head.owner.to_le_bytes());
        let blank = Stamp { owner: head.owner, writer: 0, number: head.number, rows: 0, sum: 0 };
        let shared = Shared {
            link,
            script: Script::new(layout::WRITE),
            owner: head.owner,
            life: options.life.max(1),
            set: layout::set_of(&options.node),
            salt,
            files,
            path: dump,
            writer: Mutex::new(Writer { stamp: blank, connection: None }),
            undo: Mutex::new(Undo::new(0, UNDO)),
            landed: Condvar::new(),
            lost: Mutex::default(),
            dumped: Mutex::new(head.number),
            dump_bytes: AtomicU64::new(0),
            stopped: Mutex::default(),
            stop: Condvar::new(),
        };
        waiting(|| shared.find_or_fill(head))?;
        let shared = Arc::new(shared);
        let watching = shared.clone();
        let watch = std::thread::Builder::new().name("index-redis".into()).spawn(move || watching.watch())?;
        Ok(Self { shared, watch: Some(watch) })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        *self.shared.stopped.lock() = true;
        self.shared.stop.notify_all();
        if let Some(watch) = self.watch.take() {
            watch.join().ok();
        }
    }
}

impl Shared {
    fn lost(&self) -> Option<EngineError> {
        let reason = self.lost.lock().clone()?;
        Some(EngineError(Box::new(Lost { place: self.link.place().to_owned(), reason })))
    }

    /// From now on nothing of it is believed.
    fn lose(&self, reason: String) -> EngineError {
        self.lost.lock().get_or_insert(reason.clone());
        self.landed.notify_all();
        EngineError(Box::new(Lost { place: self.link.place().to_owned(), reason }))
    }

    /// Rows of a range with the stamp behind them: what Redis says is believed only if it is not older than this
    /// process knows.
    fn read(&self, insist: bool, low: &[u8], high: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        if let Some(lost) = self.lost() {
            return Err(lost);
        }
        let known = self.undo.lock().visible();
        let mut ask = |connection: &mut Connection| -> RedisResult<(Members, Members)> {
            let mut both = pipe();
            both.cmd("ZRANGEBYLEX").arg(&self.set).arg(low).arg(high).arg("LIMIT").arg(0).arg(limit);
            both.cmd("ZRANGEBYLEX").arg(&self.set).arg(layout::STAMP.0).arg(layout::STAMP.1).arg("LIMIT").arg(0).arg(2);
            both.query(connection)
        };
        let (members, stamps) = waiting(|| self.link.ask(insist, &mut ask))?;
        let (owner, writer) = (self.owner, self.life);
        let stamp = stamps.first().and_then(|member| Stamp::decode(member)).filter(|_| stamps.len() == 1);
        if !stamp.is_some_and(|stamp| stamp.owner == owner && stamp.writer == writer && stamp.number >= known) {
            let expected = Stamp { owner, writer, number: known, rows: 0, sum: 0 };
            return Err(self.lose(differs(&expected, stamp, members.len() as i64)));
        }
        members
            .iter()
            .map(|member| match layout::read(self.salt, member) {
                Ok((_, key, value)) => Ok((key, value)),
                Err(error) => Err(self.lose(error.to_string())),
            })
            .collect()
    }

    /// The rows in the data directory are at least as new as what `want` says when this returns. A full disk is waited out,
    /// as everywhere.
    fn sync(self: &Arc<Self>, want: u64) -> Result<(), EngineError> {
        let mut dumped = self.dumped.lock();
        if *dumped >= want {
            return Ok(());
        }
        *dumped = loop {
            match self.dump() {
                Err(error) if is_full(&error) => {
                    tracing::warn!(%error, "no room to dump the index: trying again");
                    let mut stopped = self.stopped.lock();
                    if !*stopped {
                        self.stop.wait_for(&mut stopped, FULL);
                    }
                    if *stopped {
                        return Err(error);
                    }
                }
                result => break result?,
            }
        };
        Ok(())
    }

    /// Dumps the rows of now; the number of the newest batch among them. What is dumped is counted, so that a row that
    /// somebody put in place of another never outlives the log that knows better.
    fn dump(self: &Arc<Self>) -> Result<u64, EngineError> {
        let write = |counted: Counted| {
            let head = Head { owner: self.owner, number: counted.stamp.number };
            let sound = || match counted.is_whole() {
                true => Ok(()),
                false => Err(self.lose(COUNTED_WRONG.to_owned())),
            };
            let bytes = dump::write(&*self.files, &self.path, head, &counted, &sound)?;
            self.dump_bytes.store(bytes, Ordering::Relaxed);
            Ok(head.number)
        };
        let counted = {
            let writer = self.writer.lock();
            Counted::new(Frozen::new(self.clone(), true), writer.stamp)
        };
        match write(counted) {
            Err(EngineError(error)) if error.is::<ViewGone>() => {
                tracing::warn!("so much was written while the index was dumped that writers wait for it now");
                let writer = self.writer.lock();
                write(Counted::new(Frozen::new(self.clone(), true), writer.stamp))
            }
            result => result,
        }
    }

    /// Looks now and then whether Redis is there and holds what this process left, for when nobody else asks.
    fn watch(&self) {
        let mut stopped = self.stopped.lock();
        while !*stopped {
            self.stop.wait_for(&mut stopped, LOOK);
            if *stopped || self.lost.lock().is_some() {
                continue;
            }
            drop(stopped);
            // Whoever holds it finds out by itself.
            if let Some(mut writer) = self.writer.try_lock() {
                self.look(&mut writer);
            }
            stopped = self.stopped.lock();
        }
    }

    fn look(&self, writer: &mut Writer) {
        let mut ask = |connection: &mut Connection| -> RedisResult<(Members, i64)> {
            let mut both = pipe();
            both.cmd("ZRANGEBYLEX").arg(&self.set).arg(layout::STAMP.0).arg(layout::STAMP.1).arg("LIMIT").arg(0).arg(2);
            both.cmd("ZCARD").arg(&self.set);
            both.query(connection)
        };
        let stamp = writer.stamp;
        if let Ok((stamps, members)) = self.link.attempt(&mut writer.connection, &mut ask)
            && (stamps != [stamp.encode()] || members != stamp.rows as i64 + 1)
        {
            let found = stamps.first().and_then(|member| Stamp::decode(member));
            let error = self.lose(differs(&stamp, found, members));
            tracing::error!("{error}");
        }
    }
}

fn is_full(EngineError(error): &EngineError) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| file::is_full(error.kind()))
}

impl View for Redis {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let (low, high) = layout::only(space, key);
        Ok(self.shared.read(true, &low, &high, 1)?.pop().map(|(_, value)| value))
    }

    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a> {
        Box::new(Rows::new(Frozen::new(self.shared.clone(), true), space, from, to))
    }
}

impl Engine for Redis {
    fn write(&self, mutations: Vec<Mutation>, durability: Durability) -> Result<(), EngineError> {
        let shared = &self.shared;
        waiting(|| {
            if !mutations.is_empty() {
                let mut writer = shared.writer.lock();
                if let Some(lost) = shared.lost() {
                    return Err(lost);
                }
                let stamp = writer.stamp;
                shared.batch(&mut writer, mutations, stamp)?;
            }
            match durability {
                Durability::Buffered => Ok(()),
                Durability::Synced => {
                    let want = shared.undo.lock().visible();
                    shared.sync(want)
                }
            }
        })
    }

    fn snapshot(&self) -> Box<dyn View> {
        Box::new(Frozen::new(self.shared.clone(), false))
    }

    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError> {
        // What is removed comes back with the answer: bodies are long.
        for (space, at_once) in [(Space::Records, PAGE), (Space::Bodies, PAGE / 16)] {
            let mut keys = self.range(space, prefix, &behind(prefix));
            loop {
                let batch: Result<Vec<_>, EngineError> =
                    keys.by_ref().take(at_once).map(|row| Ok(Mutation::Remove(space, row?.0.into()))).collect();
                match batch? {
                    batch if batch.is_empty() => break,
                    batch => self.write(batch, Durability::Buffered)?,
                }
            }
        }
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        EngineStats {
            disk_bytes: self.shared.dump_bytes.load(Ordering::Relaxed),
            memory_bytes: self.shared.undo.lock().bytes() as u64,
        }
    }

    /// The dump: rows in Redis are compared with their own checksums whenever they are read.
    fn stored(&self) -> Vec<Stored> {
        let (files, path) = (self.shared.files.clone(), self.shared.path.clone());
        let len = self.shared.dump_bytes.load(Ordering::Relaxed);
        let name = path.display().to_string();
        let verify = move || dump::each(&*files, &path, &mut |_| Ok(())).map(drop).map_err(|error| error.to_string());
        vec![Stored { name, len, verify: Box::new(verify) }]
    }

    fn trouble(&self) -> Option<Trouble> {
        if let Some(lost) = self.shared.lost() {
            return Some(Trouble::Lost(lost.to_string()));
        }
        let (since, reason) = self.shared.link.silent()?;
        Some(Trouble::Silent { since, reason: format!("Redis at {} {reason}", self.shared.link.place()) })
    }
}

#[cfg(test)]
pub mod tests;
