//! The cluster as its heartbeats tell it: an immutable value, and the pure step from one heartbeat to the next view.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::heartbeat::{ClusterView, GroupStatus, Heartbeat, Layout, Load, Role};
use holdfast_wire::id::{ClusterId, GroupId, NodeId};
use tokio::time::Instant;

use super::link::Link;
use crate::balance::{self, Candidate, Tier};

/// A node that was not heard for so long is suspected to be gone.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(1);

/// Who leads a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The node.
    pub node: NodeId,
    /// In which term.
    pub term: u64,
}

/// Where a heartbeat came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The replica in this process.
    Local,
    /// The address that was listened to.
    Address(Arc<str>),
}

/// A node's newest heartbeat.
#[derive(Clone)]
pub struct Heard {
    /// What it said; its groups are ascending by id.
    pub heartbeat: Arc<Heartbeat>,
    /// When.
    pub at: Instant,
    /// Whether the stream that brought it has ended since.
    pub lost: bool,
    source: Source,
}

/// A node.
#[derive(Clone)]
pub struct Node {
    /// How to call it.
    pub link: Arc<Link>,
    /// What it said last, if anything yet.
    pub heard: Option<Heard>,
    /// Whether heartbeats over the link's own address have ended.
    link_lost: bool,
}

impl Node {
    /// Whether it was heard within [`SUSPECT_AFTER`].
    pub fn alive(&self, now: Instant) -> bool {
        self.heard.as_ref().is_some_and(|heard| !heard.lost && now.duration_since(heard.at) <= SUSPECT_AFTER)
    }

    /// Its word about a group.
    pub fn status(&self, group: GroupId) -> Option<&GroupStatus> {
        let groups = &self.heard.as_ref()?.heartbeat.groups;
        groups.binary_search_by_key(&group, |status| status.group).ok().map(|at| &groups[at])
    }
}

/// The cluster as this process sees it.
#[derive(Clone, Default)]
pub struct View {
    cluster: Option<ClusterId>,
    layout: Arc<Layout>,
    nodes: BTreeMap<NodeId, Node>,
    leaders: BTreeMap<GroupId, Leader>,
}

/// A heartbeat that is none of this cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// The node has no cluster or no id yet.
    #[error("a node without an identity")]
    Nobody,
    /// It belongs to another cluster.
    #[error("a node of another cluster ({0})")]
    OtherCluster(ClusterId),
}

impl View {
    /// The cluster, once it is known.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The newest layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A node.
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(&node)
    }

    /// Every node that is in the layout or was heard lately.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// How to call a node.
    pub fn link(&self, node: NodeId) -> Option<&Arc<Link>> {
        Some(&self.nodes.get(&node)?.link)
    }

    /// Who leads a group, by the highest term that anybody has claimed.
    pub fn leader(&self, group: GroupId) -> Option<Leader> {
        self.leaders.get(&group).copied()
    }

    /// The replicas of a group that could serve a read, without those in `except`.
    pub fn candidates(&self, group: GroupId, except: &[NodeId], now: Instant, into: &mut Vec<Candidate>) {
        into.clear();
        let Some(place) = self.layout.map.group(group) else { return };
        let voters = || place.voters.iter().filter_map(|voter| self.nodes.get(voter));
        let committed = voters().filter_map(|node| node.status(group)).map(|status| status.committed).max();
        for node in voters().filter(|node| !except.contains(&node.link.node)) {
            let keeps_up = node.status(group).is_some_and(|status| {
                status.role != Role::Learner && status.applied + balance::LAG_MAX >= committed.unwrap_or(0)
            });
            let ready = node.heard.as_ref().is_some_and(|heard| heard.heartbeat.not_ready.is_none());
            let tier = match (node.alive(now), keeps_up && ready) {
                (true, true) => Tier::Serving,
                (true, false) => Tier::Doubtful,
                (false, _) => Tier::Suspected,
            };
            let load = node.heard.as_ref().map_or(Load::default(), |heard| heard.heartbeat.load);
            into.push(Candidate {
                node: node.link.node,
                tier,
                local: node.link.local,
                score: balance::score(node.link.open(), &load),
            });
        }
    }

    /// For operators: `None` before the first heartbeat.
    pub fn report(&self, now: Instant) -> Option<ClusterView> {
        let age = |heard: &Heard| now.duration_since(heard.at).as_millis() as u64;
        let heard = self.nodes.values().filter_map(|node| node.heard.as_ref());
        Some(ClusterView {
            cluster: self.cluster?,
            layout: Layout::clone(&self.layout),
            heartbeats: heard.map(|heard| ((*heard.heartbeat).clone(), age(heard))).collect(),
        })
    }

    /// The view after a heartbeat, and whether anything that a waiting request could wait for has changed: leaders,
    /// layout, or who can be reached. `link` makes a link to a node at an address; links are kept while they fit.
    ///
    /// # Errors
    /// The heartbeat is none of this cluster's; the view stays as it is.
    pub fn after(
        &self,
        mut heartbeat: Heartbeat,
        source: Source,
        now: Instant,
        link: &mut dyn FnMut(ClusterId, NodeId, &Source) -> Arc<Link>,
    ) -> Result<(View, bool), NotOurs> {
        if heartbeat.cluster == ClusterId::default() || heartbeat.node.id == NodeId::default() {
            return Err(NotOurs::Nobody);
        }
        if self.cluster.is_some_and(|known| known != heartbeat.cluster) {
            return Err(NotOurs::OtherCluster(heartbeat.cluster));
        }
        let (cluster, id) = (heartbeat.cluster, heartbeat.node.id);
        let mut next = self.clone();
        next.cluster = Some(cluster);
        heartbeat.groups.sort_unstable_by_key(|status| status.group);

        let newer = heartbeat.layout.version > self.layout.version || self.cluster.is_none();
        if newer {
            next.layout = Arc::new(heartbeat.layout.clone());
        }
        let before = self.nodes.get(&id);
        let was_known = before.is_some_and(|node| node.alive(now));
        let was_ready = before.and_then(|node| node.heard.as_ref()).map(|heard| heard.heartbeat.not_ready.is_none());
        let is_ready = heartbeat.not_ready.is_none();
        let fits = |link: &Link| match &source {
            Source::Local => link.local,
            // The replica of this process may also be heard over its own socket.
            Source::Address(address) => link.local || *link.address == **address,
        };
        let own = match before {
            Some(node) if fits(&node.link) => node.link.clone(),
            // Heard over two addresses: the first is kept while it works.
            Some(node) if was_known && !node.link_lost && source != Source::Local => node.link.clone(),
            _ => link(cluster, id, &source),
        };
        let link_lost = before.is_some_and(|node| node.link_lost && !fits(&own));
        let heard = Heard { heartbeat: Arc::new(heartbeat), at: now, lost: false, source };
        next.nodes.insert(id, Node { link: own, heard: Some(heard), link_lost });
        if newer {
            for info in next.layout.clone().nodes.iter().filter(|info| info.id != NodeId::default()) {
                let known = next.nodes.get(&info.id);
                if known.is_none_or(|node| node.heard.is_none() && node.link.address != info.address) {
                    let at = Source::Address(info.address.as_str().into());
                    let link = link(cluster, info.id, &at);
                    next.nodes.insert(info.id, Node { link, heard: None, link_lost: false });
                }
            }
        }
        let layout = next.layout.clone();
        next.nodes.retain(|id, node| node.alive(now) || layout.nodes.iter().any(|info| info.id == *id));
        next.leaders = leaders(next.nodes.values());
        let material = newer || !was_known || was_ready != Some(is_ready) || next.leaders != self.leaders;
        Ok((next, material))
    }

    /// The view after a stream of heartbeats has ended.
    pub fn after_silence(&self, source: &Source) -> View {
        let mut next = self.clone();
        for node in next.nodes.values_mut() {
            node.link_lost |= match source {
                Source::Local => node.link.local,
                Source::Address(address) => !node.link.local && *node.link.address == **address,
            };
            if let Some(heard) = node.heard.as_mut().filter(|heard| heard.source == *source) {
                heard.lost = true;
            }
        }
        next
    }
}

/// Per group the claim of the highest term; a node that says so of itself before what others say of it.
fn leaders<'a>(nodes: impl Iterator<Item = &'a Node>) -> BTreeMap<GroupId, Leader> {
    let mut best: BTreeMap<GroupId, (u64, bool, NodeId)> = BTreeMap::new();
    for node in nodes {
        let Some(heard) = &node.heard else { continue };
        for status in &heard.heartbeat.groups {
            let own = status.role == Role::Leader;
            let Some(leader) = (if own { Some(node.link.node) } else { status.leader }) else { continue };
            let claim = (status.term, own, leader);
            best.entry(status.group).and_modify(|known| *known = (*known).max(claim)).or_insert(claim);
        }
    }
    best.into_iter().map(|(group, (term, _, node))| (group, Leader { node, term })).collect()
}
