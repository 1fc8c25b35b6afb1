//! Requests about models, as gateways and library users send them to the [`ModelDesk`](super::desk::ModelDesk).

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use actix::Message;

use crate::ids::ModelName;
use crate::limits;
use crate::registry::messages::InstanceView;

/// Leads to a live instance of a model; starts one where there is none.
///
/// Requests for the same model share one process. Answered when the model is ready or its start failed; without
/// [`LoadModel::wait`] also after [`LOAD_PATIENCE`](crate::limits::LOAD_PATIENCE), with the state `Starting`.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Arc<InstanceView>, ModelError>")]
pub struct LoadModel {
    /// Name or full name.
    pub model: String,
    /// Hold the answer until the model is ready or given up.
    pub wait: bool,
    /// Give a parked model one trial start. Without it the answer tells why it is parked: what programs ask for again
    /// and again must not turn a bounded crash loop into an endless one.
    pub revive: bool,
}

/// Brings up a model that another one is started after, as [`LoadModel`] with [`LoadModel::wait`]: but for no longer than
/// that one waits for it, so that a request that is late loads nothing for somebody who was stopped meanwhile.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Arc<InstanceView>, ModelError>")]
pub struct LoadBefore {
    /// The model to bring up, by its name.
    pub model: ModelName,
    /// Kept by whoever waits.
    pub wanted: Weak<()>,
}

/// Stops a model's process and forgets the instance. Answered when the process is gone.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), ModelError>")]
pub struct UnloadModel {
    /// Name or full name.
    pub model: String,
}

/// Stops a model's process and starts it anew (also a parked one). Answered as [`LoadModel`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Arc<InstanceView>, ModelError>")]
pub struct RestartModel {
    /// Name or full name.
    pub model: String,
    /// Hold the answer until the model is ready or failed.
    pub wait: bool,
}

/// The last lines of a model's output.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<LogPage, ModelError>")]
pub struct ReadLog {
    /// Name or full name.
    pub model: String,
    /// Lines at most, bounded by [`LOG_LINES`](crate::limits::LOG_LINES).
    pub lines: usize,
    /// Only what lies behind this offset.
    pub after_offset: Option<u64>,
}

/// Some lines of a log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogPage {
    /// The lines, not valid UTF-8 replaced.
    pub lines: Vec<String>,
    /// Offset to ask from next.
    pub next_offset: u64,
}

/// Why a request about a model failed. The texts are part of the management contract.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The name is not in the configuration; with names that differ only in case.
    #[error("Unknown model '{}' - not found in configuration{}", echo(.name), suggestion(.similar))]
    Unknown {
        /// As asked for.
        name: String,
        /// In file order.
        similar: Vec<String>,
    },
    /// The model's type is not in `model_backends`.
    #[error("Backend for model type '{0}' not configured")]
    NoBackend(String),
    /// The script of the backend does not exist.
    #[error("Backend script not found: {0}")]
    ScriptMissing(String),
    /// There is nothing to unload or read.
    #[error("Model {} not found", echo(.0))]
    NotLoaded(String),
    /// The start failed; with the last lines of output.
    #[error("{reason}{}", output_lines(.output))]
    StartFailed {
        /// The reason.
        reason: String,
        /// The last lines.
        output: Vec<String>,
    },
    /// Asked to stop while starting.
    #[error("Model {0} was stopped while it was starting")]
    Stopped(String),
    /// Too many requests wait for this model.
    #[error("too many requests wait for model {0}, try again later")]
    Crowded(String),
    /// The service is going down.
    #[error("Service is shutting down")]
    ShuttingDown,
    /// The log could not be read.
    #[error("cannot read the log of model {name}: {reason}")]
    LogUnreadable {
        /// The model.
        name: String,
        /// The reason.
        reason: String,
    },
    /// Its actor is just being replaced; the desk asks again by itself.
    #[error("model {0} is being taken over by a new actor, try again")]
    Replaced(String),
    /// An actor did not answer; the request may be sent again.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What a client made up must not come back as a reply of a megabyte.
fn echo(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(limits::ECHO_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

fn suggestion(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        [one] => format!(". Similar model name found. Do you mean: {one}?"),
        many => format!(". Similar model names found. Do you mean: {}?", many.join(", ")),
    }
}

fn output_lines(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("\nLast output:\n{}", lines.join("\n")) }
}
