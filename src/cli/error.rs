//! Why a command failed, in the words of the contract, and with which exit code.

use std::io;
use std::process::ExitCode;

use super::client::ClientError;
use super::output::Output;
use crate::app::ServeError;
use crate::settings::SettingsError;
use crate::telemetry::escape::printable;

/// Exit code of wrong usage.
pub const USAGE: u8 = 2;
/// Exit code of a service whose root supervisor used up its restarts.
const GAVE_UP: u8 = 3;

/// What a failed request was for; opens its error text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `load-model`.
    Load,
    /// `unload-model`.
    Unload,
    /// `restart-model`.
    Restart,
    /// `stop-service`: a service that does not run is as wanted.
    Stop,
    /// Everything else.
    Other,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The service could not be asked, or it refused.
    #[error("{}", request_text(*.action, .error))]
    Request {
        /// What was asked for.
        action: Action,
        /// What came of it.
        error: ClientError,
    },
    /// The configuration.
    #[error("Error: {0}")]
    Configuration(#[from] SettingsError),
    /// The configuration does not tell where the service is. A service that runs does not need it.
    #[error(
        "Error: {0}\nA service that runs already is reached without the file: --endpoint ENDPOINT"
    )]
    NoEndpoint(SettingsError),
    /// The service ended with an error.
    #[error("Error: {0}")]
    Service(#[from] ServeError),
    /// Flags that do not go together.
    #[error("Error: {0}")]
    Usage(String),
    /// Anything else that is worth a sentence.
    #[error("Error: {0}")]
    Failed(String),
    /// Nobody reads the output any more. No error: what was to be done is done.
    #[error("the reader of the output is gone")]
    ClosedPipe,
    /// The output cannot be written.
    #[error("Error: cannot write the output: {0}")]
    Output(io::Error),
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self::Request { action: Action::Other, error }
    }
}

impl Action {
    /// Turns a client's error into this command's error.
    pub fn error(self, error: ClientError) -> CliError {
        CliError::Request { action: self, error }
    }
}

fn request_text(action: Action, error: &ClientError) -> String {
    let prefix = match (action, error) {
        (Action::Load, ClientError::NoService) => {
            return format!("{error}. Start it first with 'start-service'");
        }
        (_, ClientError::NoService | ClientError::Timeout) => return error.to_string(),
        // the contract's words for any time-out, and then what is really the matter
        (_, ClientError::Unfinished(detail)) => {
            return format!("{}\n{detail}", ClientError::Timeout);
        }
        (Action::Load, _) => "Error loading model",
        (Action::Unload, _) => "Error unloading model",
        (Action::Restart, _) => "Error restarting model",
        (Action::Stop | Action::Other, _) => "Error",
    };
    format!("{prefix}: {error}")
}

impl CliError {
    /// Tells the failure: on stderr, or with `--json` as `{"error": …}` on stdout. Answers the exit code.
    pub fn report(&self, output: &Output) -> ExitCode {
        if matches!(self, Self::ClosedPipe) {
            return ExitCode::SUCCESS;
        }
        if output.is_json() && self.is_as_wanted() {
            let _ = output.line(serde_json::json!({ "message": self.plain_text() }));
        } else if output.is_json() {
            // where stdout cannot be written the exit code has to do
            let _ = output.line(serde_json::json!({ "error": self.plain_text() }));
        } else {
            output.note(printable(&self.to_string()));
        }
        self.exit_code()
    }

    /// A stop that finds no service: no failure.
    fn is_as_wanted(&self) -> bool {
        matches!(self, Self::Request { action: Action::Stop, error: ClientError::NoService })
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            as_wanted if as_wanted.is_as_wanted() => ExitCode::SUCCESS,
            Self::Usage(_) => ExitCode::from(USAGE),
            Self::Service(ServeError::GaveUp(_)) => ExitCode::from(GAVE_UP),
            _ => ExitCode::FAILURE,
        }
    }

    /// The text without the words that lead up to it for people: for `--json` the reply's own error.
    pub fn plain_text(&self) -> String {
        match self {
            Self::Request {
                error: error @ (ClientError::Refused(_) | ClientError::Unfinished(_)),
                ..
            } => error.to_string(),
            Self::Request { .. } | Self::ClosedPipe | Self::Output(_) => self.to_string(),
            Self::Configuration(error) | Self::NoEndpoint(error) => error.to_string(),
            Self::Service(error) => error.to_string(),
            Self::Usage(text) | Self::Failed(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_contract() {
        let text = |action: Action, error| action.error(error).to_string();
        assert_eq!(
            text(Action::Load, ClientError::NoService),
            "Management service is not running. Start it first with 'start-service'"
        );
        assert_eq!(
            text(Action::Other, ClientError::NoService),
            "Management service is not running"
        );
        assert_eq!(text(Action::Load, ClientError::Timeout), "Service not responding (timeout)");
        assert_eq!(
            text(Action::Load, ClientError::Refused("Unknown model 'x'".into())),
            "Error loading model: Unknown model 'x'"
        );
    }

    #[test]
    fn exit_codes_of_the_contract() {
        let gave_up = ServeError::GaveUp("the root supervisor ended".into());
        assert_eq!(CliError::Service(gave_up).exit_code(), ExitCode::from(3));
        let startup = ServeError::Startup("sockets taken".into());
        assert_eq!(CliError::Service(startup).exit_code(), ExitCode::from(1));
        assert_eq!(CliError::Usage("no".into()).exit_code(), ExitCode::from(2));
        let no_service = |action: Action| action.error(ClientError::NoService).exit_code();
        assert_eq!(no_service(Action::Stop), ExitCode::SUCCESS);
        assert_eq!(no_service(Action::Load), ExitCode::from(1));
    }

    #[test]
    fn json_carries_the_error_of_the_reply_alone() {
        let refused = Action::Load.error(ClientError::Refused("Unknown model 'x'".into()));
        assert_eq!(refused.plain_text(), "Unknown model 'x'");
    }
}
