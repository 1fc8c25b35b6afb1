//! `symphony unload-model`.

use serde_json::json;

use crate::cli::args::ModelArgs;
use crate::cli::client::Client;
use crate::cli::error::{Action, CliError};
use crate::cli::session::Session;

/// Unloads a model; answered when its process is gone.
pub fn run(args: &ModelArgs, session: &Session) -> Result<(), CliError> {
    let params = json!({ "model_name": args.name });
    let answer = Client::connect(&session.endpoint()?)
        .and_then(|client| client.ask("unload-model", params, session.patience()))
        .map_err(|error| Action::Unload.error(error))?;
    if session.output.is_json() {
        session.output.line(answer.text())
    } else {
        session.output.line("Model unloaded successfully")
    }
}
