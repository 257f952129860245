//! Which views are open: what they see must not be dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// How many views are open, by the number below which they see.
#[derive(Debug, Default)]
pub struct Pins(Mutex<BTreeMap<u64, usize>>);

/// An open view. Clones see the same.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    number: u64,
}

impl Pins {
    /// Opens a view at the number that `now` tells. It is asked under the lock: nobody computes [`lowest`](Self::lowest)
    /// between its answer and the pin.
    pub fn pin(self: &Arc<Self>, now: impl FnOnce() -> u64) -> Pin {
        let mut open = self.0.lock();
        let number = now();
        *open.entry(number).or_default() += 1;
        Pin { pins: self.clone(), number }
    }

    /// The lowest number of an open view or, if there is none, of one that would be opened now.
    pub fn lowest(&self, now: impl FnOnce() -> u64) -> u64 {
        let open = self.0.lock();
        open.first_key_value().map_or_else(now, |(number, _)| *number)
    }
}

impl Pin {
    /// What is below it is seen.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        self.pins.pin(|| self.number)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut open = self.pins.0.lock();
        if let Some(count) = open.get_mut(&self.number) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_open_view_counts_until_its_last_clone_is_gone() {
        let pins = Arc::new(Pins::default());
        assert_eq!(pins.lowest(|| 9), 9);
        let (first, second) = (pins.pin(|| 3), pins.pin(|| 5));
        let clone = first.clone();
        drop(first);
        assert_eq!(pins.lowest(|| 9), 3);
        drop(clone);
        assert_eq!(pins.lowest(|| 9), 5);
        drop(second);
        assert_eq!(pins.lowest(|| 9), 9);
    }
}
