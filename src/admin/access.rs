//! Users, groups, roles, keys, policies, buckets: everything about who may do what.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_wire::identity::{AccessKey, EntityKind, Identities, IdentityChange};
use http::{Method, Response, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Context;
use super::route::{Answer, Ask, Route, SchemaOf};
use crate::access::edit::{self, GroupWish, KeyWish, NewKey, PolicyWish, RoleWish, UserWish};
use crate::access::explain::{ExplainAsk, Explanation};
use crate::access::provision::{Applied, BadFile, Provision};
use crate::access::view::{self, BucketView, GroupView, KeyView, MadeKey, PolicyView, RoleView, UserView};
use crate::access::{Access, AccessError};
use crate::cluster::OperationError;
use crate::http::{Content, error, json};

pub(super) type Answered = Result<Response<Content>, AccessError>;

/// What to make of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketWish {
    /// Whose it is; the root key's if the process asked knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

const fn read(
    path: &'static str,
    about: &'static str,
    command: &'static str,
    answer: SchemaOf,
    handle: super::route::Handle,
) -> Route {
    Route { method: Method::GET, path, about, command, query: &[], body: None, answer: Answer::Json(answer), handle }
}

const fn put(
    path: &'static str,
    about: &'static str,
    command: &'static str,
    body: SchemaOf,
    handle: super::route::Handle,
) -> Route {
    Route { method: Method::PUT, path, about, command, query: &[], body: Some(body), answer: Answer::Nothing, handle }
}

const fn remove(path: &'static str, about: &'static str, command: &'static str, handle: super::route::Handle) -> Route {
    Route { method: Method::DELETE, path, about, command, query: &[], body: None, answer: Answer::Nothing, handle }
}

const fn post(
    path: &'static str,
    about: &'static str,
    command: &'static str,
    body: SchemaOf,
    answer: SchemaOf,
    handle: super::route::Handle,
) -> Route {
    let answer = Answer::Json(answer);
    Route { method: Method::POST, path, about, command, query: &[], body: Some(body), answer, handle }
}

/// What there is.
pub const ROUTES: &[Route] = &[
    read("/v1/users", "All users", "user list", SchemaGenerator::subschema_for::<Vec<UserView>>, |c, _| {
        list(c, view::users)
    }),
    put(
        "/v1/users/{name}",
        "Make or change a user",
        "user set",
        SchemaGenerator::subschema_for::<UserWish>,
        |c, ask| change(c, ask, |now, ask| edit::user(now, ask.parameter(0), &wish(ask)?)),
    ),
    remove("/v1/users/{name}", "Remove a user with its keys", "user remove", |c, ask| {
        change(c, ask, |_, ask| Ok(vec![IdentityChange::User(ask.parameter(0).to_owned(), None)]))
    }),
    read("/v1/groups", "All groups", "group list", SchemaGenerator::subschema_for::<Vec<GroupView>>, |c, _| {
        list(c, view::groups)
    }),
    put(
        "/v1/groups/{name}",
        "Make or change a group",
        "group set",
        SchemaGenerator::subschema_for::<GroupWish>,
        |c, ask| change(c, ask, |now, ask| edit::group(now, ask.parameter(0), &wish(ask)?)),
    ),
    remove("/v1/groups/{name}", "Remove a group", "group remove", |c, ask| {
        change(c, ask, |_, ask| Ok(vec![IdentityChange::Group(ask.parameter(0).to_owned(), None)]))
    }),
    read("/v1/roles", "All roles", "role list", SchemaGenerator::subschema_for::<Vec<RoleView>>, |c, _| {
        list(c, view::roles)
    }),
    put(
        "/v1/roles/{name}",
        "Make or change a role",
        "role set",
        SchemaGenerator::subschema_for::<RoleWish>,
        |c, ask| change(c, ask, |now, ask| edit::role(now, ask.parameter(0), &wish(ask)?)),
    ),
    remove("/v1/roles/{name}", "Remove a role; its sessions end", "role remove", |c, ask| {
        change(c, ask, |_, ask| Ok(vec![IdentityChange::Role(ask.parameter(0).to_owned(), None)]))
    }),
    read("/v1/policies", "All policies", "policy list", SchemaGenerator::subschema_for::<Vec<PolicyView>>, |c, _| {
        list(c, view::policies)
    }),
    put(
        "/v1/policies/{name}",
        "Make or change a policy",
        "policy set",
        SchemaGenerator::subschema_for::<PolicyWish>,
        |c, ask| change(c, ask, |now, ask| edit::policy(now, ask.parameter(0), &wish(ask)?)),
    ),
    remove("/v1/policies/{name}", "Remove a policy that nobody has", "policy remove", |c, ask| {
        change(c, ask, |_, ask| Ok(vec![IdentityChange::Policy(ask.parameter(0).to_owned(), None)]))
    }),
    read(
        "/v1/keys",
        "All access keys, without their secrets",
        "key list",
        SchemaGenerator::subschema_for::<Vec<KeyView>>,
        |c, _| list(c, view::keys),
    ),
    post(
        "/v1/keys",
        "Make an access key; its secret is shown this once",
        "key create",
        SchemaGenerator::subschema_for::<NewKey>,
        SchemaGenerator::subschema_for::<MadeKey>,
        |c, ask| acted(c, ask, |access, ask| create_key(access, ask).boxed()),
    ),
    put(
        "/v1/keys/{access_key}",
        "Enable, disable or expire an access key",
        "key set",
        SchemaGenerator::subschema_for::<KeyWish>,
        |c, ask| {
            let now_ms = c.access.seams().clock.unix_millis();
            let asked = move |now: &Identities, ask: &Ask| edit::key(now, ask.parameter(0), &wish(ask)?, now_ms);
            acted(c, ask, move |access, ask| changed(access, ask, asked).boxed())
        },
    ),
    remove("/v1/keys/{access_key}", "Remove an access key", "key remove", |c, ask| {
        change(c, ask, |_, ask| Ok(vec![IdentityChange::Key(ask.parameter(0).to_owned(), None)]))
    }),
    read("/v1/buckets", "All buckets", "bucket list", SchemaGenerator::subschema_for::<Vec<BucketView>>, |c, _| {
        buckets(c).boxed()
    }),
    put(
        "/v1/buckets/{name}",
        "Make a bucket, for any owner",
        "bucket create",
        SchemaGenerator::subschema_for::<BucketWish>,
        |c, ask| acted(c, ask, |access, ask| create_bucket(access, ask).boxed()),
    ),
    remove("/v1/buckets/{name}", "Remove an empty bucket", "bucket remove", |c, ask| {
        acted(c, ask, |access, ask| remove_bucket(access, ask).boxed())
    }),
    put(
        "/v1/buckets/{name}/policy",
        "Set a bucket's policy",
        "bucket policy",
        SchemaGenerator::subschema_for::<PolicyWish>,
        |c, ask| acted(c, ask, |access, ask| bucket_policy(access, ask, true).boxed()),
    ),
    remove("/v1/buckets/{name}/policy", "Remove a bucket's policy", "bucket policy", |c, ask| {
        acted(c, ask, |access, ask| bucket_policy(access, ask, false).boxed())
    }),
    post(
        "/v1/explain",
        "Say whether a key may do something, and which statement decides",
        "explain",
        SchemaGenerator::subschema_for::<ExplainAsk>,
        SchemaGenerator::subschema_for::<Explanation>,
        |c, ask| explain(c, ask).boxed(),
    ),
    post(
        "/v1/provision",
        "Make and change all that is named; doing it again changes nothing",
        "provision",
        SchemaGenerator::subschema_for::<Provision>,
        SchemaGenerator::subschema_for::<Applied>,
        |c, ask| acted(c, ask, |access, ask| provision(access, ask).boxed()),
    ),
];

pub(super) fn wish<T: serde::de::DeserializeOwned>(ask: &Ask) -> Result<T, AccessError> {
    ask.body().map_err(|problem| AccessError::File(BadFile::Syntax { path: "body".into(), reason: problem }))
}

fn list<T: Serialize + 'static>(
    context: Arc<Context>,
    show: fn(&Identities) -> Vec<T>,
) -> BoxFuture<'static, Response<Content>> {
    async move { answer(context.access.identities().await.map(|now| json(StatusCode::OK, &show(&now)))) }.boxed()
}

type Decide = fn(&Identities, &Ask) -> Result<Vec<IdentityChange>, AccessError>;

fn change(context: Arc<Context>, ask: Ask, decide: Decide) -> BoxFuture<'static, Response<Content>> {
    acted(context, ask, move |access, ask| changed(access, ask, decide).boxed())
}

async fn changed(
    access: Access,
    ask: Arc<Ask>,
    decide: impl Fn(&Identities, &Ask) -> Result<Vec<IdentityChange>, AccessError> + Send + 'static,
) -> Answered {
    access.change(|now| decide(now, &ask)).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({})))
}

/// Does what is asked for.
pub(super) fn acted(
    context: Arc<Context>,
    ask: Ask,
    act: impl FnOnce(Access, Arc<Ask>) -> BoxFuture<'static, Answered> + Send + 'static,
) -> BoxFuture<'static, Response<Content>> {
    async move { answer(act(context.access.clone(), Arc::new(ask)).await) }.boxed()
}

async fn create_key(access: Access, ask: Arc<Ask>) -> Answered {
    let wish: NewKey = wish(&ask)?;
    let random = access.seams().random.clone();
    let letters = |letters: &[u8], count: usize| {
        let mut bytes = vec![0; count];
        random.fill(&mut bytes);
        bytes.iter().map(|byte| letters[usize::from(*byte) % letters.len()] as char).collect::<String>()
    };
    let public = || format!("AKIA{}", letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16));
    let hidden = || letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 40);
    let made = MadeKey {
        access_key: wish.access_key.clone().unwrap_or_else(public),
        secret_key: wish.secret_key.clone().unwrap_or_else(hidden),
    };
    edit::key_halves(&made.access_key, &made.secret_key)?;
    let now_ms = access.seams().clock.unix_millis();
    let expires_ms = wish.expires.as_deref().map_or(Ok(None), |text| edit::moment(text, now_ms))?;
    let (id, secret) = (made.access_key.clone(), made.secret_key.as_bytes());
    let sealed = access.seal().seal(&*random, id.as_bytes(), secret);
    let root = access.root().map(str::to_owned);
    let decide = |now: &Identities| {
        if now.keys.contains_key(&id) || root.as_deref() == Some(&id) {
            return Err(AccessError::Exists { kind: EntityKind::Key, name: id.clone() });
        }
        if !now.users.contains_key(&wish.user) {
            return Err(AccessError::NoSuch { kind: EntityKind::User, name: wish.user.clone() });
        }
        let user = wish.user.clone();
        let key = AccessKey { user, sealed: sealed.clone(), enabled: true, expires_ms, created_ms: now_ms };
        Ok(vec![IdentityChange::Key(id.clone(), Some(key))])
    };
    access.change(decide).await?;
    Ok(json(StatusCode::OK, &made))
}

async fn buckets(context: Arc<Context>) -> Response<Content> {
    let found = context.access.buckets().await;
    answer(found.map(|found| json(StatusCode::OK, &found.iter().map(view::bucket).collect::<Vec<_>>())))
}

async fn create_bucket(access: Access, ask: Arc<Ask>) -> Answered {
    let wish: BucketWish = wish(&ask)?;
    let name = ask.parameter(0);
    let owner = wish.owner.as_deref().or(access.root()).ok_or_else(|| BadFile::NoOwner(name.to_owned()))?;
    access.create_bucket(name, owner).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({})))
}

async fn remove_bucket(access: Access, ask: Arc<Ask>) -> Answered {
    access.delete_bucket(ask.parameter(0)).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({})))
}

async fn bucket_policy(access: Access, ask: Arc<Ask>, set: bool) -> Answered {
    let policy = if set { Some(edit::document(&wish::<PolicyWish>(&ask)?.document)) } else { None };
    access.set_bucket_policy(ask.parameter(0), policy).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({})))
}

async fn explain(context: Arc<Context>, ask: Ask) -> Response<Content> {
    let asked = match wish::<ExplainAsk>(&ask) {
        Ok(asked) => asked,
        Err(problem) => return answer(Err(problem)),
    };
    answer(context.access.explain(&asked).await.map(|explained| json(StatusCode::OK, &explained)))
}

async fn provision(access: Access, ask: Arc<Ask>) -> Answered {
    let wish: Provision = wish(&ask)?;
    Ok(json(StatusCode::OK, &access.provision(&wish).await?))
}

pub(super) fn answer(outcome: Answered) -> Response<Content> {
    let problem = match outcome {
        Ok(response) => return response,
        Err(problem) => problem,
    };
    let status = match &problem {
        AccessError::NoSuch { .. } | AccessError::NoSuchBucket(_) => StatusCode::NOT_FOUND,
        AccessError::Exists { .. } | AccessError::Refused(_) => StatusCode::CONFLICT,
        AccessError::Name(_)
        | AccessError::Key
        | AccessError::Time(_)
        | AccessError::Session
        | AccessError::Policy { .. }
        | AccessError::BucketName(_)
        | AccessError::File(_) => StatusCode::BAD_REQUEST,
        AccessError::Operation(OperationError::Refused(_) | OperationError::Write(_)) => StatusCode::CONFLICT,
        AccessError::Operation(_) | AccessError::Contention => StatusCode::SERVICE_UNAVAILABLE,
    };
    error(status, &problem.to_string())
}
