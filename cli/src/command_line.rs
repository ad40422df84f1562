//! The command line as a whole: from words to an [`Invocation`], what the program was called to do.
//!
//! Without a subcommand the program is the launcher that `mpirun` starts on every rank. A subcommand is
//! recognised as the first word only, so that any application may follow flags or `--`, whatever its name. Flags end
//! at the application's name.

mod help;
#[cfg(test)]
mod tests;
mod words;

use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::args::{Options, Reach, Usage};
use words::{Command, CommandLine};

/// What the program was called to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// Be one rank of an MPI job.
    Launch(Options),
    /// Be all ranks.
    Up {
        /// Which ranks of what network, and how they reach the others.
        reach: Reach,
        /// What they do.
        options: Options,
    },
    /// Simulate a scenario.
    Sim(crate::sim::Options),
    /// Change a job that runs.
    Fault(crate::fault::Options),
    /// Run a command in guests.
    Exec(crate::exec::Options),
    /// The same, as rsh is called.
    Rsh(crate::rsh::Options),
    /// Show a guest's console.
    Console(crate::console::Options),
    /// Be the way to a guest's ssh port.
    Port(crate::port::Options),
    /// Write what a guest would be told.
    Seed(Box<crate::seed::Options>),
    /// Log in to a guest.
    Ssh(crate::ssh::SshFlags),
    /// Copy files to and from guests.
    Cp(crate::ssh::CpFlags),
    /// Print how ssh reaches guests.
    SshConfig(crate::ssh::ConfigFlags),
    /// Show jobs.
    Ps(crate::ps::Options),
    /// Show the ranks of a job.
    Status(crate::status::Options),
    /// End jobs.
    Down(crate::down::Options),
    /// Look whether guests are a cluster.
    Check(crate::check::Options),
    /// Reset guests.
    Reset(crate::reset::Options),
    /// Remove what dead jobs have left.
    Gc(crate::gc::Options),
    /// Start, show or end a whole lab.
    Lab(crate::lab::Options),
    /// Find what is in the way of guests and their network.
    Doctor(crate::doctor::Options),
    /// Be the switch of guests on other servers, or see to one.
    Bridge(crate::bridge::Options),
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Stop {
    /// Help or the version was asked for: to be shown, once for a job, with exit code 0.
    Show(clap::Error),
    /// The command line is wrong.
    Usage(Usage),
}

impl From<Usage> for Stop {
    fn from(usage: Usage) -> Self {
        Self::Usage(usage)
    }
}

/// Reads a command line, the program's own name first.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, Stop> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_else(|| "mvpnet".into());
    let mut words = words.peekable();
    let first = words.peek().cloned();
    let line = CommandLine::try_parse_from(std::iter::once(program).chain(words))
        .map_err(|error| stop(error, first.as_deref()))?;
    Ok(match line.command {
        None => Invocation::Launch(Options::read(line.launch)?),
        Some(Command::Up(flags)) => {
            let (reach, options) = flags.read()?;
            Invocation::Up { reach, options }
        }
        Some(Command::Sim(flags)) => Invocation::Sim(crate::sim::Options::read(flags)?),
        Some(Command::Fault(flags)) => Invocation::Fault(crate::fault::Options::read(flags)?),
        Some(Command::Exec(flags)) => Invocation::Exec(crate::exec::Options::read(flags)?),
        Some(Command::Rsh(flags)) => Invocation::Rsh(crate::rsh::Options::read(flags)?),
        Some(Command::Console(flags)) => Invocation::Console(crate::console::Options::read(flags)?),
        Some(Command::Port(flags)) => Invocation::Port(crate::port::Options::read(flags)?),
        Some(Command::Seed(flags)) => Invocation::Seed(Box::new(crate::seed::Options::read(*flags)?)),
        Some(Command::Ssh(flags)) => Invocation::Ssh(flags),
        Some(Command::Cp(flags)) => Invocation::Cp(flags),
        Some(Command::SshConfig(flags)) => Invocation::SshConfig(flags),
        Some(Command::Ps(flags)) => Invocation::Ps(crate::ps::Options::read(flags)),
        Some(Command::Status(flags)) => Invocation::Status(crate::status::Options::read(flags)),
        Some(Command::Down(flags)) => Invocation::Down(crate::down::Options::read(flags)?),
        Some(Command::Check(flags)) => Invocation::Check(crate::check::Options::read(flags)?),
        Some(Command::Reset(flags)) => Invocation::Reset(crate::reset::Options::read(flags)?),
        Some(Command::Gc(flags)) => Invocation::Gc(crate::gc::Options::read(flags)),
        Some(Command::Lab(flags)) => Invocation::Lab(crate::lab::Options::read(flags)?),
        Some(Command::Doctor(flags)) => Invocation::Doctor(crate::doctor::Options::read(flags)?),
        Some(Command::Bridge(flags)) => Invocation::Bridge(crate::bridge::Options::read(*flags)?),
    })
}

/// The command that explains the subcommand which the first word names, or the whole program.
fn help_of(word: Option<&OsStr>) -> String {
    let command = CommandLine::command();
    match word.and_then(|word| command.find_subcommand(word)) {
        Some(subcommand) => format!("mvpnet {} --help", subcommand.get_name()),
        None => "mvpnet --help".to_owned(),
    }
}

fn stop(error: clap::Error, first: Option<&OsStr>) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Show(error),
        _ => Stop::Usage(Usage::of_command_line(&error, help_of(first))),
    }
}

/// Prints help or the version if it is for this process to do so: see [`report_usage`](crate::args::report_usage).
pub fn show(text: &clap::Error, me: Option<u32>) {
    if me.is_none_or(|rank| rank == 0) {
        // Nobody reads it: nothing to be done about that.
        let _ = text.print();
    }
}
