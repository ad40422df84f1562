//! `mvpnet-loadgen`: takes qemu's place and makes traffic. See [`mvpnet_testbeds::loadgen`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mvpnet_testbeds::loadgen::main(std::env::args().skip(1).collect())
}
