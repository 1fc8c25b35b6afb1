//! `symphony config check|show|schema`.

use crate::cli::args::ConfigCommand;
use crate::cli::configuration::{self, Request, ServiceFlags};
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::settings::{self, Effective};
use crate::telemetry::escape::printable;

/// Shows what takes effect, or the schema of the file.
pub fn run(command: &ConfigCommand, session: &Session) -> Result<(), CliError> {
    let flags = ServiceFlags::default();
    match command {
        ConfigCommand::Check { file: Some(file) } => {
            let request = Request { config: Some(file.clone()), flags };
            show(&configuration::checked(&request)?, session)
        }
        ConfigCommand::Check { file: None } => {
            show(&configuration::checked(&session.configuration(&flags))?, session)
        }
        ConfigCommand::Show => {
            show(&configuration::effective(&session.configuration(&flags))?, session)
        }
        // JSON with and without --json: a schema has no other form
        ConfigCommand::Schema => session.output.line(format!("{:#}", settings::schema())),
    }
}

fn show(effective: &Effective, session: &Session) -> Result<(), CliError> {
    if session.output.is_json() {
        session.output.line(effective.to_json())
    } else {
        session.output.line(printable(effective.to_text().trim_end()))
    }
}
