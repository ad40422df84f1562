//! Questions to peers.

use std::net::UdpSocket;
use std::time::Duration;

use mvpnet_transports::vxlan::Refusal;
use mvpnet_transports::vxlan::probe::{Probe, Reach, Responder};

use super::ends::{pair, receive_until, vtep};

#[test]
fn a_vtep_answers_its_peers_and_nobody_else() {
    let ((mut vtep, _), (peer, _)) = pair("127.0.0.1", "127.0.0.2", 40);
    let mut probe = Probe::new(vtep.local_addr());
    probe.from = Some(peer.local_addr().ip());
    let asking = std::thread::spawn(move || (probe.reach().unwrap(), probe.path_mtu().unwrap()));
    while !asking.is_finished() {
        vtep.receive().unwrap();
        std::thread::yield_now();
    }
    let (reach, mtu) = asking.join().unwrap();
    assert!(matches!(reach, Reach::Answered { .. }), "{reach:?}");
    let mtu = mtu.unwrap();
    // Loopback's MTU is 65536, and no packet is longer than 65535.
    assert_eq!((mtu.path, mtu.route), (65_535, 65_535));

    let mut stranger = Probe::new(vtep.local_addr());
    stranger.from = Some("127.0.0.9".parse().unwrap());
    stranger.patience = Duration::from_millis(20);
    let asking = std::thread::spawn(move || stranger.reach().unwrap());
    receive_until(&mut vtep, |vtep| vtep.refusals().by(Refusal::UnknownPeer) == 3);
    assert_eq!(asking.join().unwrap(), Reach::Silent);
}

#[test]
fn where_nobody_hears_that_is_said() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(Probe::new(nobody).reach().unwrap(), Reach::Refused);
    assert_eq!(Probe::new(nobody).path_mtu().unwrap(), None);
}

#[test]
fn a_responder_answers_anybody() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let responder = Responder::bind(address.parse().unwrap()).unwrap();
        let listen = responder.local_addr().unwrap();
        let serving = std::thread::spawn(move || responder.serve(Duration::from_millis(500)).unwrap());
        assert!(matches!(Probe::new(listen).reach().unwrap(), Reach::Answered { .. }));
        assert!(serving.join().unwrap() >= 1);
    }
}

#[test]
fn a_port_that_a_responder_has_is_taken() {
    let vtep = vtep("127.0.0.1");
    assert!(Responder::bind(vtep.local_addr()).unwrap_err().to_string().contains("--vxlan-port"));
}
