//! The strict parser: every element is known, stands once, and has the type that it must have.

use super::action::{self, Level};
use super::condition::{BadCondition, Condition, Operator, UNANSWERED, fold, is_known_key};
use super::document::{Effect, Kind, Policy, Scope, Statement};
use super::error::{Malformed, Problem};
use super::json::Json;
use super::pattern::Pattern;
use super::principal::Principals;

/// The largest document, bytes (AWS: 20 KiB for buckets).
const MAX: usize = 20 << 10;

/// What a parser is reading for.
#[derive(Clone, Copy)]
struct Reader<'a> {
    kind: Kind,
    /// The bucket, for bucket policies.
    bucket: &'a str,
    variables: bool,
}

impl Policy {
    /// Reads a policy that is attached to a user, a group, a role or a session.
    pub fn identity(text: &str) -> Result<Self, Malformed> {
        Self::parse(text, Kind::Identity, "")
    }

    /// Reads the policy of a bucket.
    pub fn bucket(text: &str, bucket: &str) -> Result<Self, Malformed> {
        Self::parse(text, Kind::Bucket, bucket)
    }

    /// Reads what says who may take on a role.
    pub fn trust(text: &str) -> Result<Self, Malformed> {
        Self::parse(text, Kind::Trust, "")
    }

    /// Reads a policy of any kind; `bucket` counts for bucket policies alone.
    pub fn parse(text: &str, kind: Kind, bucket: &str) -> Result<Self, Malformed> {
        if text.len() > MAX {
            return Err(wrong("", Problem::TooLarge(MAX)));
        }
        let tree: Json = serde_json::from_str(text).map_err(|error| wrong("", Problem::NotJson(error.to_string())))?;
        let mut members = object(tree, "", "an object")?;
        let version = take(&mut members, "Version").map(|value| text_of(value, "Version")).transpose()?;
        let variables = match version.as_deref() {
            Some("2012-10-17") => true,
            Some("2008-10-17") | None => false,
            Some(other) => return Err(wrong("Version", Problem::Version(other.to_owned()))),
        };
        if let Some(id) = take(&mut members, "Id") {
            text_of(id, "Id")?;
        }
        let statements = take(&mut members, "Statement").ok_or_else(|| wrong("Statement", Problem::Missing))?;
        if let Some((name, _)) = members.first() {
            return Err(wrong(name, Problem::UnknownElement));
        }
        let statements = match statements {
            Json::List(list) if list.is_empty() => return Err(wrong("Statement", Problem::Empty)),
            Json::List(list) => list,
            one => vec![one],
        };
        let reader = Reader { kind, bucket, variables };
        let read = |(index, tree)| reader.statement(tree, &format!("Statement[{index}]"));
        let statements: Vec<Statement> = statements.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        for (index, statement) in statements.iter().enumerate() {
            let sid = statement.sid.as_ref();
            if sid.is_some_and(|_| statements[..index].iter().any(|before| before.sid.as_ref() == sid)) {
                let problem = Problem::SameSid(sid.cloned().unwrap_or_default());
                return Err(wrong(format!("Statement[{index}].Sid"), problem));
            }
        }
        Ok(Self { statements })
    }
}

impl Reader<'_> {
    fn statement(self, tree: Json, at: &str) -> Result<Statement, Malformed> {
        let mut members = object(tree, at, "an object")?;
        let path = |name: &str| format!("{at}.{name}");
        let sid = take(&mut members, "Sid").map(|value| text_of(value, &path("Sid"))).transpose()?;
        if let Some(bad) = sid.as_ref().filter(|sid| self.kind == Kind::Identity && !is_sid(sid)) {
            return Err(wrong(path("Sid"), Problem::Sid(bad.clone())));
        }
        let sid = sid.filter(|sid| !sid.is_empty());
        let effect = take(&mut members, "Effect").ok_or_else(|| wrong(path("Effect"), Problem::Missing))?;
        let effect = match text_of(effect, &path("Effect"))?.as_str() {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            other => return Err(wrong(path("Effect"), Problem::Effect(other.to_owned()))),
        };
        let principals = self.principals(&mut members, at, effect)?;
        let (actions, names) = self.actions(&mut members, at)?;
        let resources = self.resources(&mut members, at)?;
        if let (Scope::Only(_), Some(Scope::Only(listed))) = (&actions, &resources) {
            self.check_levels(&names, listed, &path("Action"))?;
        }
        let conditions = match take(&mut members, "Condition") {
            None => Vec::new(),
            Some(tree) => self.conditions(tree, &path("Condition"))?,
        };
        if let Some((name, _)) = members.first() {
            return Err(wrong(path(name), Problem::UnknownElement));
        }
        Ok(Statement { sid, effect, principals, actions, resources, conditions })
    }

    fn principals(
        self,
        members: &mut Vec<(String, Json)>,
        at: &str,
        effect: Effect,
    ) -> Result<Option<Scope<Principals>>, Malformed> {
        let Some((negated, tree)) = either(members, "Principal", "NotPrincipal", at)? else {
            return match self.kind {
                Kind::Identity => Ok(None),
                Kind::Bucket | Kind::Trust => Err(wrong(format!("{at}.Principal"), Problem::Missing)),
            };
        };
        let at = format!("{at}.{}", if negated { "NotPrincipal" } else { "Principal" });
        if self.kind == Kind::Identity {
            return Err(wrong(at, Problem::PrincipalNotAllowed));
        }
        if negated && effect == Effect::Allow {
            return Err(wrong(at, Problem::AllowNotPrincipal));
        }
        let mut listed = Vec::new();
        match tree {
            Json::Text(text) if text == "*" => listed.push(Principals::Everybody),
            Json::Text(text) => return Err(wrong(at, Problem::Principal(text))),
            tree => {
                for (kind, values) in object(tree, &at, "\"*\" or an object")? {
                    let at = format!("{at}.{kind}");
                    for text in texts(values, &at)? {
                        let principal = match kind.as_str() {
                            "AWS" => Principals::parse_aws(&text),
                            "CanonicalUser" if !text.is_empty() => Some(Principals::User(text.clone())),
                            "Federated" if !text.is_empty() => {
                                let provider =
                                    text.split_once(":oidc-provider/").map_or(text.as_str(), |(_, name)| name);
                                Some(Principals::Federated(provider.to_owned()))
                            }
                            "Service" if !text.is_empty() => Some(Principals::Nobody),
                            "CanonicalUser" | "Federated" | "Service" => None,
                            _ => return Err(wrong(at, Problem::UnknownElement)),
                        };
                        listed.push(principal.ok_or_else(|| wrong(&at, Problem::Principal(text)))?);
                    }
                }
            }
        }
        if listed.is_empty() {
            return Err(wrong(at, Problem::Empty));
        }
        Ok(Some(if negated { Scope::AllBut(listed) } else { Scope::Only(listed) }))
    }

    /// The actions, and their texts.
    fn actions(self, members: &mut Vec<(String, Json)>, at: &str) -> Result<(Scope<Pattern>, Vec<String>), Malformed> {
        let Some((negated, tree)) = either(members, "Action", "NotAction", at)? else {
            return Err(wrong(format!("{at}.Action"), Problem::Missing));
        };
        let at = format!("{at}.{}", if negated { "NotAction" } else { "Action" });
        let names = texts(tree, &at)?;
        let mut patterns = Vec::with_capacity(names.len());
        for name in &names {
            let bad = || wrong(&at, Problem::Action(name.clone()));
            if !self.is_action(name) {
                return Err(bad());
            }
            patterns.push(Pattern::new(name, false, true).map_err(|_| bad())?);
        }
        Ok((if negated { Scope::AllBut(patterns) } else { Scope::Only(patterns) }, names))
    }

    fn is_action(self, name: &str) -> bool {
        if name == "*" {
            return true;
        }
        let Some((service, rest)) = name.split_once(':') else { return false };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '?');
        if rest.is_empty()
            || !rest.chars().all(legal)
            || !service.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return false;
        }
        match self.kind {
            Kind::Identity => !service.is_empty(),
            Kind::Trust => service.eq_ignore_ascii_case("sts"),
            Kind::Bucket => service.eq_ignore_ascii_case("s3") && !known(rest).is_empty(),
        }
    }

    fn resources(self, members: &mut Vec<(String, Json)>, at: &str) -> Result<Option<Scope<Pattern>>, Malformed> {
        let found = either(members, "Resource", "NotResource", at)?;
        let Some((negated, tree)) = found else {
            return match self.kind {
                Kind::Trust => Ok(None),
                Kind::Identity | Kind::Bucket => Err(wrong(format!("{at}.Resource"), Problem::Missing)),
            };
        };
        let at = format!("{at}.{}", if negated { "NotResource" } else { "Resource" });
        if self.kind == Kind::Trust {
            return Err(wrong(at, Problem::UnknownElement));
        }
        let mut patterns = Vec::new();
        for text in texts(tree, &at)? {
            let pattern =
                Pattern::new(&text, self.variables, true).map_err(|_| wrong(&at, Problem::Variable(text.clone())))?;
            if !self.is_resource(&text, &pattern) {
                return Err(wrong(at, Problem::Resource(text)));
            }
            patterns.push(pattern);
        }
        Ok(Some(if negated { Scope::AllBut(patterns) } else { Scope::Only(patterns) }))
    }

    fn is_resource(self, text: &str, pattern: &Pattern) -> bool {
        if text == "*" {
            return true;
        }
        let Some([_, _, _, _, _, rest]) = super::value::arn(text) else { return false };
        if self.kind != Kind::Bucket {
            return !rest.is_empty();
        }
        let names_bucket = rest.split('/').next().is_some_and(|name| {
            Pattern::new(name, self.variables, true).is_ok_and(|name| name.could_match(self.bucket))
        });
        let bucket = format!("arn:aws:s3:::{}", self.bucket);
        pattern.could_match(&bucket)
            || pattern.could_match(&format!("{bucket}/"))
            || names_bucket && text.starts_with("arn:aws:s3:::")
    }

    /// Every action that is said outright must be about one of the resources.
    fn check_levels(self, actions: &[String], resources: &[Pattern], at: &str) -> Result<(), Malformed> {
        if self.kind != Kind::Bucket {
            return Ok(());
        }
        let bucket = format!("arn:aws:s3:::{}", self.bucket);
        let about_bucket = resources.iter().any(|resource| resource.could_match(&bucket));
        // A pattern for objects goes on behind the bucket's name.
        let about_objects = resources.iter().any(|resource| !resource.is_fixed() || !resource.could_match(&bucket));
        for name in actions {
            let Some((_, rest)) = name.split_once(':') else { continue };
            let fits = known(rest).iter().any(|level| match level {
                Level::Account => false,
                Level::Bucket => about_bucket,
                Level::Object => about_objects,
            });
            if !fits {
                return Err(wrong(at, Problem::ActionWithoutResource(name.clone())));
            }
        }
        Ok(())
    }

    fn conditions(self, tree: Json, at: &str) -> Result<Vec<Condition>, Malformed> {
        let mut conditions = Vec::new();
        for (name, keys) in object(tree, at, "an object")? {
            let at = format!("{at}.{name}");
            let operator = Operator::parse(&name).ok_or_else(|| wrong(&at, Problem::Operator(name.clone())))?;
            for (key, values) in object(keys, &at, "an object")? {
                let at = format!("{at}.{key}");
                let lower = fold(&key);
                let known = match self.kind {
                    _ if UNANSWERED.contains(&lower.as_str()) => false,
                    Kind::Bucket => is_known_key(&lower),
                    Kind::Identity | Kind::Trust => {
                        lower.split_once(':').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
                    }
                };
                if !known {
                    return Err(wrong(at, Problem::ConditionKey(key)));
                }
                let values = scalars(values, &at)?;
                let demand = operator.demand(&values, self.variables).map_err(|(value, bad)| match bad {
                    BadCondition::Value => wrong(&at, Problem::ConditionValue { operator: name.clone(), value }),
                    BadCondition::Variable => wrong(&at, Problem::Variable(value)),
                })?;
                conditions.push(Condition { operator: name.clone(), key: lower, demand });
            }
        }
        Ok(conditions)
    }
}

/// The levels of the S3 actions that a pattern matches.
fn known(pattern: &str) -> Vec<Level> {
    let Ok(pattern) = Pattern::new(&pattern.to_ascii_lowercase(), false, true) else { return Vec::new() };
    let mut levels = Vec::new();
    for (name, level) in action::all() {
        if !levels.contains(&level) && pattern.could_match(&name.to_ascii_lowercase()) {
            levels.push(level);
        }
    }
    levels
}

fn is_sid(sid: &str) -> bool {
    sid.chars().all(|c| c.is_ascii_alphanumeric())
}

fn wrong(at: impl Into<String>, problem: Problem) -> Malformed {
    Malformed { at: at.into(), problem }
}

fn take(members: &mut Vec<(String, Json)>, name: &str) -> Option<Json> {
    let index = members.iter().position(|(known, _)| known == name)?;
    Some(members.remove(index).1)
}

/// The element of one of two names, and whether it is the second.
fn either(
    members: &mut Vec<(String, Json)>,
    name: &'static str,
    not: &str,
    at: &str,
) -> Result<Option<(bool, Json)>, Malformed> {
    match (take(members, name), take(members, not)) {
        (Some(_), Some(_)) => Err(wrong(at, Problem::Both(name))),
        (Some(tree), None) => Ok(Some((false, tree))),
        (None, Some(tree)) => Ok(Some((true, tree))),
        (None, None) => Ok(None),
    }
}

fn object(tree: Json, at: &str, expected: &'static str) -> Result<Vec<(String, Json)>, Malformed> {
    match tree {
        Json::Object(members) => Ok(members),
        _ => Err(wrong(at, Problem::Type(expected))),
    }
}

fn text_of(tree: Json, at: &str) -> Result<String, Malformed> {
    match tree {
        Json::Text(text) => Ok(text),
        _ => Err(wrong(at, Problem::Type("a string"))),
    }
}

/// A string or a list of strings, not empty.
fn texts(tree: Json, at: &str) -> Result<Vec<String>, Malformed> {
    let list = match tree {
        Json::List(list) => list,
        one => vec![one],
    };
    if list.is_empty() {
        return Err(wrong(at, Problem::Empty));
    }
    let read = |(index, tree)| match tree {
        Json::Text(text) => Ok(text),
        _ => Err(wrong(format!("{at}[{index}]"), Problem::Type("a string or a list of strings"))),
    };
    list.into_iter().enumerate().map(read).collect()
}

/// As [`texts`], with truths and numbers as their texts.
fn scalars(tree: Json, at: &str) -> Result<Vec<String>, Malformed> {
    let list = match tree {
        Json::List(list) => list,
        one => vec![one],
    };
    if list.is_empty() {
        return Err(wrong(at, Problem::Empty));
    }
    let read = |(index, tree)| match tree {
        Json::Text(text) | Json::Number(text) => Ok(text),
        Json::Bool(truth) => Ok(truth.to_string()),
        _ => Err(wrong(format!("{at}[{index}]"), Problem::Type("a string, a number or a truth"))),
    };
    list.into_iter().enumerate().map(read).collect()
}
