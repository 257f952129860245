//! All targets.

mod blob;
mod chunked;
mod form;
mod log;
mod policy;
mod ranges;
mod router;
mod sigv4;
mod snapshot;
mod token;
mod wire;
mod xml;

use arbitrary::Unstructured;

/// Something that takes bytes and panics when they break a promise.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 12] = [
    Target { name: "sigv4", run: sigv4::run },
    Target { name: "chunked", run: chunked::run },
    Target { name: "xml", run: xml::run },
    Target { name: "router", run: router::run },
    Target { name: "ranges", run: ranges::run },
    Target { name: "log", run: log::run },
    Target { name: "blob", run: blob::run },
    Target { name: "snapshot", run: snapshot::run },
    Target { name: "wire", run: wire::run },
    Target { name: "token", run: token::run },
    Target { name: "form", run: form::run },
    Target { name: "policy", run: policy::run },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// One of several things.
fn one<'a, T>(u: &mut Unstructured<'_>, of: &'a [T]) -> arbitrary::Result<&'a T> {
    u.choose(of)
}

/// Up to `most` characters that are printable in ASCII, without those in `not`.
fn word(u: &mut Unstructured<'_>, most: usize, not: &str) -> arbitrary::Result<String> {
    let len = u.int_in_range(0..=most)?;
    let bytes = u.bytes(len.min(u.len()))?;
    let printable = bytes.iter().map(|byte| (0x20 + byte % 0x5f) as char);
    Ok(printable.filter(|c| !not.contains(*c)).collect())
}

/// Something wrong with bytes.
#[derive(Clone, Copy, Debug)]
enum Edit {
    /// A byte is another.
    Change(usize, u8),
    /// A byte is gone.
    Remove(usize),
    /// A byte is too much.
    Insert(usize, u8),
    /// Everything behind is gone.
    Cut(usize),
    /// A stretch stands twice.
    Repeat(usize, usize),
}

impl Edit {
    fn of(u: &mut Unstructured<'_>, len: usize) -> arbitrary::Result<Self> {
        let last = len.saturating_sub(1);
        Ok(match u.int_in_range(0..=9)? {
            0..=4 => Self::Change(u.int_in_range(0..=last)?, u.int_in_range(1..=255)?),
            5 => Self::Remove(u.int_in_range(0..=last)?),
            6 => Self::Insert(u.int_in_range(0..=len)?, u.arbitrary()?),
            7 => Self::Cut(u.int_in_range(0..=last)?),
            _ => Self::Repeat(u.int_in_range(0..=last)?, u.int_in_range(1..=64)?),
        })
    }

    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Change(at, by) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= by),
            Self::Remove(at) if at < bytes.len() => drop(bytes.remove(at)),
            Self::Insert(at, byte) => bytes.insert(at.min(bytes.len()), byte),
            Self::Cut(at) => bytes.truncate(at),
            Self::Repeat(at, count) => {
                let end = (at + count).min(bytes.len());
                let piece = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(end..end, piece);
            }
            Self::Remove(_) => {}
        }
    }
}

/// Runs a future that waits for nothing outside of this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    thread_local!(static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"));
    RUNTIME.with(|runtime| runtime.block_on(future))
}
