//! Keys and files that OpenSSH reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use mvpnet_seed::{SshHost, known_hosts, ssh_config};
use mvpnet_switch::World;

use crate::setting::{keys, output_of, plain, program, unpack, volume_of};

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn private_keys_are_those_of_the_public_ones() {
    let Some(keygen) = program("ssh-keygen") else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let rank = World::new(100).unwrap().rank(99).unwrap();
    for (private, public) in
        [(keys().user_private(), keys().user_public()), (keys().host_private(rank), keys().host_public(rank))]
    {
        write_private(&path, &private);
        let computed = output_of(Command::new(&keygen).arg("-y").arg("-f").arg(&path));
        let words = |line: &str| line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&computed), words(&public));
    }
}

#[test]
fn known_hosts_knows_each_guest_by_all_of_its_names() {
    let Some(keygen) = program("ssh-keygen") else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let world = World::new(300).unwrap();
    let host = SshHost { rank: world.rank(258).unwrap(), port: 2458, proxy_command: None };
    fs::write(&path, known_hosts(&keys(), world, &[host])).unwrap();
    for name in ["n0258", "10.0.1.3", "fd6d:7670:6e65::103", "[127.0.0.1]:2458"] {
        let found = output_of(Command::new(&keygen).args(["-F", name, "-f"]).arg(&path));
        let key = keys().host_public(world.rank(258).unwrap());
        let key = key.split(' ').nth(1).unwrap();
        assert!(found.contains(key) && found.contains("line 259"), "{name}: {found}");
    }
}

#[test]
fn ssh_understands_the_config_and_reaches_the_right_port() {
    let Some(ssh) = program("ssh") else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ssh_config");
    let world = World::new(4).unwrap();
    let hosts: Vec<SshHost> = world
        .ranks()
        .map(|rank| SshHost { rank, port: 2200 + u16::try_from(rank.index()).unwrap(), proxy_command: None })
        .collect();
    let identity = directory.path().join("with a blank/id_ed25519");
    fs::write(&path, ssh_config(&hosts, "alice", &identity, Path::new("/tmp/50%/known_hosts"))).unwrap();
    for name in ["n0003", "3", "10.0.0.4", "fd6d:7670:6e65::4"] {
        let said = output_of(Command::new(&ssh).arg("-F").arg(&path).args(["-G", name]));
        let lines: Vec<&str> = said.lines().collect();
        for line in ["hostname 127.0.0.1", "port 2203", "hostkeyalias n0003", "user alice"] {
            assert!(lines.contains(&line), "{name}: no `{line}` in\n{said}");
        }
        assert!(lines.contains(&format!("identityfile {}", identity.display()).as_str()), "{said}");
    }
}

#[test]
fn guests_ask_nothing_of_each_other_and_leave_other_hosts_alone() {
    let Some(ssh) = program("ssh") else { return };
    let directory = tempfile::tempdir().unwrap();
    unpack(&volume_of(&plain(2), 0), directory.path());
    let config = directory.path().join("mvpnet/ssh_config");
    let asked = |name: &str| {
        let said = output_of(Command::new(&ssh).arg("-F").arg(&config).args(["-G", name]));
        let line = said.lines().find_map(|line| line.strip_prefix("stricthostkeychecking "));
        line.expect("ssh -G prints all settings").to_owned()
    };
    for name in ["n0000", "n12345", "10.0.0.1", "fd6d:7670:6e65::1"] {
        assert!(["true", "yes"].contains(&asked(name).as_str()), "{name}: {}", asked(name));
    }
    for name in ["node1", "nas", "192.168.1.2", "example.org"] {
        assert_eq!(asked(name), "ask", "{name}");
    }
}
