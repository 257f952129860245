//! Why a document is no policy: what is wrong, and where.

/// What is wrong with one element of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("Policies must be valid JSON and the first byte must be '{{': {0}")]
    NotJson(String),
    #[error("Policy exceeds the maximum allowed document size of {0} bytes")]
    TooLarge(usize),
    #[error("Duplicate element")]
    Duplicate,
    #[error("Unknown field")]
    UnknownElement,
    #[error("Missing required field")]
    Missing,
    #[error("Expected {0}")]
    Type(&'static str),
    #[error("The list must not be empty")]
    Empty,
    #[error("The policy must contain a valid version string: 2012-10-17 or 2008-10-17, not {0:?}")]
    Version(String),
    #[error("Invalid effect: {0:?} is neither Allow nor Deny")]
    Effect(String),
    #[error("Only one of {0} and Not{0} may stand in a statement")]
    Both(&'static str),
    #[error("Statement IDs (SID) in a single policy must be unique: {0:?}")]
    SameSid(String),
    #[error("Statement IDs (SID) must be alpha-numeric: {0:?}")]
    Sid(String),
    #[error("Policy has invalid action: {0:?}")]
    Action(String),
    #[error("Policy has invalid resource: {0:?}")]
    Resource(String),
    #[error("Action does not apply to any resource(s) in statement: {0}")]
    ActionWithoutResource(String),
    #[error("Invalid principal in policy: {0:?}")]
    Principal(String),
    #[error("Policy document should not specify a principal")]
    PrincipalNotAllowed,
    #[error("Allow with NotPrincipal is not allowed")]
    AllowNotPrincipal,
    #[error("Invalid Condition type: {0:?}")]
    Operator(String),
    #[error("Policy has an invalid condition key: {0:?}")]
    ConditionKey(String),
    #[error("Invalid value for {operator}: {value:?}")]
    ConditionValue { operator: String, value: String },
    #[error("Invalid policy variable in {0:?}")]
    Variable(String),
}

/// A document that is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", place(at))]
pub struct Malformed {
    /// The element, as a path: `Statement[0].Action[1]`. Empty: the document.
    pub at: String,
    /// What is wrong with it.
    pub problem: Problem,
}

fn place(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!(" (at {at})") }
}
