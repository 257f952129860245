//! `holdfast` as a later release of it would look to its neighbours: it speaks newer versions of the protocol between
//! processes and writes newer forms of data directories, by as many as `RELEASES_LATER` says (1 by default). Tests of
//! upgrades run it beside the present one.

use std::process::ExitCode;

use holdfast::Release;

fn main() -> ExitCode {
    let later = std::env::var("RELEASES_LATER").ok().and_then(|number| number.parse().ok()).unwrap_or(1);
    let Release { protocol, format, .. } = Release::CURRENT;
    holdfast::main(Release {
        version: if later == 1 { "0.2.0" } else { "0.3.0" },
        protocol: protocol + later,
        format: format + u32::from(later),
    })
}
