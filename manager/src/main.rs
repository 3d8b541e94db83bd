//! Wires the library to the command line.

fn main() -> std::process::ExitCode {
    manager::cli::run()
}
