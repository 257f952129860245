//! `holdfast cluster` and `holdfast fault`.

use clap::{Arg, ArgMatches, Command};

use super::{Cli, given, json, output, switch, with_flags};
use crate::admin::fault::{FaultKind, FaultRequest};
use crate::config::key::Role;

/// What to do with a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterAction {
    /// Show it.
    Status,
    /// Move a leader.
    TransferLeader {
        /// The group.
        group: u32,
        /// The node.
        node: String,
    },
    /// Take a node out.
    Remove {
        /// The node.
        node: String,
    },
    /// Let a node give everything away.
    Drain {
        /// The node.
        node: String,
        /// Whether to end a drain instead.
        cancel: bool,
        /// Whether to wait until it holds nothing.
        wait: bool,
    },
    /// Say whether a node that is being drained holds nothing any more.
    Drained {
        /// The node; the one that the configuration names by default.
        node: Option<String>,
        /// Whether to wait for it.
        wait: bool,
        /// Seconds to wait in the end.
        linger: u64,
    },
    /// Make the cluster fit a number of nodes.
    Fit {
        /// How many nodes stay.
        count: u64,
        /// Whether to remove those that were drained for it, rather than to drain.
        remove: bool,
    },
    /// Let a node suffer, or recover; or show which do.
    Fault(FaultRequest),
    /// Show what scrubs found, or begin.
    Scrub {
        /// Whether to begin.
        start: bool,
        /// Whether to wait until it is over.
        wait: bool,
    },
}

/// A subcommand that asks the admin API.
pub fn asking(name: &'static str, about: &'static str) -> Command {
    with_flags(Command::new(name).about(about), Role::Client).arg(output())
}

fn node() -> Arg {
    Arg::new("NODE").required(true).help("The node's name or id")
}

/// `holdfast cluster`
pub fn command() -> Command {
    Command::new("cluster")
        .about("Look at a running cluster and change it, through the admin API of any node")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(asking("status", "Show nodes, groups, and what is wrong"))
        .subcommand(
            asking("transfer-leader", "Hand the leadership of a group to another voter")
                .arg(Arg::new("GROUP").required(true).value_parser(clap::value_parser!(u32)).help("The group's id"))
                .arg(node()),
        )
        .subcommand(
            asking("drain", "Let a node give all its copies and leaderships away, and wait for that")
                .arg(node())
                .arg(switch("no-wait", "Return at once; `cluster drained --wait` waits"))
                .arg(switch("cancel", "End a drain: the node may hold things again")),
        )
        .subcommand(
            asking("drained", "Say whether a node that is being drained holds nothing any more")
                .arg(Arg::new("NODE").help("The node's name or id [default: the one that `name` names]"))
                .arg(switch("wait", "Wait for it; over at once for a node that is not being drained"))
                .arg(
                    Arg::new("linger")
                        .long("linger")
                        .value_name("SECONDS")
                        .default_value("0")
                        .value_parser(clap::value_parser!(u64).range(0..=600))
                        .help("Then wait so long, until load balancers have heard that the process is leaving"),
                ),
        )
        .subcommand(
            asking("fit", "Drain the nodes that a smaller StatefulSet will not have: those numbered COUNT and above")
                .arg(
                    Arg::new("COUNT")
                        .required(true)
                        .value_parser(clap::value_parser!(u64).range(1..=1000))
                        .help("How many nodes stay: NAME-0 to NAME-(COUNT-1)"),
                )
                .arg(switch("remove", "Afterwards: remove them from the cluster, each as soon as it has stopped")),
        )
        .subcommand(asking("remove", "Take a node out of every group and out of the cluster").arg(node()))
}

/// `holdfast fault`
pub fn fault() -> Command {
    let from = Arg::new("from").long("from").value_name("NODE,…").value_delimiter(',');
    let ms = Arg::new("ms").long("ms").value_name("MS").value_parser(clap::value_parser!(u32)).default_value("200");
    Command::new("fault")
        .about("For testers: make nodes suffer that were started with --enable-faults")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(asking("status", "Show which nodes suffer what"))
        .subcommand(
            asking("crash", "Let a node answer everything with an error and change nothing, until it is restored")
                .arg(node()),
        )
        .subcommand(asking("restore", "End every fault of a node").arg(node()))
        .subcommand(
            asking("partition", "Cut a node off from other nodes, both ways")
                .arg(node())
                .arg(from.help("Those it is cut off from; all others by default")),
        )
        .subcommand(
            asking("slow-disk", "Let every sync of a node's disk take longer")
                .arg(node())
                .arg(ms.help("How much longer, milliseconds")),
        )
}

/// What `holdfast cluster …` says.
pub fn parse(matches: &ArgMatches) -> Cli {
    let Some((name, matches)) = matches.subcommand() else { unreachable!("clap requires a subcommand") };
    let node = || matches.get_one::<String>("NODE").cloned().unwrap_or_default();
    let action = match name {
        "transfer-leader" => {
            let group = matches.get_one::<u32>("GROUP").copied().unwrap_or_default();
            ClusterAction::TransferLeader { group, node: node() }
        }
        "remove" => ClusterAction::Remove { node: node() },
        "drain" => {
            let (cancel, wait) = (matches.get_flag("cancel"), !matches.get_flag("no-wait"));
            ClusterAction::Drain { node: node(), cancel, wait: wait && !cancel }
        }
        "drained" => {
            let node = matches.get_one::<String>("NODE").cloned();
            let linger = matches.get_one::<u64>("linger").copied().unwrap_or_default();
            ClusterAction::Drained { node, wait: matches.get_flag("wait"), linger }
        }
        "fit" => {
            let count = matches.get_one::<u64>("COUNT").copied().unwrap_or_default();
            ClusterAction::Fit { count, remove: matches.get_flag("remove") }
        }
        _ => ClusterAction::Status,
    };
    Cli::Cluster { action, json: json(matches), flags: given(matches) }
}

/// What `holdfast fault …` says.
pub fn parse_fault(matches: &ArgMatches) -> Cli {
    let Some((name, matches)) = matches.subcommand() else { unreachable!("clap requires a subcommand") };
    let node = || matches.get_one::<String>("NODE").cloned();
    let fault = match name {
        "crash" => FaultKind::Crash {},
        "restore" => FaultKind::Restore {},
        "partition" => {
            let from = matches.get_many::<String>("from").unwrap_or_default().cloned().collect();
            FaultKind::Partition { from }
        }
        "slow-disk" => FaultKind::SlowDisk { ms: matches.get_one::<u32>("ms").copied().unwrap_or_default() },
        _ => FaultKind::Status {},
    };
    let node = if matches!(fault, FaultKind::Status {}) { None } else { node() };
    Cli::Cluster {
        action: ClusterAction::Fault(FaultRequest { node, fault }),
        json: json(matches),
        flags: given(matches),
    }
}
