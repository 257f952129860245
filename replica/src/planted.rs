//! Deliberate bugs, for tests that prove that tests find bugs. Without the feature `planted-faults`, which no default
//! build has, there are none: every question is answered with a constant no.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A vote is acknowledged before it is on disk.
    VoteUnsynced,
    /// Entries are acknowledged before they are on disk.
    EntriesUnsynced,
    /// A blob's name is not synced.
    NameUnsynced,
    /// A blob's bytes are not synced.
    BlobUnsynced,
    /// A write is acknowledged when the leader alone has it.
    OneReplica,
    /// A leader reads without asking whether it still leads.
    LeaseUnchecked,
    /// Listings are answered without becoming fresh.
    StaleList,
    /// A sync that failed is taken for done.
    SyncRetried,
    /// A repeated request is applied again.
    AppliedTwice,
    /// The collector removes what an upload under way will name.
    CollectsUploads,
}

/// The bug that a process has, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(Option<Fault>);

impl Planted {
    /// Every bug, by its name.
    #[cfg(feature = "planted-faults")]
    pub const ALL: [(&'static str, Fault); 10] = [
        ("vote-unsynced", Fault::VoteUnsynced),
        ("entries-unsynced", Fault::EntriesUnsynced),
        ("name-unsynced", Fault::NameUnsynced),
        ("blob-unsynced", Fault::BlobUnsynced),
        ("one-replica", Fault::OneReplica),
        ("lease-unchecked", Fault::LeaseUnchecked),
        ("stale-list", Fault::StaleList),
        ("sync-retried", Fault::SyncRetried),
        ("applied-twice", Fault::AppliedTwice),
        ("collects-uploads", Fault::CollectsUploads),
    ];

    /// With this bug.
    #[cfg(feature = "planted-faults")]
    pub fn new(fault: Fault) -> Self {
        Self(Some(fault))
    }

    /// Whether the process has it.
    #[inline]
    pub fn has(self, fault: Fault) -> bool {
        cfg!(feature = "planted-faults") && self.0 == Some(fault)
    }
}
