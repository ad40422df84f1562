//! What interfaces are called, and the marks by which ours are known.

use std::collections::BTreeSet;

use mvpnet_switch::Vni;

use super::link::Link;
use super::plan::PlanError;

/// The name of a lab that has none.
pub const DEFAULT_NAME: &str = "cluster";

/// The longest name of an interface, in bytes: IFNAMSIZ less the zero at its end.
const MAX_INTERFACE: usize = 15;
/// What stands in front of a lab's name in the name of its bridge.
const BRIDGE: &str = "br-";
/// What stands in front of a lab's name in the alias of its interfaces.
const ALIAS: &str = "mvpnet:";
/// The upper half of the group numbers of ours.
const GROUP: u32 = u32::from_be_bytes(*b"mv\0\0");

/// How the interfaces of one lab are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The alias, for as long as an interface lives.
    pub alias: String,
    /// The group, from an interface's first moment until it has its alias.
    pub group: u32,
}

impl Mark {
    pub fn new(name: &str) -> Self {
        // FNV-1a. Only labs that come up at the same moment must differ.
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { alias: format!("{ALIAS}{name}"), group: GROUP | (hash >> 16) ^ (hash & 0xffff) }
    }

    /// Whether an interface is of this lab.
    pub fn is_on(&self, link: &Link) -> bool {
        match &link.alias {
            Some(alias) => *alias == self.alias,
            None => link.group == self.group,
        }
    }
}

/// Whether a lab may be called this, and whether its bridge then has a name that is short enough.
pub(super) fn check(name: &str) -> Result<(), PlanError> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if name.is_empty() || !is_plain {
        return Err(PlanError::Name(name.to_owned()));
    }
    check_interface(&bridge(name))
}

/// Whether an interface may be called this, in a script too.
pub(super) fn check_interface(name: &str) -> Result<(), PlanError> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@+,^".contains(&byte));
    if name.is_empty() || name.starts_with('-') || [".", ".."].contains(&name) || !is_plain {
        return Err(PlanError::Interface(name.to_owned()));
    }
    if name.len() > MAX_INTERFACE {
        return Err(PlanError::LongName { name: name.to_owned(), max: MAX_INTERFACE });
    }
    Ok(())
}

/// The bridge of a lab.
pub(super) fn bridge(name: &str) -> String {
    format!("{BRIDGE}{name}")
}

/// The kernel's end of a tunnel.
pub(super) fn vxlan(vni: Vni) -> String {
    format!("vxlan{vni}")
}

/// The bridge between a tunnel and its guest's tap. (`br-vxlan40`, as some scripts have it, is too long for large
/// VNIs.)
pub(super) fn guest_bridge(vni: Vni) -> String {
    format!("mvbr{vni}")
}

/// The tap of the guest behind a tunnel.
pub(super) fn tap(vni: Vni) -> String {
    format!("mvtap{vni}")
}

/// The file that says whether the host listens to routers behind an interface.
pub(super) fn accept_ra(interface: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra")
}

/// The lab that an interface is of, by its alias.
pub(super) fn owner(link: &Link) -> Option<&str> {
    link.alias.as_deref()?.strip_prefix(ALIAS)
}

/// The lab that an interface without an alias yet is of, if it is the bridge of one.
fn owner_before_alias(link: &Link) -> Option<&str> {
    let name = link.name.strip_prefix(BRIDGE)?;
    (link.alias.is_none() && Mark::new(name).group == link.group).then_some(name)
}

/// All labs that these interfaces are of.
pub(super) fn all(links: &[Link]) -> Vec<String> {
    let names: BTreeSet<&str> =
        links.iter().filter_map(|link| owner(link).or_else(|| owner_before_alias(link))).collect();
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_leave_room_for_what_stands_in_front_of_it() {
        assert_eq!(check("cluster"), Ok(()));
        assert_eq!(check("twelve-chars"), Ok(()));
        assert_eq!(
            check("thirteen-char").unwrap_err().to_string(),
            "the interface name `br-thirteen-char` is longer than the 15 bytes that Linux allows"
        );
        for bad in ["", "a b", "a/b", "a:b", "ä", "$(reboot)"] {
            assert_eq!(check(bad), Err(PlanError::Name(bad.to_owned())), "{bad:?}");
        }
    }

    #[test]
    fn all_names_fit_even_for_the_largest_vni() {
        for name in [vxlan(Vni::MAX), guest_bridge(Vni::MAX), tap(Vni::MAX)] {
            assert_eq!(check_interface(&name), Ok(()));
        }
    }

    #[test]
    fn marks_stay_the_same_from_version_to_version() {
        let mark = Mark::new("cluster");
        assert_eq!((mark.alias.as_str(), mark.group), ("mvpnet:cluster", 1_836_513_420));
    }

    #[test]
    fn an_interface_is_ours_by_its_alias_or_before_it_has_one_by_its_group() {
        let mark = Mark::new("cluster");
        let link = |alias: Option<&str>, group| Link {
            alias: alias.map(str::to_owned),
            group,
            ..Link::other(7, "vxlan40", "vxlan")
        };
        assert!(mark.is_on(&link(Some("mvpnet:cluster"), 0)));
        assert!(mark.is_on(&link(None, mark.group)));
        assert!(!mark.is_on(&link(Some("mvpnet:other"), mark.group)));
        assert!(!mark.is_on(&link(Some("uplink"), mark.group)));
        assert!(!mark.is_on(&link(None, 0)));
        assert!(!mark.is_on(&link(None, Mark::new("other").group)));
    }

    #[test]
    fn a_lab_is_known_from_its_first_interface_on() {
        let bridge = |name: &str, group| Link { group, ..Link::other(7, name, "bridge") };
        let links = [
            bridge("br-early", Mark::new("early").group),
            bridge("br-theirs", 0),
            Link { alias: Some("mvpnet:late".to_owned()), ..bridge("br-late", 0) },
            Link { alias: Some("mvpnet:late".to_owned()), ..bridge("vxlan40", 0) },
        ];
        assert_eq!(all(&links), ["early", "late"]);
    }
}
