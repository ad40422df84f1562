//! The same as `ip` commands (ip-link(8)), for those who want to see or to run them themselves.

use std::fmt::Write;

use super::error::Error;
use super::names::{self, Mark};
use super::plan::BridgePlan;
use super::wanted::{self, BRIDGE, Wanted, WantedKind, WantedTunnel};

/// Commands for `sh`, each text complete in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Makes all interfaces, on a host where none of them is. Ends at the first failure.
    pub up: String,
    /// Removes them.
    pub down: String,
}

/// What [`up()`](super::up) and [`down()`](super::down) do, as commands. What these make, `down` and
/// [`state()`](super::state) know as ours.
pub fn print(plan: &BridgePlan) -> Result<Script, Error> {
    let wanted = wanted::wanted(plan)?;
    let mark = Mark::new(&plan.name);
    let mut up = String::from("set -e\n");
    for wanted in &wanted {
        make(&mut up, wanted, &mark).expect("writing to a string does not fail");
    }
    let down = wanted.iter().rev().map(|wanted| format!("ip link delete dev {}\n", wanted.name)).collect();
    Ok(Script { up, down })
}

fn make(text: &mut String, wanted: &Wanted, mark: &Mark) -> std::fmt::Result {
    let Wanted { name, mtu, master, kind } = wanted;
    match kind {
        WantedKind::Bridge => writeln!(text, "ip link add name {name} type bridge {}", bridge())?,
        WantedKind::Vxlan(tunnel) => writeln!(text, "ip link add name {name} type vxlan {}", vxlan(tunnel))?,
    }
    write!(text, "ip link set dev {name} alias {} mtu {mtu}", mark.alias)?;
    if let Some(master) = master {
        write!(text, " master {master}")?;
    }
    writeln!(text)?;
    // The guests' network is none of the host's. (Where there is no IPv6, the kernel refuses to hear of it.)
    writeln!(text, "[ ! -e /proc/net/if_inet6 ] || ip link set dev {name} addrgenmode none")?;
    if *kind == WantedKind::Bridge {
        writeln!(text, "[ ! -e /proc/net/if_inet6 ] || echo 0 >{}", names::accept_ra(name))?;
    }
    writeln!(text, "ip link set dev {name} up")
}

fn bridge() -> String {
    let number = u8::from;
    format!(
        "stp_state {} forward_delay {} mcast_snooping {}",
        number(BRIDGE.stp),
        BRIDGE.forward_delay,
        number(BRIDGE.snooping)
    )
}

fn vxlan(tunnel: &WantedTunnel) -> String {
    let settings = tunnel.settings(None);
    let mut words = vec![format!("id {}", settings.vni)];
    words.extend(tunnel.device.as_ref().map(|device| format!("dev {device}")));
    words.extend(settings.local.map(|local| format!("local {local}")));
    words.extend(settings.peer.map(|peer| format!("remote {peer}")));
    words.push(format!("dstport {}", settings.port));
    words.push(if settings.learning { "learning" } else { "nolearning" }.to_owned());
    words.push(if settings.sums { "udpcsum" } else { "noudpcsum" }.to_owned());
    if settings.accepts_no_sum6 {
        words.push("udp6zerocsumrx".to_owned());
    }
    if settings.df {
        words.push("df set".to_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use mvpnet_switch::Vni;

    use super::super::plan::{Layout, Tunnel};
    use super::*;

    fn plan(local: &str, peer: &str) -> BridgePlan {
        BridgePlan {
            local: Some(local.parse().unwrap()),
            tunnels: vec![Tunnel { vni: Vni::new(40).unwrap(), peer: peer.parse().unwrap() }],
            ..BridgePlan::new("cluster")
        }
    }

    #[test]
    fn the_switch_host_has_one_bridge() {
        let script = print(&plan("10.0.0.2", "10.0.0.1")).unwrap();
        insta::assert_snapshot!(script.up, @"
        set -e
        ip link add name br-cluster type bridge stp_state 0 forward_delay 0 mcast_snooping 0
        ip link set dev br-cluster alias mvpnet:cluster mtu 1450
        [ ! -e /proc/net/if_inet6 ] || ip link set dev br-cluster addrgenmode none
        [ ! -e /proc/net/if_inet6 ] || echo 0 >/proc/sys/net/ipv6/conf/br-cluster/accept_ra
        ip link set dev br-cluster up
        ip link add name vxlan40 type vxlan id 40 local 10.0.0.2 remote 10.0.0.1 dstport 4789 nolearning udpcsum df set
        ip link set dev vxlan40 alias mvpnet:cluster mtu 9216 master br-cluster
        [ ! -e /proc/net/if_inet6 ] || ip link set dev vxlan40 addrgenmode none
        ip link set dev vxlan40 up
        ");
        insta::assert_snapshot!(script.down, @"
        ip link delete dev vxlan40
        ip link delete dev br-cluster
        ");
    }

    #[test]
    fn the_guests_host_has_a_bridge_per_guest() {
        let plan = BridgePlan {
            layout: Layout::PerGuest,
            device: Some("eth0".to_owned()),
            mtu: 8930,
            port: 14789,
            ..plan("fe80::1", "fe80::2")
        };
        let script = print(&plan).unwrap();
        insta::assert_snapshot!(script.up, @"
        set -e
        ip link add name mvbr40 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
        ip link set dev mvbr40 alias mvpnet:cluster mtu 8930
        [ ! -e /proc/net/if_inet6 ] || ip link set dev mvbr40 addrgenmode none
        [ ! -e /proc/net/if_inet6 ] || echo 0 >/proc/sys/net/ipv6/conf/mvbr40/accept_ra
        ip link set dev mvbr40 up
        ip link add name vxlan40 type vxlan id 40 dev eth0 local fe80::1 remote fe80::2 dstport 14789 nolearning udpcsum udp6zerocsumrx
        ip link set dev vxlan40 alias mvpnet:cluster mtu 8930 master mvbr40
        [ ! -e /proc/net/if_inet6 ] || ip link set dev vxlan40 addrgenmode none
        ip link set dev vxlan40 up
        ");
        insta::assert_snapshot!(script.down, @"
        ip link delete dev vxlan40
        ip link delete dev mvbr40
        ");
    }

    #[test]
    fn what_makes_no_sense_is_not_printed() {
        assert!(print(&BridgePlan::new("no good")).is_err());
    }
}
