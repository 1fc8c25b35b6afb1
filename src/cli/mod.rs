//! The command line: arguments, a client of the management socket, output for people and as JSON.
//!
//! What was typed ([`args`]) becomes what is meant ([`session`]); each command has a file of its own in [`commands`].
//! It knows the management contract, no actor.

pub mod args;
pub mod client;
pub mod commands;
pub mod configuration;
pub mod daemon;
pub mod early_stop;
pub mod error;
pub mod exec_shim;
pub mod follow;
pub mod gap;
pub mod given;
pub mod heart;
pub mod helper;
pub mod interruption;
pub mod models;
pub mod output;
pub mod overdue;
pub mod parse;
pub mod progress;
pub mod session;
pub mod stage;
pub mod surroundings;
pub mod table;
pub mod times;

use std::ffi::OsString;
use std::process::ExitCode;

use args::Invocation;
use output::Output;
use session::Session;

/// Parses the arguments of this process, carries out the command, answers the exit code. Heart and guard come before: the
/// parser alone takes more memory than either of them.
pub fn main() -> ExitCode {
    // started by way of /proc/self/exe it would be shown as "exe"; without a name it runs as well
    let _ = rustix::thread::set_name(c"symphony");
    crate::heart::main().unwrap_or_else(|| run(std::env::args_os()))
}

fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let invocation = match Invocation::parse(arguments) {
        Ok(invocation) => invocation,
        Err(wrong) => {
            // help and version come this way, too; a closed pipe is no error
            let _ = wrong.print();
            return if wrong.use_stderr() { error::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let output = Output::new(invocation.flags.json);
    let session = Session::new(invocation.flags, invocation.config, output);
    match commands::run(invocation.command, &session) {
        Ok(code) => code,
        Err(error) => error.report(&session.output),
    }
}
