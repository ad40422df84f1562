//! `mvpnet lab`: all of the lab from one file, by a real ssh to a real sshd.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan, TwoServers, bridges};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::guest::Guest;
use crate::harness::home::Home;
use crate::harness::lab::mvpnet;
use crate::harness::setting::{tiny, tiny_cmdline};
use crate::harness::wait::{Said, run, wait_for};
use crate::harness::{Launcher, Need, begin};

/// How long `mvpnet lab` may take for anything: two guests boot.
const LAB: Duration = Duration::from_secs(180);

/// How long two guests may take to find each other, and an sshd to come.
const SETTLING: Duration = Duration::from_secs(20);

const NEEDS: [Need; 4] = [Need::Servers, Need::Sshd, Need::Guests, Need::Launcher(Launcher::Up)];

/// A lab's file on server1, and the way from there to server2.
struct Site {
    // In this order: what runs on the servers ends before them.
    sshd: Child,
    servers: TwoServers,
    home: Home,
}

impl Site {
    /// Both servers, and a file with two guests on server1 and this `[bridge]` on server2.
    fn up(bridge: &str) -> Self {
        let servers = TwoServers::up(Plan::default()).unwrap_or_else(|error| panic!("{error:#}"));
        let home = Home::new();
        let sshd = start_sshd(&servers, &home);
        let file = format!(
            "name = {:?}\n[bridge]\nhost = \"server2\"\nmvpnet = {:?}\n{bridge}\n\
             [[server]]\nhost = \"localhost\"\nname = \"server1\"\naddress = \"192.0.2.1\"\nguests = 2\nvni = 40\n\
             [guest]\nkernel = {:?}\ninitrd = {:?}\nappend = {:?}\nmemory = \"256M\"\n",
            home.name,
            mvpnet(),
            tiny("kernel"),
            tiny("initrd"),
            tiny_cmdline().trim(),
        );
        fs::write(home.at("lab.toml"), file).unwrap();
        let site = Self { sshd, servers, home };
        let reached = wait_for(SETTLING, || site.ssh("true").is_success().then_some(()));
        assert!(reached.is_some(), "server2 is not reached: {:?}", site.ssh("true"));
        site
    }

    /// `mvpnet lab VERB` on server1.
    fn try_lab(&self, words: &[&str]) -> Said {
        let ssh = format!("ssh -F {}", self.home.text("ssh_config"));
        let mut lab = self.servers.command(Host::Server1, mvpnet());
        lab.arg("lab").args(words).arg(self.home.at("lab.toml")).args(["--ssh", &ssh]);
        run(lab.current_dir(self.home.path()), LAB)
    }

    fn lab(&self, words: &[&str]) -> Value {
        let Said { status, stdout, stderr } = self.try_lab(&[words, &["--json"]].concat());
        assert!(status.is_some_and(|status| status.success()), "{words:?}: {status:?}\n{stdout}{stderr}");
        serde_json::from_str(&stdout).unwrap_or(Value::Null)
    }

    fn ssh(&self, script: &str) -> Said {
        let mut ssh = self.servers.command(Host::Server1, "ssh");
        run(ssh.arg("-F").arg(self.home.at("ssh_config")).args(["server2", script]), SETTLING)
    }

    /// The ways into the guests that the lab says.
    fn guests(&self, status: &Value) -> Vec<Guest> {
        let entry = self.servers.command(Host::Server1, "env");
        let entry: Vec<_> =
            std::iter::once(entry.get_program()).chain(entry.get_args()).map(ToOwned::to_owned).collect();
        let guest = |guest: &Value| Guest {
            rank: guest["rank"].as_u64().unwrap() as u32,
            port: guest["ssh_port"].as_u64().unwrap() as u16,
            entry: entry.clone(),
        };
        status["guests"].as_array().unwrap().iter().map(guest).collect()
    }

    /// Each guest reaches the other.
    fn guests_talk(&self, status: &Value) {
        let guests = self.guests(status);
        for (one, other) in [(0, 1), (1, 0)] {
            let reached = wait_for(SETTLING, || {
                guests[one]
                    .try_run(&format!("ping -c 1 -W 1 {}", guests[other].ip()))
                    .is_success()
                    .then_some(())
            });
            assert!(reached.is_some(), "guest {one} does not reach guest {other}");
        }
    }

    /// The processes of the lab, on whatever host: their number and command line.
    fn processes(&self) -> Vec<(i32, String)> {
        let entries = fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let of_lab = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| {
                let variable = String::from_utf8_lossy(variable);
                variable.starts_with("MVPNET_LAB_PART=") && variable.contains(&self.home.name)
            })
        };
        let command = |pid: i32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&words).replace('\0', " "))
        };
        pids.filter(of_lab).map(command).filter(|(_, words)| !words.is_empty()).collect()
    }

    fn kill_all(&self, which: &str) {
        let found: Vec<_> = self.processes().into_iter().filter(|(_, words)| words.contains(which)).collect();
        assert!(!found.is_empty(), "no {which} runs: {:?}", self.processes());
        for (pid, _) in found {
            // It may end at this moment, with another of them.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Takes the lab down, and checks that nothing of it is left on either host.
    fn leaves_nothing(self) {
        self.lab(&["down"]);
        let left = self.processes();
        assert!(left.is_empty(), "{left:?}");
        for host in [Host::Server1, Host::Server2] {
            let links = self.servers.run(host, &["ip", "-brief", "link"]).unwrap();
            assert_eq!(links.lines().count(), 2, "loopback and the cable's end: {links}");
        }
        let mut ps = self.servers.command(Host::Server1, mvpnet());
        let jobs = run(ps.args(["ps", "--all"]), SETTLING);
        assert!(jobs.is_success() && !jobs.stdout.contains(&self.home.name), "{jobs:?}");
        let again = self.try_lab(&["down"]);
        assert!(again.is_success(), "down can be repeated: {again:?}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        bridges::end(&mut self.sshd);
    }
}

/// An sshd on server2 that lets in who has the key, and what ssh has to know of it.
fn start_sshd(servers: &TwoServers, home: &Home) -> Child {
    for key in ["host_key", "key"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(home.at(key));
        assert!(run(&mut keygen, SETTLING).is_success());
    }
    let host_key = home.read("host_key.pub");
    fs::write(home.at("known_hosts"), format!("server2 {host_key}")).unwrap();
    let at = |part: &str| home.text(part);
    let ssh = format!(
        "Host server2\nHostName 192.0.2.2\nHostKeyAlias server2\nUser root\nBatchMode yes\nConnectTimeout 10\n\
         IdentityFile {}\nUserKnownHostsFile {}\nLogLevel ERROR\n",
        at("key"),
        at("known_hosts")
    );
    fs::write(home.at("ssh_config"), ssh).unwrap();
    let sshd = format!(
        "ListenAddress 192.0.2.2\nHostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin yes\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nPidFile none\n",
        at("host_key"),
        at("key.pub")
    );
    fs::write(home.at("sshd_config"), sshd).unwrap();
    // sshd wants /run/sshd; this host's own /run stays as it is.
    let script = "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"";
    let mut sshd = servers.command(Host::Server2, "unshare");
    sshd.args(["--mount", "sh", "-c", script]).arg(home.at("sshd_config"));
    let log = fs::File::create(home.at("log/sshd")).unwrap();
    sshd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[test]
fn a_lab_comes_up_from_one_file_is_mended_and_leaves_nothing() {
    let Some(_turn) = begin(&NEEDS) else { return };
    let site = Site::up("");
    let up = site.lab(&["up"]);
    site.guests_talk(&up);
    let parts =
        |status: &Value| (status["bridge"]["process"].as_u64(), status["servers"][0]["process"].as_u64());
    let status = site.lab(&["status"]);
    assert_eq!(parts(&status), parts(&up));

    // What runs already stays as it is.
    assert_eq!(parts(&site.lab(&["up"])), parts(&up));

    // The bridge is killed: it is missed, and started again; the guests have noticed nothing.
    site.kill_all(" bridge ");
    let missed = site.try_lab(&["status"]);
    assert_eq!(missed.status.and_then(|status| status.code()), Some(1), "{missed:?}");
    let mended = site.lab(&["up"]);
    assert_eq!(parts(&mended).1, parts(&up).1);
    assert_ne!(parts(&mended).0, parts(&up).0);
    site.guests_talk(&mended);
    site.leaves_nothing();
}

#[test]
fn a_lab_whose_server_was_killed_comes_up_again_or_goes_down_clean() {
    let Some(_turn) = begin(&NEEDS) else { return };
    let site = Site::up("kernel = true");
    let up = site.lab(&["up"]);
    site.guests_talk(&up);
    site.kill_all(" up ");
    let again = site.lab(&["up"]);
    assert_ne!(again["servers"][0]["process"], up["servers"][0]["process"]);
    site.guests_talk(&again);
    site.kill_all("mvpnet");
    site.leaves_nothing();
}

#[test]
fn a_host_that_cannot_be_reached_is_named_and_nothing_is_left() {
    let Some(_turn) = begin(&NEEDS) else { return };
    let mut site = Site::up("");
    bridges::end(&mut site.sshd);
    let said = site.try_lab(&["up"]);
    assert_eq!(said.status.and_then(|status| status.code()), Some(1), "{said:?}");
    assert!(said.stderr.contains("server2"), "{said:?}");
    let left = site.processes();
    assert!(left.is_empty(), "{left:?}");
}
