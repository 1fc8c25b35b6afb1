//! What others have to do with a life: those who must come up first, and the members of its group.

use std::time::Duration;

use super::{Effect, Machine, State, StopCause, TRIAL};
use crate::clock::Moment;
use crate::settings::policy::RestartClass;

impl Machine {
    pub(super) fn on_turn(&mut self, now: Moment) {
        self.order(now);
    }

    /// Nobody can say how often it would have to be asked again: no restart mends it.
    pub(super) fn on_no_turn(&mut self, why: String, now: Moment) {
        self.awaits_turn = false;
        let generation = self.generation;
        self.effects.push(Effect::Ended { generation, status: None, reason: why.clone() });
        self.after_end(why.clone(), Some(&why), false, now);
    }

    pub(super) fn on_taken_along(&mut self, cause: String, now: Moment) {
        match self.state {
            // it has no process, and waits for its turn as it is
            State::Starting if self.awaits_turn => {}
            State::Starting | State::Ready | State::Unhealthy => {
                self.end_process(StopCause::Along(cause), self.policies.stop.grace, now);
            }
            // on its way down already, or down
            _ => {}
        }
    }

    pub(super) fn on_parked_along(&mut self, why: String, cool_off: Duration, now: Moment) {
        match self.state {
            State::Starting if self.awaits_turn => {
                self.awaits_turn = false;
                self.change(State::Exited, Some(why.clone()));
                self.park(why, cool_off, now);
            }
            State::Starting | State::Ready | State::Unhealthy => {
                let cause = StopCause::ParkedAlong(why, cool_off);
                self.end_process(cause, self.policies.stop.grace, now);
            }
            State::Stopping | State::Unkillable if self.stop_cause != Some(StopCause::Asked) => {
                self.stop_cause = Some(StopCause::ParkedAlong(why, cool_off));
            }
            State::Backoff => self.park(why, cool_off, now),
            _ => {}
        }
    }

    pub(super) fn on_group_gave_up(&mut self, why: String, now: Moment) {
        match self.state {
            State::Starting if self.awaits_turn => {
                self.awaits_turn = false;
                self.change(State::Exited, Some(why.clone()));
            }
            State::Backoff => {}
            // somebody decided otherwise meanwhile
            _ => return,
        }
        let verdict = self.book.give_up_for(why.clone());
        self.follow(verdict, why, now);
    }

    /// Its process is gone because another member's is.
    pub(super) fn after_taken_along(&mut self, cause: String, reason: String, now: Moment) {
        self.timers.clear();
        self.change(State::Exited, Some(reason.clone()));
        if self.policies.restart.class == RestartClass::Temporary {
            // never restarted, also not as a bystander
            self.wanted = false;
            self.reason = Some(reason.clone());
            self.change(State::Stopped, Some(reason));
            return;
        }
        self.restarts += 1;
        self.launch(Some(cause), now);
    }

    /// Whether it is being ended since somebody wants it down, and not in order to be replaced.
    pub fn ends_as_asked(&self) -> bool {
        self.stop_cause == Some(StopCause::Asked)
    }

    /// Why it is parked, without what is done about it.
    pub fn parked_for(&self) -> Option<&str> {
        let reason = self.reason.as_deref().filter(|_| self.state == State::Parked)?;
        Some(reason.split_once(TRIAL).map_or(reason, |(why, _)| why))
    }

    pub(super) fn ends_for_others(&self) -> bool {
        matches!(self.stop_cause, Some(StopCause::Along(_) | StopCause::ParkedAlong(..)))
    }
}
