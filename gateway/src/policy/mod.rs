//! Policies: IAM's JSON documents, and whether they let a request through. Pure: documents and facts in, a decision with its
//! reason out; nothing here waits, reads a clock or knows HTTP.
//!
//! ```text
//!  text ─▶ json ─▶ parse ─▶ Policy ─┐
//!                                   ├─▶ evaluate ─▶ Decision (allowed by, denied by, nobody allows)
//!  caller, action, resource, facts ─┘
//! ```
//! The language is that of the "IAM JSON policy reference" (AWS IAM User Guide): explicit deny wins, then somebody has
//! to allow. What differs is on `docs/access.md`.

pub mod action;
pub mod condition;
pub mod document;
pub mod error;
pub mod evaluate;
mod json;
pub mod lists;
mod parse;
pub mod pattern;
pub mod principal;
pub mod public;
pub mod value;

pub use self::condition::Facts;
pub use self::document::{Effect, Kind, Policy, Statement};
pub use self::error::{Malformed, Problem};
pub use self::evaluate::{Decision, Question, Source, Standing, evaluate};
pub use self::principal::Caller;

#[cfg(test)]
mod tests;
