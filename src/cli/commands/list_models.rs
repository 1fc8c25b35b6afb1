//! `symphony list-models`.

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::models::{shown, state_style};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::{Cell, Table};

/// Lists the models of the configuration.
pub fn run(session: &Session) -> Result<(), CliError> {
    let answer = session.ask("list-models", json!({}))?;
    if session.output.is_json() {
        session.output.line(answer.text())
    } else {
        session.output.line(human(&answer.value(), &session.output))
    }
}

fn human(data: &Value, output: &Output) -> String {
    let models = data["supported_models"].as_array().map(Vec::as_slice).unwrap_or_default();
    if models.is_empty() {
        return "No models configured".into();
    }
    let mut table = Table::new(["NAME", "TYPE", "STATE", "FULL NAME"]);
    for model in models {
        table.push(row(model));
    }
    table.lines(output).join("\n")
}

fn row(model: &Value) -> [Cell; 4] {
    // an older service lists bare names
    if let Some(name) = model.as_str() {
        return [Cell::new(name), Cell::new("-"), Cell::new("-"), Cell::new("")];
    }
    let state = shown(&model["state"]);
    let style = state_style(&state);
    [
        Cell::new(shown(&model["name"])),
        Cell::new(shown(&model["type"])),
        Cell::new(state).styled(style),
        Cell::new(model["fullname"].as_str().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_any_service_are_listed() {
        let data = json!({"supported_models": [
            {"name": "phi", "type": "t", "state": "ready", "fullname": "org/phi"},
            {"name": "llama", "type": "t", "state": "stopped", "fullname": null},
            "bare"
        ]});
        assert_eq!(
            human(&data, &Output::new(true)),
            "NAME   TYPE  STATE    FULL NAME\n\
             phi    t     ready    org/phi\n\
             llama  t     stopped\n\
             bare   -     -"
        );
        assert_eq!(human(&json!({}), &Output::new(true)), "No models configured");
    }
}
