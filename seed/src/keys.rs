//! Keys: those of the host's user that guests accept, and those that the job makes for itself.

use std::net::IpAddr;
use std::path::Path;

use mvpnet_switch::{Rank, World};

/// A line of an `authorized_keys` file (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"), options and comment included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey(String);

/// Why a line is no authorised key, or a file of them cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub(crate) String);

/// 32 octets from which all keys of a job follow. Whoever has them can enter its guests.
#[derive(Clone, PartialEq, Eq)]
pub struct JobSecret(pub(crate) [u8; 32]);

/// The keys of a job: one pair for its users, and one for each guest's sshd.
#[derive(Clone, Debug)]
pub struct JobKeys {}

/// How a guest's sshd is reached from a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshHost {
    /// The rank.
    pub rank: Rank,
    /// The port of 127.0.0.1 on its host.
    pub port: u16,
    /// The command that joins its standard input and output to that port, for a host that is another one.
    pub proxy_command: Option<String>,
}

impl AuthorizedKey {
    /// Reads one line.
    pub fn parse(_line: &str) -> Result<Self, KeyError> {
        unimplemented!()
    }

    /// The keys in the text of a file; comments, empty lines and lines that are no keys are left out, the last with a
    /// warning for each.
    pub fn all_in(_text: &str) -> (Vec<Self>, Vec<KeyError>) {
        unimplemented!()
    }

    /// The line.
    pub fn line(&self) -> &str {
        &self.0
    }
}

impl JobSecret {
    /// From 32 octets of the system's randomness.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        unimplemented!()
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(_text: &str) -> Result<Self, KeyError> {
        unimplemented!()
    }
}

impl JobKeys {
    /// The keys that follow from a secret. Nothing is random: all ranks come to the same.
    pub fn of(_secret: &JobSecret) -> Self {
        unimplemented!()
    }

    /// The users' private key, in OpenSSH's format.
    pub fn user_private(&self) -> String {
        unimplemented!()
    }

    /// The users' public key, a line.
    pub fn user_public(&self) -> String {
        unimplemented!()
    }

    /// The private key of a guest's sshd.
    pub fn host_private(&self, _rank: Rank) -> String {
        unimplemented!()
    }

    /// The public key of a guest's sshd.
    pub fn host_public(&self, _rank: Rank) -> String {
        unimplemented!()
    }
}

/// The text of a known_hosts file: every rank by its name, its addresses, and (`hosts`) the ports that lead to it.
pub fn known_hosts(_keys: &JobKeys, _world: World, _hosts: &[SshHost]) -> String {
    unimplemented!()
}

/// The text of an ssh_config(5) by which a host's ssh reaches guests by name: `n0003`, `3`, and their addresses.
pub fn ssh_config(_hosts: &[SshHost], _user: &str, _identity: &Path, _known_hosts: &Path) -> String {
    let _: Option<IpAddr> = None;
    unimplemented!()
}
