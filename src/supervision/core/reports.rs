//! What came of starts and stops. A report of an older start is recognised by its epoch and changes nothing.

use std::time::Duration;

use super::super::exit::ExitReason;
use super::super::spec::{Restart, Shutdown, Strategy};
use super::table::{ChildState, Key, Purpose};
use super::{AdminError, Core, Done, Effect, Epoch, Event, Notice, Phase};

impl Core {
    fn starting_child(&mut self, epoch: Epoch) -> Option<(Key, Purpose)> {
        let key = *self.by_epoch.get(&epoch)?;
        let child = self.children.get(&key)?;
        (child.state == ChildState::Starting(epoch)).then_some((key, child.purpose))
    }

    fn finish_step(&mut self, key: Key) {
        if self.current.is_some_and(|(current, _)| current == key) {
            self.current = None;
        }
    }

    pub(super) fn on_started(&mut self, epoch: Epoch) {
        let Some((key, purpose)) = self.starting_child(epoch) else { return };
        self.finish_step(key);
        let ending = matches!(self.phase, Phase::Ending(_)) && self.stops_planned;
        let Some(child) = self.children.get_mut(&key) else { return };
        child.state = ChildState::Running(epoch);
        // nobody starts it again, and what its factory holds may be large
        if child.rules.restart == Restart::Temporary && child.has_factory {
            child.has_factory = false;
            self.effects.push(Effect::Forget(child.rules.id.clone()));
        }
        match purpose {
            Purpose::Restart => {
                child.restarts += 1;
                self.effects.push(Effect::Notify(Notice::ChildRestarted {
                    child: child.rules.id.clone(),
                    restarts: child.restarts,
                }));
            }
            Purpose::Add(ticket) | Purpose::Revive(ticket) => {
                self.effects.push(Effect::Answer(ticket, Ok(Done::Started)));
            }
            Purpose::Initial | Purpose::Terminate(_) | Purpose::Ending => {}
        }
        // a dynamic child whose start was under way when its end was decided
        if ending || !child.enders.is_empty() {
            child.state = ChildState::Stopping(epoch);
            let id = child.rules.id.clone();
            self.effects.push(Effect::Stop(id, epoch, child.rules.shutdown));
        }
    }

    pub(super) fn on_ignored(&mut self, epoch: Epoch) {
        let Some((key, purpose)) = self.starting_child(epoch) else { return };
        self.finish_step(key);
        self.by_epoch.remove(&epoch);
        if let Some(ticket) = purpose.ticket() {
            self.effects.push(Effect::Answer(ticket, Ok(Done::Ignored)));
        }
        let dynamic = self.flags.strategy == Strategy::Dynamic;
        let Some(child) = self.children.get_mut(&key) else { return };
        child.state = ChildState::Absent;
        let enders = std::mem::take(&mut child.enders);
        self.effects.extend(enders.into_iter().map(|t| Effect::Answer(t, Ok(Done::Terminated))));
        if dynamic || child.rules.restart == Restart::Temporary {
            self.remove(key);
        }
    }

    pub(super) fn on_start_failed(&mut self, epoch: Epoch, error: String) {
        let Some((key, purpose)) = self.starting_child(epoch) else { return };
        self.finish_step(key);
        self.by_epoch.remove(&epoch);
        let Some(child) = self.children.get_mut(&key) else { return };
        let id = child.rules.id.clone();
        child.state = ChildState::Absent;
        let enders = std::mem::take(&mut child.enders);
        let asked_to_end = !enders.is_empty();
        self.effects.extend(enders.into_iter().map(|t| Effect::Answer(t, Ok(Done::Terminated))));
        match purpose {
            Purpose::Initial => {
                if self.phase == Phase::Running {
                    self.end(ExitReason::Failed(format!("child {id} failed to start: {error}")));
                }
            }
            Purpose::Add(ticket) => {
                self.effects.push(Effect::Answer(ticket, Err(AdminError::StartFailed(error))));
                self.remove(key);
            }
            Purpose::Revive(ticket) => {
                self.effects.push(Effect::Answer(ticket, Err(AdminError::StartFailed(error))));
            }
            Purpose::Restart if asked_to_end => self.remove(key),
            Purpose::Restart => {
                if self.phase == Phase::Running {
                    child.state = ChildState::Restarting;
                    self.script.clear();
                    let child = id.clone();
                    self.effects.push(Effect::Notify(Notice::RestartFailed { child, error }));
                    self.effects.push(Effect::RetryLater(id));
                }
            }
            Purpose::Terminate(_) | Purpose::Ending => {}
        }
    }

    /// It is ended by force. All that follows, follows from its exit; also where it was just being stopped: who gets on
    /// with nothing would never end by itself.
    pub(super) fn on_wedged(&mut self, epoch: Epoch, silent_for: Duration) {
        let Some(child) = self.by_epoch.get(&epoch).and_then(|key| self.children.get(key)) else {
            return;
        };
        if matches!(child.state, ChildState::Running(_) | ChildState::Stopping(_)) {
            let id = child.rules.id.clone();
            self.effects
                .push(Effect::Notify(Notice::ChildWedged { child: id.clone(), silent_for }));
            self.effects.push(Effect::Kill(id, epoch, silent_for));
        }
    }

    pub(super) fn on_exited(&mut self, epoch: Epoch, reason: ExitReason) {
        let Some(key) = self.by_epoch.get(&epoch).copied() else { return };
        let Some(child) = self.children.get_mut(&key) else { return };
        match child.state {
            ChildState::Stopping(_) => {
                self.by_epoch.remove(&epoch);
                let purpose = match self.current {
                    Some((current, purpose)) if current == key => {
                        self.current = None;
                        purpose
                    }
                    _ => Purpose::Ending,
                };
                let enders = std::mem::take(&mut child.enders);
                let expected = reason.is_clean()
                    || (reason == ExitReason::Killed
                        && child.rules.shutdown == Shutdown::BrutalKill);
                if !expected {
                    let child = child.rules.id.clone();
                    self.effects.push(Effect::Notify(Notice::ChildFailed { child, reason }));
                }
                let dynamic = self.flags.strategy == Strategy::Dynamic;
                self.effects
                    .extend(enders.into_iter().map(|t| Effect::Answer(t, Ok(Done::Terminated))));
                self.stopped(key, purpose);
                if dynamic {
                    self.remove(key);
                }
            }
            ChildState::Running(_) => {
                child.state = ChildState::Dead(epoch);
                // told at once: a script under way may bury this child before its exit is decided on
                if !reason.is_clean() || child.rules.restart == Restart::Permanent {
                    let child = child.rules.id.clone();
                    let reason = reason.clone();
                    self.effects.push(Effect::Notify(Notice::ChildFailed { child, reason }));
                }
                self.backlog.push_back(Event::Exited(epoch, reason));
            }
            _ => {}
        }
    }
}
