//! `holdfast certs` on the command line.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::certs::Action;

/// The command.
pub fn command() -> Command {
    let dir = Arg::new("DIR").required(true).help("Where the authority is kept: away from the nodes");
    let days = Arg::new("days")
        .long("days")
        .value_name("DAYS")
        .default_value("365")
        .value_parser(clap::value_parser!(i64).range(1..=3650))
        .help("How long the pairs are valid");
    let form = "NAME, or NAME=HOST,HOST with every name and address that is dialled; NAME alone: itself and loopback";
    Command::new("certs")
        .about("A small authority of the cluster's own: certificates for nodes, gateways and listeners")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("init")
                .about("Make an authority (ca.crt, ca.key) and a pair for each name")
                .arg(dir.clone())
                .arg(Arg::new("name").long("name").value_name("NAME[=HOST,…]").action(ArgAction::Append).help(form))
                .arg(days.clone()),
        )
        .subcommand(
            Command::new("issue")
                .about("Make one pair, or a new one in place of an old one")
                .arg(dir)
                .arg(Arg::new("NAME").required(true).help(form))
                .arg(days),
        )
        .subcommand(
            Command::new("show")
                .about("Tell until when certificates are valid")
                .arg(Arg::new("FILE").required(true).num_args(1..).help("PEM files")),
        )
}

/// What is to be done.
pub fn action(matches: &ArgMatches) -> Action {
    let Some((name, matches)) = matches.subcommand() else { unreachable!("clap requires a subcommand") };
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let all = |name: &str| matches.get_many::<String>(name).into_iter().flatten().cloned();
    let days = || matches.get_one::<i64>("days").copied().unwrap_or(365);
    match name {
        "init" => Action::Init { dir: text("DIR").into(), subjects: all("name").collect(), days: days() },
        "issue" => Action::Issue { dir: text("DIR").into(), subject: text("NAME"), days: days() },
        _ => Action::Show { paths: all("FILE").map(Into::into).collect() },
    }
}
