//! `symphony-heart`: heart and guard alone, in a file of their own, which takes a third of the memory.

use std::process::ExitCode;

fn main() -> ExitCode {
    symphony::heart::main().unwrap_or_else(|| {
        eprintln!("Error: this program is started by `symphony start-service`, not by hand");
        ExitCode::from(2)
    })
}
