//! Whether this machine knows roughly what time it is. Records carry the time, certificates and signatures are judged by
//! it, and a machine that starts without a clock says 1970.

use holdfast_wire::seam::Clock;

use crate::tls::date;

/// 2026-01-01: this software is younger.
const EARLIEST: u64 = 1_767_225_600_000;
/// A hundred years later.
const LATEST: u64 = EARLIEST + 100 * 365 * 86_400_000;

/// A clock that is certainly wrong; one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine's clock says {}, which cannot be: set it (chrony, systemd-timesyncd), then start again", date(.0 / 1000))]
pub struct WrongClock(i64);

/// Looks at the clock.
pub fn check(clock: &dyn Clock) -> Result<(), WrongClock> {
    let now = clock.unix_millis();
    if (EARLIEST..LATEST).contains(&now) { Ok(()) } else { Err(WrongClock(now as i64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(u64);

    impl Clock for At {
        fn unix_millis(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_named() {
        assert_eq!(check(&At(EARLIEST + 1)), Ok(()));
        let refusal = check(&At(5_000)).unwrap_err().to_string();
        assert!(refusal.contains("1970-01-01 00:00:05 UTC") && !refusal.contains('\n'), "{refusal}");
        assert!(check(&At(LATEST)).is_err());
    }
}
