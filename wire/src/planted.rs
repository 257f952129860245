//! Deliberate bugs, for tests that prove that tests find bugs. Without the feature `planted-faults`, which no default
//! build has, there are none: every question is answered with a constant no.

/// A bug. Each is one that a store of this kind has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A vote is acknowledged before it is on disk.
    VoteUnsynced,
    /// Entries are acknowledged before they are on disk.
    EntriesUnsynced,
    /// A blob's name is not synced.
    NameUnsynced,
    /// A write is acknowledged when the leader alone has it.
    OneReplica,
    /// A blob's bytes are not synced.
    BlobUnsynced,
    /// A leader reads without asking whether it still leads.
    LeaseUnchecked,
    /// How far the index is gets there apart from what it holds.
    AppliedApart,
    /// Purged entries go without a word that they did.
    PurgeUnmarked,
    /// A log that is damaged in its middle is cut there, like one whose end is torn.
    CorruptAsTorn,
    /// Listings are answered without becoming fresh.
    StaleList,
    /// A remembered record is used without a look at which is newer.
    CacheUnchecked,
    /// The collector removes what an upload under way will name.
    CollectsUploads,
    /// A shard takes keys that another shard has.
    RangeUnchecked,
    /// A repeated request is applied again.
    AppliedTwice,
    /// What follows a body in chunks counts although its signature is wrong.
    TrailerUnsigned,
    /// A sync that failed is taken for done.
    SyncRetried,
}

impl Fault {
    /// Every bug, by its name.
    pub const ALL: [(&'static str, Self); 16] = [
        ("vote-unsynced", Self::VoteUnsynced),
        ("entries-unsynced", Self::EntriesUnsynced),
        ("name-unsynced", Self::NameUnsynced),
        ("one-replica", Self::OneReplica),
        ("blob-unsynced", Self::BlobUnsynced),
        ("lease-unchecked", Self::LeaseUnchecked),
        ("applied-apart", Self::AppliedApart),
        ("purge-unmarked", Self::PurgeUnmarked),
        ("corrupt-as-torn", Self::CorruptAsTorn),
        ("stale-list", Self::StaleList),
        ("cache-unchecked", Self::CacheUnchecked),
        ("collects-uploads", Self::CollectsUploads),
        ("range-unchecked", Self::RangeUnchecked),
        ("applied-twice", Self::AppliedTwice),
        ("trailer-unsigned", Self::TrailerUnsigned),
        ("sync-retried", Self::SyncRetried),
    ];

    /// Whether this process has the bug: `HOLDFAST_PLANTED` names it.
    #[inline]
    pub fn is_planted(self) -> bool {
        cfg!(feature = "planted-faults")
            && std::env::var("HOLDFAST_PLANTED").is_ok_and(|name| Self::ALL.contains(&(name.as_str(), self)))
    }
}
