//! Who holds the memory that is in use: jemalloc remembers the stack of an allocation every 512 KiB or so. Whether it does is
//! decided before `main`: a process that is to serve profiles starts itself anew with the setting, so that one that is not
//! pays nothing.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::MemfdFlags;

use super::encode::{Frame, Profile};

/// The variable that jemalloc reads.
const VARIABLE: &str = "_RJEM_MALLOC_CONF";
const SETTING: &str = "prof:true,prof_active:true,lg_prof_sample:19";
/// Functions of the allocator: who called it is of interest.
const ALLOCATOR: &str = ".*tikv_jemallocator::Jemalloc.*|.*__(rust|rg|rdl)_(re)?alloc.*|_rjem_.*|prof_backtrace_impl";
/// A dump that is longer is not believed, bytes.
const DUMP_MAX: u64 = 256 << 20;

/// Why there is no heap profile.
#[derive(Debug, thiserror::Error)]
pub enum NoHeap {
    /// The allocator does not sample.
    #[error("the allocator does not sample: it was told to do otherwise by _RJEM_MALLOC_CONF")]
    Off,
    /// It could not write its dump.
    #[error("the allocator cannot dump: error {0}")]
    Dump(i32),
    /// The dump could not be read.
    #[error("the dump cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is in another form.
    #[error("the dump is in another form than jemalloc's heap_v2")]
    Form,
}

/// Sees to it that allocations are sampled: returns at once if they are, and otherwise becomes the same program with
/// the same arguments, whose allocator is told to. Nothing may have been started yet.
pub fn prepare() -> io::Result<()> {
    if std::env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let mut again = Command::new("/proc/self/exe");
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    Err(again.args(arguments).env(VARIABLE, SETTING).exec())
}

/// The profile of now.
pub fn profile() -> Result<Vec<u8>, NoHeap> {
    if !read::<bool>(c"opt.prof").unwrap_or(false) {
        return Err(NoHeap::Off);
    }
    encode(&dump()?)
}

fn read<T: Copy + Default>(name: &CStr) -> Result<T, i32> {
    let mut value = T::default();
    let mut len = size_of::<T>();
    // SAFETY: jemalloc writes at most `len` bytes to `value`, of the type that it documents for the name.
    let code = unsafe {
        let value: *mut c_void = (&raw mut value).cast();
        tikv_jemalloc_sys::mallctl(name.as_ptr(), value, &raw mut len, std::ptr::null_mut(), 0)
    };
    if code == 0 { Ok(value) } else { Err(code) }
}

/// jemalloc's own dump, by way of a file in memory: the root file system may be read-only.
fn dump() -> Result<String, NoHeap> {
    let file = rustix::fs::memfd_create("holdfast-heap", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(io::Error::from)?;
    let mut name: *const c_char = path.as_ptr();
    // SAFETY: "prof.dump" reads a pointer to a C string, which outlives the call.
    let code = unsafe {
        let name: *mut c_void = (&raw mut name).cast();
        tikv_jemalloc_sys::mallctl(
            c"prof.dump".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            name,
            size_of::<*const c_char>(),
        )
    };
    if code != 0 {
        return Err(NoHeap::Dump(code));
    }
    let len = rustix::fs::fstat(&file).map_err(io::Error::from)?.st_size as u64;
    let mut bytes = vec![0; len.min(DUMP_MAX) as usize];
    let mut at = 0;
    while at < bytes.len() {
        match rustix::io::pread(&file, &mut bytes[at..], at as u64).map_err(io::Error::from)? {
            0 => break,
            count => at += count,
        }
    }
    bytes.truncate(at);
    String::from_utf8(bytes).map_err(|_| NoHeap::Form)
}

/// `heap_v2/INTERVAL`, then per stack `@ ADDRESS…` and a line `  t*: OBJECTS: BYTES [ALL OBJECTS: ALL BYTES]`.
fn encode(dump: &str) -> Result<Vec<u8>, NoHeap> {
    let mut lines = dump.lines();
    let interval: u64 = lines
        .next()
        .and_then(|line| line.strip_prefix("heap_v2/"))
        .and_then(|text| text.parse().ok())
        .ok_or(NoHeap::Form)?;
    let kinds = [("inuse_objects", "count"), ("inuse_space", "bytes")];
    let mut profile = Profile::new(&kinds, (("space", "bytes"), interval), 0).without(ALLOCATOR);
    let mut known: BTreeMap<usize, Vec<Frame>> = BTreeMap::new();
    let mut stack: Option<Vec<usize>> = None;
    for line in lines {
        if line.starts_with("MAPPED_LIBRARIES") {
            break;
        }
        if let Some(addresses) = line.strip_prefix('@') {
            let address =
                |text: &str| usize::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|_| NoHeap::Form);
            stack = Some(addresses.split_whitespace().map(address).collect::<Result<_, _>>()?);
        } else if let Some(counts) = line.trim_start().strip_prefix("t*:")
            && let Some(addresses) = stack.take()
        {
            let (objects, bytes) = counts_of(counts).ok_or(NoHeap::Form)?;
            let place = |address: &usize| known.entry(*address).or_insert_with(|| resolve(*address)).clone();
            let places: Vec<_> = addresses.iter().map(place).collect();
            let (objects, bytes) = scaled(objects, bytes, interval);
            profile.add(places, &[objects, bytes]);
        }
    }
    Ok(profile.finish())
}

fn counts_of(text: &str) -> Option<(u64, u64)> {
    let (objects, rest) = text.split_once(':')?;
    let bytes = rest.split('[').next()?;
    Some((objects.trim().parse().ok()?, bytes.trim().parse().ok()?))
}

/// What the samples stand for: an allocation of S bytes is sampled with the probability 1 - e^(-S / interval)
/// (jemalloc's `prof_unbias`; the same as pprof does for its own heap samples).
fn scaled(objects: u64, bytes: u64, interval: u64) -> (u64, u64) {
    if objects == 0 || interval == 0 {
        return (objects, bytes);
    }
    let size = bytes as f64 / objects as f64;
    let factor = 1.0 / (1.0 - (-size / interval as f64).exp());
    ((objects as f64 * factor) as u64, (bytes as f64 * factor) as u64)
}

/// The functions at a return address, innermost first.
fn resolve(address: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    // It looks at the byte before, where the call is.
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        frames.push(Frame {
            function: symbol.name().map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}")),
            file: symbol.filename().map_or(String::new(), |file| file.display().to_string()),
            line: symbol.lineno().unwrap_or_default(),
        });
    });
    if frames.is_empty() {
        frames.push(Frame { function: format!("{address:#x}"), ..Frame::default() });
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_becomes_a_profile_that_names_functions() {
        let here = counts_of as *const () as usize + 1;
        let dump = format!(
            "heap_v2/524288\n  t*: 3: 3145728 [0: 0]\n  t1: 3: 3145728 [0: 0]\n@ {here:#x} 0x1\n  t*: 3: 3145728 [0: 0]\n  \
             t1: 3: 3145728 [0: 0]\n\nMAPPED_LIBRARIES:\n@ nonsense\n"
        );
        let profile = encode(&dump).unwrap();
        let holds = |text: &[u8]| profile.windows(text.len()).any(|window| window == text);
        assert!(holds(b"counts_of") && holds(b"inuse_space") && holds(b"0x1"));
        for bad in ["", "heap_v1/1", "heap_v2/x", "heap_v2/1\n@ 0xzz\n", "heap_v2/1\n@ 0x1\n t*: x: 1 [0: 0]"] {
            assert!(matches!(encode(bad), Err(NoHeap::Form)), "{bad:?}");
        }
    }

    #[test]
    fn samples_stand_for_what_was_not_sampled() {
        assert_eq!(scaled(0, 0, 524_288), (0, 0));
        let (objects, bytes) = scaled(1, 1024, 524_288);
        assert!((510..=514).contains(&objects) && (500_000..550_000).contains(&bytes), "{objects} {bytes}");
        let (objects, bytes) = scaled(2, 200 << 20, 524_288);
        assert_eq!((objects, bytes), (2, 200 << 20));
    }
}
