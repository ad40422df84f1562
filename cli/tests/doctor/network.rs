//! Ports, MTUs, settings of the kernel, and names.

use mvpnet_lab::doctor::Status;

use crate::{Servers, fault, found_and_mended, line};

/// Not a test: the process that holds a port, started by the tests of taken ports as `HOLD=PROTOCOL:PORT TEST`.
#[test]
#[ignore = "what other tests start"]
fn hold_a_port() {
    let wanted = std::env::var("HOLD").unwrap();
    let (protocol, port) = wanted.split_once(':').unwrap();
    let address = ("127.0.0.1", port.parse().unwrap());
    match protocol {
        "udp" => {
            let socket = std::net::UdpSocket::bind(("0.0.0.0", address.1)).unwrap();
            println!("held");
            socket.recv(&mut [0]).unwrap();
        }
        _ => {
            let listener = std::net::TcpListener::bind(address).unwrap();
            println!("held");
            listener.accept().unwrap();
        }
    }
}

/// Starts the holder in the background, and waits until it holds.
fn hold(port: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let arguments = "--exact network::hold_a_port --ignored --nocapture --test-threads 1";
    format!(
        "read -r held < <(HOLD={port} {} {arguments} | grep --line-buffered -m 1 held)",
        program.display()
    )
}

#[test]
fn who_holds_the_tunnels_port_is_ended() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut shell = servers.shell("server1");
    let seen = "UDP port 4789 is taken by ";
    found_and_mended(&mut shell, &hold("udp:4789"), "", "vxlan-port", Status::Failure, seen);
}

#[test]
fn who_holds_a_guests_ssh_port_is_ended() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut shell = servers.shell("server1");
    shell.must("ip link set lo up");
    let seen = "127.0.0.1:2201 is taken by ";
    found_and_mended(&mut shell, &hold("tcp:2201"), "--ranks 4", "ssh-ports", Status::Warning, seen);
}

#[test]
fn a_vxlan_interface_of_the_kernel_that_has_the_port_is_removed() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut shell = servers.shell("server1");
    let plant =
        "ip link add vx7 type vxlan id 7 dstport 4789 remote 192.0.2.2 local 192.0.2.1 && ip link set vx7 up";
    found_and_mended(&mut shell, plant, "", "vxlan-port", Status::Warning, "the vxlan interfaces vx7");
}

#[test]
fn frames_in_bridges_are_kept_from_the_rules_for_packets() {
    let Some(servers) = Servers::up(&["sysctl", "iptables"]) else { return };
    let mut shell = servers.shell("server1");
    if shell.run("sysctl -qw net.bridge.bridge-nf-call-iptables=0").0 != 0 {
        crate::servers::skip("the kernel has no br_netfilter");
        return;
    }
    let plant = "sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1";
    let seen = "bridge-nf-call-iptables, bridge-nf-call-ip6tables: on";
    found_and_mended(&mut shell, plant, "", "bridge-nf", Status::Warning, seen);
    // What Docker leaves behind drops every frame.
    shell.must("iptables -P FORWARD DROP");
    found_and_mended(&mut shell, plant, "", "bridge-nf", Status::Failure, "passes nothing");
}

#[test]
fn a_gateway_that_does_not_forward_is_made_to() {
    let Some(servers) = Servers::up(&["sysctl"]) else { return };
    let mut shell = servers.shell("server1");
    let plant = "sysctl -qw net.ipv4.ip_forward=0 && ip link add br7 type bridge && ip address add 10.7.0.1/24 dev br7";
    found_and_mended(&mut shell, plant, "", "ip-forward", Status::Warning, "br7 has an address");
}

#[test]
fn a_strict_reverse_path_filter_is_loosened() {
    let Some(servers) = Servers::up(&["sysctl"]) else { return };
    let mut shell = servers.shell("server1");
    shell.must("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
    let plant = "ip link add eth1 type veth peer name far && ip link set far up && ip link set eth1 up && \
                 sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth1.rp_filter=0 net.ipv4.conf.far.rp_filter=0";
    found_and_mended(&mut shell, plant, "", "rp-filter", Status::Warning, "strict) on eth0");
}

#[test]
fn a_small_receive_buffer_is_raised() {
    let Some(servers) = Servers::up(&["sysctl"]) else { return };
    let mut shell = servers.shell("server1");
    // The setting is the whole machine's: the shell gets a file in its place, which the mending command writes to.
    shell.must("mkdir -p /tmp/$$ && mount -t tmpfs none /tmp/$$ && echo 8388608 >/tmp/$$/rmem_max");
    shell.must("mount --bind /tmp/$$/rmem_max /proc/sys/net/core/rmem_max");
    let plant = "echo 212992 >/tmp/$$/rmem_max";
    found_and_mended(&mut shell, plant, "", "rmem-max", Status::Warning, "rmem_max is 212992");
    shell.must("umount -l /tmp/$$ && rmdir /tmp/$$");
}

#[test]
fn a_low_mtu_of_the_interface_is_raised() {
    let Some(servers) = Servers::up(&[]) else { return };
    let (mut here, mut there) = (servers.shell("server1"), servers.shell("server2"));
    let words = format!("{} server2", servers.ssh());
    here.must("ip link set dev eth0 mtu 1400");
    there.must("ip link set dev eth0 mtu 1300");
    let found = here.doctor(&words);
    let (seen, mend) = fault(line(&found, "mtu", "server1", Some("server2")), Status::Warning);
    assert!(seen.contains("whose MTU is 1400: guests get 1350"), "{seen}");
    here.must(&mend);
    // The other end is told where it is looked at.
    let found = there.doctor(&format!("{} server1", servers.ssh()));
    let (seen, mend) = fault(line(&found, "mtu", "server2", Some("server1")), Status::Failure);
    assert!(seen.contains("1250, too little for IPv6"), "{seen}");
    there.must(&mend);
    let mended = here.doctor(&words);
    for check in ["mtu", "path-mtu"] {
        assert_eq!(line(&mended, check, "server1", Some("server2")).status, Status::Ok);
    }
}

#[test]
fn a_path_that_swallows_long_packets_gets_an_mtu_of_its_own() {
    let Some(servers) = Servers::up(&[]) else { return };
    let (mut here, mut there) = (servers.shell("server1"), servers.shell("server2"));
    let words = format!("{} server2", servers.ssh());
    // What arrives there and is longer is dropped, and nobody says so.
    there.must("ip link set dev eth0 mtu 1400");
    let found = here.doctor(&words);
    let way = line(&found, "path-mtu", "server1", Some("server2"));
    let (seen, mend) = fault(way, Status::Failure);
    assert!(seen.contains("though the route promises 1500"), "{seen}");
    here.must(&mend);
    let mended = here.doctor(&words);
    for check in ["mtu", "path-mtu", "probe"] {
        let well = line(&mended, check, "server1", Some("server2"));
        assert_eq!(well.status, Status::Ok, "{well:#?}");
    }
}

#[test]
fn a_name_that_another_host_does_not_know_is_written_down_there() {
    let Some(servers) = Servers::up(&[]) else { return };
    let (mut here, mut there) = (servers.shell("server1"), servers.shell("server2"));
    let words = format!("{} server1 server2", servers.ssh());
    let before = here.doctor(&words);
    assert_eq!(line(&before, "name", "server2", Some("server1")).status, Status::Ok);
    there.must("kept=$(grep -v server1 /etc/hosts) && echo \"$kept\" >/etc/hosts");
    let found = here.doctor(&words);
    let (seen, mend) = fault(line(&found, "name", "server2", Some("server1")), Status::Failure);
    assert!(seen.contains("server1 does not resolve"), "{seen}");
    assert_eq!(mend, "echo '192.0.2.1 server1' | tee -a /etc/hosts");
    there.must(&mend);
    assert_eq!(line(&here.doctor(&words), "name", "server2", Some("server1")).status, Status::Ok);
}

#[test]
fn a_name_that_leads_back_here_is_replaced() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut here = servers.shell("server1");
    here.must(
        "kept=$(grep -v server2 /etc/hosts) && printf '%s\\n127.0.1.1 server2\\n' \"$kept\" >/etc/hosts",
    );
    let words = format!("{} server2=192.0.2.2", servers.ssh());
    let found = here.doctor(&words);
    let (seen, mend) = fault(line(&found, "name", "server1", Some("server2")), Status::Failure);
    assert!(seen.contains("127.0.1.1, which is this host itself"), "{seen}");
    here.must(&mend);
    let mended = here.doctor(&words);
    for check in ["name", "probe"] {
        assert_eq!(line(&mended, check, "server1", Some("server2")).status, Status::Ok);
    }
}

#[test]
fn the_hosts_own_name_is_written_down() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut shell = servers.shell("server1");
    let plant = "kept=$(grep -v server1 /etc/hosts) && echo \"$kept\" >/etc/hosts";
    found_and_mended(&mut shell, plant, "", "own-name", Status::Warning, "server1 does not resolve");
}
