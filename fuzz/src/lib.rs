//! Fuzz targets: what comes from outside or from a disk, against a property that is stronger than "it does not panic".
//!
//! A [`Target`] is a function from bytes. `src/bin/fuzz.rs` gives it to libFuzzer (`make fuzz`), `tests/corpus.rs` runs it
//! over `fuzz/corpus` and `fuzz/found`, so that what was found once stays a test wherever `cargo test` runs. [`second`] holds
//! implementations of the same rules that share no code with ours; [`stand`] is a whole gateway in this thread.
//!
//! | target | property |
//! |---|---|
//! | `sigv4` | the gateway acts on a request only if a second implementation finds its signature right |
//! | `chunked` | a body comes out the same however it is split; a body that was tampered with leaves no object |
//! | `xml` | documents of any kind take bounded time and memory, and mean what a second reader reads |
//! | `router` | what the guard lets through is to s3s the operation, bucket and key that the guard named |
//! | `ranges` | ranges, conditions and dates are answered as a plain reading of RFC 9110 answers them |
//! | `log` | a damaged log is refused, or ends at a batch behind which nothing intact stands |
//! | `blob` | a damaged blob is never read with success, and says so before the first wrong byte |
//! | `snapshot` | a broken snapshot changes nothing; a sound one gives the same state |
//! | `wire` | frames come back however they are cut; no length makes anybody allocate before bytes came |
//! | `token` | continuation tokens come back; one that was tampered with is refused |
//! | `form` | a browser's form is taken only if a second reading of its policy and signature allows it |
//! | `policy` | two evaluators decide alike |

pub mod bounds;
pub mod second;
pub mod stand;
mod targets;

pub use targets::{TARGETS, Target, target};
