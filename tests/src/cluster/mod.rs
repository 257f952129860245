//! A cluster of real `holdfast` processes on loopback, in a temporary directory, with its own ports. Dropping it ends
//! its processes and, after a failed test, prints the ends of their logs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tempfile::TempDir;

use crate::client::plain::{self, HttpError};
use crate::client::sign::Keys;
use crate::wait::{self, TimedOut};

pub mod balancer;
pub mod binary;
pub mod blocklog;
pub mod cgroup;
pub mod clock;
pub mod disk;
pub mod netns;
pub mod node;
pub mod options;
pub mod ports;
pub mod status;
pub mod strace;
pub mod tool;
pub mod verify;

use node::Node;
pub use options::Options;
use ports::Ports;
use status::Status;

/// How long a node may take until it is ready, in a debug build on a busy machine.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

const SECRET: &str = "a-cluster-secret-for-tests";
const TOKEN: &str = "an-admin-token-for-tests";

/// What goes wrong with a cluster as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The binary is not there.
    #[error(transparent)]
    Binary(#[from] binary::NoBinary),
    /// A file, a process or a port.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A condition did not come true.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// No answer from the admin API.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An answer that says no.
    #[error("the admin API answers {status}: {body}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its body.
        body: String,
    },
    /// `holdfast verify` could not look at a data directory.
    #[error("the data of {node} cannot be checked: {said}")]
    Unchecked {
        /// The node.
        node: String,
        /// What it said.
        said: String,
    },
    /// An answer of another form.
    #[error("the admin API's answer is no status: {0}")]
    Status(#[from] serde_json::Error),
}

/// The cluster.
pub struct Cluster {
    nodes: Vec<Node>,
    options: Options,
    keys: Keys,
    binary: PathBuf,
    ports: Ports,
    dir: TempDir,
    turn: Arc<File>,
}

impl Cluster {
    /// Starts a cluster of three and waits until all of it is ready.
    pub async fn start() -> Result<Self, ClusterError> {
        Self::start_with(Options::default()).await
    }

    /// Starts a cluster and waits until all of it is ready.
    pub async fn start_with(options: Options) -> Result<Self, ClusterError> {
        let mut cluster = Self::lay_out(options).await?;
        cluster.started().await?;
        Ok(cluster)
    }

    async fn started(&mut self) -> Result<(), ClusterError> {
        for node in &mut self.nodes {
            node.start()?;
        }
        self.ready().await
    }

    /// Waits for its turn (clusters of one build directory run one after the other) and prepares everything, starting
    /// nothing.
    pub async fn lay_out(options: Options) -> Result<Self, ClusterError> {
        let binary = binary::find()?;
        let turn = binary::turn(&binary).await?;
        Self::prepared(options, binary, Arc::new(turn))
    }

    /// Starts another cluster in the turn of this one, and waits until all of it is ready.
    pub async fn beside(&self, options: Options) -> Result<Self, ClusterError> {
        let mut cluster = Self::prepared(options, self.binary.clone(), self.turn.clone())?;
        cluster.started().await?;
        Ok(cluster)
    }

    fn prepared(options: Options, binary: PathBuf, turn: Arc<File>) -> Result<Self, ClusterError> {
        let dir = TempDir::with_prefix("holdfast-test-")?;
        let keys = Keys { access: "holdfastroot".into(), secret: "a-root-secret-for-tests".into() };
        let ports = Ports::take()?;
        let mut cluster = Self { nodes: Vec::new(), options, keys, binary, ports, dir, turn };
        for at in 0..cluster.options.nodes {
            let node = cluster.make(at, &cluster.name(at));
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    /// Node number `at`, from 0.
    pub fn node(&mut self, at: usize) -> &mut Node {
        &mut self.nodes[at]
    }

    /// All nodes, running or not.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// How many nodes there are, running or not.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The numbers of the nodes that run.
    pub fn running(&mut self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&at| self.nodes[at].is_running()).collect()
    }

    /// Credentials of the root user.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The binary that runs.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The directory of data and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `host:port` of every gateway.
    pub fn gateways(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.at(node.ports.s3)).collect()
    }

    /// `http://host:port` of node number `at`.
    pub fn endpoint(&self, at: usize) -> String {
        format!("http://{}", self.nodes[at].at(self.nodes[at].ports.s3))
    }

    /// Waits until every running node is ready and every group has a leader and all its voters alive and caught up.
    pub async fn ready(&mut self) -> Result<(), ClusterError> {
        for at in self.running() {
            self.node_ready(at).await?;
        }
        let running = self.running();
        let probe = || async {
            for &at in &running {
                let status = self.status(at).await.map_err(|error| error.to_string())?;
                if !status.problems.is_empty() || status.groups.iter().any(|group| group.leader.is_none()) {
                    return Err(format!("{}: {:?}", self.nodes[at].name, status.problems));
                }
            }
            Ok(())
        };
        Ok(wait::until("a cluster without problems", READY_WITHIN, probe).await?)
    }

    /// Waits until node number `at` says that it is ready; an exit of its process ends the wait at once.
    pub async fn node_ready(&mut self, at: usize) -> Result<(), ClusterError> {
        let ops = self.nodes[at].at(self.nodes[at].ports.ops);
        let start = std::time::Instant::now();
        let mut last = String::new();
        while start.elapsed() < READY_WITHIN {
            if !self.nodes[at].is_running() {
                let what = format!("{} has ended: {}", self.nodes[at].name, self.nodes[at].log_tail(20));
                return Err(io::Error::other(what).into());
            }
            match plain::get(&ops, "/health/ready", None).await {
                Ok((status, _)) if status.is_success() => return Ok(()),
                Ok((status, body)) => last = format!("{status} {body}"),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let what = format!("{} is not ready after {READY_WITHIN:?}: {last}", self.nodes[at].name);
        Err(io::Error::other(what).into())
    }

    /// The cluster as node number `at` sees it.
    pub async fn status(&self, at: usize) -> Result<Status, ClusterError> {
        let admin = self.nodes[at].at(self.nodes[at].ports.admin);
        let (status, body) = plain::get(&admin, "/v1/cluster", Some(TOKEN)).await?;
        match status.is_success() {
            true => Ok(serde_json::from_str(&body)?),
            false => Err(ClusterError::Refused { status: status.as_u16(), body }),
        }
    }

    /// Waits until some running node knows a leader of `group` that runs; its number.
    pub async fn leader(&mut self, group: u32, limit: Duration) -> Result<usize, ClusterError> {
        let running = self.running();
        let probe = || async {
            let mut best: Option<(u64, usize)> = None;
            for &at in &running {
                let Ok(status) = self.status(at).await else { continue };
                let Some(entry) = status.groups.iter().find(|entry| entry.id == group) else { continue };
                let leader = entry.leader.and_then(|id| status.nodes.iter().find(|node| node.id == id));
                let number = leader.and_then(|leader| self.nodes.iter().position(|node| node.name == leader.name));
                if let Some(number) = number.filter(|number| running.contains(number)) {
                    best = best.max(Some((entry.term, number)));
                }
            }
            best.map(|(_, number)| number).ok_or_else(|| "nobody knows one".to_owned())
        };
        Ok(wait::until(&format!("a leader of group {group}"), limit, probe).await?)
    }

    /// How many groups each node leads, by its number, as node number `at` sees it.
    pub async fn leaderships(&self, at: usize) -> Result<Vec<usize>, ClusterError> {
        let status = self.status(at).await?;
        let mut count = vec![0; self.nodes.len()];
        for leader in status.groups.iter().filter_map(|group| group.leader) {
            let name = status.nodes.iter().find(|node| node.id == leader).map(|node| &node.name);
            if let Some(number) = self.nodes.iter().position(|node| Some(&node.name) == name) {
                count[number] += 1;
            }
        }
        Ok(count)
    }

    /// Prepares one more node and starts nothing; its number.
    pub fn prepare(&mut self, name: &str) -> usize {
        let at = self.nodes.len();
        let node = self.make(at, name);
        self.nodes.push(node);
        at
    }

    /// Starts one more node and waits until it is ready; its number.
    pub async fn add(&mut self, name: &str) -> Result<usize, ClusterError> {
        let at = self.prepare(name);
        self.nodes[at].start()?;
        self.node_ready(at).await?;
        Ok(at)
    }

    /// Takes a node out of the cluster, by the admin API of node number `through`. The node's process goes on.
    pub async fn remove(&self, name: &str, through: usize) -> Result<(), ClusterError> {
        self.admin(through, "/v1/cluster/remove-node", format!("{{\"node\":\"{name}\"}}")).await
    }

    /// Hands a group's leadership to a node.
    pub async fn transfer(&self, group: u32, to: &str, through: usize) -> Result<(), ClusterError> {
        let body = format!("{{\"group\":{group},\"node\":\"{to}\"}}");
        self.admin(through, "/v1/cluster/transfer-leader", body).await
    }

    async fn admin(&self, through: usize, path: &str, body: String) -> Result<(), ClusterError> {
        let admin = self.nodes[through].at(self.nodes[through].ports.admin);
        let (status, body) = plain::request(Method::POST, &admin, path, Some(TOKEN), body).await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(ClusterError::Refused { status: status.as_u16(), body }),
        }
    }

    /// Runs `holdfast ARGS…` against the admin API of node number `at`: its exit code, and all that it printed.
    pub async fn holdfast(&self, at: usize, args: &[&str]) -> io::Result<(Option<i32>, String)> {
        let output = tokio::process::Command::new(&self.binary)
            .args(args)
            .env_clear()
            .env("HOLDFAST_ADMIN", format!("http://{}", self.nodes[at].at(self.nodes[at].ports.admin)))
            .env("HOLDFAST_ADMIN_TOKEN", TOKEN)
            .current_dir(self.dir.path())
            .kill_on_drop(true)
            .output()
            .await?;
        let printed = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&printed).into_owned()))
    }

    /// The sum of the samples of a metric on node number `at`; `None` if it has none.
    pub async fn metric(&self, at: usize, name: &str) -> Result<Option<f64>, ClusterError> {
        self.metrics(at, |metric| metric == name).await
    }

    /// The sum of the samples of all metrics whose names are chosen; `None` if there are none.
    pub async fn metrics(&self, at: usize, choose: impl Fn(&str) -> bool) -> Result<Option<f64>, ClusterError> {
        let ops = self.nodes[at].at(self.nodes[at].ports.ops);
        let (_, page) = plain::get(&ops, "/metrics", None).await?;
        let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            metric.split('{').next().is_some_and(&choose).then(|| value.parse::<f64>().ok())?
        });
        Ok(samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value)))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
            if std::thread::panicking() {
                eprintln!("---- end of the log of {} ----\n{}", node.name, node.log_tail(40));
            }
        }
        if let Some(keep) = std::env::var_os("HOLDFAST_TEST_KEEP").filter(|_| std::thread::panicking()) {
            let to = PathBuf::from(keep).join(self.dir.path().file_name().unwrap_or_default());
            let _ = std::process::Command::new("cp").arg("-r").arg(self.dir.path()).arg(&to).status();
            eprintln!("data and logs are kept in {}", to.display());
        }
    }
}
