//! The subcommands as clap sees them. Their flags are each module's own.

use clap::{ArgAction, Parser, Subcommand};

use super::help;
use crate::args::{Launch, OTHER, Up};
use crate::{
    bridge, check, console, doctor, down, exec, fault, gc, lab, port, ps, reset, rsh, seed, sim, ssh, status,
};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "mvpnet",
    version = help::VERSION,
    long_version = help::long_version(),
    about = help::ABOUT,
    long_about = help::LONG_ABOUT,
    override_usage = help::USAGE,
    after_help = help::AFTER_SHORT,
    after_long_help = help::after_long(),
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    disable_help_flag = true,
    disable_version_flag = true,
    max_term_width = 100,
)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub launch: Launch,

    /// Show the version and what this program was built with
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = OTHER, display_order = 1000)]
    pub version: Option<bool>,
}

/// The words that may stand first.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all guests on this machine, without MPI
    #[command(
        long_about = help::UP_LONG_ABOUT,
        override_usage = help::UP_USAGE,
        after_help = help::AFTER_SHORT,
        after_long_help = help::after_long(),
        disable_help_flag = true,
    )]
    Up(Box<Up>),

    /// Simulate a job by a scenario file, faults included
    #[command(
        long_about = sim::LONG_ABOUT,
        override_usage = sim::USAGE,
        after_help = sim::AFTER_SHORT,
        after_long_help = sim::AFTER_LONG,
        disable_help_flag = true,
    )]
    Sim(sim::Flags),

    /// Show your jobs on this host
    #[command(
        long_about = ps::LONG_ABOUT,
        override_usage = ps::USAGE,
        after_help = ps::AFTER_SHORT,
        after_long_help = ps::AFTER_LONG,
        disable_help_flag = true,
    )]
    Ps(ps::Flags),

    /// Show how each rank of a running job is
    #[command(
        long_about = status::LONG_ABOUT,
        override_usage = status::USAGE,
        after_help = status::AFTER_SHORT,
        after_long_help = status::AFTER_LONG,
        disable_help_flag = true,
    )]
    Status(status::Flags),

    /// End a running job, and wait until it is gone
    #[command(
        long_about = down::LONG_ABOUT,
        override_usage = down::USAGE,
        after_help = down::AFTER_SHORT,
        after_long_help = down::AFTER_LONG,
        disable_help_flag = true,
    )]
    Down(down::Flags),

    /// Check that the guests of a running job are a cluster: names, ssh, MTU, MPI
    #[command(
        long_about = check::LONG_ABOUT,
        override_usage = check::USAGE,
        after_help = check::AFTER_SHORT,
        after_long_help = check::AFTER_LONG,
        disable_help_flag = true,
    )]
    Check(check::Flags),

    /// Press the reset buttons of guests in a running job
    #[command(
        long_about = reset::LONG_ABOUT,
        override_usage = reset::USAGE,
        after_help = reset::AFTER_SHORT,
        after_long_help = reset::AFTER_LONG,
        disable_help_flag = true,
    )]
    Reset(reset::Flags),

    /// Remove what dead jobs have left on this host
    #[command(
        long_about = gc::LONG_ABOUT,
        override_usage = gc::USAGE,
        after_help = gc::AFTER_SHORT,
        after_long_help = gc::AFTER_LONG,
        disable_help_flag = true,
    )]
    Gc(gc::Flags),

    /// Break the network of a running job on purpose, and mend it
    #[command(
        long_about = fault::LONG_ABOUT,
        override_usage = fault::USAGE,
        after_help = fault::AFTER_SHORT,
        after_long_help = fault::AFTER_LONG,
        disable_help_flag = true,
    )]
    Fault(fault::Flags),

    /// Run a command in guests of a running job, without ssh and network
    #[command(
        long_about = exec::LONG_ABOUT,
        override_usage = exec::USAGE,
        after_help = exec::AFTER_SHORT,
        after_long_help = exec::AFTER_LONG,
        disable_help_flag = true,
    )]
    Exec(exec::Flags),

    /// The same in the calling form of rsh and ssh, for mpirun
    #[command(
        long_about = rsh::LONG_ABOUT,
        override_usage = rsh::USAGE,
        after_long_help = rsh::AFTER_LONG,
        disable_help_flag = true,
    )]
    Rsh(rsh::Flags),

    /// Show the console of a guest of a running job, and type at it
    #[command(
        long_about = console::LONG_ABOUT,
        override_usage = console::USAGE,
        after_long_help = console::AFTER_LONG,
        disable_help_flag = true,
    )]
    Console(console::Flags),

    /// Be the way to a guest's ssh port, for ssh's ProxyCommand
    #[command(long_about = port::LONG_ABOUT, override_usage = port::USAGE, disable_help_flag = true)]
    Port(port::Flags),

    /// Write what a guest would be told by cloud-init, without booting it
    #[command(
        long_about = seed::LONG_ABOUT,
        override_usage = seed::USAGE,
        after_long_help = seed::AFTER_LONG,
        disable_help_flag = true,
    )]
    Seed(Box<seed::Flags>),

    /// Log in to a guest of a running job, or run a command there
    #[command(
        long_about = ssh::SSH_LONG_ABOUT,
        override_usage = ssh::SSH_USAGE,
        after_long_help = ssh::SSH_AFTER_LONG,
        disable_help_flag = true,
    )]
    Ssh(ssh::SshFlags),

    /// Copy files to and from guests of a running job
    #[command(
        long_about = ssh::CP_LONG_ABOUT,
        override_usage = ssh::CP_USAGE,
        after_long_help = ssh::CP_AFTER_LONG,
        disable_help_flag = true,
    )]
    Cp(ssh::CpFlags),

    /// Print how ssh reaches the guests of a running job
    #[command(
        long_about = ssh::CONFIG_LONG_ABOUT,
        override_usage = ssh::CONFIG_USAGE,
        disable_help_flag = true,
    )]
    SshConfig(ssh::ConfigFlags),

    /// Start, show or end a whole lab on several servers, from one file
    #[command(
        long_about = lab::LONG_ABOUT,
        override_usage = lab::USAGE,
        after_help = lab::AFTER_SHORT,
        after_long_help = lab::AFTER_LONG,
        disable_help_flag = true,
    )]
    Lab(lab::Flags),

    /// Find what would be in the way, on this host and others, and how to mend it
    #[command(
        long_about = doctor::LONG_ABOUT,
        override_usage = doctor::USAGE,
        after_help = doctor::AFTER_SHORT,
        after_long_help = doctor::AFTER_LONG,
        disable_help_flag = true,
    )]
    Doctor(doctor::Flags),

    /// Be the switch between guests on other servers, over VXLAN
    #[command(
        long_about = bridge::LONG_ABOUT,
        override_usage = bridge::USAGE,
        after_help = bridge::AFTER_SHORT,
        after_long_help = bridge::AFTER_LONG,
        disable_help_flag = true,
    )]
    Bridge(Box<bridge::Flags>),
}
