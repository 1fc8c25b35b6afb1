//! `symphony unload-model`.

use serde_json::json;

use crate::cli::args::ModelArgs;
use crate::cli::client::reply::Answer;
use crate::cli::client::{Client, ClientError};
use crate::cli::error::{Action, CliError};
use crate::cli::overdue;
use crate::cli::session::Session;

/// Unloads a model; answered when its process is gone.
pub fn run(args: &ModelArgs, session: &Session) -> Result<(), CliError> {
    let params = json!({ "model_name": args.name });
    let endpoint = session.endpoint()?;
    let patience = session.patience();
    let exchange = || -> Result<Answer, ClientError> {
        let client = Client::connect(&endpoint)?;
        let pending = client.send("unload-model", params)?;
        match client.receive(&pending, patience) {
            // a process may take longer to end than an answer is waited for
            Err(ClientError::Timeout) => {
                overdue::settle(&client, &pending, &endpoint, &args.name, patience)
            }
            outcome => outcome,
        }
    };
    let answer = exchange().map_err(|error| Action::Unload.error(error))?;
    if session.output.is_json() {
        session.output.line(answer.text())
    } else {
        session.output.line("Model unloaded successfully")
    }
}
