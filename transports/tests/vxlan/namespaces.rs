//! Network namespaces for one test, removed with it.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;

use super::ends::skip;

/// Namespaces whose names nobody else has.
#[derive(Debug)]
pub struct Namespaces {
    prefix: String,
    names: Vec<&'static str>,
}

impl Namespaces {
    /// Makes them, each with its loopback up. `None`, said aloud, where that cannot be.
    pub fn new(test: &str, names: &[&'static str]) -> Option<Namespaces> {
        if !Uid::effective().is_root() {
            skip(test, "network namespaces take root");
            return None;
        }
        if Command::new("ip").arg("-V").output().is_err() {
            skip(test, "iproute2 is not installed");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("mvpnet-vx-{}-{number}-", std::process::id());
        let mut made = Namespaces { prefix, names: Vec::new() };
        for name in names {
            made.names.push(name);
            made.ip(&format!("netns add {{{name}}}"));
            made.ip(&format!("-n {{{name}}} link set lo up"));
        }
        Some(made)
    }

    /// Runs `ip`; `{name}` is a namespace.
    pub fn ip(&self, words: &str) {
        let words = self.names.iter().fold(words.to_owned(), |words, name| {
            words.replace(&format!("{{{name}}}"), &format!("{}{name}", self.prefix))
        });
        let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `work` in one of them, in a thread of its own.
    pub fn within<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}{name}", self.prefix);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // What is not there need not be removed.
            let _ = Command::new("ip").args(["netns", "del", &format!("{}{name}", self.prefix)]).output();
        }
    }
}
