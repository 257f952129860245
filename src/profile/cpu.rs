//! Where CPU time goes: a signal per hundredth of a second of CPU time looks where its thread is.

use std::time::Duration;

use super::NoProfile;
use super::encode::{Frame, Profile};

/// Looks per second of CPU time: no multiple of what else happens a hundred times a second.
const FREQUENCY: i32 = 99;
/// Where a signal must not unwind the stack: their own locks may be held.
const LEFT_ALONE: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// The process's profile over that time. Dropped, it stops looking.
pub async fn profile(over: Duration) -> Result<Vec<u8>, NoProfile> {
    let guard = pprof::ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&LEFT_ALONE).build()?;
    tokio::time::sleep(over).await;
    // Finding the names of functions takes seconds the first time.
    tokio::task::spawn_blocking(move || encode(&guard, over)).await?
}

fn encode(guard: &pprof::ProfilerGuard<'_>, over: Duration) -> Result<Vec<u8>, NoProfile> {
    let report = guard.report().build()?;
    let period = 1_000_000_000 / FREQUENCY as u64;
    let kinds = [("samples", "count"), ("cpu", "nanoseconds")];
    let mut profile = Profile::new(&kinds, (("cpu", "nanoseconds"), period), over.as_nanos() as u64);
    for (frames, count) in &report.data {
        let count = u64::try_from(*count).unwrap_or_default();
        let mut stack: Vec<Vec<Frame>> = frames
            .frames
            .iter()
            .map(|place| {
                let frame = |symbol: &pprof::Symbol| Frame {
                    function: symbol.name(),
                    file: symbol.filename.as_ref().map_or(String::new(), |file| file.display().to_string()),
                    line: symbol.lineno(),
                };
                place.iter().map(frame).collect()
            })
            .collect();
        stack.push(vec![Frame { function: format!("thread {}", frames.thread_name_or_id()), ..Frame::default() }]);
        profile.add(stack, &[count, count * period]);
    }
    Ok(profile.finish())
}
