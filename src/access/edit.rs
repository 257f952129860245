//! Wishes about identities, and the changes that fulfil them. Pure.

use std::collections::BTreeSet;

use holdfast_gateway::auth::session;
use holdfast_gateway::policy::Policy;
use holdfast_gateway::policy::value;
use holdfast_wire::identity::{AccessKey, EntityKind, Group, Identities, IdentityChange, Role, User};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AccessError;

/// What to make of a user. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserWish {
    /// Whether its keys work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Attached policies: these and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<BTreeSet<String>>,
}

/// What to make of a group. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupWish {
    /// Its users: these and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<BTreeSet<String>>,
    /// Attached policies: these and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<BTreeSet<String>>,
}

/// What to make of a role. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleWish {
    /// Who may take it on: an IAM trust policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Value>,
    /// Attached policies: these and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<BTreeSet<String>>,
    /// The longest session, seconds (900 to 43200).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_max_s: Option<u32>,
}

/// A policy's document: IAM's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyWish {
    /// The document, as an object or as its text.
    pub document: Value,
}

/// A key that is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Whose.
    pub user: String,
    /// The public half; one is drawn if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// The secret half; one is drawn if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
    /// When it stops working: RFC 3339, or a duration from now (`90d`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// What to make of a key. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyWish {
    /// Whether it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// When it stops working: RFC 3339, a duration from now (`90d`), or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// A name that users, groups, roles and policies can have.
pub fn name(text: &str) -> Result<&str, AccessError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || ".+=@_-".contains(c);
    match (1..=64).contains(&text.len()) && text.chars().all(legal) {
        true => Ok(text),
        false => Err(AccessError::Name(text.to_owned())),
    }
}

/// The halves of a key.
pub fn key_halves(access: &str, secret: &str) -> Result<(), AccessError> {
    let public = (16..=128).contains(&access.len()) && access.chars().all(|c| c.is_ascii_alphanumeric());
    let hidden = (16..=128).contains(&secret.len()) && secret.chars().all(|c| c.is_ascii_graphic());
    if public && hidden && !access.starts_with(session::PREFIX) { Ok(()) } else { Err(AccessError::Key) }
}

/// A moment: RFC 3339, a date, or a duration from now. `None`: `never`.
pub fn moment(text: &str, now_ms: u64) -> Result<Option<u64>, AccessError> {
    let bad = || AccessError::Time(text.to_owned());
    if text == "never" {
        return Ok(None);
    }
    if let Some((number, unit)) = text.split_at_checked(text.len().saturating_sub(1))
        && let Ok(number) = number.parse::<u32>()
    {
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(bad()),
        };
        return Ok(Some(now_ms + u64::from(number) * seconds * 1000));
    }
    let nanos = value::date(text).filter(|_| text.contains('-')).ok_or_else(bad)?;
    u64::try_from(nanos / 1_000_000).map(Some).map_err(|_| bad())
}

/// A document as text: what is no text yet is written out.
pub fn document(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn unless_same<T: PartialEq>(
    known: Option<&T>,
    wished: T,
    change: impl FnOnce(T) -> IdentityChange,
) -> Vec<IdentityChange> {
    if known == Some(&wished) { Vec::new() } else { vec![change(wished)] }
}

/// Makes or changes a user.
pub fn user(now: &Identities, who: &str, wish: &UserWish) -> Result<Vec<IdentityChange>, AccessError> {
    let known = now.users.get(name(who)?);
    let mut next = known.cloned().unwrap_or(User { enabled: true, policies: BTreeSet::new() });
    next.enabled = wish.enabled.unwrap_or(next.enabled);
    next.policies = wish.policies.clone().unwrap_or(next.policies);
    Ok(unless_same(known, next, |user| IdentityChange::User(who.to_owned(), Some(user))))
}

/// Makes or changes a group.
pub fn group(now: &Identities, which: &str, wish: &GroupWish) -> Result<Vec<IdentityChange>, AccessError> {
    let known = now.groups.get(name(which)?);
    let mut next: Group = known.cloned().unwrap_or_default();
    next.members = wish.members.clone().unwrap_or(next.members);
    next.policies = wish.policies.clone().unwrap_or(next.policies);
    Ok(unless_same(known, next, |group| IdentityChange::Group(which.to_owned(), Some(group))))
}

/// Makes or changes a role.
pub fn role(now: &Identities, which: &str, wish: &RoleWish) -> Result<Vec<IdentityChange>, AccessError> {
    let known = now.roles.get(name(which)?);
    let nobody = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*"}}"#;
    let first = Role { trust: nobody.to_owned(), policies: BTreeSet::new(), session_max_s: 3600 };
    let mut next = known.cloned().unwrap_or(first);
    if let Some(trust) = &wish.trust {
        next.trust = document(trust);
        Policy::trust(&next.trust).map_err(|error| AccessError::Policy { name: which.to_owned(), error })?;
    }
    next.policies = wish.policies.clone().unwrap_or(next.policies);
    next.session_max_s = wish.session_max_s.unwrap_or(next.session_max_s);
    if !(900..=43_200).contains(&next.session_max_s) {
        return Err(AccessError::Session);
    }
    Ok(unless_same(known, next, |role| IdentityChange::Role(which.to_owned(), Some(role))))
}

/// Makes or changes a policy.
pub fn policy(now: &Identities, which: &str, wish: &PolicyWish) -> Result<Vec<IdentityChange>, AccessError> {
    let text = document(&wish.document);
    Policy::identity(&text).map_err(|error| AccessError::Policy { name: which.to_owned(), error })?;
    Ok(unless_same(now.policies.get(name(which)?), text, |text| IdentityChange::Policy(which.to_owned(), Some(text))))
}

/// Changes a key.
pub fn key(now: &Identities, id: &str, wish: &KeyWish, now_ms: u64) -> Result<Vec<IdentityChange>, AccessError> {
    let missing = || AccessError::NoSuch { kind: EntityKind::Key, name: id.to_owned() };
    let known = now.keys.get(id).ok_or_else(missing)?;
    let mut next: AccessKey = known.clone();
    next.enabled = wish.enabled.unwrap_or(next.enabled);
    if let Some(text) = &wish.expires {
        next.expires_ms = moment(text, now_ms)?;
    }
    Ok(unless_same(Some(known), next, |key| IdentityChange::Key(id.to_owned(), Some(key))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_or_durations() {
        assert_eq!(moment("never", 5).unwrap(), None);
        assert_eq!(moment("2h", 5).unwrap(), Some(7_200_005));
        assert_eq!(moment("1970-01-02T00:00:00Z", 5).unwrap(), Some(86_400_000));
        for bad in ["", "soon", "12", "-1d", "5y", "é"] {
            assert!(moment(bad, 5).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wish_that_is_fulfilled_changes_nothing() {
        let none = Identities::default();
        let wish = UserWish::default();
        let changes = user(&none, "ann", &wish).unwrap();
        let made = none.change(changes).unwrap();
        assert_eq!(user(&made, "ann", &wish).unwrap(), []);
        let off = UserWish { enabled: Some(false), ..wish };
        assert_eq!(user(&made, "ann", &off).unwrap().len(), 1);
        for bad in ["", "a b", "a/b", "role/x", &"x".repeat(65)] {
            assert!(user(&made, bad, &off).is_err(), "{bad}");
        }
        let broken = PolicyWish { document: Value::String("{}".to_owned()) };
        assert!(matches!(policy(&made, "p", &broken), Err(AccessError::Policy { .. })));
    }

    #[test]
    fn keys_that_look_like_a_sessions_are_refused() {
        assert!(key_halves("AKIA0123456789ABCDEF", "0123456789abcdef").is_ok());
        for (access, secret) in [
            ("ASIA0123456789ABCDEF", "0123456789abcdef"),
            ("AKIA", "0123456789abcdef"),
            ("AKIA0123456789ABCDEF", "short"),
            ("AKIA 123456789ABCDEF", "0123456789abcdef"),
        ] {
            assert!(key_halves(access, secret).is_err(), "{access} {secret}");
        }
    }
}
