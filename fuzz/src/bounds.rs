//! What an input may cost: memory and CPU time, measured.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread holds, and the most that it held since [`measured`] began.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, with a count per thread.
struct Counting;

fn note(change: isize) {
    // A thread that is ending has no count any more, and needs none.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + change, most.max(now + change)));
    });
}

// SAFETY: everything is left to the system's allocator; the count touches no memory that it hands out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promises are those that this call asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` returns, and how many bytes this thread held at most beyond what it held before.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let (before, most) = HELD.get();
    HELD.set((before, before));
    let done = work();
    let (now, peak) = HELD.get();
    HELD.set((now, most.max(peak)));
    (done, (peak - before).max(0) as usize)
}

/// Microseconds of CPU that this thread has used.
pub fn cpu_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_was_held_is_seen() {
        let (kept, most) = measured(|| {
            drop(vec![1_u8; 1 << 20]);
            vec![1_u8; 1 << 10]
        });
        assert!((1 << 20..2 << 20).contains(&most), "{most}");
        assert_eq!(measured(|| kept.len()), (1 << 10, 0));
    }
}
