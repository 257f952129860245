//! `holdfast`: parses, builds, runs, exits.
//!
//! Exit codes: 0 after an orderly stop, 1 when a running process fails or a command is refused, 2 when something is
//! wrong with how it was started (one line on stderr says what).

mod access;
mod admin;
mod backup;
mod certs;
mod cli;
mod client;
mod clock;
mod cluster;
mod commands;
mod compose;
mod config;
mod dev;
mod doctor;
mod drain;
mod fit;
mod health;
mod http;
mod import;
mod index;
mod lock;
mod logging;
mod manual;
mod metrics;
mod ops;
mod profile;
mod protobuf;
mod release;
mod run;
mod scrub;
mod sdk;
mod sockets;
mod status;
mod tls;
mod traces;
mod verify;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use cli::{Cli, ClusterAction};
use client::AdminClient;
use config::{ClientConfig, Config, LogConfig};
use holdfast_replica::file::{self, RealFiles};
use holdfast_wire::seam::{SystemClock, TcpNet};
use tls::Sources;

pub use release::Release;

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

/// The program, as a release that speaks and writes what `release` says: parses the command line, does what it says, and
/// gives the exit code.
pub fn main(release: Release) -> ExitCode {
    let cli = match Cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) if error.exit_code() == 0 || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.exit()
        }
        Err(error) => return complain(MISUSED, &cli::in_one_line(&error)),
    };
    match cli {
        Cli::ConfigKeys => {
            print!("{}", config::key::markdown());
            ExitCode::SUCCESS
        }
        Cli::OpenApi => {
            let document = admin::openapi::document(admin::routes());
            println!("{}", serde_json::to_string_pretty(&document).expect("a document is always serializable"));
            ExitCode::SUCCESS
        }
        Cli::Completions(shell) => {
            clap_complete::generate(shell, &mut cli::command(), "holdfast", &mut io::stdout());
            ExitCode::SUCCESS
        }
        Cli::Man(dir) => match manual::write(&RealFiles, &dir) {
            Ok(pages) => {
                println!("{pages} pages in {}", dir.display());
                ExitCode::SUCCESS
            }
            Err(error) => complain(FAILED, &format!("{}: {error}", dir.display())),
        },
        Cli::CheckConfig { role, flags } => {
            let checked = settings(flags).and_then(|settings| {
                logging::check(&LogConfig::new(&settings)?)?;
                let config = Config::new(role, &settings, &read)?;
                tls::Tls::load(&config.tls, sources())?;
                Ok(config)
            });
            match checked {
                Ok(_) => {
                    println!("the configuration is sound for `holdfast {}`", role.as_str());
                    ExitCode::SUCCESS
                }
                Err(error) => complain(MISUSED, &error),
            }
        }
        Cli::ShowConfig { role, json, flags } => commands::show_config(role, json, flags),
        Cli::Doctor { role, json, flags } => commands::doctor(role, json, flags),
        Cli::Trace { query, json, flags } => commands::trace(&query, json, flags),
        Cli::Backup { action, json, flags } => commands::backup(action, json, flags),
        Cli::Import { asked, json, flags } => commands::import(asked, json, flags),
        Cli::Verify { json, flags } => verify::run(flags, json),
        Cli::Cluster { action, json, flags } => {
            let client = settings(flags).and_then(|settings| {
                Ok(AdminClient::new(Arc::new(TcpNet), ClientConfig::new(&settings, &read)?, &sources())?)
            });
            match client {
                Ok(client) => run_client(&client, &action, json),
                Err(error) => complain(MISUSED, &error),
            }
        }
        Cli::Access { question, json, flags } => {
            let client = settings(flags).and_then(|settings| {
                Ok(AdminClient::new(Arc::new(TcpNet), ClientConfig::new(&settings, &read)?, &sources())?)
            });
            match client {
                Ok(client) => run_access(&client, question, json),
                Err(error) => complain(MISUSED, &error),
            }
        }
        Cli::Health { question, flags } => match settings(flags).and_then(|settings| Ok(config::ops(&settings)?)) {
            Ok(place) => run_health(&place, question),
            Err(error) => complain(MISUSED, &error),
        },
        Cli::Certs(action) => match certs::run(&action, &sources()) {
            Ok(lines) => {
                lines.iter().for_each(|line| println!("{line}"));
                ExitCode::SUCCESS
            }
            Err(error) => complain(MISUSED, &error),
        },
        Cli::Run { role, nodes, flags } => run::run(release, role, nodes as usize, flags),
    }
}

type AnyError = Box<dyn std::error::Error>;

fn complain(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("holdfast: {error}");
    ExitCode::from(code)
}

fn sources() -> Sources {
    Sources { files: Arc::new(RealFiles), clock: Arc::new(SystemClock) }
}

/// A file that is named and not there.
fn no_such_file() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such file")
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    file::read(&RealFiles, path)
}

fn settings(flags: cli::Flags) -> Result<config::layer::Layer, AnyError> {
    // Values that are not UTF-8 cannot be ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(config::settings(flags, environment, &read)?)
}

fn run_health(place: &health::Place, question: health::Question) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &error),
    };
    match runtime.block_on(health::ask(Arc::new(TcpNet), &sources(), place, question)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(unwell) => complain(FAILED, &unwell),
    }
}

/// Reads a file, or the standard input where the path is `-`.
fn read_or_stdin(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if path != Path::new("-") {
        return read(path);
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::stdin(), &mut bytes)?;
    Ok(Some(bytes))
}

fn run_access(client: &AdminClient, question: access::command::Question, json: bool) -> ExitCode {
    let access::command::Question { method, path, body } = question;
    let body = match body.bytes(&read_or_stdin) {
        Ok(body) => body,
        Err(error) => return complain(MISUSED, &error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &error),
    };
    let method = ::http::Method::from_bytes(method.as_bytes()).expect("commands name methods of HTTP");
    match runtime.block_on(client.raw(method, &path, body)) {
        Ok(answer) if json => {
            println!("{}", serde_json::to_string_pretty(&answer).expect("answers are always serializable"));
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            print!("{}", access::print::text(&answer));
            ExitCode::SUCCESS
        }
        Err(error) => complain(FAILED, &error),
    }
}

fn run_client(client: &AdminClient, action: &ClusterAction, json: bool) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &error),
    };
    let done = runtime.block_on(async {
        match action {
            ClusterAction::Status => {
                let status = client.status().await?;
                if json {
                    println!("{}", serde_json::to_string_pretty(&status).expect("a status is always serializable"));
                } else {
                    print!("{}", status::table(&status));
                }
                Ok(())
            }
            ClusterAction::TransferLeader { group, node } => {
                let body = admin::cluster::TransferLeader { group: *group, node: node.clone() };
                client.post("/v1/cluster/transfer-leader", &body).await
            }
            ClusterAction::Remove { node } => {
                client.post("/v1/cluster/remove-node", &admin::cluster::RemoveNode { node: node.clone() }).await
            }
            ClusterAction::Drain { node, cancel, wait } => {
                let body = admin::cluster::DrainNode { node: node.clone(), drain: !cancel };
                client.post("/v1/cluster/drain-node", &body).await?;
                if *wait { drain::watch(client, node, drain::Look::Ordered).await } else { Ok(()) }
            }
            ClusterAction::Drained { node, wait, linger } => {
                let node = node.clone().or_else(|| client.name().map(str::to_owned));
                let look = if *wait { drain::Look::Wait } else { drain::Look::Once };
                drain::watch(client, &node.ok_or(client::ClientError::NoNode)?, look).await?;
                tokio::time::sleep(Duration::from_secs(*linger)).await;
                Ok(())
            }
            ClusterAction::Fit { count, remove: false } => fit::shrink(client, *count).await,
            ClusterAction::Fit { count, remove: true } => fit::forget(client, *count).await,
            ClusterAction::Scrub { start, wait } => {
                let before = if *start && *wait { Some(scrub::finished(client).await?) } else { None };
                let mut cluster: admin::scrub::ClusterScrub = match start {
                    true => client.ask("/v1/scrub", &serde_json::json!({})).await?,
                    false => client.get("/v1/scrub").await?,
                };
                if *wait {
                    cluster = scrub::wait(client, before.as_ref()).await?;
                }
                if json {
                    println!("{}", serde_json::to_string_pretty(&cluster).expect("reports are always serializable"));
                } else {
                    println!("{cluster}");
                }
                Ok(())
            }
            ClusterAction::Fault(request) => {
                let faults: Vec<admin::fault::NodeFaults> = client.ask("/v1/fault", request).await?;
                if json {
                    println!("{}", serde_json::to_string_pretty(&faults).expect("faults are always serializable"));
                } else {
                    faults.iter().for_each(|faults| println!("{faults}"));
                }
                Ok(())
            }
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(FAILED, &error),
    }
}
