//! Looks at the service turn by turn and asks the invariants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::faults::{Done, LogToCheck, log_bytes};
use super::history::{Event, Histories};
use super::invariants::answers::AnsweredOnce;
use super::invariants::crashes::OnlyAskedCrashes;
use super::invariants::generations::{self, OneGeneration};
use super::invariants::whole::ModelNow;
use super::invariants::windows::{ActorWindow, WindowLimits};
use super::invariants::{Violation, logs};
use super::load::Note;
use super::plan::{Fault, ROOT_PANICS};
use super::processes::{self, Backend};
use super::service::{Facts, Model, Service};
use super::tally::{Hit, Tally};
use crate::cli::client::ClientError;
use crate::clock::{Clock, Moment};
use crate::limits;

/// See the module.
pub struct Watch {
    clock: Clock,
    /// What was observed of each subject since it was quiet.
    pub histories: Histories,
    /// Counts and times of faults.
    pub tally: Tally,
    /// Rules that did not hold, the first first.
    pub violations: Vec<Violation>,
    /// Where each model stands.
    pub models: BTreeMap<String, Model>,
    /// How many events were lost to the watch.
    pub events_missed: u64,
    since: u64,
    generations: OneGeneration,
    windows: WindowLimits,
    answers: AnsweredOnce,
    crashes: OnlyAskedCrashes,
    /// When parts below the root failed, seconds since 1970: those of before the run, and those that were made to.
    root_failures: VecDeque<f64>,
    /// When each is to be looked at: not known while it is still being flooded.
    logs: Vec<(Option<Moment>, LogToCheck)>,
    next_look: Moment,
    /// Models that may be stopped at the end.
    may_be_stopped: BTreeSet<String>,
    /// Models whose processes can be seen.
    seen: BTreeSet<String>,
    /// The process of each model that was last to end by a fault.
    ended: BTreeMap<String, Backend>,
}

impl Watch {
    /// Begins with what the service remembers: failures of before count in the windows.
    ///
    /// # Errors
    /// [`ClientError`] when the service does not answer.
    pub fn begin(
        service: &mut Service,
        facts: &Facts,
        supervisors: BTreeMap<String, ActorWindow>,
    ) -> Result<Self, ClientError> {
        let clock = Clock::start();
        let mut watch = Self {
            clock,
            histories: Histories::default(),
            tally: Tally::default(),
            violations: Vec::new(),
            models: BTreeMap::new(),
            events_missed: 0,
            since: 0,
            generations: OneGeneration::default(),
            windows: WindowLimits::new(facts.restart.clone(), supervisors),
            answers: AnsweredOnce::default(),
            crashes: OnlyAskedCrashes::default(),
            root_failures: VecDeque::new(),
            logs: Vec::new(),
            next_look: clock.now(),
            may_be_stopped: BTreeSet::new(),
            seen: BTreeSet::new(),
            ended: BTreeMap::new(),
        };
        let page = service.events(0)?;
        for event in &page.events {
            watch.remember(event);
            if event.kind == "actor_failed" && event.subject.starts_with("root/") {
                watch.root_failed(event.at);
            }
        }
        let horizon = Clock::wall_seconds() - limits::CHAOS_ROOT_WINDOW.as_secs_f64();
        if page.missed > 0 && page.events.first().is_none_or(|oldest| oldest.at > horizon) {
            // what is not known may have used up the window
            (0..ROOT_PANICS).for_each(|_| watch.root_failed(Clock::wall_seconds()));
        }
        watch.since = page.next;
        watch.models = by_name(service.models()?);
        let may_be_stopped = |model: &&Model| {
            let class = facts.restart.get(&model.name).and_then(|limits| limits.class.as_deref());
            model.state == "stopped" || class != Some("permanent")
        };
        let names = watch.models.values().filter(may_be_stopped).map(|model| model.name.clone());
        watch.may_be_stopped = names.collect();
        Ok(watch)
    }

    /// Panics below the root that its window still counts.
    pub fn root_panics(&self) -> usize {
        let from = Clock::wall_seconds() - limits::CHAOS_ROOT_WINDOW.as_secs_f64();
        self.root_failures.iter().filter(|at| **at >= from).count()
    }

    /// A fault was done at this time.
    pub fn struck(&mut self, fault: &Fault, done: Done, at: f64) {
        let (kind, Done { hit, ends, log }) = (fault.kind, done);
        if let Some(part) = fault.part {
            self.answers.made_to_panic(part, at);
            if part.is_below_root() {
                self.root_failed(at);
            }
        }
        if let Hit::Part(name) = &hit {
            self.crashes.asked(name, at);
        }
        if let (Hit::Model(model), Some(backend)) = (&hit, ends) {
            self.ended.insert(model.clone(), backend);
        }
        self.tally.struck(kind, hit, at);
        if let Some(log) = log {
            self.logs.push((None, log));
        }
    }

    /// One turn: events, processes, logs, what clients told.
    pub fn turn(&mut self, service: &mut Service, notes: Vec<Note>) {
        self.read_events(service);
        if self.clock.now() >= self.next_look {
            self.next_look = self.clock.now() + limits::CHAOS_LOOK_EVERY;
            self.look_at_processes(service);
        }
        self.check_logs();
        self.take(notes);
        self.judge_answers(Clock::wall_seconds());
    }

    /// What clients told.
    pub fn take(&mut self, notes: Vec<Note>) {
        for note in notes {
            match note {
                Note::Odd(oddity) => self.answers.odd(oddity),
                Note::Failed => self.tally.request_failed(),
            }
        }
    }

    /// Judges requests that ended a while before `now`.
    pub fn judge_answers(&mut self, now: f64) {
        for violation in self.answers.judge(now, &self.histories) {
            self.broken(violation);
        }
    }

    /// A rule did not hold. Told once for each subject.
    pub fn broken(&mut self, violation: Violation) {
        let known = |old: &Violation| {
            (old.invariant, &old.subject) == (violation.invariant, &violation.subject)
        };
        if self.violations.len() < limits::CHAOS_VIOLATIONS && !self.violations.iter().any(known) {
            self.violations.push(violation);
        }
    }

    /// Reads what happened. A service that does not answer in this turn is asked in the next one.
    pub fn read_events(&mut self, service: &mut Service) {
        let Ok(page) = service.events(self.since) else { return };
        if page.missed > 0 {
            self.events_missed += page.missed;
            self.generations.forget();
            self.windows.forget();
            self.tally.forget();
        }
        self.since = page.next;
        for event in &page.events {
            self.remember(event);
            self.tally.see(event);
            self.answers.see(event);
            let found = [
                self.generations.see(event, &self.histories),
                self.windows.see(event, &self.histories),
                self.crashes.see(event, &self.histories),
            ];
            for violation in found.into_iter().flatten() {
                self.broken(violation);
            }
        }
    }

    fn remember(&mut self, event: &Event) {
        self.histories.record(event);
    }

    fn root_failed(&mut self, at: f64) {
        if self.root_failures.len() == limits::CHAOS_HISTORY {
            self.root_failures.pop_front();
        }
        self.root_failures.push_back(at);
    }

    fn look_at_processes(&mut self, service: &mut Service) {
        // one try: a gateway that is being replaced must not hold up the faults
        if let Ok(models) = service.models_now() {
            self.models = by_name(models);
        }
        let leaders = self.leaders();
        let judged = leaders
            .iter()
            .filter_map(|(model, pids)| generations::leaders(model, pids, &self.histories));
        for violation in judged.collect::<Vec<_>>() {
            self.broken(violation);
        }
    }

    /// The processes that lead the models now.
    fn leaders(&mut self) -> BTreeMap<String, Vec<u32>> {
        let mut found = processes::leaders(self.models.values().map(|model| &*model.endpoint));
        let of_model = |model: &Model| {
            (model.name.clone(), found.remove(&*model.endpoint).unwrap_or_default())
        };
        let leaders: BTreeMap<_, _> = self.models.values().map(of_model).collect();
        let seen = leaders.iter().filter(|(_, pids)| !pids.is_empty());
        self.seen.extend(seen.map(|(model, _)| model.clone()));
        leaders
    }

    /// How each model stands when all should be over.
    pub fn models_now(&mut self) -> Vec<ModelNow> {
        let leaders = self.leaders();
        let unnoticed = self.tally.unnoticed();
        let now = |model: &Model| ModelNow {
            name: model.name.clone(),
            state: model.state.clone(),
            // those of another user, or with an environment of their own, are not known to be backends
            leaders: self
                .seen
                .contains(&model.name)
                .then(|| leaders.get(&model.name).map_or(0, Vec::len)),
            may_be_stopped: self.may_be_stopped.contains(&model.name),
            // one that takes TERM for no order lives on, and there is nothing to notice
            unnoticed: unnoticed
                .get(&*model.name)
                .copied()
                .filter(|_| self.ended.get(&model.name).is_some_and(Backend::has_ended)),
        };
        self.models.values().map(now).collect()
    }

    fn check_logs(&mut self) {
        let now = self.clock.now();
        for (at, _) in self.logs.iter_mut().filter(|(at, log)| at.is_none() && log.is_written()) {
            *at = Some(now + limits::CHAOS_LOG_SETTLES);
        }
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.logs)
            .into_iter()
            .partition(|(at, _)| at.is_some_and(|at| at <= now));
        self.logs = later;
        // a log that is being flooded again is looked at after that
        let flooded: BTreeSet<_> = self.logs.iter().map(|(_, log)| log.model.clone()).collect();
        for (_, log) in due {
            if let (false, Ok(bytes)) = (flooded.contains(&log.model), log_bytes(&log.path))
                && let Some(violation) = logs::quota(&log.model, log.bounds, bytes, &self.histories)
            {
                self.broken(violation);
            }
        }
    }

    /// Whether logs are still to be looked at.
    pub fn waits_for_logs(&self) -> bool {
        !self.logs.is_empty()
    }

    /// Names and states of the models.
    pub fn states(&self) -> Vec<(String, String)> {
        self.models.values().map(|model| (model.name.clone(), model.state.clone())).collect()
    }
}

/// Models by their names.
pub fn by_name(models: Vec<Model>) -> BTreeMap<String, Model> {
    models.into_iter().map(|model| (model.name.clone(), model)).collect()
}
