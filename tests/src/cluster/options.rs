//! How a cluster is made, and the command lines that follow from it.

use std::path::PathBuf;

use crate::cluster::node::Node;
use crate::cluster::{Cluster, SECRET, TOKEN};

/// Where processes listen unless something else is asked for.
const LOOPBACK: &str = "127.0.0.1";

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes at the start.
    pub nodes: usize,
    /// Shard groups.
    pub shards: u32,
    /// Further environment of every node.
    pub env: Vec<(String, String)>,
    /// What nodes are called: this and their number from 0, as a StatefulSet's pods; `n1`, `n2`, … without it.
    pub series: Option<&'static str>,
    /// Further environment of node number N (from 0).
    pub env_of: Vec<(usize, String, String)>,
    /// Where node number N (from 0) keeps its data, if not in the temporary directory.
    pub data: Vec<(usize, PathBuf)>,
    /// Where node number N is dialled by everybody else (`host:port`), if not where it listens: what stands in front
    /// of it. Of every node or of none.
    pub dialled: Vec<String>,
    /// The address on which node number N listens, if not loopback. Of every node or of none.
    pub hosts: Vec<String>,
    /// A program and arguments before the command of node number N, which it must become: `ip netns exec n1`.
    pub wraps: Vec<(usize, Vec<String>)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            shards: 4,
            env: Vec::new(),
            series: None,
            env_of: Vec::new(),
            data: Vec::new(),
            dialled: Vec::new(),
            hosts: Vec::new(),
            wraps: Vec::new(),
        }
    }
}

impl Options {
    fn host(&self, at: usize) -> String {
        self.hosts.get(at).map_or(LOOPBACK, String::as_str).to_owned()
    }
}

impl Cluster {
    pub(super) fn name(&self, at: usize) -> String {
        self.options.series.map_or_else(|| format!("n{}", at + 1), |series| format!("{series}-{at}"))
    }

    /// `--peers`: the first nodes by name.
    fn peers(&self) -> String {
        let of = |at| {
            let own = || format!("{}:{}", self.options.host(at), self.ports.of(at).peer);
            format!("{}={}", self.name(at), self.options.dialled.get(at).cloned().unwrap_or_else(own))
        };
        (0..self.options.nodes).map(of).collect::<Vec<_>>().join(",")
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut env = vec![
            ("HOLDFAST_CLUSTER_SECRET".into(), SECRET.into()),
            ("HOLDFAST_ADMIN_TOKEN".into(), TOKEN.into()),
            ("HOLDFAST_ROOT_ACCESS_KEY".into(), self.keys.access.clone()),
            ("HOLDFAST_ROOT_SECRET_KEY".into(), self.keys.secret.clone()),
        ];
        env.extend(self.options.env.iter().cloned());
        env
    }

    /// Prepares node number `at`. A node beyond the first ones is not in `peers` and says where it is dialled.
    pub(super) fn make(&self, at: usize, name: &str) -> Node {
        let (ports, host) = (self.ports.of(at), self.options.host(at));
        let chosen = self.options.data.iter().find(|(of, _)| *of == at).map(|(_, path)| path.clone());
        let mut node = Node::new(&self.binary, name, chosen.unwrap_or_else(|| self.dir.path().join(name)), ports);
        node.log = self.dir.path().join(format!("{name}.log"));
        let own = |port: u16| format!("{host}:{port}");
        node.args = vec!["server".into(), "--name".into(), name.into(), "--peers".into(), self.peers()];
        for (flag, value) in [
            ("--data", node.data.display().to_string()),
            ("--peer-listen", own(ports.peer)),
            ("--s3-listen", own(ports.s3)),
            ("--admin-listen", own(ports.admin)),
            ("--ops-listen", own(ports.ops)),
            ("--shards", self.options.shards.to_string()),
        ] {
            node.args.extend([flag.to_owned(), value]);
        }
        if at >= self.options.nodes {
            node.args.extend(["--peer-address".to_owned(), own(ports.peer)]);
        }
        node.env = self.environment();
        let further = self.options.env_of.iter().filter(|(of, ..)| *of == at);
        node.env.extend(further.map(|(_, name, value)| (name.clone(), value.clone())));
        node.wrap =
            self.options.wraps.iter().find(|(of, _)| *of == at).map(|(_, wrap)| wrap.clone()).unwrap_or_default();
        node.host = host;
        node
    }

    /// Prepares a gateway that keeps nothing, with the ports of node number `at`, which must not exist. Starts nothing.
    pub fn gateway(&self, at: usize) -> Node {
        assert!(at >= self.nodes.len(), "node number {at} has these ports");
        let (ports, dir) = (self.ports.of(at), self.dir.path());
        let mut gateway = Node::new(&self.binary, "gateway", dir.join(format!("gateway{at}")), ports);
        gateway.args = vec!["gateway".into(), "--peers".into(), self.peers()];
        for (flag, port) in [("--s3-listen", ports.s3), ("--admin-listen", ports.admin), ("--ops-listen", ports.ops)] {
            gateway.args.extend([flag.to_owned(), gateway.at(port)]);
        }
        gateway.env = self.environment();
        gateway
    }
}
