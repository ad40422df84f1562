//! `mvpnet-bench`: the benchmark behind `ci/bench`. See [`mvpnet_testbeds::bench`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mvpnet_testbeds::bench::main()
}
