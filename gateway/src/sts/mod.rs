//! STS on the S3 port: keys for a while, for roles. `POST /` with a form, as AWS's "Security Token Service API Reference"
//! has it: `AssumeRole` (signed for the service `sts`), `AssumeRoleWithWebIdentity` (with the token of an identity
//! provider, unsigned), `GetCallerIdentity`.
//!
//! ```text
//! form ─▶ Ask ─▶ may the caller take on the role? (its trust policy) ─▶ Claims ─▶ a key that nobody has to store
//! ```

mod answer;
pub mod jwt;
pub mod oidc;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_wire::seam::Random;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use crate::auth::directory::Role;
use crate::auth::session::Claims;
use crate::auth::{Keyring, Origin, Slot, Who};
use crate::guard::query;
use crate::guard::request_id::RequestId;
use crate::policy::{Caller, Decision, Facts, Policy, Question, Standing, evaluate};
use answer::Answer;
use oidc::Provider;

/// The largest form, bytes.
const FORM_MAX: usize = 64 << 10;
/// The shortest session, and the one that is meant when none is said, seconds.
const SESSION_MIN_S: u32 = 900;
const SESSION_S: u32 = 3600;
/// The longest session policy, bytes.
const POLICY_MAX: usize = 2048;

/// Answers STS.
pub struct Sts {
    keyring: Arc<Keyring>,
    random: Arc<dyn Random>,
    provider: Option<Provider>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Who asks may not.
    #[error("{0}")]
    AccessDenied(String),
    /// A parameter that cannot be used.
    #[error("{0}")]
    Validation(String),
    /// A parameter that is needed.
    #[error("The parameter {0} is missing")]
    Missing(&'static str),
    /// No such action.
    #[error("Could not find operation {0}")]
    Action(String),
    /// A session policy that is none.
    #[error("{0}")]
    MalformedPolicy(String),
    /// A web identity token that is not to be believed.
    #[error("{0}")]
    InvalidIdentityToken(String),
    /// A web identity token that was good once.
    #[error("Token expired")]
    ExpiredToken,
    /// The identity provider's keys cannot be had.
    #[error("{0}")]
    IdpCommunication(String),
}

impl Refused {
    fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::AccessDenied(_) => ("AccessDenied", StatusCode::FORBIDDEN),
            Self::Validation(_) => ("ValidationError", StatusCode::BAD_REQUEST),
            Self::Missing(_) => ("MissingParameter", StatusCode::BAD_REQUEST),
            Self::Action(_) => ("InvalidAction", StatusCode::BAD_REQUEST),
            Self::MalformedPolicy(_) => ("MalformedPolicyDocument", StatusCode::BAD_REQUEST),
            Self::InvalidIdentityToken(_) => ("InvalidIdentityToken", StatusCode::BAD_REQUEST),
            Self::ExpiredToken => ("ExpiredTokenException", StatusCode::BAD_REQUEST),
            Self::IdpCommunication(_) => ("IDPCommunicationError", StatusCode::BAD_REQUEST),
        }
    }
}

/// The form's fields.
struct Form(BTreeMap<String, String>);

impl Form {
    fn parse(text: &str) -> Result<Self, Refused> {
        let mut fields = BTreeMap::new();
        for pair in query::pairs(text) {
            if fields.insert(pair.name.to_string(), pair.value.to_string()).is_some() {
                return Err(Refused::Validation(format!("{} stands twice", pair.name)));
            }
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &'static str) -> Result<&str, Refused> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or(Refused::Missing(name))
    }

    /// What would narrow or widen a session and is not understood must not be passed over.
    fn refuse_others(&self, known: &[&str]) -> Result<(), Refused> {
        let common = ["Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "Policy"];
        match self.0.keys().find(|name| !common.contains(&name.as_str()) && !known.contains(&name.as_str())) {
            Some(name) => Err(Refused::Validation(format!("{name} is not supported"))),
            None => Ok(()),
        }
    }
}

struct Known(BTreeMap<String, String>);

impl Facts for Known {
    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        self.0.get(key).map(|value| vec![Cow::Borrowed(value.as_str())])
    }
}

impl Sts {
    /// For the roles that `keyring` knows; `provider` vouches for web identities.
    pub fn new(keyring: Arc<Keyring>, random: Arc<dyn Random>, provider: Option<Provider>) -> Self {
        Self { keyring, random, provider }
    }

    async fn answer(&self, req: &mut S3Request<Body>) -> Result<Answer, Refused> {
        let body = std::mem::take(&mut req.input);
        let bytes = Limited::new(body, FORM_MAX).collect().await;
        let bytes = bytes.map_err(|_| Refused::Validation("the form is too large or broke off".to_owned()))?.to_bytes();
        let text = String::from_utf8(bytes.to_vec());
        let form = Form::parse(&text.map_err(|_| Refused::Validation("the form is not UTF-8".to_owned()))?)?;
        let action = form.get("Action")?.to_owned();
        let who = self.who(req).await?;
        if let Some(slot) = req.extensions.get::<Slot>() {
            slot.note(|found| found.who = Some(who.clone()));
        }
        match action.as_str() {
            "AssumeRole" => self.assume(&form, &who, req),
            "AssumeRoleWithWebIdentity" => self.assume_with_token(&form, req).await,
            "GetCallerIdentity" if !matches!(who, Who::Anonymous) => Ok(Answer::Caller(who)),
            "GetCallerIdentity" => Err(Refused::AccessDenied("Request is missing Authentication Token".to_owned())),
            other => Err(Refused::Action(other.to_owned())),
        }
    }

    async fn who(&self, req: &S3Request<Body>) -> Result<Who, Refused> {
        let Some(credentials) = &req.credentials else { return Ok(Who::Anonymous) };
        if req.service.as_deref() != Some("sts") {
            return Err(Refused::AccessDenied("Credential should be scoped to the service sts".to_owned()));
        }
        let token = req.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
        let identified = self.keyring.identify(&credentials.access_key, token).await;
        identified.map_err(|error| Refused::AccessDenied(error.message().unwrap_or("Access Denied").to_owned()))
    }

    fn assume(&self, form: &Form, who: &Who, req: &S3Request<Body>) -> Result<Answer, Refused> {
        form.refuse_others(&["ExternalId"])?;
        if matches!(who, Who::Anonymous) {
            return Err(Refused::AccessDenied("Request is missing Authentication Token".to_owned()));
        }
        let mut facts = self.facts(form, req)?;
        if let Some(external) = form.0.get("ExternalId") {
            facts.insert("sts:externalid".to_owned(), external.clone());
        }
        if let Caller::User(name) = who.caller() {
            facts.insert("aws:username".to_owned(), name.to_owned());
        }
        facts.extend(who.caller().arn().map(|arn| ("aws:principalarn".to_owned(), arn)));
        self.issue(form, who.caller(), "sts:AssumeRole", facts, Some(who)).map(|(claims, key)| Answer::Role {
            action: "AssumeRole",
            claims,
            key,
            subject: None,
        })
    }

    async fn assume_with_token(&self, form: &Form, req: &S3Request<Body>) -> Result<Answer, Refused> {
        form.refuse_others(&["WebIdentityToken", "ProviderId"])?;
        let token = form.get("WebIdentityToken")?;
        let no_provider = || Refused::InvalidIdentityToken("No OpenIDConnect provider is configured".to_owned());
        let provider = self.provider.as_ref().ok_or_else(no_provider)?;
        let identity = provider.verify(token, self.keyring.now_ms()).await?;
        let mut facts = self.facts(form, req)?;
        let name = provider.name();
        let lower = name.to_ascii_lowercase();
        facts.insert(format!("{lower}:sub"), identity.subject.clone());
        facts.insert(format!("{lower}:aud"), identity.audience.clone());
        facts.insert("aws:federatedprovider".to_owned(), Caller::Federated(name).arn().unwrap_or_default());
        let (claims, key) = self.issue(form, Caller::Federated(name), "sts:AssumeRoleWithWebIdentity", facts, None)?;
        let subject = Some((identity.subject, identity.audience));
        Ok(Answer::Role { action: "AssumeRoleWithWebIdentity", claims, key, subject })
    }

    fn facts(&self, form: &Form, req: &S3Request<Body>) -> Result<BTreeMap<String, String>, Refused> {
        let mut facts = BTreeMap::new();
        facts.insert("sts:rolesessionname".to_owned(), form.get("RoleSessionName")?.to_owned());
        if let Some(origin) = req.extensions.get::<Origin>() {
            facts.insert("aws:sourceip".to_owned(), origin.address.to_string());
            facts.insert("aws:securetransport".to_owned(), origin.secure.to_string());
        }
        facts.insert("aws:epochtime".to_owned(), (self.keyring.now_ms() / 1000).to_string());
        Ok(facts)
    }

    /// A key for the role that the form names, if its trust policy lets the caller take it on.
    fn issue(
        &self,
        form: &Form,
        caller: Caller<'_>,
        action: &str,
        facts: BTreeMap<String, String>,
        who: Option<&Who>,
    ) -> Result<(Claims, crate::auth::session::SessionKey), Refused> {
        let arn = form.get("RoleArn")?;
        let session = form.get("RoleSessionName")?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(legal) {
            return Err(Refused::Validation("RoleSessionName has 2 to 64 letters, digits and _+=,.@-".to_owned()));
        }
        let denied = || Refused::AccessDenied(format!("Not authorized to perform {action} on resource: {arn}"));
        let name = role_name(arn).ok_or_else(|| Refused::Validation(format!("{arn} is invalid")))?;
        let directory = self.keyring.directory();
        let role: &Role = directory.roles.get(name).ok_or_else(denied)?;
        let facts = Known(facts);
        let question = Question { action, resource: arn, caller, facts: &facts };
        let trusted = Standing { bucket: Some(&role.trust), ..Standing::default() };
        // The caller's own policies can forbid it; only the role's can allow it.
        let (identity, limits) = who.map_or((&[][..], &[][..]), Who::policies);
        let named =
            |all: &'_ [crate::auth::who::Named]| all.iter().map(|(_, policy)| policy.clone()).collect::<Vec<_>>();
        let own: Vec<Arc<Policy>> = named(identity).into_iter().chain(named(limits)).collect();
        let own: Vec<(&str, &Policy)> = own.iter().map(|policy| ("", &**policy)).collect();
        let forbids =
            matches!(evaluate(&question, &Standing { identity: &own, ..Standing::default() }), Decision::Denied(_));
        let root = who.is_some_and(Who::is_root);
        if !root && (forbids || !evaluate(&question, &trusted).is_allowed()) {
            return Err(denied());
        }
        let policy = form.0.get("Policy").filter(|text| !text.is_empty()).cloned();
        if let Some(text) = &policy {
            if text.len() > POLICY_MAX {
                return Err(Refused::Validation(format!("Policy has at most {POLICY_MAX} characters")));
            }
            Policy::identity(text).map_err(|error| Refused::MalformedPolicy(error.to_string()))?;
        }
        let seconds = match form.0.get("DurationSeconds") {
            None => SESSION_S.min(role.session_max_s),
            Some(text) => {
                text.parse().ok().filter(|seconds| (SESSION_MIN_S..=role.session_max_s).contains(seconds)).ok_or_else(
                    || {
                        let most = role.session_max_s;
                        Refused::Validation(format!("DurationSeconds is from {SESSION_MIN_S} to {most} for this role"))
                    },
                )?
            }
        };
        let expires_ms = self.keyring.now_ms() + u64::from(seconds) * 1000;
        let claims = Claims { role: name.to_owned(), session: session.to_owned(), policy, expires_ms };
        let key = self.keyring.sessions().issue(&*self.random, &claims);
        Ok((claims, key))
    }
}

/// The role of an ARN.
fn role_name(arn: &str) -> Option<&str> {
    let [_, _, service, _, account, rest] = crate::policy::value::arn(arn)?;
    let ours = account.is_empty() || account == crate::policy::principal::ACCOUNT;
    let name = rest.strip_prefix("role/")?.rsplit('/').next()?;
    (service == "iam" && ours && !name.is_empty()).then_some(name)
}

/// Whether a request is for STS.
pub fn is_one(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
    });
    *method == Method::POST && path == "/" && form
}

#[async_trait::async_trait]
impl S3Route for Sts {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _: &mut http::Extensions) -> bool {
        is_one(method, uri.path(), headers)
    }

    /// Who may do what is decided per action.
    async fn check_access(&self, _: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, mut req: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let id = req.extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        let (status, text) = match self.answer(&mut req).await {
            Ok(answer) => (StatusCode::OK, answer.xml(&id)),
            Err(refused) => {
                let (code, status) = refused.code();
                (status, answer::refusal(code, &refused.to_string(), &id))
            }
        };
        let mut response = S3Response::with_status(Body::from(text), status);
        response.headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/xml"));
        Ok(response)
    }
}
