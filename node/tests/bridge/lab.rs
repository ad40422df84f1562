//! A bridge in a thread, and peers around it.

use std::net::{SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mvpnet_node::bridge::{BridgeLoop, Changed, Command, Event, Handle, LoopEnd, Notice, Status, mailbox};
use mvpnet_switch::{BridgeConfig, Vni};
use mvpnet_transports::vxlan::{Tunnel, Vtep, VtepConfig};
use tokio::sync::{mpsc, oneshot};

/// How long anything may take.
const LONG: Duration = Duration::from_secs(30);

/// The MTU of the guests, unless a test has its own.
pub const MTU: u32 = 1450;

/// Somebody with a socket on a loopback address of their own.
pub struct Peer {
    socket: UdpSocket,
}

/// A running bridge.
pub struct Lab {
    pub listen: SocketAddr,
    handle: Handle,
    events: mpsc::UnboundedReceiver<Event>,
    thread: JoinHandle<LoopEnd>,
}

impl Peer {
    /// On 127.0.0.`last`, at any port.
    pub fn on(last: u8) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Self { socket }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn tunnel(&self, vni: u32) -> Tunnel {
        Tunnel { vni: Vni::new(vni).unwrap(), peer: self.address() }
    }

    /// Sends a frame as VXLAN (RFC 7348 §5).
    pub fn send(&self, lab: &Lab, vni: u32, frame: &[u8]) {
        self.send_raw(lab, &[&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), frame].concat());
    }

    pub fn send_raw(&self, lab: &Lab, datagram: &[u8]) {
        self.socket.send_to(datagram, lab.listen).unwrap();
    }

    /// The next frame, with its VNI.
    pub fn receive(&self) -> (u32, Vec<u8>) {
        let mut datagram = [0; 2000];
        let (len, _) = self.socket.recv_from(&mut datagram).unwrap();
        assert_eq!(datagram[..4], [8, 0, 0, 0], "the I flag and nothing else");
        assert_eq!(datagram[7], 0, "a reserved octet");
        let vni = u32::from_be_bytes([0, datagram[4], datagram[5], datagram[6]]);
        (vni, datagram[8..len].to_vec())
    }

    /// Whether nothing waits to be received.
    pub fn has_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let nothing = self.socket.peek_from(&mut [0]).is_err();
        self.socket.set_nonblocking(false).unwrap();
        nothing
    }
}

impl Lab {
    pub fn start(tunnels: &[Tunnel]) -> Self {
        Self::start_as(BridgeConfig::default(), tunnels, |_| ())
    }

    /// With settings of its own, and a bridge that is changed before it runs.
    pub fn start_as(config: BridgeConfig, tunnels: &[Tunnel], change: impl FnOnce(&mut BridgeLoop)) -> Self {
        let vtep = Vtep::bind(&VtepConfig::new(([127, 0, 0, 1], 0).into())).unwrap();
        let listen = vtep.local_addr();
        let (handle, mailbox, events) = mailbox().unwrap();
        let mut bridge = BridgeLoop::new("test".into(), vtep, config, Some(MTU), mailbox);
        let changed = bridge.set_tunnels(tunnels);
        assert_eq!(changed, Changed { added: tunnels.len(), ..Changed::default() });
        change(&mut bridge);
        let thread = std::thread::spawn(move || bridge.run());
        Self { listen, handle, events, thread }
    }

    pub fn status(&self) -> Status {
        let (reply, status) = oneshot::channel();
        self.handle.send(Command::Status(reply));
        status.blocking_recv().unwrap()
    }

    /// Waits until the status says so.
    pub fn wait(&self, until: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + LONG;
        loop {
            let status = self.status();
            if until(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not come about: {status:?}");
            std::thread::yield_now();
        }
    }

    pub fn set_tunnels(&self, tunnels: &[Tunnel]) -> Changed {
        let (done, changed) = oneshot::channel();
        self.handle.send(Command::Tunnels { tunnels: tunnels.to_vec(), done });
        changed.blocking_recv().unwrap()
    }

    /// The next thing that people are told.
    pub fn notice(&mut self) -> Notice {
        let Event::Notice(notice) = self.events.blocking_recv().unwrap();
        notice
    }

    /// Ends the bridge, whose books must balance.
    pub fn stop(self) -> Status {
        self.handle.send(Command::Stop);
        let LoopEnd { status, failure } = self.thread.join().unwrap();
        assert!(failure.is_none() && status.books_balance, "{failure:?} {status:?}");
        status
    }
}

/// The address of a guest's interface.
pub fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

pub const BROADCAST: [u8; 6] = [0xff; 6];

/// A frame of an experimental type (IEEE 802.3 annex 93A).
pub fn frame(to: [u8; 6], from: [u8; 6], text: &str) -> Vec<u8> {
    let mut frame = [&to[..], &from, &[0x88, 0xb5], text.as_bytes()].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}
