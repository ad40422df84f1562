//! What a capture file says of itself: whose frames they are, and an interface for each port.

use mvpnet_pcap::{Interface, SNAPLEN, Section};
use mvpnet_switch::{Rank, World};

use super::{Destination, Pool};

/// A port of the switch as the capture knows it: an interface of the file. A rank has a guest and a transport, a
/// bridge has tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The guest's link.
    Guest,
    /// The transport to the other ranks.
    Transport,
    /// A tunnel of a bridge, by its place in the [`Layout`].
    Tunnel(u16),
}

impl Port {
    /// The place of the port's interface in the file.
    #[inline]
    pub(super) fn index(self) -> usize {
        match self {
            Self::Guest => 0,
            Self::Transport => 1,
            Self::Tunnel(place) => usize::from(place),
        }
    }

    /// The same, as the file has it.
    pub(super) fn interface(self) -> u32 {
        u32::try_from(self.index()).expect("a place has 16 bits")
    }
}

/// Whose frames a capture holds, and the ports that they cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    comment: String,
    interfaces: Vec<Interface>,
}

impl Layout {
    /// A capture of `who`, without ports yet.
    pub fn new(who: impl Into<String>) -> Self {
        Self { comment: who.into(), interfaces: Vec::new() }
    }

    /// Adds a tunnel with this name and description.
    ///
    /// # Panics
    /// There are 65536 already.
    pub fn tunnel(&mut self, name: impl Into<String>, description: impl Into<String>) -> Port {
        let place = u16::try_from(self.interfaces.len()).expect("a bridge has fewer tunnels than this");
        self.interfaces
            .push(Interface { description: Some(description.into()), ..Interface::new(name.into()) });
        Port::Tunnel(place)
    }

    pub(super) fn section(&self) -> Section {
        let machine = nix::sys::utsname::uname().ok();
        let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
        Section {
            hardware: machine.as_ref().map(|m| text(m.machine())),
            os: machine.as_ref().map(|m| format!("{} {}", text(m.sysname()), text(m.release()))),
            application: Some(format!("mvpnet {}", env!("CARGO_PKG_VERSION"))),
            comment: Some(self.comment.clone()),
        }
    }

    /// The interfaces, with frames kept as long as the pool allows.
    pub(super) fn interfaces(self, pool: Pool) -> Vec<Interface> {
        let snaplen = SNAPLEN.min(u32::try_from(pool.chunk_bytes).unwrap_or(SNAPLEN));
        self.interfaces.into_iter().map(|interface| Interface { snaplen, ..interface }).collect()
    }
}

/// What to capture of a rank, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the capture goes.
    pub destination: Destination,
    /// The rank whose ports these are.
    pub me: Rank,
    /// The job's size.
    pub world: World,
    /// The transport's name, such as `mpi`.
    pub transport: String,
    /// The job's name, if it has one.
    pub job: Option<String>,
    /// The memory that may be used.
    pub pool: Pool,
}

impl Options {
    /// The ports of a rank: [`Port::Guest`] and [`Port::Transport`], in this order.
    pub(super) fn layout(&self) -> Layout {
        let Self { me, world, transport, job, .. } = self;
        let job = job.as_ref().map_or(String::new(), |job| format!(" of job {job}"));
        let guest = Interface {
            description: Some(format!("guest {} ({}) of rank {me}", me.host_name(), me.ipv4())),
            mac: Some(me.mac().octets()),
            ..Interface::new(format!("rank{me}-guest"))
        };
        let transport = Interface {
            description: Some(format!("{transport} between rank {me} and the other ranks")),
            ..Interface::new(format!("rank{me}-{transport}"))
        };
        Layout { comment: format!("rank {me} of {}{job}", world.size()), interfaces: vec![guest, transport] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_the_interface_that_it_was_added_as() {
        let mut layout = Layout::new("bridge lab");
        let ports: Vec<Port> = ["vni40", "vni41", "vni60"].map(|name| layout.tunnel(name, "a tunnel")).into();
        assert_eq!(ports.iter().map(|port| port.index()).collect::<Vec<_>>(), [0, 1, 2]);
        let small = Pool { chunk_bytes: 2000, ..Pool::default() };
        let interfaces = layout.interfaces(small);
        assert_eq!((interfaces[2].name.as_str(), interfaces[2].snaplen), ("vni60", 2000));
    }
}
