//! A whole run: a quiet look, faults under load, a quiet look again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::faults::{Faults, Targets};
use super::invariants::growth::{self, Usage};
use super::invariants::{Invariant, Violation, whole};
use super::load::{Load, LoadOptions, Requests};
use super::plan::{Fault, FaultKind, Plan, PlanOptions};
use super::processes;
use super::report::{Report, Sample, rules};
use super::service::{self, Facts, Service};
use super::watch::Watch;
use crate::cli::client::ClientError;
use crate::clock::Clock;
use crate::limits;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything random comes from it.
    pub seed: u64,
    /// The mean time between two faults.
    pub every: Duration,
    /// When it is over.
    pub length: Length,
    /// Kinds of faults; none: all.
    pub only: Vec<FaultKind>,
    /// Models to hit; none: all that are loaded.
    pub models: Vec<String>,
    /// Clients at work meanwhile.
    pub clients: usize,
    /// How long the service may take to be whole again after the last fault.
    pub settle: Duration,
}

/// When a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After so many faults.
    Faults(usize),
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The service cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A model that was named is not loaded.
    #[error("model {0} is not loaded")]
    NotLoaded(String),
    /// Nothing but panics was asked for, and the service does none.
    #[error("the service was started without --allow-chaos, so nothing can be made to panic")]
    NoPanics,
    /// There is nothing to hit.
    #[error("no model is loaded: load some first, or try a service of its own with --start")]
    NothingLoaded,
    /// The service's process is not to be seen.
    #[error(
        "pid {0} of the service cannot be looked at: chaos runs on the machine of the service, by its user"
    )]
    NotHere(u32),
}

/// Runs until it is over, or `stop` is set, or a rule breaks.
///
/// # Errors
/// [`ChaosError`]; nothing was done then. What happens after the first fault is told in the report.
pub fn run(options: &Options, endpoint: &str, stop: &AtomicBool) -> Result<Report, ChaosError> {
    let mut service = Service::at(endpoint);
    let facts = service.facts()?;
    let only_panics =
        !options.only.is_empty() && options.only.iter().all(|kind| *kind == FaultKind::Panic);
    if only_panics && !facts.chaos_allowed {
        return Err(ChaosError::NoPanics);
    }
    let names = targets(options, &mut service)?;
    let tree = service.tree()?;
    let watch = Watch::begin(&mut service, &facts, service::windows(&tree))?;
    let mut run = Run {
        options,
        stop,
        clock: Clock::start(),
        load: LoadOptions {
            clients: options.clients,
            management: endpoint.to_owned(),
            client_endpoint: facts.client_endpoint.clone(),
            models: names.clone(),
            seed: options.seed,
        },
        service,
        actors: whole::actors(&tree),
        instances: service::instances(&tree),
        watch,
        names,
        plan: Vec::new(),
        memory: Vec::new(),
        interrupted: false,
        facts,
    };
    let usage_at_start = run.warm_up()?;
    let (requests, seconds) = run.under_load()?;
    let usage_at_end = run.quiet_end(usage_at_start);
    Ok(run.report(usage_at_start, usage_at_end, requests, seconds))
}

/// The models to hit, sorted.
fn targets(options: &Options, service: &mut Service) -> Result<Vec<String>, ChaosError> {
    let loaded: BTreeSet<String> = service.models()?.into_iter().map(|model| model.name).collect();
    if let Some(missing) = options.models.iter().find(|name| !loaded.contains(*name)) {
        return Err(ChaosError::NotLoaded(missing.clone()));
    }
    let named: BTreeSet<String> = options.models.iter().cloned().collect();
    let names = if named.is_empty() { loaded } else { named };
    if names.is_empty() { Err(ChaosError::NothingLoaded) } else { Ok(names.into_iter().collect()) }
}

struct Run<'a> {
    options: &'a Options,
    stop: &'a AtomicBool,
    clock: Clock,
    service: Service,
    facts: Facts,
    /// The models, sorted.
    names: Vec<String>,
    /// Paths of the actors at the start.
    actors: BTreeSet<String>,
    instances: BTreeMap<String, String>,
    load: LoadOptions,
    watch: Watch,
    plan: Vec<Fault>,
    memory: Vec<Sample>,
    interrupted: bool,
}

impl Run<'_> {
    /// A load of some seconds, so that what grows once has grown, and a look when it is quiet again.
    fn warm_up(&mut self) -> Result<Usage, ChaosError> {
        let load = Load::start(&self.load)?;
        let end = self.clock.now() + limits::CHAOS_WARM_UP;
        while self.clock.now() < end && !self.is_stopped() {
            thread::park_timeout(limits::CHAOS_TURN);
        }
        drop(load);
        // connections of the clients are closed a moment after they left: the least seen is what stays
        let end = self.clock.now() + limits::CHAOS_LOOK;
        let mut least: Option<Usage> = None;
        while self.clock.now() < end || least.is_none() {
            let seen = self.usage().ok_or(ChaosError::NotHere(self.facts.pid))?;
            least = Some(match least {
                None => seen,
                Some(least) => Usage {
                    memory_bytes: seen.memory_bytes,
                    descriptors: seen.descriptors.min(least.descriptors),
                    threads: seen.threads.min(least.threads),
                    processes: seen.processes.max(least.processes),
                },
            });
            thread::park_timeout(limits::CHAOS_TURN);
        }
        least.ok_or(ChaosError::NotHere(self.facts.pid))
    }

    fn usage(&self) -> Option<Usage> {
        let endpoints = self.watch.models.values().map(|model| &*model.endpoint);
        processes::usage(self.facts.pid, endpoints)
    }

    fn is_stopped(&mut self) -> bool {
        self.interrupted |= self.stop.load(Ordering::Relaxed);
        self.interrupted
    }

    /// Whether the service is still there; its end is a broken rule.
    fn service_lives(&mut self) -> bool {
        if processes::lives(self.facts.pid) {
            return true;
        }
        let violation = Violation {
            invariant: Invariant::TreeWhole,
            subject: "service".to_owned(),
            what: format!("its process (pid {}) has ended", self.facts.pid),
            history: self.watch.histories.of_parts(),
        };
        self.watch.broken(violation);
        false
    }

    /// Faults and clients, then clients alone until the tree is whole.
    fn under_load(&mut self) -> Result<(Requests, f64), ChaosError> {
        let load = Load::start(&self.load)?;
        let mut faults = Faults::default();
        let begin = self.clock.now();
        let mut plan = Plan::new(PlanOptions {
            seed: self.options.seed,
            every: self.options.every,
            models: self.names.len(),
            only: self.options.only.clone(),
        })
        .peekable();
        while self.watch.violations.is_empty() && !self.is_stopped() && self.service_lives() {
            let now = self.clock.now().since(begin);
            let is_over = match self.options.length {
                Length::Time(length) => now >= length,
                Length::Faults(count) => self.plan.len() >= count,
            };
            if is_over {
                break;
            }
            match plan.next_if(|fault| fault.at <= now) {
                Some(fault) => self.strike(fault, &mut faults),
                None => thread::park_timeout(limits::CHAOS_TURN),
            }
            self.watch.turn(&mut self.service, load.notes());
            self.sample(now);
        }
        let seconds = self.clock.now().since(begin).as_secs_f64();
        // what lasts has its time: nobody would notice a freeze that is cut short
        while faults.last()
            && self.watch.violations.is_empty()
            && !self.is_stopped()
            && self.service_lives()
        {
            self.watch.turn(&mut self.service, load.notes());
            thread::park_timeout(limits::CHAOS_TURN);
        }
        faults.end();
        self.settle(&load);
        let (notes, requests) = load.end();
        self.watch.take(notes);
        self.watch.read_events(&mut self.service);
        // every excuse has come by now
        self.watch.judge_answers(f64::INFINITY);
        Ok((requests, seconds))
    }

    fn sample(&mut self, since_begin: Duration) {
        let due = limits::CHAOS_SAMPLE_EVERY.saturating_mul(self.memory.len() as u32 + 1);
        if since_begin < due || self.memory.len() == limits::CHAOS_SAMPLES {
            return;
        }
        if let Some(memory_bytes) = processes::memory_bytes(self.facts.pid) {
            self.memory.push(Sample { seconds: since_begin.as_secs(), memory_bytes });
        }
    }

    fn strike(&mut self, fault: Fault, faults: &mut Faults) {
        let targets = Targets {
            names: &self.names,
            models: &self.watch.models,
            instances: &self.instances,
            facts: &self.facts,
            root_panics: self.watch.root_panics(),
        };
        let at = Clock::wall_seconds();
        match faults.carry_out(&fault, &targets, &mut self.service) {
            Ok(done) => self.watch.struck(&fault, done, at),
            Err(why) => self.watch.tally.left_out(fault.kind, &why),
        }
        self.plan.push(fault);
    }

    /// Waits until the tree is whole and the logs were looked at.
    fn settle(&mut self, load: &Load) {
        let end = self.clock.now() + self.options.settle;
        while self.service_lives() {
            self.watch.turn(&mut self.service, load.notes());
            let Ok(models) = self.service.models() else { continue };
            self.watch.models = super::watch::by_name(models);
            let models = self.watch.models_now();
            let faults = match self.service.tree() {
                Ok(tree) => whole::faults(&self.actors, &tree, &models),
                Err(error) => vec![format!("the tree cannot be seen: {error}")],
            };
            if faults.is_empty() && !self.watch.waits_for_logs() {
                return;
            }
            if self.clock.now() >= end {
                if !faults.is_empty() {
                    let violation = whole::violation(&faults, &self.watch.histories);
                    self.watch.broken(violation);
                }
                return;
            }
            thread::park_timeout(limits::CHAOS_LOOK_EVERY);
        }
    }

    /// Waits until the service uses no more than at the start, and tells when it goes on to.
    fn quiet_end(&mut self, start: Usage) -> Option<Usage> {
        let end = self.clock.now() + limits::CHAOS_QUIET;
        loop {
            self.watch.read_events(&mut self.service);
            let usage = self.usage()?;
            match growth::growth(start, self.warm_bytes(), usage) {
                None => return Some(usage),
                Some(violation) if self.clock.now() >= end => {
                    self.watch.broken(violation);
                    return Some(usage);
                }
                Some(_) => thread::park_timeout(limits::CHAOS_LOOK_EVERY),
            }
        }
    }

    fn warm_bytes(&self) -> Option<u64> {
        let looks: Vec<_> =
            self.memory.iter().map(|look| (look.seconds, look.memory_bytes)).collect();
        growth::warm_bytes(&looks)
    }

    fn report(
        self,
        usage_at_start: Usage,
        usage_at_end: Option<Usage>,
        requests: Requests,
        seconds: f64,
    ) -> Report {
        let memory_warm_bytes = self.warm_bytes();
        let watch = self.watch;
        let given_up = |(name, state): (String, String)| (state == "parked").then_some(name);
        Report {
            seed: self.options.seed,
            held: watch.violations.is_empty(),
            seconds,
            interrupted: self.interrupted,
            version: self.facts.version,
            pid: self.facts.pid,
            given_up: watch.states().into_iter().filter_map(given_up).collect(),
            models: self.names,
            faults: watch.tally.rows(),
            left_out: watch.tally.reasons(),
            requests,
            usage_at_start,
            usage_at_end,
            memory_warm_bytes,
            memory: self.memory,
            events_missed: watch.events_missed,
            invariants: rules(&watch.violations),
            violations: watch.violations,
            plan: self.plan,
        }
    }
}
