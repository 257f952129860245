//! The command line. The flags of each command come from the table of keys.

mod backup;
mod certs;
mod cluster;
mod import;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use clap_complete::Shell;

use crate::access::command::{self, Question};
use crate::certs::Action;
use crate::config::key::{KEYS, Role};
use crate::health;

pub use backup::{BackupAction, Place};
pub use cluster::ClusterAction;
pub use import::ImportArguments;

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
    /// Copy the objects of another S3 here.
    Import {
        /// What, and from where.
        asked: ImportArguments,
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

/// Flags by name.
pub type Flags = BTreeMap<String, String>;

/// The command, for help and parsing.
pub fn command() -> Command {
    let check_roles = Role::ALL.into_iter().filter(|role| *role != Role::Client).map(Role::as_str);
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
        .subcommand(cluster::command())
        .subcommand(cluster::fault())
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
                    cluster::asking("status", "Show what each node's scrub finds, or last found")
                        .arg(switch("wait", "Wait until no node is at it")),
                )
                .subcommand(
                    cluster::asking("start", "Let every node begin now")
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
        .subcommand(backup::command())
        .subcommand(import::command())
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

/// What `health` must know to find the ops listener.
const HEALTH_KEYS: [&str; 4] = ["config", "ops-listen", "tls-cert", "tls-plain"];

fn switch(name: &'static str, about: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(about)
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
            "cluster" => cluster::parse(matches),
            "fault" => cluster::parse_fault(matches),
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
            "backup" => backup::parse(matches),
            "import" => import::parse(matches),
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
mod tests;
