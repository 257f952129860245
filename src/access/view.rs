//! Identities as they are shown: never with a secret.

use std::collections::BTreeSet;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::{Document, Versioning};
use holdfast_wire::identity::Identities;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// Whether its keys work.
    pub enabled: bool,
    /// Policies attached to it.
    pub policies: BTreeSet<String>,
    /// Groups that it belongs to.
    pub groups: Vec<String>,
    /// Public halves of its keys.
    pub keys: Vec<String>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// Its users.
    pub members: BTreeSet<String>,
    /// Attached policies.
    pub policies: BTreeSet<String>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RoleView {
    /// Its name.
    pub name: String,
    /// Attached policies.
    pub policies: BTreeSet<String>,
    /// The longest session, seconds.
    pub session_max_s: u32,
    /// Who may take it on.
    pub trust: Value,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// Its document.
    pub document: Value,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyView {
    /// The public half.
    pub access_key: String,
    /// Whose.
    pub user: String,
    /// Whether it works.
    pub enabled: bool,
    /// When it was made.
    pub created: String,
    /// When it stops working.
    pub expires: Option<String>,
}

/// A key that was just made: the only time that its secret is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MadeKey {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BucketView {
    /// Its name.
    pub name: String,
    /// Whose.
    pub owner: String,
    /// When it was made.
    pub created: String,
    /// `off`, `enabled` or `suspended`.
    pub versioning: String,
    /// Its policy.
    pub policy: Option<Value>,
}

/// A time, RFC 3339.
pub fn time(ms: u64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp((ms / 1000) as i64).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| ms.to_string())
}

/// A document as JSON, where it is.
pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// All users.
pub fn users(now: &Identities) -> Vec<UserView> {
    let view = |(name, user): (&String, &holdfast_wire::identity::User)| UserView {
        name: name.clone(),
        enabled: user.enabled,
        policies: user.policies.clone(),
        groups: now
            .groups
            .iter()
            .filter(|(_, group)| group.members.contains(name))
            .map(|(name, _)| name.clone())
            .collect(),
        keys: now.keys.iter().filter(|(_, key)| key.user == *name).map(|(id, _)| id.clone()).collect(),
    };
    now.users.iter().map(view).collect()
}

/// All groups.
pub fn groups(now: &Identities) -> Vec<GroupView> {
    let groups = now.groups.iter();
    groups
        .map(|(name, group)| GroupView {
            name: name.clone(),
            members: group.members.clone(),
            policies: group.policies.clone(),
        })
        .collect()
}

/// All roles.
pub fn roles(now: &Identities) -> Vec<RoleView> {
    let roles = now.roles.iter();
    roles
        .map(|(name, role)| RoleView {
            name: name.clone(),
            policies: role.policies.clone(),
            session_max_s: role.session_max_s,
            trust: json(&role.trust),
        })
        .collect()
}

/// All policies.
pub fn policies(now: &Identities) -> Vec<PolicyView> {
    now.policies.iter().map(|(name, text)| PolicyView { name: name.clone(), document: json(text) }).collect()
}

/// All keys.
pub fn keys(now: &Identities) -> Vec<KeyView> {
    let keys = now.keys.iter();
    keys.map(|(id, key)| KeyView {
        access_key: id.clone(),
        user: key.user.clone(),
        enabled: key.enabled,
        created: time(key.created_ms),
        expires: key.expires_ms.map(time),
    })
    .collect()
}

/// A bucket.
pub fn bucket(bucket: &Bucket) -> BucketView {
    BucketView {
        name: bucket.name.to_string(),
        owner: bucket.owner.clone(),
        created: time(bucket.created_ms),
        versioning: match bucket.versioning() {
            Versioning::Off => "off",
            Versioning::Enabled => "enabled",
            Versioning::Suspended => "suspended",
        }
        .to_owned(),
        policy: bucket.document(Document::Policy).map(json),
    }
}
