//! How actors end, as their supervisor sees it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::progress::Progress;

/// Why an actor ended. Closed: a supervisor's decisions rest on these six alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// It stopped by itself with nothing wrong.
    Normal,
    /// It was asked to stop, or gave up in an orderly way (a supervisor that used up its restarts).
    Shutdown,
    /// It stopped by itself and named a fault.
    Failed(String),
    /// A handler panicked; with the text of the panic.
    Panic(String),
    /// It was ended without being asked: it did not stop in time, or its thread is gone.
    Killed,
    /// It was ended because it made no progress for so long, and had not said that it would not.
    Wedged(Duration),
}

impl ExitReason {
    /// Whether a transient child may stay down after it.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Failed(fault) => write!(f, "failed: {fault}"),
            Self::Panic(text) => write!(f, "panicked: {text}"),
            Self::Killed => f.write_str("killed"),
            Self::Wedged(silent_for) => {
                let whole = Duration::from_millis(
                    u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX),
                );
                write!(f, "wedged: no progress for {}", humantime::format_duration(whole))
            }
        }
    }
}

/// Where an actor leaves the reason of its own exit before it stops its context, and declares long sections.
///
/// Both ends live on the actor's thread.
#[derive(Debug, Clone, Default)]
pub struct ExitSlot {
    reason: Rc<RefCell<Option<ExitReason>>>,
    progress: Progress,
}

impl ExitSlot {
    /// Leaves a reason; the first one counts.
    pub fn set(&self, reason: ExitReason) {
        self.reason.borrow_mut().get_or_insert(reason);
    }

    /// Takes the reason that was left.
    pub fn take(&self) -> Option<ExitReason> {
        self.reason.borrow_mut().take()
    }

    /// What the actor shows its watcher.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}
