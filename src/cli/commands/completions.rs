//! `symphony completions SHELL`.

use crate::cli::args::{self, CompletionsArgs};
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Prints the completion script.
pub fn run(args: &CompletionsArgs, session: &Session) -> Result<(), CliError> {
    // into memory first: the generator panics on a closed pipe
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "symphony", &mut script);
    session.output.write(&script)
}
