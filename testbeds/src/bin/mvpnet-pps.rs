//! `mvpnet-pps`: short frames, as many as an interface takes, and their count. See [`mvpnet_testbeds::pps`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mvpnet_testbeds::pps::main()
}
