//! A request about a model that was not answered in time: is it the service that is silent, or the model that takes long?

use std::time::Duration;

use serde_json::json;

use super::client::{Client, ClientError};
use super::models::ModelLine;
use crate::limits;
use crate::telemetry::escape::one_line;

/// Why there is no answer after `patience`. The service is asked once for its status: one that tells it is not silent,
/// and the model is what is waited for.
pub fn reason(endpoint: &str, model: &str, patience: Duration) -> ClientError {
    let asked = Client::connect(endpoint).and_then(|client| {
        client.ask("status", json!({ "all": true }), limits::LIVE_SERVICE_PATIENCE)
    });
    match asked {
        Ok(answer) => {
            ClientError::Unfinished(words(ModelLine::find(&answer.value(), model), model, patience))
        }
        // a service that ended meanwhile is told as such
        Err(error @ (ClientError::Gone | ClientError::NoService)) => error,
        Err(_) => ClientError::Timeout,
    }
}

fn words(line: Option<ModelLine>, model: &str, patience: Duration) -> String {
    let name = one_line(model);
    let waited = humantime::format_duration(patience);
    let Some(line) = line else {
        return format!("no answer within {waited}; the service runs and tells nothing of {name}");
    };
    let goes_on = match line.state.as_str() {
        "starting" | "exited" | "backoff" => "; it goes on loading",
        "stopping" => "; it goes on stopping",
        _ => "",
    };
    format!("not done within {waited}: {name} is {}{goes_on}", line.in_short())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(entry: &serde_json::Value) -> String {
        words(Some(ModelLine::read(entry)), "phi", Duration::from_secs(300))
    }

    #[test]
    fn state_progress_and_reason_are_told() {
        assert_eq!(
            said_of(&json!({"state": "starting", "progress": "layer 7 of 32"})),
            "not done within 5m: phi is starting, layer 7 of 32; it goes on loading"
        );
        assert_eq!(
            said_of(&json!({"state": "backoff", "reason": "exit 3 before ready"})),
            "not done within 5m: phi is backoff, exit 3 before ready; it goes on loading"
        );
        assert_eq!(
            said_of(&json!({"state": "stopping"})),
            "not done within 5m: phi is stopping; it goes on stopping"
        );
        assert_eq!(
            words(None, "phi", Duration::from_millis(300)),
            "no answer within 300ms; the service runs and tells nothing of phi"
        );
    }
}
