//! Standard output that may be closed early, as by `controller status | head`: then the command ends quietly.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// Writes one line; ends the process where nobody reads any more, or nothing can be written.
pub(super) fn line(text: Arguments<'_>) {
    let Err(error) = writeln!(std::io::stdout().lock(), "{text}") else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("controller: cannot write to standard output: {error}");
    std::process::exit(74);
}

/// `println!` for a command whose reader may go away.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say::line(format_args!($($text)*)) };
}
pub(super) use say;
