//! Carrying a request's permission over to its second try.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An extension of a request that s3s is going to see twice: earned when the access check lets the first through, it
/// then stands for the signature of the second, which the server makes of the first by leaving out what s3s cannot
/// read. Nothing on the wire becomes an extension, so only the server can hand one in.
#[derive(Clone, Debug, Default)]
pub struct Pass(Arc<AtomicBool>);

impl Pass {
    /// The request was authenticated and may do what it asks for.
    pub fn earn(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    pub fn is_earned(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
