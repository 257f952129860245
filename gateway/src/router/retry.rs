//! What an error says about going on: pure.

use std::time::Duration;

use holdfast_wire::error::CallError;
use holdfast_wire::id::NodeId;

use super::metrics::Cause;

/// What to do after an attempt at a leader has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Not applied: ask again, this node first if one is named.
    Again(Option<NodeId>),
    /// Perhaps applied: only a repetition with the same request id, in the same group, may follow.
    Perhaps,
    /// Not applied, and asking again at once would not help.
    GiveUp,
}

/// What follows from an error of a leader.
pub fn after_leader(error: &CallError) -> Next {
    match error {
        CallError::NotLeader { leader } => Next::Again(*leader),
        CallError::NotHosted
        | CallError::Unavailable { .. }
        | CallError::Unreachable { .. }
        | CallError::NotFresh
        | CallError::NotHeld
        | CallError::Aborted => Next::Again(None),
        CallError::Unknown { .. } => Next::Perhaps,
        CallError::NoSpace | CallError::Overloaded | CallError::Malformed { .. } => Next::GiveUp,
    }
}

/// How an error is counted when it was the last one.
pub fn cause(error: &CallError) -> Cause {
    match error {
        CallError::NotLeader { .. } => Cause::NoLeader,
        CallError::Unreachable { .. } | CallError::Unknown { .. } => Cause::Unreachable,
        CallError::NotHosted | CallError::Unavailable { .. } | CallError::Aborted => Cause::Unavailable,
        CallError::NotHeld | CallError::NotFresh => Cause::NotFresh,
        CallError::NoSpace => Cause::NoSpace,
        CallError::Overloaded => Cause::Overloaded,
        CallError::Malformed { .. } => Cause::Malformed,
    }
}

/// Pauses between attempts: 10 ms, doubling up to 320 ms, each cut by up to a half at random.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(320);

    /// Starts with the shortest pause.
    pub fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The next pause; `random` is uniform.
    pub fn pause(&mut self, random: u64) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(Self::LONGEST);
        full.mul_f64(0.5 + 0.5 * (random >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_limit_and_are_cut_by_at_most_a_half() {
        let (mut shortest, mut longest) = (Backoff::new(), Backoff::new());
        for expected in [10, 20, 40, 80, 160, 320, 320] {
            assert_eq!(shortest.pause(0), Duration::from_millis(expected) / 2);
            let pause = longest.pause(u64::MAX);
            assert!(pause <= Duration::from_millis(expected) && pause > Duration::from_millis(expected - 1));
        }
    }

    #[test]
    fn only_what_is_perhaps_applied_is_called_perhaps() {
        let reason = String::new();
        let all = [
            CallError::NotLeader { leader: None },
            CallError::NotHosted,
            CallError::NotHeld,
            CallError::NotFresh,
            CallError::Unavailable { reason: reason.clone() },
            CallError::NoSpace,
            CallError::Overloaded,
            CallError::Unreachable { reason: reason.clone() },
            CallError::Unknown { reason: reason.clone() },
            CallError::Malformed { reason },
            CallError::Aborted,
        ];
        for error in all {
            assert_eq!(after_leader(&error) == Next::Perhaps, !error.certainly_not_applied(), "{error}");
        }
    }
}
