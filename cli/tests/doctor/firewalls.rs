//! Rules that block the tunnels' port, seen from the host itself and from the other end.

use mvpnet_lab::doctor::Status;

use crate::{Servers, fault, found_and_mended, line};

/// A table with a chain at the input that lets everything pass.
const TABLE: &str =
    "nft add table inet f && nft 'add chain inet f in { type filter hook input priority 0 ; }'";

#[test]
fn a_rule_of_nft_that_drops_the_port_is_passed_by_another_before_it() {
    let Some(servers) = Servers::up(&["nft"]) else { return };
    let mut shell = servers.shell("server1");
    shell.must(TABLE);
    let plant = "nft add rule inet f in udp dport '{ 53, 4789 }' counter drop";
    found_and_mended(&mut shell, plant, "", "firewall", Status::Failure, "blocked: by rule ");
    // Another port is not let pass by that.
    let other = shell.doctor("--vxlan-port 53");
    assert_eq!(line(&other, "firewall", "server1", None).status, Status::Failure);
}

#[test]
fn a_policy_of_nft_that_drops_all_lets_the_port_pass() {
    let Some(servers) = Servers::up(&["nft"]) else { return };
    let mut shell = servers.shell("server1");
    shell.must(TABLE);
    shell.must("nft add rule inet f in ct state established,related accept");
    let plant = "nft 'add chain inet f in { policy drop ; }'";
    found_and_mended(&mut shell, plant, "", "firewall", Status::Failure, "the policy of inet f in is drop");
}

#[test]
fn a_policy_of_iptables_that_drops_all_lets_the_port_pass() {
    let Some(servers) = Servers::up(&["iptables"]) else { return };
    let mut shell = servers.shell("server1");
    shell.must("iptables -A INPUT -i lo -j ACCEPT && iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
    let seen = "the policy of iptables's INPUT is DROP";
    found_and_mended(&mut shell, "iptables -P INPUT DROP", "", "firewall", Status::Failure, seen);
}

#[test]
fn a_port_that_the_far_end_blocks_is_found_by_probes_and_mended_from_here() {
    let Some(servers) = Servers::up(&["nft"]) else { return };
    let (mut here, mut there) = (servers.shell("server1"), servers.shell("server2"));
    let words = format!("{} server2", servers.ssh());
    let before = here.doctor(&words);
    for (host, peer) in [("server1", "server2"), ("server2", "server1")] {
        for check in ["probe", "path-mtu"] {
            assert_eq!(line(&before, check, host, Some(peer)).status, Status::Ok);
        }
    }
    there.must(TABLE);
    there.must("nft add rule inet f in udp dport 4789 drop");
    let found = here.doctor(&words);
    assert_eq!(line(&found, "firewall", "server2", None).status, Status::Failure);
    assert_eq!(line(&found, "firewall", "server1", None).status, Status::Ok);
    let (seen, mend) = fault(line(&found, "probe", "server1", Some("server2")), Status::Failure);
    assert!(seen.contains("does not answer"), "{seen}");
    // The other way is free.
    assert_eq!(line(&found, "probe", "server2", Some("server1")).status, Status::Ok);
    here.must(&mend);
    let mended = here.doctor(&words);
    assert_eq!(line(&mended, "probe", "server1", Some("server2")).status, Status::Ok);
    assert_eq!(line(&mended, "firewall", "server2", None).status, Status::Ok);
}

#[test]
fn an_ordinary_user_is_told_that_rules_are_hidden() {
    let Some(servers) = Servers::up(&["nft", "setpriv"]) else { return };
    let mut shell = servers.shell("server1");
    // The program may lie where only root gets.
    shell.must("install -D \"$(command -v mvpnet)\" /tmp/$$/mvpnet && chmod 755 /tmp/$$");
    let as_nobody = "PATH=/tmp/$$:$PATH setpriv --reuid 65534 --regid 65534 --clear-groups";
    let found = shell.doctor_by(as_nobody, "");
    shell.must("rm -r /tmp/$$");
    let hidden = line(&found, "firewall", "server1", None);
    assert_eq!((hidden.status, hidden.mend.as_deref()), (Status::Warning, Some("sudo mvpnet doctor")));
}
