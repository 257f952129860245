//! `holdfast user|group|role|key|policy|bucket|lifecycle|undelete|explain|provision`: what a command line asks the admin API.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

/// One question to the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The method.
    pub method: &'static str,
    /// The path, encoded.
    pub path: String,
    /// The body.
    pub body: Body,
}

/// A body that may stand in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// None.
    None,
    /// This one.
    Json(Value),
    /// JSON with the text of a file under `document`; `-` is the standard input.
    Document(PathBuf),
    /// JSON with the text of a file under `trust`.
    Trust(Value, PathBuf),
    /// A `provision.toml` with all that it names.
    Provision(PathBuf),
}

/// The names of the commands.
pub const COMMANDS: [&str; 10] =
    ["user", "group", "role", "key", "policy", "bucket", "lifecycle", "undelete", "explain", "provision"];

fn named(what: &'static str) -> Arg {
    Arg::new("NAME").required(true).help(what)
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn list(name: &'static str, help: &'static str) -> Arg {
    option(name, "NAME,…", help).value_delimiter(',')
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The commands; `with` adds what all that talk to a cluster have.
pub fn commands(with: &dyn Fn(Command) -> Command) -> Vec<Command> {
    let leaf = |name: &'static str, about: &'static str| with(Command::new(name).about(about));
    let parent = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).subcommand_required(true).arg_required_else_help(true)
    };
    let policies = || list("policies", "Attached policies: these and no others");
    let enable = || switch("enable", "Let its keys work").conflicts_with("disable");
    let disable = || switch("disable", "Let its keys not work");
    vec![
        parent("user", "Users: who may use the cluster")
            .subcommand(leaf("list", "Show all users"))
            .subcommand(
                leaf("set", "Make or change a user")
                    .arg(named("The user"))
                    .arg(policies())
                    .arg(enable())
                    .arg(disable()),
            )
            .subcommand(leaf("remove", "Remove a user with its keys").arg(named("The user"))),
        parent("group", "Groups of users with policies in common")
            .subcommand(leaf("list", "Show all groups"))
            .subcommand(
                leaf("set", "Make or change a group")
                    .arg(named("The group"))
                    .arg(list("members", "Its users: these and no others"))
                    .arg(policies()),
            )
            .subcommand(leaf("remove", "Remove a group").arg(named("The group"))),
        parent("role", "Roles: what sessions of STS may do")
            .subcommand(leaf("list", "Show all roles"))
            .subcommand(
                leaf("set", "Make or change a role")
                    .arg(named("The role"))
                    .arg(option("trust", "FILE", "File with the policy that says who may take it on"))
                    .arg(policies())
                    .arg(
                        option("session-max", "SECONDS", "The longest session").value_parser(clap::value_parser!(u32)),
                    ),
            )
            .subcommand(leaf("remove", "Remove a role; its sessions end").arg(named("The role"))),
        parent("key", "Access keys of users")
            .subcommand(leaf("list", "Show all keys, without their secrets"))
            .subcommand(
                leaf("create", "Make a key and show it; its secret is never shown again")
                    .arg(named("The user"))
                    .arg(option("access-key", "TEXT", "The public half; drawn if left out"))
                    .arg(option("expires", "WHEN", "When it stops working: RFC 3339, or a duration like 90d")),
            )
            .subcommand(
                leaf("set", "Enable, disable or expire a key")
                    .arg(named("The public half"))
                    .arg(enable())
                    .arg(disable())
                    .arg(option("expires", "WHEN", "RFC 3339, a duration like 90d, or never")),
            )
            .subcommand(leaf("remove", "Remove a key").arg(named("The public half"))),
        parent("policy", "Policies: what users, groups and roles may do")
            .subcommand(leaf("list", "Show all policies"))
            .subcommand(
                leaf("set", "Make or change a policy")
                    .arg(named("The policy"))
                    .arg(Arg::new("FILE").required(true).help("File with IAM's JSON; - is the standard input")),
            )
            .subcommand(leaf("remove", "Remove a policy that nobody has").arg(named("The policy"))),
        parent("bucket", "Buckets, whosever they are")
            .subcommand(leaf("list", "Show all buckets"))
            .subcommand(leaf("create", "Make a bucket").arg(named("The bucket")).arg(option(
                "owner",
                "USER",
                "Whose it is; the root key's by default",
            )))
            .subcommand(leaf("remove", "Remove an empty bucket").arg(named("The bucket")))
            .subcommand(
                leaf("usage", "Show what buckets hold").arg(Arg::new("NAME").help("The bucket; all without it")),
            )
            .subcommand(
                leaf("quota", "Set what a bucket may hold, and show it")
                    .arg(named("The bucket"))
                    .arg(option("bytes", "SIZE", "Like 10GiB or 500MB, parts of open uploads included; or none"))
                    .arg(option("objects", "COUNT", "Objects, older versions and delete markers; or none")),
            )
            .subcommand(
                leaf("policy", "Set or remove a bucket's policy")
                    .arg(named("The bucket"))
                    .arg(
                        Arg::new("FILE")
                            .required_unless_present("remove")
                            .help("File with IAM's JSON; - is the standard input"),
                    )
                    .arg(switch("remove", "Remove it").conflicts_with("FILE")),
            ),
        parent("lifecycle", "Lifecycle rules: what goes by itself")
            .subcommand(leaf("show", "Show a bucket's rules, and what was done").arg(named("The bucket")))
            .subcommand(
                leaf("dry-run", "Show what of a bucket will go, and when; nothing is changed")
                    .arg(named("The bucket"))
                    .arg(
                        option("limit", "COUNT", "How many, from the first (100)")
                            .value_parser(clap::value_parser!(u32)),
                    ),
            ),
        leaf("undelete", "Bring objects back that were deleted or overwritten not long ago, or show which could be")
            .arg(named("The bucket"))
            .arg(Arg::new("KEY").num_args(0..).help("Bring these back"))
            .arg(option("prefix", "TEXT", "All that have this prefix and no object now; with --list: only these"))
            .arg(
                option("version", "SEQ", "This one of the key, as --list shows it, rather than the newest")
                    .conflicts_with("prefix"),
            )
            .arg(switch("replace", "Even where the key has an object now, which can be brought back likewise"))
            .arg(
                switch("list", "Show what could be brought back; so it is without keys and prefix, too")
                    .conflicts_with_all(["KEY", "version", "replace"]),
            ),
        leaf("explain", "Say whether a key may do something, and which statement decides")
            .arg(option("key", "ACCESS-KEY", "The key that asks; anonymous without it"))
            .arg(option("action", "ACTION", "Like s3:GetObject").required(true))
            .arg(option("resource", "ARN", "Like arn:aws:s3:::bucket/key, or bucket/key").required(true))
            .arg(
                option("fact", "KEY=VALUE", "What else is known of the request, like aws:SourceIp=10.0.0.1")
                    .action(ArgAction::Append),
            ),
        leaf("provision", "Make and change all that a file names; doing it again changes nothing")
            .arg(Arg::new("FILE").required(true).help("provision.toml")),
    ]
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.try_get_one::<String>(name).ok().flatten().cloned()
}

fn set(matches: &ArgMatches, name: &str) -> bool {
    matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false)
}

/// What the switches and lists of a command say.
fn wishes(matches: &ArgMatches) -> Map<String, Value> {
    let mut wish = Map::new();
    for name in ["policies", "members"] {
        if let Ok(Some(values)) = matches.try_get_many::<String>(name) {
            let values: Vec<Value> = values.filter(|value| !value.is_empty()).cloned().map(Value::String).collect();
            wish.insert(name.to_owned(), Value::Array(values));
        }
    }
    if set(matches, "enable") || set(matches, "disable") {
        wish.insert("enabled".to_owned(), Value::Bool(set(matches, "enable")));
    }
    let texts = ["expires", "owner", "bytes", "objects"].map(|name| (name, name));
    for (argument, name) in texts.into_iter().chain([("access-key", "access_key")]) {
        if let Some(value) = text(matches, argument) {
            wish.insert(name.to_owned(), Value::String(value));
        }
    }
    if let Ok(Some(seconds)) = matches.try_get_one::<u32>("session-max") {
        wish.insert("session_max_s".to_owned(), Value::from(*seconds));
    }
    wish
}

fn encoded(name: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
}

/// The question that a parsed command asks.
pub fn question(command: &str, matches: &ArgMatches) -> Question {
    let ask = |method, path: String, body| Question { method, path, body };
    match command {
        "explain" => {
            let facts = matches.get_many::<String>("fact").unwrap_or_default();
            let facts: Map<String, Value> = facts
                .map(|fact| fact.split_once('=').unwrap_or((fact, "")))
                .map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())))
                .collect();
            let mut body = json!({ "facts": facts });
            for name in ["key", "action", "resource"] {
                if let Some(value) = text(matches, name) {
                    body[name] = Value::String(value);
                }
            }
            return ask("POST", "/v1/explain".to_owned(), Body::Json(body));
        }
        "undelete" => {
            let (name, prefix) = (text(matches, "NAME").unwrap_or_default(), text(matches, "prefix"));
            let one = format!("/v1/buckets/{}", encoded(&name));
            let keys: Vec<&String> = matches.get_many("KEY").unwrap_or_default().collect();
            if set(matches, "list") || keys.is_empty() && prefix.is_none() {
                let query = prefix.map(|prefix| format!("?prefix={}", encoded(&prefix))).unwrap_or_default();
                return ask("GET", one + "/deleted" + &query, Body::None);
            }
            let wish = json!({
                "keys": keys,
                "prefix": prefix,
                "version": text(matches, "version"),
                "replace": set(matches, "replace"),
            });
            return ask("POST", one + "/undelete", Body::Json(wish));
        }
        "provision" => {
            let file = text(matches, "FILE").unwrap_or_default();
            return ask("POST", "/v1/provision".to_owned(), Body::Provision(file.into()));
        }
        _ => {}
    }
    let Some((verb, matches)) = matches.subcommand() else { unreachable!("clap requires a subcommand") };
    let plural = match command {
        "policy" => "policies".to_owned(),
        "lifecycle" => "buckets".to_owned(),
        other => format!("{other}s"),
    };
    let name = text(matches, "NAME").unwrap_or_default();
    let one = format!("/v1/{plural}/{}", encoded(&name));
    let file = || PathBuf::from(text(matches, "FILE").unwrap_or_default());
    let mut wish = wishes(matches);
    match (command, verb) {
        (_, "list") => ask("GET", format!("/v1/{plural}"), Body::None),
        (_, "remove") => ask("DELETE", one, Body::None),
        ("key", "create") => {
            wish.insert("user".to_owned(), Value::String(name.clone()));
            ask("POST", "/v1/keys".to_owned(), Body::Json(Value::Object(wish)))
        }
        ("policy", _) => ask("PUT", one, Body::Document(file())),
        ("bucket", "usage") if name.is_empty() => ask("GET", "/v1/usage".to_owned(), Body::None),
        ("bucket", "usage") => ask("GET", one + "/usage", Body::None),
        ("bucket", "quota") => ask("PUT", one + "/quota", Body::Json(Value::Object(wish))),
        ("lifecycle", "show") => ask("GET", one + "/lifecycle", Body::None),
        ("lifecycle", _) => {
            let limit = matches.try_get_one::<u32>("limit").ok().flatten();
            let query = limit.map(|limit| format!("?limit={limit}")).unwrap_or_default();
            ask("GET", one + "/lifecycle/due" + &query, Body::None)
        }
        ("bucket", "policy") if set(matches, "remove") => ask("DELETE", one + "/policy", Body::None),
        ("bucket", "policy") => ask("PUT", one + "/policy", Body::Document(file())),
        ("role", _) => match text(matches, "trust") {
            Some(trust) => ask("PUT", one, Body::Trust(Value::Object(wish), trust.into())),
            None => ask("PUT", one, Body::Json(Value::Object(wish))),
        },
        _ => ask("PUT", one, Body::Json(Value::Object(wish))),
    }
}

impl Body {
    /// The body's bytes, with its files read by `read`.
    pub fn bytes(self, read: super::provision::Read<'_>) -> Result<Vec<u8>, super::provision::BadFile> {
        use super::provision::{BadFile, Provision};
        let file = |path: PathBuf| -> Result<Value, BadFile> {
            let unreadable = |error| BadFile::Unreadable { path: path.clone(), error };
            let bytes = read(&path).map_err(unreadable)?;
            let bytes = bytes.ok_or_else(|| unreadable(crate::no_such_file()))?;
            Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        };
        let body = match self {
            Self::None => return Ok(Vec::new()),
            Self::Json(body) => body,
            Self::Document(path) => json!({ "document": file(path)? }),
            Self::Trust(mut body, path) => {
                body["trust"] = file(path)?;
                body
            }
            Self::Provision(path) => {
                let provision = Provision::load(&path, read)?;
                serde_json::to_value(provision).expect("a provision is always serializable")
            }
        };
        Ok(body.to_string().into_bytes())
    }
}
