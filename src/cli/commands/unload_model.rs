//! `symphony unload-model`.

use serde_json::json;

use crate::cli::args::ModelArgs;
use crate::cli::client::{Client, ClientError};
use crate::cli::error::{Action, CliError};
use crate::cli::overdue;
use crate::cli::session::Session;

/// Unloads a model; answered when its process is gone.
pub fn run(args: &ModelArgs, session: &Session) -> Result<(), CliError> {
    let params = json!({ "model_name": args.name });
    let endpoint = session.endpoint()?;
    let patience = session.patience();
    let answer = Client::connect(&endpoint)
        .and_then(|client| client.ask("unload-model", params, patience))
        .map_err(|error| match error {
            // a process may take longer to end than an answer is waited for
            ClientError::Timeout => overdue::reason(&endpoint, &args.name, patience),
            other => other,
        })
        .map_err(|error| Action::Unload.error(error))?;
    if session.output.is_json() {
        session.output.line(answer.text())
    } else {
        session.output.line("Model unloaded successfully")
    }
}
