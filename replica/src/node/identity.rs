//! Who this node is, stamped on its data directory: `identity`, a version byte, a postcard record and its xxh3.
//!
//! An empty directory is nobody: under a known name it joins as a new node and replaces the old one. The id that Raft
//! knows a member by is never given to a directory that has lost what that member had promised.

use std::path::{Path, PathBuf};

use holdfast_wire::handshake;
use holdfast_wire::heartbeat::Layout;
use holdfast_wire::id::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::file::{self, Files};

const VERSION: u8 = 1;

/// A data directory's stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// How the cluster was founded, on nodes that were there.
    pub founding: Option<Founding>,
}

/// The first layout of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// First nodes and map.
    pub layout: Layout,
    /// Voters that a group should have.
    pub replicas: u8,
    /// Every founding node has been stamped: groups may be initialized.
    pub begun: bool,
}

/// Why a stamp cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is damaged or of another version.
    #[error("{0}: damaged, or written by another version; to replace this node, empty its data directory and start it")]
    Unreadable(PathBuf),
    /// The directory belongs to a node of another name.
    #[error("the data directory belongs to node {found:?}, not {wanted:?}")]
    OtherName {
        /// Whose it is.
        found: String,
        /// Who was to start.
        wanted: String,
    },
}

impl Identity {
    fn path(data: &Path) -> PathBuf {
        data.join("identity")
    }

    /// The stamp of `data`, if it has one.
    pub fn load(files: &dyn Files, data: &Path, name: &str) -> Result<Option<Self>, IdentityError> {
        let path = Self::path(data);
        let bytes = file::read(files, &path).map_err(|source| IdentityError::Io { path: path.clone(), source })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let identity = Self::decode(&bytes).ok_or(IdentityError::Unreadable(path))?;
        if identity.name != name {
            return Err(IdentityError::OtherName { found: identity.name, wanted: name.to_owned() });
        }
        Ok(Some(identity))
    }

    /// Stamps `data`, durably.
    pub fn save(&self, files: &dyn Files, data: &Path) -> Result<(), IdentityError> {
        let path = Self::path(data);
        file::replace(files, &path, &self.encode()).map_err(|source| IdentityError::Io { path, source })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = postcard::to_extend(self, vec![VERSION]).expect("an identity is always encodable");
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (record, sum) = bytes.split_last_chunk::<8>()?;
        if xxh3_64(record).to_le_bytes() != *sum {
            return None;
        }
        match record.split_first()? {
            (&VERSION, record) => postcard::from_bytes(record).ok(),
            _ => None,
        }
    }

    /// What the handshake says of it.
    pub fn handshake(&self) -> handshake::Identity {
        handshake::Identity { cluster: Some(self.cluster), node: Some(self.node) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_stamp_is_not_taken_for_another_one() {
        let identity = Identity { cluster: ClusterId(7), node: NodeId(3), name: "n3".to_owned(), founding: None };
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Some(identity));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(Identity::decode(&damaged), None, "byte {at}");
            assert_eq!(Identity::decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
