//! What the core is told and what it answers.

use std::time::Duration;

use super::super::exit::ExitReason;
use super::super::spec::{ChildId, ChildRules, InvalidSpec, Shutdown, SupervisorFlags};

/// One start of one child; never used twice by a supervisor, so a late report of an older start is recognised.
pub type Epoch = u64;
/// A request for an answer, chosen by whoever asks.
pub type Ticket = u64;

/// What the core is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Start the children.
    Start,
    /// A start succeeded.
    Started(Epoch),
    /// A start succeeded without an actor.
    Ignored(Epoch),
    /// A start failed.
    StartFailed(Epoch, String),
    /// An actor ended. Reported exactly once for each [`Event::Started`].
    Exited(Epoch, ExitReason),
    /// An actor that runs has made no progress for so long.
    Wedged(Epoch, Duration),
    /// Time to try a failed restart again.
    Retry(ChildId),
    /// The parent wants an end.
    Stop,
    /// Add a child and start it.
    StartChild(Ticket, ChildRules),
    /// Stop a child and keep its spec.
    TerminateChild(Ticket, ChildId),
    /// Start a terminated child.
    RestartChild(Ticket, ChildId),
    /// Drop the spec of a terminated child.
    DeleteChild(Ticket, ChildId),
    /// Put these flags and specs in place of the old ones; what runs keeps running.
    ChangeSpecs(Ticket, SupervisorFlags, Vec<ChildRules>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run the child's factory and report what came of it.
    Start(ChildId, Epoch),
    /// Break off the factory of this start, and report that it failed; where it is too late for that, what came of it.
    CancelStart(ChildId, Epoch),
    /// Stop the actor of this start and report its exit.
    Stop(ChildId, Epoch, Shutdown),
    /// End the actor of this start without asking, since it was silent for so long, and report its exit.
    Kill(ChildId, Epoch, Duration),
    /// Send [`Event::Retry`] to yourself, behind what already waits.
    RetryLater(ChildId),
    /// The child of this request is taken in, or changed; its factory is the one to run from now on.
    Adopt(Ticket, ChildId),
    /// The child is never started again; drop the factory.
    Forget(ChildId),
    /// Answer a request.
    Answer(Ticket, Result<Done, AdminError>),
    /// Tell whoever watches.
    Notify(Notice),
    /// All children have ended; exit with this reason.
    Finish(ExitReason),
    /// All children were started.
    AllStarted,
}

/// What a successful request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The child runs.
    Started,
    /// The factory answered *ignore*.
    Ignored,
    /// The child is down (it may have been before).
    Terminated,
    /// The spec is dropped.
    Deleted,
    /// The specs are those of the request.
    Changed,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No child of this name.
    #[error("not found")]
    NotFound,
    /// It runs.
    #[error("running")]
    Running,
    /// It is being restarted.
    #[error("restarting")]
    Restarting,
    /// A child of this name runs already.
    #[error("already started")]
    AlreadyStarted,
    /// A child of this name is kept that does not run: it was terminated, or waits for its next restart.
    #[error("already present")]
    AlreadyPresent,
    /// The limit of a dynamic supervisor.
    #[error("the supervisor has its {0} children already")]
    MaxChildren(usize),
    /// Children of a dynamic supervisor are not kept, so they cannot be restarted or deleted by name.
    #[error("not for a dynamic supervisor")]
    Dynamic,
    /// The factory failed.
    #[error("{0}")]
    StartFailed(String),
    /// The spec breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// The supervisor is going down.
    #[error("the supervisor is shutting down")]
    Stopping,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A child ended and that was not asked for.
    ChildFailed {
        /// Which.
        child: ChildId,
        /// How.
        reason: ExitReason,
    },
    /// A child has made no progress for a heartbeat, and is ended; its exit is told, too.
    ChildWedged {
        /// Which.
        child: ChildId,
        /// How long it was silent.
        silent_for: Duration,
    },
    /// A child runs again.
    ChildRestarted {
        /// Which.
        child: ChildId,
        /// How often by now.
        restarts: u64,
    },
    /// A restart did not succeed; it is tried again.
    RestartFailed {
        /// Which.
        child: ChildId,
        /// Why.
        error: String,
    },
    /// The restarts are used up; the supervisor ends and its parent decides.
    GaveUp {
        /// The child whose restart was one too many.
        child: ChildId,
        /// The limit.
        intensity: u32,
        /// Its window.
        period: Duration,
    },
}
