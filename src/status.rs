//! The cluster's status: what one process sees, as facts, and in words what is wrong with it. Pure.

mod clocks;
pub mod drain;
pub mod fit;
mod text;

use std::collections::BTreeSet;

use holdfast_wire::heartbeat::{ClusterView, GroupStatus, Heartbeat, Load, Role};
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::placement::GroupPlace;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use text::table;

/// A node that has been silent for longer counts as dead, milliseconds.
const ALIVE_WITHIN_MS: u64 = 1500;
/// Entries that a voter may be behind before it is mentioned.
const LAG_ENTRIES: u64 = 1000;
/// Below this part of the disk free (1/N), the disk is mentioned.
const DISK_PART: u64 = 20;

/// A node whose syncs take so long says that its disk is slow, microseconds.
const SLOW_SYNC_US: u32 = holdfast_replica::task::slow::SLOW_P99_US as u32;

/// Whether a node with a heartbeat of this age counts as alive.
pub fn is_alive(age_ms: u64) -> bool {
    age_ms <= ALIVE_WITHIN_MS
}

/// How it stands with the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing is wrong.
    Ok,
    /// Everything is served, but something needs care.
    Degraded,
    /// Some keys cannot be written or read strongly.
    Unavailable,
}

/// The cluster, as `holdfast cluster status -o json` and `GET /v1/cluster` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// 32 hexadecimal digits.
    pub cluster: String,
    /// How it stands.
    pub health: Health,
    /// How many copies each group should have, where there are nodes enough.
    pub copies: u8,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
    /// What the cluster is doing about it, or about something else.
    pub doing: Vec<String>,
    /// What is left for you to do.
    pub todo: Vec<String>,
    /// The nodes that are not removed, by id.
    pub nodes: Vec<Node>,
    /// The groups, root first.
    pub groups: Vec<Group>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Peer address.
    pub address: String,
    /// Whether it was heard in the last 1.5 seconds.
    pub alive: bool,
    /// Age of its last heartbeat, milliseconds; `None`: never heard.
    pub heartbeat_age_ms: Option<u64>,
    /// Why it does not serve, if it says so.
    pub not_ready: Option<String>,
    /// Whether it is giving everything away, to be removed.
    pub draining: bool,
    /// Software version.
    pub version: String,
    /// How far its clock is ahead of the others', milliseconds; `None`: not alive.
    pub clock_ahead_ms: Option<i64>,
    /// How busy it was; `None`: never heard.
    pub load: Option<NodeLoad>,
}

/// How busy a node is; fields as in [`Load`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeLoad {
    pub in_flight: u32,
    pub cpu_millis: u32,
    pub read_us: u32,
    pub sync_us: u32,
    pub memory_bytes: u64,
    pub disk_free_bytes: u64,
    pub disk_total_bytes: u64,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Its id.
    pub id: u32,
    /// `root` or `shard`.
    pub kind: String,
    /// First and last point of its hash range, 16 hexadecimal digits each; `None` for root.
    pub range: Option<(String, String)>,
    /// Epoch of its entry in the map.
    pub epoch: u64,
    /// Who leads; `None`: nobody who is alive says so.
    pub leader: Option<u64>,
    /// The highest term that a live member knows.
    pub term: u64,
    /// Voters by the newest membership that is known.
    pub voters: Vec<u64>,
    /// Its members as they last reported, by node.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// The node.
    pub node: u64,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: String,
    /// Its term.
    pub term: u64,
    /// Last log index.
    pub last_log: u64,
    /// Committed index.
    pub committed: u64,
    /// Applied index.
    pub applied: u64,
    /// Blobs that it has yet to fetch.
    pub missing_blobs: u64,
}

impl From<Load> for NodeLoad {
    fn from(load: Load) -> Self {
        let Load { in_flight, cpu_millis, read_us, memory, disk_free, disk_total, sync_us } = load;
        let (memory_bytes, disk_free_bytes, disk_total_bytes) = (memory, disk_free, disk_total);
        Self { in_flight, cpu_millis, read_us, sync_us, memory_bytes, disk_free_bytes, disk_total_bytes }
    }
}

impl Status {
    /// What the view says.
    pub fn of(view: &ClusterView) -> Status {
        let mut status = Status {
            cluster: view.cluster.to_string(),
            health: Health::Ok,
            copies: view.layout.copies,
            problems: Vec::new(),
            doing: Vec::new(),
            todo: Vec::new(),
            nodes: nodes(view),
            groups: view.layout.map.groups.iter().map(|place| group(view, place)).collect(),
        };
        status.judge();
        status
    }

    fn problem(&mut self, health: Health, text: String) {
        self.health = self.health.max(health);
        self.problems.push(text);
    }

    fn doing(&mut self, text: String) {
        if !self.doing.contains(&text) {
            self.doing.push(text);
        }
    }

    fn todo(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.todo.contains(&text) {
            self.todo.push(text);
        }
    }

    /// A node as people call it.
    fn name(&self, id: u64) -> String {
        match self.nodes.iter().find(|node| node.id == id) {
            Some(node) => format!("{} (id {id})", node.name),
            None => format!("id {id}"),
        }
    }

    fn is_alive(&self, id: u64) -> bool {
        self.nodes.iter().any(|node| node.id == id && node.alive)
    }

    fn has_majority(&self, group: &Group) -> bool {
        let alive = group.voters.iter().filter(|id| self.is_alive(**id)).count();
        !group.voters.is_empty() && alive > group.voters.len() / 2
    }

    fn judge(&mut self) {
        if self.groups.is_empty() {
            self.problem(Health::Unavailable, "the cluster has no shard map yet: it is still being formed".to_owned());
        }
        for node in self.nodes.clone() {
            self.judge_node(&node);
        }
        for group in self.groups.clone() {
            self.judge_group(&group);
        }
        let versions: BTreeSet<_> = self.nodes.iter().filter(|n| n.alive).map(|n| n.version.clone()).collect();
        if versions.len() > 1 {
            let versions: Vec<_> = versions.into_iter().collect();
            self.todo("finish the upgrade: replace the older nodes one by one, each when the one before is ready");
            self.problem(Health::Degraded, format!("the nodes run different versions: {}", versions.join(", ")));
        }
    }

    fn judge_node(&mut self, node: &Node) {
        let name = self.name(node.id);
        if !node.alive {
            let since = match node.heartbeat_age_ms {
                Some(age) => format!("has been silent for {:.1} s", age as f64 / 1000.0),
                None => "has not been heard yet".to_owned(),
            };
            self.problem(Health::Degraded, format!("node {name} at {} {since}", node.address));
            let short = &node.name;
            let mut advice = format!(
                "look after {short}: is its process, machine, network well? It catches up by itself when it is back."
            );
            // While a majority is missing, what its disk holds may be all that there is.
            if self.groups.iter().filter(|group| group.voters.contains(&node.id)).all(|group| self.has_majority(group))
            {
                advice += &format!(
                    " If its disk is lost, start it on an empty one: it takes its old place. If it is gone for good: \
                     `holdfast cluster remove {short}`"
                );
            }
            self.todo(advice);
            return;
        }
        if let Some(ahead) = node.clock_ahead_ms.filter(|ahead| ahead.unsigned_abs() > clocks::OFF_MS) {
            let (seconds, way) = (ahead.unsigned_abs() / 1000, if ahead > 0 { "ahead of" } else { "behind" });
            self.problem(Health::Degraded, format!("the clock of node {name} is {seconds} s {way} the others'"));
            self.todo(format!(
                "set the clock of {} (chrony, systemd-timesyncd): clients are refused whose clocks differ by 15 minutes, and \
                 certificates, locks and lifecycle rules go by it",
                node.name
            ));
        }
        if let Some(reason) = &node.not_ready {
            self.problem(Health::Degraded, format!("node {name} is not ready: {reason}"));
            self.doing(format!("{} is starting; it needs a majority of every group it is in", node.name));
        }
        if node.draining
            && let Some(progress) = drain::progress(self, &node.id.to_string())
        {
            match progress {
                drain::Progress::Empty { .. } => self.todo(progress.to_string()),
                progress => self.doing(progress.to_string()),
            }
        }
        if let Some(load) = node.load.as_ref().filter(|load| load.sync_us >= SLOW_SYNC_US) {
            let (short, ms) = (&node.name, load.sync_us / 1000);
            self.doing(format!(
                "the disk of {short} is slow (syncs take up to {ms} ms): faster voters lead in its stead"
            ));
            self.todo(format!("look after the disk of {short}: who else uses it, is it failing?"));
        }
        if let Some(load) = &node.load
            && load.disk_total_bytes > 0
            && load.disk_free_bytes < load.disk_total_bytes / DISK_PART
        {
            let free = load.disk_free_bytes >> 20;
            self.problem(Health::Degraded, format!("node {name} has only {free} MiB of disk left"));
            self.todo(format!(
                "give {} a larger disk, delete objects, or add nodes; a full disk takes no writes",
                node.name
            ));
        }
    }

    fn judge_group(&mut self, group: &Group) {
        let what = if group.kind == "root" { "the root group".to_owned() } else { format!("shard {}", group.id) };
        let alive = group.voters.iter().filter(|id| self.is_alive(**id)).count();
        let quorum = group.voters.len() / 2 + 1;
        if !self.has_majority(group) {
            let stopped =
                if group.kind == "root" { "buckets cannot be created or deleted" } else { "it takes no writes" };
            let of = group.voters.len();
            self.problem(
                Health::Unavailable,
                format!("{what} has lost its majority ({alive} of {of} voters alive): {stopped}"),
            );
            self.todo(format!(
                "bring back enough of the silent nodes that {quorum} of {of} voters of every group live, with their disks as \
                 they were: do not wipe or remove them"
            ));
        } else if group.leader.is_none() {
            self.problem(Health::Unavailable, format!("{what} has no leader; an election should end within seconds"));
            self.doing(format!("{what} elects a leader"));
        }
        let homes = self.nodes.iter().filter(|node| !node.draining).count();
        let (held, wanted) = (group.voters.len(), homes.min(usize::from(self.copies)));
        if held < wanted {
            self.problem(Health::Degraded, format!("{what} has {held} of {wanted} copies"));
            let learning = group.members.iter().filter(|member| member.role == "learner").map(|it| self.name(it.node));
            match learning.collect::<Vec<_>>() {
                names if names.is_empty() => self.doing(format!("{what} gets another copy")),
                names => self.doing(format!("{} gets a copy of {what}", names.join(", "))),
            }
        }
        let front = group.members.iter().map(|member| member.committed).max().unwrap_or(0);
        for voter in &group.voters {
            let name = self.name(*voter);
            match group.members.iter().find(|member| member.node == *voter) {
                _ if !self.is_alive(*voter) => {}
                None => {
                    self.problem(Health::Degraded, format!("node {name} does not serve {what} although it is a voter"))
                }
                Some(member) => {
                    let lag = front.saturating_sub(member.applied);
                    if lag > LAG_ENTRIES {
                        self.doing(format!("{name} catches up in {what}"));
                        self.problem(Health::Degraded, format!("node {name} is {lag} entries behind in {what}"));
                    }
                    if member.missing_blobs > 0 {
                        let count = member.missing_blobs;
                        self.problem(Health::Degraded, format!("node {name} has {count} blobs of {what} yet to fetch"));
                        self.doing(format!("{name} fetches what it lacks of {what} from other copies"));
                    }
                }
            }
        }
    }
}

fn nodes(view: &ClusterView) -> Vec<Node> {
    let clocks = clocks::offsets(view);
    let mut nodes: Vec<Node> = view
        .layout
        .nodes
        .iter()
        .map(|info| {
            let heard = view.heartbeats.iter().find(|(heartbeat, _)| heartbeat.node.id == info.id);
            let said = heard.map(|(heartbeat, _)| heartbeat);
            Node {
                id: info.id.0,
                name: info.name.clone(),
                address: said.map_or(&info.address, |said| &said.node.address).clone(),
                alive: heard.is_some_and(|(_, age)| *age < ALIVE_WITHIN_MS),
                heartbeat_age_ms: heard.map(|(_, age)| *age),
                not_ready: said.and_then(|said| said.not_ready.clone()),
                draining: view.layout.draining.contains(&info.id),
                version: said.map_or(&info.version, |said| &said.node.version).clone(),
                clock_ahead_ms: clocks.iter().find(|(node, _)| *node == info.id.0).map(|(_, ahead)| *ahead),
                load: said.map(|said| said.load.into()),
            }
        })
        .collect();
    nodes.sort_by_key(|node| node.id);
    nodes
}

/// The reports on a group by nodes that are not removed, with their ages.
fn reports(view: &ClusterView, group: GroupId) -> impl Iterator<Item = (&Heartbeat, &GroupStatus, u64)> {
    view.heartbeats
        .iter()
        .filter(|(heartbeat, _)| view.layout.nodes.iter().any(|node| node.id == heartbeat.node.id))
        .filter_map(move |(heartbeat, age)| {
            Some((heartbeat, heartbeat.groups.iter().find(|g| g.group == group)?, *age))
        })
}

/// Who leads a group: the live member that says so itself, in the highest term.
pub fn leader(view: &ClusterView, group: GroupId) -> Option<NodeId> {
    let alive = reports(view, group).filter(|(_, _, age)| *age < ALIVE_WITHIN_MS);
    alive
        .filter(|(_, status, _)| status.role == Role::Leader)
        .max_by_key(|(_, status, _)| status.term)
        .map(|(heartbeat, _, _)| heartbeat.node.id)
}

fn group(view: &ClusterView, place: &GroupPlace) -> Group {
    let live = || reports(view, place.group).filter(|(_, _, age)| *age < ALIVE_WITHIN_MS);
    let newest = live().max_by_key(|(_, status, _)| (status.role == Role::Leader, status.term, status.last_log));
    let mut members: Vec<_> = reports(view, place.group).map(|(by, status, _)| member(by.node.id, status)).collect();
    members.sort_by_key(|member| member.node);
    Group {
        id: place.group.0,
        kind: if place.group == GroupId::ROOT { "root" } else { "shard" }.to_owned(),
        range: place.range.map(|range| (format!("{:016x}", range.first), format!("{:016x}", range.last))),
        epoch: place.epoch.0,
        leader: leader(view, place.group).map(|id| id.0),
        term: live().map(|(_, status, _)| status.term).max().unwrap_or(0),
        voters: newest.map_or(&place.voters, |(_, status, _)| &status.voters).iter().map(|id| id.0).collect(),
        members,
    }
}

fn member(node: NodeId, status: &GroupStatus) -> Member {
    let role = match status.role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
    };
    Member {
        node: node.0,
        role: role.to_owned(),
        term: status.term,
        last_log: status.last_log,
        committed: status.committed,
        applied: status.applied,
        missing_blobs: status.missing_blobs,
    }
}

#[cfg(test)]
pub mod tests;
