//! Two hosts, which are namespaces of this machine joined by one cable.

use std::process::Command;
use std::time::Duration;

use super::setting::{say, two_hosts};
use super::wait::run;

/// The two hosts, as long as this lives.
#[derive(Debug)]
pub struct Hosts;

impl Hosts {
    /// Makes them.
    pub fn up() -> Self {
        let said = run(&mut Command::new(two_hosts("up")), Duration::from_secs(30));
        assert!(said.is_success(), "testbeds/mpi-two-hosts/up: {}{}", said.stdout, said.stderr);
        Self
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let said = run(&mut Command::new(two_hosts("down")), Duration::from_secs(30));
        if !said.is_success() {
            say(&format!("testbeds/mpi-two-hosts/down: {}{}", said.stdout, said.stderr));
        }
    }
}
