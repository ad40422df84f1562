//! The `mvpnet` program: reads the command line, and hands over to what it was called to do.

use std::process::ExitCode;

use mvpnet_cli::args::report_usage;
use mvpnet_cli::command_line::{self, Invocation, Stop};
use mvpnet_cli::{bridge, fault, run, ssh};
use mvpnet_qemu_driver::supervise::run_hidden;
use mvpnet_transports::launcher::launcher_env;

fn main() -> ExitCode {
    // The keeper of a guest, and what becomes qemu, are this program too; they want nothing of what follows.
    if let Some(code) = run_hidden(std::env::args_os()) {
        return code;
    }
    let me = launcher_env().map(|launcher| launcher.rank);
    match command_line::parse(std::env::args_os()) {
        Ok(invocation) => run(&invocation),
        Err(Stop::Show(text)) => {
            command_line::show(&text, me);
            ExitCode::SUCCESS
        }
        Err(Stop::Usage(usage)) => report_usage(&usage, me),
    }
}

fn run(invocation: &Invocation) -> ExitCode {
    match invocation {
        Invocation::Launch(options) => run::mpi::run(options),
        Invocation::Up { reach, options } => run::up::run(reach, options),
        Invocation::Sim(options) => mvpnet_cli::sim::run(options),
        Invocation::Fault(options) => fault::run(options),
        Invocation::Exec(options) => mvpnet_cli::exec::run(options),
        Invocation::Rsh(options) => mvpnet_cli::rsh::run(options),
        Invocation::Console(options) => mvpnet_cli::console::run(options),
        Invocation::Port(options) => mvpnet_cli::port::run(options),
        Invocation::Seed(options) => mvpnet_cli::seed::run(options),
        Invocation::Ssh(flags) => ssh::ssh(flags),
        Invocation::Cp(flags) => ssh::cp(flags),
        Invocation::SshConfig(flags) => ssh::config(flags),
        Invocation::Ps(options) => mvpnet_cli::ps::run(options),
        Invocation::Status(options) => mvpnet_cli::status::run(options),
        Invocation::Down(options) => mvpnet_cli::down::run(options),
        Invocation::Check(options) => mvpnet_cli::check::run(options),
        Invocation::Reset(options) => mvpnet_cli::reset::run(options),
        Invocation::Gc(options) => mvpnet_cli::gc::run(options),
        Invocation::Lab(options) => mvpnet_cli::lab::run(options),
        Invocation::Doctor(options) => mvpnet_cli::doctor::run(options),
        Invocation::Bridge(options) => bridge::run(options),
    }
}
