//! What the access check found out about a request, for whoever answers and logs it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::who::Who;
use crate::policy::Decision;

/// What was found out.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Who asks; `None`: the signature was not good, or has not been checked.
    pub who: Option<Who>,
    /// What was refused, and why.
    pub refused: Option<Refused>,
    /// Keys of a bulk delete that were refused, although the answer as a whole is a success.
    pub refused_keys: Vec<String>,
    /// Keys that a bulk delete removed which asked to go past retentions. Both with the version, where one was named.
    pub bypassed_keys: Vec<String>,
    /// The caller may not learn whether a key exists.
    pub hides_missing: bool,
}

/// One action that was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The action; empty: the operation is nobody's but the root key's.
    pub action: &'static str,
    /// The resource's ARN.
    pub resource: String,
    /// Why.
    pub decision: Decision,
}

/// An extension of every request; the server looks into it when the answer is there.
#[derive(Clone, Debug, Default)]
pub struct Slot(Arc<Mutex<Found>>);

impl Slot {
    /// Notes something.
    pub fn note(&self, change: impl FnOnce(&mut Found)) {
        change(&mut self.0.lock());
    }

    /// All that was noted.
    pub fn found(&self) -> Found {
        self.0.lock().clone()
    }
}
