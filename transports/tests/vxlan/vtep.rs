//! Frames through tunnels on loopback.

use std::net::UdpSocket;

use mvpnet_transports::vxlan::{AddError, BindError, Header, Refusal, Vtep, VtepConfig};

use super::ends::{flush, frame, pair, receive, receive_until, tunnel, vni, vtep};

#[test]
fn frames_pass_a_tunnel_over_ipv4_and_ipv6() {
    for (one, two) in [("127.0.0.1", "127.0.0.2"), ("::1", "::1")] {
        let ((mut one, to_two), (mut two, to_one)) = pair(one, two, 40);
        one.send(to_two, &frame(1, 60));
        one.send(to_two, &frame(2, 1464));
        assert_eq!(flush(&mut one), [(60, Ok(())), (1464, Ok(()))]);
        let frames = receive(&mut two, 2);
        assert_eq!(frames, [(to_one, frame(1, 60)), (to_one, frame(2, 1464))]);
        assert_eq!((one.stats().frames_sent, two.stats().frames_received), (2, 2));
    }
}

#[test]
fn a_vtep_on_all_addresses_hears_both_versions_of_ip() {
    let mut both = vtep("::");
    let port = both.local_addr().port();
    for address in ["127.0.0.1", "::1"] {
        let mut one = vtep(address);
        let there = both.add(tunnel(40, one.local_addr())).unwrap();
        let back = one.add(tunnel(40, (one.local_addr().ip(), port).into())).unwrap();
        one.send(back, &frame(1, 100));
        flush(&mut one);
        assert_eq!(receive(&mut both, 1), [(there, frame(1, 100))]);
        both.send(there, &frame(2, 100));
        flush(&mut both);
        assert_eq!(receive(&mut one, 1), [(back, frame(2, 100))]);
    }
}

#[test]
fn a_thousand_frames_of_one_length_leave_in_a_few_system_calls() {
    let ((mut one, to_two), (mut two, _)) = pair("127.0.0.1", "127.0.0.3", 40);
    for number in 0..1000 {
        one.send(to_two, &frame(number as u8, 200));
    }
    assert!(flush(&mut one).iter().all(|(_, result)| result.is_ok()));
    let frames = receive(&mut two, 1000);
    assert!(frames.iter().enumerate().all(|(number, (_, bytes))| *bytes == frame(number as u8, 200)));
    assert!(one.stats().send_calls < 30, "{:?}", one.stats());
    assert!(two.stats().receive_calls < 60, "{:?}", two.stats());
}

/// Three VTEPs around one in the middle, which passes on what it receives.
#[test]
fn frames_are_passed_on_from_where_they_lie_to_one_tunnel_or_to_several() {
    let mut middle = vtep("127.0.0.10");
    let mut ends: Vec<Vtep> = (11..14).map(|host| vtep(&format!("127.0.0.{host}"))).collect();
    let mut at_middle = Vec::new();
    let mut at_ends = Vec::new();
    for (number, end) in (40..).zip(&mut ends) {
        at_middle.push(middle.add(tunnel(number, end.local_addr())).unwrap());
        at_ends.push(end.add(tunnel(number, middle.local_addr())).unwrap());
    }
    for number in 0..10 {
        ends[0].send(at_ends[0], &frame(number, 300));
    }
    flush(&mut ends[0]);
    let mut seen = 0;
    while seen < 10 {
        receive_until(&mut middle, |middle| middle.stats().frames_received > seen);
        let got = (middle.stats().frames_received - seen) as usize;
        for n in 0..got {
            assert_eq!(middle.frame(n).0, at_middle[0]);
            // Even ones to one end, odd ones to both.
            middle.forward(n, at_middle[1]);
            if middle.frame(n).1[299] % 2 == 1 {
                middle.forward(n, at_middle[2]);
            }
        }
        assert!(flush(&mut middle).iter().all(|(len, result)| (*len, *result) == (300, Ok(()))));
        seen += got as u64;
    }
    let numbers = |vtep: &mut Vtep, count| -> Vec<u8> {
        let frames = receive(vtep, count);
        assert!(frames.iter().all(|(_, bytes)| *bytes == frame(bytes[299], 300)));
        frames.iter().map(|(_, frame)| frame[299]).collect()
    };
    assert_eq!(numbers(&mut ends[1], 10), (0..10).collect::<Vec<_>>());
    assert_eq!(numbers(&mut ends[2], 5), [1, 3, 5, 7, 9]);
    assert_eq!(ends[1].refusals().total() + ends[2].refusals().total(), 0);
}

#[test]
fn what_is_not_configured_is_refused_and_the_first_of_it_is_named() {
    let ((mut vtep, _), (peer, _)) = pair("127.0.0.1", "127.0.0.2", 40);
    let stranger = UdpSocket::bind("127.0.0.66:0").unwrap();
    let known = UdpSocket::bind((peer.local_addr().ip(), 0)).unwrap();
    let good = [&Header { vni: vni(40) }.emit()[..], &frame(1, 60)].concat();
    let other = [&Header { vni: vni(41) }.emit()[..], &frame(1, 60)].concat();
    let mut unflagged = good.clone();
    unflagged[0] = 0;
    let mut reserved = good.clone();
    reserved[7] = 1;
    let to = vtep.local_addr();
    stranger.send_to(&good, to).unwrap();
    for bad in [&other[..], &good[..5], &unflagged, &reserved, &good[..20], &[]] {
        known.send_to(bad, to).unwrap();
    }
    known.send_to(&good, to).unwrap();
    receive_until(&mut vtep, |vtep| vtep.stats().datagrams_received == 8);
    let expected = [
        (Refusal::UnknownPeer, 1),
        (Refusal::UnknownVni, 1),
        (Refusal::ShortHeader, 2),
        (Refusal::NoVniFlag, 1),
        (Refusal::ReservedBits, 1),
        (Refusal::TruncatedFrame, 1),
    ];
    for (refusal, count) in expected {
        assert_eq!(vtep.refusals().by(refusal), count, "{refusal}");
    }
    assert_eq!((vtep.refusals().total(), vtep.stats().frames_received), (7, 1));
    assert_eq!(vtep.refusals().first(Refusal::UnknownPeer), stranger.local_addr().ok());
}

#[test]
fn tunnels_come_and_go_while_others_stay() {
    let mut middle = vtep("127.0.0.20");
    let (mut one, mut two) = (vtep("127.0.0.21"), vtep("127.0.0.22"));
    let first = middle.add(tunnel(40, one.local_addr())).unwrap();
    let second = middle.add(tunnel(40, two.local_addr())).unwrap();
    let from_one = one.add(tunnel(40, middle.local_addr())).unwrap();
    let from_two = two.add(tunnel(40, middle.local_addr())).unwrap();
    let taken = middle.add(tunnel(40, one.local_addr())).unwrap_err();
    assert!(matches!(taken, AddError::Taken(_)), "{taken}");

    middle.remove(first);
    one.send(from_one, &frame(1, 60));
    two.send(from_two, &frame(2, 60));
    flush(&mut one);
    flush(&mut two);
    receive_until(&mut middle, |middle| middle.stats().datagrams_received == 2);
    assert_eq!((middle.refusals().by(Refusal::UnknownPeer), middle.stats().frames_received), (1, 1));
    assert_eq!(middle.tunnels().map(|(id, _)| id).collect::<Vec<_>>(), [second]);
    // What is sent to a tunnel that is gone goes nowhere.
    middle.send(first, &frame(3, 60));
    assert_eq!(flush(&mut middle), []);
    assert_eq!(middle.path_mtu(first), 0);

    let again = middle.add(tunnel(41, one.local_addr())).unwrap();
    assert_eq!(again, first);
    middle.send(again, &frame(4, 60));
    assert_eq!(flush(&mut middle), [(60, Ok(()))]);
    receive_until(&mut one, |one| one.refusals().by(Refusal::UnknownVni) == 1);
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let vtep = vtep("127.0.0.1");
    let error = Vtep::bind(&VtepConfig::new(vtep.local_addr())).unwrap_err();
    assert!(matches!(error, BindError::Taken { .. }));
    let said = error.to_string();
    let port = vtep.local_addr().port().to_string();
    assert!(
        [&port, "127.0.0.1", "--vxlan-port", "--listen"].iter().all(|word| said.contains(*word)),
        "{said}"
    );
    let error = Vtep::bind(&VtepConfig::new("192.0.2.77:4789".parse().unwrap())).unwrap_err();
    assert!(matches!(error, BindError::NotHere { .. }), "{error}");
}

#[test]
fn a_peer_of_the_other_version_of_ip_is_refused() {
    let error = vtep("127.0.0.1").add(tunnel(40, "[::1]:4789".parse().unwrap())).unwrap_err();
    assert!(matches!(error, AddError::OtherVersion { .. }), "{error}");
}
