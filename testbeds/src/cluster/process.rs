//! Running other programs with a limit, and waiting for what they do.

use std::io::{self, Read, Seek};
use std::process::{Command, Stdio};
use std::time::Duration;

use mvpnet_sim::cluster::ClusterError;

use crate::wall::{nap, now};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What another program said.
#[derive(Debug)]
pub(super) struct Said {
    /// Its exit status, or 128 and the signal that ended it; none: its time was over.
    pub(super) status: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a program that is killed when its time is over.
pub(super) fn run(command: &mut Command, limit: Duration) -> Result<Said, ClusterError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let said = said(command, limit);
    said.map_err(|error| ClusterError::Broken(format!("{program}: {error}")))
}

fn said(command: &mut Command, limit: Duration) -> io::Result<Said> {
    use std::os::unix::process::ExitStatusExt;
    // Files rather than pipes: a grandchild that holds a pipe open would keep its reader waiting.
    let mut files = [tempfile::tempfile()?, tempfile::tempfile()?];
    let output = |file: &std::fs::File| file.try_clone().map(Stdio::from);
    let mut child =
        command.stdin(Stdio::null()).stdout(output(&files[0])?).stderr(output(&files[1])?).spawn()?;
    let status = wait_for(limit, || child.try_wait().transpose())?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let mut texts = [String::new(), String::new()];
    for (file, text) in files.iter_mut().zip(&mut texts) {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }
    let [stdout, stderr] = texts;
    let status = status.map(|status| status.code().unwrap_or(128 + status.signal().unwrap_or(0)));
    Ok(Said { status, stdout, stderr })
}

/// Waits until `look` finds something, for so long at most.
pub(super) fn wait_for<T, E>(
    limit: Duration,
    mut look: impl FnMut() -> Option<Result<T, E>>,
) -> Result<Option<T>, E> {
    let start = now();
    loop {
        if let Some(found) = look() {
            return found.map(Some);
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        nap(LOOK);
    }
}
