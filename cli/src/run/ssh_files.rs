//! How this host's ssh reaches the job's guests: a key, known hosts and an ssh_config(5) in the directory of the process's
//! part of the job, brought up to date as guests come up.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use mvpnet_node::job::Numbers;
use mvpnet_seed::{JobKeys, SshHost, known_hosts, ssh_config};
use mvpnet_switch::{Rank, World};

use super::keys::Briefing;
use super::seed::write_secret;

/// The config's name in the directory.
pub const SSH_CONFIG: &str = "ssh_config";
const IDENTITY: &str = "id_ed25519";
const KNOWN_HOSTS: &str = "known_hosts";
/// What was seen of guests whose keys are not ours to know.
const SEEN_HOSTS: &str = "seen_hosts";

/// What holds for guests with keys of their own, whatever holds for the others. The names are those that ssh would look for
/// itself, if no other was named.
const STRANGER: [&str; 9] = [
    "StrictHostKeyChecking accept-new",
    "IdentitiesOnly no",
    "IdentityFile ~/.ssh/id_ed25519",
    "IdentityFile ~/.ssh/id_ecdsa",
    "IdentityFile ~/.ssh/id_rsa",
    "PasswordAuthentication yes",
    "KbdInteractiveAuthentication yes",
    "ConnectTimeout 120",
    "LogLevel INFO",
];

/// What is known of the job's guests, whoever writes it down.
#[derive(Clone, Debug)]
pub struct Guests {
    /// The job's ranks.
    pub world: World,
    /// How they are numbered in the guests' network.
    pub numbers: Numbers,
    /// Which of them have keys of the job's, by their place in the job.
    pub ours: Vec<bool>,
    /// The login name, if rank 0 says no other.
    pub user: Option<String>,
}

/// The files.
pub struct SshFiles {
    directory: PathBuf,
    guests: Guests,
    keys: Option<JobKeys>,
}

impl SshFiles {
    /// In this directory. Without `briefing` all guests are taken to have keys of their own.
    pub fn new(directory: &Path, mut guests: Guests, briefing: Option<&Briefing>) -> Self {
        guests.user = briefing.and_then(|briefing| briefing.user.clone()).or(guests.user);
        let keys =
            briefing.filter(|_| guests.ours.contains(&true)).map(|briefing| JobKeys::of(&briefing.secret));
        Self { directory: directory.to_owned(), guests, keys }
    }

    /// Writes them anew. `ports` are those on this host that lead to guests by their place in the job; all others are
    /// reached through the job.
    pub fn write(&self, ports: &[Option<u16>]) -> std::io::Result<()> {
        let (mut known, mut strange) = (Vec::new(), Vec::new());
        for (index, rank) in (0..).zip(self.guests.world.ranks()) {
            let port = ports.get(index).copied().flatten();
            let host = SshHost {
                rank: self.guests.numbers.of(rank),
                // Any that ssh takes, where nobody looks at it.
                port: port.unwrap_or(22),
                proxy_command: port.is_none().then(|| proxy_command(self.guests.numbers.of(rank))),
            };
            let is_ours = self.guests.ours.get(index).copied().unwrap_or(false);
            if is_ours && self.keys.is_some() { known.push(host) } else { strange.push(host) }
        }
        let at = |name: &str| self.directory.join(name);
        let mut config = String::new();
        // ssh takes the first that is said, and what holds for all guests with our keys is said of all hosts at the end.
        for host in &strange {
            config += &self.stranger(host, &at(SEEN_HOSTS));
        }
        if let Some(keys) = &self.keys {
            let user = self.guests.user.as_deref().unwrap_or_default();
            self.place(IDENTITY, &keys.user_private())?;
            let here: Vec<SshHost> =
                known.iter().filter(|host| host.proxy_command.is_none()).cloned().collect();
            self.place(KNOWN_HOSTS, &known_hosts(keys, self.guests.numbers.network(), &here))?;
            config += &ssh_config(&known, user, &at(IDENTITY), &at(KNOWN_HOSTS));
        }
        self.place(SSH_CONFIG, &config)
    }

    /// A guest that has its own keys: the user's own ssh keys lead to it, and what it shows first is believed.
    fn stranger(&self, host: &SshHost, seen: &Path) -> String {
        let SshHost { rank, port, proxy_command } = host;
        let name = rank.host_name();
        let mut text = format!("Host {name} {} {}\n", rank.index(), rank.ipv4());
        let mut say = |line: &str| writeln!(text, "    {line}").expect("text grows");
        match proxy_command {
            Some(command) => say(&format!("ProxyCommand {command}")),
            None => {
                say("HostName 127.0.0.1");
                say(&format!("Port {port}"));
            }
        }
        say(&format!("HostKeyAlias {name}"));
        if let Some(user) = &self.guests.user {
            say(&format!("User {user}"));
        }
        say(&format!("UserKnownHostsFile \"{}\"", seen.display()));
        say("GlobalKnownHostsFile /dev/null");
        for line in STRANGER {
            say(line);
        }
        text
    }

    /// Who reads it sees the old text or the new one.
    fn place(&self, name: &str, text: &str) -> std::io::Result<()> {
        let fresh = self.directory.join(format!("{name}.new"));
        write_secret(&fresh, text.as_bytes())?;
        std::fs::rename(fresh, self.directory.join(name))
    }
}

/// Joins ssh to a guest through this process of the job.
fn proxy_command(rank: Rank) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "mvpnet".into());
    // A percent sign begins what ssh replaces (ssh_config(5), TOKENS), and a shell reads the rest.
    let program = program.display().to_string().replace('%', "%%").replace('\'', "'\\''");
    format!("'{program}' port -j {} {}", std::process::id(), rank.index())
}

#[cfg(test)]
mod tests;
