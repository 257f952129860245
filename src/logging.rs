//! Log lines: JSON for machines, text on a terminal, always on stderr.

use std::fmt;
use std::io::{self, IsTerminal};

use holdfast_wire::context::{self, SPANS};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
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
        LogFormat::Text => lines.with_ansi(on_terminal).event_format(text()).boxed(),
        LogFormat::Auto if on_terminal => lines.event_format(text()).boxed(),
        LogFormat::Json | LogFormat::Auto => lines.json().event_format(json()).boxed(),
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

/// Lines that name the client's request for which they were written: as the last field, and only when there is a line, for
/// a span around every request costs as much as reading its signature.
struct Named<F> {
    lines: F,
    /// How a line ends; the request goes before it.
    end: &'static str,
    field: &'static str,
    close: &'static str,
}

fn text() -> Named<Format> {
    Named { lines: Format::default(), end: "", field: " request=", close: "" }
}

fn json() -> Named<Format<Json>> {
    Named { lines: Format::default().json().flatten_event(true), end: "}", field: ",\"request\":\"", close: "\"}" }
}

impl<S, N, F> FormatEvent<S, N> for Named<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(request) = context::current().request else {
            return self.lines.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        let line = line.strip_suffix(self.end).unwrap_or(line);
        writeln!(writer, "{line}{}{request}{}", self.field, self.close)
    }
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
    use std::sync::Arc;

    use holdfast_wire::context::{Context, RequestTag};
    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_name_the_request_for_which_they_were_written() {
        let lines = Lines::default();
        let (of_json, of_text) = (lines.clone(), lines.clone());
        let subscribers: [Box<dyn Fn() -> tracing::Dispatch>; 2] = [
            Box::new(move || {
                let of_json = of_json.clone();
                let layer = tracing_subscriber::fmt::layer().with_writer(move || of_json.clone());
                tracing_subscriber::registry().with(layer.json().event_format(json())).into()
            }),
            Box::new(move || {
                let of_text = of_text.clone();
                let layer = tracing_subscriber::fmt::layer().with_writer(move || of_text.clone()).with_ansi(false);
                tracing_subscriber::registry().with(layer.event_format(text())).into()
            }),
        ];
        let context = Context { request: Some(RequestTag(0xAB)), trace: None };
        for subscriber in subscribers {
            tracing::dispatcher::with_default(&subscriber(), || {
                let work = context::within(context, async { tracing::warn!(blob = 7, "gone") });
                futures::executor::block_on(work);
                tracing::warn!("nobody's");
            });
        }
        let all = String::from_utf8(lines.0.lock().clone()).unwrap();
        let all: Vec<_> = all.lines().collect();
        let first: serde_json::Value = serde_json::from_str(all[0]).unwrap();
        assert_eq!((&first["request"], &first["blob"]), (&"00000000000000AB".into(), &7.into()), "{first}");
        let second: serde_json::Value = serde_json::from_str(all[1]).unwrap();
        assert!(second.get("request").is_none(), "{second}");
        assert!(all[2].ends_with("gone blob=7 request=00000000000000AB"), "{}", all[2]);
        assert!(all[3].ends_with("nobody's"), "{}", all[3]);
    }

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
