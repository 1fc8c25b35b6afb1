//! Lets a program that embeds the service be its own `symphony` binary for the processes the service starts.

use std::process::ExitCode;

use clap::Parser;

use super::exec_shim::{self, ExecShimArgs};
use crate::engine::{self, BackendArgs};

#[derive(Debug, Parser)]
enum Helper {
    /// The embedded engine.
    Backend(BackendArgs),
    /// Limits and readiness descriptors.
    ExecShim(ExecShimArgs),
}

/// Does the work of a helper process if this process was started as one (`backend …` or `exec-shim …`), and answers
/// its exit code; `None` for a process with a life of its own.
///
/// Call it first thing in `main`, before any thread is started.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = symphony::cli::helper::run() {
///         return code;
///     }
///     // … the program itself …
///     ExitCode::SUCCESS
/// }
/// ```
pub fn run() -> Option<ExitCode> {
    let first = std::env::args().nth(1)?;
    if first != "backend" && first != "exec-shim" {
        return None;
    }
    Some(match Helper::try_parse() {
        Ok(Helper::Backend(args)) => engine::run(args),
        Ok(Helper::ExecShim(args)) => exec_shim::run(args),
        Err(wrong) => {
            // a closed pipe is no error
            let _ = wrong.print();
            ExitCode::from(2)
        }
    })
}
