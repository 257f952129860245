//! Access control lists between requests and records: canned ones, grant headers, documents.

use std::collections::BTreeSet;

use holdfast_wire::acl::{Acl, Grant, Grantee, Permission};
use holdfast_wire::bucket::Bucket;
use http::StatusCode;
use s3s::dto::{self, AccessControlPolicy, Type};
use s3s::{S3Error, S3Result, s3_error};

use super::S3Service;
use super::request::not_implemented;
use crate::auth::ANONYMOUS;
use crate::error::custom;
use crate::ownership::Ownership;
use crate::public_access::PublicAccess;

const EVERYBODY: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// What a request says of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// `x-amz-acl`
    pub canned: Option<&'a str>,
    /// `x-amz-grant-*`
    pub headers: [Option<&'a str>; 5],
    /// The body.
    pub policy: Option<&'a AccessControlPolicy>,
}

/// What the fields of `Said::headers` grant.
const GRANTED: [Permission; 5] =
    [Permission::FullControl, Permission::Read, Permission::ReadAcp, Permission::Write, Permission::WriteAcp];

/// Takes [`Said`] out of an input: of one about a bucket, or of one about an object.
macro_rules! said {
    (bucket $input:expr) => {
        $crate::s3::grants::said!(@ $input, $input.grant_write.as_deref(), None)
    };
    (object $input:expr) => {
        $crate::s3::grants::said!(@ $input, None, None)
    };
    (bucket $input:expr, $policy:expr) => {
        $crate::s3::grants::said!(@ $input, $input.grant_write.as_deref(), $policy)
    };
    (@ $input:expr, $write:expr, $policy:expr) => {
        $crate::s3::grants::Said {
            canned: $input.acl.as_ref().map(|canned| canned.as_str()),
            headers: [
                $input.grant_full_control.as_deref(),
                $input.grant_read.as_deref(),
                $input.grant_read_acp.as_deref(),
                $write,
                $input.grant_write_acp.as_deref(),
            ],
            policy: $policy,
        }
    };
}
pub(super) use said;

/// Whom a list is for.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// Who owns what the list is about.
    pub owner: &'a str,
    /// Who owns the bucket.
    pub bucket: &'a str,
    /// Whether it is about an object.
    pub object: bool,
}

impl Said<'_> {
    fn grants(&self) -> bool {
        self.headers.iter().any(Option::is_some)
    }

    /// Where lists count for nothing, only what changes nothing is accepted: the owner has full control.
    pub fn changes_nothing(&self, owner: &str) -> S3Result<()> {
        let of_owner = |grant: &dto::Grant| {
            let to_owner = grant.grantee.as_ref().is_some_and(|grantee| grantee.id.as_deref() == Some(owner));
            to_owner && grant.permission.as_ref().is_some_and(|what| what.as_str() == dto::Permission::FULL_CONTROL)
        };
        let policy = self.policy.and_then(|policy| policy.grants.as_deref()).unwrap_or_default();
        if self.canned.is_some_and(|name| !CANNED.contains(&name)) {
            return Err(unknown_canned());
        }
        let canned = matches!(self.canned, None | Some("private" | "bucket-owner-full-control"));
        match canned && !self.grants() && policy.iter().all(of_owner) {
            true => Ok(()),
            false => Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs")),
        }
    }

    /// The list that is asked for; `None`: nothing is said of one.
    pub fn list(&self, parties: &Parties<'_>) -> S3Result<Option<Acl>> {
        match (self.canned, self.grants(), self.policy) {
            (None, false, None) => Ok(None),
            (Some(name), false, None) => canned(name, parties).map(Some),
            (None, true, None) => self.of_headers().map(Some),
            (None, false, Some(policy)) => of_document(policy, parties.owner).map(Some),
            (Some(_), true, None) => {
                Err(s3_error!(InvalidRequest, "Specifying both Canned ACLs and Header Grants is not allowed"))
            }
            (_, _, Some(_)) => Err(s3_error!(UnexpectedContent, "This request does not support content")),
        }
    }

    fn of_headers(&self) -> S3Result<Acl> {
        let mut list = Acl::default();
        for (permission, text) in GRANTED.into_iter().zip(self.headers) {
            for one in text.unwrap_or_default().split(',').map(str::trim).filter(|one| !one.is_empty()) {
                let bad = || s3_error!(InvalidArgument, "Argument format not recognized");
                let (kind, value) = one.split_once('=').ok_or_else(bad)?;
                let value = value.trim().trim_matches('"');
                list = list.and(grantee(kind.trim(), value).unwrap_or_else(|| Err(bad()))?, permission);
            }
        }
        bounded(list)
    }
}

/// A list that S3 has a name for. `None` of those about buckets' owners mean anything for a bucket's own.
fn canned(name: &str, parties: &Parties<'_>) -> S3Result<Acl> {
    let own = Acl::private(parties.owner);
    let given = |permission| match parties.object && parties.owner != parties.bucket {
        true => own.clone().and(Grantee::Owner(parties.bucket.to_owned()), permission),
        false => own.clone(),
    };
    Ok(match name {
        "private" => own,
        "public-read" => own.and(Grantee::Everybody, Permission::Read),
        "public-read-write" => own.and(Grantee::Everybody, Permission::Read).and(Grantee::Everybody, Permission::Write),
        "authenticated-read" => own.and(Grantee::Authenticated, Permission::Read),
        "bucket-owner-read" => given(Permission::Read),
        "bucket-owner-full-control" => given(Permission::FullControl),
        "log-delivery-write" | "aws-exec-read" => return Err(not_implemented("Access lists for services of AWS")),
        _ => return Err(unknown_canned()),
    })
}

/// The names that [`canned`] knows.
const CANNED: [&str; 8] = [
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
    "aws-exec-read",
];

/// What is said of a canned list of another name.
pub const UNKNOWN_CANNED: &str = "The canned ACL you requested does not exist";

fn unknown_canned() -> S3Error {
    s3_error!(InvalidArgument, "{UNKNOWN_CANNED}")
}

/// A grantee by what names it; `None`: that is no kind of name.
fn grantee(kind: &str, value: &str) -> Option<S3Result<Grantee>> {
    Some(match kind.to_ascii_lowercase().as_str() {
        "id" if value.is_empty() => Err(invalid_id()),
        "id" => Ok(Grantee::Owner(value.to_owned())),
        "uri" => match value {
            EVERYBODY => Ok(Grantee::Everybody),
            AUTHENTICATED => Ok(Grantee::Authenticated),
            LOG_DELIVERY => Err(not_implemented("Access lists for services of AWS")),
            _ => Err(s3_error!(InvalidArgument, "Invalid group uri")),
        },
        // Nobody here has an address.
        "emailaddress" => Err(custom(
            "UnresolvableGrantByEmailAddress",
            StatusCode::BAD_REQUEST,
            "The e-mail address you provided does not match any account on record.",
        )),
        _ => return None,
    })
}

fn invalid_id() -> S3Error {
    s3_error!(InvalidArgument, "Invalid id")
}

fn malformed() -> S3Error {
    custom(
        "MalformedACLError",
        StatusCode::BAD_REQUEST,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

fn of_document(policy: &AccessControlPolicy, owner: &str) -> S3Result<Acl> {
    // A list gives nothing away.
    match policy.owner.as_ref().map(|owner| owner.id.as_deref()) {
        Some(Some(id)) if id != owner => return Err(s3_error!(AccessDenied)),
        Some(Some(_)) => {}
        Some(None) | None => return Err(malformed()),
    }
    let mut list = Acl::default();
    for grant in policy.grants.iter().flatten() {
        let (Some(to), Some(what)) = (&grant.grantee, &grant.permission) else { return Err(malformed()) };
        let (kind, value) = match to.type_.as_str() {
            Type::CANONICAL_USER => ("id", &to.id),
            Type::GROUP => ("uri", &to.uri),
            Type::AMAZON_CUSTOMER_BY_EMAIL => ("emailaddress", &to.email_address),
            _ => return Err(malformed()),
        };
        let found = grantee(kind, value.as_deref().unwrap_or_default()).unwrap_or_else(|| Err(malformed()));
        list = list.and(found?, permission(what.as_str()).ok_or_else(malformed)?);
    }
    bounded(list)
}

fn bounded(list: Acl) -> S3Result<Acl> {
    if list.0.len() > Acl::GRANTS_MAX { Err(malformed()) } else { Ok(list) }
}

fn permission(name: &str) -> Option<Permission> {
    GRANTED.into_iter().find(|known| named(*known) == name)
}

fn named(permission: Permission) -> &'static str {
    match permission {
        Permission::FullControl => dto::Permission::FULL_CONTROL,
        Permission::Read => dto::Permission::READ,
        Permission::Write => dto::Permission::WRITE,
        Permission::ReadAcp => dto::Permission::READ_ACP,
        Permission::WriteAcp => dto::Permission::WRITE_ACP,
    }
}

/// As S3 shows a list: groups before those who are named.
pub fn shown(list: &Acl) -> Vec<dto::Grant> {
    let of = |grant: &Grant| {
        let group = |uri: &str| dto::Grantee {
            id: None,
            display_name: None,
            email_address: None,
            type_: Type::from_static(Type::GROUP),
            uri: Some(uri.to_owned()),
        };
        let grantee = match &grant.grantee {
            Grantee::Everybody => group(EVERYBODY),
            Grantee::Authenticated => group(AUTHENTICATED),
            Grantee::Owner(name) => dto::Grantee {
                id: Some(name.clone()),
                display_name: Some(name.clone()),
                type_: Type::from_static(Type::CANONICAL_USER),
                uri: None,
                email_address: None,
            },
        };
        let permission = dto::Permission::from_static(named(grant.permission));
        dto::Grant { grantee: Some(grantee), permission: Some(permission) }
    };
    let (named, groups): (Vec<&Grant>, Vec<&Grant>) =
        list.0.iter().partition(|grant| matches!(grant.grantee, Grantee::Owner(_)));
    groups.into_iter().chain(named).map(of).collect()
}

/// Refuses a public list where the bucket's public access block does.
pub fn allowed(bucket: &Bucket, list: &Acl) -> S3Result<()> {
    match list.is_public() && PublicAccess::of(bucket).block_public_acls {
        true => Err(s3_error!(AccessDenied, "The public access block of the bucket does not allow public ACLs")),
        false => Ok(()),
    }
}

impl S3Service {
    /// Makes sure that everybody whom a list names is known.
    pub(super) async fn resolve(&self, list: &Acl, parties: &Parties<'_>) -> S3Result<()> {
        let known = [parties.owner, parties.bucket, ANONYMOUS, &self.config.root_access_key];
        let named = list.0.iter().filter_map(|grant| match &grant.grantee {
            Grantee::Owner(name) if !known.contains(&name.as_str()) => Some(name.as_str()),
            _ => None,
        });
        let named: BTreeSet<&str> = named.collect();
        if named.is_empty() {
            return Ok(());
        }
        let identities = self.router.identities(0).await?.unwrap_or_default();
        let is_known = |name: &str| match name.strip_prefix("role/") {
            Some(role) => identities.roles.contains_key(role),
            None => identities.users.contains_key(name),
        };
        if named.into_iter().all(is_known) { Ok(()) } else { Err(invalid_id()) }
    }

    /// Who will own an object that `requester` writes, and its list.
    pub(super) async fn new_owner(
        &self,
        bucket: &Bucket,
        requester: Option<&str>,
        said: &Said<'_>,
    ) -> S3Result<(String, Option<Acl>)> {
        let ownership = Ownership::of(bucket);
        if !ownership.lists_count() {
            said.changes_nothing(&bucket.owner)?;
            return Ok((bucket.owner.clone(), None));
        }
        let given = ownership == Ownership::Preferred && said.canned == Some("bucket-owner-full-control");
        let owner = if given { &bucket.owner } else { requester.unwrap_or(ANONYMOUS) };
        let parties = Parties { owner, bucket: &bucket.owner, object: true };
        let list = said.list(&parties)?;
        if let Some(list) = &list {
            allowed(bucket, list)?;
            self.resolve(list, &parties).await?;
        }
        Ok((owner.to_owned(), list.filter(|list| *list != Acl::private(owner))))
    }
}

#[cfg(test)]
mod tests {
    use s3s::S3ErrorCode;

    use super::*;

    const OURS: Parties<'_> = Parties { owner: "bob", bucket: "ann", object: true };

    fn code(result: S3Result<Option<Acl>>) -> String {
        result.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn canned_lists_are_those_of_s3() {
        let list = |name| canned(name, &OURS).unwrap();
        let own = || Acl::private("bob");
        assert_eq!(list("private"), own());
        assert_eq!(list("authenticated-read"), own().and(Grantee::Authenticated, Permission::Read));
        assert_eq!(list("bucket-owner-read"), own().and(Grantee::Owner("ann".into()), Permission::Read));
        assert_eq!(canned("bucket-owner-read", &Parties { object: false, ..OURS }).unwrap(), own());
        assert!(list("public-read-write").grants(None, Permission::Write, true));
        assert_eq!(code(canned("public", &OURS).map(Some)), "InvalidArgument");
        assert_eq!(code(canned("log-delivery-write", &OURS).map(Some)), "NotImplemented");
        for name in CANNED {
            let known =
                canned(name, &OURS).map_or_else(|error| error.code() != &S3ErrorCode::InvalidArgument, |_| true);
            assert!(known, "{name}");
        }
    }

    #[test]
    fn headers_name_ids_and_groups() {
        let said = |read| Said { headers: [None, Some(read), None, None, None], ..Default::default() }.list(&OURS);
        let both = format!("id=carl, uri=\"{EVERYBODY}\"");
        let expected = Acl::default()
            .and(Grantee::Owner("carl".into()), Permission::Read)
            .and(Grantee::Everybody, Permission::Read);
        assert_eq!(said(both.as_str()).unwrap(), Some(expected));
        assert_eq!(code(said("emailAddress=\"a@b\"")), "UnresolvableGrantByEmailAddress");
        for bad in ["carl", "name=carl", "uri=http://x", "id="] {
            assert_eq!(code(said(bad)), "InvalidArgument", "{bad}");
        }
        let both = Said { canned: Some("private"), headers: [Some("id=a"), None, None, None, None], policy: None };
        assert_eq!(code(both.list(&OURS)), "InvalidRequest");
        assert_eq!(Said::default().list(&OURS).unwrap(), None);
    }

    #[test]
    fn documents_come_back_as_they_were_and_give_nothing_away() {
        let list = Acl::private("bob").and(Grantee::Everybody, Permission::ReadAcp);
        let owner = |id: &str| Some(dto::Owner { id: Some(id.to_owned()), display_name: None });
        let policy = |id| AccessControlPolicy { grants: Some(shown(&list)), owner: owner(id) };
        let said = |policy: &AccessControlPolicy| Said { policy: Some(policy), ..Default::default() }.list(&OURS);
        let back = said(&policy("bob")).unwrap().unwrap();
        assert_eq!(shown(&back), shown(&list));
        assert_eq!(code(said(&policy("eve"))), "AccessDenied");
        assert_eq!(code(said(&AccessControlPolicy { owner: None, ..policy("bob") })), "MalformedACLError");
    }

    #[test]
    fn where_lists_count_for_nothing_only_what_changes_nothing_is_accepted() {
        let policy = |id| AccessControlPolicy { grants: Some(shown(&Acl::private(id))), owner: None };
        let (mine, yours) = (policy("me"), policy("you"));
        let said = |canned, policy| Said { canned, policy, ..Default::default() }.changes_nothing("me");
        assert!(said(None, None).is_ok() && said(Some("private"), None).is_ok() && said(None, Some(&mine)).is_ok());
        assert!(said(Some("bucket-owner-full-control"), None).is_ok());
        assert_eq!(code(said(None, Some(&yours)).map(|()| None)), "AccessControlListNotSupported");
        for (name, expected) in [
            ("bucket-owner-read", "AccessControlListNotSupported"),
            ("public-read", "AccessControlListNotSupported"),
            ("log-delivery-write", "AccessControlListNotSupported"),
            ("nonsense", "InvalidArgument"),
        ] {
            assert_eq!(code(said(Some(name), None).map(|()| None)), expected, "{name}");
        }
        let granting = Said { headers: [None, Some("id=me"), None, None, None], ..Default::default() };
        assert!(granting.changes_nothing("me").is_err());
    }
}
