//! Lifecycle rules: what of a bucket goes, and when. Pure, and the same everywhere: shards carry rules out with it,
//! gateways announce with it. S3 user guide, "Lifecycle configuration elements".

use serde::{Deserialize, Serialize};

use crate::object::Summary;

/// The rules of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// In the order given.
    pub rules: Vec<Rule>,
    /// Milliseconds of what the rules call a day: a day, but in tests.
    pub day_ms: u64,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name, unique in the configuration.
    pub id: String,
    /// Whether it is carried out.
    pub enabled: bool,
    /// To what it applies.
    pub filter: Filter,
    /// Whether the prefix was given without a filter around it, as configurations of old have it.
    pub bare_prefix: bool,
    /// When current objects go.
    pub expiration: Option<Expiration>,
    /// Whether a delete marker goes when nothing is left behind it.
    pub expired_markers: bool,
    /// When versions go that are not current.
    pub noncurrent: Option<Noncurrent>,
    /// Open uploads go after so many days.
    pub abort_uploads: Option<u32>,
}

/// To what a rule applies: to all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Keys with this prefix.
    pub prefix: String,
    /// Objects with all these tags.
    pub tags: Vec<(String, String)>,
    /// Objects of more bytes.
    pub greater_than: Option<u64>,
    /// Objects of fewer bytes.
    pub less_than: Option<u64>,
}

/// When a current object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiration {
    /// So many days after it was written.
    Days(u32),
    /// At this time, Unix milliseconds.
    At(u64),
}

/// When a version goes that is not current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noncurrent {
    /// So many days after it was replaced,
    pub days: u32,
    /// if so many newer ones are not current either.
    pub newer: u32,
}

impl Filter {
    fn takes(&self, key: &str, summary: &Summary, tags: &[(String, String)]) -> bool {
        key.starts_with(&self.prefix)
            && self.tags.iter().all(|tag| tags.contains(tag))
            && self.greater_than.is_none_or(|size| summary.size > size)
            && self.less_than.is_none_or(|size| summary.size < size)
    }
}

impl Lifecycle {
    fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }

    /// So many days after `from_ms`, at the beginning of the day after.
    fn after(&self, from_ms: u64, days: u32) -> u64 {
        let day_ms = self.day_ms.max(1);
        from_ms.saturating_add(u64::from(days) * day_ms).div_ceil(day_ms) * day_ms
    }

    fn at(&self, from_ms: u64, expiration: Expiration) -> u64 {
        match expiration {
            Expiration::Days(days) => self.after(from_ms, days),
            Expiration::At(ms) => ms,
        }
    }

    /// When a current object goes, Unix milliseconds, and by which rule.
    pub fn current(&self, key: &str, summary: &Summary, tags: &[(String, String)]) -> Option<(u64, &Rule)> {
        let rules = self.enabled().filter(|rule| rule.filter.takes(key, summary, tags));
        rules
            .filter_map(|rule| Some((self.at(summary.modified_ms, rule.expiration?), rule)))
            .min_by_key(|(due_ms, _)| *due_ms)
    }

    /// When a version goes that was replaced at `since_ms`, by each of the rules, and how many newer ones that are not
    /// current the rule keeps.
    pub fn noncurrent<'a>(
        &'a self,
        key: &'a str,
        summary: &'a Summary,
        tags: &'a [(String, String)],
        since_ms: u64,
    ) -> impl Iterator<Item = (u64, u32)> + 'a {
        let rules = self.enabled().filter(move |rule| rule.filter.takes(key, summary, tags));
        rules.filter_map(move |rule| {
            let Noncurrent { days, newer } = rule.noncurrent?;
            Some((self.after(since_ms, days), newer))
        })
    }

    /// When a delete marker goes that is all there is of its key.
    pub fn marker(&self, key: &str, summary: &Summary) -> Option<u64> {
        let rules = self.enabled().filter(|rule| rule.filter.takes(key, summary, &[]));
        rules
            .filter_map(|rule| match rule.expired_markers {
                true => Some(summary.modified_ms),
                false => Some(self.at(summary.modified_ms, rule.expiration?)),
            })
            .min()
    }

    /// When an open upload goes.
    pub fn upload(&self, key: &str, initiated_ms: u64) -> Option<u64> {
        let rules = self.enabled().filter(|rule| key.starts_with(&rule.filter.prefix));
        rules.filter_map(|rule| Some(self.after(initiated_ms, rule.abort_uploads?))).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = crate::lock::DAY_MS;

    fn lifecycle(rules: Vec<Rule>) -> Lifecycle {
        Lifecycle { rules, day_ms: DAY }
    }

    fn rule(id: &str, prefix: &str) -> Rule {
        let filter = Filter { prefix: prefix.to_owned(), ..Filter::default() };
        Rule { id: id.to_owned(), enabled: true, filter, ..Rule::default() }
    }

    fn object(modified_ms: u64, size: u64) -> Summary {
        Summary { modified_ms, size, ..Summary::default() }
    }

    #[test]
    fn days_end_at_midnight() {
        let all = lifecycle(vec![Rule { expiration: Some(Expiration::Days(2)), ..rule("a", "") }]);
        assert_eq!(all.current("k", &object(1, 0), &[]).unwrap().0, 3 * DAY);
        assert_eq!(all.current("k", &object(DAY, 0), &[]).unwrap().0, 3 * DAY);
    }

    #[test]
    fn the_first_rule_that_is_due_counts() {
        let days = |id: &str, prefix: &str, days| Rule { expiration: Some(Expiration::Days(days)), ..rule(id, prefix) };
        let off = Rule { enabled: false, ..days("off", "", 1) };
        let all = lifecycle(vec![days("long", "", 9), days("logs", "logs/", 3), off]);
        assert_eq!(
            all.current("logs/a", &object(0, 0), &[]).map(|(at, rule)| (at, &rule.id[..])),
            Some((3 * DAY, "logs"))
        );
        assert_eq!(
            all.current("data/a", &object(0, 0), &[]).map(|(at, rule)| (at, &rule.id[..])),
            Some((9 * DAY, "long"))
        );
        let at = lifecycle(vec![Rule { expiration: Some(Expiration::At(5)), ..rule("at", "") }]);
        assert_eq!(at.current("k", &object(DAY, 0), &[]).unwrap().0, 5);
    }

    #[test]
    fn filters_are_met_in_all_they_ask() {
        let tag = |value: &str| ("t".to_owned(), value.to_owned());
        let filter = Filter { prefix: "a".into(), tags: vec![tag("1")], greater_than: Some(5), less_than: Some(9) };
        let all = lifecycle(vec![Rule { filter, expiration: Some(Expiration::Days(1)), ..rule("a", "") }]);
        let due = |key: &str, size, value: &str| all.current(key, &object(0, size), &[tag(value)]).is_some();
        assert!(due("ab", 6, "1") && due("ab", 8, "1"));
        assert!(!due("b", 6, "1") && !due("ab", 5, "1") && !due("ab", 9, "1") && !due("ab", 6, "2"));
    }

    #[test]
    fn versions_markers_and_uploads_have_their_own_times() {
        let noncurrent = Some(Noncurrent { days: 1, newer: 2 });
        let all = lifecycle(vec![Rule { noncurrent, expired_markers: true, abort_uploads: Some(3), ..rule("a", "p") }]);
        assert_eq!(all.noncurrent("p", &object(0, 0), &[], 10).collect::<Vec<_>>(), [(2 * DAY, 2)]);
        assert_eq!(all.marker("p", &object(10, 0)), Some(10));
        assert_eq!(all.marker("q", &object(10, 0)), None);
        assert_eq!(all.upload("p", 10), Some(4 * DAY));
        assert_eq!(all.current("p", &object(0, 0), &[]), None);
    }
}
