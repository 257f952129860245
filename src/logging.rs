//! Log lines: JSON for machines, text on a terminal, always on stderr.

use std::io::{self, IsTerminal};

use holdfast_wire::context::SPANS;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogConfig, LogFormat};
use crate::traces::Spans;

/// Libraries that say too much, or things that must not stand in a log: s3s shows whole requests, keys included; openraft
/// calls every late answer and every stop an error, and what is fatal in it reaches the log through the node.
const QUIET: [&str; 6] =
    ["s3s=off", "holdfast::span=off", "openraft=off", "lsm_tree=warn", "hyper=warn", "hyper_util=warn"];

/// Text that is no filter.
#[derive(Debug, thiserror::Error)]
#[error("log: {filter:?} is neither a level (error, warn, info, debug, trace) nor filters like info,holdfast=debug")]
pub struct BadFilter {
    filter: String,
}

/// Starts logging, and collecting spans if they are wanted. Call once, before anything logs.
pub fn start(config: &LogConfig, spans: Option<Spans>) -> Result<(), BadFilter> {
    let filter = filter(&config.filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let on_terminal = io::stderr().is_terminal();
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(on_terminal).boxed(),
        LogFormat::Auto if on_terminal => lines.boxed(),
        LogFormat::Json | LogFormat::Auto => lines.json().flatten_event(true).boxed(),
    };
    match spans {
        None => tracing_subscriber::registry().with(lines).with(filter).init(),
        Some(spans) => {
            let only = Targets::new().with_target(SPANS, tracing::Level::INFO);
            let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
            subscriber.with(spans.with_filter(only)).init();
        }
    }
    Ok(())
}

/// Whether logging could start so.
pub fn check(config: &LogConfig) -> Result<(), BadFilter> {
    filter(&config.filter).map(drop)
}

/// The filter: what the user said; then the quiet libraries, unless the user named them; s3s is always off.
fn filter(text: &str) -> Result<EnvFilter, BadFilter> {
    let bad = || BadFilter { filter: text.to_owned() };
    // A bare word that is no level would be taken for the name of a target.
    let sound = |directive: &str| {
        let level = directive.rsplit('=').next().unwrap_or(directive).to_ascii_lowercase();
        ["off", "error", "warn", "info", "debug", "trace"].contains(&level.as_str())
    };
    let directives: Vec<_> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if directives.is_empty() || !directives.iter().all(|directive| sound(directive)) {
        return Err(bad());
    }
    let named = |library: &str| directives.iter().any(|directive| directive.split('=').next() == Some(library));
    let library = |quiet: &str| quiet.split('=').next().unwrap_or_default().to_owned();
    let quiet = QUIET.into_iter().filter(|quiet| *quiet == QUIET[0] || !named(&library(quiet)));
    let said = directives.iter().copied().filter(|directive| directive.split(['=', ':']).next() != Some("s3s"));
    let all: Vec<_> = said.chain(quiet).collect();
    EnvFilter::try_new(all.join(",")).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_taken_and_typing_errors_refused() {
        let of = |text| filter(text).map(|filter| filter.to_string());
        assert!(of("info").unwrap().contains("openraft=off"));
        assert!(of("info,openraft=debug").unwrap().contains("openraft=debug"));
        assert!(!of("info,openraft=debug").unwrap().contains("openraft=off"));
        assert!(!of("trace,s3s=trace").unwrap().contains("s3s=trace"), "s3s would log secrets");
        for bad in ["inof", "", "info,holdfast", "holdfast=loud"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
