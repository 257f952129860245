//! What logging is told.

use super::key::Key;
use super::layer::Layer;
use super::{ConfigError, text};

/// What log lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What logging is told: needed before anything else can fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A level or filters.
    pub filter: String,
    /// The format.
    pub format: LogFormat,
}

impl LogConfig {
    /// The part of the settings that logging needs.
    pub fn new(layer: &Layer) -> Result<LogConfig, ConfigError> {
        let of = |key: &str| layer.get(key).map_or("", text).to_owned();
        let format = match of("log-format").as_str() {
            "auto" => LogFormat::Auto,
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            found => {
                let key = Key::of("log-format").expect("a key of the table");
                let name = layer[key.name].name(key);
                return Err(ConfigError::Choice { name, expected: "json, text or auto", found: found.to_owned() });
            }
        };
        Ok(LogConfig { filter: of("log"), format })
    }
}
