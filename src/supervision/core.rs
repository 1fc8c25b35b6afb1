//! The decisions of a supervisor: what is started and stopped next, and when it gives up.
//!
//! Pure: events in, effects out. Stops and starts take time, so the core keeps a script of steps and waits for
//! each to be reported done; whatever happens meanwhile is put back until the script has ended, as a busy
//! `gen_server` would leave it in its mailbox. A wish to stop is the one thing that cuts a script short.
//!
//! ```text
//!   New ──Start──▶ Running ──Stop | window full | auto shutdown | first start failed──▶ Ending ──▶ Ended
//!
//!   child:  Absent ─▶ Starting ─▶ Running ─▶ Dead ─(decided)─▶ Absent | Starting | Restarting
//!                        └failed restart─▶ Restarting ─(retry)─▶ Starting
//! ```

mod change;
mod decisions;
mod messages;
mod reports;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::exit::ExitReason;
use super::spec::{ChildId, ChildRules, InvalidSpec, Restart, Strategy, SupervisorFlags, check};
use super::window::RestartWindow;
use crate::clock::Moment;

pub use messages::{AdminError, Done, Effect, Epoch, Event, Notice, Ticket};
use table::{Child, ChildState, Key, Purpose};
pub use table::{ChildCounts, ChildView};

#[derive(Debug, Clone, Copy)]
enum Step {
    Start(Key, Purpose),
    Stop(Key, Purpose),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Ending(ExitReason),
    Ended,
}

/// See the module.
#[derive(Debug)]
pub struct Core {
    flags: SupervisorFlags,
    window: RestartWindow,
    children: BTreeMap<Key, Child>,
    by_id: HashMap<ChildId, Key>,
    by_epoch: HashMap<Epoch, Key>,
    next_key: Key,
    next_epoch: Epoch,
    phase: Phase,
    announced: bool,
    stops_planned: bool,
    script: VecDeque<Step>,
    current: Option<(Key, Purpose)>,
    backlog: VecDeque<Event>,
    effects: Vec<Effect>,
}

impl Core {
    /// A supervisor with these children, not yet started.
    ///
    /// # Errors
    /// [`InvalidSpec`] names the first rule that is broken.
    pub fn new(flags: SupervisorFlags, children: Vec<ChildRules>) -> Result<Self, InvalidSpec> {
        check(&flags, &children)?;
        let mut core = Self {
            window: RestartWindow::new(flags.intensity, flags.period),
            flags,
            children: BTreeMap::new(),
            by_id: HashMap::new(),
            by_epoch: HashMap::new(),
            next_key: 0,
            next_epoch: 1,
            phase: Phase::New,
            announced: false,
            stops_planned: false,
            script: VecDeque::new(),
            current: None,
            backlog: VecDeque::new(),
            effects: Vec::new(),
        };
        for rules in children {
            core.add(rules);
        }
        Ok(core)
    }

    /// The rules of this supervisor.
    pub fn flags(&self) -> &SupervisorFlags {
        &self.flags
    }

    /// Takes an event; answers what is to be done now, in this order.
    pub fn next(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        match event {
            // one that was stopped before it was started stays down
            Event::Start => {
                if self.phase == Phase::New {
                    self.phase = Phase::Running;
                    let starts =
                        self.children.keys().map(|key| Step::Start(*key, Purpose::Initial));
                    self.script.extend(starts);
                }
            }
            Event::Stop => {
                if !matches!(self.phase, Phase::Ending(_) | Phase::Ended) {
                    self.end(ExitReason::Shutdown);
                }
            }
            Event::Started(epoch) => self.on_started(epoch),
            Event::Ignored(epoch) => self.on_ignored(epoch),
            Event::StartFailed(epoch, error) => self.on_start_failed(epoch, error),
            Event::Exited(epoch, reason) => self.on_exited(epoch, reason),
            Event::Wedged(epoch, silent_for) => self.on_wedged(epoch, silent_for),
            other => {
                self.backlog.push_back(other);
                if matches!(self.phase, Phase::Ending(_) | Phase::Ended) {
                    self.refuse_backlog();
                }
            }
        }
        self.run(now);
        std::mem::take(&mut self.effects)
    }

    fn run(&mut self, now: Moment) {
        loop {
            if self.current.is_some() {
                return;
            }
            if let Some(step) = self.script.pop_front() {
                self.begin(step);
                continue;
            }
            match &self.phase {
                Phase::Ending(_) if !self.stops_planned => self.plan_stops(),
                Phase::Ending(reason) => {
                    if self.by_epoch.is_empty() {
                        self.effects.push(Effect::Finish(reason.clone()));
                        self.phase = Phase::Ended;
                        self.refuse_backlog();
                    }
                    return;
                }
                Phase::New | Phase::Ended => {
                    self.refuse_backlog();
                    return;
                }
                Phase::Running => {
                    if !self.announced {
                        self.announced = true;
                        self.effects.push(Effect::AllStarted);
                    }
                    match self.backlog.pop_front() {
                        Some(event) => self.decide(event, now),
                        None => return,
                    }
                }
            }
        }
    }

    fn begin(&mut self, step: Step) {
        match step {
            Step::Start(key, purpose) => {
                if self.children.contains_key(&key) {
                    self.launch(key, purpose);
                    self.current = Some((key, purpose));
                }
            }
            Step::Stop(key, purpose) => {
                let Some(child) = self.children.get_mut(&key) else { return };
                if let ChildState::Running(epoch) = child.state {
                    child.state = ChildState::Stopping(epoch);
                    self.effects.push(Effect::Stop(
                        child.rules.id.clone(),
                        epoch,
                        child.rules.shutdown,
                    ));
                    self.current = Some((key, purpose));
                } else {
                    self.stopped(key, purpose);
                }
            }
        }
    }

    fn launch(&mut self, key: Key, purpose: Purpose) {
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        if let Some(child) = self.children.get_mut(&key) {
            child.state = ChildState::Starting(epoch);
            child.purpose = purpose;
            self.by_epoch.insert(epoch, key);
            self.effects.push(Effect::Start(child.rules.id.clone(), epoch));
        }
    }

    /// A child is down as a script or a request wanted it.
    fn stopped(&mut self, key: Key, purpose: Purpose) {
        let Some(child) = self.children.get_mut(&key) else { return };
        if let ChildState::Dead(epoch) = child.state {
            self.by_epoch.remove(&epoch);
        }
        child.state = ChildState::Absent;
        let drop_spec = child.rules.restart == Restart::Temporary && purpose != Purpose::Ending;
        if let Some(ticket) = purpose.ticket() {
            self.effects.push(Effect::Answer(ticket, Ok(Done::Terminated)));
        }
        if drop_spec {
            self.remove(key);
        }
    }

    fn plan_stops(&mut self) {
        self.stops_planned = true;
        if self.flags.strategy == Strategy::Dynamic {
            for child in self.children.values_mut() {
                if let ChildState::Running(epoch) = child.state {
                    child.state = ChildState::Stopping(epoch);
                    let id = child.rules.id.clone();
                    self.effects.push(Effect::Stop(id, epoch, child.rules.shutdown));
                } else if let ChildState::Dead(epoch) = child.state {
                    child.state = ChildState::Absent;
                    self.by_epoch.remove(&epoch);
                }
            }
        } else {
            let keys = self.children.keys().rev();
            self.script.extend(keys.map(|key| Step::Stop(*key, Purpose::Ending)));
        }
    }

    fn end(&mut self, reason: ExitReason) {
        self.phase = Phase::Ending(reason);
        for step in std::mem::take(&mut self.script) {
            // a request whose script is cut short is answered all the same
            let (Step::Start(_, purpose) | Step::Stop(_, purpose)) = step;
            if let Some(ticket) = purpose.ticket() {
                self.effects.push(Effect::Answer(ticket, Err(AdminError::Stopping)));
            }
        }
        // a factory that hangs must not hold the end
        for child in self.children.values() {
            // whose end was asked for, that start is broken off already
            if let ChildState::Starting(epoch) = child.state
                && child.enders.is_empty()
            {
                self.effects.push(Effect::CancelStart(child.rules.id.clone(), epoch));
            }
        }
    }

    fn refuse_backlog(&mut self) {
        for event in std::mem::take(&mut self.backlog) {
            if let Event::StartChild(ticket, _)
            | Event::TerminateChild(ticket, _)
            | Event::RestartChild(ticket, _)
            | Event::DeleteChild(ticket, _)
            | Event::ChangeSpecs(ticket, ..) = event
            {
                self.effects.push(Effect::Answer(ticket, Err(AdminError::Stopping)));
            }
        }
    }
}
