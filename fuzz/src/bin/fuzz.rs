//! All targets for libFuzzer in one program, so that it is linked once: `HOLDFAST_FUZZ_TARGET` says which one runs.

#![no_main]

use std::sync::OnceLock;

use holdfast_fuzz::{Target, target};

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("HOLDFAST_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("HOLDFAST_FUZZ_TARGET={name:?} names no target"))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (CHOSEN.get_or_init(chosen).run)(data);
});
