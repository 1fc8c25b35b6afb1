//! When a process is to end, and what follows when it has.

use std::time::Duration;

use super::{Effect, HUNG_GRACE, Machine, State, StopCause, Timer};
use crate::clock::Moment;
use crate::events::messages::BY_HAND;
use crate::instance::restart::Verdict;
use crate::launcher::exit_cause::ExitCause;
use crate::launcher::{ExitStatus, GroupSignal, SpawnError};
use crate::settings::policy::RestartClass;

/// What follows the cause in the reason of a parked instance.
pub const TRIAL: &str = "; one trial start";

impl Machine {
    pub(super) fn end_faulty(&mut self, why: String, now: Moment) {
        self.end_process(StopCause::Faulty(why), self.policies.stop.grace.min(HUNG_GRACE), now);
    }

    pub(super) fn end_process(&mut self, cause: StopCause, grace: Duration, now: Moment) {
        let words = match &cause {
            StopCause::Asked => "asked to stop".to_owned(),
            StopCause::ByHand => BY_HAND.to_owned(),
            StopCause::Faulty(why) | StopCause::Along(why) | StopCause::ParkedAlong(why, _) => {
                why.clone()
            }
        };
        self.timers.clear();
        self.reason = Some(words.clone());
        self.stop_cause = Some(cause);
        self.change(State::Stopping, Some(words));
        if self.spawned {
            // A connection that is closed wakes its backend, and one that is just looking what it was misses the signal and
            // sleeps on until it is killed, if it waits in a plain receive as Python backends do. So connections of
            // a backend that serves are closed when it is gone.
            if !self.was_ready {
                self.effects.push(Effect::ForgetProbes(self.generation));
            }
            self.signal_stop(GroupSignal::Stop(self.policies.stop.signal), grace, now);
        } else {
            self.effects.push(Effect::CancelSpawn(self.generation));
        }
    }

    pub(super) fn signal_stop(&mut self, signal: GroupSignal, grace: Duration, now: Moment) {
        self.effects.push(Effect::Signal(self.generation, signal));
        self.timers.insert(Timer::StopGrace, now + grace);
    }

    pub(super) fn kill(&mut self, now: Moment) {
        self.timers.remove(&Timer::StopGrace);
        self.effects.push(Effect::Signal(self.generation, GroupSignal::Kill));
        // asked for again: the kernel has its time from the first one on
        self.timers.entry(Timer::KillGrace).or_insert(now + self.policies.stop.kill_grace);
    }

    /// There was no process yet to end.
    pub(super) fn on_spawn_cancelled(&mut self, now: Moment) {
        match self.stop_cause.take() {
            Some(StopCause::Along(why)) if self.wanted => {
                self.after_taken_along(why.clone(), why, now)
            }
            Some(StopCause::ParkedAlong(why, rest)) if self.wanted => {
                self.change(State::Exited, Some(why.clone()));
                self.park(why, rest, now);
            }
            Some(StopCause::ByHand) if self.wanted => {
                self.change(State::Exited, Some(BY_HAND.into()));
                self.restarts += 1;
                self.launch(Some(BY_HAND.into()), now);
            }
            Some(StopCause::Faulty(reason)) if self.wanted => {
                let generation = self.generation;
                self.effects.push(Effect::Ended {
                    generation,
                    status: None,
                    reason: reason.clone(),
                });
                self.after_end(reason, None, false, now);
            }
            _ => self.down(now),
        }
    }

    pub(super) fn on_spawn_failed(&mut self, error: &SpawnError, now: Moment) {
        let reason = error.to_string();
        self.effects.push(Effect::Ended {
            generation: self.generation,
            status: None,
            reason: reason.clone(),
        });
        if self.state == State::Stopping && (!self.restart_after_stop() || self.ends_for_others()) {
            self.on_spawn_cancelled(now);
            return;
        }
        let fatal = matches!(error, SpawnError::Fatal { .. });
        self.after_end(reason.clone(), fatal.then_some(reason.as_str()), false, now);
    }

    pub(super) fn on_exited(&mut self, status: ExitStatus, now: Moment) {
        self.spawned = false;
        let generation = self.generation;
        let cause = self.stop_cause.take();
        let exit_cause = self.exit_cause.take();
        let reason = match &cause {
            Some(StopCause::Asked) => format!("asked to stop ({status})"),
            Some(StopCause::ByHand) => format!("{BY_HAND} ({status})"),
            Some(StopCause::Along(why) | StopCause::ParkedAlong(why, _)) => {
                format!("{why} ({status})")
            }
            Some(StopCause::Faulty(why)) => match &exit_cause {
                Some(ExitCause::Limit(limit)) => format!("{why}, {limit} ({status})"),
                _ => format!("{why} ({status})"),
            },
            None => in_words(status, exit_cause.as_ref(), self.was_ready),
        };
        self.effects.push(Effect::Ended {
            generation: self.generation,
            status: Some(status),
            reason: reason.clone(),
        });
        match cause {
            Some(StopCause::Asked) => self.down(now),
            Some(StopCause::Along(why)) if self.wanted => self.after_taken_along(why, reason, now),
            Some(StopCause::ParkedAlong(why, rest)) if self.wanted => {
                self.change(State::Exited, Some(reason));
                self.park(why, rest, now);
            }
            Some(StopCause::ByHand) if self.wanted => {
                self.change(State::Exited, Some(reason));
                self.restarts += 1;
                self.launch(Some(BY_HAND.into()), now);
            }
            _ => {
                let fatal = self.no_restart_mends(status, exit_cause.as_ref());
                let failed =
                    matches!(exit_cause, Some(ExitCause::Limit(_) | ExitCause::NotExecutedNow(_)));
                let clean = cause.is_none() && !failed && self.was_ready && self.is_clean(status);
                self.after_end(reason, fatal.as_deref(), clean, now);
            }
        }
        // wakes another thread, so it comes after the news
        self.effects.push(Effect::ForgetProbes(generation));
    }

    /// Why another start would be in vain. A program that never began has no exit code of its own.
    fn no_restart_mends(&self, status: ExitStatus, cause: Option<&ExitCause>) -> Option<String> {
        match (cause, status) {
            (Some(ExitCause::NotExecuted(why)), _) => Some(why.clone()),
            (Some(ExitCause::NotExecutedNow(_)), _) => None,
            (_, ExitStatus::Code(code)) if self.policies.restart.fatal_codes.contains(&code) => {
                Some(format!("exit code {code} is listed as fatal"))
            }
            _ => None,
        }
    }

    fn is_clean(&self, status: ExitStatus) -> bool {
        match status {
            ExitStatus::Code(code) => {
                code == 0 || self.policies.restart.clean_codes.contains(&code)
            }
            ExitStatus::Signal { .. } | ExitStatus::Unknown => false,
        }
    }

    fn restart_after_stop(&self) -> bool {
        self.wanted && self.stop_cause != Some(StopCause::Asked)
    }

    /// The process ended and nobody asked for that.
    pub(super) fn after_end(
        &mut self,
        reason: String,
        fatal: Option<&str>,
        clean: bool,
        now: Moment,
    ) {
        self.timers.clear();
        self.stop_cause = None;
        self.change(State::Exited, Some(reason.clone()));
        let again = match self.policies.restart.class {
            _ if !self.wanted => false,
            RestartClass::Permanent => true,
            RestartClass::Transient => !clean,
            RestartClass::Temporary => false,
        };
        if !again {
            self.wanted = false;
            self.reason = Some(reason.clone());
            self.change(State::Stopped, Some(reason));
            return;
        }
        let verdict = self.book.judge(fatal, now);
        if fatal.is_none() && matches!(verdict, Verdict::Restart(_)) {
            self.effects.push(Effect::Failed);
        }
        self.follow(verdict, reason, now);
    }

    /// Carries out what the book says about an end.
    pub(super) fn follow(&mut self, verdict: Verdict, reason: String, now: Moment) {
        match verdict {
            Verdict::Restart(Duration::ZERO) => {
                self.restarts += 1;
                self.launch(Some(reason), now);
            }
            Verdict::Restart(delay) => {
                self.rest(
                    State::Backoff,
                    format!("{reason}; next start in {:.1} s", delay.as_secs_f64()),
                    delay,
                    now,
                );
            }
            Verdict::Park { cool_off, why } => {
                let why = if why == reason { why } else { format!("{why}, the last: {reason}") };
                self.park(why, cool_off, now);
            }
            Verdict::Escalate { why } => {
                let why = if why == reason { why } else { format!("{why}, the last: {reason}") };
                self.book.count_trial(now);
                self.rest(State::Backoff, why.clone(), Duration::ZERO, now);
                self.effects.push(Effect::Escalate(why));
            }
        }
    }

    pub(super) fn park(&mut self, why: String, cool_off: Duration, now: Moment) {
        self.timers.clear();
        let span = humantime::format_duration(cool_off);
        let reason = format!("{why}{TRIAL} after a rest of {span}");
        self.rest(State::Parked, reason, cool_off, now);
    }

    fn rest(&mut self, state: State, reason: String, span: Duration, now: Moment) {
        self.reason = Some(reason.clone());
        self.timers.insert(Timer::Wake, now + span);
        self.change(state, Some(reason));
    }

    /// Nothing runs, as somebody wanted it.
    pub(super) fn down(&mut self, now: Moment) {
        self.timers.clear();
        self.stop_cause = None;
        self.spawned = false;
        self.awaits_turn = false;
        self.reason = None;
        self.change(State::Stopped, Some("asked to stop".into()));
        if self.wanted {
            // wanted again while it was being stopped
            self.launch(None, now);
        }
    }
}

/// The end of a process that nobody asked for.
fn in_words(status: ExitStatus, cause: Option<&ExitCause>, was_ready: bool) -> String {
    let before_ready = if was_ready { "" } else { " before ready" };
    match (cause, status) {
        // the signal is how the kernel carries the limit out
        (Some(ExitCause::Limit(limit)), ExitStatus::Signal { .. }) => {
            format!("{limit}{before_ready}")
        }
        (Some(ExitCause::Limit(limit)), _) => format!("{limit} ({status}{before_ready})"),
        (Some(ExitCause::NearLimit(what)), _) => format!("{status}{before_ready}, {what}"),
        (Some(ExitCause::NotExecuted(why) | ExitCause::NotExecutedNow(why)), _) => why.clone(),
        (None, _) => format!("{status}{before_ready}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Policies};
    use super::*;
    use crate::settings::policy::{HealthPolicy, RestartPolicy, StartPolicy, StopPolicy};

    /// How the first process ends, and what is made of it: its reason, and where that leads.
    fn end_of_first(
        restart: RestartPolicy,
        ready: bool,
        status: ExitStatus,
        cause: ExitCause,
    ) -> (String, State) {
        let policies = Policies {
            start: StartPolicy::default(),
            health: HealthPolicy::default(),
            restart,
            stop: StopPolicy::default(),
            takes_turns: false,
        };
        let mut machine = Machine::new(policies, 7);
        let now = Moment::default();
        machine.next(Event::Start, now);
        let generation = machine.generation();
        machine.next(Event::Spawned(generation), now);
        if ready {
            machine.next(Event::Ready(generation), now);
        }
        machine.next(Event::ExitCause(generation, cause), now);
        let effects = machine.next(Event::Exited(generation, status), now);
        let reason = effects.into_iter().find_map(|effect| match effect {
            Effect::Ended { reason, .. } => Some(reason),
            _ => None,
        });
        (reason.unwrap_or_default(), machine.state())
    }

    #[test]
    fn a_limit_is_named_as_the_reason() {
        let killed = ExitStatus::Signal { number: 9, core_dumped: false };
        let limit = || ExitCause::Limit("memory limit 16GiB".into());
        let near = || ExitCause::NearLimit("near its limit".into());
        let reason =
            |ready, status, cause| end_of_first(RestartPolicy::default(), ready, status, cause).0;
        assert_eq!(reason(true, killed, limit()), "memory limit 16GiB");
        assert_eq!(reason(false, killed, limit()), "memory limit 16GiB before ready");
        assert_eq!(reason(true, ExitStatus::Code(1), limit()), "memory limit 16GiB (exit 1)");
        assert_eq!(reason(true, ExitStatus::Code(1), near()), "exit 1, near its limit");
        assert_eq!(reason(false, killed, near()), "signal 9 before ready, near its limit");
    }

    #[test]
    fn an_end_at_a_limit_is_never_a_clean_one() {
        let transient = || RestartPolicy {
            class: RestartClass::Transient,
            clean_codes: vec![3],
            ..RestartPolicy::default()
        };
        let end = |cause| end_of_first(transient(), true, ExitStatus::Code(3), cause).1;
        assert_eq!(end(ExitCause::NearLimit("near".into())), State::Stopped, "only a guess");
        assert_eq!(end(ExitCause::Limit("memory limit 1GiB".into())), State::Starting);
    }

    #[test]
    fn a_program_that_never_began_is_parked_at_once() {
        let cause = ExitCause::NotExecuted("cannot execute x: Permission denied".into());
        let (reason, state) =
            end_of_first(RestartPolicy::default(), false, ExitStatus::Code(126), cause);
        assert_eq!(reason, "cannot execute x: Permission denied");
        assert_eq!(state, State::Parked);
    }

    #[test]
    fn a_program_that_could_not_begin_just_now_is_tried_again() {
        let cause = ExitCause::NotExecutedNow("cannot start x now: Text file busy".into());
        let listed = RestartPolicy {
            class: RestartClass::Transient,
            fatal_codes: vec![75],
            clean_codes: vec![75],
            ..RestartPolicy::default()
        };
        for ready in [false, true] {
            let (reason, state) =
                end_of_first(listed.clone(), ready, ExitStatus::Code(75), cause.clone());
            assert_eq!(reason, "cannot start x now: Text file busy");
            assert_eq!(state, State::Starting, "the code is none of the program's");
        }
    }

    #[test]
    fn a_backend_that_serves_keeps_its_connection_until_it_is_gone() {
        let policies = Policies {
            takes_turns: false,
            start: StartPolicy::default(),
            health: HealthPolicy::default(),
            restart: RestartPolicy::default(),
            stop: StopPolicy::default(),
        };
        let mut machine = Machine::new(policies, 7);
        let mut feed = |event| machine.next(event, Moment::default());
        let forgets = |effects: Vec<Effect>| {
            effects.iter().any(|effect| matches!(effect, Effect::ForgetProbes(_)))
        };
        let Some(generation) = feed(Event::Start).iter().find_map(|effect| match effect {
            Effect::Spawn(generation) => Some(*generation),
            _ => None,
        }) else {
            panic!("nothing is spawned")
        };
        feed(Event::Spawned(generation));
        feed(Event::Ready(generation));
        assert!(!forgets(feed(Event::Stop)));
        assert!(forgets(feed(Event::Exited(generation, ExitStatus::Code(0)))));
    }
}
