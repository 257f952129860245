//! A data directory made of a backup: the first node of a new cluster, which holds everything. The next nodes join it as
//! they join any cluster.
//!
//! Each group goes on at the log index at which it was cut: indexes, and with them version numbers and the numbers of
//! inline bodies, never repeat. The cluster and the node get ids that were never in use, so that nothing of the old
//! cluster takes this one for its own. The directory's stamp is written last: a restore that was broken off leaves a
//! directory that no node starts on.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_wire::heartbeat::NodeInfo;
use holdfast_wire::id::{BlobId, ClusterId, GroupId, NodeId};
use holdfast_wire::seam::Seams;

use super::{Identity, IdentityError, NodeConfig, log_salt};
use crate::blob::{BlobError, BlobStore, BlobWriter};
use crate::file::Files;
use crate::index::engine::Engine;
use crate::index::transplant::Transplant;
use crate::index::{Index, IndexError, Root};
use crate::log::{Log, LogError, LogOptions};
use crate::position::Ballot;
use crate::raft::types::Members;

/// Blobs looked at in one go.
const PAGE: usize = 1000;

/// Why a backup does not become a data directory.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory is somebody's.
    #[error("data directory {0}: it is stamped already; restore into an empty directory")]
    Taken(std::path::PathBuf),
    /// The directory.
    #[error("data directory {path}: {source}")]
    Data {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The stamp.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Writing to the log.
    #[error("the log: {0}")]
    Write(std::io::Error),
    /// The rows.
    #[error("group {group}: {source}")]
    Rows {
        /// Whose.
        group: GroupId,
        /// What is wrong.
        source: IndexError,
    },
    /// A blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Root comes first.
    #[error("the backup does not begin with the root group, or has rows outside of a group")]
    NoRoot,
    /// A blob that the rows name did not come.
    #[error("group {group}: blob {blob} of {len} bytes is missing")]
    Missing {
        /// The group.
        group: GroupId,
        /// The blob.
        blob: BlobId,
        /// Its bytes.
        len: u64,
    },
}

/// A restore under way.
pub struct Restore {
    config: NodeConfig,
    files: Arc<dyn Files>,
    engine: Arc<dyn Engine>,
    log: Log,
    blobs: BlobStore,
    cluster: ClusterId,
    node: Option<NodeId>,
    groups: Vec<GroupId>,
    current: Option<(GroupId, Transplant)>,
}

impl Restore {
    /// Into the directory that `config` names, as the node that it names.
    pub async fn begin(
        config: NodeConfig,
        seams: &Seams,
        files: Arc<dyn Files>,
        engine: Arc<dyn Engine>,
    ) -> Result<Self, RestoreError> {
        let data_error = |source| RestoreError::Data { path: config.data.clone(), source };
        files.create_dir_all(&config.data).map_err(data_error)?;
        if Identity::load(&*files, &config.data, &config.name)?.is_some() {
            return Err(RestoreError::Taken(config.data.clone()));
        }
        let salt = log_salt(&*files, &config, seams).map_err(data_error)?;
        let log = Log::open(files.clone(), config.data.join("log"), LogOptions { salt, ..config.log }).await?;
        if !log.groups().is_empty() {
            return Err(RestoreError::Taken(config.data.clone()));
        }
        let blobs = BlobStore::open(files.clone(), config.data.join("blobs"), seams.clock.clone()).await?;
        let cluster = ClusterId(seams.random.next_u128());
        Ok(Self { config, files, engine, log, blobs, cluster, node: None, groups: Vec::new(), current: None })
    }

    /// Begins a group; root comes first. Its rows follow, chunk by chunk, until [`end_group`](Self::end_group).
    pub fn begin_group(&mut self, group: GroupId) -> Result<(), RestoreError> {
        if (group == GroupId::ROOT) != self.node.is_none() {
            return Err(RestoreError::NoRoot);
        }
        let index = Index::open(self.engine.clone(), group).map_err(|source| RestoreError::Rows { group, source })?;
        self.current = Some((group, Transplant::new(&index)));
        Ok(())
    }

    /// Takes a chunk of the group's rows.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), RestoreError> {
        let Some((group, transplant)) = &mut self.current else { return Err(RestoreError::NoRoot) };
        let (config, cluster, node) = (&self.config, self.cluster, &mut self.node);
        let mut change = |root: &mut Root| *node = Some(settle(root, config, cluster));
        transplant.push(chunk, &mut change).map_err(|source| RestoreError::Rows { group: *group, source })
    }

    /// Puts the group in force, on disk when this returns.
    pub async fn end_group(&mut self) -> Result<(), RestoreError> {
        let Some((group, transplant)) = self.current.take() else { return Err(RestoreError::NoRoot) };
        let node = self.node.ok_or(RestoreError::NoRoot)?;
        let members = |position| {
            let only = BTreeSet::from([node]);
            Members { position: Some(position), voters: vec![only.clone()], nodes: only }.encode()
        };
        let position = transplant.finish(members).map_err(|source| RestoreError::Rows { group, source })?;
        let log = self.log.group(group);
        log.purge(position);
        // The id is the highest of all: its vote is behind whatever the old members voted for in that term.
        let ballot = Ballot { term: position.term, node, committed: false };
        log.save_ballot(ballot).await.map_err(RestoreError::Write)?;
        self.groups.push(group);
        Ok(())
    }

    /// Begins a blob; its bytes were verified by whoever read them. It is kept once it is finished.
    pub async fn create_blob(&self, group: GroupId, blob: BlobId, created_ms: u64) -> Result<BlobWriter, RestoreError> {
        Ok(self.blobs.create_copy(group, blob, created_ms).await?)
    }

    /// Checks that every blob that the rows name is here with its length, and stamps the directory: from now on a node
    /// can be started on it. How many blobs were checked.
    pub async fn finish(self) -> Result<u64, RestoreError> {
        let node = self.node.ok_or(RestoreError::NoRoot)?;
        let mut checked = 0;
        for &group in &self.groups {
            let rows = |source| RestoreError::Rows { group, source };
            let index = Index::open(self.engine.clone(), group).map_err(rows)?;
            let mut after = None;
            loop {
                let page = index.blobs(after, PAGE).map_err(rows)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                for (blob, len) in page {
                    let held = self.blobs.open_blob(group, blob).await?.map(|reader| reader.len());
                    if held != Some(len) {
                        return Err(RestoreError::Missing { group, blob, len });
                    }
                    checked += 1;
                }
            }
        }
        self.log.close().await;
        let identity = Identity { cluster: self.cluster, node, name: self.config.name.clone(), founding: None };
        identity.save(&*self.files, &self.config.data)?;
        Ok(checked)
    }
}

/// Makes root's state the new cluster's: this node alone, which holds every group.
fn settle(root: &mut Root, config: &NodeConfig, cluster: ClusterId) -> NodeId {
    let id = root.next_node;
    root.next_node = NodeId(id.0 + 1);
    root.cluster = Some(cluster);
    root.replicas = config.replicas;
    root.layout.copies = config.replicas;
    root.layout.nodes = vec![NodeInfo {
        id,
        name: config.name.clone(),
        address: config.address.clone(),
        version: config.version.clone(),
    }];
    root.layout.map.epoch.0 += 1;
    for place in &mut root.layout.map.groups {
        place.voters = vec![id];
        place.epoch.0 += 1;
    }
    id
}
