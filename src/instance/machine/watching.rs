//! While a process lives: progress of a start, health, deadlines.

use std::time::Duration;

use super::{Effect, HUNG_GRACE, Machine, PROBER_SLACK, State, StopCause, Timer};
use crate::clock::Moment;
use crate::instance::health::Diagnosis;
use crate::limits;

impl Machine {
    pub(super) fn on_sampled(&mut self, cpu_time: Duration, output_bytes: u64, now: Moment) {
        match self.state {
            State::Starting => {
                let progressed = self.sample.is_none_or(|(_, cpu, output)| {
                    output_bytes > output || cpu_time.saturating_sub(cpu) >= limits::PROGRESS_CPU
                });
                if progressed {
                    self.sample = Some((now, cpu_time, output_bytes));
                    self.timers.insert(Timer::Stall, now + self.policies.start.stall_timeout);
                }
            }
            State::Ready | State::Unhealthy if self.judging => self.judge(Some(cpu_time), now),
            _ => {}
        }
    }

    pub(super) fn on_alive(&mut self, now: Moment) {
        self.timers.remove(&Timer::HealthOverdue);
        self.judging = false;
        self.health.alive();
        if self.state == State::Unhealthy {
            self.reason = None;
            self.change(State::Ready, Some("answers again".into()));
            self.timers.insert(Timer::Forgive, now + self.policies.restart.reset_after);
        }
    }

    pub(super) fn on_silent(&mut self, now: Moment) {
        if !self.state.is_alive() {
            return;
        }
        self.timers.remove(&Timer::HealthOverdue);
        self.health.missed(self.asked_at.take().unwrap_or(now));
        self.judging = true;
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
        let busy = if diagnosis == Diagnosis::Busy { ", but it works" } else { "" };
        self.reason = Some(format!("{} health answers missed{busy}", self.health.misses()));
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
                self.end_faulty(format!("start stalled: no progress for {span}"), now);
            }
            Timer::StartTotal => {
                let span = humantime::format_duration(self.policies.start.total_timeout);
                self.end_faulty(format!("start took longer than {span}"), now);
            }
            Timer::Progress => {
                self.effects.push(Effect::Sample(self.generation));
                self.timers.insert(Timer::Progress, now + self.progress_every());
            }
            Timer::ReadyDelay => self.on_ready(now),
            Timer::Health => {
                self.timers.insert(Timer::Health, now + self.policies.health.every);
                if !self.judging {
                    self.asked_at = Some(now);
                    let overdue = now + self.policies.health.timeout + PROBER_SLACK;
                    self.timers.entry(Timer::HealthOverdue).or_insert(overdue);
                    self.effects.push(Effect::Check(self.generation));
                }
            }
            Timer::HealthOverdue if self.judging => self.judge(None, now),
            Timer::HealthOverdue => self.on_silent(now),
            Timer::Forgive => self.book.forgive(),
            Timer::StopGrace => self.kill(now),
            Timer::KillGrace => {
                let why = "KILL was not carried out: the kernel holds the process".to_owned();
                self.reason = Some(why.clone());
                self.change(State::Unkillable, Some(why));
            }
        }
    }
}
