//! The decision: an explicit deny anywhere wins; then somebody has to allow, and a session's own policy has to as well.

use super::condition::Facts;
use super::document::{Effect, Policy, Scope, Statement};
use super::principal::Caller;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// `s3:GetObject`.
    pub action: &'a str,
    /// `arn:aws:s3:::bucket/key`.
    pub resource: &'a str,
    /// Who asks.
    pub caller: Caller<'a>,
    /// What is known of the request.
    pub facts: &'a dyn Facts,
}

/// What speaks for and against the caller.
#[derive(Clone, Copy, Default)]
pub struct Standing<'a> {
    /// Policies of the caller, of its groups, or of its role, each with its name.
    pub identity: &'a [(&'a str, &'a Policy)],
    /// What the session was limited to when it began.
    pub session: &'a [(&'a str, &'a Policy)],
    /// The bucket's policy.
    pub bucket: Option<&'a Policy>,
    /// Whether the caller owns the bucket, or the object where that is what counts.
    pub owner: bool,
    /// Whether an access control list grants it.
    pub granted: bool,
    /// Whether the bucket's policy lets in nobody anonymous (`RestrictPublicBuckets` on a public policy).
    pub restricted: bool,
}

/// Where a statement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a policy of the caller, its groups or its role.
    Identity {
        /// The policy's name.
        policy: String,
        /// The statement, from 0.
        statement: usize,
        /// Its name.
        sid: Option<String>,
    },
    /// In the session's policy.
    Session {
        /// The statement, from 0.
        statement: usize,
        /// Its name.
        sid: Option<String>,
    },
    /// In the bucket's policy.
    Bucket {
        /// The statement, from 0.
        statement: usize,
        /// Its name.
        sid: Option<String>,
    },
    /// The caller owns the bucket, or the object.
    Ownership,
    /// In an access control list.
    List,
}

/// The decision and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed by this.
    Allowed(Source),
    /// Denied by this statement.
    Denied(Source),
    /// Nobody allows it.
    NotAllowed,
    /// Somebody allows it, but not the session's policy.
    NotInSession,
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Decides.
pub fn evaluate(question: &Question<'_>, standing: &Standing<'_>) -> Decision {
    let identity = |effect| {
        let of = |(name, policy): &(&str, &Policy)| {
            first(question, policy, effect).map(|(statement, sid)| Source::Identity {
                policy: (*name).to_owned(),
                statement,
                sid,
            })
        };
        standing.identity.iter().find_map(of)
    };
    let session = |effect| {
        let of = |(_, policy): &(&str, &Policy)| {
            first(question, policy, effect).map(|(statement, sid)| Source::Session { statement, sid })
        };
        standing.session.iter().find_map(of)
    };
    let bucket = |effect| {
        let shut = effect == Effect::Allow && standing.restricted && question.caller == Caller::Anonymous;
        let policy = standing.bucket.filter(|_| !shut)?;
        first(question, policy, effect).map(|(statement, sid)| Source::Bucket { statement, sid })
    };
    if let Some(source) = identity(Effect::Deny).or_else(|| session(Effect::Deny)).or_else(|| bucket(Effect::Deny)) {
        return Decision::Denied(source);
    }
    let owner = || standing.owner.then_some(Source::Ownership);
    let listed = || standing.granted.then_some(Source::List);
    let policies = identity(Effect::Allow).or_else(owner).or_else(|| bucket(Effect::Allow));
    let Some(source) = policies.or_else(listed) else {
        return Decision::NotAllowed;
    };
    if standing.session.is_empty() || session(Effect::Allow).is_some() {
        Decision::Allowed(source)
    } else {
        Decision::NotInSession
    }
}

fn first(question: &Question<'_>, policy: &Policy, effect: Effect) -> Option<(usize, Option<String>)> {
    let mut statements = policy.statements.iter().enumerate();
    statements
        .find(|(_, statement)| statement.effect == effect && statement.applies(question))
        .map(|(index, statement)| (index, statement.sid.clone()))
}

impl Statement {
    /// Whether it says anything about the question.
    pub fn applies(&self, question: &Question<'_>) -> bool {
        self.names(question)
            && self.covers_action(question)
            && self.covers_resource(question)
            && self.conditions.iter().all(|condition| condition.holds(question.facts))
    }

    fn names(&self, question: &Question<'_>) -> bool {
        match &self.principals {
            None => true,
            Some(Scope::Only(listed)) => listed.iter().any(|principal| principal.names(&question.caller)),
            Some(Scope::AllBut(listed)) => !listed.iter().any(|principal| principal.names(&question.caller)),
        }
    }

    fn covers_action(&self, question: &Question<'_>) -> bool {
        let listed = self.actions.items().iter();
        let found =
            listed.into_iter().any(|action| action.matches_any_case(question.action, question.facts).unwrap_or(false));
        found == matches!(self.actions, Scope::Only(_))
    }

    fn covers_resource(&self, question: &Question<'_>) -> bool {
        match &self.resources {
            None => true,
            Some(Scope::Only(listed)) => {
                listed.iter().any(|resource| resource.matches(question.resource, question.facts).unwrap_or(false))
            }
            // A variable without a value makes unknown what is left out: an allowance then covers nothing, a denial all.
            Some(Scope::AllBut(listed)) => {
                let unknown = self.effect == Effect::Allow;
                !listed.iter().any(|resource| resource.matches(question.resource, question.facts).unwrap_or(unknown))
            }
        }
    }
}
