//! A cluster of real guests for tests that also run simulated: `mvpnet up` with tiny guests under qemu.
//!
//! The other side of [`mvpnet_sim::cluster`]: commands go into guests by ssh, faults into the job by `mvpnet fault`.
//! Dropping it ends the job and waits until it is gone.

mod process;
mod start;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mvpnet_sim::Change;
use mvpnet_sim::cluster::{Cluster, ClusterError, EXEC_TIME, Output, PING_TIME};

use crate::wall::nap;
use process::Said;
use start::Job;
pub use start::Spec;

/// How long `mvpnet fault` may take: a restart waits for a guest that boots, emulated.
const FAULT_TIME: Duration = Duration::from_secs(180);

/// How long a guest that stands still, or is not there, is tried to be reached.
const REACH_TIME: Duration = Duration::from_secs(20);

/// The exit status of an ssh(1) that did not get through.
const NO_SSH: i32 = 255;

/// Real guests. They are stopped when this is dropped.
#[derive(Debug)]
pub struct QemuCluster {
    job: Job,
}

impl QemuCluster {
    /// Starts the job and waits until all guests are up.
    ///
    /// # Errors
    /// Something that it needs is missing, or a guest does not come up.
    pub fn start(spec: Spec) -> Result<QemuCluster, ClusterError> {
        Ok(QemuCluster { job: Job::start(spec)? })
    }

    /// Where the job's logs are, as long as it runs.
    pub fn directory(&self) -> &Path {
        self.job.directory()
    }

    /// Ends the job in good order.
    ///
    /// # Errors
    /// It did not end in time, or not with success.
    pub fn end(self) -> Result<(), ClusterError> {
        self.job.end()
    }

    /// Runs a shell command in a guest.
    fn in_guest(
        &mut self,
        rank: u32,
        command: &str,
        limit: Duration,
    ) -> Result<Option<Output>, ClusterError> {
        let port = self.job.ssh_port(rank)?;
        let mut ssh = Command::new("ssh");
        let reach = format!("ConnectTimeout={}", REACH_TIME.as_secs());
        ssh.arg("-F").arg(self.job.tiny("ssh_config")).args(["-o", &reach]);
        ssh.args(["-p", &port.to_string(), "tiny", command]);
        let Said { status, stdout, stderr } = process::run(&mut ssh, limit)?;
        match status {
            Some(NO_SSH) => Err(ClusterError::Unreachable { rank, why: stderr.trim().to_owned() }),
            Some(status) => Ok(Some(Output { status, stdout, stderr })),
            None => Ok(None),
        }
    }
}

impl Cluster for QemuCluster {
    fn size(&self) -> u32 {
        self.job.size()
    }

    fn ping(&mut self, from: u32, to: u32) -> Result<Duration, ClusterError> {
        self.job.ssh_port(to)?;
        let command = format!("ping -c 1 -W {} 10.0.0.{}", PING_TIME.as_secs(), to + 1);
        let said = self.in_guest(from, &command, EXEC_TIME)?.ok_or_else(|| stuck(from))?;
        match round_trip(&said.stdout) {
            Some(time) if said.is_success() => Ok(time),
            _ => Err(ClusterError::NoAnswer { from, to }),
        }
    }

    fn exec(&mut self, rank: u32, command: &str) -> Result<Output, ClusterError> {
        let ended = self.in_guest(rank, command, EXEC_TIME)?;
        ended.ok_or_else(|| ClusterError::TimeOut { rank, command: command.to_owned() })
    }

    fn change(&mut self, change: &Change) -> Result<(), ClusterError> {
        // What the program would refuse has the same name here as in the simulation.
        change.check(self.job.world())?;
        let mut fault = Command::new(self.job.program());
        fault.args(["fault", "--job", &self.job.process().to_string(), &change.to_string()]);
        let said = process::run(&mut fault, FAULT_TIME)?;
        if said.status == Some(0) {
            Ok(())
        } else {
            Err(self.job.broken(&format!("{change}: {}", said.stderr)))
        }
    }

    fn advance(&mut self, duration: Duration) -> Result<(), ClusterError> {
        nap(duration);
        Ok(())
    }
}

fn stuck(rank: u32) -> ClusterError {
    ClusterError::Unreachable { rank, why: "it does not answer".to_owned() }
}

/// The time of the first answer, as ping(8) of busybox and of iputils write it: `time=1.234 ms`.
fn round_trip(stdout: &str) -> Option<Duration> {
    let (_, rest) = stdout.split_once("time=")?;
    let millis: f64 = rest.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(millis / 1000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_read_from_what_ping_writes() {
        let said =
            "PING 10.0.0.2 (10.0.0.2): 56 data bytes\n64 bytes from 10.0.0.2: seq=0 ttl=64 time=102.518 ms\n";
        assert_eq!(round_trip(said), Some(Duration::from_micros(102_518)));
        assert_eq!(round_trip("1 packets transmitted, 0 packets received"), None);
    }
}
