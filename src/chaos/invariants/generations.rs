//! Never two live generations of an instance: neither by what the service tells, nor by the processes that are there.

use std::collections::BTreeMap;

use super::{Invariant, Violation};
use crate::chaos::history::{Event, Histories};

/// See the module.
#[derive(Debug, Default)]
pub struct OneGeneration {
    by_instance: BTreeMap<String, Known>,
}

/// What the events said last of an instance.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// The generation whose process may be alive.
    live: Option<u64>,
    /// The latest.
    last: u64,
}

impl OneGeneration {
    /// Takes an event that [`Histories`] has recorded already.
    pub fn see(&mut self, event: &Event, histories: &Histories) -> Option<Violation> {
        let generation = event.generation?.0;
        let known = self.by_instance.entry(event.subject.clone()).or_default();
        let broken = |what: String| Violation {
            invariant: Invariant::OneGeneration,
            subject: event.subject.clone(),
            what,
            history: histories.of(&event.subject),
        };
        match event.kind.as_str() {
            "starting" => {
                let before = *known;
                *known = Known { live: Some(generation), last: generation };
                match before.live {
                    Some(live) if live != generation => Some(broken(format!(
                        "generation {generation} was started while generation {live} was not told to be gone"
                    ))),
                    _ if generation < before.last => Some(broken(format!(
                        "generation {generation} came after generation {}",
                        before.last
                    ))),
                    _ => None,
                }
            }
            "exited" | "backoff" | "parked" => {
                known.live = None;
                None
            }
            // an instance that was unloaded may be loaded anew, and counts from the beginning
            "stopped" => {
                *known = Known::default();
                None
            }
            _ => None,
        }
    }

    /// Events were lost: what they said is not known.
    pub fn forget(&mut self) {
        self.by_instance.clear();
    }
}

/// Judges the leaders of process groups that are alive at one and the same moment for one model.
pub fn leaders(model: &str, pids: &[u32], histories: &Histories) -> Option<Violation> {
    if pids.len() < 2 {
        return None;
    }
    let told: Vec<_> = pids.iter().map(u32::to_string).collect();
    Some(Violation {
        invariant: Invariant::OneGeneration,
        subject: model.to_owned(),
        what: format!(
            "{} processes are alive at one time: pid {}",
            pids.len(),
            told.join(" and pid ")
        ),
        history: histories.of_model(model),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::history::testing::event;
    use super::*;

    fn run(kinds: &[(&str, u64)]) -> Option<Violation> {
        let mut histories = Histories::default();
        let mut checker = OneGeneration::default();
        (1..).zip(kinds).find_map(|(seq, (kind, generation))| {
            let event = event(seq, 0.0, kind, *generation);
            histories.record(&event);
            checker.see(&event, &histories)
        })
    }

    #[test]
    fn an_honest_life_holds() {
        let life = [
            ("starting", 1),
            ("ready", 1),
            ("unhealthy", 1),
            ("exited", 1),
            ("backoff", 1),
            ("starting", 2),
            ("exited", 2),
            ("parked", 2),
            ("starting", 3),
            ("stopping", 3),
            ("stopped", 3),
            ("starting", 1),
        ];
        assert_eq!(run(&life), None);
    }

    #[test]
    fn a_successor_before_the_end_is_told_with_its_history() {
        let violation =
            run(&[("starting", 1), ("ready", 1), ("unhealthy", 1), ("starting", 2)]).unwrap();
        assert_eq!(violation.invariant, Invariant::OneGeneration);
        let kinds: Vec<_> = violation.history.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["ready", "unhealthy", "starting"]);
        assert!(violation.what.contains("generation 2"), "{}", violation.what);
    }

    #[test]
    fn a_process_that_is_being_stopped_is_still_alive() {
        assert!(run(&[("starting", 1), ("stopping", 1), ("starting", 2)]).is_some());
        assert!(run(&[("starting", 1), ("unkillable", 1), ("starting", 2)]).is_some());
    }

    #[test]
    fn generations_never_go_back() {
        assert!(run(&[("starting", 5), ("exited", 5), ("starting", 4)]).is_some());
    }

    #[test]
    fn lost_events_accuse_nobody() {
        let histories = Histories::default();
        let mut checker = OneGeneration::default();
        assert_eq!(checker.see(&event(1, 0.0, "starting", 1), &histories), None);
        checker.forget();
        assert_eq!(checker.see(&event(9, 0.0, "starting", 2), &histories), None);
    }

    #[test]
    fn two_leaders_are_one_too_many() {
        let histories = Histories::default();
        assert_eq!(leaders("a", &[7], &histories), None);
        let violation = leaders("a", &[7, 9], &histories).unwrap();
        assert_eq!(violation.what, "2 processes are alive at one time: pid 7 and pid 9");
    }
}
