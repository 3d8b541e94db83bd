//! Wires the library to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    controller::cli::run()
}
