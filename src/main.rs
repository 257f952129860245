//! The `holdfast` program; everything is in the library beside it, so that a test can make a program of the next release.

use std::process::ExitCode;

use holdfast::Release;

fn main() -> ExitCode {
    holdfast::main(Release::CURRENT)
}
