//! What an upload does next, from what is known about its copies. Pure: time comes in.
//!
//! A follower is *on pace* while no more than [`WINDOW`] bytes wait for it. One that is not holds the upload up. While
//! the others on pace are a majority it may do so for [`IDLE`] without taking anything, and for half of the upload's
//! time in all (at least [`PATIENCE`]): it never makes an upload much slower than twice what it would be without it.
//! Then it is dropped. When a majority needs it, the client waits, for as long as it takes anything at all within
//! [`STALL`].

use std::time::Duration;

use holdfast_wire::error::CallError;
use tokio::time::Instant;

/// Bytes that may wait for a follower before it holds the upload up.
pub const WINDOW: usize = 512 << 10;
/// How long, in all, one follower may hold up an upload that could do without it; half of the upload's time if that is
/// more.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long such a follower may take nothing.
pub const IDLE: Duration = Duration::from_secs(2);
/// As [`IDLE`], for a follower that never took a byte: its node is probably gone.
pub const IDLE_AT_FIRST: Duration = Duration::from_millis(250);
/// A follower that takes nothing for so long while bytes wait for it has failed.
pub const STALL: Duration = Duration::from_secs(10);
/// A follower that was sent everything answers within this, or has failed.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// When a majority has the blob, the others are waited for as long again as the majority took for its syncs, or half
/// of the upload's time if that is more, within these bounds.
pub const GRACE_MIN: Duration = Duration::from_millis(50);
/// See [`GRACE_MIN`].
pub const GRACE_MAX: Duration = Duration::from_secs(5);

/// A follower's part of an upload.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    standing: Standing,
    /// Bytes that wait for it.
    behind: usize,
    /// When it last took bytes, or had none to take.
    moved: Instant,
    /// Whether it took any.
    begun: bool,
    /// How long the upload waited for it.
    held_up: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Going,
    Holds,
    Out(CallError),
}

/// The state of an upload.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// Copies wanted, this node's included.
    majority: usize,
    began: Instant,
    followers: Vec<Follower>,
    /// When the last byte came in.
    ended: Option<Instant>,
    /// This node's copy is on disk.
    own: bool,
    /// When a majority had it.
    enough: Option<Instant>,
    /// Since when the upload waits for followers.
    holding: Option<Instant>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Take the client's next bytes, if there are more; look again at the given time or when something happens.
    Take(Option<Instant>),
    /// Take nothing; look again at the given time or when something happens.
    Hold(Instant),
    /// Leave this follower out, and look again.
    Drop(usize),
    /// The blob is where it should be; the followers that have it.
    Done(Vec<usize>),
    /// A majority is out of reach.
    Fail(CallError),
}

impl Course {
    pub fn new(majority: usize, followers: usize, now: Instant) -> Self {
        let follower =
            Follower { standing: Standing::Going, behind: 0, moved: now, begun: false, held_up: Duration::ZERO };
        Self {
            majority,
            began: now,
            followers: vec![follower; followers],
            ended: None,
            own: false,
            enough: None,
            holding: None,
        }
    }

    /// `behind` bytes wait for a follower, which last took some at `taken`.
    pub fn saw(&mut self, index: usize, behind: usize, taken: Option<Instant>, now: Instant) {
        self.charge(now);
        let follower = &mut self.followers[index];
        if follower.behind == 0 {
            follower.moved = now;
        }
        if let Some(taken) = taken {
            follower.moved = follower.moved.max(taken);
            follower.begun = true;
        }
        follower.behind = behind;
    }

    /// A follower answered, or its request failed.
    pub fn answered(&mut self, index: usize, answer: Result<(), CallError>) {
        let standing = &mut self.followers[index].standing;
        if *standing == Standing::Going {
            *standing = match answer {
                Ok(()) => Standing::Holds,
                Err(error) => Standing::Out(error),
            };
        }
    }

    /// The client's last byte came in.
    pub fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
        self.holding = None;
    }

    /// Whether the client's last byte came in: only then can anybody have kept it.
    pub fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// This node's copy is on disk.
    pub fn own_done(&mut self) {
        self.own = true;
    }

    /// Leaves a follower out.
    fn leave_out(&mut self, index: usize, error: CallError) -> Step {
        self.followers[index].standing = Standing::Out(error);
        Step::Drop(index)
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant) -> Step {
        self.charge(now);
        if 1 + self.count(|f| !matches!(f.standing, Standing::Out(_))) < self.majority {
            return Step::Fail(self.why());
        }
        match self.ended {
            None => self.next_while_open(now),
            Some(ended) => self.next_after(ended, now),
        }
    }

    fn next_while_open(&mut self, now: Instant) -> Step {
        if let Some(late) = self.find(|f| f.going() && f.behind > 0 && now >= f.moved + STALL) {
            return self.leave_out(late, CallError::Unavailable { reason: format!("took nothing for {STALL:?}") });
        }
        if self.find(Follower::lags).is_none() {
            self.holding = None;
            return Step::Take(self.stall_at());
        }
        let can_do_without =
            1 + self.count(|f| f.standing == Standing::Holds || f.going() && !f.lags()) >= self.majority;
        let patience = PATIENCE.max(now.saturating_duration_since(self.began) / 2);
        let patient_until = |f: &Follower| (now + patience.saturating_sub(f.held_up)).min(f.moved + f.idle());
        let too_late = self.find(|f| f.lags() && now >= patient_until(f));
        if let Some(late) = too_late.filter(|_| can_do_without) {
            return self.leave_out(late, CallError::Unavailable { reason: "fell behind".to_owned() });
        }
        self.holding.get_or_insert(now);
        let patient = self.followers.iter().filter(|f| f.lags()).map(patient_until).min();
        let look = self.stall_at().into_iter().chain(patient.filter(|_| can_do_without)).min();
        Step::Hold(look.unwrap_or(now + STALL))
    }

    fn next_after(&mut self, ended: Instant, now: Instant) -> Step {
        let late = |f: &Follower| {
            f.going() && now >= if f.behind > 0 { f.moved + STALL } else { f.moved.max(ended) + ANSWER_WITHIN }
        };
        if let Some(late) = self.find(late) {
            return self.leave_out(late, CallError::Unavailable { reason: "did not answer in time".to_owned() });
        }
        let holders = self.followers.iter().enumerate().filter(|(_, f)| f.standing == Standing::Holds);
        let holders: Vec<usize> = holders.map(|(index, _)| index).collect();
        let going = self.find(Follower::going).is_some();
        let deadline = now + STALL;
        if !self.own || holders.len() + 1 < self.majority {
            return Step::Hold(self.answer_at(ended).unwrap_or(deadline).min(deadline));
        }
        let enough = *self.enough.get_or_insert(now);
        let (syncs, all) = (enough.saturating_duration_since(ended), enough.saturating_duration_since(self.began));
        let grace = enough + syncs.max(all / 2).clamp(GRACE_MIN, GRACE_MAX);
        if going && now < grace { Step::Hold(grace) } else { Step::Done(holders) }
    }

    /// Followers that lagged until `now` pay for the time that the upload waited.
    fn charge(&mut self, now: Instant) {
        if let Some(since) = self.holding.replace(now).filter(|_| self.ended.is_none()) {
            let waited = now.saturating_duration_since(since);
            self.followers.iter_mut().filter(|f| f.lags()).for_each(|f| f.held_up += waited);
        } else {
            self.holding = None;
        }
    }

    fn stall_at(&self) -> Option<Instant> {
        self.followers.iter().filter(|f| f.going() && f.behind > 0).map(|f| f.moved + STALL).min()
    }

    fn answer_at(&self, ended: Instant) -> Option<Instant> {
        let at = |f: &Follower| if f.behind > 0 { f.moved + STALL } else { f.moved.max(ended) + ANSWER_WITHIN };
        self.followers.iter().filter(|f| f.going()).map(at).min()
    }

    fn count(&self, which: impl Fn(&Follower) -> bool) -> usize {
        self.followers.iter().filter(|f| which(f)).count()
    }

    fn find(&self, which: impl Fn(&Follower) -> bool) -> Option<usize> {
        self.followers.iter().position(which)
    }

    /// Why a majority is out of reach: a full disk is what the client should hear of.
    fn why(&self) -> CallError {
        let errors = self.followers.iter().filter_map(|f| match &f.standing {
            Standing::Out(error) => Some(error),
            _ => None,
        });
        let errors: Vec<&CallError> = errors.collect();
        if errors.contains(&&CallError::NoSpace) {
            return CallError::NoSpace;
        }
        let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
        CallError::Unavailable { reason: format!("too few replicas take the blob: {}", reasons.join("; ")) }
    }
}

impl Follower {
    fn going(&self) -> bool {
        self.standing == Standing::Going
    }

    fn lags(&self) -> bool {
        self.going() && self.behind > WINDOW
    }

    fn idle(&self) -> Duration {
        if self.begun { IDLE } else { IDLE_AT_FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Three voters, both followers on pace.
    fn three() -> (Course, Instant) {
        let now = Instant::now();
        (Course::new(2, 2, now), now)
    }

    #[test]
    fn a_follower_behind_is_dropped_after_patience_when_the_rest_is_a_majority() {
        let (mut course, t) = three();
        course.saw(0, 100, Some(t), t);
        course.saw(1, WINDOW + 1, Some(t), t);
        assert_eq!(course.next(t), Step::Hold(t + PATIENCE));
        course.saw(1, WINDOW + 1, Some(t + ms(99)), t + ms(100));
        assert_eq!(course.next(t + ms(100)), Step::Hold(t + PATIENCE), "time adds up, it does not begin again");
        assert_eq!(course.next(t + PATIENCE), Step::Drop(1));
        assert!(matches!(course.next(t + PATIENCE), Step::Take(_)));
    }

    #[test]
    fn one_that_never_began_is_given_less() {
        let (mut course, t) = three();
        course.saw(0, WINDOW + 1, None, t);
        assert_eq!(course.next(t), Step::Hold(t + IDLE_AT_FIRST));
        assert_eq!(course.next(t + IDLE_AT_FIRST), Step::Drop(0));
    }

    #[test]
    fn who_had_nothing_to_take_has_not_stood_still() {
        let (mut course, t) = three();
        course.saw(1, 0, Some(t), t);
        let later = t + Duration::from_secs(60);
        course.saw(1, WINDOW + 1, Some(t), later);
        assert_eq!(course.next(later), Step::Hold(later + IDLE));
        course.saw(1, WINDOW + 2, Some(t), later + ms(1));
        assert_eq!(course.next(later + ms(1)), Step::Hold(later + IDLE), "more that waits is no progress");
    }

    #[test]
    fn time_is_charged_while_a_follower_lags_and_not_while_it_is_on_pace() {
        let (mut course, t) = three();
        course.saw(1, WINDOW + 1, Some(t), t);
        course.next(t);
        course.saw(1, 0, Some(t + ms(100)), t + ms(100));
        assert!(matches!(course.next(t + ms(100)), Step::Take(_)));
        course.saw(1, WINDOW + 1, Some(t + ms(900)), t + ms(900));
        assert_eq!(course.next(t + ms(900)), Step::Hold(t + ms(900) + PATIENCE - ms(100)));
    }

    #[test]
    fn a_slow_follower_may_double_a_long_upload_but_not_stand_still() {
        let (mut course, t) = three();
        let now = t + Duration::from_secs(60);
        course.saw(1, WINDOW + 1, Some(now), now);
        assert_eq!(course.next(now), Step::Hold(now + IDLE));
        let moved = now + ms(1500);
        course.saw(1, WINDOW + 1, Some(moved), moved);
        assert_eq!(course.next(moved), Step::Hold(moved + IDLE), "more than a second in all, of a minute");
        assert_eq!(course.next(moved + IDLE), Step::Drop(1));
    }

    #[test]
    fn the_client_waits_for_a_follower_without_whom_there_is_no_majority() {
        let (mut course, t) = three();
        course.answered(0, Err(CallError::Overloaded));
        course.saw(1, WINDOW + 1, Some(t), t);
        assert_eq!(course.next(t), Step::Hold(t + STALL));
        assert_eq!(course.next(t + IDLE * 2), Step::Hold(t + STALL));
        assert_eq!(course.next(t + STALL), Step::Drop(1));
        assert!(matches!(course.next(t + STALL), Step::Fail(CallError::Unavailable { .. })));
    }

    #[test]
    fn both_behind_together_are_waited_for() {
        let (mut course, t) = three();
        course.saw(0, WINDOW + 1, Some(t), t);
        course.saw(1, WINDOW + 1, Some(t), t);
        assert_eq!(course.next(t), Step::Hold(t + STALL));
        assert_eq!(course.next(t + IDLE * 2), Step::Hold(t + STALL));
        course.saw(0, 0, Some(t + IDLE * 2), t + IDLE * 2);
        assert_eq!(course.next(t + IDLE * 2), Step::Drop(1), "now the first suffices");
    }

    #[test]
    fn a_full_disk_is_said_so() {
        let (mut course, t) = three();
        course.answered(0, Err(CallError::NoSpace));
        assert!(matches!(course.next(t), Step::Take(_)));
        course.answered(1, Err(CallError::Overloaded));
        assert_eq!(course.next(t), Step::Fail(CallError::NoSpace));
    }

    #[test]
    fn a_majority_needs_this_nodes_copy_and_all_are_waited_for_a_little() {
        let (mut course, t) = three();
        assert!(!course.is_ended());
        course.ended(t);
        assert!(course.is_ended());
        course.answered(0, Ok(()));
        assert!(matches!(course.next(t + ms(80)), Step::Hold(_)), "a follower and no own copy");
        course.own_done();
        assert_eq!(course.next(t + ms(100)), Step::Hold(t + ms(200)), "as long again");
        assert_eq!(course.next(t + ms(200)), Step::Done(vec![0]));
        course.answered(1, Ok(()));
        assert_eq!(course.next(t + ms(101)), Step::Done(vec![0, 1]));
    }

    #[test]
    fn a_window_may_wait_and_no_byte_more() {
        let (mut course, t) = three();
        course.saw(0, WINDOW, Some(t), t);
        assert_eq!(course.next(t), Step::Take(Some(t + STALL)));
        course.saw(0, WINDOW + 1, Some(t), t);
        assert!(matches!(course.next(t), Step::Hold(_)));
    }

    #[test]
    fn behind_the_last_byte_bytes_that_wait_must_move_and_an_answer_has_longer() {
        let (mut course, t) = three();
        course.saw(0, 0, Some(t), t);
        course.saw(1, 1, Some(t + ms(100)), t + ms(100));
        let ended = t + ms(1000);
        course.ended(ended);
        let stalled = t + ms(100) + STALL;
        assert_eq!(course.next(ended), Step::Hold(stalled), "the one with bytes left is due first");
        assert!(matches!(course.next(stalled - ms(1)), Step::Hold(_)));
        assert_eq!(course.next(stalled), Step::Drop(1));
        let late = ended + ANSWER_WITHIN;
        assert_eq!(course.next(late - ms(1)), Step::Hold(late));
        assert_eq!(course.next(late), Step::Drop(0));

        // One that took its last bytes behind the client's has the time from then on.
        let (mut course, t) = three();
        course.saw(0, 1, Some(t), t);
        course.answered(1, Err(CallError::Overloaded));
        course.ended(t);
        let moved = t + ms(3000);
        course.saw(0, 0, Some(moved), moved);
        let late = moved + ANSWER_WITHIN;
        assert_eq!(course.next(late - ms(1)), Step::Hold(late));
        assert_eq!(course.next(late), Step::Drop(0));
    }

    #[test]
    fn a_node_that_waits_for_its_own_disk_alone_looks_again_in_time() {
        let (mut course, t) = three();
        course.ended(t);
        course.answered(0, Ok(()));
        course.answered(1, Ok(()));
        assert_eq!(course.next(t + ms(10)), Step::Hold(t + ms(10) + STALL));
    }

    #[test]
    fn without_followers_the_own_copy_is_the_majority() {
        let t = Instant::now();
        let mut course = Course::new(1, 0, t);
        assert_eq!(course.next(t), Step::Take(None));
        course.ended(t);
        course.own_done();
        assert_eq!(course.next(t), Step::Done(vec![]));
    }

    #[test]
    fn a_follower_that_does_not_answer_fails_the_upload_that_needs_it() {
        let (mut course, t) = three();
        course.answered(0, Err(CallError::Overloaded));
        course.ended(t);
        course.own_done();
        assert!(matches!(course.next(t), Step::Hold(_)));
        assert_eq!(course.next(t + ANSWER_WITHIN), Step::Drop(1));
        assert!(matches!(course.next(t + ANSWER_WITHIN), Step::Fail(_)));
    }
}
