//! The `holdfast` program; everything is in the library beside it, so that a test can make a program of the next release.

use std::process::ExitCode;

use holdfast::Release;

/// A small request makes some hundred allocations on several threads: with the system's allocator they are a ninth of its CPU.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    holdfast::main(Release::CURRENT)
}
