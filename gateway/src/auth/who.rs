//! Who asks, once the signature has been checked.

use std::sync::Arc;

use crate::policy::{Caller, Policy};

/// Who owns what anonymous callers write: S3's own id for them.
pub const ANONYMOUS: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

/// A policy with its name, compiled.
pub type Named = (String, Arc<Policy>);
/// Several of them.
pub type Policies = Arc<Vec<Named>>;

/// Somebody who asks. Handlers find it in the request's extensions.
#[derive(Clone, Debug)]
pub enum Who {
    /// Nobody that we know.
    Anonymous,
    /// The root key, which may do everything.
    Root {
        /// Its public half.
        access_key: Arc<str>,
    },
    /// A user, by one of its keys.
    User {
        /// The user's name.
        name: Arc<str>,
        /// The key's public half.
        access_key: Arc<str>,
        /// The user's policies and its groups'.
        policies: Policies,
    },
    /// A session of a role.
    Session {
        /// The role's name.
        role: Arc<str>,
        /// What the session calls itself.
        session: Arc<str>,
        /// The key's public half.
        access_key: Arc<str>,
        /// The role's policies.
        policies: Policies,
        /// What the session was limited to.
        limits: Policies,
    },
}

impl Who {
    /// For the evaluator.
    pub fn caller(&self) -> Caller<'_> {
        match self {
            Self::Anonymous => Caller::Anonymous,
            Self::Root { access_key } => Caller::User(access_key),
            Self::User { name, .. } => Caller::User(name),
            Self::Session { role, session, .. } => Caller::Role { role, session },
        }
    }

    /// What buckets that it makes have as their owner.
    pub fn owner(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::Root { access_key } => Some(access_key.to_string()),
            Self::User { name, .. } => Some(name.to_string()),
            Self::Session { role, .. } => Some(format!("role/{role}")),
        }
    }

    /// Whether it owns what `owner` owns.
    pub fn owns(&self, owner: &str) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Root { .. } => true,
            Self::User { name, .. } => **name == *owner,
            Self::Session { role, .. } => owner.strip_prefix("role/").is_some_and(|name| name == &**role),
        }
    }

    /// Whether it may do everything.
    pub fn is_root(&self) -> bool {
        matches!(self, Self::Root { .. })
    }

    /// The key that signed.
    pub fn access_key(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Root { access_key } | Self::User { access_key, .. } | Self::Session { access_key, .. } => {
                Some(access_key)
            }
        }
    }

    /// What speaks for and against it: its policies, and what its session was limited to.
    pub fn policies(&self) -> (&[Named], &[Named]) {
        match self {
            Self::Anonymous | Self::Root { .. } => (&[], &[]),
            Self::User { policies, .. } => (policies, &[]),
            Self::Session { policies, limits, .. } => (policies, limits),
        }
    }

    /// For logs.
    pub fn arn(&self) -> String {
        match self {
            Self::Root { .. } => format!("arn:aws:iam::{}:root", crate::policy::principal::ACCOUNT),
            other => other.caller().arn().unwrap_or_else(|| "anonymous".to_owned()),
        }
    }
}
