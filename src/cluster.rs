//! The cluster as an operator handles it, from any process of it: look, move a leader, remove a node.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_wire::backup::BackupRequest;
use holdfast_wire::bucket::ReadMode;
use holdfast_wire::error::CallError;
use holdfast_wire::fault::{FAULT, FaultAnswer, FaultOrder, FaultState};
use holdfast_wire::heartbeat::{ClusterView, Heartbeat, NodeInfo};
use holdfast_wire::id::{BlobId, GroupId, NodeId, RequestId};
use holdfast_wire::request::{
    Freshness, Read, ReadRequest, Refusal, Request, Response, RootRefusal, RootRequest, Write, WriteOutcome,
    WriteRequest,
};
use holdfast_wire::scrub::{SCRUB, ScrubOrder, ScrubState};
use holdfast_wire::seam::Random;
use holdfast_wire::service::{Body, Service};
use holdfast_wire::transport::{Client, Remote, Target, decode, encode};

use crate::admin::fault::{FaultKind, NodeFaults};
use crate::admin::scrub::NodeScrub;
use crate::status;

/// Where the view of the cluster comes from: the local replica or the gateway's heartbeats.
pub trait Views: Send + Sync + 'static {
    /// The cluster as this process sees it; `None` while it has heard of nobody.
    fn view(&self) -> BoxFuture<'_, Option<Arc<ClusterView>>>;
}

/// The local replica's view.
pub struct LocalViews(pub Arc<dyn Service>);

impl Views for LocalViews {
    fn view(&self) -> BoxFuture<'_, Option<Arc<ClusterView>>> {
        let asked = self.0.call(Request::View, Body::empty());
        async move {
            match asked.await {
                Ok((Response::View(view), _)) => Some(Arc::from(view)),
                _ => None,
            }
        }
        .boxed()
    }
}

/// Why an operation on the cluster was not carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// Nobody has been heard yet.
    #[error("this process has not heard from the cluster yet")]
    NoView,
    /// No such group.
    #[error("there is no group {0}")]
    NoSuchGroup(GroupId),
    /// Neither an id nor a name of a node.
    #[error("there is no node {0}")]
    NoSuchNode(String),
    /// Only voters lead.
    #[error("node {node} is no voter of group {group}")]
    NotAVoter {
        /// The node.
        node: NodeId,
        /// The group.
        group: GroupId,
    },
    /// Nobody leads the group at the moment.
    #[error("group {0} has no leader at the moment")]
    NoLeader(GroupId),
    /// Root refuses.
    #[error("{0}")]
    Refused(RootRefusal),
    /// The member asked did not carry it out.
    #[error("group {group}: {error}")]
    Call {
        /// The group.
        group: GroupId,
        /// Its answer.
        error: CallError,
    },
    /// The node was not started for it.
    #[error("node {0} refuses: it was started without --enable-faults")]
    FaultsOff(String),
    /// A node did not do as it was told.
    #[error("node {node} answered: {error}")]
    NodeCall {
        /// The node.
        node: String,
        /// Its answer.
        error: CallError,
    },
    /// A shard refuses a write.
    #[error("{0}")]
    Write(Refusal),
    /// The leader answered something that makes no sense.
    #[error("the leader gave an answer of another kind")]
    OtherAnswer,
}

/// A handle on the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    views: Arc<dyn Views>,
    client: Client,
    random: Arc<dyn Random>,
}

impl Cluster {
    /// A handle that looks through `views` and talks to leaders through `client`.
    pub fn new(views: Arc<dyn Views>, client: Client, random: Arc<dyn Random>) -> Self {
        Self { views, client, random }
    }

    /// The cluster as this process sees it.
    pub async fn view(&self) -> Option<Arc<ClusterView>> {
        self.views.view().await
    }

    /// Hands the leadership of a group to a voter, named by id or name. Where another voter was quicker, or leads by now,
    /// that one is asked next.
    pub async fn transfer_leader(&self, group: GroupId, node: &str) -> Result<(), OperationError> {
        for _ in 1..TRANSFER_ATTEMPTS {
            match self.transfer_once(group, node).await {
                Err(OperationError::Call { error: CallError::NotLeader { .. }, .. }) => {
                    tokio::time::sleep(TRANSFER_PAUSE).await;
                }
                done => return done,
            }
        }
        self.transfer_once(group, node).await
    }

    async fn transfer_once(&self, group: GroupId, node: &str) -> Result<(), OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        let to = node_of(&view, node)?;
        let place = view.layout.map.group(group).ok_or(OperationError::NoSuchGroup(group))?;
        if !place.voters.contains(&to) {
            return Err(OperationError::NotAVoter { node: to, group });
        }
        if status::leader(&view, group) == Some(to) {
            return Ok(());
        }
        self.ask_leader(&view, group, Request::TransferLeader { group, to }).await
    }

    /// Takes a node, named by id or name, out of the cluster.
    pub async fn remove_node(&self, node: &str) -> Result<(), OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        let node = node_of(&view, node)?;
        let request = RequestId(self.random.next_u128());
        self.ask_leader(&view, GroupId::ROOT, Request::Root(RootRequest::RemoveNode { request, node })).await
    }

    /// Lets a node, named by id or name, give everything away; or lets it hold things again.
    pub async fn drain_node(&self, node: &str, drain: bool) -> Result<(), OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        let node = node_of(&view, node)?;
        let request = RequestId(self.random.next_u128());
        self.ask_leader(&view, GroupId::ROOT, Request::Root(RootRequest::DrainNode { request, node, drain })).await
    }

    /// Asks root's leader something and gives its answer, refusals included.
    pub async fn root(&self, request: RootRequest) -> Result<Response, OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        self.call_leader(&view, GroupId::ROOT, Request::Root(request)).await
    }

    /// Asks the leader of every shard the same; their answers, as of now.
    pub async fn every_shard(&self, read: &Read) -> Result<Vec<Response>, OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        let asks = view.layout.map.shards().map(|place| {
            let freshness = Freshness::Mode(ReadMode::Strong);
            let deadline_ms = ASK_WITHIN.as_millis() as u32;
            let request = ReadRequest { group: place.group, freshness, deadline_ms, read: read.clone() };
            self.call_leader(&view, place.group, Request::Read(request))
        });
        futures::future::try_join_all(asks).await
    }

    /// Has the leader of a key's shard write, until it says what became of it. Repeating is safe: the request keeps its id.
    pub async fn write(&self, point: u64, write: &Write) -> Result<WriteOutcome, OperationError> {
        let mut request = RequestId(self.random.next_u128());
        let mut last = OperationError::NoView;
        for attempt in 0..WRITE_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(WRITE_PAUSE).await;
            }
            let Some(view) = self.view().await else { continue };
            let Some(group) = view.layout.map.shard_of(point).map(|place| place.group) else { continue };
            let deadline_ms = ASK_WITHIN.as_millis() as u32;
            let ask = WriteRequest { group, request, ack: None, deadline_ms, write: write.clone() };
            match self.call_leader(&view, group, Request::Write(ask)).await {
                Ok(Response::Written { outcome: WriteOutcome::Refused(refusal), .. })
                    if matches!(refusal, Refusal::WrongShard | Refusal::ShareUsedUp { .. }) =>
                {
                    // What was refused stays refused under its id.
                    request = RequestId(self.random.next_u128());
                    last = OperationError::Write(refusal);
                }
                Ok(Response::Written { outcome: WriteOutcome::Refused(refusal), .. }) => {
                    return Err(OperationError::Write(refusal));
                }
                Ok(Response::Written { outcome, .. }) => return Ok(outcome),
                Ok(_) => return Err(OperationError::OtherAnswer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// All rows of a group as of now, from any of its members: the log index of which they are, and the framed chunks.
    pub async fn cut(&self, group: GroupId) -> Result<(u64, Body), OperationError> {
        match self.ask_member(group, || BackupRequest::Cut { group }).await? {
            (Response::Cut { index }, body) => Ok((index, body)),
            _ => Err(OperationError::OtherAnswer),
        }
    }

    /// A whole blob, from any holder.
    pub async fn blob(&self, group: GroupId, blob: BlobId) -> Result<Body, OperationError> {
        match self.ask_member(group, || BackupRequest::Blob { group, blob }).await? {
            (Response::Done, body) => Ok(body),
            _ => Err(OperationError::OtherAnswer),
        }
    }

    /// Has every living node keep its blobs for so long.
    pub async fn hold_blobs(&self, for_ms: u32) -> Result<(), OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        let living = view.heartbeats.iter().filter(|(_, age_ms)| status::is_alive(*age_ms));
        let asked = living.map(|(heartbeat, _)| self.ask_node(&view, heartbeat, BackupRequest::Hold { for_ms }));
        for (answer, group) in futures::future::join_all(asked).await.into_iter().map(|answer| (answer, GroupId::ROOT))
        {
            answer.map_err(|error| OperationError::Call { group, error })?;
        }
        Ok(())
    }

    /// Asks one living member after the other, until one answers.
    async fn ask_member(
        &self,
        group: GroupId,
        request: impl Fn() -> BackupRequest,
    ) -> Result<(Response, Body), OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        view.layout.map.group(group).ok_or(OperationError::NoSuchGroup(group))?;
        let mut last = OperationError::NoLeader(group);
        let members = view.heartbeats.iter().filter(|(heartbeat, age_ms)| {
            status::is_alive(*age_ms) && heartbeat.groups.iter().any(|status| status.group == group)
        });
        for (heartbeat, _) in members {
            match self.ask_node(&view, heartbeat, request()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = OperationError::Call { group, error },
            }
        }
        Err(last)
    }

    async fn ask_node(
        &self,
        view: &ClusterView,
        heartbeat: &Heartbeat,
        request: BackupRequest,
    ) -> Result<(Response, Body), CallError> {
        let (address, node) = (heartbeat.node.address.clone(), heartbeat.node.id);
        let target = Target { address, cluster: Some(view.cluster), node: Some(node) };
        Remote::new(self.client.clone(), target).call(Request::Backup(request), Body::empty()).await
    }

    async fn call_leader(
        &self,
        view: &ClusterView,
        group: GroupId,
        request: Request,
    ) -> Result<Response, OperationError> {
        let leader = status::leader(view, group).ok_or(OperationError::NoLeader(group))?;
        let heard = view.heartbeats.iter().find(|(heartbeat, _)| heartbeat.node.id == leader);
        let address =
            heard.map(|(heartbeat, _)| heartbeat.node.address.clone()).ok_or(OperationError::NoLeader(group))?;
        let target = Target { address, cluster: Some(view.cluster), node: Some(leader) };
        let called = Remote::new(self.client.clone(), target).call(request, Body::empty()).await;
        called.map(|(response, _)| response).map_err(|error| OperationError::Call { group, error })
    }

    async fn ask_leader(&self, view: &ClusterView, group: GroupId, request: Request) -> Result<(), OperationError> {
        match self.call_leader(view, group, request).await? {
            Response::Done => Ok(()),
            Response::RootRefused(refusal) => Err(OperationError::Refused(refusal)),
            _ => Err(OperationError::OtherAnswer),
        }
    }
}

/// How often a leader is asked to hand over, and how long in between: until heartbeats have told who leads.
const TRANSFER_ATTEMPTS: usize = 3;
const TRANSFER_PAUSE: Duration = Duration::from_millis(500);
/// An order of the fault API may take so long: a node stops its groups, or opens its directory.
const FAULT_WITHIN: Duration = Duration::from_secs(12);
/// How often a write is tried, and how long in between: together longer than an election.
const WRITE_ATTEMPTS: usize = 6;
const WRITE_PAUSE: Duration = Duration::from_millis(500);
/// Everything else that one node is asked directly.
const ASK_WITHIN: Duration = Duration::from_secs(3);

impl Cluster {
    /// Has a node suffer, or all of them say how it stands; the faults of every node that was asked.
    pub async fn fault(&self, node: Option<&str>, fault: FaultKind) -> Result<Vec<NodeFaults>, OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        let Some(node) = node else {
            let asks = view.layout.nodes.iter().map(|info| async {
                let told = self.order(&view, info, FaultOrder::Status).await;
                faults_of(info, told.map_err(|error| matches!(error, OperationError::FaultsOff(_))))
            });
            return Ok(futures::future::join_all(asks).await);
        };
        let id = node_of(&view, node)?;
        let info =
            |id: NodeId| view.layout.nodes.iter().find(move |info| info.id == id).expect("looked up in this view");
        let suffering = info(id);
        let address = address_of(&view, suffering);
        let others = || view.layout.nodes.iter().filter(|other| other.id != id);
        let order = match fault {
            FaultKind::Status {} => FaultOrder::Status,
            FaultKind::Crash {} => FaultOrder::Crash,
            FaultKind::SlowDisk { ms } => FaultOrder::SlowDisk { ms },
            FaultKind::Restore {} => {
                let heal = || FaultOrder::Heal { addresses: vec![address.clone()] };
                // Those that are not there have nothing to undo.
                futures::future::join_all(others().map(|other| self.order(&view, other, heal()))).await;
                FaultOrder::Restore
            }
            FaultKind::Partition { from } => {
                let from: Vec<NodeId> = match from.is_empty() {
                    true => others().map(|other| other.id).collect(),
                    false => from.iter().map(|name| node_of(&view, name)).collect::<Result<_, _>>()?,
                };
                for other in from.iter().filter(|other| **other != id) {
                    self.order(&view, info(*other), FaultOrder::Cut { addresses: vec![address.clone()] }).await?;
                }
                FaultOrder::Cut { addresses: from.iter().map(|other| address_of(&view, info(*other))).collect() }
            }
        };
        let state = self.order(&view, suffering, order).await?;
        Ok(vec![faults_of(suffering, Ok(state))])
    }

    /// Asks every node for its scrub, or has them begin.
    pub async fn scrub(&self, order: ScrubOrder) -> Result<Vec<NodeScrub>, OperationError> {
        let view = self.view().await.ok_or(OperationError::NoView)?;
        let asks = view.layout.nodes.iter().map(|info| async {
            let target = Target { address: address_of(&view, info), cluster: Some(view.cluster), node: Some(info.id) };
            let asked = self.client.exchange(&target, SCRUB, encode(&order), Body::empty(), ASK_WITHIN).await;
            let state: Result<ScrubState, CallError> = asked.and_then(|(head, _)| decode(&head));
            let (reached, ScrubState { running, last }) = (state.is_ok(), state.unwrap_or_default());
            NodeScrub { node: info.name.clone(), reached, running: running.map(Into::into), last: last.map(Into::into) }
        });
        Ok(futures::future::join_all(asks).await)
    }

    async fn order(
        &self,
        view: &ClusterView,
        node: &NodeInfo,
        order: FaultOrder,
    ) -> Result<FaultState, OperationError> {
        let target = Target { address: address_of(view, node), cluster: Some(view.cluster), node: Some(node.id) };
        let asked = self.client.exchange(&target, FAULT, encode(&order), Body::empty(), FAULT_WITHIN).await;
        match asked.and_then(|(head, _)| decode(&head)) {
            Ok(FaultAnswer::State(state)) => Ok(state),
            Ok(FaultAnswer::Refused) => Err(OperationError::FaultsOff(node.name.clone())),
            Err(error) => Err(OperationError::NodeCall { node: node.name.clone(), error }),
        }
    }
}

fn faults_of(node: &NodeInfo, told: Result<FaultState, bool>) -> NodeFaults {
    let enabled = match &told {
        Ok(_) => Some(true),
        Err(refused) => refused.then_some(false),
    };
    let FaultState { crashed, cut, slow_disk_ms } = told.unwrap_or_default();
    NodeFaults { node: node.name.clone(), enabled, crashed, cut_off_from: cut, slow_disk_ms }
}

/// Where a node is dialled: as it says itself, or as root was told.
fn address_of(view: &ClusterView, node: &NodeInfo) -> String {
    let heard = view.heartbeats.iter().find(|(heartbeat, _)| heartbeat.node.id == node.id);
    heard.map_or(&node.address, |(heartbeat, _)| &heartbeat.node.address).clone()
}

/// A node by id or name.
fn node_of(view: &ClusterView, text: &str) -> Result<NodeId, OperationError> {
    let nodes = &view.layout.nodes;
    let by_name = nodes.iter().find(|node| node.name == text);
    let by_id = || text.parse::<NodeId>().ok().and_then(|id| nodes.iter().find(|node| node.id == id));
    by_name.or_else(by_id).map(|node| node.id).ok_or_else(|| OperationError::NoSuchNode(text.to_owned()))
}

#[cfg(test)]
pub mod tests {
    use holdfast_wire::handshake::ClusterSecret;
    use holdfast_wire::seam::{OsRandom, Seams};

    use super::*;
    use crate::status::tests::healthy;

    /// A view that stands still.
    pub struct Still(pub Option<ClusterView>);

    impl Views for Still {
        fn view(&self) -> BoxFuture<'_, Option<Arc<ClusterView>>> {
            let view = self.0.clone().map(Arc::new);
            async move { view }.boxed()
        }
    }

    /// A handle on a cluster of which only the view exists.
    pub fn cluster(view: Option<ClusterView>) -> Cluster {
        let client = Client::new(Seams::real(), ClusterSecret::new(""));
        Cluster::new(Arc::new(Still(view)), client, Arc::new(OsRandom))
    }

    /// Whom that cluster knows.
    pub fn access(cluster: Cluster) -> crate::access::Access {
        crate::access::Access::new(cluster, &ClusterSecret::new(""), Seams::real(), None, Default::default())
    }

    #[tokio::test]
    async fn operations_are_checked_against_the_view_first() {
        let shard = GroupId(1);
        assert_eq!(cluster(None).transfer_leader(shard, "n1").await, Err(OperationError::NoView));
        let well = cluster(Some(healthy()));
        assert_eq!(well.transfer_leader(GroupId(9), "n1").await, Err(OperationError::NoSuchGroup(GroupId(9))));
        assert_eq!(well.transfer_leader(shard, "n9").await, Err(OperationError::NoSuchNode("n9".to_owned())));
        assert_eq!(well.transfer_leader(shard, "n2").await, Ok(()), "it leads already");
        assert_eq!(well.transfer_leader(shard, "2").await, Ok(()), "by id");
        let mut view = healthy();
        view.layout.map.groups[1].voters.pop();
        let refused = cluster(Some(view)).transfer_leader(shard, "n3").await;
        assert_eq!(refused, Err(OperationError::NotAVoter { node: NodeId(3), group: shard }));
        let mut view = healthy();
        view.heartbeats.clear();
        assert_eq!(cluster(Some(view)).remove_node("n3").await, Err(OperationError::NoLeader(GroupId::ROOT)));
    }
}
