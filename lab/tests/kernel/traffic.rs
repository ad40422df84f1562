//! Both hosts by the kernel: guests on one, their switch on the other.

use std::collections::BTreeSet;
use std::process::Output;

use mvpnet_lab::kernel::{self, BridgePlan, Layout};

use crate::namespace::Namespace;
use crate::plan;
use crate::setting::{Need, begin, wait_for};

/// Two guests on the first host, whose bridge is on the second.
struct Lab {
    server1: Namespace,
    server2: Namespace,
    guests: [Namespace; 2],
}

impl Lab {
    fn new(addresses: [&str; 2], mtu: u32) -> Self {
        let bits = if addresses[0].contains(':') { 64 } else { 24 };
        let with_bits = addresses.map(|address| format!("{address}/{bits}"));
        let (server1, server2) = Namespace::two(&with_bits[0], &with_bits[1]);
        let guests_host =
            BridgePlan { layout: Layout::PerGuest, mtu, ..plan(addresses[0], addresses[1], [40, 41]) };
        let switch_host = BridgePlan { mtu, ..plan(addresses[1], addresses[0], [40, 41]) };
        server1.enter(|| kernel::up(&guests_host)).expect("root may make interfaces");
        server2.enter(|| kernel::up(&switch_host)).expect("root may make interfaces");
        let guests = [Namespace::new(), Namespace::new()];
        for (number, guest) in (0..).zip(&guests) {
            let plug = format!("plug{number}");
            server1.ip(&format!("link add name {plug} type veth peer name eth0 netns {}", guest.path()));
            server1.ip(&format!("link set dev {plug} mtu 9000 master mvbr{}", 40 + number));
            server1.ip(&format!("link set dev {plug} up"));
            guest.ip(&format!("address add 10.9.0.{}/24 dev eth0", number + 1));
            guest.ip(&format!("address add fd09::{}/64 dev eth0 nodad", number + 1));
            // It answers with this address only.
            guest.ip("link set dev eth0 addrgenmode none");
            // As a guest that has not been told of the tunnel.
            guest.ip("link set dev eth0 mtu 9000");
            guest.ip("link set dev eth0 up");
        }
        Self { server1, server2, guests }
    }

    /// The first guest pings with a packet of this length, which must not be fragmented.
    fn ping(&self, to: &str, packet_len: u32) -> Output {
        let headers = if to.contains(':') { 48 } else { 28 };
        let data = (packet_len - headers).to_string();
        self.guests[0].run("ping", &["-c1", "-W1", "-Mdo", "-s", &data, to])
    }

    /// Who answers when the first guest pings all nodes (RFC 4291 §2.7.1).
    fn all_nodes(&self) -> BTreeSet<String> {
        let output = self.guests[0].run("ping", &["-c3", "-i0.2", "-W1", "-Ieth0", "ff02::1"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let answers = said.lines().filter_map(|line| line.split("bytes from ").nth(1));
        answers.filter_map(|from| from.split(' ').next()).map(str::to_owned).collect()
    }
}

#[test]
fn guests_meet_on_the_switch_host_and_nowhere_else() {
    if !begin(&[Need::Namespaces, Need::Program("ping")]) {
        return;
    }
    for addresses in [["10.1.0.1", "10.1.0.2"], ["fd00::1", "fd00::2"]] {
        let lab = Lab::new(addresses, if addresses[0].contains(':') { 1430 } else { 1450 });
        for to in ["10.9.0.2", "fd09::2"] {
            wait_for("an answer", || lab.ping(to, 100).status.success().then_some(()));
        }
        let heard = wait_for("an answer from the other guest", || {
            let heard = lab.all_nodes();
            (heard.len() > 1).then_some(heard)
        });
        // Neither host is on the guests' network.
        assert_eq!(heard, ["fd09::1:", "fd09::2:"].map(str::to_owned).into());

        lab.server2.enter(|| kernel::down("cluster")).unwrap();
        assert!(!lab.ping("10.9.0.2", 100).status.success(), "there is no way inside of the guests' host");
        lab.server1.enter(|| kernel::down("cluster")).unwrap();
        assert_eq!(lab.server1.interfaces(), ["eth0", "plug0", "plug1"]);
        assert_eq!(lab.server2.interfaces(), ["eth0"]);
    }
}

#[test]
fn a_packet_of_the_mtu_passes_and_one_byte_more_is_told() {
    if !begin(&[Need::Namespaces, Need::Program("ping")]) {
        return;
    }
    for (addresses, mtu) in [(["10.1.0.1", "10.1.0.2"], 1450), (["fd00::1", "fd00::2"], 1430)] {
        let lab = Lab::new(addresses, mtu);
        for to in ["10.9.0.2", "fd09::2"] {
            wait_for("an answer", || lab.ping(to, mtu).status.success().then_some(()));
            wait_for("the news of the MTU", || {
                let output = lab.ping(to, mtu + 1);
                assert!(!output.status.success(), "{output:?}");
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said).to_string();
                // From the path ("Frag needed … mtu = 1450"), then from the guest's own memory ("mtu=1450", "mtu:
                // 1450").
                said.split(|c: char| !c.is_ascii_digit())
                    .any(|number| number == mtu.to_string())
                    .then_some(())
            });
        }
    }
}
