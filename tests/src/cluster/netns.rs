//! A network of the test's own: a namespace for each node, joined by a bridge that this process reaches too. Packets
//! can be dropped, slowed and cut for real. Takes root, `ip`, `iptables` and `tc`; dropping it removes all of it.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cluster::tool;

static MADE: AtomicU32 = AtomicU32::new(0);

/// The network.
pub struct Network {
    bridge: String,
    nodes: Vec<Place>,
}

struct Place {
    namespace: String,
    address: String,
    outside: String,
}

/// Arguments as one text, for none of them has a blank.
fn run(program: &str, arguments: &str) -> io::Result<String> {
    tool::run(program, &arguments.split_whitespace().collect::<Vec<_>>())
}

impl Network {
    /// Makes places for so many nodes.
    ///
    /// # Errors
    /// Where that is not allowed, or a tool is missing: the fault cannot be installed on this machine.
    pub fn make(nodes: usize) -> io::Result<Self> {
        let number = std::process::id().wrapping_add(MADE.fetch_add(1, Ordering::Relaxed)) % 16_000;
        let (bridge, net) = (format!("hf{number}"), format!("10.{}.{}", 64 + number / 250, number % 250));
        run("ip", &format!("link add {bridge} type bridge"))?;
        let mut made = Self { bridge, nodes: Vec::new() };
        run("ip", &format!("addr add {net}.254/24 dev {}", made.bridge))?;
        run("ip", &format!("link set {} up", made.bridge))?;
        for at in 1..=nodes {
            made.place(at, &net)?;
        }
        Ok(made)
    }

    fn place(&mut self, at: usize, net: &str) -> io::Result<()> {
        let namespace = format!("{}n{at}", self.bridge);
        let outside = format!("{}v{at}", self.bridge);
        let address = format!("{net}.{at}");
        run("ip", &format!("netns add {namespace}"))?;
        self.nodes.push(Place { namespace: namespace.clone(), address: address.clone(), outside: outside.clone() });
        run("ip", &format!("link add {outside} type veth peer name net0 netns {namespace}"))?;
        run("ip", &format!("link set {outside} master {} up", self.bridge))?;
        for words in ["link set lo up", &format!("addr add {address}/24 dev net0"), "link set net0 up"] {
            run("ip", &format!("-n {namespace} {words}"))?;
        }
        self.iptables(self.nodes.len() - 1, "-L INPUT").map(drop)
    }

    /// The address of each node.
    pub fn hosts(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// What makes each node's process live in its place.
    pub fn wraps(&self) -> Vec<(usize, Vec<String>)> {
        let words = |node: &Place| ["ip", "netns", "exec", &node.namespace].map(str::to_owned).to_vec();
        self.nodes.iter().map(words).enumerate().collect()
    }

    fn inside(&self, at: usize, program: &str, arguments: &str) -> io::Result<String> {
        run("ip", &format!("netns exec {} {program} {arguments}", self.nodes[at].namespace))
    }

    fn iptables(&self, at: usize, arguments: &str) -> io::Result<String> {
        self.inside(at, "iptables", &format!("-w {arguments}"))
    }

    /// Every packet from node number `from` is dropped as it arrives at node number `to`.
    pub fn drop_from(&self, from: usize, to: usize) -> io::Result<()> {
        self.iptables(to, &format!("-I INPUT -s {} -j DROP", self.nodes[from].address)).map(drop)
    }

    /// So many of 100 packets that arrive at node number `at` are lost, whoever sent them.
    pub fn lose(&self, at: usize, percent: u32) -> io::Result<()> {
        let share = f64::from(percent) / 100.0;
        self.iptables(at, &format!("-I INPUT -m statistic --mode random --probability {share} -j DROP")).map(drop)
    }

    /// What node number `at` sends goes out at so many bits a second.
    pub fn slow(&self, at: usize, bits: u64) -> io::Result<()> {
        let shape = format!("qdisc replace dev net0 root tbf rate {bits}bit burst 32kb latency 400ms");
        self.inside(at, "tc", &shape).map(drop)
    }

    /// Whether the cable of node number `at` is plugged in.
    pub fn plug(&self, at: usize, plugged: bool) -> io::Result<()> {
        let state = if plugged { "up" } else { "down" };
        run("ip", &format!("link set {} {state}", self.nodes[at].outside)).map(drop)
    }

    /// How many packets have been dropped by all rules since the last [`heal`](Self::heal).
    pub fn dropped(&self) -> io::Result<u64> {
        let mut sum = 0;
        for at in 0..self.nodes.len() {
            let table = self.iptables(at, "-L INPUT -n -v -x")?;
            let rules = table.lines().filter(|line| line.contains(" DROP "));
            sum += rules.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum::<u64>();
        }
        Ok(sum)
    }

    /// Everything gets through again, at full speed.
    pub fn heal(&self) -> io::Result<()> {
        for at in 0..self.nodes.len() {
            self.iptables(at, "-F INPUT")?;
            self.plug(at, true)?;
            // Not there unless it was slowed.
            let _ = self.inside(at, "tc", "qdisc del dev net0 root");
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in &self.nodes {
            let _ = run("ip", &format!("netns del {}", node.namespace));
            let _ = run("ip", &format!("link del {}", node.outside));
        }
        let _ = run("ip", &format!("link del {}", self.bridge));
    }
}
