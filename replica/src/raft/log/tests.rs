//! openraft's own storage suite on our log: plain, and with a power cut after every file operation of every call.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use holdfast_wire::id::GroupId;
use openraft::alias::SnapshotOf;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, OptionalSend, RaftLogReader, RaftSnapshotBuilder, StorageError};
use parking_lot::Mutex;

use super::LogStore;
use crate::file::{Cut, Files, SimulatedFiles};
use crate::log::{Log, LogOptions};
use crate::raft::types::{Entry, LogId, Types, Vote};

type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
type StoredMembership = openraft::alias::StoredMembershipOf<Types>;

/// The least state machine: knows where it is.
#[derive(Clone, Default)]
struct Machine(Arc<Mutex<Applied>>);

type Applied = (Option<LogId>, StoredMembership, Option<SnapshotMeta>);

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, ()>> {
        let mut state = self.0.lock();
        let meta = SnapshotMeta { last_log_id: state.0, last_membership: state.1.clone() };
        state.2 = Some(meta.clone());
        Ok(SnapshotOf::<Types, ()> { meta, snapshot: () })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.0.lock();
        Ok((state.0, state.1.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, _) = next?;
            let mut state = self.0.lock();
            state.0 = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                state.1 = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> io::Result<()> {
        *self.0.lock() = (meta.last_log_id, meta.last_membership.clone(), Some(meta.clone()));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, ()>>> {
        Ok(self.0.lock().2.clone().map(|meta| SnapshotOf::<Types, ()> { meta, snapshot: () }))
    }
}

async fn open(files: &SimulatedFiles) -> Result<(Log, LogStore), crate::log::LogError> {
    // Nothing is cached, so that every read goes to a file.
    let options = LogOptions { segment_bytes: 16 << 10, cache_bytes: 0, ..LogOptions::default() };
    let log = Log::open(Arc::new(files.process()), PathBuf::from("/log"), options).await?;
    let store = LogStore::new(log.group(GroupId(3)), Arc::default(), files.lane("log-read"));
    Ok((log, store))
}

struct Plain;

impl StoreBuilder<Types, LogStore, Machine, Log> for Plain {
    async fn build(&self) -> Result<(Log, LogStore, Machine), StorageError<Types>> {
        let (log, store) = open(&SimulatedFiles::new(1)).await.unwrap();
        Ok((log, store, Machine::default()))
    }
}

#[test]
fn openraft_is_content_with_the_store() {
    run(async { Suite::test_all(Plain).await.unwrap() });
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// A store whose machine stops at every file operation of every call, one after the other, before the call succeeds,
/// and once more after it.
#[derive(Clone)]
struct Crashing {
    files: SimulatedFiles,
    open: Arc<Mutex<Option<(Log, LogStore)>>>,
    cuts: Arc<Mutex<u64>>,
}

/// A call that changes the log.
enum Call {
    Vote(Vote),
    Committed(Option<LogId>),
    Append(Vec<Entry>),
    Truncate(Option<LogId>),
    Purge(LogId),
}

impl Crashing {
    async fn new(seed: u64) -> Self {
        let files = SimulatedFiles::new(seed);
        let opened = open(&files).await.unwrap();
        Self { files, open: Arc::new(Mutex::new(Some(opened))), cuts: Arc::default() }
    }

    fn store(&self) -> LogStore {
        self.open.lock().as_ref().unwrap().1.clone()
    }

    async fn cut(&self) {
        drop(self.open.lock().take());
        self.files.power_cut(Cut::Torn);
        *self.cuts.lock() += 1;
        let opened = open(&self.files).await.unwrap();
        *self.open.lock() = Some(opened);
    }

    /// Repeats `call` until it gets through; what it left before does not disturb it.
    async fn survive(&self, call: Call) {
        for count in 0.. {
            let before = self.store().log().state();
            self.files.crash_after(count);
            let outcome = self.attempt(&call).await;
            let crashed = self.files.has_crashed();
            assert!(crashed || outcome.is_ok());
            let told = self.store().log().state();
            let vote = self.store().log().ballot();
            self.cut().await;
            let found = self.store().log().state();
            match outcome {
                Ok(()) => {
                    assert_eq!((found, self.store().log().ballot()), (told, vote), "after {count} operations");
                    return;
                }
                Err(_) => assert!(found.last >= before.last || matches!(call, Call::Truncate(_) | Call::Append(_))),
            }
        }
    }

    async fn attempt(&self, call: &Call) -> io::Result<()> {
        let mut store = self.store();
        match call {
            Call::Vote(vote) => store.save_vote(vote).await,
            Call::Committed(committed) => {
                store.save_committed(*committed).await?;
                store.log().flushed().await
            }
            Call::Append(entries) => {
                // What an attempt before left is cut off, as a leader would have it.
                let first = entries[0].log_id.index;
                if store.log().position(first).is_some() {
                    let keep = first.checked_sub(1).and_then(|index| store.log().position(index));
                    let purged = store.log().state().purged;
                    store.truncate_after(keep.or(purged).map(crate::raft::types::log_id)).await?;
                }
                let (sender, flushed) = Types::oneshot();
                store.append(entries.clone(), IOFlushed::signal(sender)).await?;
                flushed.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?
            }
            Call::Truncate(last) => store.truncate_after(*last).await,
            Call::Purge(upto) => {
                store.purge(*upto).await?;
                store.log().flushed().await
            }
        }
    }
}

impl RaftLogReader<Types> for Crashing {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.store().try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.store().read_vote().await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.store().limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<Types> for Crashing {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        self.store().get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.survive(Call::Vote(*vote)).await;
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.survive(Call::Committed(committed)).await;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.store().read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect::<Vec<_>>();
        self.survive(Call::Append(entries)).await;
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        self.survive(Call::Truncate(last_log_id)).await;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.survive(Call::Purge(log_id)).await;
        Ok(())
    }
}

struct Crashes {
    seed: u64,
    cuts: Arc<Mutex<u64>>,
}

impl StoreBuilder<Types, Crashing, Machine> for Crashes {
    async fn build(&self) -> Result<((), Crashing, Machine), StorageError<Types>> {
        let mut store = Crashing::new(self.seed).await;
        store.cuts = self.cuts.clone();
        Ok(((), store, Machine::default()))
    }
}

#[test]
fn openraft_is_content_with_a_store_that_crashes_at_every_file_operation() {
    for seed in 0..3 {
        let cuts = Arc::new(Mutex::new(0));
        run(async { Suite::test_all(Crashes { seed, cuts: cuts.clone() }).await.unwrap() });
        assert!(*cuts.lock() > 500, "only {} power cuts", cuts.lock());
    }
}

#[test]
fn what_is_read_for_a_follower_is_bounded() {
    run(async {
        let (_log, mut store) = open(&SimulatedFiles::new(1)).await.unwrap();
        let payload = bytes::Bytes::from(vec![1; 1 << 20]);
        let entries = (1..=6).map(|index| {
            let id = crate::raft::types::log_id(crate::position::Position { term: 1, index, ..Default::default() });
            Entry::new_normal(id, crate::raft::types::Proposal(payload.clone()))
        });
        let (sender, flushed) = Types::oneshot();
        store.append(entries, IOFlushed::signal(sender)).await.unwrap();
        assert_eq!(store.try_get_log_entries(1..=6).await.unwrap().len(), 6, "readable before it is flushed");
        flushed.await.unwrap().unwrap();
        assert_eq!(store.limited_get_log_entries(1, 7).await.unwrap().len(), 4);
        assert_eq!(store.limited_get_log_entries(6, 7).await.unwrap().len(), 1);
    });
}
