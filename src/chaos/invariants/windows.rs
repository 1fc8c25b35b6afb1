//! Restarts stay within the limits of models, and those of actors within the windows of their supervisors.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;

use super::{Invariant, Violation};
use crate::chaos::history::{Event, Histories};
use crate::limits;

/// The restart limits of a model, as `list-models` tells them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModelLimits {
    /// `permanent`, `transient` or `temporary`; none from a service that does not tell it.
    #[serde(default)]
    pub class: Option<String>,
    /// Restarts in a row.
    pub max_consecutive_failures: u32,
    /// Being ready this long forgives them; milliseconds.
    pub reset_after_ms: u64,
    /// Restarts in the sliding window.
    pub window_max: u32,
    /// The sliding window; milliseconds.
    pub window_period_ms: u64,
    /// `park`, `escalate` or `retry`; one that retries for ever has no limit to keep.
    pub on_give_up: String,
}

/// The window of a supervisor, as `tree` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActorWindow {
    /// Restarts.
    pub intensity: u32,
    /// In this span.
    pub period: Duration,
}

impl ActorWindow {
    /// Reads `one_for_one, 5 in 1m`.
    pub fn read(detail: &str) -> Option<Self> {
        detail.split(", ").find_map(|part| {
            let (intensity, period) = part.split_once(" in ")?;
            let intensity = intensity.parse().ok()?;
            Some(Self { intensity, period: humantime::parse_duration(period).ok()? })
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct WindowLimits {
    models: BTreeMap<String, ModelLimits>,
    supervisors: BTreeMap<String, ActorWindow>,
    books: BTreeMap<String, Book>,
    failures: BTreeMap<String, VecDeque<Event>>,
}

/// What counts of one instance.
#[derive(Debug, Default)]
struct Book {
    in_row: u32,
    ready_at_ms: Option<f64>,
    /// An exit of which is not known yet what came of it.
    exit: Option<Event>,
    /// Exits that were answered by a restart.
    answered: VecDeque<Event>,
}

/// Whose failure an event of an instance tells of. Events tell it in words alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// Its own: it counts.
    Own,
    /// Another member of its group failed, or the group gave up.
    Group,
    /// None: somebody wanted it started anew, which clears what was counted.
    ByHand,
}

impl Blame {
    fn of(event: &Event) -> Self {
        match event {
            _ if event.is_for_group() => Self::Group,
            _ if event.is_by_hand() => Self::ByHand,
            _ => Self::Own,
        }
    }
}

impl WindowLimits {
    /// The limits in force.
    pub fn new(
        models: BTreeMap<String, ModelLimits>,
        supervisors: BTreeMap<String, ActorWindow>,
    ) -> Self {
        Self { models, supervisors, ..Self::default() }
    }

    /// Takes an event that [`Histories`] has recorded already.
    pub fn see(&mut self, event: &Event, histories: &Histories) -> Option<Violation> {
        match &event.model {
            Some(model) => self.see_instance(model, event, histories),
            None => self.see_actor(event),
        }
    }

    /// Events were lost: what is in a row is not known.
    pub fn forget(&mut self) {
        self.books.clear();
    }

    fn see_instance(
        &mut self,
        model: &str,
        event: &Event,
        histories: &Histories,
    ) -> Option<Violation> {
        let bounds = self.models.get(model).filter(|bounds| bounds.on_give_up == "park")?;
        let book = self.books.entry(event.subject.clone()).or_default();
        let slack_ms = limits::CHAOS_EVENT_SLACK.as_secs_f64() * 1000.0;
        match event.kind.as_str() {
            "ready" => {
                book.ready_at_ms.get_or_insert(event.since_start_ms);
            }
            "exited" => {
                let ready_ms = book.ready_at_ms.take().map(|at| event.since_start_ms - at);
                // when in doubt the failures count as forgiven
                if ready_ms.is_some_and(|ready| ready + slack_ms >= bounds.reset_after_ms as f64) {
                    book.in_row = 0;
                }
                match Blame::of(event) {
                    Blame::Own => {
                        book.in_row = book.in_row.saturating_add(1);
                        book.exit = Some(event.clone());
                    }
                    Blame::Group => book.exit = None,
                    Blame::ByHand => *book = Book::default(),
                }
            }
            "starting" if Blame::of(event) == Blame::ByHand => *book = Book::default(),
            "starting" | "backoff" => {
                if let Some(exit) = book.exit.take() {
                    return book.restarted(event, &exit, bounds, slack_ms, histories);
                }
            }
            // the one trial start after it is the last in its row
            "parked" => {
                book.exit = None;
                if Blame::of(event) == Blame::Own {
                    book.in_row = bounds.max_consecutive_failures;
                }
            }
            "stopped" => *book = Book::default(),
            _ => {}
        }
        None
    }

    fn see_actor(&mut self, event: &Event) -> Option<Violation> {
        let (supervisor, child) = event.subject.split_once('/')?;
        match event.kind.as_str() {
            "actor_failed" => {
                let failures = self.failures.entry(supervisor.to_owned()).or_default();
                failures.push_back(event.clone());
                None
            }
            // a failure may restart several: those started after it come along
            "actor_restarted" => {
                // a supervisor that is new counts from the beginning
                self.failures.remove(child);
                self.too_many(supervisor, event)
            }
            "escalated" => {
                self.failures.remove(supervisor);
                None
            }
            _ => None,
        }
    }

    fn too_many(&mut self, supervisor: &str, event: &Event) -> Option<Violation> {
        let window = self.supervisors.get(supervisor)?;
        let failures = self.failures.get_mut(supervisor)?;
        let slack_ms = limits::CHAOS_EVENT_SLACK.as_secs_f64() * 1000.0;
        trim(failures, event.since_start_ms, window.period.as_secs_f64() * 1000.0 - slack_ms);
        (failures.len() > window.intensity as usize).then(|| Violation {
            invariant: Invariant::WindowLimits,
            subject: supervisor.to_owned(),
            what: format!(
                "restarted after {} failures within {}, {} restarts are allowed",
                failures.len(),
                humantime::format_duration(window.period),
                window.intensity
            ),
            history: failures.iter().chain([event]).cloned().collect(),
        })
    }
}

impl Book {
    fn restarted(
        &mut self,
        event: &Event,
        exit: &Event,
        bounds: &ModelLimits,
        slack_ms: f64,
        histories: &Histories,
    ) -> Option<Violation> {
        let broken = |what: String, history: Vec<Event>| Violation {
            invariant: Invariant::WindowLimits,
            subject: event.subject.clone(),
            what,
            history,
        };
        if self.in_row > bounds.max_consecutive_failures {
            let what = format!(
                "restarted after {} failures in a row, {} restarts are allowed",
                self.in_row, bounds.max_consecutive_failures
            );
            return Some(broken(what, histories.of(&event.subject)));
        }
        self.answered.push_back(exit.clone());
        trim(&mut self.answered, exit.since_start_ms, bounds.window_period_ms as f64 - slack_ms);
        (self.answered.len() > bounds.window_max as usize).then(|| {
            let period = Duration::from_millis(bounds.window_period_ms);
            let what = format!(
                "restarted {} times within {}, {} are allowed",
                self.answered.len(),
                humantime::format_duration(period),
                bounds.window_max
            );
            let mut history: Vec<Event> = self.answered.iter().cloned().collect();
            history.push(event.clone());
            broken(what, history)
        })
    }
}

/// Drops what has left the window.
fn trim(events: &mut VecDeque<Event>, now_ms: f64, period_ms: f64) {
    while events.front().is_some_and(|first| now_ms - first.since_start_ms >= period_ms) {
        events.pop_front();
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
