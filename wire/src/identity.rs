//! Who may ask: users, groups, roles, access keys, and the policies attached to them, as root keeps them and gateways copy
//! them. What a policy means is the gateways' business; here it is text.
//!
//! [`Identities::change`] is the one way to change them: either all changes hold together or none is made.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Everybody whom the cluster knows. Kept as one record: meant for thousands of users, not for millions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identities {
    /// Root's log index of the newest change: the higher one is the newer one. 0: never changed.
    pub version: u64,
    /// Users by name.
    pub users: BTreeMap<String, User>,
    /// Groups by name.
    pub groups: BTreeMap<String, Group>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// Policies by name: IAM's JSON.
    pub policies: BTreeMap<String, String>,
    /// Access keys by their public halves.
    pub keys: BTreeMap<String, AccessKey>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Whether its keys work.
    pub enabled: bool,
    /// Attached policies, by name.
    pub policies: BTreeSet<String>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Users, by name.
    pub members: BTreeSet<String>,
    /// Attached policies, by name.
    pub policies: BTreeSet<String>,
}

/// A role that users or the users of an identity provider may take on for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Who may: IAM's JSON.
    pub trust: String,
    /// Attached policies, by name.
    pub policies: BTreeSet<String>,
    /// The longest session, seconds.
    pub session_max_s: u32,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Whose it is.
    pub user: String,
    /// Its secret half, [sealed](crate::seal) with the public half as context.
    pub sealed: Vec<u8>,
    /// Whether it works.
    pub enabled: bool,
    /// When it stops working, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Creation, Unix milliseconds.
    pub created_ms: u64,
}

/// One change: `Some` sets, `None` removes. Removing a user removes its keys and memberships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "a name and what it is to become")]
pub enum IdentityChange {
    User(String, Option<User>),
    Group(String, Option<Group>),
    Role(String, Option<Role>),
    Policy(String, Option<String>),
    Key(String, Option<AccessKey>),
}

/// A kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the fields of `Identities` are")]
pub enum EntityKind {
    User,
    Group,
    Role,
    Policy,
    Key,
}

impl EntityKind {
    /// As in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Policy => "policy",
            Self::Key => "key",
        }
    }
}

/// Why changes are refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum IdentityRefusal {
    /// Somebody else was faster: look again, decide again.
    #[error("the identities have changed meanwhile")]
    Moved,
    /// What is to be removed is not there.
    #[error("there is no {} {name:?}", kind.as_str())]
    NoSuch {
        /// What kind.
        kind: EntityKind,
        /// Its name.
        name: String,
    },
    /// Something would name what is not there.
    #[error("{} {by:?} names {} {name:?}, which would not be there", by_kind.as_str(), kind.as_str())]
    Dangling {
        /// What names it.
        by_kind: EntityKind,
        /// Its name.
        by: String,
        /// What is missing.
        kind: EntityKind,
        /// Its name.
        name: String,
    },
}

impl Identities {
    /// Makes all changes in order, if afterwards everything that is named is there.
    pub fn change(&self, changes: Vec<IdentityChange>) -> Result<Self, IdentityRefusal> {
        let mut next = self.clone();
        for change in changes {
            match change {
                IdentityChange::User(name, user) => {
                    if user.is_none() {
                        next.keys.retain(|_, key| key.user != name);
                        next.groups.values_mut().for_each(|group| group.members.retain(|member| *member != name));
                    }
                    set(&mut next.users, name, user, EntityKind::User)?;
                }
                IdentityChange::Group(name, group) => set(&mut next.groups, name, group, EntityKind::Group)?,
                IdentityChange::Role(name, role) => set(&mut next.roles, name, role, EntityKind::Role)?,
                IdentityChange::Policy(name, policy) => set(&mut next.policies, name, policy, EntityKind::Policy)?,
                IdentityChange::Key(name, key) => set(&mut next.keys, name, key, EntityKind::Key)?,
            }
        }
        next.check()?;
        Ok(next)
    }

    fn check(&self) -> Result<(), IdentityRefusal> {
        let dangling = |by_kind, by: &str, kind, name: &str| {
            Err(IdentityRefusal::Dangling { by_kind, by: by.to_owned(), kind, name: name.to_owned() })
        };
        let users = self.users.iter().map(|(name, user)| (EntityKind::User, name, &user.policies));
        let groups = self.groups.iter().map(|(name, group)| (EntityKind::Group, name, &group.policies));
        let roles = self.roles.iter().map(|(name, role)| (EntityKind::Role, name, &role.policies));
        for (kind, name, policies) in users.chain(groups).chain(roles) {
            if let Some(missing) = policies.iter().find(|policy| !self.policies.contains_key(*policy)) {
                return dangling(kind, name, EntityKind::Policy, missing);
            }
        }
        for (name, group) in &self.groups {
            if let Some(missing) = group.members.iter().find(|member| !self.users.contains_key(*member)) {
                return dangling(EntityKind::Group, name, EntityKind::User, missing);
            }
        }
        match self.keys.iter().find(|(_, key)| !self.users.contains_key(&key.user)) {
            Some((id, key)) => dangling(EntityKind::Key, id, EntityKind::User, &key.user),
            None => Ok(()),
        }
    }
}

fn set<T>(
    map: &mut BTreeMap<String, T>,
    name: String,
    value: Option<T>,
    kind: EntityKind,
) -> Result<(), IdentityRefusal> {
    match value {
        Some(value) => drop(map.insert(name, value)),
        None if map.remove(&name).is_none() => return Err(IdentityRefusal::NoSuch { kind, name }),
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(policies: &[&str]) -> User {
        User { enabled: true, policies: policies.iter().map(|name| name.to_string()).collect() }
    }

    fn key(user: &str) -> AccessKey {
        AccessKey { user: user.into(), sealed: vec![1], enabled: true, expires_ms: None, created_ms: 0 }
    }

    #[test]
    fn changes_hold_together_or_not_at_all() {
        let none = Identities::default();
        let group = Group { members: ["ann".to_owned()].into(), policies: BTreeSet::new() };
        let made = none
            .change(vec![
                IdentityChange::User("ann".into(), Some(user(&["read"]))),
                IdentityChange::Key("AK".into(), Some(key("ann"))),
                IdentityChange::Group("team".into(), Some(group)),
                IdentityChange::Policy("read".into(), Some("{}".into())),
            ])
            .unwrap();
        let removed = |change| made.change(vec![change]).unwrap_err();
        let error = removed(IdentityChange::Policy("read".into(), None));
        assert_eq!(error.to_string(), r#"user "ann" names policy "read", which would not be there"#);
        let error = removed(IdentityChange::Key("BK".into(), None));
        assert_eq!(error, IdentityRefusal::NoSuch { kind: EntityKind::Key, name: "BK".into() });
        assert!(matches!(
            removed(IdentityChange::Key("BK".into(), Some(key("bob")))),
            IdentityRefusal::Dangling { .. }
        ));
        let gone = made.change(vec![IdentityChange::User("ann".into(), None)]).unwrap();
        assert!(gone.keys.is_empty() && gone.groups["team"].members.is_empty());
        gone.change(vec![IdentityChange::Policy("read".into(), None)]).unwrap();
    }
}
