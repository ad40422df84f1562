//! Peers as people name them, rightly and wrongly.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> (Option<String>, String, Option<u16>) {
    let peer: Peer = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    (peer.vnis.map(|vnis| vnis.to_string()), peer.host, peer.port)
}

fn error(text: &str) -> String {
    text.parse::<Peer>().unwrap_err().to_string()
}

#[test]
fn a_peer_is_a_host_with_perhaps_vnis_in_front_and_a_port_behind() {
    for (text, vnis, host, port) in [
        ("server1", None, "server1", None),
        ("server1.lab.example:14789", None, "server1.lab.example", Some(14789)),
        ("192.0.2.1", None, "192.0.2.1", None),
        ("40-43,60:server1", Some("40-43,60"), "server1", None),
        ("60:192.0.2.1:14789", Some("60"), "192.0.2.1", Some(14789)),
        ("[2001:db8::1]", None, "2001:db8::1", None),
        ("40:[fe80::1%eth0]:5", Some("40"), "fe80::1%eth0", Some(5)),
        ("10-0-0-1", None, "10-0-0-1", None),
    ] {
        assert_eq!(read(text), (vnis.map(str::to_owned), host.to_owned(), port), "{text}");
    }
}

#[test]
fn an_ipv6_address_needs_brackets_and_the_error_shows_how() {
    assert_eq!(error("fd00::1"), "`fd00::1`: an IPv6 address stands in brackets: [fd00::1]");
    assert!(error("40-43:fd00::1").ends_with("brackets: 40-43:[fd00::1]"));
    assert!(error("40:fd00::1").ends_with("[40:fd00::1], or 40:[fd00::1] if it begins with VNIs"));
    assert!(error("[server1]").contains("brackets are for an IPv6 address"));
    assert!(error("[fd00::1").contains("brackets are for an IPv6 address"));
    assert!(error("[fd00::1]4789").contains("brackets are for an IPv6 address"));
}

#[test]
fn what_is_no_peer_is_said_with_what_was_typed() {
    for (text, says) in [
        ("", "`` names no host: write HOST, 40-43:HOST or 40-43:HOST:PORT"),
        ("40-43:", "`40-43:` names no host"),
        (":4789", "`:4789` names no host"),
        ("43-40:server1", "`43-40:server1`: the VNI list `43-40` runs backwards at `43-40`"),
        ("40,:server1", "`40,:server1`: the VNI list `40,` names no VNI at ``: write it like 40-43,60"),
        ("server1:0", "`server1:0`: `0` is no UDP port: those are 1 to 65535"),
        ("server1:x", "`x` is no UDP port"),
        ("server1:", "`` is no UDP port"),
        ("server1:1:2", "`1:2` is no UDP port"),
        ("10.0.0", "`10.0.0`: `10.0.0` is neither a host's name nor an address"),
        ("40:4789", "`40:4789`: `4789` is neither a host's name nor an address"),
        ("40 server1", "`40 server1` is neither a host's name nor an address"),
        ("-x", "`-x` is neither"),
    ] {
        assert!(error(text).contains(says), "{text}: {}", error(text));
    }
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(
        vnis in proptest::option::of((0u32..9000, 0u32..50)),
        host in "[a-z][a-z0-9]{0,8}(\\.[a-z]{1,5})?|10\\.[0-9]\\.[0-9]\\.[0-9]|fd00::[0-9a-f]{1,4}",
        port in proptest::option::of(1u16..),
    ) {
        let vnis = vnis.map(|(first, more)| format!("{first}-{}", first + more).parse().unwrap());
        let peer = Peer { vnis, host, port, line: None };
        prop_assert_eq!(peer.to_string().parse(), Ok(peer));
    }

    #[test]
    fn no_text_is_too_strange(text in ".*", like in "[-0-9,:\\[\\]%.a-f]{0,24}") {
        let _ = text.parse::<Peer>();
        let _ = like.parse::<Peer>();
    }
}
