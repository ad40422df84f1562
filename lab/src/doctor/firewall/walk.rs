//! A ruleset as far as one datagram is concerned, and the datagram's way through it.
//!
//! Whoever reads rules (nft, iptables) has already said of each whether it matches the datagram: surely, surely not,
//! or perhaps, where that depends on what is not known here.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where a datagram passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To this host.
    In,
    /// From this host.
    Out,
    /// Through this host.
    Through,
}

/// A first datagram of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Where it passes.
    pub way: Way,
    /// Its destination port.
    pub port: u16,
    /// IPv6.
    pub is_v6: bool,
    /// The host at the other end, where one is known.
    pub peer: Option<IpAddr>,
}

/// Whether a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Yes.
    Yes,
    /// No.
    No,
    /// That cannot be said from here.
    Perhaps,
}

/// What a rule does with what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets it pass this chain and those that it was called from.
    Accept,
    /// Drops or rejects it.
    Drop,
    /// Goes back to the calling chain.
    Return,
    /// Calls a chain.
    Jump(String),
    /// Continues in a chain, without coming back.
    Goto(String),
    /// Counts, marks, logs.
    Nothing,
}

/// A rule, as far as the datagram is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it applies.
    pub applies: Match,
    /// What it does.
    pub action: Action,
    /// The rule in the words of who reads it.
    pub words: String,
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// For one that packets come to by themselves: whether they are dropped at its end.
    pub policy_drops: Option<bool>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// Chains by name.
pub type Chains = BTreeMap<String, Chain>;

/// What becomes of the datagram in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Passes,
    /// It ends.
    Dropped {
        /// By which rule, or by the policy.
        by: String,
        /// No rule before it might have let it pass.
        surely: bool,
    },
}

/// How deep chains may call each other: the kernel refuses more.
const DEPTH: usize = 16;

impl Match {
    /// Both.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Perhaps,
        }
    }

    /// The opposite, `if` so.
    pub fn negated(self, negated: bool) -> Self {
        match self {
            Self::Yes if negated => Self::No,
            Self::No if negated => Self::Yes,
            other => other,
        }
    }
}

impl From<bool> for Match {
    fn from(applies: bool) -> Self {
        if applies { Self::Yes } else { Self::No }
    }
}

enum Step {
    End(Fate),
    Back,
}

/// Whether the datagram may have been let pass on its way.
struct Walk<'a> {
    chains: &'a Chains,
    perhaps_accepted: bool,
}

/// What becomes of the datagram in the chain `base`, and in those that it calls.
pub fn fate(chains: &Chains, base: &str) -> Fate {
    let Some(chain) = chains.get(base) else { return Fate::Passes };
    let mut walk = Walk { chains, perhaps_accepted: false };
    match walk.through(chain, true, 0) {
        Step::End(fate) => fate,
        Step::Back if chain.policy_drops == Some(true) => {
            Fate::Dropped { by: "its policy".to_owned(), surely: !walk.perhaps_accepted }
        }
        Step::Back => Fate::Passes,
    }
}

impl Walk<'_> {
    /// `surely`: the datagram is known to come here.
    fn through(&mut self, chain: &Chain, surely: bool, depth: usize) -> Step {
        for rule in &chain.rules {
            let applies = match (rule.applies, surely) {
                (Match::No, _) => continue,
                (Match::Yes, true) => true,
                _ => false,
            };
            match &rule.action {
                Action::Nothing => {}
                Action::Accept if applies => return Step::End(Fate::Passes),
                Action::Accept => self.perhaps_accepted = true,
                Action::Drop if applies => {
                    return Step::End(Fate::Dropped {
                        by: rule.words.clone(),
                        surely: !self.perhaps_accepted,
                    });
                }
                // A rule against some senders, or too many at once: usual, and no blocked port.
                Action::Drop => {}
                Action::Return if applies => return Step::Back,
                Action::Return => {}
                Action::Jump(name) | Action::Goto(name) => {
                    let step = match self.chains.get(name) {
                        Some(chain) if depth < DEPTH => self.through(chain, applies, depth + 1),
                        _ => Step::Back,
                    };
                    match step {
                        Step::End(fate) if applies => return Step::End(fate),
                        Step::Back if applies && matches!(rule.action, Action::Goto(_)) => return Step::Back,
                        _ => {}
                    }
                }
            }
        }
        Step::Back
    }
}

#[cfg(test)]
mod tests {
    use Action::{Accept, Drop, Goto, Jump, Nothing, Return};
    use Match::{No, Perhaps, Yes};

    use super::*;

    fn chain(policy_drops: Option<bool>, rules: &[(Match, Action)]) -> Chain {
        let rule = |(applies, action): &(Match, Action)| Rule {
            applies: *applies,
            action: action.clone(),
            words: format!("{action:?}"),
        };
        Chain { policy_drops, rules: rules.iter().map(rule).collect() }
    }

    fn fate_of(policy_drops: bool, rules: &[(Match, Action)], called: &[(Match, Action)]) -> Fate {
        let chains = [("base", chain(Some(policy_drops), rules)), ("called", chain(None, called))];
        fate(&chains.map(|(name, chain)| (name.to_owned(), chain)).into(), "base")
    }

    fn dropped(by: &str, surely: bool) -> Fate {
        Fate::Dropped { by: by.to_owned(), surely }
    }

    #[test]
    fn the_first_rule_that_applies_decides() {
        assert_eq!(
            fate_of(false, &[(No, Drop), (Yes, Nothing), (Yes, Accept), (Yes, Drop)], &[]),
            Fate::Passes
        );
        assert_eq!(fate_of(false, &[(Yes, Drop), (Yes, Accept)], &[]), dropped("Drop", true));
        assert_eq!(fate_of(false, &[], &[]), Fate::Passes);
        assert_eq!(fate_of(true, &[], &[]), dropped("its policy", true));
    }

    #[test]
    fn what_might_have_been_accepted_is_not_surely_dropped() {
        assert_eq!(fate_of(true, &[(Perhaps, Accept)], &[]), dropped("its policy", false));
        assert_eq!(fate_of(false, &[(Perhaps, Drop)], &[]), Fate::Passes);
    }

    #[test]
    fn a_called_chain_returns_and_a_chain_gone_to_does_not() {
        let jump = || (Yes, Jump("called".into()));
        let goto = || (Yes, Goto("called".into()));
        assert_eq!(fate_of(true, &[jump(), (Yes, Accept)], &[(Yes, Return), (Yes, Drop)]), Fate::Passes);
        assert_eq!(fate_of(true, &[goto(), (Yes, Accept)], &[]), dropped("its policy", true));
        assert_eq!(fate_of(false, &[jump()], &[(Yes, Drop)]), dropped("Drop", true));
        let perhaps = (Perhaps, Jump("called".into()));
        assert_eq!(
            fate_of(true, std::slice::from_ref(&perhaps), &[(Yes, Accept)]),
            dropped("its policy", false)
        );
        assert_eq!(fate_of(false, &[perhaps], &[(Yes, Drop)]), Fate::Passes);
    }

    #[test]
    fn chains_that_call_each_other_for_ever_end() {
        let again = [(Yes, Jump("called".into()))];
        assert_eq!(fate_of(false, &again, &again), Fate::Passes);
    }
}
