//! The children: in start order, by name, each with what it is doing.

use super::super::spec::ChildRules;
use super::{Core, Effect, Epoch, Ticket};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChildState {
    Absent,
    Starting(Epoch),
    Running(Epoch),
    /// Ended; the decision on it waits behind a script.
    Dead(Epoch),
    Stopping(Epoch),
    Restarting,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) rules: ChildRules,
    pub(super) state: ChildState,
    pub(super) restarts: u64,
    /// Why it is being started.
    pub(super) purpose: Purpose,
    /// Of a dynamic child: who waits for its end.
    pub(super) enders: Vec<Ticket>,
}

/// Start order; the key never changes and is never used again.
pub(super) type Key = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Initial,
    Restart,
    Add(Ticket),
    Revive(Ticket),
    Terminate(Ticket),
    Ending,
}

impl Purpose {
    pub(super) fn ticket(self) -> Option<Ticket> {
        match self {
            Purpose::Add(ticket) | Purpose::Revive(ticket) | Purpose::Terminate(ticket) => {
                Some(ticket)
            }
            Purpose::Initial | Purpose::Restart | Purpose::Ending => None,
        }
    }
}

/// A child as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildView {
    /// Its rules.
    pub rules: ChildRules,
    /// `running`, `starting`, `stopping`, `restarting`, `stopped`.
    pub state: &'static str,
    /// How often it was restarted.
    pub restarts: u64,
    /// The present start.
    pub epoch: Option<Epoch>,
}

impl Core {
    pub(super) fn add(&mut self, rules: ChildRules) -> Key {
        let key = self.next_key;
        self.next_key += 1;
        self.by_id.insert(rules.id.clone(), key);
        self.children.insert(
            key,
            Child {
                rules,
                state: ChildState::Absent,
                restarts: 0,
                purpose: Purpose::Initial,
                enders: Vec::new(),
            },
        );
        key
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(child) = self.children.remove(&key) {
            self.by_id.remove(&child.rules.id);
            self.effects.push(Effect::Forget(child.rules.id));
        }
    }
}
