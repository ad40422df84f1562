//! Where something runs: here, or on another host that ssh reaches.

use std::fmt;
use std::str::FromStr;

/// A host of a lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// This one, which files call `localhost`.
    Local,
    /// What ssh calls it: `server1`, `me@192.0.2.7`, or an alias of its configuration.
    Remote(String),
}

/// A text that is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host")]
pub struct HostError(pub(super) String);

impl Host {
    /// Its name without a user's.
    pub fn machine(&self) -> &str {
        match self {
            Host::Local => "localhost",
            Host::Remote(name) => name.rsplit_once('@').map_or(name, |(_, machine)| machine),
        }
    }

    /// The name, made of letters, digits and dashes only.
    pub(super) fn plain_name(&self) -> String {
        let machine = self.machine();
        // Of a domain name, the host's own part tells servers apart well enough.
        let machine = if machine.parse::<std::net::IpAddr>().is_ok() {
            machine
        } else {
            machine.split('.').next().unwrap_or(machine)
        };
        machine.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Host, HostError> {
        // It becomes an argument of ssh, which must not take it for an option, or for a word of a shell.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | ':' | '%');
        match text {
            "localhost" => Ok(Host::Local),
            _ if text.is_empty() || text.starts_with(['-', '@']) || !text.chars().all(is_plain) => {
                Err(HostError(text.to_owned()))
            }
            _ => Ok(Host::Remote(text.to_owned())),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Local => f.write_str("localhost"),
            Host::Remote(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_ssh_takes_and_never_an_option() {
        assert_eq!("localhost".parse(), Ok(Host::Local));
        let host: Host = "me@server1.example.org".parse().unwrap();
        assert_eq!((host.machine(), host.plain_name().as_str()), ("server1.example.org", "server1"));
        assert_eq!("192.0.2.7".parse::<Host>().unwrap().plain_name(), "192-0-2-7");
        for text in ["", "-oProxyCommand=x", "@x", "a b", "a;b", "a'b", "a\nb", "$(a)", "ä"] {
            assert_eq!(text.parse::<Host>(), Err(HostError(text.to_owned())));
        }
    }
}
