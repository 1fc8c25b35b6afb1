//! What the heart decides, apart from what it does: events and the time go in, effects come out.
//!
//! ```text
//!  Waiting ──▶ Starting ──first beat──▶ Beating ──Stopping, or a stop was asked for──▶ Ending
//!     ▲           │ too late               │ silent                                    │ too late
//!     │           └────────▶ Killed ◀──────┴───────────────────────────────────────────┘
//!     └──── restart ──────────┴─ exit of the core ──▶ EndingAll ──nobody is left──▶ Done
//! ```

use std::time::Duration;

use super::program::Program;
use super::protocol::{Ended, LET_GO};
use crate::clock::Moment;
use crate::limits;
use crate::supervision::backoff::Backoff;
use crate::supervision::window::RestartWindow;

/// Exit code of a heart whose cores used up their restarts.
pub const GAVE_UP: u8 = 3;
/// Exit codes of a core that cannot start: wrong usage, a fault of the configuration, sockets that are taken. It told why.
const CANNOT_START: [i32; 2] = [1, 2];

/// Delays between starts that fail one after another; the first has none.
const DELAYS: Backoff = Backoff {
    min: limits::HEART_DELAY_MIN,
    factor: 2.0,
    max: limits::HEART_DELAY_MAX,
    jitter: 0.0,
};

/// By what the heart judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A core that beats no more is replaced after this.
    pub wedge_timeout: Duration,
    /// How long a core may take to its first beat.
    pub start_timeout: Duration,
    /// Restarts that are allowed in `period`.
    pub restarts: u32,
    /// The length of the window.
    pub period: Duration,
    /// How long an orderly end may take, apart from the grace of the backends.
    pub end_timeout: Duration,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The core that was ordered runs.
    Started {
        /// Its process.
        pid: u32,
    },
    /// It could not be started.
    StartFailed(String),
    /// The tree of actors makes progress.
    Beat,
    /// The service is whole.
    Ready,
    /// An orderly end began.
    Stopping,
    /// How long backends may take to end.
    StopGrace(Duration),
    /// The core is about to let go for another program.
    Upgrade {
        /// Which.
        program: Program,
        /// How long that one has until it is ready.
        timeout: Duration,
    },
    /// It has let go. It may live on for its clients, and is no core any more.
    LetGo,
    /// The core ended; `None` when nobody knows how.
    Ended(Option<Ended>),
    /// Somebody wants an end: TERM or INT.
    StopAsked,
    /// No child is left.
    AllGone,
    /// Time passed.
    Tick,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a core.
    Start(Program),
    /// KILL the core.
    Kill,
    /// Tell the core that an end is wanted.
    PassOnStop,
    /// TERM to all children that are left, and KILL after the grace, until none is left. Said again, the grace is the shorter one.
    EndAll {
        /// How long they may take.
        grace: Duration,
    },
    /// End with this code.
    Exit(u8),
    /// For people.
    Say(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// No core; the next one is started then.
    Waiting { until: Moment },
    /// It has not beaten yet.
    Starting { until: Moment },
    /// It beats.
    Beating { last: Moment },
    /// It got a KILL.
    Killed { cause: String },
    /// It ends in order.
    Ending { until: Moment },
    /// There is no core any more, and none comes.
    EndingAll { code: u8 },
    /// Nothing is left to do.
    Done,
}

/// A program that is being tried in place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trial {
    before: Program,
    timeout: Duration,
    /// Set when it was started.
    ready_until: Option<Moment>,
}

/// See the module.
#[derive(Debug)]
pub struct Core {
    rules: Rules,
    window: RestartWindow,
    phase: Phase,
    program: Program,
    trial: Option<Trial>,
    /// Where the core wants to hand over to, once it has ended.
    next: Option<(Program, Duration)>,
    /// The process of the present core.
    pid: Option<u32>,
    /// Whether the present core was ready.
    is_ready: bool,
    /// Whether any core was.
    ever_ready: bool,
    /// Starts in a row that came to nothing.
    failed_starts: u32,
    /// The first core found that it cannot start.
    could_not_start: bool,
    stop_asked: bool,
    stop_grace: Duration,
    incarnation: u64,
    restarts: u64,
    last_cause: Option<String>,
    /// Why the core before this one was replaced.
    replaces: Option<String>,
    notice: Option<String>,
    /// The last look at anything: whoever was away for long judges nobody by it.
    seen: Moment,
}

impl Core {
    /// A heart without a core, and the order for the first one.
    pub fn new(rules: Rules, stop_grace: Duration, now: Moment) -> (Self, Vec<Effect>) {
        let core = Self {
            rules,
            window: RestartWindow::new(rules.restarts, rules.period),
            phase: Phase::Starting { until: now + rules.start_timeout },
            program: Program::Own,
            trial: None,
            next: None,
            pid: None,
            is_ready: false,
            ever_ready: false,
            failed_starts: 0,
            could_not_start: false,
            stop_asked: false,
            stop_grace,
            incarnation: 1,
            restarts: 0,
            last_cause: None,
            replaces: None,
            notice: None,
            seen: now,
        };
        (core, vec![Effect::Start(Program::Own)])
    }

    /// Which core it is, from 1 on.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Cores that were replaced.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Why the last one was.
    pub fn last_cause(&self) -> Option<&str> {
        self.last_cause.as_deref()
    }

    /// Why the core before this one was replaced; told once.
    pub fn take_replaces(&mut self) -> Option<String> {
        self.replaces.take()
    }

    /// What the next core is to put on record; told once.
    pub fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    /// Whether the service never came to be, for a fault that its user may mend. What one before it left is not its to end.
    pub fn could_not_start(&self) -> bool {
        self.could_not_start
    }

    /// How long backends may take to end.
    pub fn stop_grace(&self) -> Duration {
        self.stop_grace
    }

    /// Whether the core named a program that is to follow it.
    pub fn is_letting_go(&self) -> bool {
        self.next.is_some()
    }

    /// All programs that may be started from now on.
    pub fn programs(&self) -> Vec<&Program> {
        let before = self.trial.as_ref().map(|trial| &trial.before);
        let next = self.next.as_ref().map(|(program, _)| program);
        [Some(&self.program), before, next].into_iter().flatten().collect()
    }

    /// When to look again without any event.
    pub fn deadline(&self) -> Option<Moment> {
        let ready = self.trial.as_ref().and_then(|trial| trial.ready_until);
        let phase = match self.phase {
            Phase::Waiting { until } | Phase::Starting { until } | Phase::Ending { until } => {
                Some(until)
            }
            Phase::Beating { last } => Some(last + self.rules.wedge_timeout),
            Phase::Killed { .. } | Phase::EndingAll { .. } | Phase::Done => None,
        };
        phase.into_iter().chain(ready).min()
    }

    /// Takes an event; answers what is to be done, in order.
    pub fn on(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        self.forgive(now);
        match event {
            Event::Started { pid } => {
                self.pid = Some(pid);
                Vec::new()
            }
            Event::StartFailed(reason) => {
                self.core_lost(format!("it cannot be started: {reason}"), now)
            }
            Event::Beat => self.beat(now),
            Event::Ready => self.ready(now),
            Event::Stopping => self.stopping(now),
            Event::StopGrace(grace) => {
                self.stop_grace = grace.min(limits::DURATION_MAX);
                Vec::new()
            }
            Event::Upgrade { program, timeout } => {
                self.next = Some((program, timeout));
                Vec::new()
            }
            Event::LetGo => self.hand_over(now),
            Event::Ended(ended) => self.ended(ended, now),
            Event::StopAsked => self.stop(now),
            Event::AllGone => match self.phase {
                Phase::EndingAll { code } => {
                    self.phase = Phase::Done;
                    vec![Effect::Exit(code)]
                }
                _ => Vec::new(),
            },
            Event::Tick => self.tick(now),
        }
    }

    /// Who did not run itself (stopped, a frozen container) cannot say that others were silent: their time is moved by as much.
    fn forgive(&mut self, now: Moment) {
        let away = now.since(self.seen);
        self.seen = now;
        if away < limits::HEART_AWAY {
            return;
        }
        match &mut self.phase {
            Phase::Starting { until } | Phase::Ending { until } => *until = *until + away,
            Phase::Beating { last } => *last = *last + away,
            _ => {}
        }
        if let Some(Trial { ready_until: Some(until), .. }) = &mut self.trial {
            *until = *until + away;
        }
    }

    fn beat(&mut self, now: Moment) -> Vec<Effect> {
        if matches!(self.phase, Phase::Starting { .. } | Phase::Beating { .. }) {
            self.phase = Phase::Beating { last: now };
        }
        Vec::new()
    }

    fn ready(&mut self, now: Moment) -> Vec<Effect> {
        self.is_ready = true;
        self.ever_ready = true;
        self.failed_starts = 0;
        self.trial = None;
        self.beat(now)
    }

    fn stopping(&mut self, now: Moment) -> Vec<Effect> {
        if matches!(self.phase, Phase::Starting { .. } | Phase::Beating { .. }) {
            self.phase = Phase::Ending { until: now + self.rules.end_timeout + self.stop_grace };
        }
        Vec::new()
    }

    fn stop(&mut self, now: Moment) -> Vec<Effect> {
        self.stop_asked = true;
        match self.phase {
            Phase::Waiting { .. } => self.end_all(0, self.stop_grace),
            Phase::Starting { .. } | Phase::Beating { .. } | Phase::Ending { .. } => {
                self.stopping(now);
                vec![Effect::PassOnStop]
            }
            Phase::EndingAll { .. } => vec![Effect::EndAll { grace: Duration::ZERO }],
            Phase::Killed { .. } | Phase::Done => Vec::new(),
        }
    }

    fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let span = humantime::format_duration;
        match self.phase {
            Phase::Waiting { until } if now >= until => return self.start(now),
            Phase::Starting { until } if now >= until => {
                let limit = span(self.rules.start_timeout);
                return self.kill(format!("it gave no sign of life for {limit} after its start"));
            }
            Phase::Beating { last } if now >= last + self.rules.wedge_timeout => {
                let limit = span(self.rules.wedge_timeout);
                return self.kill(format!("it gave no sign of life for {limit}"));
            }
            Phase::Ending { until } if now >= until => {
                return self.kill("it did not end in time".to_owned());
            }
            _ => {}
        }
        let late =
            self.trial.as_ref().is_some_and(|trial| trial.ready_until.is_some_and(|t| now >= t));
        if late && matches!(self.phase, Phase::Starting { .. } | Phase::Beating { .. }) {
            return self.kill("it was not ready in time".to_owned());
        }
        Vec::new()
    }

    fn kill(&mut self, cause: String) -> Vec<Effect> {
        let said = format!("{}: {cause}; killing it", self.name());
        self.phase = Phase::Killed { cause };
        vec![Effect::Say(said), Effect::Kill]
    }

    fn ended(&mut self, ended: Option<Ended>, now: Moment) -> Vec<Effect> {
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        let words = Ended::words(ended);
        match (phase, ended) {
            (phase @ (Phase::EndingAll { .. } | Phase::Done | Phase::Waiting { .. }), _) => {
                self.phase = phase;
                Vec::new()
            }
            // a program that does not serve ends well, too
            (Phase::Starting { .. } | Phase::Beating { .. }, Some(Ended::Code(0)))
                if self.trial.is_some() && !self.stop_asked =>
            {
                self.core_lost(format!("{words} before it was ready"), now)
            }
            (_, Some(Ended::Code(0))) => self.end_all(0, self.stop_grace),
            // it did not listen for signals yet: the stop that was passed on to it was its end
            (Phase::Ending { .. }, Some(ended)) if self.stop_asked && ended.is_by_term() => {
                self.end_all(0, self.stop_grace)
            }
            (Phase::Killed { cause }, _) if !self.stop_asked => self.core_lost(cause, now),
            (Phase::Killed { .. }, _) => self.end_all(1, self.stop_grace),
            (Phase::Ending { .. }, _) => {
                let said = format!("{} ended while it was stopping: {words}", self.name());
                let mut effects = vec![Effect::Say(said)];
                effects.extend(self.end_all(1, self.stop_grace));
                effects
            }
            (_, Some(Ended::Code(code)))
                if CANNOT_START.contains(&code) && !self.ever_ready && self.restarts == 0 =>
            {
                self.could_not_start = true;
                self.end_all(code as u8, Duration::ZERO)
            }
            (phase, Some(Ended::Code(code)))
                if code == i32::from(LET_GO) && self.is_letting_go() =>
            {
                self.phase = phase;
                self.hand_over(now)
            }
            _ => self.core_lost(words, now),
        }
    }

    /// The core let go of everything for another program.
    fn hand_over(&mut self, now: Moment) -> Vec<Effect> {
        let Some((program, timeout)) = self.next.take() else { return Vec::new() };
        // nobody was told of the wish but the core that is none any more
        if self.stop_asked {
            return self.end_all(0, self.stop_grace);
        }
        let before = std::mem::replace(&mut self.program, program);
        self.trial = Some(Trial { before, timeout, ready_until: None });
        self.start(now)
    }

    /// The core is gone, and nobody wanted that.
    fn core_lost(&mut self, cause: String, now: Moment) -> Vec<Effect> {
        let said = format!("{} is lost: {cause}", self.name());
        let mut effects = vec![Effect::Say(said)];
        self.next = None;
        if let Some(trial) = self.trial.take() {
            let tried = std::mem::replace(&mut self.program, trial.before);
            let tried = tried.path().map_or_else(String::new, |path| path.display().to_string());
            self.notice = Some(format!("{tried} did not get ready: {cause}"));
            effects.extend(self.start(now));
            return effects;
        }
        self.failed_starts = if self.is_ready { 0 } else { self.failed_starts + 1 };
        if !self.window.admit(now) {
            let Rules { restarts, period, .. } = self.rules;
            effects.push(Effect::Say(format!(
                "gave up after {restarts} restarts in {}: {cause}; ending all models",
                humantime::format_duration(period)
            )));
            effects.extend(self.end_all(GAVE_UP, self.stop_grace));
            return effects;
        }
        self.restarts += 1;
        self.replaces = Some(cause.clone());
        self.last_cause = Some(cause);
        if self.failed_starts == 0 {
            effects.extend(self.start(now));
        } else {
            self.pid = None;
            self.phase = Phase::Waiting { until: now + DELAYS.delay(self.failed_starts, 0.5) };
        }
        effects
    }

    fn start(&mut self, now: Moment) -> Vec<Effect> {
        self.incarnation += 1;
        self.is_ready = false;
        self.pid = None;
        self.phase = Phase::Starting { until: now + self.rules.start_timeout };
        if let Some(trial) = &mut self.trial {
            trial.ready_until = Some(now + trial.timeout);
        }
        vec![Effect::Start(self.program.clone())]
    }

    fn end_all(&mut self, code: u8, grace: Duration) -> Vec<Effect> {
        self.pid = None;
        self.phase = Phase::EndingAll { code };
        vec![Effect::EndAll { grace }]
    }

    fn name(&self) -> String {
        self.pid.map_or_else(|| "the core".to_owned(), |pid| format!("the core (pid {pid})"))
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
