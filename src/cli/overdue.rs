//! A request about a model that was not answered in time: is it the service that is silent, or the model that takes long?

use std::time::Duration;

use serde_json::json;

use super::client::reply::Answer;
use super::client::{Client, ClientError, Pending};
use super::models::ModelLine;
use crate::limits;
use crate::telemetry::escape::one_line;

/// Looks after a request that was not answered within `patience`. The service is asked once for its status: one that tells
/// it is not silent, and the model is what is waited for. An answer that is due any moment is taken after all.
///
/// # Errors
/// [`ClientError`]: why there is no answer, or that of the request.
pub fn settle(
    client: &Client,
    pending: &Pending,
    endpoint: &str,
    model: &str,
    patience: Duration,
) -> Result<Answer, ClientError> {
    let line = state_of(endpoint, model)?;
    match client.receive(pending, extension(line.as_ref(), patience)) {
        Err(ClientError::Timeout) => Err(unfinished(line, model, patience)),
        outcome => outcome,
    }
}

/// Why there is no answer after `patience`, where it cannot be taken any more.
pub fn reason(endpoint: &str, model: &str, patience: Duration) -> ClientError {
    match state_of(endpoint, model) {
        Ok(line) => unfinished(line, model, patience),
        Err(error) => error,
    }
}

fn state_of(endpoint: &str, model: &str) -> Result<Option<ModelLine>, ClientError> {
    let client = Client::connect(endpoint)?;
    let answer = client.ask("status", json!({ "all": true }), limits::LIVE_SERVICE_PATIENCE)?;
    Ok(ModelLine::find(&answer.value(), model))
}

/// A process that takes its whole grace to end is killed just when an answer is waited for no longer.
fn extension(line: Option<&ModelLine>, patience: Duration) -> Duration {
    match line.map(|line| line.state.as_str()) {
        Some("stopping" | "stopped") => patience.min(limits::LIVE_SERVICE_PATIENCE),
        _ => Duration::ZERO,
    }
}

fn unfinished(line: Option<ModelLine>, model: &str, patience: Duration) -> ClientError {
    let name = one_line(model);
    let waited = humantime::format_duration(patience);
    let Some(line) = line else {
        return ClientError::Unfinished(format!(
            "no answer within {waited}; the service runs and tells nothing of {name}"
        ));
    };
    let goes_on = match line.state.as_str() {
        "starting" | "exited" | "backoff" => "; it goes on loading",
        "stopping" => "; it goes on stopping",
        _ => "",
    };
    ClientError::Unfinished(format!(
        "no answer within {waited}: {name} is {}{goes_on}",
        line.in_short()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(entry: &serde_json::Value) -> String {
        unfinished(Some(ModelLine::read(entry)), "phi", Duration::from_secs(300)).to_string()
    }

    #[test]
    fn state_progress_and_reason_are_told() {
        assert_eq!(
            said_of(&json!({"state": "starting", "progress": "layer 7 of 32"})),
            "no answer within 5m: phi is starting, layer 7 of 32; it goes on loading"
        );
        assert_eq!(
            said_of(&json!({"state": "backoff", "reason": "exit 3 before ready"})),
            "no answer within 5m: phi is backoff, exit 3 before ready; it goes on loading"
        );
        assert_eq!(
            said_of(&json!({"state": "stopping"})),
            "no answer within 5m: phi is stopping; it goes on stopping"
        );
        assert_eq!(
            unfinished(None, "phi", Duration::from_millis(300)).to_string(),
            "no answer within 300ms; the service runs and tells nothing of phi"
        );
    }

    #[test]
    fn only_what_is_about_to_end_is_waited_for_a_little_longer() {
        let more = |state: &str, patience| {
            extension(Some(&ModelLine::read(&json!({ "state": state }))), patience)
        };
        let (short, long) = (Duration::from_millis(300), Duration::from_secs(10));
        assert_eq!(more("stopping", short), short);
        assert_eq!(more("stopping", long), limits::LIVE_SERVICE_PATIENCE);
        assert_eq!(more("starting", long), Duration::ZERO);
        assert_eq!(extension(None, long), Duration::ZERO);
    }
}
