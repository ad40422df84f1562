//! `mvpnet-cable`: a cable between two interfaces, with the faults of the link model. See [`mvpnet_testbeds::cable`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mvpnet_testbeds::cable::main()
}
