//! What happened to each subject since it was last quiet: the shortest story that leads to the present. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::events::messages::LifecycleEvent;
use crate::limits;

/// An event as the service told it.
pub type Event = Arc<LifecycleEvent>;

/// The stories of all subjects.
#[derive(Debug, Clone, Default)]
pub struct Histories {
    by_subject: BTreeMap<String, Vec<Event>>,
}

impl Histories {
    /// Adds an event.
    pub fn record(&mut self, event: &Event) {
        let story = self.by_subject.entry(event.subject.clone()).or_default();
        // the quiet state it starts from stays in the story
        if story.last().is_some_and(|last| is_quiet(&last.kind)) {
            story.drain(..story.len() - 1);
        }
        if story.len() == limits::CHAOS_HISTORY {
            story.remove(0);
        }
        story.push(event.clone());
    }

    /// The story of a subject.
    pub fn of(&self, subject: &str) -> Vec<Event> {
        self.by_subject.get(subject).cloned().unwrap_or_default()
    }

    /// The stories of all subjects that a model has.
    pub fn of_model(&self, model: &str) -> Vec<Event> {
        let of_it = |event: &&Event| event.model.as_deref() == Some(model);
        self.by_subject.values().flatten().filter(of_it).cloned().collect()
    }

    /// The stories of parts of the service itself.
    pub fn of_parts(&self) -> Vec<Event> {
        let mut parts: Vec<Event> = self
            .by_subject
            .values()
            .flatten()
            .filter(|event| event.model.is_none())
            .cloned()
            .collect();
        parts.sort_by_key(|event| event.seq);
        parts
    }
}

/// Nothing is under way after it.
fn is_quiet(kind: &str) -> bool {
    matches!(kind, "ready" | "stopped" | "parked" | "actor_restarted" | "service_started")
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::ids::Generation;

    /// An event of the instance `a-1` of model `a`.
    pub fn event(seq: u64, seconds: f64, kind: &str, generation: u64) -> Event {
        Arc::new(LifecycleEvent {
            seq,
            at: 1000.0 + seconds,
            since_start_ms: seconds * 1000.0,
            subject: "a-1".into(),
            model: Some("a".into()),
            generation: Some(Generation(generation)),
            kind: kind.into(),
            cause: None,
        })
    }

    /// An event of a part.
    pub fn part_event(seq: u64, seconds: f64, kind: &str, subject: &str) -> Event {
        let mut event = (*event(seq, seconds, kind, 0)).clone();
        event.subject = subject.into();
        event.model = None;
        event.generation = None;
        Arc::new(event)
    }

    #[test]
    fn a_story_begins_at_the_last_quiet_state() {
        let mut histories = Histories::default();
        let kinds = ["starting", "ready", "exited", "starting", "ready", "exited", "backoff"];
        for (seq, kind) in (1..).zip(kinds) {
            histories.record(&event(seq, 0.0, kind, 1));
        }
        let seqs: Vec<_> = histories.of("a-1").iter().map(|event| event.seq).collect();
        assert_eq!(seqs, [5, 6, 7]);
        assert_eq!(histories.of_model("a").len(), 3);
        assert!(histories.of("b-1").is_empty() && histories.of_parts().is_empty());
    }

    #[test]
    fn an_endless_story_is_bounded() {
        let mut histories = Histories::default();
        for seq in 0..10_000 {
            histories.record(&event(seq, 0.0, "exited", 1));
        }
        assert_eq!(histories.of("a-1").len(), limits::CHAOS_HISTORY);
    }
}
