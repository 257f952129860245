//! How a fresh node gets its identity: it founds a cluster with its equally fresh peers, or joins one that exists.
//!
//! ```text
//! everybody fresh  the first by name draws ids and map ── /found ──▶ the others stamp their directories
//!                  when all have: ── /begin ──▶ groups are initialized, each by its first leader or, when that does not come, the next
//! somebody begun   Join through root: a new id, never the one that this name had before
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::error::CallError;
use holdfast_wire::heartbeat::{Layout, NodeInfo};
use holdfast_wire::id::{ClusterId, Epoch, GroupId, NodeId, RequestId};
use holdfast_wire::placement::{GroupPlace, HashRange, ShardMap};
use holdfast_wire::request::{Request, Response, RootRequest};
use holdfast_wire::seam::Random;
use holdfast_wire::service::{Body, Service};
use holdfast_wire::transport::{Client, Remote, Target, decode, encode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::NodeConfig;
use super::identity::{Founding, Identity, IdentityError};
use crate::file::Files;

/// The path of a [`Hello`].
pub const HELLO: &str = "/hello";
/// The path of the founder's offer, an [`Identity`] for the receiver.
pub const FOUND: &str = "/found";
/// The path of the founder's word that everybody is stamped.
pub const BEGIN: &str = "/begin";

const ASK_WITHIN: Duration = Duration::from_secs(2);

/// What a node says of itself before there is a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its name.
    pub name: String,
    /// Its cluster, if its directory is stamped.
    pub cluster: Option<ClusterId>,
    /// Whether that cluster has begun.
    pub begun: bool,
}

/// The identity that a node has or is about to get, and the only way to change it: on disk first.
pub struct Stamp {
    files: Arc<dyn Files>,
    data: std::path::PathBuf,
    name: String,
    current: Mutex<Option<Identity>>,
}

impl Stamp {
    /// The stamp of a data directory.
    pub fn load(files: Arc<dyn Files>, config: &NodeConfig) -> Result<Self, IdentityError> {
        let current = Identity::load(&*files, &config.data, &config.name)?;
        Ok(Self { files, data: config.data.clone(), name: config.name.clone(), current: Mutex::new(current) })
    }

    /// The identity, if there is one.
    pub fn identity(&self) -> Option<Identity> {
        self.current.lock().clone()
    }

    fn set(&self, identity: Identity) -> Result<(), IdentityError> {
        let mut current = self.current.lock();
        identity.save(&*self.files, &self.data)?;
        *current = Some(identity);
        Ok(())
    }

    /// What is on disk is overwritten by the next identity, not before.
    fn forget(&self) {
        *self.current.lock() = None;
    }

    /// Answers [`HELLO`].
    pub fn hello(&self) -> Hello {
        let identity = self.identity();
        let begun = identity.as_ref().is_some_and(|it| it.founding.as_ref().is_none_or(|founding| founding.begun));
        Hello { name: self.name.clone(), cluster: identity.map(|identity| identity.cluster), begun }
    }

    /// Answers [`FOUND`]: takes the identity if there is none yet. Repeating it does no harm.
    pub fn found(&self, offered: Identity) -> Result<(), CallError> {
        let malformed = |reason: &str| CallError::Malformed { reason: reason.to_owned() };
        match self.identity() {
            Some(own) if own.cluster == offered.cluster && own.node == offered.node => Ok(()),
            Some(_) => Err(malformed("this node belongs to a cluster already")),
            None if offered.name != self.name => Err(malformed("another name is expected here")),
            None => self.set(offered).map_err(|error| CallError::Unavailable { reason: error.to_string() }),
        }
    }

    /// Answers [`BEGIN`].
    pub fn begin(&self) -> Result<(), CallError> {
        let Some(mut identity) = self.identity() else {
            return Err(CallError::Malformed { reason: "this node has no identity yet".to_owned() });
        };
        match &mut identity.founding {
            Some(founding) if !founding.begun => {
                founding.begun = true;
                self.set(identity).map_err(|error| CallError::Unavailable { reason: error.to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// Whether the cluster has removed this node: then a directory that holds nothing may join again, under a new id.
async fn dismissed(config: &NodeConfig, client: &Client, identity: &Identity) -> bool {
    for (_, address) in config.peers.iter().filter(|(name, _)| *name != config.name) {
        let target = Target { address: address.clone(), cluster: Some(identity.cluster), node: None };
        let remote = Remote::new(client.clone(), target);
        let asked = tokio::time::timeout(ASK_WITHIN, remote.call(Request::View, Body::empty())).await;
        if let Ok(Ok((Response::View(view), _))) = asked {
            let Layout { version, nodes, .. } = &view.layout;
            return *version > 0 && nodes.iter().all(|known| known.id != identity.node);
        }
    }
    false
}

/// Waits until this node has an identity in a cluster that has begun. Names that do not resolve, nodes that do not
/// answer and any order of starts are waited out.
pub async fn settle(
    stamp: &Stamp,
    config: &NodeConfig,
    client: &Client,
    random: &dyn Random,
    holds_nothing: bool,
) -> Result<Identity, IdentityError> {
    if holds_nothing
        && let Some(identity) = stamp.identity()
        && identity.founding.is_none()
        && dismissed(config, client, &identity).await
    {
        tracing::info!(node = %identity.node, "this node was removed from the cluster and holds nothing: it joins anew");
        stamp.forget();
    }
    let mut pause = Duration::from_millis(10);
    let request = RequestId(random.next_u128());
    loop {
        match stamp.identity() {
            Some(identity) => match &identity.founding {
                Some(founding) if !founding.begun => {
                    finish_founding(stamp, config, client, &identity, founding).await?
                }
                _ => return Ok(identity),
            },
            None => start_founding_or_join(stamp, config, client, random, request).await?,
        }
        if let Some(identity) = stamp.identity()
            && identity.founding.as_ref().is_none_or(|founding| founding.begun)
        {
            return Ok(identity);
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(500));
    }
}

async fn ask_hello(client: &Client, address: &str) -> Option<Hello> {
    let target = Target { address: address.to_owned(), cluster: None, node: None };
    match client.exchange(&target, HELLO, Bytes::new(), Body::empty(), ASK_WITHIN).await {
        Ok((head, _)) => decode(&head).ok(),
        Err(error) => {
            tracing::debug!(address, %error, "a peer does not answer yet");
            None
        }
    }
}

async fn start_founding_or_join(
    stamp: &Stamp,
    config: &NodeConfig,
    client: &Client,
    random: &dyn Random,
    request: RequestId,
) -> Result<(), IdentityError> {
    let others: Vec<_> = config.peers.iter().filter(|(name, _)| *name != config.name).collect();
    let hellos = futures::future::join_all(others.iter().map(|(_, address)| ask_hello(client, address))).await;
    if let Some(at) = hellos.iter().position(|hello| hello.as_ref().is_some_and(|hello| hello.begun)) {
        return join(stamp, config, client, &others[at].1, request).await;
    }
    let everybody_fresh = hellos.iter().all(|hello| hello.as_ref().is_some_and(|hello| hello.cluster.is_none()));
    let first = config.peers.iter().map(|(name, _)| name).min();
    if everybody_fresh && first.is_none_or(|first| *first == config.name) {
        let identity = draw(config, ClusterId(random.next_u128()));
        tracing::info!(cluster = %identity.cluster, nodes = config.peers.len().max(1), "founding a cluster");
        stamp.set(identity)?;
    }
    Ok(())
}

/// The founder's identity with the first layout.
pub(super) fn draw(config: &NodeConfig, cluster: ClusterId) -> Identity {
    let mut peers = config.peers.clone();
    if peers.is_empty() {
        peers.push((config.name.clone(), config.address.clone()));
    }
    peers.sort();
    let nodes: Vec<NodeInfo> = (1..)
        .zip(&peers)
        .map(|(id, (name, address))| NodeInfo {
            id: NodeId(id),
            name: name.clone(),
            address: address.clone(),
            version: config.version.clone(),
        })
        .collect();
    let replicas = usize::from(config.replicas).min(nodes.len());
    let voters_of = |group: u32| -> Vec<NodeId> {
        let mut voters: Vec<NodeId> = (0..replicas).map(|i| nodes[(group as usize + i) % nodes.len()].id).collect();
        voters.sort();
        voters
    };
    let root = GroupPlace { group: GroupId::ROOT, range: None, epoch: Epoch(1), voters: voters_of(0) };
    let shards = (1..).zip(HashRange::tile(config.shards)).map(|(group, range)| GroupPlace {
        group: GroupId(group),
        range: Some(range),
        epoch: Epoch(1),
        voters: voters_of(group),
    });
    let groups = std::iter::once(root).chain(shards).collect();
    let own = nodes.iter().find(|node| node.name == config.name).map_or(NodeId(1), |node| node.id);
    let map = ShardMap { epoch: Epoch(1), groups };
    let layout = Layout { version: 0, draining: Vec::new(), nodes, map, copies: config.replicas };
    Identity {
        cluster,
        node: own,
        name: config.name.clone(),
        founding: Some(Founding { layout, replicas: config.replicas, begun: false }),
    }
}

/// The founder stamps everybody and then lets everybody begin; the others ask whether it has.
async fn finish_founding(
    stamp: &Stamp,
    config: &NodeConfig,
    client: &Client,
    identity: &Identity,
    founding: &Founding,
) -> Result<(), IdentityError> {
    let others: Vec<&NodeInfo> = founding.layout.nodes.iter().filter(|node| node.id != identity.node).collect();
    let is_founder = founding.layout.nodes.iter().map(|node| &node.name).min() == Some(&config.name);
    if !is_founder {
        for node in others {
            let hello = ask_hello(client, &node.address).await;
            if hello.is_some_and(|hello| hello.begun && hello.cluster == Some(identity.cluster)) {
                return stamp.begin().map_err(|_| IdentityError::Unreadable(config.data.clone()));
            }
        }
        return Ok(());
    }
    let offers = others.iter().map(|node| {
        let offer = Identity { node: node.id, name: node.name.clone(), ..identity.clone() };
        let target = Target { address: node.address.clone(), cluster: None, node: None };
        async move { client.exchange(&target, FOUND, encode(&offer), Body::empty(), ASK_WITHIN).await }
    });
    for (node, answer) in others.iter().zip(futures::future::join_all(offers).await) {
        if let Err(error) = answer {
            tracing::info!(node = node.name, %error, "a founding node is not there yet");
            return Ok(());
        }
    }
    stamp.begin().map_err(|_| IdentityError::Unreadable(config.data.clone()))?;
    // Those that do not hear this ask.
    let begins = others.iter().map(|node| {
        let target = Target { address: node.address.clone(), cluster: Some(identity.cluster), node: Some(node.id) };
        async move { client.exchange(&target, BEGIN, Bytes::new(), Body::empty(), ASK_WITHIN).await }
    });
    futures::future::join_all(begins).await;
    Ok(())
}

/// Asks root for an identity, through any member and by way of its hints.
async fn join(
    stamp: &Stamp,
    config: &NodeConfig,
    client: &Client,
    through: &str,
    request: RequestId,
) -> Result<(), IdentityError> {
    let node = NodeInfo {
        id: NodeId(0),
        name: config.name.clone(),
        address: config.address.clone(),
        version: config.version.clone(),
    };
    let ask = |address: String, target_node: Option<NodeId>| {
        let remote = Remote::new(client.clone(), Target { address, cluster: None, node: target_node });
        let join = RootRequest::Join { request, node: node.clone() };
        async move { remote.call(Request::Root(join), Body::empty()).await }
    };
    let mut answer = ask(through.to_owned(), None).await;
    if let Err(CallError::NotLeader { leader: Some(leader) }) = &answer {
        let remote = Remote::new(client.clone(), Target { address: through.to_owned(), cluster: None, node: None });
        if let Ok((Response::View(view), _)) = remote.call(Request::View, Body::empty()).await
            && let Some(node) = view.layout.nodes.iter().find(|node| node.id == *leader)
        {
            answer = ask(node.address.clone(), Some(*leader)).await;
        }
    }
    match answer {
        Ok((Response::Joined { cluster, node }, _)) => {
            tracing::info!(%cluster, %node, name = config.name, "joined the cluster as a new node");
            stamp.set(Identity { cluster, node, name: config.name.clone(), founding: None })
        }
        Ok((other, _)) => {
            tracing::warn!(?other, "the cluster refuses this node");
            Ok(())
        }
        Err(error) => {
            tracing::info!(through, %error, "joining is not possible yet");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_layout_spreads_voters_and_leaders() {
        let peers = ["n3", "n1", "n2", "n4"].map(|name| (name.to_owned(), format!("{name}:9003")));
        let config = NodeConfig { name: "n1".to_owned(), peers: peers.to_vec(), shards: 8, ..NodeConfig::default() };
        let identity = draw(&config, ClusterId(1));
        assert_eq!(identity.node, NodeId(1));
        let layout = identity.founding.unwrap().layout;
        assert_eq!(layout.nodes.len(), 4);
        assert!(layout.map.groups.iter().all(|place| place.voters.len() == 3));
        for node in &layout.nodes {
            let leads = layout.map.groups.iter().filter(|place| place.preferred_leader() == Some(node.id)).count();
            assert!(leads >= 1, "node {} leads nothing", node.id);
        }
    }
}
