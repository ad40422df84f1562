//! `mvpnet-bare-relay`: bytes between two load generators. See [`mvpnet_testbeds::relay`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mvpnet_testbeds::relay::main(std::env::args().skip(1).collect())
}
