//! Why a datagram, or a part of it, got no further than the VTEP, and how often each reason was met.
//!
//! What becomes of a frame behind that is a switch's matter and has a
//! [`DropReason`](mvpnet_switch::DropReason).

use std::fmt;
use std::net::SocketAddr;

use super::header::HeaderError;

/// Defines the enum, its list and its texts from one table, so that none can be forgotten.
macro_rules! refusals {
    ($($variant:ident $name:literal $sentence:literal)*) => {
        /// Why something that arrived on the VXLAN port was refused. Each reason has a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal {
            $(#[doc = $sentence] $variant,)*
        }

        impl Refusal {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$variant,)*];

            /// The name used in logs and statistics, in kebab case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $name,)*
                }
            }

            /// A sentence for people.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $sentence,)*
                }
            }
        }
    };
}

refusals! {
    UnknownPeer "unknown-peer" "The sender's address is not that of a configured peer."
    UnknownVni "unknown-vni" "The peer has no tunnel with this VNI."
    ShortHeader "short-header" "The datagram is shorter than a VXLAN header."
    NoVniFlag "no-vni-flag" "The I flag is not set, so that the datagram has no VNI."
    ReservedBits "reserved-bits" "A reserved bit of the VXLAN header is set."
    TruncatedFrame "truncated-frame" "What is inside is shorter than an Ethernet header."
    NoRoom "no-room" "There was no room to cut a super-frame of the sender's kernel into frames."
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Refusal {
        match error {
            HeaderError::Short { .. } => Refusal::ShortHeader,
            HeaderError::NoVniFlag { .. } => Refusal::NoVniFlag,
            HeaderError::ReservedBits { .. } => Refusal::ReservedBits,
        }
    }
}

/// What was refused: how often, by reason, and whose was the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    counts: [u64; Refusal::ALL.len()],
    first: [Option<SocketAddr>; Refusal::ALL.len()],
}

impl Refusals {
    /// How often for this reason.
    pub const fn by(&self, refusal: Refusal) -> u64 {
        self.counts[refusal as usize]
    }

    /// Who was the first that met this reason.
    pub const fn first(&self, refusal: Refusal) -> Option<SocketAddr> {
        self.first[refusal as usize]
    }

    /// How often in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All reasons in a fixed order, those without a refusal included: how often, and who was the first.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64, Option<SocketAddr>)> + '_ {
        Refusal::ALL.iter().map(|&refusal| (refusal, self.by(refusal), self.first(refusal)))
    }

    pub(super) fn count(&mut self, refusal: Refusal, source: SocketAddr) {
        self.counts[refusal as usize] += 1;
        self.first[refusal as usize].get_or_insert(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_in_kebab_case_and_descriptions_are_sentences() {
        let mut names: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|c| c == b'-' || c.is_ascii_lowercase())));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
        assert!(Refusal::ALL.iter().all(|refusal| refusal.describe().ends_with('.')));
        assert!(Refusal::ALL.iter().enumerate().all(|(place, &refusal)| refusal as usize == place));
    }

    #[test]
    fn the_first_of_each_kind_is_remembered() {
        let source = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut refusals = Refusals::default();
        refusals.count(Refusal::UnknownVni, source(1));
        refusals.count(Refusal::UnknownVni, source(2));
        refusals.count(Refusal::ShortHeader, source(3));
        assert_eq!(refusals.total(), 3);
        let unknown = refusals.iter().find(|(refusal, ..)| *refusal == Refusal::UnknownVni);
        assert_eq!(unknown, Some((Refusal::UnknownVni, 2, Some(source(1)))));
        assert_eq!(refusals.iter().count(), Refusal::ALL.len());
    }
}
