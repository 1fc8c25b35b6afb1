//! No part of the service fails but those that were made to.

use super::{Invariant, Violation};
use crate::chaos::history::{Event, Histories};
use crate::limits;

/// See the module.
#[derive(Debug, Default)]
pub struct OnlyAskedCrashes {
    /// Ends of subjects, and when they were made to fail, seconds since 1970.
    asked: Vec<(String, f64)>,
}

impl OnlyAskedCrashes {
    /// The part of this name was made to fail. For a model's actor the name is that of its instance.
    pub fn asked(&mut self, name: &str, at: f64) {
        let horizon = at - limits::CHAOS_DISRUPTION.as_secs_f64();
        self.asked.retain(|(_, asked_at)| *asked_at >= horizon);
        self.asked.push((name.to_owned(), at));
    }

    /// Takes an event that [`Histories`] has recorded already.
    pub fn see(&mut self, event: &Event, histories: &Histories) -> Option<Violation> {
        // one that gives up tells more than the crashes that led to it
        let is_escalation = event.kind == "escalated" && event.model.is_none();
        if event.kind != "actor_failed" && !is_escalation {
            return None;
        }
        let name = event.subject.rsplit('/').next().unwrap_or(&event.subject);
        let grace = limits::CHAOS_DISRUPTION.as_secs_f64();
        let was_asked =
            self.asked.iter().any(|(asked, at)| asked == name && (event.at - at).abs() <= grace);
        if was_asked && !is_escalation {
            return None;
        }
        let cause = event.cause.as_deref().unwrap_or("no cause was told");
        Some(Violation {
            invariant: Invariant::OnlyAskedCrashes,
            subject: event.subject.clone(),
            what: format!("{} though nobody made it: {cause}", event.kind.replace('_', " ")),
            history: histories.of(&event.subject),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::history::testing::part_event;
    use super::*;

    fn see(asked: &[(&str, f64)], kind: &str, subject: &str) -> Option<Violation> {
        let mut checker = OnlyAskedCrashes::default();
        for (name, at) in asked {
            checker.asked(name, *at);
        }
        let mut histories = Histories::default();
        let event = part_event(1, 5.0, kind, subject);
        histories.record(&event);
        checker.see(&event, &histories)
    }

    #[test]
    fn a_crash_that_was_asked_for_holds() {
        assert_eq!(see(&[("registry", 1005.0)], "actor_failed", "root/registry"), None);
        assert_eq!(see(&[("prober", 1004.9)], "actor_failed", "prober"), None);
        assert_eq!(see(&[], "actor_restarted", "root/registry"), None);
    }

    #[test]
    fn a_crash_of_its_own_is_told() {
        for asked in [&[][..], &[("event_log", 1005.0)], &[("registry", 900.0)]] {
            let violation = see(asked, "actor_failed", "root/registry").unwrap();
            assert_eq!(violation.history.len(), 1);
        }
    }

    #[test]
    fn giving_up_is_never_asked_for() {
        assert!(see(&[("registry", 1005.0)], "escalated", "root/registry").is_some());
    }
}
