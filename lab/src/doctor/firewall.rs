//! Whether the host's own firewall lets the tunnels' datagrams in and out, as far as it can be seen.
//!
//! The rules are read, not tried: a rule says by its name what to change. Only root may read them.

mod iptables;
mod nft;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::finding::Verdict;
use super::machine::Machine;
use super::system::{Ran, System};
use walk::{Datagram, Fate, Way};

/// The rules, as the programs print them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// `nft -j list ruleset`.
    pub nft: Rules,
    /// `iptables -S` and its like, each with the program's name.
    pub iptables: Vec<(&'static str, Rules)>,
}

/// What a program printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// The program is not there, or has nothing of its own to show.
    #[default]
    None,
    /// It may not be asked by an ordinary user.
    Hidden,
    /// The rules.
    Seen(String),
}

/// A chain that drops the datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    /// By what.
    words: String,
    surely: bool,
    /// The command that lets them pass.
    mend: String,
}

impl Firewall {
    /// Asks the programs that are there.
    pub fn read(system: &System) -> Self {
        let legacy = |names: &str| {
            let tables = system.text(names).unwrap_or_default();
            tables.lines().any(|table| table == "filter")
        };
        let has_legacy = [legacy("/proc/net/ip_tables_names"), legacy("/proc/net/ip6_tables_names")];
        let mut iptables = Vec::new();
        for (at, program, old) in [(0, "iptables", "iptables-legacy"), (1, "ip6tables", "ip6tables-legacy")] {
            // The old kind makes its tables when it is asked for them: only what is there is looked at.
            let version = system.run(program, &["-V"]);
            let is_legacy = version.out().is_some_and(|out| out.contains("legacy"));
            if !is_legacy || has_legacy[at] {
                iptables.push((program, rules(&system.run(program, &["-S"]))));
            }
            if !is_legacy && has_legacy[at] {
                iptables.push((old, rules(&system.run(old, &["-S"]))));
            }
        }
        Self { nft: rules(&system.run("nft", &["-j", "list", "ruleset"])), iptables }
    }

    /// Whether datagrams to `port` pass, between this host and `peers`, or anybody if none is known.
    pub fn check(&self, machine: &Machine, port: u16, peers: &[IpAddr]) -> Verdict {
        let mut blocks: Vec<Block> = Vec::new();
        for datagram in datagrams(port, peers) {
            for block in self.blocks(&datagram, machine) {
                if !blocks.iter().any(|known| known.mend == block.mend) {
                    blocks.push(block);
                }
            }
        }
        let mends: Vec<&str> = blocks.iter().map(|block| block.mend.as_str()).collect();
        let mends: Vec<&str> = mends.iter().collect::<BTreeSet<_>>().into_iter().copied().collect();
        let mend = mends.join(" && ");
        let words: Vec<&str> = blocks.iter().map(|block| block.words.as_str()).collect();
        let words = words.join("; ");
        if blocks.iter().any(|block| block.surely) {
            return Verdict::failure(format!("UDP port {port} is blocked: {words}"), Some(mend));
        }
        if !blocks.is_empty() {
            let seen = format!("UDP port {port} is blocked unless a rule before lets it pass: {words}");
            return Verdict::warning(seen, Some(mend));
        }
        if self.is_hidden() {
            let seen = format!("whether rules block UDP port {port} cannot be seen: only root may read them");
            return Verdict::warning(seen, Some(machine.as_root("mvpnet doctor")));
        }
        match self.programs().as_slice() {
            [] => Verdict::ok("no rules were seen: neither nft nor iptables is here"),
            programs => {
                Verdict::ok(format!("no rule that {} shows blocks UDP port {port}", programs.join(", ")))
            }
        }
    }

    /// Whether rules drop what is forwarded, such as frames in a bridge that bridge-nf shows to them. None: unseen.
    pub fn forward_drops(&self, machine: &Machine) -> Option<bool> {
        let datagram = |is_v6| Datagram { way: Way::Through, port: 0, is_v6, peer: None };
        let drops = [false, true].into_iter().any(|is_v6| !self.blocks(&datagram(is_v6), machine).is_empty());
        (drops || !self.is_hidden()).then_some(drops)
    }

    fn blocks(&self, datagram: &Datagram, machine: &Machine) -> Vec<Block> {
        let mut blocks = Vec::new();
        for (program, rules) in &self.iptables {
            if let Rules::Seen(listing) = rules
                && program.starts_with("ip6") == datagram.is_v6
            {
                blocks.extend(iptables_block(program, listing, datagram, machine));
            }
        }
        let Rules::Seen(text) = &self.nft else { return blocks };
        let ruleset: Value = serde_json::from_str(text).unwrap_or_default();
        let (bases, chains) = nft::read(&ruleset, datagram);
        for base in bases {
            // What iptables manages it has shown, and more exactly.
            let shown = |(program, rules): &(&str, Rules)| {
                base.table == "filter"
                    && matches!(rules, Rules::Seen(_))
                    && ((*program == "iptables" && base.family == "ip")
                        || (*program == "ip6tables" && base.family == "ip6"))
            };
            if self.iptables.iter().any(shown) {
                continue;
            }
            let Fate::Dropped { by, surely } = walk::fate(&chains, &base.key()) else { continue };
            let by = if by == "its policy" {
                format!("the policy of {} is drop", base.key())
            } else {
                format!("by {by}")
            };
            let mend = nft_mend(&base, datagram.port, &ruleset);
            blocks.push(Block { words: by, surely, mend: machine.as_root(&mend) });
        }
        blocks
    }

    fn is_hidden(&self) -> bool {
        self.nft == Rules::Hidden || self.iptables.iter().any(|(_, rules)| *rules == Rules::Hidden)
    }

    fn programs(&self) -> Vec<&str> {
        let nft = ("nft", &self.nft);
        let all = std::iter::once(nft).chain(self.iptables.iter().map(|(program, rules)| (*program, rules)));
        all.filter(|(_, rules)| matches!(rules, Rules::Seen(_))).map(|(program, _)| program).collect()
    }
}

fn rules(ran: &Ran) -> Rules {
    match ran {
        Ran::Ended { code: Some(0), out, .. } => Rules::Seen(out.clone()),
        Ran::Ended { err, .. } if err.contains("root") || err.contains("ermi") => Rules::Hidden,
        // A table that iptables finds incompatible is nft's.
        _ => Rules::None,
    }
}

/// In and out, for each peer, or for anybody.
fn datagrams(port: u16, peers: &[IpAddr]) -> Vec<Datagram> {
    let to = |peer: Option<IpAddr>| {
        let is_v6 = peer.is_some_and(|peer| peer.is_ipv6());
        [Way::In, Way::Out].map(|way| Datagram { way, port, is_v6, peer })
    };
    if peers.is_empty() {
        return to(None).into();
    }
    peers.iter().flat_map(|peer| to(Some(*peer))).collect()
}

fn iptables_block(program: &str, listing: &str, datagram: &Datagram, machine: &Machine) -> Option<Block> {
    let base = match datagram.way {
        Way::In => "INPUT",
        Way::Out => "OUTPUT",
        Way::Through => "FORWARD",
    };
    let chains = iptables::read(listing, datagram);
    let Fate::Dropped { by, surely } = walk::fate(&chains, base) else { return None };
    let by = match by.as_str() {
        "its policy" => format!("the policy of {program}'s {base} is DROP"),
        by => format!("{program} has {by}"),
    };
    let port = datagram.port;
    // What is written with ufw has to be changed with ufw, or it comes back.
    let mend = if chains.keys().any(|chain| chain.starts_with("ufw")) && datagram.way == Way::In {
        format!("ufw allow {port}/udp")
    } else {
        format!("{program} -I {base} -p udp --dport {port} -j ACCEPT")
    };
    Some(Block { words: by, surely, mend: machine.as_root(&mend) })
}

fn nft_mend(base: &nft::Base, port: u16, ruleset: &Value) -> String {
    let objects = ruleset["nftables"].as_array();
    let is_firewalld =
        objects.is_some_and(|all| all.iter().any(|object| object["table"]["name"] == "firewalld"));
    if base.table == "firewalld" && is_firewalld {
        return format!("firewall-cmd --add-port={port}/udp --permanent && firewall-cmd --reload");
    }
    format!("nft insert rule {} udp dport {port} accept", base.key())
}

/// Whether `ip` is in the network of `address` with a prefix of `len` bits.
fn in_prefix(ip: IpAddr, address: IpAddr, len: u64) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let ((ip, width), (address, other)) = (bits(ip), bits(address));
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    width == other && len <= width && (len == 0 || (ip ^ address) >> (128 - len) == 0)
}
