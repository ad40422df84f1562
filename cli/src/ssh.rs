//! `mvpnet ssh`, `mvpnet cp` and `mvpnet ssh-config`: the host's ssh, told how to get into a job's guests. The files that
//! tell it are the job's (`run/ssh_files.rs`); this finds them and hands over.

mod cp;
mod flags;
mod names;
mod place;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use mvpnet_qemu_driver::names::find_program;

use crate::args::USAGE_EXIT_CODE;
use crate::session::EnterError;
pub use cp::run as cp;
pub use flags::{
    CONFIG_LONG_ABOUT, CONFIG_USAGE, CP_AFTER_LONG, CP_LONG_ABOUT, CP_USAGE, ConfigFlags, CpFlags,
    SSH_AFTER_LONG, SSH_LONG_ABOUT, SSH_USAGE, SshFlags,
};
use names::NameError;
use place::Place;

/// Why there is no way in.
#[derive(Debug, thiserror::Error)]
enum SshError {
    #[error(transparent)]
    Job(#[from] EnterError),
    #[error(
        "{job} has not said yet how its guests are reached: its guests are not started, or it has no directory"
    )]
    NoConfig { job: String },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{program} is not on this host: install it (Debian: openssh-client)")]
    NoProgram { program: &'static str },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Copy(String),
}

impl SshError {
    /// Says it, with the exit code that ssh and scp have for troubles of their own, or that of wrong usage.
    fn say(&self, own: u8) -> ExitCode {
        let _ = writeln!(std::io::stderr(), "mvpnet: {self}");
        let is_usage = match self {
            Self::Job(error) => error.code() == USAGE_EXIT_CODE,
            error => matches!(error, Self::Name(_)),
        };
        ExitCode::from(if is_usage { USAGE_EXIT_CODE } else { own })
    }
}

/// ssh's exit code for what is not the remote command's (ssh(1), EXIT STATUS).
const SSH_FAILED: u8 = 255;

/// Becomes ssh.
pub fn ssh(flags: &SshFlags) -> ExitCode {
    let SshFlags { job, login, target, rest, .. } = flags;
    let command = Place::find(job.as_deref()).and_then(|place| {
        let mut command = program("ssh")?;
        command.arg("-F").arg(place.config());
        if let Some(login) = login {
            command.arg("-l").arg(login);
        }
        command.arg(place.names()?.target(target)?).args(rest);
        Ok(command)
    });
    match command {
        Ok(command) => hand_over(command).say(SSH_FAILED),
        Err(error) => error.say(SSH_FAILED),
    }
}

/// Who logs in to the guests of a job of which this is a process, as far as its ssh_config(5) says.
pub(crate) fn user_of(process: u32) -> Option<String> {
    let config = mvpnet_node::control::JobDirectory::of_process(process)?.join(crate::run::SSH_CONFIG);
    let text = std::fs::read_to_string(config).ok()?;
    text.lines().find_map(|line| line.trim().strip_prefix("User ")).map(|user| user.trim().to_owned())
}

/// Prints the ssh_config(5) of a job.
pub fn config(flags: &ConfigFlags) -> ExitCode {
    let text = Place::find(flags.job.as_deref()).and_then(|place| match flags.path {
        true => Ok(format!("{}\n", place.config().display())),
        false => place.text(),
    });
    match text {
        Ok(text) => {
            // Nobody reads it: no harm done.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => error.say(1),
    }
}

fn program(name: &'static str) -> Result<Command, SshError> {
    find_program(name).map(Command::new).ok_or(SshError::NoProgram { program: name })
}

/// Becomes this command; returns only if that cannot be.
fn hand_over(mut command: Command) -> SshError {
    let path = PathBuf::from(command.get_program());
    SshError::Io { path, error: command.exec() }
}

/// Text for a message.
fn shown(word: &OsStr) -> String {
    OsString::from(word).to_string_lossy().into_owned()
}
