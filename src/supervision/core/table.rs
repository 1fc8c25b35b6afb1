//! The children: in start order, by name, each with what it is doing.

use super::super::spec::{ChildId, ChildKind, ChildRules};
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
    /// Whether its factory is still kept. That of a temporary child is not, once it runs.
    pub(super) has_factory: bool,
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

/// How many children a supervisor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChildCounts {
    /// Specs, whether their children run or not.
    pub specs: usize,
    /// Children with a live actor. One that waits for its next restart has none.
    pub active: usize,
    /// Children that are supervisors, dead or alive.
    pub supervisors: usize,
    /// Children that are workers, dead or alive.
    pub workers: usize,
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
                has_factory: true,
            },
        );
        key
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(child) = self.children.remove(&key) {
            self.by_id.remove(&child.rules.id);
            if child.has_factory {
                self.effects.push(Effect::Forget(child.rules.id));
            }
        }
    }

    /// All children in start order.
    pub fn children(&self) -> impl Iterator<Item = ChildView> + '_ {
        self.children.values().map(Child::view)
    }

    /// The rules of the child of this start.
    pub fn rules_of(&self, epoch: Epoch) -> Option<&ChildRules> {
        let key = self.by_epoch.get(&epoch)?;
        self.children.get(key).map(|child| &child.rules)
    }

    /// The rules of the child of this name.
    pub fn rules(&self, id: &ChildId) -> Option<&ChildRules> {
        let key = self.by_id.get(id)?;
        self.children.get(key).map(|child| &child.rules)
    }

    /// How many children there are, by OTP's `count_children`.
    pub fn counts(&self) -> ChildCounts {
        let mut counts = ChildCounts { specs: self.children.len(), ..ChildCounts::default() };
        for child in self.children.values() {
            let lives = matches!(child.state, ChildState::Running(_) | ChildState::Stopping(_));
            counts.active += usize::from(lives);
            match child.rules.kind {
                ChildKind::Supervisor => counts.supervisors += 1,
                ChildKind::Worker => counts.workers += 1,
            }
        }
        counts
    }
}

impl Child {
    fn view(&self) -> ChildView {
        let (state, epoch) = match self.state {
            ChildState::Absent => ("stopped", None),
            ChildState::Starting(epoch) => ("starting", Some(epoch)),
            ChildState::Running(epoch) => ("running", Some(epoch)),
            ChildState::Stopping(epoch) => ("stopping", Some(epoch)),
            ChildState::Dead(_) | ChildState::Restarting => ("restarting", None),
        };
        ChildView { rules: self.rules.clone(), state, restarts: self.restarts, epoch }
    }
}
