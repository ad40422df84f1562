//! Paths that are narrower than the first link: what routers say is learned.

use mvpnet_switch::DropReason;
use mvpnet_transports::vxlan::probe::{PathMtu, Probe, Reach, Responder};
use mvpnet_transports::vxlan::{Vtep, VtepConfig, inner_mtu};

use super::ends::{flush, frame, receive, receive_until, tunnel, vni};
use super::namespaces::Namespaces;

/// Two hosts and a router between them, whose link to the second takes 1400 bytes.
fn hosts(test: &str) -> Option<Namespaces> {
    let hosts = Namespaces::new(test, &["one", "router", "two"])?;
    hosts.ip("link add name va netns {one} type veth peer name vb netns {router}");
    hosts.ip("link add name vc netns {router} mtu 1400 type veth peer name vd netns {two}");
    for (host, link, v4, v6) in [
        ("one", "va", "192.0.2.1/24", "2001:db8:1::1/64"),
        ("router", "vb", "192.0.2.254/24", "2001:db8:1::fe/64"),
        ("router", "vc", "198.51.100.254/24", "2001:db8:2::fe/64"),
        ("two", "vd", "198.51.100.2/24", "2001:db8:2::2/64"),
    ] {
        hosts.ip(&format!("-n {{{host}}} addr add {v4} dev {link}"));
        hosts.ip(&format!("-n {{{host}}} addr add {v6} dev {link} nodad"));
        hosts.ip(&format!("-n {{{host}}} link set {link} up"));
    }
    hosts.ip("-n {one} route add default via 192.0.2.254");
    hosts.ip("-n {one} route add default via 2001:db8:1::fe");
    hosts.ip("-n {two} route add default via 198.51.100.254");
    hosts.ip("-n {two} route add default via 2001:db8:2::fe");
    hosts.within("router", || {
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{switch}"), "1").unwrap();
        }
    });
    Some(hosts)
}

const ADDRESSES: [(&str, &str); 2] =
    [("192.0.2.1:4789", "198.51.100.2:4789"), ("[2001:db8:1::1]:4789", "[2001:db8:2::2]:4789")];

#[test]
fn the_mtu_of_a_path_is_learned_from_its_router() {
    let Some(hosts) = hosts("the_mtu_of_a_path_is_learned_from_its_router") else { return };
    for (one, two) in ADDRESSES {
        let (here, there) = (one.parse().unwrap(), two.parse().unwrap());
        let mut one = hosts.within("one", || Vtep::bind(&VtepConfig::new(here)).unwrap());
        let mut two = hosts.within("two", || Vtep::bind(&VtepConfig::new(there)).unwrap());
        let to_two = hosts.within("one", || one.add(tunnel(40, there)).unwrap());
        let to_one = hosts.within("two", || two.add(tunnel(40, here)).unwrap());
        assert_eq!(one.path_mtu(to_two), 1500);
        let longest = |mtu| inner_mtu(mtu, there.ip()).unwrap() as usize + 14;

        // Leaves in one piece, and gets as far as the router.
        one.send(to_two, &frame(1, longest(1500)));
        one.send(to_two, &frame(1, longest(1500)));
        assert_eq!(flush(&mut one), [(longest(1500), Ok(())), (longest(1500), Ok(()))]);
        receive_until(&mut one, |one| one.path_mtu(to_two) == 1400);
        one.send(to_two, &frame(2, longest(1400) + 1));
        one.send(to_two, &frame(3, longest(1400)));
        one.send(to_two, &frame(4, longest(1400)));
        let mut outcomes = flush(&mut one);
        outcomes.sort_by_key(|(len, _)| *len);
        let fits = (longest(1400), Ok(()));
        assert_eq!(outcomes, [fits, fits, (longest(1400) + 1, Err(DropReason::TooLong))]);
        let mut frames = receive(&mut two, 2);
        frames.sort_unstable();
        assert_eq!(frames, [(to_one, frame(3, longest(1400))), (to_one, frame(4, longest(1400)))]);
    }
}

#[test]
fn a_link_that_becomes_narrower_or_wider_is_noticed() {
    let name = "a_link_that_becomes_narrower_or_wider_is_noticed";
    let Some(host) = Namespaces::new(name, &["host"]) else { return };
    host.ip("-n {host} link set lo mtu 1500");
    let address = |last: u8| ([127, 0, 0, last], 4789).into();
    let (mut one, mut two, to_two) = host.within("host", || {
        let mut one = Vtep::bind(&VtepConfig::new(address(1))).unwrap();
        let mut two = Vtep::bind(&VtepConfig::new(address(2))).unwrap();
        let to_two = one.add(tunnel(40, address(2))).unwrap();
        two.add(tunnel(40, address(1))).unwrap();
        (one, two, to_two)
    });
    let send = |one: &mut Vtep, count: u8| {
        for number in 0..count {
            one.send(to_two, &frame(number, 1464));
        }
        flush(one).iter().map(|(_, result)| *result).collect::<Vec<_>>()
    };
    assert_eq!(send(&mut one, 3), [Ok(()); 3]);
    host.ip("-n {host} link set lo mtu 1400");
    assert_eq!(send(&mut one, 3), [Err(DropReason::TooLong); 3]);
    assert_eq!(one.path_mtu(to_two), 1400);
    host.ip("-n {host} link set lo mtu 9000");
    assert_eq!(send(&mut one, 3), [Ok(()); 3]);
    assert_eq!(one.path_mtu(to_two), 9000);
    assert_eq!(receive(&mut two, 6).len(), 6);
    assert_eq!(one.tunnel(to_two).map(|tunnel| tunnel.vni), Some(vni(40)));
}

#[test]
fn a_probe_finds_the_mtu_of_a_path_also_where_the_router_is_silent() {
    let name = "a_probe_finds_the_mtu_of_a_path_also_where_the_router_is_silent";
    for is_silent in [false, true] {
        let Some(hosts) = hosts(name) else { return };
        if is_silent {
            // A route that is wrong about the way back: the router's errors never arrive.
            hosts.ip("-n {router} route replace blackhole 192.0.2.1/32 table 7");
            hosts.ip("-n {router} -6 route replace blackhole 2001:db8:1::1/128 table 7");
            hosts.ip("-n {router} rule add iif lo table 7 pref 1");
            hosts.ip("-n {router} -6 rule add iif lo table 7 pref 1");
        }
        for (_, two) in ADDRESSES {
            let there = two.parse().unwrap();
            let responder = hosts.within("two", || Responder::bind(there).unwrap());
            let found = std::thread::scope(|scope| {
                let mut probe = Probe::new(there);
                probe.patience = std::time::Duration::from_millis(60);
                let hosts = &hosts;
                let asking = scope.spawn(move || {
                    hosts.within("one", || {
                        // Links of IPv6 take a moment to be ready.
                        let answered = |_| matches!(probe.reach().unwrap(), Reach::Answered { .. });
                        assert!((0..100).any(answered), "{probe:?}");
                        probe.path_mtu().unwrap()
                    })
                });
                while !asking.is_finished() {
                    responder.serve(std::time::Duration::from_millis(20)).unwrap();
                }
                asking.join().unwrap()
            });
            assert_eq!(found, Some(PathMtu { path: 1400, route: 1500 }), "silent: {is_silent}, {two}");
        }
    }
}
