//! Progress of work that takes long: a bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `bytes`; drawn on stderr if that is a terminal.
pub fn bar(what: &'static str, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes).with_message(what);
    let form = "{msg:10} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(form).expect("the template is constant"));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// A bar over things that are counted.
pub fn steps(what: &'static str, count: u64) -> ProgressBar {
    let bar = ProgressBar::new(count).with_message(what);
    let form = "{msg:10} {bar:30} {pos}/{len} {elapsed}";
    bar.set_style(ProgressStyle::with_template(form).expect("the template is constant"));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// A bar over bytes that are counted as they are found: its length grows.
pub fn counted(what: &'static str) -> ProgressBar {
    bar(what, 0)
}

/// A bar over bytes that nobody can count beforehand.
pub fn counter(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::no_length().with_message(what);
    let form = "{msg:10} {spinner} {bytes} {bytes_per_sec}";
    bar.set_style(ProgressStyle::with_template(form).expect("the template is constant"));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
