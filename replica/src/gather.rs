//! Waiting for company without a clock: what costs the same for one as for many is done once nobody joins any more.

use tokio::task::yield_now;

/// Turns at most.
const TURNS: usize = 16;

/// Lets everything that is ready run, turn by turn, until a turn leaves `count` as it was. On an idle machine that is one
/// turn of the scheduler, some microseconds; the busier the machine, the more join.
pub async fn gather(count: impl Fn() -> usize) {
    let mut before = count();
    for _ in 0..TURNS {
        yield_now().await;
        let now = count();
        if now == before {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn it_ends_with_the_first_turn_in_which_nobody_joins() {
        let (count, looks) = (Cell::new(0), Cell::new(0));
        gather(|| {
            looks.set(looks.get() + 1);
            count.set((count.get() + 1).min(4));
            count.get()
        })
        .await;
        assert_eq!((count.get(), looks.get()), (4, 5));
    }

    #[tokio::test]
    async fn it_ends_although_somebody_always_joins() {
        let count = Cell::new(0);
        gather(|| count.replace(count.get() + 1)).await;
        assert_eq!(count.get(), TURNS + 1);
    }
}
