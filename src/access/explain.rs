//! Why somebody may, or may not: the same evaluation as a request gets, with the statement that decided.

use std::borrow::Cow;
use std::collections::BTreeMap;

use holdfast_gateway::audit::place;
use holdfast_gateway::auth::directory::compile;
use holdfast_gateway::ownership::{self, Ownership};
use holdfast_gateway::policy::condition::fold;
use holdfast_gateway::policy::lists::{self, Listed, Lists, Verdict};
use holdfast_gateway::policy::principal::ACCOUNT;
use holdfast_gateway::policy::{Caller, Decision, Facts, Policy, Question, Source, Standing, evaluate, public};
use holdfast_gateway::public_access::PublicAccess;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Document;
use holdfast_wire::identity::{EntityKind, Identities};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Access, AccessError};

/// What to explain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainAsk {
    /// The access key that asks; left out: nobody that we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The action: `s3:GetObject`.
    pub action: String,
    /// The resource: `arn:aws:s3:::bucket/key`, or `bucket/key`.
    pub resource: String,
    /// What else is known of the request: condition keys and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// The explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    /// `allowed` or `denied`.
    pub decision: String,
    /// Why, in words.
    pub why: String,
    /// Who asks.
    pub who: String,
    /// The policies that were looked at.
    pub policies: Vec<String>,
    /// The statement that decided.
    pub statement: Option<Value>,
}

struct Known(BTreeMap<String, String>);

impl Facts for Known {
    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        self.0.get(key).map(|value| vec![Cow::Borrowed(value.as_str())])
    }
}

/// Explains; `bucket`: the one that the resource is in, if it is there.
pub fn explain(
    now: &Identities,
    bucket: Option<&Bucket>,
    root: Option<&str>,
    ask: &ExplainAsk,
    now_ms: u64,
) -> Result<Explanation, AccessError> {
    let resource = match ask.resource.as_str() {
        arn if arn.starts_with("arn:") || arn == "*" => arn.to_owned(),
        path => format!("arn:aws:s3:::{path}"),
    };
    let allowed = |why: String, who: String| Explanation {
        decision: "allowed".to_owned(),
        why,
        who,
        policies: Vec::new(),
        statement: None,
    };
    if ask.key.is_some() && ask.key.as_deref() == root {
        return Ok(allowed("the root key may do everything".to_owned(), format!("arn:aws:iam::{ACCOUNT}:root")));
    }
    let user = match &ask.key {
        None => None,
        Some(id) => {
            let missing = || AccessError::NoSuch { kind: EntityKind::Key, name: id.clone() };
            let key = now.keys.get(id).ok_or_else(missing)?;
            let enabled = key.enabled && now.users.get(&key.user).is_some_and(|user| user.enabled);
            let expired = key.expires_ms.is_some_and(|at| now_ms >= at);
            if !enabled || expired {
                let why = if expired { "the key has expired" } else { "the key or its user is disabled" };
                let who = key.user.clone();
                return Ok(Explanation { decision: "denied".to_owned(), ..allowed(why.to_owned(), who) });
            }
            Some(key.user.as_str())
        }
    };
    let identity = match user {
        None => Vec::new(),
        Some(user) => compile(now, user).map_err(|(name, error)| AccessError::Policy { name, error })?,
    };
    let own = match bucket.and_then(|bucket| Some((bucket, bucket.document(Document::Policy)?))) {
        None => None,
        Some((bucket, text)) => {
            let name = bucket.name.as_str();
            Some(Policy::bucket(text, name).map_err(|error| AccessError::Policy { name: name.to_owned(), error })?)
        }
    };
    let caller = user.map_or(Caller::Anonymous, Caller::User);
    let who = caller.arn().unwrap_or_else(|| "anonymous".to_owned());
    let mut facts: BTreeMap<String, String> = BTreeMap::new();
    if let Some(user) = user {
        facts.insert("aws:username".to_owned(), user.to_owned());
        facts.insert("aws:userid".to_owned(), user.to_owned());
        facts.insert("aws:principalarn".to_owned(), who.clone());
    }
    facts.extend(ask.facts.iter().map(|(key, value)| (fold(key), value.clone())));
    let facts = Known(facts);
    let names: Vec<(&str, &Policy)> = identity.iter().map(|(name, policy)| (name.as_str(), policy)).collect();
    let restrict = bucket.is_some_and(|bucket| PublicAccess::of(bucket).restrict_public_buckets);
    // Lists of objects are not looked at: they are as many as objects.
    let verdict = bucket.map(|bucket| match Ownership::of(bucket).lists_count() {
        false => Verdict { owner: user == Some(bucket.owner.as_str()), granted: false },
        true => {
            let list = ownership::list_of(bucket);
            let bucket_list = Listed { owner: &bucket.owner, list: Some(&list) };
            let public = !PublicAccess::of(bucket).ignore_public_acls;
            lists::judge(&ask.action, user, &Lists { bucket: bucket_list, object: None, public })
        }
    });
    let verdict = verdict.unwrap_or_default();
    let standing = Standing {
        identity: &names,
        session: &[],
        bucket: own.as_ref(),
        owner: verdict.owner,
        granted: verdict.granted,
        restricted: restrict && own.as_ref().is_some_and(public::is_public),
    };
    let question = Question { action: &ask.action, resource: &resource, caller, facts: &facts };
    let decision = evaluate(&question, &standing);
    let mut policies: Vec<String> = names.iter().map(|(name, _)| (*name).to_owned()).collect();
    // The same policy may come by the user and by a group.
    policies.sort();
    policies.dedup();
    policies.extend(own.iter().map(|_| "the bucket's policy".to_owned()));
    let (source, why) = match &decision {
        Decision::Allowed(source) => (Some(source), format!("allowed by {}", place(source))),
        Decision::Denied(source) => (Some(source), format!("denied by {}", place(source))),
        Decision::NotAllowed => (None, "nothing allows it".to_owned()),
        Decision::NotInSession => (None, "the session's policy does not allow it".to_owned()),
    };
    let statement = source.and_then(|source| match source {
        Source::Identity { policy, statement, .. } => statement_of(now.policies.get(policy)?, *statement),
        Source::Bucket { statement, .. } => statement_of(bucket?.document(Document::Policy)?, *statement),
        Source::Session { .. } | Source::Ownership | Source::List => None,
    });
    let decision = if decision.is_allowed() { "allowed" } else { "denied" }.to_owned();
    Ok(Explanation { decision, why, who, policies, statement })
}

fn statement_of(text: &str, number: usize) -> Option<Value> {
    let document: Value = serde_json::from_str(text).ok()?;
    match document.get("Statement")? {
        Value::Array(statements) => statements.get(number).cloned(),
        one => Some(one.clone()),
    }
}

impl Access {
    /// Explains what would become of a request.
    pub async fn explain(&self, ask: &ExplainAsk) -> Result<Explanation, AccessError> {
        let now = self.identities().await?;
        let path = ask.resource.strip_prefix("arn:aws:s3:::").unwrap_or(&ask.resource);
        let name = path.split('/').next().unwrap_or_default();
        let bucket = match self.bucket(name).await {
            Ok(bucket) => Some(bucket),
            Err(AccessError::NoSuchBucket(_)) => None,
            Err(error) => return Err(error),
        };
        explain(&now, bucket.as_ref(), self.root(), ask, self.seams().clock.unix_millis())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_wire::identity::{AccessKey, IdentityChange, User};

    use super::*;

    #[test]
    fn the_statement_that_decides_is_named() {
        let policy = r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username}-*"},
            {"Sid":"keep","Effect":"Deny","Action":"s3:Delete*","Resource":"*"}]}"#;
        let policies: BTreeSet<String> = ["own".to_owned()].into();
        let key = |enabled| AccessKey {
            user: "ann".into(),
            sealed: Vec::new(),
            enabled,
            expires_ms: Some(100),
            created_ms: 0,
        };
        let now = Identities::default()
            .change(vec![
                IdentityChange::Policy("own".into(), Some(policy.into())),
                IdentityChange::User("ann".into(), Some(User { enabled: true, policies })),
                IdentityChange::Key("AK".into(), Some(key(true))),
                IdentityChange::Key("OFF".into(), Some(key(false))),
            ])
            .unwrap();
        let ask = |key: Option<&str>, action: &str, resource: &str, at| {
            let ask = ExplainAsk {
                key: key.map(str::to_owned),
                action: action.to_owned(),
                resource: resource.to_owned(),
                facts: BTreeMap::new(),
            };
            explain(&now, None, Some("ROOT"), &ask, at).unwrap()
        };
        let allowed = ask(Some("AK"), "s3:GetObject", "ann-data/k", 1);
        assert_eq!((&*allowed.decision, &*allowed.why), ("allowed", "allowed by statement 0 of policy own"));
        assert_eq!(allowed.statement.unwrap()["Effect"], "Allow");
        let denied = ask(Some("AK"), "s3:DeleteObject", "ann-data/k", 1);
        assert_eq!((&*denied.decision, &*denied.why), ("denied", "denied by statement 1 (keep) of policy own"));
        assert_eq!(ask(Some("AK"), "s3:GetObject", "bob-data/k", 1).why, "nothing allows it");
        assert_eq!(ask(Some("AK"), "s3:GetObject", "ann-data/k", 100).why, "the key has expired");
        assert_eq!(ask(Some("OFF"), "s3:GetObject", "ann-data/k", 1).why, "the key or its user is disabled");
        assert_eq!(ask(None, "s3:GetObject", "ann-data/k", 1).who, "anonymous");
        assert_eq!(ask(Some("ROOT"), "s3:Anything", "*", 1).decision, "allowed");
    }
}
