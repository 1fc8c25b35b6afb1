//! `symphony load-model`.

use serde_json::{Value, json};

use crate::cli::args::LoadArgs;
use crate::cli::client::reply::Answer;
use crate::cli::client::{Client, ClientError};
use crate::cli::error::{Action, CliError};
use crate::cli::models::shown;
use crate::cli::overdue;
use crate::cli::progress;
use crate::cli::session::Session;

/// Loads a model and tells its endpoint.
pub fn run(args: &LoadArgs, session: &Session) -> Result<(), CliError> {
    let mut params = json!({ "model_name": args.name });
    if !args.no_wait {
        params["wait"] = true.into();
    }
    if let Some(path) = &args.config_path {
        params["config_path"] = path.as_str().into();
    }
    let answer = ask(Action::Load, "load-model", params, &args.name, session)?;
    tell(&answer, "loaded", session)
}

/// Sends a request that starts a model and waits for its end.
pub fn ask(
    action: Action,
    command: &str,
    params: Value,
    model: &str,
    session: &Session,
) -> Result<Answer, CliError> {
    let endpoint = session.endpoint()?;
    let exchange = || -> Result<Answer, ClientError> {
        let client = Client::connect(&endpoint)?;
        let pending = client.send(command, params)?;
        let patience = session.load_patience();
        match progress::wait(&client, &pending, model, &endpoint, patience, &session.output) {
            Err(ClientError::Timeout) => {
                overdue::settle(&client, &pending, &endpoint, model, patience)
            }
            outcome => outcome,
        }
    };
    exchange().map_err(|error| action.error(error))
}

/// Tells where a model serves that was loaded or restarted.
pub fn tell(answer: &Answer, done: &str, session: &Session) -> Result<(), CliError> {
    if session.output.is_json() {
        return session.output.line(answer.text());
    }
    let data = answer.value();
    let endpoint = shown(&data["endpoint"]);
    session.output.line(match data["state"].as_str() {
        // not waited for: to call it loaded would be a lie
        Some("starting") => format!("Model is starting; it will serve on endpoint: {endpoint}"),
        _ => format!("Model {done} successfully on endpoint: {endpoint}"),
    })
}
