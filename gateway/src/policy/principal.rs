//! Who asks, and whom a policy names.

use super::value;

/// The one account of a cluster. ARNs may leave it out.
pub const ACCOUNT: &str = "000000000000";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// Nobody that we know.
    Anonymous,
    /// A user.
    User(&'a str),
    /// A session of a role.
    Role {
        /// The role.
        role: &'a str,
        /// What the session calls itself.
        session: &'a str,
    },
    /// Somebody whom an identity provider vouches for, asking for a role.
    Federated(&'a str),
}

impl Caller<'_> {
    /// `aws:PrincipalArn`, and what logs say.
    pub fn arn(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::User(name) => Some(format!("arn:aws:iam::{ACCOUNT}:user/{name}")),
            Self::Role { role, session } => Some(format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}")),
            Self::Federated(provider) => Some(format!("arn:aws:iam::{ACCOUNT}:oidc-provider/{provider}")),
        }
    }
}

/// One principal of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principals {
    /// `*`: everybody, the anonymous included.
    Everybody,
    /// The account: every user and role of it.
    Account,
    /// A user, by ARN or canonical id.
    User(String),
    /// Every session of a role.
    Role(String),
    /// One session of a role.
    Session(String, String),
    /// An identity provider.
    Federated(String),
    /// An AWS service or another account: nobody who could ask here.
    Nobody,
}

impl Principals {
    /// Reads what stands under `AWS`.
    pub fn parse_aws(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everybody);
        }
        if is_account(text) {
            return Some(if text == ACCOUNT { Self::Account } else { Self::Nobody });
        }
        let [_, _, service, region, account, name] = value::arn(text)?;
        if !region.is_empty() || !(account.is_empty() || is_account(account)) || name.contains(['*', '?']) {
            return None;
        }
        let named = |rest: &str| (!rest.is_empty()).then(|| rest.to_owned());
        let found = match (service, name.split_once('/')) {
            ("iam", None) if name == "root" => Self::Account,
            // A path before the name means nothing here.
            ("iam", Some(("user", rest))) => Self::User(named(rest.rsplit('/').next()?)?),
            ("iam", Some(("role", rest))) => Self::Role(named(rest.rsplit('/').next()?)?),
            ("sts", Some(("assumed-role", rest))) => {
                let (role, session) = rest.split_once('/')?;
                Self::Session(named(role)?, named(session)?)
            }
            _ => return None,
        };
        let ours = account.is_empty() || account == ACCOUNT;
        Some(if ours { found } else { Self::Nobody })
    }

    /// Whether it names `caller`.
    pub fn names(&self, caller: &Caller<'_>) -> bool {
        match (self, caller) {
            (Self::Everybody, _) => true,
            (Self::Account, Caller::User(_) | Caller::Role { .. }) => true,
            (Self::User(name), Caller::User(user)) => name == user,
            (Self::Role(name), Caller::Role { role, .. }) => name == role,
            (Self::Session(name, own), Caller::Role { role, session }) => name == role && own == session,
            (Self::Federated(provider), Caller::Federated(asking)) => provider == asking,
            _ => false,
        }
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}
