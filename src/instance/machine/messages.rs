//! What the machine is told, and what it wants done.

use std::time::Duration;

use super::State;
use crate::ids::Generation;
use crate::launcher::exit_cause::ExitCause;
use crate::launcher::{ExitStatus, GroupSignal, SpawnError};
use crate::settings::policy::{HealthPolicy, RestartPolicy, StartPolicy, StopPolicy};

/// The rules of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// How it comes up.
    pub start: StartPolicy,
    /// How it is watched.
    pub health: HealthPolicy,
    /// When it is restarted.
    pub restart: RestartPolicy,
    /// How it is ended.
    pub stop: StopPolicy,
    /// Whether others must let it come up: members of its group, models that it is started after.
    pub takes_turns: bool,
}

/// What is known of the process of a recorded generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It runs, or its exit is about to be told.
    Alive,
    /// It was ordered; whether it runs is about to be told.
    Ordered,
    /// There is none.
    Gone,
}

/// What the machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is wanted. A backoff is waited out; a parked instance is given one trial start.
    Start,
    /// It is wanted afresh: what runs is replaced, all failures are forgotten.
    Restart,
    /// It is not wanted any more.
    Stop,
    /// Not wanted, and nobody waits for it to end in order.
    Kill,
    /// The process runs.
    Spawned(Generation),
    /// The process could not be started.
    SpawnFailed(Generation, SpawnError),
    /// A spawn that still waited was taken back.
    SpawnCancelled(Generation),
    /// The system does not let this service signal the process.
    SignalRefused(Generation, String),
    /// Why the process is gone; comes right before that.
    ExitCause(Generation, ExitCause),
    /// The process is gone.
    Exited(Generation, ExitStatus),
    /// It can be used.
    Ready(Generation),
    /// It can never become ready.
    NeverReady(Generation, String),
    /// It said that it goes on loading.
    Progressed(Generation),
    /// It answers the question for readiness, and not as a loading backend does; `None`: it does so no more.
    WrongAnswer(Generation, Option<String>),
    /// What it used so far.
    Sampled {
        /// Which start.
        generation: Generation,
        /// CPU time.
        cpu_time: Duration,
        /// Output so far.
        output_bytes: u64,
    },
    /// It answered a health question.
    Alive(Generation),
    /// It did not answer one as it should, and what came instead.
    Silent(Generation, String),
    /// It served somebody.
    Worked(Generation),
    /// Those who must come up first have: its process may be started.
    Turn(Generation),
    /// One of them cannot be had, for this reason.
    NoTurn(Generation, String),
    /// Another member of its group failed: it is ended, and started again when its turn comes. Not counted in its book.
    TakenAlong(String),
    /// Another member of its group was parked, for so long: so is this one.
    ParkedAlong {
        /// Why, with the other's name.
        why: String,
        /// The other's rest.
        cool_off: Duration,
    },
    /// Its failure used up what its group allows: its own policy says what comes of that.
    GroupGaveUp(String),
    /// A deadline passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask those who must come up first; answered with [`Event::Turn`] or [`Event::NoTurn`].
    AwaitTurn(Generation),
    /// Order a process.
    Spawn(Generation),
    /// Take the order back if it still waits.
    CancelSpawn(Generation),
    /// Signal the process group.
    Signal(Generation, GroupSignal),
    /// Watch for readiness.
    AwaitReady(Generation),
    /// Ask for a sign of life.
    Check(Generation),
    /// Ask what it used.
    Sample(Generation),
    /// Drop probes and connections of a process that is gone.
    ForgetProbes(Generation),
    /// The state changed.
    Changed {
        /// Of which start.
        generation: Generation,
        /// From.
        from: State,
        /// To.
        to: State,
        /// Why, in words.
        cause: Option<String>,
    },
    /// A process ended, or could not be started: to be kept as the last exit.
    Ended {
        /// Which start.
        generation: Generation,
        /// How; `None` when it never ran.
        status: Option<ExitStatus>,
        /// The reason as Symphony sees it.
        reason: String,
    },
    /// It failed, and is to be restarted by its own rules: what a group counts.
    Failed,
    /// Let the failure travel up the tree: take the supervisor along.
    Escalate(String),
}
