//! What can go wrong, in words that say what to do.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::plan::PlanError;

/// Why nothing was done, or why what was done has been undone.
#[derive(Debug, Error)]
pub enum Error {
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Something of that name is there, and mvpnet did not make it.
    #[error(
        "there is an interface {interface} ({kind}) already, which mvpnet did not make and leaves alone: remove it \
         (`ip link delete dev {interface}`) or choose another name"
    )]
    Foreign {
        /// The interface.
        interface: String,
        /// What it is.
        kind: String,
    },
    /// Something of that name belongs to another lab.
    #[error(
        "the interface {interface} belongs to the lab `{owner}`: take that down first, or choose other VNIs"
    )]
    Owned {
        /// The interface.
        interface: String,
        /// The other lab's name.
        owner: String,
    },
    /// The kernel gives the tunnel's datagrams to another interface.
    #[error("VNI {vni} on UDP port {port} is in use by the interface {interface}, which mvpnet leaves alone")]
    VniTaken {
        /// The VNI.
        vni: u32,
        /// The UDP port.
        port: u16,
        /// Whose it is.
        interface: String,
    },
    /// Another process has the UDP port.
    #[error(
        "UDP port {port}, which {interface} needs, is taken by a program (`ss -lunp` shows which; a bridge in user \
         space is one) or by a vxlan interface with other settings"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The tunnel.
        interface: String,
    },
    /// No interface of that name.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// Larger than what is below it.
    #[error("the interface {interface} cannot have an MTU of {mtu} bytes: what it is bound to carries less")]
    Mtu {
        /// The tunnel.
        interface: String,
        /// The MTU in bytes.
        mtu: u32,
    },
    /// The bridge takes no more ports.
    #[error("{interface} cannot be a port of its bridge, which has {max} already: Linux allows no more")]
    Full {
        /// The tunnel.
        interface: String,
        /// The most ports.
        max: usize,
    },
    /// Not a port that a guest can have.
    #[error("the interface {interface} is not a {wanted} but a {kind}")]
    WrongKind {
        /// The interface.
        interface: String,
        /// What it is.
        kind: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The tap is somebody else's.
    #[error("the tap {tap} is a port of {bridge} already")]
    Plugged {
        /// The tap.
        tap: String,
        /// The bridge.
        bridge: String,
    },
    /// Only root may do it.
    #[error(
        "{doing} needs the privilege CAP_NET_ADMIN, which this process lacks: run it with sudo, let --print write the \
         commands for somebody who has it, or use the bridge in user space, which needs none"
    )]
    Permission {
        /// What was tried.
        doing: String,
    },
    /// The kernel cannot do it.
    #[error(
        "this kernel has no {kind} interfaces: load the module (`modprobe {kind}`) or use the bridge in user space"
    )]
    Unsupported {
        /// The kind of interface.
        kind: &'static str,
    },
    /// The kernel refuses.
    #[error("{doing}: {error}")]
    Kernel {
        /// What was tried.
        doing: String,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// There is no talking to the kernel.
    #[error("talking to the kernel over netlink: {0}")]
    Netlink(#[source] io::Error),
    /// Another process is at it.
    #[error("another mvpnet has been changing interfaces here for {} s", .0.as_secs())]
    Busy(Duration),
    /// Not everything could be undone.
    #[error("{error}; of what was made until then, {} could not be removed again", .left.join(", "))]
    Left {
        /// What went wrong first.
        error: Box<Error>,
        /// What is left.
        left: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_privilege_is_named_with_every_way_out() {
        let said = Error::Permission { doing: "making br-cluster".to_owned() }.to_string();
        for word in ["making br-cluster", "CAP_NET_ADMIN", "sudo", "--print", "user space"] {
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn what_is_left_is_said_after_what_went_wrong() {
        let error = Error::Left {
            error: Box::new(Error::NoInterface("eth7".to_owned())),
            left: vec!["vxlan40".to_owned(), "br-cluster".to_owned()],
        };
        assert_eq!(
            error.to_string(),
            "there is no interface eth7; of what was made until then, vxlan40, br-cluster could not be removed again"
        );
    }
}
