//! Rules of nftables, from `nft -j list ruleset` (libnftables-json(5)).

use std::net::IpAddr;

use serde_json::Value;

use super::walk::{Action, Chain, Chains, Datagram, Match, Rule, Way};

/// A chain that packets come to by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `inet`.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
}

impl Base {
    /// The key of the chain among [`Chains`], and its name for people and for nft.
    pub fn key(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.chain)
    }
}

/// The base chains on the datagram's way, and all chains of their families.
pub fn read(ruleset: &Value, datagram: &Datagram) -> (Vec<Base>, Chains) {
    let empty = Vec::new();
    let objects = ruleset["nftables"].as_array().unwrap_or(&empty);
    let sets: Vec<&Value> = objects.iter().filter_map(|object| object.get("set")).collect();
    let (mut bases, mut chains) = (Vec::new(), Chains::new());
    for chain in objects.iter().filter_map(|object| object.get("chain")) {
        let Some(base) = base_of(chain, "name") else { continue };
        if !concerns(&base.family, datagram) {
            continue;
        }
        let is_base = chain["hook"].as_str().is_some_and(|hook| passes(hook, datagram.way));
        let policy_drops = is_base.then(|| chain["policy"] == "drop");
        chains.insert(base.key(), Chain { policy_drops, rules: Vec::new() });
        if is_base {
            bases.push(base);
        }
    }
    let reader = Reader { datagram, sets };
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let Some(base) = base_of(rule, "chain") else { continue };
        if let Some(chain) = chains.get_mut(&base.key()) {
            reader.rule(&base, rule, &mut chain.rules);
        }
    }
    (bases, chains)
}

fn base_of(object: &Value, name: &str) -> Option<Base> {
    let text = |key: &str| Some(object[key].as_str()?.to_owned());
    Some(Base { family: text("family")?, table: text("table")?, chain: text(name)? })
}

fn concerns(family: &str, datagram: &Datagram) -> bool {
    match family {
        "inet" | "netdev" => true,
        "ip" => !datagram.is_v6,
        "ip6" => datagram.is_v6,
        _ => false,
    }
}

fn passes(hook: &str, way: Way) -> bool {
    match way {
        Way::In => matches!(hook, "ingress" | "prerouting" | "input"),
        Way::Out => matches!(hook, "output" | "postrouting"),
        Way::Through => hook == "forward",
    }
}

struct Reader<'a> {
    datagram: &'a Datagram,
    sets: Vec<&'a Value>,
}

impl Reader<'_> {
    /// A rule with a map of verdicts becomes several.
    fn rule(&self, base: &Base, rule: &Value, rules: &mut Vec<Rule>) {
        let words = format!("rule {} of {}", rule["handle"], base.key());
        let mut applies = Match::Yes;
        let empty = Vec::new();
        for statement in rule["expr"].as_array().unwrap_or(&empty) {
            let Some((name, body)) = statement.as_object().and_then(|object| object.iter().next()) else {
                continue;
            };
            let mut act = |applies, action| rules.push(Rule { applies, action, words: words.clone() });
            match name.as_str() {
                "match" => applies = applies.and(self.matches(body)),
                // How much has passed already is not known, nor what old matches say that nft does not print.
                "limit" | "quota" | "ct count" => applies = applies.and(Match::Perhaps),
                "xt" if body["type"] == "match" => applies = applies.and(Match::Perhaps),
                "xt" => act(applies.and(Match::Perhaps), Action::Drop),
                "vmap" => {
                    for entry in body["data"]["set"].as_array().unwrap_or(&empty) {
                        let key = self.compare(&body["key"], &entry[0]);
                        act(applies.and(key), action(base, &entry[1]));
                    }
                }
                _ => act(applies, action(base, statement)),
            }
        }
    }

    fn matches(&self, body: &Value) -> Match {
        let found = self.compare(&body["left"], &body["right"]);
        match body["op"].as_str() {
            Some("==" | "in") => found,
            Some("!=") => found.negated(true),
            Some(order @ ("<" | ">" | "<=" | ">=")) => {
                match (self.number(&body["left"]), body["right"].as_u64()) {
                    (Some(ours), Some(theirs)) => Match::from(match order {
                        "<" => ours < theirs,
                        ">" => ours > theirs,
                        "<=" => ours <= theirs,
                        _ => ours >= theirs,
                    }),
                    _ => Match::Perhaps,
                }
            }
            _ => Match::Perhaps,
        }
    }

    /// Whether what the datagram has at `left` is `right`, or in it.
    fn compare(&self, left: &Value, right: &Value) -> Match {
        if let Some(port) = self.number(left) {
            return self.any(right, &|value| Some(in_range(value, port)));
        }
        let (meta, payload) = (left["meta"]["key"].as_str(), &left["payload"]);
        let is = |names: &[&str]| {
            self.any(right, &|value| match value {
                Value::String(name) => Some(names.contains(&name.as_str())),
                Value::Number(number) => Some(number.as_u64() == Some(17)),
                _ => None,
            })
        };
        match (meta, payload["protocol"].as_str(), payload["field"].as_str()) {
            (Some("l4proto"), ..) | (_, Some("ip"), Some("protocol")) | (_, Some("ip6"), Some("nexthdr")) => {
                is(&["udp"])
            }
            (Some("nfproto"), ..) => is(&[if self.datagram.is_v6 { "ipv6" } else { "ipv4" }]),
            (Some("pkttype"), ..) => is(&["host", "unicast"]),
            // Not loopback; which of the others it is depends.
            (Some("iif" | "iifname" | "oif" | "oifname"), ..) => {
                self.any(right, &|value| if value == "lo" { Some(false) } else { None })
            }
            (_, Some("ip" | "ip6"), Some(field @ ("saddr" | "daddr"))) => self.address(payload, field, right),
            (_, Some("tcp" | "icmp" | "icmpv6" | "sctp" | "dccp" | "esp" | "ah"), _) => Match::No,
            _ if left["ct"]["key"] == "state" => is(&["new"]),
            _ => Match::Perhaps,
        }
    }

    /// The destination port, if `left` is that.
    fn number(&self, left: &Value) -> Option<u64> {
        let payload = &left["payload"];
        let protocol = payload["protocol"].as_str()?;
        (matches!(protocol, "udp" | "th") && payload["field"] == "dport").then_some(self.datagram.port.into())
    }

    fn address(&self, payload: &Value, field: &str, right: &Value) -> Match {
        if (payload["protocol"] == "ip6") != self.datagram.is_v6 {
            return Match::No;
        }
        let is_peers = matches!((self.datagram.way, field), (Way::In, "saddr") | (Way::Out, "daddr"));
        match self.datagram.peer.filter(|_| is_peers) {
            Some(peer) => self.any(right, &|value| contains(value, peer)),
            None => Match::Perhaps,
        }
    }

    /// Whether one of the values that `right` stands for is it. None: that cannot be said.
    fn any(&self, right: &Value, is: &dyn Fn(&Value) -> Option<bool>) -> Match {
        let named = right.as_str().and_then(|name| name.strip_prefix('@'));
        let elements = match (named, &right["set"], right) {
            (Some(name), ..) => {
                let set = self.sets.iter().find(|set| set["name"] == name);
                // A set that cannot be seen, or one whose elements come and go.
                let Some(set) = set else { return Match::Perhaps };
                set["elem"].as_array().map_or(&[][..], Vec::as_slice)
            }
            (_, Value::Array(elements), _) | (_, _, Value::Array(elements)) => elements.as_slice(),
            _ => std::slice::from_ref(right),
        };
        let found: Vec<Option<bool>> = elements
            .iter()
            .map(|element| is(element.get("elem").map_or(element, |element| &element["val"])))
            .collect();
        if found.contains(&Some(true)) {
            Match::Yes
        } else if found.contains(&None) {
            Match::Perhaps
        } else {
            Match::No
        }
    }
}

fn action(base: &Base, statement: &Value) -> Action {
    let Some((name, body)) = statement.as_object().and_then(|object| object.iter().next()) else {
        return Action::Nothing;
    };
    let target = || {
        let chain = body["target"].as_str().unwrap_or_default().to_owned();
        Base { chain, ..base.clone() }.key()
    };
    match name.as_str() {
        "accept" => Action::Accept,
        "drop" | "reject" => Action::Drop,
        "return" => Action::Return,
        "jump" => Action::Jump(target()),
        "goto" => Action::Goto(target()),
        _ => Action::Nothing,
    }
}

fn in_range(value: &Value, number: u64) -> bool {
    match value["range"].as_array().map(Vec::as_slice) {
        Some([first, last]) => {
            first.as_u64().is_some_and(|first| first <= number)
                && last.as_u64().is_some_and(|last| number <= last)
        }
        _ => value.as_u64() == Some(number),
    }
}

/// Whether an address, a prefix or a range has `ip` in it.
fn contains(value: &Value, ip: IpAddr) -> Option<bool> {
    let parsed = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        return Some(parsed(first)? <= ip && ip <= parsed(last)?);
    }
    match value.get("prefix") {
        Some(prefix) => Some(super::in_prefix(ip, parsed(&prefix["addr"])?, prefix["len"].as_u64()?)),
        None => Some(parsed(value)? == ip),
    }
}
