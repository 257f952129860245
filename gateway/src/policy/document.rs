//! The model of a policy, as the parser makes it and the evaluator reads it.

use super::condition::Condition;
use super::pattern::Pattern;
use super::principal::Principals;

/// What a policy is attached to: it decides which elements it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To users, groups and roles, or to a session: no principals.
    Identity,
    /// To a bucket: principals, and resources of that bucket alone.
    Bucket,
    /// To a role: who may take it on. Principals, no resources.
    Trust,
}

/// What a statement says when it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "IAM's own names")]
pub enum Effect {
    Allow,
    Deny,
}

/// What a statement applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope<T> {
    /// To what one of these matches.
    Only(Vec<T>),
    /// To what none of these matches (`Not…`).
    AllBut(Vec<T>),
}

impl<T> Scope<T> {
    /// The patterns, whichever way they count.
    pub fn items(&self) -> &[T] {
        match self {
            Self::Only(items) | Self::AllBut(items) => items,
        }
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Its name, unique within the policy.
    pub sid: Option<String>,
    /// What it says.
    pub effect: Effect,
    /// To whom; `None` in policies that are attached to the caller.
    pub principals: Option<Scope<Principals>>,
    /// Which actions.
    pub actions: Scope<Pattern>,
    /// Which resources; `None` in trust policies.
    pub resources: Option<Scope<Pattern>>,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Statements in the order of the document.
    pub statements: Vec<Statement>,
}

impl Policy {
    /// Whether any condition or variable asks for a key that begins with `prefix` (lower case).
    pub fn asks_for(&self, prefix: &str) -> bool {
        let patterns = |statement: &Statement| {
            let resources = statement.resources.iter().flat_map(Scope::items);
            resources.flat_map(Pattern::variables).any(|key| key.starts_with(prefix))
        };
        let conditions =
            |statement: &Statement| statement.conditions.iter().any(|condition| condition.asks_for(prefix));
        self.statements.iter().any(|statement| patterns(statement) || conditions(statement))
    }
}
