//! The line that moves on a terminal while a model loads.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::client::{Client, ClientError, Pending, reply::Answer};
use super::models::ModelLine;
use super::output::Output;
use crate::clock::Clock;
use crate::limits;
use crate::telemetry::escape::one_line;

/// Pace of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// Waits for the answer to a load, and shows state, progress and time on a terminal.
///
/// # Errors
/// [`ClientError`].
pub fn wait(
    client: &Client,
    pending: &Pending,
    model: &str,
    endpoint: &str,
    patience: Duration,
    output: &Output,
) -> Result<Answer, ClientError> {
    if !output.shows_progress() {
        return client.receive(pending, patience);
    }
    let spinner = spinner(model);
    // a second connection: the first one waits for one answer only
    let observer = Client::connect(endpoint).ok();
    let clock = Clock::start();
    let deadline = clock.now() + patience;
    let outcome = loop {
        let turn = deadline.since(clock.now()).min(limits::CLI_PROGRESS_EVERY);
        match client.receive(pending, turn) {
            Err(ClientError::Timeout) if clock.now() < deadline => {}
            outcome => break outcome,
        }
        if let Some(word) = observer.as_ref().and_then(|observer| state_of(observer, model)) {
            spinner.set_message(word);
        }
    };
    spinner.finish_and_clear();
    outcome
}

/// Waits for the answer to a request that has no state to be asked for, and shows the time on a terminal.
///
/// # Errors
/// [`ClientError`].
pub fn wait_for(
    client: &Client,
    pending: &Pending,
    what: &str,
    patience: Duration,
    output: &Output,
) -> Result<Answer, ClientError> {
    let spinner = output.shows_progress().then(|| spinning(what.to_owned()));
    let outcome = client.receive(pending, patience);
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    outcome
}

fn spinner(model: &str) -> ProgressBar {
    spinning(format!("{}: waiting", one_line(model)))
}

fn spinning(message: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(TICK);
    spinner
}

/// What the service says of the model: its state and, where it tells, how far it is.
fn state_of(observer: &Client, model: &str) -> Option<String> {
    let answer = observer.ask("status", json!({ "all": true }), limits::CLI_STATE_PATIENCE).ok()?;
    let line = ModelLine::find(&answer.value(), model)?;
    Some(format!("{}: {}", one_line(model), line.in_short()))
}
