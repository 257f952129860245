//! `provision.toml`: users, keys, groups, roles, policies and buckets as they are to be. Applying it makes what is missing
//! and changes what differs; applying it again changes nothing. What it does not name stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use holdfast_wire::configuration::{BucketChange, Document, Versioning};
use holdfast_wire::identity::{AccessKey, Identities, IdentityChange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::{QuotaWish, RuleEntry};
use super::{Access, AccessError, edit};

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provision {
    /// Policies.
    #[serde(default)]
    pub policies: Vec<PolicyEntry>,
    /// Users.
    #[serde(default)]
    pub users: Vec<UserEntry>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<GroupEntry>,
    /// Roles.
    #[serde(default)]
    pub roles: Vec<RoleEntry>,
    /// Access keys.
    #[serde(default)]
    pub keys: Vec<KeyEntry>,
    /// Buckets.
    #[serde(default)]
    pub buckets: Vec<BucketEntry>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyEntry {
    /// Its name.
    pub name: String,
    /// Its document: IAM's JSON as text, or as a table.
    pub document: Option<Value>,
    /// The file that has it, beside this one.
    pub document_file: Option<PathBuf>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserEntry {
    /// Its name.
    pub name: String,
    /// Whether its keys work.
    pub enabled: Option<bool>,
    /// Attached policies: these and no others.
    pub policies: Option<BTreeSet<String>>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupEntry {
    /// Its name.
    pub name: String,
    /// Its users: these and no others.
    pub members: Option<BTreeSet<String>>,
    /// Attached policies: these and no others.
    pub policies: Option<BTreeSet<String>>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleEntry {
    /// Its name.
    pub name: String,
    /// Who may take it on: an IAM trust policy.
    pub trust: Option<Value>,
    /// The file that has it, beside this one.
    pub trust_file: Option<PathBuf>,
    /// Attached policies: these and no others.
    pub policies: Option<BTreeSet<String>>,
    /// The longest session, seconds.
    pub session_max_s: Option<u32>,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Whose.
    pub user: String,
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: Option<String>,
    /// The file that has it, beside this one.
    pub secret_key_file: Option<PathBuf>,
    /// Whether it works.
    pub enabled: Option<bool>,
    /// When it stops working: RFC 3339 or `never`.
    pub expires: Option<String>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketEntry {
    /// Its name.
    pub name: String,
    /// Whose it is when it is made; the root key's by default. An existing bucket's owner stays.
    pub owner: Option<String>,
    /// Its tags: these and no others.
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether objects have versions: `true` enables, `false` suspends.
    pub versioning: Option<bool>,
    /// Its policy: IAM's JSON as text, or as a table.
    pub policy: Option<Value>,
    /// The file that has it, beside this one.
    pub policy_file: Option<PathBuf>,
    /// What it may hold; what is left out stays as it is.
    pub quota: Option<QuotaWish>,
    /// Its lifecycle rules: these and no others.
    pub lifecycle: Option<Vec<RuleEntry>>,
}

/// Why a file cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not text, not TOML, or has other elements than it may have.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// An element that is needed, or its file.
    #[error("{what} {name:?} needs {element} or {element}_file")]
    Incomplete {
        /// The entry.
        what: &'static str,
        /// Its name.
        name: String,
        /// The element.
        element: &'static str,
    },
    /// A process without a root key cannot say whose a bucket is.
    #[error("bucket {0:?} needs an owner: the process asked knows no root key")]
    NoOwner(String),
    /// A value that cannot be.
    #[error("{what} cannot be {value:?}")]
    Value {
        /// Of what.
        what: String,
        /// The value.
        value: String,
    },
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// What was made or changed, one line each.
    pub changed: Vec<String>,
}

/// Reads a whole small file.
pub type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Option<Vec<u8>>>;

impl Provision {
    /// Reads the file at `path` with the files that it names.
    pub fn load(path: &Path, read: Read<'_>) -> Result<Self, BadFile> {
        let text = file(path, read)?;
        let mut wish: Self = toml::from_str(&text).map_err(|error: toml::de::Error| BadFile::Syntax {
            path: path.to_owned(),
            reason: error.to_string().trim().replace('\n', " "),
        })?;
        let beside = |named: &Path| path.parent().map_or_else(|| named.to_owned(), |dir| dir.join(named));
        let fill = |value: &mut Option<Value>, named: &mut Option<PathBuf>| match named.take() {
            Some(named) => file(&beside(&named), read).map(|text| *value = Some(Value::String(text))),
            None => Ok(()),
        };
        for policy in &mut wish.policies {
            fill(&mut policy.document, &mut policy.document_file)?;
        }
        for role in &mut wish.roles {
            fill(&mut role.trust, &mut role.trust_file)?;
        }
        for bucket in &mut wish.buckets {
            fill(&mut bucket.policy, &mut bucket.policy_file)?;
        }
        for key in &mut wish.keys {
            if let Some(named) = key.secret_key_file.take() {
                key.secret_key = Some(file(&beside(&named), read)?.trim_end().to_owned());
            }
        }
        Ok(wish)
    }
}

fn file(path: &Path, read: Read<'_>) -> Result<String, BadFile> {
    let unreadable = |error| BadFile::Unreadable { path: path.to_owned(), error };
    let bytes = read(path).map_err(unreadable)?.ok_or_else(|| unreadable(crate::no_such_file()))?;
    let no_text = |_| BadFile::Syntax { path: path.to_owned(), reason: "not UTF-8 text".to_owned() };
    String::from_utf8(bytes).map_err(no_text)
}

impl Access {
    /// Brings about what `wish` says.
    pub async fn provision(&self, wish: &Provision) -> Result<Applied, AccessError> {
        let mut applied = Applied::default();
        let named = parking_lot::Mutex::new(Vec::new());
        self.change(|now| {
            let changes = self.identity_changes(now, wish)?;
            *named.lock() = changes.iter().map(describe).collect();
            Ok(changes)
        })
        .await?;
        applied.changed.extend(named.into_inner());
        for bucket in &wish.buckets {
            self.provision_bucket(bucket, &mut applied).await?;
        }
        Ok(applied)
    }

    fn identity_changes(&self, now: &Identities, wish: &Provision) -> Result<Vec<IdentityChange>, AccessError> {
        let mut changes = Vec::new();
        for PolicyEntry { name, document, .. } in &wish.policies {
            let missing = || BadFile::Incomplete { what: "policy", name: name.clone(), element: "document" };
            let document = document.clone().ok_or_else(missing)?;
            changes.extend(edit::policy(now, name, &edit::PolicyWish { document })?);
        }
        for UserEntry { name, enabled, policies } in &wish.users {
            changes.extend(edit::user(now, name, &edit::UserWish { enabled: *enabled, policies: policies.clone() })?);
        }
        for GroupEntry { name, members, policies } in &wish.groups {
            let group = edit::GroupWish { members: members.clone(), policies: policies.clone() };
            changes.extend(edit::group(now, name, &group)?);
        }
        for RoleEntry { name, trust, policies, session_max_s, .. } in &wish.roles {
            let role =
                edit::RoleWish { trust: trust.clone(), policies: policies.clone(), session_max_s: *session_max_s };
            changes.extend(edit::role(now, name, &role)?);
        }
        for key in &wish.keys {
            changes.extend(self.key_change(now, key)?);
        }
        Ok(changes)
    }

    fn key_change(&self, now: &Identities, wish: &KeyEntry) -> Result<Option<IdentityChange>, AccessError> {
        let id = &wish.access_key;
        let missing = || BadFile::Incomplete { what: "key", name: id.clone(), element: "secret_key" };
        let secret = wish.secret_key.as_ref().ok_or_else(missing)?;
        edit::key_halves(id, secret)?;
        let known = now.keys.get(id);
        let opened = known.and_then(|key| self.seal().open(id.as_bytes(), &key.sealed).ok());
        let sealed = match known.filter(|_| opened.as_deref() == Some(secret.as_bytes())) {
            Some(key) => key.sealed.clone(),
            None => self.seal().seal(&*self.seams().random, id.as_bytes(), secret.as_bytes()),
        };
        let now_ms = self.seams().clock.unix_millis();
        let next = AccessKey {
            user: wish.user.clone(),
            sealed,
            enabled: wish.enabled.or(known.map(|key| key.enabled)).unwrap_or(true),
            expires_ms: match &wish.expires {
                Some(text) => edit::moment(text, now_ms)?,
                None => known.and_then(|key| key.expires_ms),
            },
            created_ms: known.map_or(now_ms, |key| key.created_ms),
        };
        Ok((known != Some(&next)).then(|| IdentityChange::Key(id.clone(), Some(next))))
    }

    async fn provision_bucket(&self, wish: &BucketEntry, applied: &mut Applied) -> Result<(), AccessError> {
        let name = &wish.name;
        let mut bucket = match self.bucket(name).await {
            Ok(bucket) => bucket,
            Err(AccessError::NoSuchBucket(_)) => {
                let owner = wish.owner.as_deref().or(self.root());
                let owner = owner.ok_or_else(|| BadFile::NoOwner(name.clone()))?;
                let made = self.create_bucket(name, owner).await?;
                applied.changed.push(format!("bucket {name}"));
                made
            }
            Err(error) => return Err(error),
        };
        if let Some(on) = wish.versioning {
            let wanted = if on { Versioning::Enabled } else { Versioning::Suspended };
            let off = !on && bucket.versioning() == Versioning::Off;
            if bucket.versioning() != wanted && !off {
                bucket = self.change_bucket(name, BucketChange::Versioning(wanted)).await?;
                applied.changed.push(format!("versioning of bucket {name}"));
            }
        }
        if let Some(tags) = &wish.tags {
            let tags: Vec<(String, String)> = tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            if bucket.tags != tags {
                bucket = self.change_bucket(name, BucketChange::Tags(tags)).await?;
                applied.changed.push(format!("tags of bucket {name}"));
            }
        }
        if let Some(policy) = &wish.policy {
            let text = edit::document(policy);
            if bucket.document(Document::Policy) != Some(&text) {
                self.set_bucket_policy(name, Some(text)).await?;
                applied.changed.push(format!("policy of bucket {name}"));
            }
        }
        if let Some(quota) = &wish.quota
            && self.set_quota(name, quota).await?.1
        {
            applied.changed.push(format!("quota of bucket {name}"));
        }
        if let Some(rules) = &wish.lifecycle
            && self.set_lifecycle(&bucket, rules).await?
        {
            applied.changed.push(format!("lifecycle of bucket {name}"));
        }
        Ok(())
    }
}

/// A change in words, without secrets.
pub fn describe(change: &IdentityChange) -> String {
    let (kind, name, removed) = match change {
        IdentityChange::User(name, value) => ("user", name, value.is_none()),
        IdentityChange::Group(name, value) => ("group", name, value.is_none()),
        IdentityChange::Role(name, value) => ("role", name, value.is_none()),
        IdentityChange::Policy(name, value) => ("policy", name, value.is_none()),
        IdentityChange::Key(name, value) => ("key", name, value.is_none()),
    };
    format!("{kind} {name}{}", if removed { " removed" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_strictly_with_the_files_that_it_names() {
        let read = |path: &Path| {
            Ok(match path.to_str() {
                Some("/etc/p.toml") => Some(b"[[policies]]\nname='r'\ndocument_file='r.json'\n[[keys]]\nuser='u'\naccess_key='A'\nsecret_key_file='/s'".to_vec()),
                Some("/etc/r.json") => Some(b"{}".to_vec()),
                Some("/s") => Some(b"secret\n".to_vec()),
                Some("/etc/bad.toml") => Some(b"[[user]]\nname='x'".to_vec()),
                _ => None,
            })
        };
        let wish = Provision::load(Path::new("/etc/p.toml"), &read).unwrap();
        assert_eq!(wish.policies[0].document, Some(Value::String("{}".to_owned())));
        assert_eq!(wish.keys[0].secret_key.as_deref(), Some("secret"));
        let error = Provision::load(Path::new("/etc/bad.toml"), &read).unwrap_err().to_string();
        assert!(error.contains("unknown field `user`"), "{error}");
        assert!(Provision::load(Path::new("/etc/none"), &read).is_err());
    }
}
