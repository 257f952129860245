//! A cluster of scripted replicas in this process, for tests: every node hosts root and all shards, says what the test
//! wants said, and keeps what it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use holdfast_wire::bucket::{AckMode, Bucket, BucketState};
use holdfast_wire::configuration::BucketChange;
use holdfast_wire::error::CallError;
use holdfast_wire::heartbeat::{GroupStatus, Heartbeat, Layout, Load, NodeInfo, Role, UNSAID};
use holdfast_wire::id::{BucketId, BucketName, ClusterId, Epoch, GroupId, NodeId, Seq};
use holdfast_wire::object::{Detail, Object, Summary};
use holdfast_wire::placement::{GroupPlace, HashRange, Placement, ShardMap};
use holdfast_wire::request::{Deleted, ReadRequest, Request, Response, RootRefusal, RootRequest, Write, WriteOutcome};
use holdfast_wire::service::{Answer, Body, Service};
use holdfast_wire::transport::Target;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::membership::Dial;

pub const CLUSTER: ClusterId = ClusterId(77);

/// What a script does with a request.
pub enum Reply {
    /// This, now.
    Now(Answer),
    /// This, later.
    After(Duration, Answer),
    /// Nothing, ever.
    Never,
    /// Whatever this makes of the request's body.
    Body(Box<dyn FnOnce(Body) -> BoxFuture<'static, Answer> + Send>),
    /// What a sound replica would answer.
    Soundly,
}

pub fn ok(response: Response) -> Reply {
    Reply::Now(Ok((response, Body::empty())))
}

pub fn err(error: CallError) -> Reply {
    Reply::Now(Err(error))
}

pub fn unknown() -> Reply {
    err(CallError::Unknown { reason: "scripted".to_owned() })
}

pub fn unreachable() -> Reply {
    err(CallError::Unreachable { reason: "scripted".to_owned() })
}

pub fn unavailable() -> Reply {
    err(CallError::Unavailable { reason: "scripted".to_owned() })
}

type Script = Box<dyn FnMut(&Request) -> Reply + Send>;

#[derive(Clone)]
enum Beat {
    Says(Box<Heartbeat>),
    Silent,
    Gone,
}

pub struct FakeNode {
    pub id: NodeId,
    cluster: Arc<Mutex<Cluster>>,
    script: Mutex<Option<Script>>,
    calls: Mutex<Vec<Request>>,
    beat: watch::Sender<Beat>,
    /// How often somebody began to listen.
    pub listeners: watch::Sender<u32>,
    pub load: Mutex<Load>,
}

struct Cluster {
    layout: Layout,
    leaders: BTreeMap<GroupId, (NodeId, u64)>,
    buckets: BTreeMap<BucketName, Bucket>,
    index: u64,
}

/// The scripted cluster.
pub struct Fleet {
    cluster: Arc<Mutex<Cluster>>,
    pub nodes: Vec<Arc<FakeNode>>,
}

pub fn bucket(id: u64, name: &str) -> Bucket {
    Bucket {
        id: BucketId(id),
        name: name.parse().unwrap(),
        owner: "owner".to_owned(),
        created_ms: 0,
        revision: 1,
        state: BucketState::Active,
        placement: Placement::RootDirectory,
        tags: Vec::new(),
        configuration: Default::default(),
    }
}

pub fn object(seq: Seq, size: u64) -> Object {
    Object { summary: Summary { seq, size, etag: "etag".to_owned(), ..Summary::default() }, detail: Detail::default() }
}

impl Fleet {
    /// `nodes` nodes n1, n2, … that host root and `shards` shards (groups 1, 2, …); node 1 leads all in term 1.
    pub fn new(nodes: u64, shards: u32) -> Arc<Self> {
        let voters: Vec<_> = (1..=nodes).map(NodeId).collect();
        let layout = Layout {
            version: 1,
            draining: Vec::new(),
            nodes: voters.iter().map(|id| info(*id)).collect(),
            map: map(1, HashRange::tile(shards), &voters),
            copies: 3,
        };
        let leaders = layout.map.groups.iter().map(|place| (place.group, (NodeId(1), 1))).collect();
        let cluster = Cluster { layout, leaders, buckets: BTreeMap::new(), index: 0 };
        let cluster = Arc::new(Mutex::new(cluster));
        let nodes = voters.into_iter().map(|id| {
            Arc::new(FakeNode {
                id,
                cluster: cluster.clone(),
                script: Mutex::new(None),
                calls: Mutex::default(),
                beat: watch::Sender::new(Beat::Gone),
                listeners: watch::Sender::new(0),
                load: Mutex::default(),
            })
        });
        let fleet = Arc::new(Self { nodes: nodes.collect(), cluster });
        fleet.nodes.iter().for_each(|node| node.speak());
        fleet
    }

    /// Node `id`, counted from 1.
    pub fn node(&self, id: u64) -> &Arc<FakeNode> {
        &self.nodes[id as usize - 1]
    }

    /// A new leader, made known by everybody who speaks.
    pub fn lead(&self, group: GroupId, leader: u64, term: u64) {
        self.cluster.lock().leaders.insert(group, (NodeId(leader), term));
        self.tell();
    }

    /// Nobody leads any group.
    pub fn no_leaders(&self) {
        self.cluster.lock().leaders.clear();
        self.tell();
    }

    /// Other shards, under the next epoch.
    pub fn remap(&self, ranges: Vec<HashRange>) {
        let mut cluster = self.cluster.lock();
        let epoch = cluster.layout.map.epoch.0 + 1;
        let voters: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        cluster.layout.map = map(epoch, ranges, &voters);
        cluster.layout.version += 1;
        let groups: Vec<_> = cluster.layout.map.groups.iter().map(|place| place.group).collect();
        for group in groups {
            cluster.leaders.entry(group).or_insert((NodeId(1), 1));
        }
        drop(cluster);
        self.tell();
    }

    /// Changes the layout's nodes.
    pub fn relayout(&self, change: impl FnOnce(&mut Layout)) {
        let mut cluster = self.cluster.lock();
        cluster.layout.version += 1;
        change(&mut cluster.layout);
        drop(cluster);
        self.tell();
    }

    pub fn put_bucket(&self, bucket: Bucket) {
        self.cluster.lock().buckets.insert(bucket.name.clone(), bucket);
    }

    pub fn remove_bucket(&self, name: &str) {
        self.cluster.lock().buckets.remove(&name.parse().unwrap());
    }

    /// Every node gets the same script.
    pub fn script(&self, script: impl FnMut(NodeId, &Request) -> Reply + Send + 'static) {
        let script = Arc::new(Mutex::new(script));
        for node in &self.nodes {
            let (script, id) = (script.clone(), node.id);
            node.script(move |request| (script.lock())(id, request));
        }
    }

    fn tell(&self) {
        for node in &self.nodes {
            if matches!(*node.beat.borrow(), Beat::Says(_)) {
                node.speak();
            }
        }
    }

    /// All requests, of all nodes.
    pub fn calls(&self) -> usize {
        self.nodes.iter().map(|node| node.calls.lock().len()).sum()
    }
}

pub fn info(id: NodeId) -> NodeInfo {
    NodeInfo { id, name: format!("n{id}"), address: format!("n{id}"), version: "0".to_owned() }
}

fn map(epoch: u64, ranges: Vec<HashRange>, voters: &[NodeId]) -> ShardMap {
    let place = |group, range| GroupPlace { group, range, epoch: Epoch(epoch), voters: voters.to_vec() };
    let shards = ranges.into_iter().enumerate().map(|(at, range)| place(GroupId(at as u32 + 1), Some(range)));
    ShardMap { epoch: Epoch(epoch), groups: std::iter::once(place(GroupId::ROOT, None)).chain(shards).collect() }
}

impl FakeNode {
    /// What this node says now, of the cluster as it is.
    pub fn heartbeat(&self) -> Heartbeat {
        let cluster = self.cluster.lock();
        let groups = cluster.layout.map.groups.iter().map(|place| {
            let leader = cluster.leaders.get(&place.group);
            let role = if leader.is_some_and(|(node, _)| *node == self.id) { Role::Leader } else { Role::Follower };
            GroupStatus {
                group: place.group,
                role,
                leader: leader.map(|(node, _)| *node),
                term: leader.map_or(0, |(_, term)| *term),
                voters: place.voters.clone(),
                last_log: cluster.index,
                committed: cluster.index,
                applied: cluster.index,
                missing_blobs: 0,
            }
        });
        Heartbeat {
            cluster: CLUSTER,
            node: info(self.id),
            clock_ms: UNSAID,
            not_ready: None,
            load: *self.load.lock(),
            groups: groups.collect(),
            layout: cluster.layout.clone(),
        }
    }

    /// Speaks, from now on, of the cluster as it is.
    pub fn speak(&self) {
        self.say(self.heartbeat());
    }

    /// Says this from now on.
    pub fn say(&self, heartbeat: Heartbeat) {
        self.beat.send_replace(Beat::Says(Box::new(heartbeat)));
    }

    /// Says nothing more, but keeps its connections: cut off, or paused.
    pub fn fall_silent(&self) {
        self.beat.send_replace(Beat::Silent);
    }

    /// Is gone: connections break.
    pub fn die(&self) {
        self.beat.send_replace(Beat::Gone);
        self.script(|_| unreachable());
    }

    pub fn script(&self, script: impl FnMut(&Request) -> Reply + Send + 'static) {
        *self.script.lock() = Some(Box::new(script));
    }

    pub fn calls(&self) -> Vec<Request> {
        self.calls.lock().clone()
    }

    /// What a replica that works would say.
    pub fn soundly(&self, request: &Request) -> Answer {
        let mut cluster = self.cluster.lock();
        let not_leader = |cluster: &Cluster, group| {
            let leader = cluster.leaders.get(&group).map(|(node, _)| *node);
            if leader == Some(self.id) { Ok(()) } else { Err(CallError::NotLeader { leader }) }
        };
        let response = match request {
            Request::Write(write) => {
                not_leader(&cluster, write.group)?;
                cluster.index += 1;
                let seq = Seq { group: write.group, index: cluster.index };
                let outcome = match &write.write {
                    Write::Delete { keys, .. } => {
                        WriteOutcome::Deleted { seq, keys: vec![Ok(Deleted::default()); keys.len()] }
                    }
                    _ => WriteOutcome::Stored {
                        seq,
                        etag: "etag".to_owned(),
                        modified_ms: 0,
                        checksum: None,
                        version: None,
                    },
                };
                Response::Written { outcome, ack: AckMode::Majority }
            }
            Request::Root(RootRequest::Bucket { name } | RootRequest::KnownBucket { name }) => {
                match cluster.buckets.get(name) {
                    Some(bucket) => Response::Bucket(Box::new(bucket.clone())),
                    None => Response::RootRefused(RootRefusal::NoSuchBucket),
                }
            }
            Request::Root(RootRequest::Buckets) => Response::Buckets(cluster.buckets.values().cloned().collect()),
            Request::Root(root) => {
                not_leader(&cluster, GroupId::ROOT)?;
                match root {
                    RootRequest::CreateBucket { name, .. } => {
                        let made = bucket(100 + cluster.buckets.len() as u64, name.as_str());
                        cluster.buckets.insert(name.clone(), made.clone());
                        Response::Bucket(Box::new(made))
                    }
                    RootRequest::ChangeBucket { name, change: BucketChange::Tags(tags), .. } => {
                        match cluster.buckets.get_mut(name) {
                            Some(bucket) => {
                                bucket.tags = tags.clone();
                                bucket.revision += 1;
                                Response::Bucket(Box::new(bucket.clone()))
                            }
                            None => Response::RootRefused(RootRefusal::NoSuchBucket),
                        }
                    }
                    RootRequest::DeleteBucket { name, .. } => match cluster.buckets.remove(name) {
                        Some(_) => Response::Done,
                        None => Response::RootRefused(RootRefusal::NoSuchBucket),
                    },
                    _ => Response::Done,
                }
            }
            Request::Read(ReadRequest { group, .. }) => {
                let bytes = Bytes::from(format!("from {}", self.id));
                let len = bytes.len() as u64;
                let object = object(Seq { group: *group, index: 1 }, len);
                return Ok((Response::Object { object: Box::new(object), range: (0, len), applied: 1 }, bytes.into()));
            }
            Request::UploadBlob { group, .. } => {
                not_leader(&cluster, *group)?;
                Response::Uploaded { holders: vec![self.id] }
            }
            _ => Response::Done,
        };
        Ok((response, Body::empty()))
    }
}

impl Service for FakeNode {
    fn call(&self, request: Request, body: Body) -> BoxFuture<'static, Answer> {
        self.calls.lock().push(request.clone());
        let reply = match self.script.lock().as_mut() {
            Some(script) => script(&request),
            None => Reply::Soundly,
        };
        match reply {
            Reply::Now(answer) => async move { answer }.boxed(),
            Reply::After(pause, answer) => async move {
                tokio::time::sleep(pause).await;
                answer
            }
            .boxed(),
            Reply::Never => futures::future::pending().boxed(),
            Reply::Body(made) => made(body),
            Reply::Soundly => {
                let answer = self.soundly(&request);
                async move { answer }.boxed()
            }
        }
    }

    fn heartbeats(&self) -> BoxStream<'static, Heartbeat> {
        self.listeners.send_modify(|count| *count += 1);
        futures::stream::unfold((self.beat.subscribe(), true), |(mut beat, first)| async move {
            if !first {
                // Changed or time for the next one: both mean looking again.
                let _ = tokio::time::timeout(Duration::from_millis(100), beat.changed()).await;
            }
            loop {
                let now = beat.borrow_and_update().clone();
                match now {
                    Beat::Says(heartbeat) => return Some((*heartbeat, (beat, false))),
                    Beat::Gone => return None,
                    Beat::Silent => beat.changed().await.ok()?,
                }
            }
        })
        .boxed()
    }
}

/// An address at which nobody answers.
struct Nobody;

impl Service for Nobody {
    fn call(&self, _: Request, _: Body) -> BoxFuture<'static, Answer> {
        async { Err(CallError::Unreachable { reason: "nobody there".to_owned() }) }.boxed()
    }

    fn heartbeats(&self) -> BoxStream<'static, Heartbeat> {
        futures::stream::empty().boxed()
    }
}

impl Dial for Fleet {
    fn dial(&self, target: Target) -> Arc<dyn Service> {
        let known = self.nodes.iter().find(|node| format!("n{}", node.id) == target.address);
        known.map_or_else(|| Arc::new(Nobody) as Arc<dyn Service>, |node| node.clone())
    }
}
