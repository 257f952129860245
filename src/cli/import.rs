//! `holdfast import`.

use clap::{Arg, ArgMatches, Command};

use super::{Cli, flag, given, json, output, switch};
use crate::config::key::KEYS;

/// What is to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportArguments {
    /// The S3 that has it.
    pub from: String,
    /// The one that is to have it.
    pub to: String,
    /// Which buckets; all if none is named.
    pub buckets: Vec<String>,
    /// Only keys that begin so.
    pub prefix: String,
    /// Objects at a time.
    pub jobs: usize,
    /// Whether to replace also what somebody else wrote here.
    pub overwrite: bool,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// What `import` must know to be let in here.
const IMPORT_KEYS: [&str; 5] = ["config", "root-access-key", "root-secret-key", "region", "ca"];

/// `holdfast import`
pub fn command() -> Command {
    Command::new("import")
        .about("Copy the objects of another S3 here, what is not here yet; again and again until clients have moved")
        .args(KEYS.iter().filter(|key| IMPORT_KEYS.contains(&key.name)).map(flag))
        .arg(Arg::new("BUCKET").num_args(0..).help("Which buckets [default: all]"))
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("URL")
                .required(true)
                .help("The S3 that has them, with its keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        )
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("URL")
                .default_value("http://127.0.0.1:9000")
                .help("A gateway, entered with root-access-key and root-secret-key, which may be any user's here"),
        )
        .arg(Arg::new("prefix").long("prefix").value_name("TEXT").default_value("").help("Only keys that begin so"))
        .arg(
            Arg::new("jobs")
                .long("jobs")
                .value_name("N")
                .default_value("16")
                .value_parser(clap::value_parser!(u64).range(1..=256))
                .help("How many objects are copied at a time"),
        )
        .arg(switch("overwrite", "Replace also what somebody else wrote here; without it that is left alone"))
        .arg(switch("dry-run", "Say what would be copied, and copy nothing"))
        .arg(output())
}

/// What `holdfast import …` says.
pub fn parse(matches: &ArgMatches) -> Cli {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let asked = ImportArguments {
        from: text("from"),
        to: text("to"),
        buckets: matches.get_many::<String>("BUCKET").unwrap_or_default().cloned().collect(),
        prefix: text("prefix"),
        jobs: matches.get_one::<u64>("jobs").copied().unwrap_or(1) as usize,
        overwrite: matches.get_flag("overwrite"),
        dry_run: matches.get_flag("dry-run"),
    };
    Cli::Import { asked, json: json(matches), flags: given(matches) }
}
