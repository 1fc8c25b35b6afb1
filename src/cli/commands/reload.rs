//! `symphony reload`.

use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::settings::diff::ReloadOutcome;
use crate::telemetry::escape::one_line;

/// Applies the changed configuration and tells what changed.
pub fn run(session: &Session) -> Result<(), CliError> {
    let answer = session.ask("reload", json!({}))?;
    if session.output.is_json() {
        return session.output.line(answer.text());
    }
    let outcome: ReloadOutcome = answer.parse()?;
    session.output.line(human(&outcome).join("\n"))
}

fn human(outcome: &ReloadOutcome) -> Vec<String> {
    let mut lines = vec!["Configuration reloaded".to_owned()];
    let mut add = |title: &str, names: Vec<&str>| {
        if !names.is_empty() {
            lines.push(format!("{title}: {}", one_line(&names.join(", "))));
        }
    };
    add("Added", names(&outcome.added));
    let changed = |restart_needed: bool| {
        let models = outcome.changed.iter().filter(|m| m.restart_needed == restart_needed);
        models.map(|model| model.name.as_str()).collect()
    };
    add("Changed, takes effect when the model is restarted", changed(true));
    add("Changed, in force", changed(false));
    add("Removed", names(&outcome.removed));
    add("Applied", names(&outcome.applied));
    add("Takes effect when the service is restarted", names(&outcome.needs_service_restart));
    lines.push(format!("Unchanged models: {}", outcome.unchanged));
    lines
}

fn names(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::diff::ChangedModel;

    #[test]
    fn only_what_happened_is_told() {
        let outcome = ReloadOutcome {
            added: vec!["phi".into(), "llama".into()],
            changed: vec![ChangedModel { name: "qwen".into(), restart_needed: true }],
            unchanged: 3,
            ..ReloadOutcome::default()
        };
        assert_eq!(
            human(&outcome),
            [
                "Configuration reloaded",
                "Added: phi, llama",
                "Changed, takes effect when the model is restarted: qwen",
                "Unchanged models: 3"
            ]
        );
    }
}
