//! `holdfast backup`.

use clap::{Arg, ArgMatches, Command};

use super::{Cli, given, json, output, with_flags};
use crate::backup::Choose;
use crate::config::key::Role;

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

/// `holdfast backup`
pub fn command() -> Command {
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

/// What `holdfast backup …` says.
pub fn parse(matches: &ArgMatches) -> Cli {
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
    Cli::Backup { action, json: json(matches), flags: given(matches) }
}
