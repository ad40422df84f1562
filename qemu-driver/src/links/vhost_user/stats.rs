//! What a link counts beside frames.

/// Counts of a link since it was made: names in kebab case and numbers, always in the same order.
pub type Stats = [(&'static str, u64); Counts::LEN];

/// The counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Rings that the front end has started: two for each time that a guest's driver comes up.
    pub(super) ring_starts: u64,
    /// Rings that it has stopped.
    pub(super) ring_stops: u64,
    /// Rings that stopped because there was nonsense on them, or because their memory went away.
    pub(super) rings_broken: u64,
    /// Memory tables that were taken over.
    pub(super) memory_tables: u64,
    /// Requests of the front end that were refused.
    pub(super) requests_refused: u64,
    /// Kicks that woke us.
    pub(super) kicks: u64,
    /// Calls that woke the guest.
    pub(super) calls: u64,
    /// Descriptor chains that cannot be read or written, in both directions.
    pub(super) bad_chains: u64,
    /// Frames that the guest sent while its network card was off (vhost-user.rst, "Ring states").
    pub(super) discarded: u64,
    /// Unfinished frames from the guest and to it.
    pub(super) unfinished_from_guest: u64,
    pub(super) unfinished_to_guest: u64,
}

impl Counts {
    const LEN: usize = 11;

    pub(super) fn stats(&self) -> Stats {
        [
            ("ring-starts", self.ring_starts),
            ("ring-stops", self.ring_stops),
            ("rings-broken", self.rings_broken),
            ("memory-tables", self.memory_tables),
            ("requests-refused", self.requests_refused),
            ("kicks", self.kicks),
            ("calls", self.calls),
            ("bad-chains", self.bad_chains),
            ("discarded", self.discarded),
            ("unfinished-from-guest", self.unfinished_from_guest),
            ("unfinished-to-guest", self.unfinished_to_guest),
        ]
    }
}
