use serde_json::json;

use super::*;
use crate::doctor::finding::Status;

const PORT: u16 = 4789;

fn machine() -> Machine {
    Machine::default()
}

fn peer() -> IpAddr {
    [192, 0, 2, 2].into()
}

/// A ruleset of one chain at the input, with these rules.
fn nft(policy: &str, rules: &[Value]) -> Firewall {
    let mut objects = vec![
        json!({"metainfo": {"version": "1.0.6"}}),
        json!({"table": {"family": "inet", "name": "f"}}),
        json!({"chain": {"family": "inet", "table": "f", "name": "in", "type": "filter", "hook": "input",
            "prio": 0, "policy": policy}}),
        json!({"chain": {"family": "inet", "table": "f", "name": "called"}}),
        json!({"set": {"family": "inet", "table": "f", "name": "ports", "elem": [53, {"range": [4700, 4800]}]}}),
    ];
    for (handle, expr) in rules.iter().enumerate() {
        let chain = if expr[0].get("in called").is_some() { "called" } else { "in" };
        let expr: Vec<&Value> =
            expr.as_array().unwrap().iter().filter(|part| part.get("in called").is_none()).collect();
        let rule = json!({"family": "inet", "table": "f", "chain": chain, "handle": handle, "expr": expr});
        objects.push(json!({ "rule": rule }));
    }
    Firewall { nft: Rules::Seen(json!({ "nftables": objects }).to_string()), iptables: Vec::new() }
}

fn iptables(listing: &str) -> Firewall {
    Firewall { nft: Rules::None, iptables: vec![("iptables", Rules::Seen(listing.to_owned()))] }
}

fn dport(right: Value) -> Value {
    json!({"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": right}})
}

fn saddr(right: Value) -> Value {
    json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": right}})
}

fn check(firewall: &Firewall) -> Verdict {
    firewall.check(&machine(), PORT, &[peer()])
}

fn blocks(rules: &[Value]) -> bool {
    check(&nft("accept", rules)).status == Status::Failure
}

#[test]
fn a_rule_that_drops_the_port_is_found_and_one_before_it_mends_it() {
    let verdict = check(&nft("accept", &[json!([dport(json!(4789)), {"counter": null}, {"drop": null}])]));
    assert_eq!(verdict.status, Status::Failure);
    assert_eq!(verdict.seen, "UDP port 4789 is blocked: by rule 0 of inet f in");
    assert_eq!(verdict.mend.unwrap(), "sudo nft insert rule inet f in udp dport 4789 accept");
}

#[test]
fn a_policy_of_drop_is_found() {
    let verdict = check(&nft("drop", &[]));
    assert_eq!(verdict.seen, "UDP port 4789 is blocked: the policy of inet f in is drop");
    assert_eq!(check(&nft("drop", &[json!([dport(json!(4789)), {"accept": null}])])).status, Status::Ok);
}

#[test]
fn ports_match_by_number_set_range_and_name_of_a_set() {
    for right in [json!({"set": [53, 4789]}), json!({"range": [4000, 5000]}), json!("@ports")] {
        assert!(blocks(&[json!([dport(right.clone()), {"drop": null}])]), "{right}");
    }
    for right in [json!(53), json!({"range": [1, 1023]}), json!("@unknown")] {
        assert!(!blocks(&[json!([dport(right.clone()), {"drop": null}])]), "{right}");
    }
    let above = json!({"match": {"op": ">", "left": {"payload": {"protocol": "th", "field": "dport"}}, "right": 1024}});
    assert!(blocks(&[json!([above, {"reject": null}])]));
}

#[test]
fn other_protocols_loopback_and_known_connections_are_not_ours() {
    let tcp = json!({"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}});
    let lo = json!({"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}});
    let known =
        json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}});
    let invalid = json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}});
    for part in [tcp, lo, known, invalid] {
        assert!(!blocks(&[json!([part.clone(), {"drop": null}])]), "{part}");
        assert_eq!(check(&nft("drop", &[json!([part, {"accept": null}])])).status, Status::Failure);
    }
}

#[test]
fn a_sender_is_looked_up_where_it_is_known() {
    let lan = json!({"prefix": {"addr": "192.0.2.0", "len": 24}});
    let accept = json!([saddr(lan), {"accept": null}]);
    let firewall = nft("drop", &[accept]);
    assert_eq!(check(&firewall).status, Status::Ok);
    assert_eq!(firewall.check(&machine(), PORT, &[[10, 0, 0, 1].into()]).status, Status::Failure);
    // Nobody knows who will send.
    assert_eq!(firewall.check(&machine(), PORT, &[]).status, Status::Warning);
}

#[test]
fn chains_and_maps_of_verdicts_are_followed() {
    let jump = json!([{"jump": {"target": "called"}}]);
    assert!(blocks(&[jump, json!([{"in called": null}, dport(json!(4789)), {"drop": null}])]));
    let vmap = json!([{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": [
        ["tcp", {"accept": null}], ["udp", {"jump": {"target": "called"}}]]}}}]);
    assert!(blocks(&[vmap, json!([{"in called": null}, {"drop": null}])]));
}

#[test]
fn a_limit_on_too_many_datagrams_does_not_block_the_port() {
    let limit = json!({"limit": {"rate": 10, "per": "second", "inv": true}});
    assert!(!blocks(&[json!([dport(json!(4789)), limit, {"drop": null}])]));
}

#[test]
fn iptables_rules_are_understood_too() {
    let rule = "-P INPUT ACCEPT\n-A INPUT -p udp -m udp --dport 4789 -j DROP\n";
    let verdict = check(&iptables(rule));
    assert_eq!(verdict.status, Status::Failure);
    assert!(verdict.seen.ends_with("iptables has `-A INPUT -p udp -m udp --dport 4789 -j DROP`"));
    assert_eq!(verdict.mend.unwrap(), "sudo iptables -I INPUT -p udp --dport 4789 -j ACCEPT");
    for passes in [
        "-A INPUT -p tcp -m tcp --dport 4789 -j DROP",
        "-A INPUT -p udp -m multiport --dports 53,5000:6000 -j DROP",
        "-A INPUT -i lo -j DROP",
        "-A INPUT -m conntrack --ctstate INVALID -j DROP",
        "-A INPUT ! -s 192.0.2.0/24 -j DROP",
        "-A INPUT -s 198.51.100.7/32 -j DROP",
        "-A INPUT -m comment --comment \"drop -j DROP\" -j LOG",
    ] {
        assert_eq!(check(&iptables(passes)).status, Status::Ok, "{passes}");
    }
    for drops in [
        "-A INPUT -p udp -m multiport --dports 53,4000:5000 -m conntrack --ctstate NEW -j REJECT --reject-with x",
        "-A INPUT ! -i lo -p udp -j DROP",
        "-A INPUT ! -p tcp -j DROP",
        "-N own\n-A INPUT -j own\n-A own -s 192.0.2.0/24 -j DROP",
        "-P INPUT DROP\n-A INPUT -p icmp -j ACCEPT",
        "-P OUTPUT DROP",
    ] {
        assert_eq!(check(&iptables(drops)).status, Status::Failure, "{drops}");
    }
}

#[test]
fn what_ufw_has_written_is_changed_with_ufw() {
    let ufw = "-P INPUT DROP\n-N ufw-before-input\n-A INPUT -j ufw-before-input\n";
    assert_eq!(check(&iptables(ufw)).mend.unwrap(), "sudo ufw allow 4789/udp");
}

#[test]
fn an_ordinary_user_is_told_what_could_not_be_seen() {
    let hidden = Firewall { nft: Rules::Hidden, iptables: vec![("iptables", Rules::Hidden)] };
    let verdict = check(&hidden);
    assert_eq!((verdict.status, verdict.mend.as_deref()), (Status::Warning, Some("sudo mvpnet doctor")));
    assert_eq!(hidden.forward_drops(&machine()), None);
    assert_eq!(check(&Firewall::default()).status, Status::Ok);
}

#[test]
fn rules_for_forwarded_packets_are_seen() {
    assert_eq!(iptables("-P FORWARD DROP\n").forward_drops(&machine()), Some(true));
    assert_eq!(iptables("-P FORWARD ACCEPT\n").forward_drops(&machine()), Some(false));
}

#[test]
fn an_address_is_in_its_network() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(in_prefix(ip("192.0.2.9"), ip("192.0.2.0"), 24) && in_prefix(ip("192.0.2.9"), ip("0.0.0.0"), 0));
    assert!(!in_prefix(ip("192.0.3.9"), ip("192.0.2.0"), 24) && !in_prefix(ip("::1"), ip("0.0.0.0"), 0));
    assert!(in_prefix(ip("2001:db8::9"), ip("2001:db8::"), 64) && !in_prefix(ip("::1"), ip("::2"), 128));
}
