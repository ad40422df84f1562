//! A network namespace without a name: it is gone when the test is, however that ends.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Output, Stdio};

use mvpnet_lab::kernel::{self, State};
use nix::sched::{CloneFlags, setns, unshare};

/// The namespace.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new one, with nothing in it but its loopback.
    pub fn new() -> Self {
        let made = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("root may make namespaces");
                File::open("/proc/thread-self/ns/net").expect("the namespace of a thread is a file")
            });
            thread.join().expect("a namespace is made")
        });
        let namespace = Self(made);
        namespace.ip("link set dev lo up");
        namespace
    }

    /// Two with a cable between them: `eth0` at both ends, with these addresses.
    pub fn two(first: &str, second: &str) -> (Self, Self) {
        let two = (Self::new(), Self::new());
        two.0.ip(&format!("link add name eth0 type veth peer name eth0 netns {}", two.1.path()));
        for (namespace, address) in [(&two.0, first), (&two.1, second)] {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            namespace.ip(&format!("address add {address} dev eth0{nodad}"));
            namespace.ip("link set dev eth0 up");
        }
        two
    }

    /// A file that `ip` knows it by, as long as this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Does something in there.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root may enter namespaces");
                task()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program in there and waits for it.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let run = || Command::new(program).args(arguments).stdin(Stdio::null()).output();
        self.enter(run).expect("the program was looked for")
    }

    /// Runs `ip`, which must succeed.
    pub fn ip(&self, arguments: &str) -> String {
        let words: Vec<&str> = arguments.split(' ').collect();
        let output = self.run("ip", &words);
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("ip writes text")
    }

    /// The names of all interfaces but the loopback, in alphabetical order.
    pub fn interfaces(&self) -> Vec<String> {
        let listed = self.ip("-o link show");
        let name = |line: &str| line.split([':', '@']).nth(1).map(|name| name.trim().to_owned());
        let mut names: Vec<String> = listed.lines().filter_map(name).filter(|name| name != "lo").collect();
        names.sort();
        names
    }

    /// What the kernel says of whether router advertisements on an interface are heeded.
    pub fn listens_to_routers(&self, interface: &str) -> String {
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra");
        self.enter(|| std::fs::read_to_string(path)).expect("there is IPv6").trim().to_owned()
    }

    /// What mvpnet sees under the usual name.
    pub fn state(&self) -> State {
        self.enter(|| kernel::state("cluster")).expect("looking always works")
    }
}
