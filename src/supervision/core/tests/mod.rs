//! The core by itself: events in, effects out. The names of OTP's `supervisor_SUITE` are kept where a case comes from it.

mod changes;
mod dynamic;
mod groups;
mod lifecycle;
mod requests;
mod restarts;
mod significant;

use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::supervision::spec::{AutoShutdown, ChildKind, Shutdown};

/// A core with its clock. Children are called by name; what it answers is told in short words.
struct Stage {
    core: Core,
    now: Moment,
    epochs: HashMap<String, Epoch>,
    next_ticket: Ticket,
}

impl Stage {
    fn new(flags: SupervisorFlags, children: Vec<ChildRules>) -> Self {
        let core = Core::new(flags, children).expect("valid specs");
        Self { core, now: Moment::default(), epochs: HashMap::new(), next_ticket: 1 }
    }

    /// A supervisor whose children all run.
    fn running(flags: SupervisorFlags, children: Vec<ChildRules>) -> Self {
        let names: Vec<String> = children.iter().map(|rules| rules.id.to_string()).collect();
        let mut stage = Self::new(flags, children);
        let mut said = stage.tell(Event::Start);
        for name in &names {
            said.extend(stage.started(name));
        }
        assert_eq!(said.last().map(String::as_str), Some("all started"));
        stage
    }

    fn tell(&mut self, event: Event) -> Vec<String> {
        let effects = self.core.next(event, self.now);
        for effect in &effects {
            if let Effect::Start(child, epoch) = effect {
                self.epochs.insert(child.to_string(), *epoch);
            }
        }
        effects.iter().map(in_words).collect()
    }

    fn epoch(&self, child: &str) -> Epoch {
        self.epochs[child]
    }

    fn started(&mut self, child: &str) -> Vec<String> {
        self.tell(Event::Started(self.epoch(child)))
    }

    fn ignored(&mut self, child: &str) -> Vec<String> {
        self.tell(Event::Ignored(self.epoch(child)))
    }

    fn start_failed(&mut self, child: &str) -> Vec<String> {
        self.tell(Event::StartFailed(self.epoch(child), "boom".to_owned()))
    }

    fn exited(&mut self, child: &str, reason: ExitReason) -> Vec<String> {
        self.tell(Event::Exited(self.epoch(child), reason))
    }

    fn retry(&mut self, child: &str) -> Vec<String> {
        self.tell(Event::Retry(child.into()))
    }

    fn ask(&mut self, request: impl FnOnce(Ticket) -> Event) -> Vec<String> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tell(request(ticket))
    }

    fn start_child(&mut self, rules: ChildRules) -> Vec<String> {
        self.ask(|ticket| Event::StartChild(ticket, rules))
    }

    fn terminate(&mut self, child: &str) -> Vec<String> {
        self.ask(|ticket| Event::TerminateChild(ticket, child.into()))
    }

    fn restart(&mut self, child: &str) -> Vec<String> {
        self.ask(|ticket| Event::RestartChild(ticket, child.into()))
    }

    fn delete(&mut self, child: &str) -> Vec<String> {
        self.ask(|ticket| Event::DeleteChild(ticket, child.into()))
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// `a:running b:stopped`, in start order.
    fn children(&self) -> String {
        let words = self.core.children().map(|child| format!("{}:{}", child.rules.id, child.state));
        words.collect::<Vec<_>>().join(" ")
    }
}

fn in_words(effect: &Effect) -> String {
    match effect {
        Effect::Start(child, _) => format!("start {child}"),
        Effect::CancelStart(child, _) => format!("cancel {child}"),
        Effect::Stop(child, ..) => format!("stop {child}"),
        Effect::RetryLater(child) => format!("retry {child}"),
        Effect::Adopt(_, child) => format!("adopt {child}"),
        Effect::Forget(child) => format!("forget {child}"),
        Effect::Answer(ticket, Ok(done)) => format!("answer {ticket}: {done:?}"),
        Effect::Answer(ticket, Err(error)) => format!("answer {ticket}: error: {error}"),
        Effect::Notify(Notice::ChildFailed { child, reason }) => {
            format!("failed {child}: {reason}")
        }
        Effect::Notify(Notice::ChildRestarted { child, restarts }) => {
            format!("restarted {child} ({restarts})")
        }
        Effect::Notify(Notice::RestartFailed { child, error }) => {
            format!("restart of {child} failed: {error}")
        }
        Effect::Notify(Notice::GaveUp { child, .. }) => format!("gave up on {child}"),
        Effect::Kill(child, ..) => format!("kill {child}"),
        Effect::Notify(Notice::ChildWedged { child, .. }) => format!("wedged {child}"),
        Effect::Finish(reason) => format!("finish: {reason}"),
        Effect::AllStarted => "all started".to_owned(),
    }
}

fn flags(strategy: Strategy) -> SupervisorFlags {
    SupervisorFlags { strategy, ..SupervisorFlags::default() }
}

/// Permanent workers.
fn workers(names: &[&str]) -> Vec<ChildRules> {
    names.iter().map(ChildRules::worker).collect()
}

fn worker(name: &str, restart: Restart) -> ChildRules {
    ChildRules { restart, ..ChildRules::worker(name) }
}

fn panic() -> ExitReason {
    ExitReason::Panic("ouch".to_owned())
}
