//! The guest's script, run by the shell on a directory that stands for the guest's root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mvpnet_seed::Cluster;

use crate::setting::{keys, output_of, plain, unpack, volume_of, with_everything};

/// A guest that has not booted yet.
struct Guest {
    directory: tempfile::TempDir,
}

impl Guest {
    fn new(files: &[(&str, &str)]) -> Self {
        let guest = Self { directory: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            let path = guest.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        guest
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("root").join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o7777
    }

    /// Runs a step of the script of a rank's volume.
    fn step(&self, step: &str, cluster: &Cluster, rank: u32) {
        let seed = self.directory.path().join("seed");
        if seed.exists() {
            fs::remove_dir_all(&seed).unwrap();
        }
        unpack(&volume_of(cluster, rank), &seed);
        let root = self.directory.path().join("root");
        output_of(Command::new("sh").arg(seed.join("mvpnet/setup")).arg(step).env("MVPNET_ROOT", root));
    }
}

const DEBIAN_HOSTS: &str = "127.0.0.1 localhost\n127.0.1.1 n0001.localdomain n0001\n::1 localhost ip6-localhost\n\
                            # kept\n192.168.7.7 nas\n";

#[test]
fn the_hosts_file_names_every_rank_and_keeps_what_else_is_in_it() {
    let guest = Guest::new(&[("etc/hosts", DEBIAN_HOSTS)]);
    guest.step("boot", &plain(2), 1);
    insta::assert_snapshot!(guest.text("etc/hosts"));
    assert_eq!(guest.mode("etc/hosts"), 0o644);
    assert_eq!(guest.text("etc/hosts.mpi"), "n0000\nn0001\n");
    assert_eq!(guest.text("etc/hosts.openmpi"), "n0000 slots=2\nn0001 slots=2\n");
    assert_eq!(guest.text("etc/hosts.mpich"), "n0000:2\nn0001:2\n");
}

#[test]
fn a_second_boot_changes_nothing() {
    let guest = Guest::new(&[
        ("etc/hosts", DEBIAN_HOSTS),
        ("etc/environment", "LANG=C\n"),
        ("etc/ssh/ssh_config", "Host *\n    HashKnownHosts yes\n"),
        ("etc/ssh/sshd_config", "PermitRootLogin no\n"),
    ]);
    let files = [
        "etc/hosts",
        "etc/environment",
        "etc/ssh/ssh_config",
        "etc/ssh/sshd_config",
        "etc/ssh/ssh_known_hosts",
        "etc/openmpi/openmpi-mca-params.conf",
    ];
    guest.step("boot", &plain(2), 1);
    let first = files.map(|file| guest.text(file));
    guest.step("boot", &plain(2), 1);
    assert_eq!(files.map(|file| guest.text(file)), first);
}

#[test]
fn an_image_that_was_in_another_job_forgets_it() {
    // By us as another rank of a larger world, and by the original program's script.
    let guest = Guest::new(&[("etc/hosts", "#wsize: 9\n10.0.0.1 n0000\n10.0.0.9 n0008\n10.9.9.9 printer\n")]);
    guest.step("boot", &with_everything(), 2);
    guest.step("boot", &Cluster { exec: false, ..plain(2) }, 0);
    let hosts = guest.text("etc/hosts");
    assert_eq!(hosts.matches("#wsize:").count(), 1, "{hosts}");
    assert!(hosts.contains("#wsize: 2\n10.0.0.1 n0000\n10.0.0.2 n0001\n"), "{hosts}");
    assert!(
        !hosts.contains("n0002") && !hosts.contains("n0008") && hosts.contains("10.9.9.9 printer"),
        "{hosts}"
    );
    assert!(!guest.text("etc/environment").contains("proxy"));
    assert!(!guest.path("usr/local/sbin/mvpnet-agent").exists());
    assert!(!guest.path("usr/local/bin/mvpnet-rsh").is_symlink());
}

#[test]
fn a_guest_without_any_of_these_files_gets_them() {
    let guest = Guest::new(&[]);
    guest.step("boot", &plain(2), 0);
    assert!(guest.text("etc/hosts").starts_with("127.0.0.1 localhost\n"), "{}", guest.text("etc/hosts"));
    assert!(guest.text("etc/ssh/ssh_config").contains("StrictHostKeyChecking yes"));
    // No sshd, no file for it.
    assert!(!guest.path("etc/ssh/sshd_config").exists());
    assert_eq!(guest.mode("usr/local/sbin/mvpnet-agent"), 0o755);
    let rsh = fs::read_link(guest.path("usr/local/bin/mvpnet-rsh")).unwrap();
    assert_eq!(rsh, Path::new("/usr/local/sbin/mvpnet-agent"));
    // Python is where it is, and its options are what the program asks for.
    let agent = guest.text("usr/local/sbin/mvpnet-agent");
    let first = agent.lines().next().unwrap();
    assert!(first.starts_with("#!/") && first.ends_with("python3 -IS"), "{first}");
}

#[test]
fn settings_go_where_the_first_of_two_counts() {
    let include = "Include /etc/ssh/ssh_config.d/*.conf\n";
    let guest = Guest::new(&[
        ("etc/ssh/ssh_config", include),
        ("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin no\n"),
    ]);
    guest.step("boot", &plain(2), 0);
    assert_eq!(guest.text("etc/ssh/ssh_config"), include);
    assert!(guest.text("etc/ssh/ssh_config.d/01-mvpnet.conf").starts_with("Host n0* "));
    assert!(
        guest.text("etc/ssh/sshd_config.d/01-mvpnet.conf").starts_with("PermitRootLogin prohibit-password\n")
    );

    let old = Guest::new(&[("etc/ssh/sshd_config", "PermitRootLogin no\n")]);
    old.step("boot", &plain(2), 0);
    let config = old.text("etc/ssh/sshd_config");
    assert!(
        config.find("PermitRootLogin prohibit-password") < config.find("PermitRootLogin no\n"),
        "{config}"
    );
}

/// The line of an account whose files belong to whoever runs the test: others cannot be given away.
fn account(name: &str, home: &str) -> String {
    let [uid, gid] = ["-u", "-g"].map(|what| output_of(Command::new("id").arg(what)).trim().to_owned());
    format!("{name}:x:{uid}:{gid}::{home}:/bin/sh\n")
}

fn guest_with_accounts(files: &[(&str, &str)]) -> Guest {
    let accounts =
        account("root", "/root") + &account("alice", "/home/alice") + &account("mpihpc", "/home/mpihpc");
    let guest = Guest::new(files);
    for home in ["root", "home/alice", "home/mpihpc"] {
        fs::create_dir_all(guest.path(home)).unwrap();
    }
    fs::create_dir_all(guest.path("etc")).unwrap();
    fs::write(guest.path("etc/passwd"), accounts).unwrap();
    guest
}

#[test]
fn every_account_gets_the_keys_of_the_job() {
    let guest = guest_with_accounts(&[]);
    guest.step("users", &with_everything(), 0);
    guest.step("users", &with_everything(), 0);
    for home in ["root", "home/alice", "home/mpihpc"] {
        assert_eq!(guest.mode(&format!("{home}/.ssh")), 0o700);
        assert_eq!(guest.mode(&format!("{home}/.ssh/id_ed25519")), 0o600);
        assert_eq!(guest.text(&format!("{home}/.ssh/id_ed25519")), keys().user_private());
        let authorized = guest.text(&format!("{home}/.ssh/authorized_keys"));
        assert_eq!(authorized.lines().count(), 2, "{authorized}");
        assert!(
            authorized.contains(&keys().user_public()) && authorized.contains("alice@laptop"),
            "{authorized}"
        );
    }
}

#[test]
fn somebodys_own_keys_stay_and_those_of_other_jobs_go() {
    let own = [
        ("home/alice/.ssh/id_ed25519", "my own\n"),
        ("home/alice/.ssh/id_ed25519.pub", "ssh-ed25519 AAAA alice@home\n"),
        ("home/alice/.ssh/authorized_keys", "ssh-rsa AAAA bob\nssh-ed25519 OLD mvpnet-job\n"),
    ];
    let guest = guest_with_accounts(&own);
    guest.step("users", &with_everything(), 0);
    assert_eq!(guest.text("home/alice/.ssh/id_ed25519"), "my own\n");
    assert_eq!(guest.text("home/alice/.ssh/id_mvpnet"), keys().user_private());
    let authorized = guest.text("home/alice/.ssh/authorized_keys");
    assert!(authorized.starts_with("ssh-rsa AAAA bob\n") && !authorized.contains("OLD"), "{authorized}");
}

#[test]
fn cloud_init_is_given_what_runs_at_its_end() {
    let guest = Guest::new(&[]);
    guest.step("boot", &plain(2), 0);
    assert_eq!(guest.mode("var/lib/cloud/scripts/per-boot/00-mvpnet"), 0o755);
    assert!(guest.text("var/lib/cloud/scripts/per-boot/00-mvpnet").contains("/mvpnet/setup' final"));
}
