//! `mvpnet-frame-path`: a rank's frame loop alone, for profilers. See [`mvpnet_testbeds::frame_path`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mvpnet_testbeds::frame_path::main(std::env::args().skip(1).collect())
}
