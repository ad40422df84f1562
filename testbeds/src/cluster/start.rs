//! The job behind a cluster: started, found out about, and ended.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use mvpnet_sim::cluster::ClusterError;
use mvpnet_switch::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::wait_for;

/// How long guests may take to boot: emulated, several on a busy machine.
const BOOT_TIME: Duration = Duration::from_secs(180);

/// How long a job may take to end: its guests are shut down, emulated.
const END_TIME: Duration = Duration::from_secs(90);

/// Ranks whose ssh ports `mvpnet up` says.
const MOST: u32 = 16;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program, `mvpnet`.
    pub program: PathBuf,
    /// The directory of the tiny guest, as `testbeds/tiny/build` makes it.
    pub tiny: PathBuf,
    /// How many guests: 16 at most.
    pub size: u32,
    /// Variables of the job's environment.
    pub environment: Vec<(String, String)>,
}

/// A job that runs.
#[derive(Debug)]
pub(super) struct Job {
    spec: Spec,
    world: World,
    child: Child,
    directory: tempfile::TempDir,
    ssh_ports: Vec<u16>,
}

impl Job {
    pub(super) fn start(spec: Spec) -> Result<Job, ClusterError> {
        let broken = |what: &str, error: io::Error| ClusterError::Broken(format!("{what}: {error}"));
        let world = World::new(spec.size).map_err(|error| ClusterError::Broken(error.to_string()))?;
        if spec.size > MOST {
            return Err(ClusterError::Broken(format!("{} guests are more than {MOST}", spec.size)));
        }
        let made = tempfile::Builder::new().prefix("cluster-").tempdir();
        let directory = made.map_err(|error| broken("a temporary directory", error))?;
        let child = launch(&spec, directory.path()).map_err(|error| broken("mvpnet up", error))?;
        let mut job = Job { spec, world, child, directory, ssh_ports: Vec::new() };
        job.wait_until_up()?;
        job.ssh_ports = ssh_ports(&job.stderr());
        if job.ssh_ports.len() != job.spec.size as usize {
            return Err(job.broken("not all ssh ports were said"));
        }
        Ok(job)
    }

    fn wait_until_up(&mut self) -> Result<(), ClusterError> {
        let up = wait_for(BOOT_TIME, || match self.child.try_wait() {
            // The ssh ports are said before this, which is the last that is said.
            Ok(None) => self.stderr().contains("there is no application to wait for").then_some(Ok(())),
            Ok(Some(status)) => Some(Err(self.broken(&format!("the job ended: {status}")))),
            Err(error) => Some(Err(self.broken(&error.to_string()))),
        })?;
        up.ok_or_else(|| self.broken(&format!("not all guests were up after {BOOT_TIME:?}")))
    }

    pub(super) fn size(&self) -> u32 {
        self.spec.size
    }

    pub(super) fn world(&self) -> World {
        self.world
    }

    pub(super) fn program(&self) -> &Path {
        &self.spec.program
    }

    pub(super) fn tiny(&self, file: &str) -> PathBuf {
        self.spec.tiny.join(file)
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process of its rank 0.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The port of 127.0.0.1 that leads to a guest.
    pub(super) fn ssh_port(&self, rank: u32) -> Result<u16, ClusterError> {
        let port = self.ssh_ports.get(rank as usize).copied();
        port.ok_or_else(|| ClusterError::Unreachable { rank, why: "there is no such guest".to_owned() })
    }

    /// What went wrong, with what the job said last.
    pub(super) fn broken(&self, what: &str) -> ClusterError {
        let stderr = self.stderr();
        let lines: Vec<&str> = stderr.lines().collect();
        let last = lines[lines.len().saturating_sub(8)..].join("\n    ");
        ClusterError::Broken(format!("{}\n  the job said last:\n    {last}", what.trim_end()))
    }

    pub(super) fn end(mut self) -> Result<(), ClusterError> {
        match self.stop() {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(self.broken(&format!("the job ended with {status}"))),
            Ok(None) => Err(self.broken(&format!("the job did not end within {END_TIME:?}"))),
            Err(error) => Err(self.broken(&error.to_string())),
        }
    }

    /// Asks it to end, and waits for that.
    fn stop(&mut self) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(status));
        }
        // Its number is not used again before we have waited for it.
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        wait_for(END_TIME, || self.child.try_wait().transpose())
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("stderr")).unwrap_or_default())
            .into_owned()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !matches!(self.stop(), Ok(Some(_))) {
            // The keepers tidy up behind it.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn launch(spec: &Spec, directory: &Path) -> io::Result<Child> {
    let tiny = |file| spec.tiny.join(file);
    let cmdline = fs::read_to_string(tiny("cmdline"))?;
    let output = |name| File::create(directory.join(name));
    Command::new(&spec.program)
        .args(["up", "-N", &spec.size.to_string(), "-m", "256", "-C", "1"])
        .arg("--kernel")
        .arg(tiny("kernel"))
        .arg("--initrd")
        .arg(tiny("initrd"))
        .args(["--append", cmdline.trim(), "-l"])
        .arg(directory)
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output("stdout")?)
        .stderr(output("stderr")?)
        // Ctrl-C at the test is the test's: it ends the job when it drops it.
        .process_group(0)
        .spawn()
}

/// From lines like `mvpnet: n0001: ssh -p 2201 root@127.0.0.1`, in the order of ranks.
fn ssh_ports(stderr: &str) -> Vec<u16> {
    let ports = stderr.lines().filter_map(|line| {
        let (_, rest) = line.split_once(": ssh -p ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_ports_are_those_that_the_job_says() {
        let said = "mvpnet: 2 guests are up after 6 s\nmvpnet: n0000: ssh -p 2200 root@127.0.0.1\n\
                    mvpnet: n0001: ssh -p 2301 root@127.0.0.1\n";
        assert_eq!(ssh_ports(said), [2200, 2301]);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let spec =
            Spec { program: "/no/such".into(), tiny: "/no/such".into(), size: 1, environment: Vec::new() };
        let error = Job::start(spec).unwrap_err().to_string();
        assert!(error.starts_with("mvpnet up: "), "{error}");
    }
}
