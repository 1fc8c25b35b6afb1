//! The `symphony` command: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    symphony::cli::main()
}
