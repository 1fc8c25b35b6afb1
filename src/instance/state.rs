//! The states of an instance and the legal ways between them, in one table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the life of an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No process, and none is wanted.
    Stopped,
    /// A process is being started or loads its model.
    Starting,
    /// It can be used.
    Ready,
    /// It missed health answers; not yet given up.
    Unhealthy,
    /// Its process just ended; what comes next is decided at once.
    Exited,
    /// Waiting before the next start.
    Backoff,
    /// Given up for a while: started again after the cool-off or by hand.
    Parked,
    /// Being ended.
    Stopping,
    /// It survived KILL: the kernel holds it. Reported, and reaped whenever it goes.
    Unkillable,
}

impl State {
    /// Every state.
    pub const ALL: [State; 9] = [
        State::Stopped,
        State::Starting,
        State::Ready,
        State::Unhealthy,
        State::Exited,
        State::Backoff,
        State::Parked,
        State::Stopping,
        State::Unkillable,
    ];

    /// The word used on the wire and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Starting => "starting",
            State::Ready => "ready",
            State::Unhealthy => "unhealthy",
            State::Exited => "exited",
            State::Backoff => "backoff",
            State::Parked => "parked",
            State::Stopping => "stopping",
            State::Unkillable => "unkillable",
        }
    }

    /// Whether `status` lists it without being asked for all.
    pub const fn counts_as_loaded(self) -> bool {
        !matches!(self, State::Stopped | State::Parked | State::Unkillable)
    }

    /// Whether a process may exist in this state.
    pub const fn has_process(self) -> bool {
        matches!(
            self,
            State::Starting | State::Ready | State::Unhealthy | State::Stopping | State::Unkillable
        )
    }

    /// Whether clients may be led to it.
    pub const fn is_alive(self) -> bool {
        matches!(self, State::Ready | State::Unhealthy)
    }

    /// Whether the table allows to go from this state to `to`.
    pub fn may_become(self, to: State) -> bool {
        TRANSITIONS.contains(&(self, to))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every legal transition; all other pairs are faults of the machine and never carried out.
pub const TRANSITIONS: [(State, State); 25] = {
    use State::{
        Backoff, Exited, Parked, Ready, Starting, Stopped, Stopping, Unhealthy, Unkillable,
    };
    [
        (Stopped, Starting),
        (Starting, Ready),
        (Starting, Exited),
        (Starting, Stopping),
        // asked to stop before the spawn was carried out, and then it failed
        (Starting, Stopped),
        (Ready, Unhealthy),
        (Ready, Exited),
        (Ready, Stopping),
        (Unhealthy, Ready),
        (Unhealthy, Exited),
        (Unhealthy, Stopping),
        (Exited, Starting),
        (Exited, Backoff),
        (Exited, Parked),
        // transient and temporary instances that ended for good
        (Exited, Stopped),
        (Backoff, Starting),
        (Backoff, Stopped),
        // its group gave up, or another member of it was parked
        (Backoff, Parked),
        (Parked, Starting),
        (Parked, Stopped),
        (Stopping, Stopped),
        // a process that is ended in order to be replaced (hang, stall, restart by hand)
        (Stopping, Exited),
        (Stopping, Unkillable),
        (Unkillable, Stopped),
        (Unkillable, Exited),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_transitions_is_a_set_and_leads_everywhere() {
        for (i, pair) in TRANSITIONS.iter().enumerate() {
            assert!(!TRANSITIONS[..i].contains(pair), "{pair:?} stands twice");
            assert_ne!(pair.0, pair.1, "no event when the state does not change");
        }
        for state in State::ALL {
            assert!(TRANSITIONS.iter().any(|(_, to)| *to == state), "{state} cannot be reached");
            assert!(TRANSITIONS.iter().any(|(from, _)| *from == state), "{state} cannot be left");
        }
    }

    #[test]
    fn walk_of_all_pairs_agrees_with_the_table() {
        let legal = State::ALL
            .iter()
            .flat_map(|from| State::ALL.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from.may_become(*to))
            .count();
        assert_eq!(legal, TRANSITIONS.len());
        assert!(!State::Stopping.may_become(State::Ready), "a stop is never taken back");
        assert!(!State::Parked.may_become(State::Ready));
    }
}
