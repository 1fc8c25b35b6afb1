//! While a process lives: progress of a start, health, deadlines.

use std::time::Duration;

use super::{Effect, HUNG_GRACE, Machine, PROBER_SLACK, State, StopCause, Timer};
use crate::clock::Moment;
use crate::instance::health::{Diagnosis, is_work};
use crate::limits;
use crate::settings::policy::Readiness;

impl Machine {
    pub(super) fn on_sampled(&mut self, cpu_time: Duration, output_bytes: u64, now: Moment) {
        match self.state {
            State::Starting => self.look_for_progress(cpu_time, output_bytes, now),
            State::Ready | State::Unhealthy if self.judging => self.judge(Some(cpu_time), now),
            _ => {}
        }
    }

    fn look_for_progress(&mut self, cpu_time: Duration, output_bytes: u64, now: Moment) {
        if self.gets_on(cpu_time, output_bytes, now) {
            self.timers.insert(Timer::Stall, now + self.policies.start.stall_timeout);
        }
    }

    /// Whether a starting process did something since it was last seen to.
    fn gets_on(&mut self, cpu_time: Duration, output_bytes: u64, now: Moment) -> bool {
        let before = self.sample.replace((now, cpu_time, output_bytes));
        let Some((at, cpu_before, output_before)) = before else { return true };
        let used = cpu_time.saturating_sub(cpu_before);
        if self.wrong_answer.is_some() {
            // each of our own questions costs it CPU time, and often a line of output
            return is_work(used, now.since(at));
        }
        let got_on = output_bytes > output_before || used >= limits::PROGRESS_CPU;
        if !got_on {
            // what grows slowly is compared with where it stood at the last progress; a sum that shrank (a helper took
            // its share along) with where it stands now
            self.sample = Some((at, cpu_before.min(cpu_time), output_before.min(output_bytes)));
        }
        got_on
    }

    pub(super) fn on_alive(&mut self, now: Moment) {
        self.timers.remove(&Timer::HealthOverdue);
        self.timers.remove(&Timer::SecondLook);
        self.judging = false;
        self.asked_at = None;
        self.health.alive();
        if self.state == State::Unhealthy {
            self.reason = None;
            self.change(State::Ready, Some("answers again".into()));
            self.timers.insert(Timer::Forgive, now + self.policies.restart.reset_after);
        }
    }

    pub(super) fn on_silent(&mut self, why: String, now: Moment) {
        if !self.state.is_alive() {
            return;
        }
        // a question counts once, also where its answer comes after it was taken for missed
        let Some(asked_at) = self.asked_at.take() else { return };
        self.timers.remove(&Timer::HealthOverdue);
        self.health.missed(asked_at, why);
        self.judging = true;
        self.measure(now);
    }

    fn measure(&mut self, now: Moment) {
        self.effects.push(Effect::Sample(self.generation));
        // should the sample not come either, the next deadline judges without it
        self.timers.insert(Timer::HealthOverdue, now + PROBER_SLACK);
    }

    fn judge(&mut self, cpu_time: Option<Duration>, now: Moment) {
        self.judging = false;
        self.timers.remove(&Timer::HealthOverdue);
        let diagnosis = self.health.judge(&self.policies.health, cpu_time, now);
        if let Diagnosis::Hung(why) = diagnosis {
            let grace = self.policies.stop.grace.min(HUNG_GRACE);
            self.end_process(StopCause::Faulty(why), grace, now);
            return;
        }
        if diagnosis == Diagnosis::Unclear {
            self.judging = true;
            self.timers.insert(Timer::SecondLook, now + limits::PROGRESS_MIN);
        }
        let busy = if diagnosis == Diagnosis::Busy { ", but it works" } else { "" };
        let (misses, last) = (self.health.misses(), self.health.last_failure());
        let answers = if misses == 1 { "answer" } else { "answers" };
        self.reason = Some(format!("{misses} health {answers} missed{busy}, the last: {last}"));
        if self.state == State::Ready {
            self.timers.remove(&Timer::Forgive);
            self.change(State::Unhealthy, self.reason.clone());
        }
    }

    pub(super) fn on_tick(&mut self, now: Moment) {
        // one pass over what is due; a timer armed meanwhile waits for its own tick
        let due: Vec<Timer> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            // an earlier one may have cleared it
            if self.timers.get(&timer).is_some_and(|at| *at <= now) {
                self.timers.remove(&timer);
                self.on_timer(timer, now);
            }
        }
    }

    fn on_timer(&mut self, timer: Timer, now: Moment) {
        match timer {
            Timer::Wake => {
                let cause = if self.state == State::Parked {
                    self.book.count_trial(now);
                    "cool-off over, one trial start"
                } else {
                    "backoff over"
                };
                self.restarts += 1;
                self.launch(Some(cause.into()), now);
            }
            Timer::Stall => {
                let span = humantime::format_duration(self.policies.start.stall_timeout);
                let waiting = self.waiting();
                self.end_faulty(format!("start stalled: no progress for {span}, {waiting}"), now);
            }
            Timer::StartTotal => {
                let span = humantime::format_duration(self.policies.start.total_timeout);
                let waiting = self.waiting();
                self.end_faulty(format!("start took longer than {span}, {waiting}"), now);
            }
            Timer::Progress => {
                self.effects.push(Effect::Sample(self.generation));
                self.timers.insert(Timer::Progress, now + self.progress_every());
            }
            Timer::ReadyDelay => self.on_ready(now),
            Timer::Health => {
                let next = self.on_the_beat(now + self.policies.health.every);
                self.timers.insert(Timer::Health, next);
                if !self.judging {
                    self.asked_at = Some(now);
                    let overdue = now + self.policies.health.timeout + PROBER_SLACK;
                    self.timers.entry(Timer::HealthOverdue).or_insert(overdue);
                    self.effects.push(Effect::Check(self.generation));
                }
            }
            Timer::SecondLook => self.measure(now),
            Timer::HealthOverdue if self.judging => self.judge(None, now),
            Timer::HealthOverdue => self.on_silent("the prober did not answer".to_owned(), now),
            Timer::Forgive => self.book.forgive(),
            Timer::StopGrace => self.kill(now),
            Timer::KillGrace => {
                let why = match &self.signal_refused {
                    Some(refused) => format!("the service may not end the process: {refused}"),
                    None => "KILL was not carried out: the kernel holds the process".to_owned(),
                };
                self.reason = Some(why.clone());
                self.change(State::Unkillable, Some(why));
            }
        }
    }

    /// A moment for a health question, not later than wanted: instances with the same interval ask on the same beats of
    /// it, so that a thousand of them wake the service a few times a second and not a thousand times.
    pub(super) fn on_the_beat(&self, wanted: Moment) -> Moment {
        let beat = self.policies.health.every / limits::HEALTH_BEATS;
        let beyond = wanted.since_origin().as_nanos().checked_rem(beat.as_nanos()).unwrap_or(0);
        wanted - Duration::from_nanos(u64::try_from(beyond).unwrap_or(0))
    }

    /// What a start waits for, in words.
    fn waiting(&self) -> String {
        if !self.spawned {
            return "waiting to be spawned".to_owned();
        }
        if let Some(answer) = &self.wrong_answer {
            return answer.clone();
        }
        match &self.policies.start.ready {
            Readiness::Handshake => "waiting for an answered handshake".to_owned(),
            Readiness::Http { path, status } => {
                format!("waiting for GET {path} to be answered with {status}")
            }
            Readiness::Tcp => "waiting for its port to take a connection".to_owned(),
            Readiness::Fd { number } => format!("waiting for a newline on descriptor {number}"),
            Readiness::Notify => "waiting for READY=1 on $NOTIFY_SOCKET".to_owned(),
            Readiness::Delay(delay) => {
                format!("waiting for {} to pass", humantime::format_duration(*delay))
            }
        }
    }
}
