//! Object Lock: which versions must not go, and until when. S3 user guide, "Locking objects with Object Lock".

use serde::{Deserialize, Serialize};

/// Milliseconds of a day.
pub const DAY_MS: u64 = 24 * 3600 * 1000;

/// Object Lock of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLock {
    /// What a new version gets that brings no retention of its own.
    pub default: Option<DefaultRetention>,
}

/// Retention for new versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// The mode.
    pub mode: LockMode,
    /// For how long.
    pub period: Period,
}

/// For how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Period {
    Days(u32),
    Years(u32),
}

impl Period {
    /// Milliseconds; a year has 365 days.
    pub fn ms(self) -> u64 {
        match self {
            Self::Days(days) => u64::from(days) * DAY_MS,
            Self::Years(years) => u64::from(years) * 365 * DAY_MS,
        }
    }
}

/// Who may take a retention back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// Whoever may bypass it, and asks for that.
    Governance,
    /// Nobody.
    Compliance,
}

/// Until when a version must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Who may take it back.
    pub mode: LockMode,
    /// Unix milliseconds.
    pub until_ms: u64,
}

/// What protects one version. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// Until when it must stay.
    pub retention: Option<Retention>,
    /// It must stay until this is taken back; `None`: nobody ever said.
    pub legal_hold: Option<bool>,
}

impl ObjectLock {
    /// Whether the version must stay at `now_ms`, for somebody who asks to bypass governance or does not.
    pub fn holds(&self, now_ms: u64, bypass: bool) -> bool {
        let retained = self.retention.is_some_and(|retention| {
            retention.until_ms > now_ms && !(bypass && retention.mode == LockMode::Governance)
        });
        self.is_held() || retained
    }

    /// Whether it is under a legal hold.
    pub fn is_held(&self) -> bool {
        self.legal_hold == Some(true)
    }

    /// Whether the retention may become `next` at `now_ms`: one in force may be made longer by anybody; made shorter,
    /// stricter or taken back only where it is of governance and bypassed.
    pub fn may_become(&self, next: Option<Retention>, now_ms: u64, bypass: bool) -> bool {
        let Some(now) = self.retention.filter(|retention| retention.until_ms > now_ms) else { return true };
        let longer = next.is_some_and(|next| next.until_ms >= now.until_ms && next.mode == now.mode);
        longer || (bypass && now.mode == LockMode::Governance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: LockMode = LockMode::Governance;
    const C: LockMode = LockMode::Compliance;

    fn lock(mode: LockMode, until_ms: u64) -> ObjectLock {
        ObjectLock { retention: Some(Retention { mode, until_ms }), legal_hold: None }
    }

    #[test]
    fn retention_holds_until_its_time_and_governance_can_be_bypassed() {
        assert!(!ObjectLock::default().holds(0, false));
        assert!(lock(G, 10).holds(9, false) && !lock(G, 10).holds(10, false) && !lock(G, 10).holds(9, true));
        assert!(lock(C, 10).holds(9, true) && !lock(C, 10).holds(10, true));
        assert!(ObjectLock { legal_hold: Some(true), ..lock(G, 10) }.holds(99, true));
    }

    #[test]
    fn what_is_in_force_is_only_made_longer() {
        let to = |mode, until_ms| Some(Retention { mode, until_ms });
        for (from, next, plain, bypassed) in [
            (lock(G, 10), to(G, 11), true, true),
            (lock(G, 10), to(G, 9), false, true),
            (lock(G, 10), to(C, 10), false, true),
            (lock(G, 10), to(C, 9), false, true),
            (lock(G, 10), None, false, true),
            (lock(C, 10), to(C, 11), true, true),
            (lock(C, 10), to(C, 9), false, false),
            (lock(C, 10), to(G, 99), false, false),
            (lock(C, 10), None, false, false),
            (ObjectLock::default(), to(C, 9), true, true),
        ] {
            assert_eq!(from.may_become(next, 5, false), plain, "{from:?} to {next:?}");
            assert_eq!(from.may_become(next, 5, true), bypassed, "{from:?} to {next:?}, bypassed");
            assert!(from.may_become(next, 10, false), "nothing is in force any more");
        }
    }
}
