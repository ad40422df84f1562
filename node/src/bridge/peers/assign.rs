//! Which peer each VNI has.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use mvpnet_switch::{Vni, VniList};

use super::Peer;

/// The VNIs of a bridge, each with the place of its peer in the list of peers.
pub type Assignment = BTreeMap<Vni, usize>;

/// Why peers and VNIs do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// There is no peer at all.
    #[error("the bridge needs to know who sends to it: --peer server1")]
    NoPeer,
    /// A peer without VNIs, and no others to give it.
    #[error("which VNIs has `{0}`? --vni 40-43 for the whole bridge, or 40-43:{0} for this peer alone")]
    NoVnis(String),
    /// Two peers that could have the same.
    #[error(
        "which VNIs has `{first}`, and which `{second}`? Each VNI has one peer: write them in front, like 40-41:{first} \
         and 42-43:{second}"
    )]
    Which {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// Two peers that were given the same.
    #[error("VNI {vni} has one peer, not both {first} and {second}")]
    Twice {
        /// The one that both have.
        vni: Vni,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A peer for a VNI that is not the bridge's.
    #[error("{peer} is for VNI {vni}, which is not among those of --vni {vnis}")]
    Outside {
        /// The peer.
        peer: String,
        /// Its VNI.
        vni: Vni,
        /// The bridge's.
        vnis: VniList,
    },
    /// A VNI that nobody was named for.
    #[error("VNI {vni} has no peer: add --peer {vni}:HOST, or a peer without VNIs for all that are left")]
    Missing {
        /// The VNI.
        vni: Vni,
    },
    /// A peer that gets nothing.
    #[error("no VNI is left for {0}: all have peers of their own")]
    NothingLeft(String),
    /// More than one bridge can have.
    #[error("{count} VNIs are too many for one bridge: it takes {max}", max = VniList::MAX_LEN)]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// Gives each of `vnis`, or where those are not given each VNI that a peer was named for, its peer.
///
/// # Errors
/// There is not exactly one for each.
pub fn assign(vnis: Option<&VniList>, peers: &[Peer]) -> Result<Assignment, AssignError> {
    let mut assignment = Assignment::new();
    let mut rest: Option<usize> = None;
    for (place, peer) in peers.iter().enumerate() {
        let Some(list) = &peer.vnis else {
            if let Some(first) = rest.replace(place) {
                let (first, second) = (peers[first].to_string(), peer.to_string());
                return Err(AssignError::Which { first, second });
            }
            continue;
        };
        for vni in list.iter() {
            if let Some(vnis) = vnis.filter(|vnis| !vnis.contains(vni)) {
                return Err(AssignError::Outside { peer: named(peer), vni, vnis: vnis.clone() });
            }
            match assignment.entry(vni) {
                Entry::Vacant(free) => drop(free.insert(place)),
                Entry::Occupied(taken) => {
                    let (first, second) = (named(&peers[*taken.get()]), named(peer));
                    return Err(AssignError::Twice { vni, first, second });
                }
            }
        }
    }
    match (vnis, rest) {
        (None, Some(rest)) => return Err(AssignError::NoVnis(peers[rest].to_string())),
        (Some(vnis), rest) => give_rest(vnis, rest, peers, &mut assignment)?,
        (None, None) => {}
    }
    match assignment.len() {
        0 => Err(AssignError::NoPeer),
        count if count > VniList::MAX_LEN => Err(AssignError::TooMany { count }),
        _ => Ok(assignment),
    }
}

fn give_rest(
    vnis: &VniList,
    rest: Option<usize>,
    peers: &[Peer],
    assignment: &mut Assignment,
) -> Result<(), AssignError> {
    let left: Vec<Vni> = vnis.iter().filter(|vni| !assignment.contains_key(vni)).collect();
    match (left.first(), rest) {
        (Some(_), Some(rest)) => assignment.extend(left.into_iter().map(|vni| (vni, rest))),
        (Some(_), None) if peers.is_empty() => return Err(AssignError::NoPeer),
        (Some(&vni), None) => return Err(AssignError::Missing { vni }),
        (None, Some(rest)) => return Err(AssignError::NothingLeft(named(&peers[rest]))),
        (None, None) => {}
    }
    Ok(())
}

/// The peer as it was named, and where.
fn named(peer: &Peer) -> String {
    peer.line.map_or_else(|| format!("`{peer}`"), |line| format!("`{peer}` (line {line})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(vnis: &str, peers: &[&str]) -> Result<Vec<(u32, usize)>, String> {
        let vnis: Option<VniList> = (!vnis.is_empty()).then(|| vnis.parse().unwrap());
        let peers: Vec<Peer> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        let assignment = assign(vnis.as_ref(), &peers).map_err(|error| error.to_string())?;
        Ok(assignment.into_iter().map(|(vni, place)| (vni.value(), place)).collect())
    }

    #[test]
    fn one_peer_has_all() {
        assert_eq!(assigned("40-41,60", &["server1"]).unwrap(), [(40, 0), (41, 0), (60, 0)]);
    }

    #[test]
    fn a_peer_without_vnis_has_those_that_nobody_else_has() {
        let peers = ["server1", "60:server3"];
        assert_eq!(assigned("40-41,60", &peers).unwrap(), [(40, 0), (41, 0), (60, 1)]);
    }

    #[test]
    fn where_all_peers_say_theirs_the_bridge_needs_no_list() {
        assert_eq!(assigned("", &["60:server3", "40-41:server1"]).unwrap(), [(40, 1), (41, 1), (60, 0)]);
    }

    #[test]
    fn a_peer_of_a_file_is_named_with_its_line() {
        let peer = |text: &str, line| Peer { line: Some(line), ..text.parse().unwrap() };
        let error = assign(None, &[peer("40:s1", 3), peer("40:s3", 7)]).unwrap_err().to_string();
        assert_eq!(error, "VNI 40 has one peer, not both `40:s1` (line 3) and `40:s3` (line 7)");
    }

    #[test]
    fn what_does_not_fit_is_said_with_what_to_write() {
        for (vnis, peers, says) in [
            ("40-43", &[][..], "the bridge needs to know who sends to it: --peer server1"),
            ("", &[], "the bridge needs to know who sends to it: --peer server1"),
            ("", &["server1"], "--vni 40-43 for the whole bridge, or 40-43:server1 for this peer alone"),
            ("40-43", &["s1", "s3"], "write them in front, like 40-41:s1 and 42-43:s3"),
            ("40-43", &["40:s1", "40-43:s3"], "VNI 40 has one peer, not both `40:s1` and `40-43:s3`"),
            ("40-43", &["60:s1"], "`60:s1` is for VNI 60, which is not among those of --vni 40-43"),
            ("40-43", &["40-42:s1"], "VNI 43 has no peer: add --peer 43:HOST"),
            ("40", &["40:s1", "s3"], "no VNI is left for `s3`: all have peers of their own"),
            ("", &["1-4000:s1", "4001-8000:s2"], "8000 VNIs are too many for one bridge: it takes 4096"),
        ] {
            let error = assigned(vnis, peers).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
