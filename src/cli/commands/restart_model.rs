//! `symphony restart-model`.

use serde_json::json;

use super::load_model;
use crate::cli::args::ModelArgs;
use crate::cli::error::{Action, CliError};
use crate::cli::session::Session;

/// Restarts a model and tells its endpoint.
pub fn run(args: &ModelArgs, session: &Session) -> Result<(), CliError> {
    let params = json!({ "model_name": args.name, "wait": true });
    let answer = load_model::ask(Action::Restart, "restart-model", params, &args.name, session)?;
    load_model::tell(&answer, "restarted", session)
}
