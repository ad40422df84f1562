//! Rules of iptables, from `iptables -S` (iptables(8), iptables-extensions(8)).

use super::walk::{Action, Chains, Datagram, Match, Rule};

/// The chains of the table `filter`.
pub fn read(listing: &str, datagram: &Datagram) -> Chains {
    let mut chains = Chains::new();
    for line in listing.lines() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["-P", chain, policy, ..] => {
                chains.entry((*chain).to_owned()).or_default().policy_drops = Some(*policy == "DROP");
            }
            ["-N", chain, ..] => {
                chains.entry((*chain).to_owned()).or_default();
            }
            ["-A", chain, rest @ ..] => {
                let (applies, action) = rule(rest, datagram);
                let rule = Rule { applies, action, words: format!("`{line}`") };
                chains.entry((*chain).to_owned()).or_default().rules.push(rule);
            }
            _ => {}
        }
    }
    chains
}

/// A line's words: a comment is one, in quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => word.get_or_insert_default().extend(chars.next()),
            ' ' if !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn rule(words: &[&str], datagram: &Datagram) -> (Match, Action) {
    let (mut applies, mut action) = (Match::Yes, Action::Nothing);
    let mut negated = false;
    let mut at = 0;
    while let Some(&word) = words.get(at) {
        let value = words.get(at + 1).copied().unwrap_or_default();
        let mut took = 2;
        match word {
            "!" => took = 1,
            "-j" => {
                action = target(value, &Action::Jump);
                // What belongs to the target follows it.
                break;
            }
            "-g" => {
                action = Action::Goto(value.to_owned());
                break;
            }
            // The modules' names say nothing that their options do not, but for those without options.
            "-m" if matches!(value, "comment" | "udp" | "tcp" | "conntrack" | "state" | "multiport") => {}
            "--comment" => {}
            _ if word.starts_with('-') => {
                applies = applies.and(option(word, value, datagram).negated(negated));
                if value.starts_with('-') || value == "!" {
                    took = 1;
                }
            }
            _ => took = 1,
        }
        negated = word == "!";
        at += took;
    }
    (applies, action)
}

fn target(name: &str, call: &dyn Fn(String) -> Action) -> Action {
    match name {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS" | "CHECKSUM" | "CT" | "NOTRACK" => Action::Nothing,
        chain => call(chain.to_owned()),
    }
}

fn option(name: &str, value: &str, datagram: &Datagram) -> Match {
    let has = |list: &str, word: &str| list.split(',').any(|each| each == word);
    match name {
        "-p" => Match::from(matches!(value, "udp" | "17" | "all" | "0")),
        "--dport" | "--dports" => Match::from(value.split(',').any(|range| in_range(range, datagram.port))),
        // Another interface than loopback; which one depends.
        "-i" | "-o" if value == "lo" => Match::No,
        "--ctstate" | "--state" => Match::from(has(value, "NEW")),
        "-s" if datagram.way == super::walk::Way::In => from_peer(value, datagram),
        "-d" if datagram.way == super::walk::Way::Out => from_peer(value, datagram),
        _ => Match::Perhaps,
    }
}

fn from_peer(network: &str, datagram: &Datagram) -> Match {
    let Some(peer) = datagram.peer else { return Match::Perhaps };
    let (address, len) =
        network.split_once('/').unwrap_or((network, if datagram.is_v6 { "128" } else { "32" }));
    match (address.parse(), len.parse()) {
        (Ok(address), Ok(len)) => Match::from(super::in_prefix(peer, address, len)),
        _ => Match::Perhaps,
    }
}

/// `4789` or `4000:5000`, either end of which may be absent.
fn in_range(range: &str, port: u16) -> bool {
    let (first, last) = range.split_once(':').unwrap_or((range, range));
    let number = |text: &str, absent: u16| if text.is_empty() { Some(absent) } else { text.parse().ok() };
    number(first, 0).is_some_and(|first| first <= port)
        && number(last, u16::MAX).is_some_and(|last| port <= last)
}
