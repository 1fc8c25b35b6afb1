//! What was typed becomes what is meant: which service, how much patience, which form of output.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::args::CommonFlags;
use super::client::reply::Answer;
use super::client::{Client, ClientError};
use super::configuration::{self, Request, ServiceFlags};
use super::error::CliError;
use super::output::Output;
use crate::limits;

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

    /// The management endpoint: as named, else as configured. A named one needs no configuration, so a broken file
    /// never keeps anybody from a running service.
    ///
    /// # Errors
    /// The faults of the configuration.
    pub fn endpoint(&self) -> Result<String, CliError> {
        match &self.endpoint {
            Some(endpoint) => Ok(endpoint.clone()),
            None => {
                let request = self.configuration(&ServiceFlags::default());
                Ok(configuration::load(&request)?.endpoints.cli_management)
            }
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

    /// How long a daemon may take to get ready.
    pub fn daemon_patience(&self) -> Duration {
        self.timeout.unwrap_or(limits::DAEMON_READY)
    }
}

/// Whether a live service answers on an endpoint, and with which pid.
///
/// # Errors
/// When somebody listens there that does not answer, or the endpoint may not be used.
pub fn live_service(endpoint: &str) -> Result<Option<Option<u64>>, ClientError> {
    let answer = Client::connect(endpoint).and_then(|client| {
        client.ask("status", Value::Object(Default::default()), limits::LIVE_SERVICE_PATIENCE)
    });
    match answer {
        Ok(answer) => Ok(Some(answer.value()["pid"].as_u64())),
        // it refuses, so it lives
        Err(ClientError::Refused(_)) => Ok(Some(None)),
        Err(ClientError::NoService | ClientError::Gone) => Ok(None),
        Err(error) => Err(error),
    }
}
