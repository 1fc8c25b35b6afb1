//! Requests that may wait for a process: each is a task of its own, so a slow one delays no other.

use std::sync::Arc;
use std::time::Duration;

use actix::{MailboxError, Message, Recipient};
use futures_util::{FutureExt as _, TryFutureExt as _};
use serde::Serialize;

use super::command::DeskCommand;
use super::data::{LoadedData, LogData, MessageData};
use super::handshake;
use super::slot::{CommandSlot, DROPPED, HandshakeSlot};
use crate::events::messages::ReadEvents;
use crate::gateway::doors::Doors;
use crate::instance::messages::{LoadModel, ModelError, ReadLog, RestartModel, UnloadModel};
use crate::registry::messages::InstanceView;

/// A request on its way from the thread to the gateway's actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct DeskRequest(pub(super) DeskWork);

/// What is to be done, and who waits for it.
#[derive(Debug)]
pub(super) enum DeskWork {
    Command(CommandSlot, DeskCommand),
    Handshake(HandshakeSlot, String),
}

impl DeskWork {
    /// Whether it is better done before the sockets are handed over than asked of the successor.
    pub(super) fn is_better_finished(&self) -> bool {
        match self {
            Self::Command(_, command) => matches!(
                command,
                DeskCommand::Unload { .. } | DeskCommand::StopService | DeskCommand::Panic(_)
            ),
            Self::Handshake(..) => false,
        }
    }
}

/// How long the ones that are asked may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For answers from memory.
    pub(super) short: Duration,
    /// For answers that wait for a process.
    pub(super) long: Duration,
}

/// Carries out one request and answers it.
pub(super) async fn carry_out(work: DeskWork, doors: Arc<Doors>, patience: Patience) {
    match work {
        DeskWork::Command(slot, command) => answer(slot, command, &doors, patience).await,
        DeskWork::Handshake(slot, model) => {
            let load = LoadModel { model, wait: true, revive: false };
            match ask_model(&doors.load, load, patience.long).await {
                Ok(view) => slot.respond(&handshake::instance(&view)),
                Err(error) => slot.failure(&error.to_string()),
            }
        }
    }
}

async fn answer(slot: CommandSlot, command: DeskCommand, doors: &Doors, patience: Patience) {
    match command {
        DeskCommand::Load { model, wait, config_path_given } => {
            if config_path_given {
                tracing::warn!(model, "config_path is ignored: the service has one configuration");
            }
            let limit = if wait { patience.long } else { patience.short };
            settle_load(
                slot,
                ask_model(&doors.load, LoadModel { model, wait, revive: true }, limit).await,
            );
        }
        DeskCommand::Restart { model, wait } => {
            // also without `wait` the old process has to end first
            let restart = RestartModel { model, wait };
            settle_load(slot, ask_model(&doors.restart, restart, patience.long).await);
        }
        DeskCommand::Unload { model, again } => {
            let message = format!("Model {model} unloaded");
            let outcome = match ask_model(&doors.unload, UnloadModel { model }, patience.long).await
            {
                // by whom it was asked before
                Err(Unanswered::Refused(ModelError::NotLoaded(_))) if again => Ok(()),
                outcome => outcome,
            };
            slot.settle(outcome.map(|()| MessageData { message }));
        }
        DeskCommand::Logs { model, lines, after_offset } => {
            let read = ReadLog { model: model.clone(), lines, after_offset };
            match ask_model(&doors.read_log, read, patience.short).await {
                Ok(page) => slot.success(&LogData {
                    model_name: &model,
                    lines: &page.lines,
                    next_offset: page.next_offset,
                }),
                Err(error) => slot.failure(&error.to_string()),
            }
        }
        DeskCommand::Events { since, limit } => {
            slot.settle(ask(&doors.events, ReadEvents { since, limit }, patience.short).await);
        }
        DeskCommand::StopService => {
            if doors.control.stop() {
                slot.success(&MessageData { message: "Service shutdown requested".into() });
            } else {
                slot.failure("the service is busy or shutting down, try again later");
            }
        }
        DeskCommand::Reload => settle_in_time(slot, doors.control.reload(), patience.long).await,
        DeskCommand::Upgrade { binary } => {
            let refused = doors.control.upgrade(binary.map(Into::into));
            let refused = refused.map(Err::<(), String>);
            settle_in_time(slot, refused, patience.long).await;
        }
        DeskCommand::UpgradeOutcome => {
            settle_in_time(slot, doors.control.upgrade_outcome(), patience.short).await;
        }
        DeskCommand::Panic(part) => {
            let outcome = doors.control.panic(part);
            let told = outcome.map_ok(|()| MessageData { message: "it panics".into() });
            settle_in_time(slot, told, patience.short).await;
        }
        DeskCommand::Tree => settle_in_time(slot, doors.control.tree(), patience.short).await,
    }
}

/// A load succeeds only with an endpoint that somebody can use.
fn settle_load(slot: CommandSlot, outcome: Result<Arc<InstanceView>, Unanswered>) {
    match outcome {
        Ok(view) if view.endpoint.is_empty() => {
            slot.failure(&format!("internal error: model {} has no endpoint", view.model));
        }
        Ok(view) => slot.success(&LoadedData::new(&view)),
        Err(error) => slot.failure(&error.to_string()),
    }
}

async fn settle_in_time<D: Serialize>(
    slot: CommandSlot,
    outcome: impl Future<Output = Result<D, String>>,
    limit: Duration,
) {
    match tokio::time::timeout(limit, outcome).await {
        Ok(outcome) => slot.settle(outcome),
        Err(_) => slot.failure(&Unanswered::Late.to_string()),
    }
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("{DROPPED}")]
    Dropped,
    #[error("internal error: no answer in time, try again")]
    Late,
    #[error(transparent)]
    Refused(#[from] ModelError),
}

async fn ask_model<M, T>(to: &Recipient<M>, message: M, limit: Duration) -> Result<T, Unanswered>
where
    M: Message<Result = Result<T, ModelError>> + Send + 'static,
    T: Send + 'static,
{
    Ok(ask(to, message, limit).await??)
}

async fn ask<M>(to: &Recipient<M>, message: M, limit: Duration) -> Result<M::Result, Unanswered>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    to.send(message).timeout(limit).await.map_err(|error| match error {
        MailboxError::Closed => Unanswered::Dropped,
        MailboxError::Timeout => Unanswered::Late,
    })
}
