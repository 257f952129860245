//! What access control lists let people do: "Access control list (ACL) overview", Amazon S3 User Guide, "Mapping of ACL
//! permissions and access policy permissions". Lists only ever allow: an explicit deny of any policy stands before them.

use holdfast_wire::acl::{Acl, Permission};

/// Which list speaks about an action, and what it has to grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// The bucket's.
    Bucket(Permission),
    /// The object's: and it is the object's owner, not the bucket's, who may do it in any case.
    Object(Permission),
    /// The bucket's, and besides the object must be the caller's own.
    OwnObject(Permission),
}

/// The list that speaks about `action` (`s3:GetObject`), if any does.
pub fn speaks(action: &str) -> Option<Speaks> {
    Some(match action.strip_prefix("s3:")? {
        "ListBucket" | "ListBucketVersions" | "ListBucketMultipartUploads" => Speaks::Bucket(Permission::Read),
        "GetBucketAcl" => Speaks::Bucket(Permission::ReadAcp),
        "PutBucketAcl" => Speaks::Bucket(Permission::WriteAcp),
        "PutObject" | "AbortMultipartUpload" | "ListMultipartUploadParts" => Speaks::Bucket(Permission::Write),
        "DeleteObject" => Speaks::OwnObject(Permission::Write),
        "GetObject" | "GetObjectVersion" => Speaks::Object(Permission::Read),
        "GetObjectAcl" | "GetObjectVersionAcl" => Speaks::Object(Permission::ReadAcp),
        "PutObjectAcl" | "PutObjectVersionAcl" => Speaks::Object(Permission::WriteAcp),
        _ => return None,
    })
}

/// Who owns a thing, and its list.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The owner.
    pub owner: &'a str,
    /// `None`: the owner's full control.
    pub list: Option<&'a Acl>,
}

/// What lists are asked.
#[derive(Clone, Copy, Debug)]
pub struct Lists<'a> {
    /// The bucket's.
    pub bucket: Listed<'a>,
    /// The object's; `None`: there is no object.
    pub object: Option<Listed<'a>>,
    /// Whether grants to groups count (`IgnorePublicAcls`).
    pub public: bool,
}

/// What follows from lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The caller owns what is asked about.
    pub owner: bool,
    /// A list grants it.
    pub granted: bool,
}

/// What the lists say about `caller` (`None`: the anonymous) and `action`.
pub fn judge(action: &str, caller: Option<&str>, lists: &Lists<'_>) -> Verdict {
    let owns = |listed: &Listed<'_>| caller == Some(listed.owner);
    let grants =
        |listed: &Listed<'_>, permission| listed.list.is_some_and(|list| list.grants(caller, permission, lists.public));
    let bucket = &lists.bucket;
    match (speaks(action), &lists.object) {
        (Some(Speaks::Object(permission)), Some(object)) => {
            Verdict { owner: owns(object), granted: grants(object, permission) }
        }
        (Some(Speaks::OwnObject(permission)), object) => {
            let own = object.as_ref().is_none_or(owns);
            Verdict { owner: owns(bucket), granted: own && caller.is_some() && grants(bucket, permission) }
        }
        (Some(Speaks::Bucket(permission)), _) => Verdict { owner: owns(bucket), granted: grants(bucket, permission) },
        (Some(Speaks::Object(_)) | None, _) => Verdict { owner: owns(bucket), granted: false },
    }
}

/// Whether it takes the object's record to know.
pub fn needs_object(action: &str) -> bool {
    matches!(speaks(action), Some(Speaks::Object(_) | Speaks::OwnObject(_)))
}

#[cfg(test)]
mod tests {
    use holdfast_wire::acl::Grantee;

    use super::*;
    use crate::policy::action;

    #[test]
    fn the_owner_of_an_object_reads_it_and_the_owner_of_its_bucket_does_not() {
        let bucket = Acl::private("ann").and(Grantee::Everybody, Permission::Write);
        let shared = Acl::private("bob").and(Grantee::Owner("carl".into()), Permission::Read);
        let object = |list| Lists {
            bucket: Listed { owner: "ann", list: Some(&bucket) },
            object: Some(Listed { owner: "bob", list }),
            public: true,
        };
        let may = |caller, action, list| {
            let verdict = judge(action, caller, &object(list));
            verdict.owner || verdict.granted
        };
        assert!(may(Some("bob"), "s3:GetObject", None) && !may(Some("ann"), "s3:GetObject", None));
        assert!(may(Some("ann"), "s3:GetObjectTagging", None) && may(Some("ann"), "s3:DeleteObject", None));
        assert!(may(Some("carl"), "s3:GetObjectVersion", Some(&shared)));
        assert!(!may(Some("carl"), "s3:GetObjectAcl", Some(&shared)) && !may(None, "s3:GetObject", Some(&shared)));
        assert!(may(None, "s3:PutObject", None) && !may(None, "s3:DeleteObject", None));
        assert!(may(Some("bob"), "s3:DeleteObject", None) && !may(Some("carl"), "s3:DeleteObject", None));
        let ignored = Lists { public: false, ..object(None) };
        assert!(!judge("s3:PutObject", None, &ignored).granted);
        for (action, needs) in [("s3:GetObject", true), ("s3:DeleteObject", true), ("s3:PutObject", false)] {
            assert_eq!(needs_object(action), needs, "{action}");
        }
        let gone = Lists { object: None, ..object(None) };
        assert!(judge("s3:GetObject", Some("ann"), &gone).owner, "who may list may learn that it is gone");
    }

    #[test]
    fn lists_speak_of_actions_that_there_are() {
        let spoken = action::all().filter(|(name, _)| speaks(&format!("s3:{name}")).is_some());
        let levels = spoken.map(|(name, level)| {
            let about = matches!(speaks(&format!("s3:{name}")), Some(Speaks::Object(_) | Speaks::OwnObject(_)));
            assert!(!about || level == action::Level::Object, "{name}");
        });
        assert_eq!(levels.count(), 15);
    }
}
