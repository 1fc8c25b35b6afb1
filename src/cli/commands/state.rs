//! `symphony state check`: what a running service asks of a binary that is to take over.

use std::path::Path;

use serde_json::json;

use crate::cli::args::StateCommand;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::launcher::local::illegible;
use crate::state::folder::StateFolder;
use crate::state::{OLDEST, VERSION};

/// Looks at the state files of a service.
pub fn run(command: &StateCommand, session: &Session) -> Result<(), CliError> {
    let StateCommand::Check { folder } = command;
    check(folder)?;
    if session.output.is_json() {
        session.output.line(json!({ "reads": [OLDEST, VERSION] }))
    } else {
        session.output.line(format!("the state can be read: versions {OLDEST} to {VERSION}"))
    }
}

fn check(path: &Path) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    // a service that has none has nothing to be taken over
    let Some(folder) = StateFolder::find(path).map_err(failed)? else { return Ok(()) };
    match illegible(&folder).map_err(failed)? {
        None => Ok(()),
        Some(why) => Err(CliError::Failed(why)),
    }
}
