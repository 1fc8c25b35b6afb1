//! How a member of a group stands: all that the group must know of it.

use crate::clock::Moment;
use crate::ids::Generation;

/// Where a member's life stands, as far as it concerns the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not heard of yet: it may have a process.
    Unknown,
    /// No process, and none is wanted.
    Absent {
        /// Since somebody asked for that, and not by its restart class.
        asked: bool,
    },
    /// It wants to start and waits for its turn.
    Waiting,
    /// It has its turn: its process comes, or loads.
    Coming,
    /// It can be used.
    Alive,
    /// Its process is being ended.
    Ending {
        /// In order to be replaced.
        comes_back: bool,
    },
    /// No process until its backoff is over.
    Resting,
    /// Given up for a while.
    Parked,
    /// Its process survived KILL.
    Stuck,
}

impl Phase {
    /// Whether it can run, or is about to.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Coming | Self::Alive)
    }

    /// Whether its process is on the way down.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::Ending { .. })
    }

    /// Whether it is wanted, and had to give its process up.
    pub fn is_lost(self) -> bool {
        matches!(
            self,
            Self::Waiting | Self::Resting | Self::Parked | Self::Ending { comes_back: true }
        )
    }
}

/// What a member tells its group.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// See the type.
    pub phase: Phase,
    /// Its present or next start.
    pub generation: Generation,
    /// In which round of the group its last process was started; `None`: none since it was loaded.
    pub round: Option<u64>,
    /// How many turns its actor took: a word that was told before a turn is told from one after it.
    pub turns: u64,
    /// Why its last process ended, or why it is parked.
    pub why: String,
    /// When its rest is over.
    pub until: Option<Moment>,
    /// Its failures that were followed by a restart, oldest first, no more than the group counts.
    pub failures: Vec<Moment>,
    /// When somebody restarted it by hand: failures of all members up to then are forgotten.
    pub fresh_since: Option<Moment>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            phase: Phase::Unknown,
            generation: Generation::default(),
            round: None,
            turns: 0,
            why: String::new(),
            until: None,
            failures: Vec::new(),
            fresh_since: None,
        }
    }
}
