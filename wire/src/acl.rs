//! Access control lists, as they are kept with a bucket and with each version of an object. Whoever owns a thing controls
//! it whatever its list says; what a list grants counts only where the bucket's object ownership lets lists count.

use serde::{Deserialize, Serialize};

/// What may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Permission {
    /// All of the others.
    FullControl,
    /// Listing a bucket, reading an object.
    Read,
    /// Writing into a bucket; of an object it says nothing.
    Write,
    /// Reading the list.
    ReadAcp,
    /// Writing the list.
    WriteAcp,
}

/// To whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grantee {
    /// Everybody, the anonymous included.
    Everybody,
    /// Everybody whose signature is good.
    Authenticated,
    /// Who owns things under this name: a user, or `role/NAME`.
    Owner(String),
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl(pub Vec<Grant>);

impl Acl {
    /// Lines of one list, as S3 limits them.
    pub const GRANTS_MAX: usize = 100;

    /// The list of what nobody was granted anything on: its owner's full control.
    pub fn private(owner: &str) -> Self {
        Self::default().and(Grantee::Owner(owner.to_owned()), Permission::FullControl)
    }

    /// The same list with one line more.
    #[must_use]
    pub fn and(mut self, grantee: Grantee, permission: Permission) -> Self {
        self.0.push(Grant { grantee, permission });
        self
    }

    /// Whether it grants anything to people whom nobody named.
    pub fn is_public(&self) -> bool {
        self.0.iter().any(|grant| !matches!(grant.grantee, Grantee::Owner(_)))
    }

    /// Whether it grants `permission` to `caller` (`None`: the anonymous). Without `public`, only to those whom it names.
    pub fn grants(&self, caller: Option<&str>, permission: Permission, public: bool) -> bool {
        self.0.iter().any(|grant| {
            let meant = match &grant.grantee {
                Grantee::Everybody => public,
                Grantee::Authenticated => public && caller.is_some(),
                Grantee::Owner(name) => caller == Some(name.as_str()),
            };
            meant && (grant.permission == permission || grant.permission == Permission::FullControl)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grants_what_it_says_to_whom_it_says() {
        let list = Acl::private("ann")
            .and(Grantee::Owner("bob".into()), Permission::Read)
            .and(Grantee::Authenticated, Permission::ReadAcp)
            .and(Grantee::Everybody, Permission::Write);
        for (caller, granted) in [
            (Some("ann"), [true, true, true, true, true]),
            (Some("bob"), [false, true, true, true, false]),
            (Some("eve"), [false, false, true, true, false]),
            (None, [false, false, true, false, false]),
        ] {
            use Permission::{FullControl, Read, ReadAcp, Write, WriteAcp};
            let asked = [FullControl, Read, Write, ReadAcp, WriteAcp];
            assert_eq!(asked.map(|permission| list.grants(caller, permission, true)), granted, "{caller:?}");
        }
        assert!(
            !list.grants(Some("eve"), Permission::Write, false),
            "groups are nobody where public lists are ignored"
        );
        assert!(list.grants(Some("bob"), Permission::Read, false), "those who are named stay");
        assert!(list.is_public() && !Acl::private("ann").is_public() && !Acl::default().is_public());
    }
}
