//! Settings of the kernel that drop or slow what passes between servers.

use super::finding::Verdict;
use super::machine::Machine;
use super::system::System;

/// Receive buffer that a tunnel's socket asks for, in bytes.
const BUFFER: u64 = 8 << 20;
/// Half of it does: the kernel doubles what is asked for (socket(7)).
const LEAST_BUFFER: u64 = BUFFER / 2;

/// The bridge-nf-call switches, by what they hand frames to.
const CALLS: [&str; 3] = ["iptables", "ip6tables", "arptables"];

/// What the kernel is set to. None: it has no such setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// Those of bridge-nf-call-… that are on; none: br_netfilter is not loaded.
    pub bridge_nf: Option<Vec<&'static str>>,
    /// net.ipv4.ip_forward.
    pub ip_forward: Option<bool>,
    /// Bridges that have an IPv4 address: this host is their gateway.
    pub gateways: Vec<String>,
    /// Interfaces with a strict reverse path filter (RFC 3704 §2.2).
    pub strict: Vec<String>,
    /// Interfaces that are up, but for loopback and those that belong to bridges.
    pub interfaces: Vec<String>,
    /// net.core.rmem_max.
    pub rmem_max: Option<u64>,
}

impl Sysctls {
    /// Looks.
    pub fn read(system: &System) -> Self {
        let is_on =
            |call: &&str| system.number(format!("/proc/sys/net/bridge/bridge-nf-call-{call}")) == Some(1);
        let has_bridge_nf = system.path("/proc/sys/net/bridge").is_dir();
        let links = system.names("/sys/class/net");
        let is_bridge = |link: &String| system.path(format!("/sys/class/net/{link}/bridge")).is_dir();
        let addressed = addressed(system);
        let is_up = |link: &String| {
            let state = system.text(format!("/sys/class/net/{link}/operstate")).unwrap_or_default();
            link != "lo"
                && matches!(state.trim(), "up" | "unknown")
                && !system.path(format!("/sys/class/net/{link}/master")).exists()
        };
        let filter =
            |link: &str| system.number(format!("/proc/sys/net/ipv4/conf/{link}/rp_filter")).unwrap_or(0);
        let for_all = filter("all");
        // The larger of both is in force; 1 is strict, 2 is loose (the kernel's ip-sysctl document).
        let is_strict = |link: &&String| for_all.max(filter(link)) == 1;
        let interfaces: Vec<String> = links.iter().filter(|link| is_up(link)).cloned().collect();
        Self {
            bridge_nf: has_bridge_nf.then(|| CALLS.into_iter().filter(is_on).collect()),
            ip_forward: system.number("/proc/sys/net/ipv4/ip_forward").map(|value| value != 0),
            gateways: links
                .iter()
                .filter(|link| is_bridge(link) && addressed.contains(link))
                .cloned()
                .collect(),
            strict: interfaces.iter().filter(is_strict).cloned().collect(),
            interfaces,
            rmem_max: system.number("/proc/sys/net/core/rmem_max"),
        }
    }

    /// With these on, frames that a kernel bridge passes meet rules that were written for routed packets.
    /// `forward_drops` says whether such rules were seen to drop.
    pub fn check_bridge_nf(&self, machine: &Machine, forward_drops: Option<bool>) -> Verdict {
        let Some(on) = &self.bridge_nf else {
            return Verdict::ok("br_netfilter is not loaded: frames in kernel bridges meet no rules");
        };
        if on.is_empty() {
            return Verdict::ok("bridge-nf-call-iptables, -ip6tables and -arptables are off");
        }
        let settings: Vec<String> =
            on.iter().map(|call| format!("net.bridge.bridge-nf-call-{call}=0")).collect();
        let mend = Some(machine.as_root(&format!("sysctl -w {}", settings.join(" "))));
        let on = on.iter().map(|call| format!("bridge-nf-call-{call}")).collect::<Vec<_>>().join(", ");
        match forward_drops {
            Some(true) => {
                let seen =
                    format!("{on}: on, and rules for forwarded packets drop: a kernel bridge passes nothing");
                Verdict::failure(seen, mend)
            }
            _ => Verdict::warning(
                format!("{on}: on, so that frames in kernel bridges meet the rules for packets"),
                mend,
            ),
        }
    }

    /// Nothing of ours is routed; a bridge that is a gateway needs it.
    pub fn check_ip_forward(&self, machine: &Machine) -> Verdict {
        match (self.ip_forward, self.gateways.as_slice()) {
            (Some(false), [_, ..]) => {
                let seen = format!(
                    "ip_forward is 0 while {} has an address: who has it as a gateway gets no further",
                    self.gateways.join(", ")
                );
                Verdict::warning(seen, Some(machine.as_root("sysctl -w net.ipv4.ip_forward=1")))
            }
            (Some(false), []) => {
                Verdict::ok("ip_forward is 0, and nothing here is a gateway that would need it")
            }
            (Some(true), _) => Verdict::ok("ip_forward is 1"),
            (None, _) => Verdict::ok("this kernel has no IPv4 forwarding"),
        }
    }

    /// A strict filter drops what comes in by another interface than answers would leave by.
    pub fn check_rp_filter(&self, machine: &Machine) -> Verdict {
        if self.strict.is_empty() {
            return Verdict::ok("no interface has a strict reverse path filter");
        }
        let strict = self.strict.join(", ");
        if self.interfaces.len() < 2 {
            return Verdict::ok(format!("rp_filter is strict on {strict}, the only interface"));
        }
        let seen = format!(
            "rp_filter is 1 (strict) on {strict}, and there are {} interfaces: a tunnel whose ways there and back \
             differ is dropped",
            self.interfaces.len()
        );
        Verdict::warning(seen, Some(machine.as_root("sysctl -w net.ipv4.conf.all.rp_filter=2")))
    }

    /// A socket gets no larger buffer than this.
    pub fn check_rmem_max(&self, machine: &Machine) -> Verdict {
        match self.rmem_max {
            Some(max) if max < LEAST_BUFFER => {
                let seen = format!(
                    "net.core.rmem_max is {max}: a tunnel's receive buffer can be no larger, and bursts overrun it"
                );
                Verdict::warning(
                    seen,
                    Some(machine.as_root(&format!("sysctl -w net.core.rmem_max={BUFFER}"))),
                )
            }
            Some(max) => Verdict::ok(format!("net.core.rmem_max is {max}")),
            None => Verdict::ok("this kernel does not tell the limit of receive buffers"),
        }
    }
}

/// The interfaces that have an IPv4 address of the host's.
fn addressed(system: &System) -> Vec<String> {
    let ran = system.run("ip", &["-j", "-4", "address", "show"]);
    let links: serde_json::Value =
        ran.out().and_then(|out| serde_json::from_str(out).ok()).unwrap_or_default();
    let links = links.as_array().cloned().unwrap_or_default();
    let has = |link: &&serde_json::Value| link["addr_info"].as_array().is_some_and(|all| !all.is_empty());
    links.iter().filter(has).filter_map(|link| Some(link["ifname"].as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    fn host(files: &[(&str, &str)]) -> Sysctls {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Sysctls::read(&System::below(root.path()))
    }

    fn machine() -> Machine {
        Machine::default()
    }

    #[test]
    fn bridge_nf_matters_only_where_the_module_is_loaded() {
        assert_eq!(host(&[]).check_bridge_nf(&machine(), None).status, Status::Ok);
        let on = host(&[
            ("proc/sys/net/bridge/bridge-nf-call-iptables", "1\n"),
            ("proc/sys/net/bridge/bridge-nf-call-ip6tables", "0\n"),
            ("proc/sys/net/bridge/bridge-nf-call-arptables", "1\n"),
        ]);
        let verdict = on.check_bridge_nf(&machine(), Some(false));
        assert_eq!(verdict.status, Status::Warning);
        let mend =
            "sudo sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-arptables=0";
        assert_eq!(verdict.mend.unwrap(), mend);
        assert_eq!(on.check_bridge_nf(&machine(), Some(true)).status, Status::Failure);
        let off = host(&[("proc/sys/net/bridge/bridge-nf-call-iptables", "0\n")]);
        assert_eq!(off.check_bridge_nf(&machine(), Some(true)).status, Status::Ok);
    }

    #[test]
    fn forwarding_matters_only_to_a_gateway() {
        let off = host(&[("proc/sys/net/ipv4/ip_forward", "0\n")]);
        assert_eq!(off.check_ip_forward(&machine()).status, Status::Ok);
        let gateway = Sysctls { gateways: vec!["br0".into()], ..off };
        assert_eq!(
            gateway.check_ip_forward(&machine()).mend.unwrap(),
            "sudo sysctl -w net.ipv4.ip_forward=1"
        );
    }

    #[test]
    fn a_strict_reverse_path_filter_matters_with_several_interfaces() {
        let links = [
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth1/operstate", "up\n"),
            ("sys/class/net/eth2/operstate", "down\n"),
            ("proc/sys/net/ipv4/conf/all/rp_filter", "0\n"),
            ("proc/sys/net/ipv4/conf/eth0/rp_filter", "1\n"),
            ("proc/sys/net/ipv4/conf/eth1/rp_filter", "2\n"),
        ];
        let read = host(&links);
        assert_eq!((read.strict.clone(), read.interfaces.len()), (vec!["eth0".to_owned()], 2));
        assert_eq!(read.check_rp_filter(&machine()).status, Status::Warning);
        let single = Sysctls { interfaces: vec!["eth0".into()], ..read };
        assert_eq!(single.check_rp_filter(&machine()).status, Status::Ok);
    }

    #[test]
    fn a_small_receive_buffer_is_raised() {
        let verdict = host(&[("proc/sys/net/core/rmem_max", "212992\n")]).check_rmem_max(&machine());
        assert_eq!(verdict.mend.unwrap(), "sudo sysctl -w net.core.rmem_max=8388608");
        assert_eq!(
            host(&[("proc/sys/net/core/rmem_max", "4194304\n")]).check_rmem_max(&machine()).status,
            Status::Ok
        );
    }
}
