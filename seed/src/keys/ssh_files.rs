//! The texts by which ssh knows guests: known_hosts and ssh_config(5).

use std::fmt::Write;
use std::path::Path;

use mvpnet_switch::{Rank, UlaPrefix, World};

use super::JobKeys;

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

/// The text of a known_hosts file: every rank by its name, its addresses, and (`hosts`) the ports that lead to it.
pub fn known_hosts(keys: &JobKeys, world: World, hosts: &[SshHost]) -> String {
    // In the order of the ranks, so that one pass finds each rank's port.
    let mut ports: Vec<(Rank, u16)> = hosts.iter().map(|host| (host.rank, host.port)).collect();
    ports.sort_unstable();
    let mut ports = ports.into_iter().peekable();
    keys.prepare_hosts(world.size());
    let mut text = String::with_capacity(world.size() as usize * 128);
    for rank in world.ranks() {
        text.push_str(&names(rank));
        while let Some((_, port)) = ports.next_if(|(of, _)| *of <= rank) {
            write!(text, ",[127.0.0.1]:{port}").expect("a String takes everything");
        }
        writeln!(text, " {}", keys.host_key(rank)).expect("a String takes everything");
    }
    text
}

/// The same without ports: what a guest knows of the others.
pub(crate) fn guest_known_hosts(keys: &JobKeys, world: World) -> String {
    known_hosts(keys, world, &[])
}

fn names(rank: Rank) -> String {
    format!("{},{},{}", rank.host_name(), rank.ipv4(), rank.ula(UlaPrefix::default()))
}

/// The text of an ssh_config(5) by which a host's ssh reaches guests by name: `n0003`, `3`, and their addresses.
pub fn ssh_config(hosts: &[SshHost], user: &str, identity: &Path, known_hosts: &Path) -> String {
    let mut text = String::from("# Made by mvpnet: ssh -F THIS-FILE n0000\n");
    for host in hosts {
        let rank = host.rank;
        let (name, ipv4, ipv6) = (rank.host_name(), rank.ipv4(), rank.ula(UlaPrefix::default()));
        write!(
            text,
            "\nHost {name} {rank} {ipv4} {ipv6}\n    HostName 127.0.0.1\n    Port {}\n    HostKeyAlias {name}\n",
            host.port
        )
        .expect("a String takes everything");
        if let Some(command) = &host.proxy_command {
            writeln!(text, "    ProxyCommand {}", one_line(command)).expect("a String takes everything");
        }
    }
    let common = [
        ("User", one_line(user)),
        ("IdentityFile", quoted(identity)),
        ("IdentitiesOnly", "yes".to_owned()),
        ("UserKnownHostsFile", quoted(known_hosts)),
        ("GlobalKnownHostsFile", "/dev/null".to_owned()),
        ("StrictHostKeyChecking", "yes".to_owned()),
        ("UpdateHostKeys", "no".to_owned()),
        ("CheckHostIP", "no".to_owned()),
        ("PasswordAuthentication", "no".to_owned()),
        ("KbdInteractiveAuthentication", "no".to_owned()),
        ("GSSAPIAuthentication", "no".to_owned()),
        // A guest under software emulation takes its time.
        ("ConnectTimeout", "120".to_owned()),
        ("ServerAliveInterval", "30".to_owned()),
        ("ServerAliveCountMax", "10".to_owned()),
        ("LogLevel", "ERROR".to_owned()),
    ];
    text.push_str("\nHost *\n");
    for (keyword, value) in common {
        writeln!(text, "    {keyword} {value}").expect("a String takes everything");
    }
    text
}

/// A line break would begin a directive of its own.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// A path as an argument: in quotes for blanks; ssh expands `%`.
fn quoted(path: &Path) -> String {
    let path = one_line(&path.display().to_string()).replace('%', "%%");
    if path.contains([' ', '\t', '#', '=']) { format!("\"{path}\"") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobSecret;

    fn hosts(world: World) -> Vec<SshHost> {
        let mut hosts: Vec<SshHost> = world
            .ranks()
            .map(|rank| SshHost { rank, port: 2200 + rank.index() as u16, proxy_command: None })
            .collect();
        hosts[1].proxy_command = Some("mvpnet port -j demo 1".to_owned());
        hosts
    }

    #[test]
    fn a_host_reaches_guests_by_name_number_and_address() {
        let world = World::new(3).unwrap();
        let identity = Path::new("/run/user/1000/mvpnet/42 job/id_ed25519");
        insta::assert_snapshot!(ssh_config(
            &hosts(world),
            "alice",
            identity,
            Path::new("/tmp/50%/known_hosts")
        ));
    }

    #[test]
    fn a_rank_is_a_line_with_all_of_its_names() {
        let world = World::new(3).unwrap();
        let keys = JobKeys::of(&JobSecret::new([1; 32]));
        let mut hosts = hosts(world);
        hosts.swap(0, 2);
        insta::assert_snapshot!(known_hosts(&keys, world, &hosts));
        assert_eq!(guest_known_hosts(&keys, world), known_hosts(&keys, world, &[]));
    }

    #[test]
    fn a_line_break_in_a_name_begins_no_directive() {
        let text = ssh_config(&[], "a\nProxyCommand x", Path::new("/a\nb"), Path::new("/k"));
        assert!(text.lines().all(|line| !line.trim_start().starts_with("ProxyCommand")), "{text}");
    }
}
