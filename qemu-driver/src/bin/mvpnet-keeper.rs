//! The keeper and the guest's starter as a program of their own, for this crate's tests. In production they
//! are hidden subcommands of `mvpnet`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mvpnet_qemu_driver::supervise::run_hidden(std::env::args_os()).unwrap_or_else(|| {
        eprintln!("mvpnet-keeper: started by mvpnet, not by hand");
        ExitCode::from(2)
    })
}
