//! Layers of settings: defaults < file < environment < flags. Unknown keys are refused where they stand.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::ConfigError;
use super::key::{KEYS, Key};

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the table of keys.
    Default,
    /// In the configuration file.
    File,
    /// In the environment.
    Environment,
    /// On the command line.
    Flag,
}

/// What was set.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// The value itself.
    Text(String),
    /// The file that has it (secrets only).
    InFile(PathBuf),
}

/// One setting.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// What.
    pub value: Value,
    /// Where.
    pub source: Source,
}

/// Settings by the names of their keys.
pub type Layer = BTreeMap<&'static str, Setting>;

/// Values may be secrets.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(set by {:?})", self.source)
    }
}

impl Setting {
    /// How the user wrote this key there.
    pub fn name(&self, key: &Key) -> String {
        let file = matches!(self.value, Value::InFile(_));
        match self.source {
            Source::Default => key.name.to_owned(),
            Source::File => key.field() + if file { "_file" } else { "" },
            Source::Environment => key.variable() + if file { "_FILE" } else { "" },
            Source::Flag => format!("--{}{}", key.name, if file { "-file" } else { "" }),
        }
    }
}

/// The defaults of the table.
pub fn defaults() -> Layer {
    let with_default = KEYS.iter().filter(|key| !key.default.is_empty());
    with_default
        .map(|key| (key.name, Setting { value: Value::Text(key.default.to_owned()), source: Source::Default }))
        .collect()
}

/// The environment's layer. Empty values count as not set.
///
/// # Errors
/// An unknown variable that begins with `HOLDFAST_`, unless Kubernetes made it for a service called `holdfast…`.
pub fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix("HOLDFAST_") else { continue };
        match key_and_form(&name.to_lowercase().replace('_', "-")) {
            Some((key, in_file)) if variable == key.variable() + if in_file { "_FILE" } else { "" } => {
                if !value.is_empty() {
                    insert(&mut layer, key, in_file, value, Source::Environment)?;
                }
            }
            _ if is_service_link(&variable, &value) => {}
            _ => return Err(ConfigError::UnknownVariable { variable }),
        }
    }
    Ok(layer)
}

/// The layer of a configuration file's text.
///
/// # Errors
/// Text that is not TOML, an unknown key, a value that is neither text, number, truth nor a list of these
/// (`peers` may also be a table of names to addresses).
pub fn file(text: &str) -> Result<Layer, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        line: error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1)),
        reason: error.message().replace('\n', " "),
    })?;
    let mut layer = Layer::new();
    for (field, value) in table {
        let known = key_and_form(&field.replace('_', "-")).filter(|(key, in_file)| {
            field == key.field() + if *in_file { "_file" } else { "" } && key.name != "config"
        });
        let Some((key, in_file)) = known else {
            return Err(ConfigError::UnknownField { field });
        };
        let value = plain(key, &value).ok_or(ConfigError::FieldType { field })?;
        insert(&mut layer, key, in_file, value, Source::File)?;
    }
    Ok(layer)
}

/// The layer of given flags.
pub fn flags(given: impl IntoIterator<Item = (String, String)>) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new();
    for (flag, value) in given {
        let Some((key, in_file)) = key_and_form(&flag) else { continue };
        insert(&mut layer, key, in_file, value, Source::Flag)?;
    }
    Ok(layer)
}

/// Later layers win.
pub fn merge(layers: impl IntoIterator<Item = Layer>) -> Layer {
    layers.into_iter().flatten().collect()
}

fn insert(
    layer: &mut Layer,
    key: &'static Key,
    in_file: bool,
    value: String,
    source: Source,
) -> Result<(), ConfigError> {
    let value = if in_file { Value::InFile(value.into()) } else { Value::Text(value) };
    let setting = Setting { value, source };
    let name = setting.name(key);
    match layer.insert(key.name, setting) {
        None => Ok(()),
        Some(earlier) => Err(ConfigError::Twice { one: earlier.name(key), other: name }),
    }
}

/// The key of a name, and whether the name is that of a file with its value.
fn key_and_form(name: &str) -> Option<(&'static Key, bool)> {
    Key::of(name)
        .map(|key| (key, false))
        .or_else(|| Some((name.strip_suffix("-file").and_then(Key::of).filter(|key| key.secret)?, true)))
}

fn plain(key: &Key, value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(values) => {
            let values: Option<Vec<_>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
            Some(values?.join(","))
        }
        toml::Value::Table(entries) if key.name == "peers" => {
            let entries: Option<Vec<_>> =
                entries.iter().map(|(name, address)| Some(format!("{name}={}", address.as_str()?))).collect();
            Some(entries?.join(","))
        }
        _ => None,
    }
}

/// Kubernetes puts the services of a namespace into the environment of its pods: a service called `holdfast` would
/// otherwise keep the pods of Holdfast from starting. Kubernetes documentation, "Service", "Environment variables".
fn is_service_link(variable: &str, value: &str) -> bool {
    if variable.ends_with("_SERVICE_HOST") {
        return value.parse::<std::net::IpAddr>().is_ok();
    }
    if let Some((_, port)) = variable.rsplit_once("_SERVICE_PORT") {
        return (port.is_empty() || port.starts_with('_')) && value.parse::<u16>().is_ok();
    }
    let is_url = value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://");
    variable.match_indices("_PORT").any(|(at, found)| {
        match variable[at + found.len()..].split('_').collect::<Vec<_>>()[..] {
            [""] => is_url,
            ["", number, "TCP" | "UDP" | "SCTP"] => number.parse::<u16>().is_ok() && is_url,
            ["", number, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => number.parse::<u16>().is_ok(),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn text(layer: &Layer, key: &str) -> Option<String> {
        match &layer.get(key)?.value {
            Value::Text(text) => Some(text.clone()),
            Value::InFile(path) => Some(format!("@{}", path.display())),
        }
    }

    #[test]
    fn every_layer_wins_over_those_before_it() {
        let file = file("shards = 2\nregion = \"file\"\nlog = \"warn\"").unwrap();
        let environment = environment(pairs(&[("HOLDFAST_REGION", "env"), ("HOLDFAST_LOG", "debug")])).unwrap();
        let flags = flags(pairs(&[("log", "trace")])).unwrap();
        let merged = merge([defaults(), file, environment, flags]);
        let of = |key| text(&merged, key).unwrap();
        assert_eq!(of("replicas"), "3", "default");
        assert_eq!(of("shards"), "2", "file over default");
        assert_eq!(of("region"), "env", "environment over file");
        assert_eq!(of("log"), "trace", "flag over environment");
        assert_eq!(merged["log"].name(Key::of("log").unwrap()), "--log");
    }

    #[test]
    fn every_key_can_be_set_in_every_layer() {
        for key in KEYS {
            let variable = environment(pairs(&[(&key.variable(), "7")])).unwrap();
            assert_eq!(text(&variable, key.name).as_deref(), Some("7"));
            if key.name != "config" {
                let field = file(&format!("{} = 7", key.field())).unwrap();
                assert_eq!(text(&field, key.name).as_deref(), Some("7"));
            }
            if key.secret {
                let variable = environment(pairs(&[(&(key.variable() + "_FILE"), "/s")])).unwrap();
                assert_eq!(text(&variable, key.name).as_deref(), Some("@/s"));
                let field = file(&format!("{}_file = '/s'", key.field())).unwrap();
                assert_eq!(text(&field, key.name).as_deref(), Some("@/s"));
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let unknown = |result: Result<Layer, ConfigError>| result.unwrap_err().to_string();
        assert!(unknown(file("shard = 2")).contains("`shard`"));
        assert!(unknown(file("[s3]\nlisten = 'x'")).contains("`s3`"));
        assert!(unknown(file("SHARDS = 2")).contains("`SHARDS`"));
        assert!(unknown(file("peer-listen = 'x'")).contains("`peer-listen`"));
        assert!(unknown(file("config = 'x'")).contains("`config`"));
        assert!(unknown(file("shards_file = 'x'")).contains("`shards_file`"), "only secrets stand in files");
        assert!(unknown(file("a = \n")).contains("line 1"));
        for variable in
            ["HOLDFAST_SHARD", "HOLDFAST_shards", "HOLDFAST_SHARDS_FILE", "HOLDFAST_", "HOLDFAST_PEER-LISTEN"]
        {
            assert!(unknown(environment(pairs(&[(variable, "1")]))).contains(variable));
        }
        assert!(environment(pairs(&[("HOME", "/"), ("HOLDFASTER", "1")])).unwrap().is_empty());
    }

    #[test]
    fn variables_that_kubernetes_makes_for_a_service_are_no_keys() {
        let links = [
            ("HOLDFAST_SERVICE_HOST", "10.96.0.7"),
            ("HOLDFAST_SERVICE_PORT", "9000"),
            ("HOLDFAST_SERVICE_PORT_S3", "9000"),
            ("HOLDFAST_PORT", "tcp://10.96.0.7:9000"),
            ("HOLDFAST_PORT_9000_TCP", "tcp://10.96.0.7:9000"),
            ("HOLDFAST_PORT_9000_TCP_PROTO", "tcp"),
            ("HOLDFAST_PORT_9000_TCP_PORT", "9000"),
            ("HOLDFAST_PORT_9000_TCP_ADDR", "10.96.0.7"),
            ("HOLDFAST_S3_PORT_9000_TCP", "tcp://10.96.0.7:9000"),
        ];
        assert!(environment(pairs(&links)).unwrap().is_empty());
        for (variable, value) in
            [("HOLDFAST_PORT", "9000"), ("HOLDFAST_S3_PORT", "9000"), ("HOLDFAST_PORT_X", "tcp://a:1")]
        {
            environment(pairs(&[(variable, value)])).unwrap_err();
        }
    }

    #[test]
    fn a_layer_says_each_thing_once() {
        let both = [("HOLDFAST_ADMIN_TOKEN", "x"), ("HOLDFAST_ADMIN_TOKEN_FILE", "/x")];
        let error = environment(pairs(&both)).unwrap_err().to_string();
        assert!(error.contains("HOLDFAST_ADMIN_TOKEN_FILE"), "{error}");
    }

    #[test]
    fn empty_variables_are_not_set() {
        assert!(environment(pairs(&[("HOLDFAST_PEERS", "")])).unwrap().is_empty());
    }

    #[test]
    fn lists_and_tables_in_the_file_are_written_naturally() {
        let layer = file("default_buckets = ['a', 'b']\n[peers]\nn1 = 'h1:1'\nn2 = 'h2:2'").unwrap();
        assert_eq!(text(&layer, "default-buckets").as_deref(), Some("a,b"));
        assert_eq!(text(&layer, "peers").as_deref(), Some("n1=h1:1,n2=h2:2"));
    }
}
