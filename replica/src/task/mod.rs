//! What a node does by itself, beside answering requests. Each task is one endless future that the node owns.
//!
//! | task | what it keeps true |
//! |---|---|
//! | [`engine`] | whoever cannot read its index leads nothing |
//! | [`members`] | each group has the voters that the map names |
//! | [`spread`] | leaderships lie where the map wants them |
//! | [`trim`] | the log holds what followers may still need, and no more |
//! | [`repair`] | every blob that the index names is here, and sound |
//! | [`lifecycle`] | what lifecycle rules say is over goes |
//! | [`collect`] | what nothing names any more goes, after its grace |
//! | [`scrub`] | what lies here is read again, from time to time |
//! | [`slow`] | whoever leads has a disk that keeps up |
//! | [`full`] | whoever leads has room on its disk |
//! | [`root`] | what root has begun is finished; the map follows the nodes |

pub mod collect;
pub mod engine;
pub mod full;
pub mod heir;
pub mod lifecycle;
pub mod members;
pub mod repair;
pub mod root;
pub mod scrub;
pub mod slow;
pub mod spread;
pub mod trim;
