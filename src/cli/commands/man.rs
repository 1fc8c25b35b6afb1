//! `symphony man [COMMAND]`.

use crate::cli::args::{self, ManArgs};
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Prints the manual page of `symphony`, or of one of its commands.
pub fn run(args: &ManArgs, session: &Session) -> Result<(), CliError> {
    let mut command = args::command();
    command.build();
    let command = match &args.command {
        None => command,
        Some(name) => {
            let found = command.find_subcommand(name).filter(|sub| !sub.is_hide_set()).cloned();
            found.ok_or_else(|| CliError::Failed(format!("no command '{name}'")))?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(CliError::Output)?;
    session.output.write(&page)
}
