//! A pair of servers made of namespaces, of a test's own.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Shell;

/// The servers `server1` and `server2`, as long as this lives.
pub struct Servers {
    name: String,
}

impl Servers {
    /// Makes them. None: that cannot be done here, which has been said, or the test does not run.
    pub fn up(programs: &[&str]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(why) = missing(programs) {
            skip(&why);
            return None;
        }
        let name = format!("doc{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let servers = Self { name };
        servers.testbed("up");
        Some(servers)
    }

    /// A shell on one of them.
    pub fn shell(&self, host: &'static str) -> Shell {
        let mut command = Command::new(script("enter"));
        command.args(["--name", &self.name, host]);
        let mut shell = Shell::start(command, host);
        // The machine's own settings are nothing that was planted.
        shell.must(
            "sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 \
                    net.bridge.bridge-nf-call-arptables=0 2>/dev/null || :",
        );
        shell
    }

    /// What stands for ssh between them: `--ssh "…"`.
    pub fn ssh(&self) -> String {
        format!("--ssh '{} --name {}'", script("enter").display(), self.name)
    }

    fn testbed(&self, verb: &str) {
        let output = Command::new(script(verb)).args(["--name", &self.name]).output().unwrap();
        assert!(output.status.success(), "two-servers/{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.testbed("down");
    }
}

fn script(verb: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testbeds/two-servers").join(verb)
}

fn missing(programs: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("making servers out of namespaces needs root".to_owned());
    }
    let absent = |program: &&&str| mvpnet_qemu_driver::names::find_program(program).is_none();
    let program = ["ip", "unshare", "bash"].iter().chain(programs).find(absent);
    program.map(|program| format!("{program} is not installed"))
}

/// Says what cannot be tested here, where `cargo test` does not swallow it, or fails if everything must be tested.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert_ne!(std::env::var("MVPNET_REQUIRE").as_deref(), Ok("all"), "{test} cannot run: {why}");
    // Past libtest, which shows what a test prints only when it fails.
    std::io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()).unwrap();
}
