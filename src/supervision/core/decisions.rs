//! What follows from an exit, a retry or a request. Taken one at a time, when no script is under way.

use super::super::exit::ExitReason;
use super::super::spec::{AutoShutdown, ChildId, ChildRules, Restart, Strategy, check_child};
use super::table::{ChildState, Key, Purpose};
use super::{AdminError, Core, Done, Effect, Epoch, Event, Notice, Step, Ticket};
use crate::clock::Moment;

impl Core {
    pub(super) fn decide(&mut self, event: Event, now: Moment) {
        match event {
            Event::Exited(epoch, reason) => self.decide_exit(epoch, reason, now),
            Event::Retry(id) => {
                let Some(key) = self.by_id.get(&id).copied() else { return };
                if self.children.get(&key).is_some_and(|c| c.state == ChildState::Restarting) {
                    self.restart(key, now);
                }
            }
            Event::StartChild(ticket, rules) => {
                if let Err(error) = self.decide_start_child(ticket, rules) {
                    self.effects.push(Effect::Answer(ticket, Err(error)));
                }
            }
            Event::TerminateChild(ticket, id) => self.decide_terminate(ticket, &id),
            Event::RestartChild(ticket, id) => match self.absent_child(&id) {
                Ok(key) => self.script.push_back(Step::Start(key, Purpose::Revive(ticket))),
                Err(error) => self.effects.push(Effect::Answer(ticket, Err(error))),
            },
            Event::DeleteChild(ticket, id) => {
                let answer = self.absent_child(&id).map(|key| {
                    self.remove(key);
                    Done::Deleted
                });
                self.effects.push(Effect::Answer(ticket, answer));
            }
            Event::ChangeSpecs(ticket, flags, children) => {
                let answer = self.change_specs(ticket, flags, children);
                self.effects.push(Effect::Answer(ticket, answer.map_err(AdminError::Invalid)));
            }
            Event::Start
            | Event::Stop
            | Event::Started(_)
            | Event::Wedged(..)
            | Event::Ignored(_)
            | Event::StartFailed(..) => {}
        }
    }

    fn decide_exit(&mut self, epoch: Epoch, reason: ExitReason, now: Moment) {
        let Some(key) = self.by_epoch.get(&epoch).copied() else { return };
        let Some(child) = self.children.get_mut(&key) else { return };
        if child.state != ChildState::Dead(epoch) {
            return;
        }
        self.by_epoch.remove(&epoch);
        child.state = ChildState::Absent;
        let rules = child.rules.clone();
        let again = match rules.restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_clean(),
            Restart::Temporary => false,
        };
        if again {
            self.restart(key, now);
            return;
        }
        if rules.restart == Restart::Temporary || self.flags.strategy == Strategy::Dynamic {
            self.remove(key);
        }
        if rules.significant && self.ends_with_significant_child() {
            self.end(ExitReason::Shutdown);
        }
    }

    fn ends_with_significant_child(&self) -> bool {
        match self.flags.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self
                .children
                .values()
                .any(|child| child.rules.significant && child.state != ChildState::Absent),
        }
    }

    fn restart(&mut self, key: Key, now: Moment) {
        let Some(child) = self.children.get_mut(&key) else { return };
        if !self.window.admit(now) {
            child.state = ChildState::Absent;
            self.effects.push(Effect::Notify(Notice::GaveUp {
                child: child.rules.id.clone(),
                intensity: self.flags.intensity,
                period: self.flags.period,
            }));
            self.end(ExitReason::Shutdown);
            return;
        }
        let first = match self.flags.strategy {
            Strategy::OneForOne => {
                self.script.push_back(Step::Start(key, Purpose::Restart));
                return;
            }
            Strategy::Dynamic => {
                self.launch(key, Purpose::Restart);
                return;
            }
            Strategy::RestForOne => key,
            Strategy::OneForAll => 0,
        };
        child.state = ChildState::Absent;
        let group: Vec<Key> = self.children.range(first..).map(|(key, _)| *key).collect();
        let stops = group.iter().rev().filter(|other| **other != key);
        self.script.extend(stops.map(|key| Step::Stop(*key, Purpose::Restart)));
        self.script.extend(group.iter().map(|key| Step::Start(*key, Purpose::Restart)));
    }

    fn decide_start_child(&mut self, ticket: Ticket, rules: ChildRules) -> Result<(), AdminError> {
        check_child(&self.flags, &rules)?;
        if let Some(key) = self.by_id.get(&rules.id) {
            // to OTP's letter: one that waits for its next restart is present, too, and not started
            let down = self
                .children
                .get(key)
                .is_some_and(|c| matches!(c.state, ChildState::Absent | ChildState::Restarting));
            return Err(if down { AdminError::AlreadyPresent } else { AdminError::AlreadyStarted });
        }
        if let Some(max) = self.flags.max_children.filter(|max| self.children.len() >= *max) {
            return Err(AdminError::MaxChildren(max));
        }
        self.effects.push(Effect::Adopt(ticket, rules.id.clone()));
        let key = self.add(rules);
        if self.flags.strategy == Strategy::Dynamic {
            self.launch(key, Purpose::Add(ticket));
        } else {
            self.script.push_back(Step::Start(key, Purpose::Add(ticket)));
        }
        Ok(())
    }

    fn decide_terminate(&mut self, ticket: Ticket, id: &ChildId) {
        let Some(key) = self.by_id.get(id).copied() else {
            self.effects.push(Effect::Answer(ticket, Err(AdminError::NotFound)));
            return;
        };
        if self.flags.strategy != Strategy::Dynamic {
            self.script.push_back(Step::Stop(key, Purpose::Terminate(ticket)));
            return;
        }
        let Some(child) = self.children.get_mut(&key) else { return };
        match child.state {
            ChildState::Running(epoch) => {
                child.state = ChildState::Stopping(epoch);
                child.enders.push(ticket);
                let effect = Effect::Stop(child.rules.id.clone(), epoch, child.rules.shutdown);
                self.effects.push(effect);
            }
            ChildState::Starting(epoch) => {
                if child.enders.is_empty() {
                    let effect = Effect::CancelStart(child.rules.id.clone(), epoch);
                    self.effects.push(effect);
                }
                child.enders.push(ticket);
            }
            ChildState::Stopping(_) => child.enders.push(ticket),
            ChildState::Absent | ChildState::Dead(_) | ChildState::Restarting => {
                if let ChildState::Dead(epoch) = child.state {
                    self.by_epoch.remove(&epoch);
                }
                self.effects.push(Effect::Answer(ticket, Ok(Done::Terminated)));
                self.remove(key);
            }
        }
    }

    /// A child that may be restarted or deleted by name.
    fn absent_child(&self, id: &ChildId) -> Result<Key, AdminError> {
        if self.flags.strategy == Strategy::Dynamic {
            return Err(AdminError::Dynamic);
        }
        let key = self.by_id.get(id).copied().ok_or(AdminError::NotFound)?;
        match self.children.get(&key).map(|child| &child.state) {
            Some(ChildState::Absent) => Ok(key),
            Some(ChildState::Restarting) => Err(AdminError::Restarting),
            // to OTP's letter also where it died behind the request: its end is not decided on yet
            Some(_) => Err(AdminError::Running),
            None => Err(AdminError::NotFound),
        }
    }
}
