//! openraft's state machine over our [`Index`].

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::EntryPayload;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use tokio::sync::watch;

use super::standing::Standing;
use super::types::{self, LogId, Members, StoredMembership, Types};
use crate::index::{Applied, Effects, Entry, Index, IndexError, IndexSnapshot, Installer};

/// What a snapshot is made of: a frozen view to send, or rows received and not yet in force.
pub enum SnapshotData {
    /// Of this node's own index.
    Frozen(IndexSnapshot),
    /// From the leader; rows are in the engine beside the ones in force.
    Received(Box<Installer>),
}

/// Told what an applied entry changed outside the index.
pub type OnEffects = Arc<dyn Fn(Effects) + Send + Sync>;

/// One group's state machine.
pub struct Machine {
    index: Index,
    applied: watch::Sender<u64>,
    standing: Arc<Standing>,
    on_effects: OnEffects,
}

impl Machine {
    /// The machine over `index`; `applied` follows its applied log index, and `standing` knows of it before.
    pub fn new(index: Index, applied: watch::Sender<u64>, standing: Arc<Standing>, on_effects: OnEffects) -> Self {
        Self { index, applied, standing, on_effects }
    }

    fn publish(&self) {
        let index = self.index.applied().position.map_or(0, |position| position.index);
        self.applied.send_replace(index);
    }
}

fn io_error(error: IndexError) -> io::Error {
    io::Error::other(error)
}

fn meta(applied: &Applied) -> io::Result<SnapshotMetaOf<Types>> {
    let members = Members::decode(&applied.membership)?;
    Ok(SnapshotMetaOf::<Types> {
        last_log_id: applied.position.map(types::log_id),
        last_membership: types::stored_membership(&members)?,
    })
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.publish();
        let meta = meta(&self.index.applied())?;
        Ok((meta.last_log_id, meta.last_membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let position = types::position(&entry.log_id);
            let what = match &entry.payload {
                EntryPayload::Blank => Entry::Blank,
                EntryPayload::Normal(proposal) => Entry::Command(&proposal.0),
                EntryPayload::Membership(membership) => {
                    Entry::Membership(types::members(Some(position), membership).encode())
                }
            };
            self.standing.show(position.index);
            let (outcome, effects) = self.index.apply(position, what).map_err(io_error)?;
            // Before it counts as applied: who sees the index must see what is missing for it.
            if !effects.is_empty() {
                (self.on_effects)(effects);
            }
            self.applied.send_replace(position.index);
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { index: self.index.clone(), frozen: Some(self.index.snapshot()) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, snapshot: SnapshotData) -> io::Result<()> {
        if let SnapshotData::Received(installer) = snapshot {
            let applied = installer.finish().map_err(io_error)?;
            if applied.position.map(types::log_id) != meta.last_log_id {
                return Err(io::Error::other("the snapshot is not the one that was announced"));
            }
            (self.on_effects)(Effects::everything());
            self.publish();
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, SnapshotData>>> {
        let frozen = self.index.snapshot();
        let meta = meta(frozen.applied())?;
        if meta.last_log_id.is_none() {
            return Ok(None);
        }
        Ok(Some(Snapshot { meta, snapshot: SnapshotData::Frozen(frozen) }))
    }
}

/// Makes a snapshot of a view that was frozen when the builder was made.
pub struct Builder {
    index: Index,
    frozen: Option<IndexSnapshot>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, SnapshotData>> {
        let frozen = self.frozen.take().unwrap_or_else(|| self.index.snapshot());
        // The log may be purged up to a snapshot: what is in it must survive a power cut first.
        self.index.persist().map_err(io_error)?;
        let meta = meta(frozen.applied())?;
        Ok(Snapshot { meta, snapshot: SnapshotData::Frozen(frozen) })
    }
}
