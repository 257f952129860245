//! The command line. The flags of each command come from the table of keys.

mod certs;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use clap_complete::Shell;

use crate::access::command::{self, Question};
use crate::admin::fault::{FaultKind, FaultRequest};
use crate::backup::Choose;
use crate::certs::Action;
use crate::config::key::{KEYS, Role};
use crate::health;

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cli {
    /// Run a process of this role; for `dev` with this many nodes.
    Run {
        /// Its role.
        role: Role,
        /// Nodes of `dev`.
        nodes: u64,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Do something with a running cluster.
    Cluster {
        /// What.
        action: ClusterAction,
        /// Whether to print JSON.
        json: bool,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Look at or change who may do what.
    Access {
        /// What to ask the admin API.
        question: Question,
        /// Whether to print JSON.
        json: bool,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Make, list or restore backups.
    Backup {
        /// What.
        action: BackupAction,
        /// Whether to print JSON.
        json: bool,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Check a data directory that nobody uses.
    Verify {
        /// Whether to print JSON.
        json: bool,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Check the configuration of a role.
    CheckConfig {
        /// The role.
        role: Role,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Print the settings of a role, and where each was made.
    ShowConfig {
        /// The role.
        role: Role,
        /// Whether to print JSON.
        json: bool,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Look at what a process of this role needs from its machine.
    Doctor {
        /// The role.
        role: Role,
        /// Whether to print JSON.
        json: bool,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Show requests as they end.
    Trace {
        /// The query of `/v1/trace`.
        query: String,
        /// Whether to print JSON.
        json: bool,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Print the table of keys.
    ConfigKeys,
    /// Print the admin API's description.
    OpenApi,
    /// Print a shell's completions.
    Completions(Shell),
    /// Write manual pages into this directory.
    Man(PathBuf),
    /// Ask the process on this machine how it is.
    Health {
        /// What.
        question: health::Question,
        /// The flags given, by name.
        flags: Flags,
    },
    /// Make or look at certificates.
    Certs(Action),
}

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

/// What to do with backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupAction {
    /// Make one.
    Create(Place),
    /// Show those that are there.
    List(Place),
    /// Remove some.
    Remove(Place, Choose),
    /// Make a data directory of one.
    Restore {
        /// Where it is kept.
        from: Place,
        /// Which; the newest if none is named.
        name: Option<String>,
    },
}

/// Where backups are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A directory or `s3://BUCKET/PREFIX`.
    pub url: String,
    /// The S3 endpoint, elsewhere than at AWS.
    pub endpoint: Option<String>,
}

/// Flags by name.
pub type Flags = BTreeMap<String, String>;

/// The command, for help and parsing.
pub fn command() -> Command {
    let check_roles = Role::ALL.into_iter().filter(|role| *role != Role::Client).map(Role::as_str);
    let cluster = |name: &'static str, about: &'static str| {
        with_flags(Command::new(name).about(about), Role::Client).arg(output())
    };
    let node = Arg::new("NODE").required(true).help("The node's name or id");
    Command::new("holdfast")
        .about("S3 for Kubernetes and OpenShift that never acknowledges what it could lose")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .max_term_width(120)
        .subcommand(
            with_flags(
                Command::new("dev").about("Run a whole cluster and a gateway in this process, for development"),
                Role::Dev,
            )
            .arg(
                Arg::new("listen").long("listen").value_name("ADDR").conflicts_with("s3-listen").help(
                    "Where S3 is served [default: 127.0.0.1:9000]; admin API and ops follow on the next two ports",
                ),
            )
            .arg(
                Arg::new("nodes")
                    .long("nodes")
                    .value_name("N")
                    .default_value("3")
                    .value_parser(clap::value_parser!(u64).range(1..=7))
                    .help("How many nodes"),
            ),
        )
        .subcommand(with_flags(Command::new("server").about("Run a replica and a gateway"), Role::Server))
        .subcommand(with_flags(Command::new("replica").about("Run a replica: keeps data, speaks no S3"), Role::Replica))
        .subcommand(with_flags(Command::new("gateway").about("Run a gateway: speaks S3, keeps no data"), Role::Gateway))
        .subcommand(
            Command::new("cluster")
                .about("Look at a running cluster and change it, through the admin API of any node")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(cluster("status", "Show nodes, groups, and what is wrong"))
                .subcommand(
                    cluster("transfer-leader", "Hand the leadership of a group to another voter")
                        .arg(
                            Arg::new("GROUP")
                                .required(true)
                                .value_parser(clap::value_parser!(u32))
                                .help("The group's id"),
                        )
                        .arg(node.clone()),
                )
                .subcommand(
                    cluster("drain", "Let a node give all its copies and leaderships away, and wait for that")
                        .arg(node.clone())
                        .arg(switch("no-wait", "Return at once; `cluster drained --wait` waits"))
                        .arg(switch("cancel", "End a drain: the node may hold things again")),
                )
                .subcommand(
                    cluster("drained", "Say whether a node that is being drained holds nothing any more")
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
                    cluster(
                        "fit",
                        "Drain the nodes that a smaller StatefulSet will not have: those numbered COUNT and above",
                    )
                    .arg(
                        Arg::new("COUNT")
                            .required(true)
                            .value_parser(clap::value_parser!(u64).range(1..=1000))
                            .help("How many nodes stay: NAME-0 to NAME-(COUNT-1)"),
                    )
                    .arg(switch("remove", "Afterwards: remove them from the cluster, each as soon as it has stopped")),
                )
                .subcommand(
                    cluster("remove", "Take a node out of every group and out of the cluster").arg(node.clone()),
                ),
        )
        .subcommand(fault(&cluster, &node))
        .subcommands(command::commands(&|command| with_flags(command, Role::Client).arg(output())))
        .subcommand(
            Command::new("health")
                .about("Ask the process on this machine whether it is ready: for container health checks")
                .args(KEYS.iter().filter(|key| HEALTH_KEYS.contains(&key.name)).map(flag))
                .arg(
                    Arg::new("live")
                        .long("live")
                        .action(ArgAction::SetTrue)
                        .help("Ask only whether it answers, not whether it should get requests"),
                ),
        )
        .subcommand(certs::command())
        .subcommand(
            Command::new("scrub")
                .about("Let nodes read all that they hold and repair what has gone bad, or show what they found")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(
                    cluster("status", "Show what each node's scrub finds, or last found")
                        .arg(switch("wait", "Wait until no node is at it")),
                )
                .subcommand(
                    cluster("start", "Let every node begin now")
                        .arg(switch("wait", "Wait until every node has finished, and show what they found")),
                ),
        )
        .subcommand(
            with_flags(
                Command::new("verify").about(
                    "Check the data directory of a node that does not run: 0 if it is sound, 1 if not; repairs nothing",
                ),
                Role::Replica,
            )
            .arg(output()),
        )
        .subcommand(
            Command::new("config")
                .about("Check or explain the configuration")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(
                    every_flag(
                        Command::new("check").about("Check file, environment and flags without starting anything"),
                    )
                    .arg(
                        Arg::new("role")
                            .long("role")
                            .default_value("server")
                            .value_parser(check_roles.collect::<Vec<_>>())
                            .help("The command to check for"),
                    ),
                )
                .subcommand(
                    every_flag(
                        Command::new("show").about("Print every setting and where it was made; never a secret's text"),
                    )
                    .arg(role_arg())
                    .arg(
                        Arg::new("redact")
                            .long("redact")
                            .action(ArgAction::SetTrue)
                            .help("Show no secrets: always so, for scripts that say it"),
                    )
                    .arg(output()),
                )
                .subcommand(Command::new("keys").about("Print every key, as Markdown")),
        )
        .subcommand(backup())
        .subcommand(
            every_flag(Command::new("doctor").about("Look at disk, clock, names, ports and limits, changing nothing"))
                .arg(role_arg())
                .arg(output()),
        )
        .subcommand(
            with_flags(
                Command::new("trace").about("Show requests as they end, of the gateway whose admin API is asked"),
                Role::Client,
            )
            .arg(Arg::new("operation").long("operation").value_name("NAME").help("Only this one, such as GetObject"))
            .arg(Arg::new("failed").long("failed").action(ArgAction::SetTrue).help("Only answers of 400 and above"))
            .arg(output()),
        )
        .subcommand(Command::new("openapi").about("Print the admin API as an OpenAPI document"))
        .subcommand(
            Command::new("completions")
                .about("Print completions for a shell, to be sourced")
                .arg(Arg::new("SHELL").required(true).value_parser(clap::value_parser!(Shell)).help("Which shell")),
        )
        .subcommand(
            Command::new("man")
                .about("Write a manual page for every command")
                .arg(Arg::new("DIR").required(true).value_parser(clap::value_parser!(PathBuf)).help("Where to")),
        )
}

fn fault(cluster: &dyn Fn(&'static str, &'static str) -> Command, node: &Arg) -> Command {
    let from = Arg::new("from").long("from").value_name("NODE,…").value_delimiter(',');
    let ms = Arg::new("ms").long("ms").value_name("MS").value_parser(clap::value_parser!(u32)).default_value("200");
    Command::new("fault")
        .about("For testers: make nodes suffer that were started with --enable-faults")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(cluster("status", "Show which nodes suffer what"))
        .subcommand(
            cluster("crash", "Let a node answer everything with an error and change nothing, until it is restored")
                .arg(node.clone()),
        )
        .subcommand(cluster("restore", "End every fault of a node").arg(node.clone()))
        .subcommand(
            cluster("partition", "Cut a node off from other nodes, both ways")
                .arg(node.clone())
                .arg(from.help("Those it is cut off from; all others by default")),
        )
        .subcommand(
            cluster("slow-disk", "Let every sync of a node's disk take longer")
                .arg(node.clone())
                .arg(ms.help("How much longer, milliseconds")),
        )
}

/// What `health` must know to find the ops listener.
const HEALTH_KEYS: [&str; 4] = ["config", "ops-listen", "tls-cert", "tls-plain"];

fn switch(name: &'static str, about: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(about)
}

fn backup() -> Command {
    let place = |command: Command| {
        command
            .arg(
                Arg::new("PLACE").required(true).help("A directory, or s3://BUCKET/PREFIX with keys in AWS_ variables"),
            )
            .arg(
                Arg::new("endpoint")
                    .long("endpoint")
                    .value_name("URL")
                    .help("S3 endpoint, elsewhere than at AWS [env: AWS_ENDPOINT_URL]"),
            )
            .arg(output())
    };
    Command::new("backup")
        .about("Make backups of the whole store, and make a new cluster of one")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(place(with_flags(
            Command::new("create").about("Copy metadata, and what of the objects is not there yet"),
            Role::Client,
        )))
        .subcommand(place(Command::new("list").about("Show the backups that are there")))
        .subcommand(
            place(with_flags(
                Command::new("restore").about("Make an empty data directory the first node of a new cluster"),
                Role::Replica,
            ))
            .arg(Arg::new("backup").long("backup").value_name("NAME").help("Which [default: the newest]")),
        )
        .subcommand(
            place(Command::new("remove").about("Remove backups, and all bytes that only they named"))
                .arg(Arg::new("NAME").required(true).num_args(1..).help("As `list` shows them")),
        )
        .subcommand(
            place(Command::new("prune").about("Remove all backups but the newest, and all bytes that only they named"))
                .arg(
                    Arg::new("keep")
                        .long("keep")
                        .value_name("N")
                        .required(true)
                        .value_parser(clap::value_parser!(u64).range(1..=100_000))
                        .help("How many stay"),
                ),
        )
}

fn role_arg() -> Arg {
    let roles = Role::ALL.into_iter().filter(|role| *role != Role::Client).map(Role::as_str);
    Arg::new("role")
        .long("role")
        .default_value("server")
        .value_parser(roles.collect::<Vec<_>>())
        .help("The command that it is for")
}

fn output() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("How to print")
}

fn flag(key: &'static crate::config::key::Key) -> Arg {
    let default = if key.default.is_empty() { String::new() } else { format!(" [default: {}]", key.default) };
    let about = format!("{}{default} [env: {}]", key.about.trim_end_matches('.').replace('`', ""), key.variable());
    if key.secret {
        let name = format!("{}-file", key.name);
        let about = format!("File with this secret: {about}");
        return Arg::new(name.clone()).long(name).value_name("FILE").help(about);
    }
    let flag = Arg::new(key.name).long(key.name).value_name(key.value).help(about);
    match key.value {
        "BOOL" => flag.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => flag,
    }
}

fn with_flags(command: Command, role: Role) -> Command {
    command.args(KEYS.iter().filter(|key| key.roles.contains(&role)).map(flag))
}

fn every_flag(command: Command) -> Command {
    command.args(KEYS.iter().map(flag))
}

/// The table's flags among those given.
fn given(matches: &ArgMatches) -> Flags {
    let names = KEYS.iter().map(|key| if key.secret { format!("{}-file", key.name) } else { key.name.to_owned() });
    names
        .filter_map(|name| {
            let value = matches.try_get_one::<String>(&name).ok().flatten()?.clone();
            Some((name, value))
        })
        .collect()
}

impl Cli {
    /// Parses a command line, the program's name first.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        let Some((name, matches)) = matches.subcommand() else { unreachable!("clap requires a subcommand") };
        Ok(match name {
            "cluster" => Self::cluster(matches),
            "fault" => Self::fault(matches),
            access if command::COMMANDS.contains(&access) => {
                // The flags stand behind the last word.
                let leaf = matches.subcommand().map_or(matches, |(_, leaf)| leaf);
                let json = leaf.get_one::<String>("output").is_some_and(|format| format == "json");
                Cli::Access { question: command::question(access, matches), json, flags: given(leaf) }
            }
            "health" => {
                let question = if matches.get_flag("live") { health::Question::Live } else { health::Question::Ready };
                Cli::Health { question, flags: given(matches) }
            }
            "certs" => Cli::Certs(certs::action(matches)),
            "scrub" => {
                let Some((name, matches)) = matches.subcommand() else { unreachable!("clap requires a subcommand") };
                let action = ClusterAction::Scrub { start: name == "start", wait: matches.get_flag("wait") };
                Cli::Cluster { action, json: json(matches), flags: given(matches) }
            }
            "verify" => Cli::Verify { json: json(matches), flags: given(matches) },
            "config" => match matches.subcommand() {
                Some(("check", matches)) => {
                    let role = matches.get_one::<String>("role").and_then(|role| role_of(role)).unwrap_or(Role::Server);
                    Cli::CheckConfig { role, flags: given(matches) }
                }
                Some(("show", matches)) => {
                    Cli::ShowConfig { role: role(matches), json: json(matches), flags: given(matches) }
                }
                _ => Cli::ConfigKeys,
            },
            "backup" => Self::backup(matches),
            "doctor" => Cli::Doctor { role: role(matches), json: json(matches), flags: given(matches) },
            "trace" => {
                let operation = matches.get_one::<String>("operation").map(|name| format!("operation={name}"));
                let failed = matches.get_flag("failed").then(|| "failed=true".to_owned());
                let query = operation.into_iter().chain(failed).collect::<Vec<_>>().join("&");
                Cli::Trace { query, json: json(matches), flags: given(matches) }
            }
            "openapi" => Cli::OpenApi,
            "completions" => {
                Cli::Completions(matches.get_one::<Shell>("SHELL").copied().expect("clap requires a shell"))
            }
            "man" => Cli::Man(matches.get_one::<PathBuf>("DIR").cloned().expect("clap requires a directory")),
            _ => {
                let role = role_of(name).expect("every other subcommand is a role");
                let mut flags = given(matches);
                let mut nodes = 0;
                if role == Role::Dev {
                    nodes = matches.get_one::<u64>("nodes").copied().unwrap_or(3);
                    let listen = matches.get_one::<String>("listen").cloned();
                    flags.extend(listen.map(|listen| ("s3-listen".to_owned(), listen)));
                }
                Cli::Run { role, nodes, flags }
            }
        })
    }

    fn fault(matches: &ArgMatches) -> Cli {
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
        let json = matches.get_one::<String>("output").is_some_and(|format| format == "json");
        Cli::Cluster { action: ClusterAction::Fault(FaultRequest { node, fault }), json, flags: given(matches) }
    }

    fn backup(matches: &ArgMatches) -> Cli {
        let Some((name, matches)) = matches.subcommand() else { unreachable!("clap requires a subcommand") };
        let place = Place {
            url: matches.get_one::<String>("PLACE").cloned().unwrap_or_default(),
            endpoint: matches.get_one::<String>("endpoint").cloned(),
        };
        let action = match name {
            "create" => BackupAction::Create(place),
            "restore" => BackupAction::Restore { from: place, name: matches.get_one::<String>("backup").cloned() },
            "remove" => {
                let names = matches.get_many::<String>("NAME").into_iter().flatten().cloned().collect();
                BackupAction::Remove(place, Choose::Named(names))
            }
            "prune" => {
                let keep = matches.get_one::<u64>("keep").copied().unwrap_or(1) as usize;
                BackupAction::Remove(place, Choose::AllBut(keep))
            }
            _ => BackupAction::List(place),
        };
        let json = matches.get_one::<String>("output").is_some_and(|format| format == "json");
        Cli::Backup { action, json, flags: given(matches) }
    }

    fn cluster(matches: &ArgMatches) -> Cli {
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
        let json = matches.get_one::<String>("output").is_some_and(|format| format == "json");
        Cli::Cluster { action, json, flags: given(matches) }
    }
}

/// What is wrong with a command line, without the usage.
pub fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let what = lines.first().map_or("this is no command line", |line| line.trim_start_matches("error: "));
    let rest = lines.iter().skip(1).take_while(|line| !line.starts_with("tip:") && !line.starts_with("Usage:"));
    let rest: Vec<_> = rest.filter(|line| !line.starts_with('[') && !line.starts_with("For more")).copied().collect();
    let tip = lines.iter().find_map(|line| line.strip_prefix("tip: "));
    let mut said = what.to_owned();
    if !rest.is_empty() {
        said += &format!(" {}", rest.join(" "));
    }
    match tip {
        Some(tip) => format!("{said} ({tip})"),
        None => format!("{said} (--help tells more)"),
    }
}

fn role(matches: &ArgMatches) -> Role {
    matches.get_one::<String>("role").and_then(|role| role_of(role)).unwrap_or(Role::Server)
}

fn json(matches: &ArgMatches) -> bool {
    matches.get_one::<String>("output").is_some_and(|format| format == "json")
}

fn role_of(command: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.as_str() == command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::parse(line.split(' ').map(OsString::from))
    }

    fn flags(pairs: &[(&str, &str)]) -> Flags {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_command_is_parsed() {
        let dev = Cli::Run { role: Role::Dev, nodes: 1, flags: flags(&[("data", "/d"), ("s3-listen", "127.0.0.1:1")]) };
        assert_eq!(parse("holdfast dev --data /d --listen 127.0.0.1:1 --nodes 1").unwrap(), dev);
        let server = Cli::Run { role: Role::Server, nodes: 0, flags: flags(&[("name", "n1"), ("shards", "2")]) };
        assert_eq!(parse("holdfast server --name n1 --shards 2").unwrap(), server);
        let status =
            Cli::Cluster { action: ClusterAction::Status, json: true, flags: flags(&[("admin", "http://h:1")]) };
        assert_eq!(parse("holdfast cluster status -o json --admin http://h:1").unwrap(), status);
        let action = ClusterAction::Drain { node: "n4".to_owned(), cancel: false, wait: true };
        assert_eq!(
            parse("holdfast cluster drain n4").unwrap(),
            Cli::Cluster { action, json: false, flags: flags(&[]) }
        );
        let action = ClusterAction::Drained { node: None, wait: true, linger: 0 };
        assert_eq!(
            parse("holdfast cluster drained --wait").unwrap(),
            Cli::Cluster { action, json: false, flags: flags(&[]) }
        );
        let action = ClusterAction::Fit { count: 3, remove: true };
        assert_eq!(
            parse("holdfast cluster fit 3 --remove").unwrap(),
            Cli::Cluster { action, json: false, flags: flags(&[]) }
        );
        let action = ClusterAction::TransferLeader { group: 3, node: "n2".to_owned() };
        assert_eq!(
            parse("holdfast cluster transfer-leader 3 n2").unwrap(),
            Cli::Cluster { action, json: false, flags: flags(&[]) }
        );
        let faulty = |node: Option<&str>, fault| {
            let action = ClusterAction::Fault(FaultRequest { node: node.map(str::to_owned), fault });
            Cli::Cluster { action, json: false, flags: flags(&[]) }
        };
        assert_eq!(parse("holdfast fault crash n2").unwrap(), faulty(Some("n2"), FaultKind::Crash {}));
        assert_eq!(parse("holdfast fault status").unwrap(), faulty(None, FaultKind::Status {}));
        let from = vec!["n1".to_owned(), "n3".to_owned()];
        assert_eq!(
            parse("holdfast fault partition n2 --from n1,n3").unwrap(),
            faulty(Some("n2"), FaultKind::Partition { from })
        );
        assert_eq!(
            parse("holdfast fault slow-disk n2 --ms 9").unwrap(),
            faulty(Some("n2"), FaultKind::SlowDisk { ms: 9 })
        );
        let begin = ClusterAction::Scrub { start: true, wait: true };
        assert_eq!(
            parse("holdfast scrub start --wait").unwrap(),
            Cli::Cluster { action: begin, json: false, flags: flags(&[]) }
        );
        let check = Cli::Verify { json: true, flags: flags(&[("data", "/d")]) };
        assert_eq!(parse("holdfast verify --data /d -o json").unwrap(), check);
        let enabled = Cli::Run { role: Role::Server, nodes: 0, flags: flags(&[("enable-faults", "true")]) };
        assert_eq!(parse("holdfast server --enable-faults").unwrap(), enabled);
        let check = Cli::CheckConfig { role: Role::Gateway, flags: flags(&[("cluster-secret-file", "/s")]) };
        assert_eq!(parse("holdfast config check --role gateway --cluster-secret-file /s").unwrap(), check);
        assert_eq!(parse("holdfast config keys").unwrap(), Cli::ConfigKeys);
        let from = Place { url: "s3://b/p".to_owned(), endpoint: Some("http://s3:1".to_owned()) };
        let action = BackupAction::Restore { from, name: None };
        assert_eq!(
            parse("holdfast backup restore s3://b/p --endpoint http://s3:1 --data /d").unwrap(),
            Cli::Backup { action, json: false, flags: flags(&[("data", "/d")]) }
        );
        let place = Place { url: "/b".to_owned(), endpoint: None };
        let action = BackupAction::Remove(place.clone(), Choose::AllBut(3));
        let prune = Cli::Backup { action, json: false, flags: flags(&[]) };
        assert_eq!(parse("holdfast backup prune /b --keep 3").unwrap(), prune);
        assert!(parse("holdfast backup prune /b").is_err() && parse("holdfast backup prune /b --keep 0").is_err());
        let action = BackupAction::Remove(place, Choose::Named(vec!["x".to_owned(), "y".to_owned()]));
        let remove = Cli::Backup { action, json: true, flags: flags(&[]) };
        assert_eq!(parse("holdfast backup remove /b x y -o json").unwrap(), remove);
        let trace = Cli::Trace { query: "operation=GetObject&failed=true".to_owned(), json: true, flags: flags(&[]) };
        assert_eq!(parse("holdfast trace --operation GetObject --failed -o json").unwrap(), trace);
        let show = Cli::ShowConfig { role: Role::Server, json: false, flags: flags(&[("shards", "2")]) };
        assert_eq!(parse("holdfast config show --redact --shards 2").unwrap(), show);
        let doctor = Cli::Doctor { role: Role::Gateway, json: false, flags: flags(&[]) };
        assert_eq!(parse("holdfast doctor --role gateway").unwrap(), doctor);
        assert_eq!(parse("holdfast completions fish").unwrap(), Cli::Completions(Shell::Fish));
        assert_eq!(parse("holdfast man /m").unwrap(), Cli::Man("/m".into()));
        let flags = flags(&[("ops-listen", "127.0.0.1:1")]);
        let live = Cli::Health { question: health::Question::Live, flags };
        assert_eq!(parse("holdfast health --live --ops-listen 127.0.0.1:1").unwrap(), live);
        let subjects = vec!["n1".to_owned(), "n2=a,b".to_owned()];
        let init = Action::Init { dir: "d".into(), subjects, days: 7 };
        assert_eq!(parse("holdfast certs init d --name n1 --name n2=a,b --days 7").unwrap(), Cli::Certs(init));
    }

    #[test]
    fn flags_of_other_commands_and_secrets_are_refused() {
        for line in [
            "holdfast gateway --data /d",
            "holdfast replica --s3-listen 127.0.0.1:1",
            "holdfast server --cluster-secret open",
            "holdfast dev --nodes 0",
            "holdfast dev --nodes 8",
            "holdfast cluster transfer-leader one n2",
            "holdfast serve",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
