//! Bytes from the CLI socket become a typed command, or the error text of the contract. Pure.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::params::Params;
use crate::gateway::doors::Part;
use crate::limits;

/// Lines that `logs` gives when it is not told how many.
const LOG_LINES_UNASKED: usize = 100;

/// A message that is no command: answered without a correlation id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid command format: {0}")]
pub(super) struct FormatError(String);

/// A command that cannot be carried out as it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    /// Nothing of that name.
    #[error("Unknown command: {0}")]
    Unknown(String),
    /// It is missing, empty, or no text.
    #[error("model_name parameter required")]
    ModelNameRequired,
    /// It is missing, empty, or no text.
    #[error("actor parameter required")]
    ActorRequired,
    /// A parameter of the wrong kind.
    #[error("parameter {name} must be {expected}")]
    BadParameter { name: &'static str, expected: &'static str },
}

/// A message with the shape of a command.
#[derive(Debug, PartialEq)]
pub(super) struct Envelope {
    /// `None`: the client sent none, or an empty one.
    pub(super) correlation_id: Option<String>,
    pub(super) command: Result<Command, CommandError>,
}

/// A command of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Answered without waiting for anybody but the registry.
    Direct(DirectCommand),
    /// Answered by the gateway's actor, when whom it asks has answered.
    Desk(DeskCommand),
}

/// The hot path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirectCommand {
    Status { all: bool },
    ListModels,
    Version,
}

/// The rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeskCommand {
    Load {
        model: String,
        wait: bool,
        config_path_given: bool,
    },
    /// `again`: asked before, of a service that handed the question over; it may be done by now.
    Unload {
        model: String,
        again: bool,
    },
    Restart {
        model: String,
        wait: bool,
    },
    StopService,
    Reload,
    Tree,
    Logs {
        model: String,
        lines: usize,
        after_offset: Option<u64>,
    },
    Events {
        since: u64,
        limit: usize,
    },
    /// Let another binary take over.
    Upgrade {
        binary: Option<String>,
    },
    /// Asked of the next service on behalf of who asked for an upgrade.
    UpgradeOutcome,
    Panic(Part),
}

/// Reads one frame.
///
/// # Errors
/// [`FormatError`] when it has not the shape of a command.
pub(super) fn parse(payload: &[u8]) -> Result<Envelope, FormatError> {
    let request: Request = serde_json::from_slice(payload)
        .map_err(|error| FormatError(shortened(&error.to_string())))?;
    let correlation_id = request.correlation_id.filter(|id| !id.is_empty());
    if let Some(id) = &correlation_id
        && id.len() > limits::CORRELATION_ID_BYTES
    {
        let (bytes, limit) = (id.len(), limits::CORRELATION_ID_BYTES);
        return Err(FormatError(format!(
            "correlation_id has {bytes} bytes, at most {limit} are allowed"
        )));
    }
    Ok(Envelope { correlation_id, command: interpret(&request.command, request.params) })
}

fn interpret(command: &str, mut params: Params) -> Result<Command, CommandError> {
    use DeskCommand as Desk;
    use DirectCommand as Direct;
    Ok(match command {
        "status" => Command::Direct(Direct::Status { all: params.all()? }),
        "list-models" => Command::Direct(Direct::ListModels),
        "version" => Command::Direct(Direct::Version),
        "load-model" => Command::Desk(Desk::Load {
            model: params.model_name()?,
            wait: params.wait()?,
            config_path_given: params.has_config_path(),
        }),
        "unload-model" => {
            Command::Desk(Desk::Unload { model: params.model_name()?, again: params.again()? })
        }
        "restart-model" => {
            Command::Desk(Desk::Restart { model: params.model_name()?, wait: params.wait()? })
        }
        "stop-service" => Command::Desk(Desk::StopService),
        "reload" => Command::Desk(Desk::Reload),
        "tree" => Command::Desk(Desk::Tree),
        "logs" => Command::Desk(Desk::Logs {
            model: params.model_name()?,
            lines: at_most(limits::LOG_LINES, params.lines()?, LOG_LINES_UNASKED),
            after_offset: params.after_offset()?,
        }),
        "events" => Command::Desk(Desk::Events {
            since: params.since()?.unwrap_or(0),
            limit: at_most(limits::EVENT_RING, params.limit()?, limits::EVENT_RING),
        }),
        "upgrade" => Command::Desk(Desk::Upgrade { binary: params.binary()? }),
        "upgrade-outcome" => Command::Desk(Desk::UpgradeOutcome),
        "chaos-panic" => Command::Desk(Desk::Panic(match params.actor()?.as_str() {
            "instance" => Part::Instance(params.model_name()?),
            name => Part::Named(shortened(name)),
        })),
        other => return Err(CommandError::Unknown(shortened(other))),
    })
}

fn at_most(limit: usize, asked: Option<u64>, unasked: usize) -> usize {
    asked.map_or(unasked, |asked| usize::try_from(asked).unwrap_or(limit).min(limit))
}

/// What is echoed must not carry a megabyte back.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(limits::ECHO_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The three keys of a request; no other is allowed, none may stand twice.
struct Request {
    command: String,
    params: Params,
    correlation_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum RequestKey {
    Command,
    Params,
    CorrelationId,
}

// By hand, because the derived form also takes an array of the three values.
impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RequestVisitor)
    }
}

struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = Request;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the keys command, params and correlation_id")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Request, A::Error> {
        let (mut command, mut params, mut correlation_id) = (None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                RequestKey::Command => once("command", &mut command, map.next_value()?)?,
                RequestKey::Params => once("params", &mut params, map.next_value()?)?,
                RequestKey::CorrelationId => {
                    once("correlation_id", &mut correlation_id, map.next_value()?)?;
                }
            }
        }
        Ok(Request {
            command: command.ok_or_else(|| serde::de::Error::missing_field("command"))?,
            // `null` is how a Python client writes "not given"
            params: params.flatten().unwrap_or_default(),
            correlation_id: correlation_id.flatten(),
        })
    }
}

/// Fills a place that may be filled once.
///
/// # Errors
/// When the key stands twice.
pub(super) fn once<T, E: serde::de::Error>(
    name: &'static str,
    place: &mut Option<T>,
    value: T,
) -> Result<(), E> {
    if place.replace(value).is_some() { Err(E::duplicate_field(name)) } else { Ok(()) }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
