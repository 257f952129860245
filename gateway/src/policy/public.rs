//! Whether a bucket policy is public: "The meaning of 'public'", Amazon S3 User Guide, "Blocking public access".

use super::condition::{Condition, Demand, Quantifier, Test};
use super::document::{Effect, Policy, Scope, Statement};
use super::principal::Principals;

/// Keys whose fixed values tie a statement to somebody.
const TIES: &[&str] = &[
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "aws:username",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
];

/// Whether it lets in people whom nobody knows.
pub fn is_public(policy: &Policy) -> bool {
    policy.statements.iter().any(lets_everybody_in)
}

fn lets_everybody_in(statement: &Statement) -> bool {
    let everybody = match &statement.principals {
        Some(Scope::Only(listed)) => listed.contains(&Principals::Everybody),
        Some(Scope::AllBut(_)) => true,
        None => false,
    };
    statement.effect == Effect::Allow && everybody && !statement.conditions.iter().any(ties)
}

fn ties(condition: &Condition) -> bool {
    let Demand::Match { quantifier, negated: false, if_exists: false, tests } = &condition.demand else { return false };
    // Without the key, `ForAllValues` holds.
    *quantifier != Quantifier::All && TIES.contains(&condition.key.as_str()) && tests.iter().all(is_fixed)
}

fn is_fixed(test: &Test) -> bool {
    match test {
        Test::Text { pattern, .. } => pattern.is_fixed(),
        Test::Address(network) => !network.is_wide(),
        // The account, at least, has to be said.
        Test::Arn(parts) => parts[2..].iter().all(super::pattern::Pattern::is_fixed),
        Test::Number(..) | Test::Date(..) | Test::Truth(_) | Test::Binary(_) => true,
    }
}
