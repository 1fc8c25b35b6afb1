//! What was typed becomes what is meant: which service, how much patience, which form of output.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::args::CommonFlags;
use super::client::reply::Answer;
use super::client::{Client, ClientError};
use super::configuration::{self, Request, ServiceFlags};
use super::error::CliError;
use super::gap;
use super::output::Output;
use crate::instance::messages::ModelError;
use crate::limits;
use crate::settings::SettingsError;
use crate::telemetry::escape::one_line;

/// One run of the command line.
pub struct Session {
    /// Where its words go.
    pub output: Output,
    config: Option<PathBuf>,
    endpoint: Option<String>,
    timeout: Option<Duration>,
}

impl Session {
    /// The session of these flags.
    pub fn new(flags: CommonFlags, config: Option<PathBuf>, output: Output) -> Self {
        Self { output, config, endpoint: flags.endpoint, timeout: flags.timeout }
    }

    /// The endpoint named on the command line.
    pub fn named_endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// The configuration that the service flags and `--config` ask for.
    pub fn configuration(&self, flags: &ServiceFlags) -> Request {
        Request { config: self.config.clone(), flags: flags.clone() }
    }

    /// The folder of the service that is meant, where the configuration tells it.
    pub fn runtime_dir(&self) -> Option<PathBuf> {
        if self.endpoint.is_some() {
            return None;
        }
        let settings = configuration::load(&self.configuration(&ServiceFlags::default()));
        settings.ok().map(|settings| settings.service.runtime_dir)
    }

    /// The management endpoint: as named, else as configured, where a service without a core is given a moment. Faults elsewhere in the configuration are only told of, so
    /// that a broken file keeps nobody from a running service.
    ///
    /// # Errors
    /// When the configuration does not tell the endpoint.
    pub fn endpoint(&self) -> Result<String, CliError> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let request = self.configuration(&ServiceFlags::default());
        let error = match configuration::load(&request) {
            Ok(settings) => {
                let endpoint = settings.endpoints.cli_management;
                gap::wait_for_core(&endpoint, &settings.service.runtime_dir, self.patience());
                return Ok(endpoint);
            }
            Err(CliError::Configuration(error)) => error,
            Err(other) => return Err(other),
        };
        if let SettingsError::Faulty(faults) = &error
            && let Some(endpoint) = &faults.cli_management
        {
            let told = one_line(&faults.headline()).into_owned();
            self.output.note(format!(
                "Warning: {told}; only its endpoint is used ('symphony config check' tells them)"
            ));
            return Ok(endpoint.clone());
        }
        match error {
            // whoever named a file that is not there means another one
            SettingsError::NotFound { .. } => Err(CliError::Configuration(error)),
            _ => Err(CliError::NoEndpoint(error)),
        }
    }

    /// Connects to the service.
    ///
    /// # Errors
    /// [`CliError`]: configuration, no service.
    pub fn connect(&self) -> Result<Client, CliError> {
        Ok(Client::connect(&self.endpoint()?)?)
    }

    /// Connects, asks once, waits for the answer.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn ask(&self, command: &str, params: Value) -> Result<Answer, CliError> {
        Ok(self.connect()?.ask(command, params, self.patience())?)
    }

    /// How long an answer is waited for.
    pub fn patience(&self) -> Duration {
        self.timeout.unwrap_or(limits::CLI_PATIENCE)
    }

    /// How long a model may take to load.
    pub fn load_patience(&self) -> Duration {
        self.timeout.unwrap_or(limits::CLI_LOAD_PATIENCE)
    }

    /// How long an upgrade may take.
    pub fn upgrade_patience(&self) -> Duration {
        self.timeout.unwrap_or(limits::CLI_UPGRADE_PATIENCE)
    }

    /// How long a daemon may take to get ready.
    pub fn daemon_patience(&self) -> Duration {
        self.timeout.unwrap_or(limits::DAEMON_READY)
    }
}

/// A service that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveService {
    /// The process that answers; `None`: it does not tell.
    pub pid: Option<u64>,
    /// The process of its heart, where it has one.
    pub heart: Option<u64>,
}

impl LiveService {
    /// Whether it is the service whose first process is this one. Who tells nothing may be.
    pub fn is_of(self, first: u64) -> bool {
        let told = self.heart.or(self.pid);
        told.is_none_or(|told| told == first)
    }
}

/// Whether a live service answers on an endpoint.
///
/// # Errors
/// When somebody listens there that does not answer, or the endpoint may not be used.
pub fn live_service(endpoint: &str) -> Result<Option<LiveService>, ClientError> {
    let answer = Client::connect(endpoint).and_then(|client| {
        client.ask("status", Value::Object(Default::default()), limits::LIVE_SERVICE_PATIENCE)
    });
    match answer {
        Ok(answer) => {
            let status = answer.value();
            let (pid, heart) = (status["pid"].as_u64(), status["heart"]["pid"].as_u64());
            Ok(Some(LiveService { pid, heart }))
        }
        // it refuses, so it lives
        Err(ClientError::Refused(_)) => Ok(Some(LiveService { pid: None, heart: None })),
        Err(ClientError::NoService | ClientError::Gone) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the service there takes nothing in any more, since it was asked to stop.
pub fn is_stopping(endpoint: &str) -> bool {
    let answer = Client::connect(endpoint).and_then(|client| {
        let nothing = Value::Object(Default::default());
        client.ask("list-models", nothing, limits::LIVE_SERVICE_PATIENCE)
    });
    matches!(answer, Err(error) if tells_of_the_stop(&error))
}

/// Whether a refusal means that the service is stopping.
pub fn tells_of_the_stop(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(text) if *text == ModelError::ShuttingDown.to_string())
}
