//! Patterns: `*` is any run of characters, `?` one character, `${key}` or `${key, 'default'}` what the request says.
//! `${*}`, `${?}` and `${$}` are the characters themselves. What a variable brings in is never a wildcard.

use std::borrow::Cow;

use super::condition::{Facts, fold};

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Char(char),
    One,
    Many,
    Variable {
        /// In lower case.
        key: String,
        default: Option<String>,
    },
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    steps: Vec<Step>,
    variables: bool,
}

/// A `${` without its end, or without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadVariable;

impl Pattern {
    /// Compiles `text`. Variables exist from policy version 2012-10-17 on; wildcards only where `wild`.
    pub fn new(text: &str, variables: bool, wild: bool) -> Result<Self, BadVariable> {
        let mut steps = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if variables && let Some(inner) = rest.strip_prefix("${") {
                let (name, behind) = inner.split_once('}').ok_or(BadVariable)?;
                steps.push(variable(name)?);
                rest = behind;
                continue;
            }
            rest = &rest[first.len_utf8()..];
            steps.push(match first {
                '*' if wild => Step::Many,
                '?' if wild => Step::One,
                other => Step::Char(other),
            });
        }
        steps.dedup_by(|next, before| *next == Step::Many && *before == Step::Many);
        let variables = steps.iter().any(|step| matches!(step, Step::Variable { .. }));
        Ok(Self { steps, variables })
    }

    /// Whether it has neither wildcards nor variables.
    pub fn is_fixed(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Char(_)))
    }

    /// The variables that it asks for, in lower case.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Variable { key, .. } => Some(key.as_str()),
            _ => None,
        })
    }

    /// Whether it matches all of `text`; `None` when a variable has no value.
    pub fn matches(&self, text: &str, facts: &dyn Facts) -> Option<bool> {
        Some(run(&self.resolve(facts)?, text, false))
    }

    /// As [`matches`](Self::matches), whatever the case of ASCII letters.
    pub fn matches_any_case(&self, text: &str, facts: &dyn Facts) -> Option<bool> {
        Some(run(&self.resolve(facts)?, text, true))
    }

    /// Whether it matches `text`, with every variable taken for any text.
    pub fn could_match(&self, text: &str) -> bool {
        let loose =
            self.steps.iter().map(|step| if let Step::Variable { .. } = step { Step::Many } else { step.clone() });
        run(&loose.collect::<Vec<_>>(), text, false)
    }

    fn resolve(&self, facts: &dyn Facts) -> Option<Cow<'_, [Step]>> {
        if !self.variables {
            return Some(Cow::Borrowed(&self.steps));
        }
        let mut steps = Vec::with_capacity(self.steps.len() + 32);
        for step in &self.steps {
            match step {
                Step::Variable { key, default } => {
                    // Of several values none is the one that is meant.
                    let value = match facts.values(key) {
                        Some(values) if values.len() == 1 => values.into_iter().next()?.into_owned(),
                        Some(_) | None => default.clone()?,
                    };
                    steps.extend(value.chars().map(Step::Char));
                }
                other => steps.push(other.clone()),
            }
        }
        Some(Cow::Owned(steps))
    }
}

fn variable(name: &str) -> Result<Step, BadVariable> {
    if let "*" | "?" | "$" = name {
        return Ok(Step::Char(name.chars().next().ok_or(BadVariable)?));
    }
    let (key, default) = match name.split_once(',') {
        None => (name, None),
        Some((key, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            (key, Some(quoted.ok_or(BadVariable)?.to_owned()))
        }
    };
    let key = key.trim();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '/' | '.' | '@' | '=' | '+');
    if !key.contains(':') || key.is_empty() || !key.chars().all(legal) {
        return Err(BadVariable);
    }
    Ok(Step::Variable { key: fold(key), default })
}

/// Whether `steps` match all of `text`: one way back to the last `*` is enough.
fn run(steps: &[Step], text: &str, any_case: bool) -> bool {
    let same = |a: char, b: char| a == b || (any_case && a.eq_ignore_ascii_case(&b));
    let (mut step, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let next = text[at..].chars().next();
        match (steps.get(step), next) {
            (Some(Step::Many), _) => {
                back = Some((step, at));
                step += 1;
                continue;
            }
            (Some(Step::One), Some(found)) => {
                (step, at) = (step + 1, at + found.len_utf8());
                continue;
            }
            (Some(Step::Char(wanted)), Some(found)) if same(*wanted, found) => {
                (step, at) = (step + 1, at + found.len_utf8());
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        // Let the last `*` take one character more.
        let Some((star, from)) = back else { return false };
        let Some(taken) = text[from..].chars().next() else { return false };
        back = Some((star, from + taken.len_utf8()));
        (step, at) = (star + 1, from + taken.len_utf8());
    }
}
