//! A guest as seen through its ssh port.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use super::setting::tiny;
use super::wait::{Said, run, wait_for};

/// How long one command in a guest may take: emulated, on a busy machine.
const COMMAND: Duration = Duration::from_secs(60);

/// A way into a guest.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its rank.
    pub rank: u32,
    /// The port of 127.0.0.1 that leads to it.
    pub port: u16,
    /// The words that enter the host whose 127.0.0.1 that is, where it is not this one.
    pub entry: Vec<OsString>,
}

impl Guest {
    /// Its address in the cluster.
    pub fn ip(&self) -> String {
        format!("10.0.0.{}", self.rank + 1)
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("n{:04}", self.rank)
    }

    /// Its link-local address on the cluster's network, with the interface to reach it by.
    pub fn link_local(&self) -> String {
        format!("fe80::5055:ff:fe00:{:x}%mvp0", self.rank)
    }

    /// Its routable IPv6 address.
    pub fn ula(&self) -> String {
        format!("fd6d:7670:6e65:0:5055:ff:fe00:{:x}", self.rank)
    }

    /// Its MAC.
    pub fn mac(&self) -> String {
        format!("52:55:00:00:00:{:02x}", self.rank)
    }

    /// Runs shell commands in it.
    pub fn try_run(&self, script: &str) -> Said {
        let mut words = self.entry.iter().cloned().chain(["ssh".into()]);
        let mut ssh = Command::new(words.next().expect("ssh at least"));
        ssh.args(words);
        ssh.arg("-F").arg(tiny("ssh_config")).args(["-p", &self.port.to_string(), "tiny", script]);
        run(&mut ssh, COMMAND)
    }

    /// Runs shell commands in it, which have to succeed; what they printed.
    pub fn run(&self, script: &str) -> String {
        let said = self.try_run(script);
        if !said.is_success() {
            let Said { status, stdout, stderr } = said;
            panic!("in guest {}: {script}: {status:?}\n{stdout}{stderr}", self.rank);
        }
        said.stdout
    }

    /// Runs each of these commands, until one fails, which is named.
    pub fn run_each(&self, commands: &[String]) {
        let steps = commands.iter().map(|command| {
            let quoted = command.replace('\'', r"'\''");
            format!("({command}) >/tmp/said 2>&1 || {{ echo 'failed: {quoted}'; cat /tmp/said; exit 1; }}\n")
        });
        let said = self.try_run(&steps.collect::<String>());
        assert!(said.is_success(), "in guest {}: {}{}", self.rank, said.stdout, said.stderr);
    }

    /// Runs a command until it succeeds.
    pub fn run_until(&self, limit: Duration, script: &str) {
        let mut last = None;
        let succeeded = wait_for(limit, || {
            let said = self.try_run(script);
            let success = said.is_success();
            last = Some(said);
            success.then_some(())
        });
        assert!(
            succeeded.is_some(),
            "in guest {}: {script} did not succeed in {limit:?}: {last:?}",
            self.rank
        );
    }

    /// Asks it to do something that may cut the connection, as powering off does.
    pub fn tell(&self, script: &str) {
        self.run(&format!("({script}) >/dev/null 2>&1 </dev/null &"));
    }
}
