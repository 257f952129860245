//! The identities as a gateway uses them: secrets opened, policies compiled, groups resolved. An immutable value, made anew
//! from every new copy of root's.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_wire::identity::{Identities, User};
use holdfast_wire::seal::Seal;

use super::keys::{RootKey, Secret};
use super::who::Policies;
use crate::policy::{Malformed, Policy};

/// What keys are [sealed](holdfast_wire::seal) for.
pub const KEYS: &str = "access keys";

/// A key that works as long as it is neither disabled nor expired.
pub struct Key {
    /// Its secret half.
    pub secret: Secret,
    /// Whose it is.
    pub user: Arc<str>,
    /// Whether it and its user are enabled.
    pub enabled: bool,
    /// When it stops working, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// The user's policies and its groups'.
    pub policies: Policies,
}

/// A role.
pub struct Role {
    /// Who may take it on.
    pub trust: Policy,
    /// Its policies.
    pub policies: Policies,
    /// The longest session, seconds.
    pub session_max_s: u32,
}

/// Everybody whom the cluster knows.
#[derive(Default)]
pub struct Directory {
    /// Root's version of it.
    pub version: u64,
    /// Keys by their public halves.
    pub keys: HashMap<String, Key>,
    /// Policies of users, by name.
    pub users: HashMap<String, Policies>,
    /// Roles by name.
    pub roles: HashMap<String, Role>,
}

/// The policies that speak about a user, its groups' included; the first that cannot be read otherwise.
pub fn compile(identities: &Identities, user: &str) -> Result<Vec<(String, Policy)>, (String, Malformed)> {
    let own = identities.users.get(user).into_iter().flat_map(|user| &user.policies);
    let groups = identities.groups.values().filter(|group| group.members.contains(user));
    let named = own.chain(groups.flat_map(|group| &group.policies));
    let text = |name: &String| identities.policies.get(name).map_or("", String::as_str);
    named.map(|name| Ok((name.clone(), Policy::identity(text(name)).map_err(|error| (name.clone(), error))?))).collect()
}

impl Directory {
    /// Compiles `identities`. What cannot be used (a secret of another cluster's, a policy of a newer version) is left
    /// out and logged: its owner is then not let in, and nobody is let in for it.
    pub fn new(identities: &Identities, seal: &Seal, root: &RootKey) -> Self {
        let compiled: HashMap<&str, Option<Arc<Policy>>> = identities
            .policies
            .iter()
            .map(|(name, text)| {
                let policy = Policy::identity(text);
                if let Err(error) = &policy {
                    tracing::error!(policy = name, %error, "a policy cannot be read: nobody who has it is let in");
                }
                (name.as_str(), policy.ok().map(Arc::new))
            })
            .collect();
        // Without one of its policies, which may deny, its holder is not let in at all.
        let of = |names: &mut dyn Iterator<Item = &String>| -> Option<Policies> {
            let named = names.map(|name| Some((name.clone(), compiled.get(name.as_str())?.clone()?)));
            Some(Arc::new(named.collect::<Option<Vec<_>>>()?))
        };
        let usable = |(name, user): (&String, &User)| {
            // Whoever had the name of the root key would own what root owns.
            if root.is(name) {
                tracing::error!(user = name, "a user has the root key's name and is not let in");
                return None;
            }
            let groups = identities.groups.values().filter(|group| group.members.contains(name));
            let inherited = groups.flat_map(|group| &group.policies);
            Some((name.clone(), of(&mut user.policies.iter().chain(inherited))?))
        };
        let users: HashMap<String, Policies> = identities.users.iter().filter_map(usable).collect();
        let mut keys = HashMap::with_capacity(identities.keys.len());
        for (id, key) in &identities.keys {
            let Some(policies) = users.get(&key.user) else { continue };
            let opened = seal.open(id.as_bytes(), &key.sealed).ok().and_then(|plain| String::from_utf8(plain).ok());
            let Some(secret) = opened.filter(|_| !root.is(id)) else {
                tracing::error!(key = id, "a key's secret cannot be opened with this cluster's secret");
                continue;
            };
            let enabled = key.enabled && identities.users.get(&key.user).is_some_and(|user| user.enabled);
            keys.insert(
                id.clone(),
                Key {
                    secret: Secret::new(secret),
                    user: key.user.as_str().into(),
                    enabled,
                    expires_ms: key.expires_ms,
                    policies: policies.clone(),
                },
            );
        }
        let role = |(name, role): (&String, &holdfast_wire::identity::Role)| {
            let trust = Policy::trust(&role.trust);
            if let Err(error) = &trust {
                tracing::error!(role = name, %error, "a role's trust policy cannot be read: nobody can take it on");
            }
            let policies = of(&mut role.policies.iter())?;
            Some((name.clone(), Role { trust: trust.ok()?, policies, session_max_s: role.session_max_s }))
        };
        let roles = identities.roles.iter().filter_map(role).collect();
        Self { version: identities.version, keys, users, roles }
    }
}
