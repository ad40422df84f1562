//! What ssh is told, as ssh itself understands it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use mvpnet_seed::JobSecret;

use super::*;

fn guests(ours: &[bool], first: u32, network: u32) -> Guests {
    let world = World::new(u32::try_from(ours.len()).unwrap()).unwrap();
    let numbers = Numbers::part(world, World::new(network).unwrap(), first).unwrap();
    Guests { world, numbers, ours: ours.to_vec(), user: Some("ann".into()) }
}

fn written(guests: Guests, ports: &[Option<u16>]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let briefing = Briefing {
        secret: JobSecret::new([7; 32]),
        authorized_keys: Vec::new(),
        user: Some("bea".to_owned()),
    };
    SshFiles::new(dir.path(), guests, Some(&briefing)).write(ports).unwrap();
    dir
}

/// What ssh would do, by keyword.
fn understood(dir: &tempfile::TempDir, name: &str) -> Vec<String> {
    let output = Command::new("ssh")
        .arg("-G")
        .arg("-F")
        .arg(dir.path().join(SSH_CONFIG))
        .arg(name)
        .output()
        .expect("ssh is there: Debian's openssh-client");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_says(said: &[String], lines: &[&str]) {
    for line in lines {
        assert!(said.iter().any(|said| said == line), "{line} is not among {said:#?}");
    }
}

#[test]
fn guests_of_this_host_are_at_their_ports_and_others_behind_the_job() {
    let dir = written(guests(&[true, true], 4, 8), &[Some(2204), None]);
    let at = |name: &str| dir.path().join(name).display().to_string();
    let known = fs::read_to_string(at("known_hosts")).unwrap();
    assert!(known.contains("n0004,10.0.0.5,") && known.contains("[127.0.0.1]:2204 ssh-ed25519 "), "{known}");
    assert!(known.lines().count() == 8 && !known.contains("]:22 "), "{known}");
    assert_eq!(fs::metadata(at("id_ed25519")).unwrap().permissions().mode() & 0o777, 0o600);
    let said = understood(&dir, "4");
    let files =
        [format!("identityfile {}", at("id_ed25519")), format!("userknownhostsfile {}", at("known_hosts"))];
    assert_says(
        &said,
        &["hostname 127.0.0.1", "port 2204", "user bea", "hostkeyalias n0004", &files[0], &files[1]],
    );
    assert_says(&said, &["stricthostkeychecking true", "identitiesonly yes"]);
    let said = understood(&dir, "n0005");
    let proxy = said.iter().find(|line| line.starts_with("proxycommand ")).expect("it is on another host");
    assert!(proxy.ends_with(&format!("' port -j {} 5", std::process::id())), "{proxy}");
}

#[test]
fn guests_with_keys_of_their_own_are_believed_and_opened_by_the_user_s() {
    let dir = written(guests(&[true, false], 0, 2), &[Some(2200), Some(2201)]);
    let said = understood(&dir, "n0001");
    let seen = format!("userknownhostsfile {}", dir.path().join("seen_hosts").display());
    assert_says(
        &said,
        &["port 2201", "user bea", "stricthostkeychecking accept-new", "identitiesonly no", &seen],
    );
    assert_says(&said, &["identityfile ~/.ssh/id_ed25519", "passwordauthentication yes"]);
    assert_says(&understood(&dir, "n0000"), &["stricthostkeychecking true", "passwordauthentication no"]);
}

#[test]
fn without_guests_of_ours_there_are_no_keys() {
    let dir = written(guests(&[false], 0, 1), &[None]);
    assert!(!dir.path().join("id_ed25519").exists() && dir.path().join(SSH_CONFIG).exists());
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [SSH_CONFIG], "nothing half-written is left");
}
