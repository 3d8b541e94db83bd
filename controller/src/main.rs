//! Wires the library to the command line.
fn main() {}
