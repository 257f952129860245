//! Receiving a snapshot: rows go into the engine beside those in force, and replace them in one step when all are there.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::StreamExt;
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Unframer;
use holdfast_wire::service::Body;
use openraft::storage::Snapshot;
use tokio::time::timeout;

use super::machine::SnapshotData;
use super::message::SnapshotHead;
use super::types::{self, Members, Types};
use crate::node::Host;
use crate::position::Ballot;

/// A sender that is silent for so long is given up.
const PROGRESS: Duration = Duration::from_secs(5);
/// The longest chunk of rows.
const CHUNK_MAX: usize = 64 << 20;

/// Receives a snapshot and installs it. Answers with the highest vote known here.
pub async fn receive(host: &Host, head: SnapshotHead, payload: Body) -> Result<Ballot, CallError> {
    let unavailable = |error: &dyn std::fmt::Display| CallError::Unavailable { reason: error.to_string() };
    let group = host.group(head.group)?;
    let members = Members::decode(&head.members).map_err(|error| unavailable(&error))?;
    tracing::info!(group = %head.group, upto = head.applied.index, "receiving a snapshot");
    let mut installer = group.index().install();
    let mut bytes = Unframer::new(payload.stream);
    let mut buffer = BytesMut::new();
    loop {
        match timeout(PROGRESS, bytes.next()).await {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk?),
            Ok(None) => break,
            Err(_) => return Err(CallError::Aborted),
        }
        while buffer.len() >= 4 {
            let len = u32::from_le_bytes(buffer[..4].try_into().expect("4 bytes")) as usize;
            if len > CHUNK_MAX {
                return Err(CallError::Malformed { reason: "a chunk of rows of impossible length".to_owned() });
            }
            if buffer.len() < 4 + len {
                break;
            }
            buffer.advance(4);
            let chunk = buffer.split_to(len).freeze();
            installer.push(chunk).map_err(|error| unavailable(&error))?;
        }
    }
    if !buffer.is_empty() {
        return Err(CallError::Malformed { reason: "the snapshot ends within a chunk".to_owned() });
    }
    let snapshot = Snapshot {
        meta: openraft::alias::SnapshotMetaOf::<Types> {
            last_log_id: Some(types::log_id(head.applied)),
            last_membership: types::stored_membership(&members).map_err(|error| unavailable(&error))?,
        },
        snapshot: SnapshotData::Received(Box::new(installer)),
    };
    let installed = group.raft().install_full_snapshot(types::vote(head.ballot), snapshot).await;
    let answer = installed.map_err(|error| unavailable(&error))?;
    tracing::info!(group = %head.group, upto = head.applied.index, "a snapshot is installed");
    Ok(types::ballot(&answer.vote))
}
