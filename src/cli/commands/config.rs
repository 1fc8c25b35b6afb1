//! `symphony config check|show|schema`.

use crate::cli::args::ConfigCommand;
use crate::cli::configuration::{self, Request, ServiceFlags};
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::settings;
use crate::telemetry::escape::printable;

/// Shows what takes effect, or the schema of the file.
pub fn run(command: &ConfigCommand, session: &Session) -> Result<(), CliError> {
    match command {
        ConfigCommand::Check { file: Some(file) } => {
            let flags = ServiceFlags::default();
            effective(&Request { config: Some(file.clone()), flags }, session)
        }
        ConfigCommand::Check { file: None } | ConfigCommand::Show => {
            effective(&session.configuration(&ServiceFlags::default()), session)
        }
        // JSON with and without --json: a schema has no other form
        ConfigCommand::Schema => session.output.line(format!("{:#}", settings::schema())),
    }
}

fn effective(request: &Request, session: &Session) -> Result<(), CliError> {
    let effective = configuration::effective(request)?;
    if session.output.is_json() {
        session.output.line(effective.to_json())
    } else {
        session.output.line(printable(effective.to_text().trim_end()))
    }
}
