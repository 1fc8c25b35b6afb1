//! `symphony stop-service`.

use serde_json::json;

use crate::cli::args::StopArgs;
use crate::cli::client::{Client, ClientError, listener::Listener};
use crate::cli::error::{Action, CliError};
use crate::cli::gap;
use crate::cli::models::shown;
use crate::cli::session::{Session, tells_of_the_stop};
use crate::clock::Clock;
use crate::limits;

/// Asks the service to stop. A service that does not run is as wanted.
pub fn run(args: &StopArgs, session: &Session) -> Result<(), CliError> {
    let endpoint = session.endpoint()?;
    let answer = Client::connect(&endpoint)
        .and_then(|client| client.ask("stop-service", json!({}), session.patience()));
    let answer = match answer {
        Ok(answer) => Some(answer),
        // somebody asked before: as wanted
        Err(error) if tells_of_the_stop(&error) => None,
        Err(error) => return Err(Action::Stop.error(error)),
    };
    if args.wait {
        wait_until_gone(&endpoint, session)?;
    }
    const STOPPING: &str = "Management service is stopping";
    match answer {
        Some(answer) if session.output.is_json() => session.output.line(answer.text()),
        Some(answer) => session.output.line(shown(&answer.value()["message"])),
        None if session.output.is_json() => session.output.line(json!({ "message": STOPPING })),
        None => session.output.line(STOPPING),
    }
}

/// Models may take their grace and requests their drain: as patient as with a load.
fn wait_until_gone(endpoint: &str, session: &Session) -> Result<(), CliError> {
    let listener = Listener::of(endpoint);
    let folder = session.runtime_dir();
    let clock = Clock::start();
    let deadline = clock.now() + session.load_patience();
    loop {
        match listener.check() {
            // its last process is gone a moment after its sockets
            Err(ClientError::NoService) if !folder.as_deref().is_some_and(gap::is_held) => {
                return Ok(());
            }
            Ok(()) | Err(ClientError::NoService) if clock.now() >= deadline => {
                return Err(ClientError::Timeout.into());
            }
            Ok(()) | Err(ClientError::NoService) => {
                session.output.pause(limits::DAEMON_CHECK_EVERY)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
