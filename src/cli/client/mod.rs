//! A client of the management socket: one request, one reply, and never a wait without an end.
//!
//! It uses only what the management contract promised from the first service on, so it talks to an older service as well.

pub mod backend;
pub mod listener;
pub mod reply;
pub mod wire;

use std::time::Duration;

use serde_json::{Value, json};

use crate::limits;
use listener::Listener;
use reply::Answer;
use wire::Wire;

/// Why a request brought no data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the endpoint.
    #[error("Management service is not running")]
    NoService,
    /// Somebody listened, and left before the answer.
    #[error("the service ended before it answered")]
    Gone,
    /// No answer in time.
    #[error("Service not responding (timeout)")]
    Timeout,
    /// No answer in time from a service that answers other questions: what is waited for takes longer.
    #[error("{0}")]
    Unfinished(String),
    /// The service answered that it cannot; its own words.
    #[error("{0}")]
    Refused(String),
    /// The answer is not in the form of the contract.
    #[error("cannot understand the answer of the service: {0}")]
    Malformed(String),
    /// The endpoint cannot be used at all.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// The system's word.
        reason: String,
    },
}

/// A connection to the management socket.
pub struct Client {
    wire: Wire,
}

/// A request that was sent and not yet answered.
#[derive(Debug)]
pub struct Pending {
    correlation_id: String,
}

impl Client {
    /// Connects to a service.
    ///
    /// # Errors
    /// [`ClientError::NoService`] at once when nobody listens, [`ClientError::Unreachable`].
    pub fn connect(endpoint: &str) -> Result<Self, ClientError> {
        let listener = Listener::of(endpoint);
        listener.check()?;
        Ok(Self { wire: Wire::connect(listener, limits::CLI_REPLY_BYTES)? })
    }

    /// Asks and waits for the answer, `patience` at most.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask(
        &self,
        command: &str,
        params: Value,
        patience: Duration,
    ) -> Result<Answer, ClientError> {
        let pending = self.send(command, params)?;
        self.receive(&pending, patience)
    }

    /// Sends a request; its answer is fetched with [`Client::receive`].
    ///
    /// # Errors
    /// When the request cannot be sent.
    #[expect(clippy::needless_pass_by_value, reason = "a request is made to be sent")]
    pub fn send(&self, command: &str, params: Value) -> Result<Pending, ClientError> {
        let correlation_id = uuid::Uuid::new_v4().to_string();
        let request =
            json!({ "command": command, "params": params, "correlation_id": correlation_id });
        self.wire.send(request.to_string().as_bytes())?;
        Ok(Pending { correlation_id })
    }

    /// Waits for the answer to a request, `patience` at most; it may be called again after [`ClientError::Timeout`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn receive(&self, pending: &Pending, patience: Duration) -> Result<Answer, ClientError> {
        let deadline = self.wire.deadline(patience);
        loop {
            let frame = self.wire.receive(deadline)?;
            // an answer to an earlier request that was given up is not ours
            if let Some(outcome) = reply::read(&frame, &pending.correlation_id) {
                return outcome;
            }
        }
    }
}
