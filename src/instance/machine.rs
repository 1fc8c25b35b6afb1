//! The life of one backend as a pure state machine: events in, effects out, time as an argument.
//!
//! ```text
//! Stopped ─▶ Starting ─▶ Ready ◀─▶ Unhealthy
//!              │  └──────┬──┴─────────┘
//!              │         ▼ exit / hang / stall
//!              └──────▶ Exited ─▶ Backoff ─▶ Starting
//!                         │         └─ stop request: Stopped at once
//!                         └─▶ Parked ─▶ Starting (cool-off over, or asked by hand)
//! Starting|Ready|Unhealthy ─ stop ─▶ Stopping ─▶ Stopped | Unkillable ─(reaped later)▶ Stopped
//! ```
//!
//! At most one process exists at any time: a new generation is ordered only after the old one was reported gone.

mod ending;
mod messages;
mod resuming;
mod turns;
mod watching;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::ending::TRIAL;
pub use self::messages::{Effect, Event, Policies, Presence};
use super::health::HealthWatch;
use super::restart::RestartBook;
use super::state::State;
use crate::clock::Moment;
use crate::events::messages::BY_HAND;
use crate::ids::Generation;
use crate::launcher::GroupSignal;
use crate::launcher::exit_cause::ExitCause;
use crate::limits;
use crate::settings::policy::{HealthCheck, Readiness};

/// A hung process gets this long to follow the stop signal, if its own grace is not shorter: nobody waits for its work.
const HUNG_GRACE: Duration = Duration::from_secs(2);
/// How much longer than its own timeout a health question may take before the prober itself counts as silent.
const PROBER_SLACK: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Backoff or cool-off over.
    Wake,
    /// A start without progress.
    Stall,
    /// A start that takes too long in all.
    StartTotal,
    /// Look at a loading process.
    Progress,
    /// `delay` readiness.
    ReadyDelay,
    /// Ask for health.
    Health,
    /// The prober itself did not answer.
    HealthOverdue,
    /// Measure a silent process once more.
    SecondLook,
    /// Ready for long enough to forgive failures.
    Forgive,
    /// The stop signal was not followed.
    StopGrace,
    /// KILL was not carried out.
    KillGrace,
}

/// Why a process is being ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StopCause {
    /// Somebody wants it down.
    Asked,
    /// It failed us; decided by the restart rules.
    Faulty(String),
    /// Somebody wants it replaced.
    ByHand,
    /// Another member of its group failed.
    Along(String),
    /// Another member of its group was parked, for so long.
    ParkedAlong(String, Duration),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Machine {
    policies: Policies,
    state: State,
    generation: Generation,
    wanted: bool,
    /// It is starting, and those who must come up first have not.
    awaits_turn: bool,
    /// A process of the present generation is known to live.
    spawned: bool,
    was_ready: bool,
    stop_cause: Option<StopCause>,
    /// Why its process could not be signalled.
    signal_refused: Option<String>,
    /// What the launcher knows of the end that it tells next.
    exit_cause: Option<ExitCause>,
    /// A KILL was asked for before there was a process.
    hurry: bool,
    book: RestartBook,
    health: HealthWatch,
    asked_at: Option<Moment>,
    judging: bool,
    sample: Option<(Moment, Duration, u64)>,
    /// While it starts: what it answers instead of being ready.
    wrong_answer: Option<String>,
    restarts: u64,
    reason: Option<String>,
    timers: BTreeMap<Timer, Moment>,
    spread: fastrand::Rng,
    effects: Vec<Effect>,
}

impl Machine {
    /// An instance that was never started. The seed fixes its jitter.
    pub fn new(policies: Policies, seed: u64) -> Self {
        Self {
            book: RestartBook::new(policies.restart.clone(), seed),
            policies,
            state: State::Stopped,
            generation: Generation::default(),
            wanted: false,
            awaits_turn: false,
            spawned: false,
            was_ready: false,
            stop_cause: None,
            signal_refused: None,
            exit_cause: None,
            hurry: false,
            health: HealthWatch::default(),
            asked_at: None,
            judging: false,
            sample: None,
            wrong_answer: None,
            restarts: 0,
            reason: None,
            timers: BTreeMap::new(),
            spread: fastrand::Rng::with_seed(seed.wrapping_add(1)),
            effects: Vec::new(),
        }
    }

    /// Where its life stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it is to run; while it is being stopped, whether it is started again afterwards.
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// The present start.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether it waits for others to come up first.
    pub fn awaits_turn(&self) -> bool {
        self.awaits_turn
    }

    /// Restarts since it was loaded.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Why it is in this state.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The counters.
    pub fn book(&self) -> &RestartBook {
        &self.book
    }

    /// The rules.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// When the present rest ends.
    pub fn wait_until(&self) -> Option<Moment> {
        self.timers.get(&Timer::Wake).copied()
    }

    /// When [`Event::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.values().min().copied()
    }

    /// Goes on under other rules; what runs keeps running.
    pub fn set_policies(&mut self, policies: Policies, now: Moment) {
        self.book.set_policy(policies.restart.clone());
        let before = std::mem::replace(&mut self.policies, policies);
        if self.state.is_alive() && self.policies.health != before.health {
            self.plan_question(now);
        }
    }

    /// Somebody decided by hand that it gets a fresh chance; where it stands does not change by that.
    pub fn forget_failures(&mut self) {
        self.book.clear();
    }

    /// Takes an event; answers what is to be done, in this order. What concerns another generation changes nothing.
    pub fn next(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        match event {
            Event::Start => self.on_start(now),
            Event::Restart => self.on_restart(now),
            Event::Stop => self.on_stop(now),
            Event::Kill => self.on_kill(now),
            Event::Tick => self.on_tick(now),
            Event::Turn(g) if self.awaits_turn && g == self.generation => self.on_turn(now),
            Event::NoTurn(g, why) if self.awaits_turn && g == self.generation => {
                self.on_no_turn(why, now);
            }
            Event::TakenAlong(cause) => self.on_taken_along(cause, now),
            Event::ParkedAlong { why, cool_off } => self.on_parked_along(why, cool_off, now),
            Event::GroupGaveUp(why) => self.on_group_gave_up(why, now),
            Event::Spawned(g) if self.expects_spawn(g) => self.on_spawned(now),
            Event::SpawnFailed(g, error) if self.expects_spawn(g) => {
                self.on_spawn_failed(&error, now);
            }
            Event::SpawnCancelled(g) if self.expects_spawn(g) => self.on_spawn_cancelled(now),
            Event::SignalRefused(g, reason) if g == self.generation && self.spawned => {
                self.signal_refused = Some(reason);
            }
            Event::ExitCause(g, cause) if g == self.generation && self.spawned => {
                self.exit_cause = Some(cause);
            }
            Event::Exited(g, status) if g == self.generation && self.spawned => {
                self.on_exited(status, now);
            }
            Event::Ready(g) if self.is_coming_up(g) => {
                self.on_ready(now);
            }
            Event::NeverReady(g, why) if self.is_coming_up(g) => {
                self.end_faulty(format!("never ready: {why}"), now);
            }
            Event::Progressed(g) if self.is_coming_up(g) => {
                self.timers.insert(Timer::Stall, now + self.policies.start.stall_timeout);
            }
            Event::WrongAnswer(g, answer) if g == self.generation => self.wrong_answer = answer,
            Event::Sampled { generation, cpu_time, output_bytes }
                if generation == self.generation && self.spawned =>
            {
                self.on_sampled(cpu_time, output_bytes, now);
            }
            Event::Alive(g) if g == self.generation => self.on_alive(now),
            Event::Silent(g, why) if g == self.generation => self.on_silent(why, now),
            Event::Worked(g) if g == self.generation => self.health.worked(now),
            _ => {}
        }
        std::mem::take(&mut self.effects)
    }

    /// Whether a process of this generation is loading.
    fn is_coming_up(&self, generation: Generation) -> bool {
        generation == self.generation && self.spawned && self.state == State::Starting
    }

    fn expects_spawn(&self, generation: Generation) -> bool {
        generation == self.generation
            && !self.spawned
            && !self.awaits_turn
            && matches!(self.state, State::Starting | State::Stopping)
    }

    // ---- wishes ------------------------------------------------------------------------------------------------

    fn on_start(&mut self, now: Moment) {
        self.wanted = true;
        match self.state {
            State::Stopped => self.launch(None, now),
            State::Parked => {
                self.restarts += 1;
                self.book.count_trial(now);
                self.launch(Some("asked by hand, one trial start".into()), now);
            }
            // a stop under way is carried through; then it is started again
            _ => {}
        }
    }

    fn on_restart(&mut self, now: Moment) {
        self.wanted = true;
        self.book.clear();
        match self.state {
            // it has no process, and will have a new one
            State::Starting if self.awaits_turn => {}
            State::Starting | State::Ready | State::Unhealthy => {
                self.end_process(StopCause::ByHand, self.policies.stop.grace, now);
            }
            State::Stopping if self.stop_cause != Some(StopCause::Asked) => {
                self.stop_cause = Some(StopCause::ByHand);
            }
            State::Backoff | State::Parked => {
                self.restarts += 1;
                self.launch(Some(BY_HAND.into()), now);
            }
            _ => self.on_start(now),
        }
    }

    fn on_stop(&mut self, now: Moment) {
        self.wanted = false;
        match self.state {
            State::Starting if self.awaits_turn => self.down(now),
            State::Starting | State::Ready | State::Unhealthy => {
                self.end_process(StopCause::Asked, self.policies.stop.grace, now);
            }
            State::Stopping | State::Unkillable => self.stop_cause = Some(StopCause::Asked),
            State::Exited | State::Backoff | State::Parked => self.down(now),
            State::Stopped => {}
        }
    }

    fn on_kill(&mut self, now: Moment) {
        self.on_stop(now);
        match self.state {
            State::Stopping | State::Unkillable if self.spawned => self.kill(now),
            State::Stopping => self.hurry = true,
            _ => {}
        }
    }

    // ---- coming up ---------------------------------------------------------------------------------------------

    fn launch(&mut self, cause: Option<String>, now: Moment) {
        self.timers.clear();
        self.generation = self.generation.next();
        self.spawned = false;
        self.was_ready = false;
        self.stop_cause = None;
        self.signal_refused = None;
        self.hurry = false;
        self.reason = None;
        self.change(State::Starting, cause);
        if self.policies.takes_turns {
            self.awaits_turn = true;
            self.effects.push(Effect::AwaitTurn(self.generation));
        } else {
            self.order(now);
        }
    }

    fn order(&mut self, now: Moment) {
        self.awaits_turn = false;
        self.timers.insert(Timer::StartTotal, now + self.policies.start.total_timeout);
        self.effects.push(Effect::Spawn(self.generation));
    }

    fn on_spawned(&mut self, now: Moment) {
        self.spawned = true;
        if self.state == State::Stopping {
            // asked to stop while the spawn was under way
            if self.hurry {
                self.kill(now);
                return;
            }
            let signal = GroupSignal::Stop(self.policies.stop.signal);
            self.signal_stop(signal, self.policies.stop.grace, now);
            return;
        }
        self.watch_start(now);
    }

    fn watch_start(&mut self, now: Moment) {
        self.sample = None;
        self.wrong_answer = None;
        self.timers.insert(Timer::Stall, now + self.policies.start.stall_timeout);
        self.timers.entry(Timer::StartTotal).or_insert(now + self.policies.start.total_timeout);
        self.timers.insert(Timer::Progress, now + self.progress_every());
        match self.policies.start.ready {
            Readiness::Delay(delay) => {
                self.timers.insert(Timer::ReadyDelay, now + delay);
            }
            _ => self.effects.push(Effect::AwaitReady(self.generation)),
        }
    }

    /// Often enough to see progress well inside the stall timeout, and no more often than useful.
    fn progress_every(&self) -> Duration {
        (self.policies.start.stall_timeout / 20).clamp(limits::PROGRESS_MIN, limits::PROGRESS_MAX)
    }

    fn on_ready(&mut self, now: Moment) {
        self.was_ready = true;
        self.timers.clear();
        self.change(State::Ready, None);
        self.watch_health(now);
    }

    fn watch_health(&mut self, now: Moment) {
        self.health = HealthWatch::default();
        self.judging = false;
        self.timers.insert(Timer::Forgive, now + self.policies.restart.reset_after);
        self.plan_question(now);
    }

    fn plan_question(&mut self, now: Moment) {
        if self.policies.health.check != HealthCheck::None {
            // the first question comes at a random point of the interval, so that many instances spread their load
            let first = now + self.policies.health.every.mul_f64(self.spread.f64().max(0.1));
            let first = self.on_the_beat(first);
            let planned = self.timers.entry(Timer::Health).or_insert(first);
            *planned = first.min(*planned);
        }
    }

    fn change(&mut self, to: State, cause: Option<String>) {
        let from = std::mem::replace(&mut self.state, to);
        debug_assert!(from == to || from.may_become(to), "{from} may not become {to}");
        if from != to {
            let generation = self.generation;
            self.effects.push(Effect::Changed { generation, from, to, cause });
        }
    }
}

#[cfg(test)]
mod tests;
