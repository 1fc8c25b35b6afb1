//! Every request to the service's own sockets is answered once. What a gateway that panics had in hand is lost with it, and
//! counts as failed; its clients ask again.

use std::collections::VecDeque;

use super::{Invariant, Violation};
use crate::chaos::history::{Event, Histories};
use crate::chaos::plan::Part;
use crate::limits;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No answer in time.
    Unanswered,
    /// More than one.
    Doubled,
}

/// A request that was not answered once.
#[derive(Debug, Clone, PartialEq)]
pub struct Oddity {
    /// What was asked.
    pub request: String,
    /// When, seconds since 1970.
    pub asked_at: f64,
    /// When it was given up, or answered again.
    pub ended_at: f64,
    /// What became of it.
    pub outcome: Outcome,
}

/// See the module.
#[derive(Debug, Default)]
pub struct AnsweredOnce {
    /// When gateways went down, seconds since 1970.
    disruptions: VecDeque<f64>,
    /// Not judged yet: events that excuse them may still come.
    open: Vec<Oddity>,
}

impl AnsweredOnce {
    /// Takes an event: the end of a gateway, or of a part below which it stands, takes requests along.
    pub fn see(&mut self, event: &Event) {
        let takes_along = event.kind == "actor_failed"
            && (event.subject.starts_with("root/") || event.subject.ends_with("/zmq_gateway"));
        if takes_along {
            self.disrupted(event.at);
        }
    }

    /// A part was made to panic at this time. Its event may come later than the verdict, where the gateway that tells of it
    /// is down.
    pub fn made_to_panic(&mut self, part: Part, at: f64) {
        // the others hold no request: what an instance or the prober has in hand is answered or asked for anew
        if part == Part::ZmqGateway || part.is_below_root() {
            self.disrupted(at);
        }
    }

    /// A gateway was taken down at this time.
    fn disrupted(&mut self, at: f64) {
        if self.disruptions.len() == limits::CHAOS_HISTORY {
            self.disruptions.pop_front();
        }
        self.disruptions.push_back(at);
    }

    /// A request was not answered once.
    pub fn odd(&mut self, oddity: Oddity) {
        self.open.push(oddity);
    }

    /// Judges what ended long enough ago for its excuse to have come. At the end of all `now` may lie ahead.
    pub fn judge(&mut self, now: f64, histories: &Histories) -> Vec<Violation> {
        let grace = limits::CHAOS_DISRUPTION.as_secs_f64();
        let (due, open) =
            std::mem::take(&mut self.open).into_iter().partition(|odd| odd.ended_at + grace <= now);
        self.open = open;
        let due: Vec<Oddity> = due;
        let excused = |odd: &Oddity| {
            let near = |at: &f64| odd.asked_at - grace <= *at && *at <= odd.ended_at + grace;
            odd.outcome == Outcome::Unanswered && self.disruptions.iter().any(near)
        };
        due.iter()
            .filter(|odd| !excused(odd))
            .map(|odd| Violation {
                invariant: Invariant::AnsweredOnce,
                subject: odd.request.clone(),
                what: match odd.outcome {
                    Outcome::Doubled => "was answered twice".to_owned(),
                    Outcome::Unanswered => format!(
                        "was not answered within {:.1} s, and no gateway was down",
                        odd.ended_at - odd.asked_at
                    ),
                },
                history: histories.of_parts(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::history::testing::part_event;
    use super::*;

    fn odd(asked_at: f64, outcome: Outcome) -> Oddity {
        Oddity { request: "status".into(), asked_at, ended_at: asked_at + 10.0, outcome }
    }

    fn judged(oddity: Oddity, failed: Option<&str>) -> Vec<Violation> {
        let mut checker = AnsweredOnce::default();
        if let Some(subject) = failed {
            checker.see(&part_event(1, 5.0, "actor_failed", subject));
        }
        checker.odd(oddity);
        checker.judge(f64::INFINITY, &Histories::default())
    }

    #[test]
    fn a_lost_and_a_double_answer_are_told() {
        let lost = judged(odd(1000.0, Outcome::Unanswered), None);
        assert_eq!(lost[0].what, "was not answered within 10.0 s, and no gateway was down");
        let double = judged(odd(1000.0, Outcome::Doubled), None);
        assert_eq!(double[0].what, "was answered twice");
    }

    #[test]
    fn the_end_of_a_gateway_excuses_the_loss_alone() {
        for part in ["gateway_supervisor/zmq_gateway", "root/registry"] {
            assert!(judged(odd(1000.0, Outcome::Unanswered), Some(part)).is_empty(), "{part}");
            assert_eq!(judged(odd(1000.0, Outcome::Doubled), Some(part)).len(), 1);
        }
        let part = "instance_supervisor/a-1";
        assert_eq!(judged(odd(1000.0, Outcome::Unanswered), Some(part)).len(), 1);
        let long_before = odd(2000.0, Outcome::Unanswered);
        assert_eq!(judged(long_before, Some("root/registry")).len(), 1);
    }

    #[test]
    fn only_parts_that_take_a_gateway_along_excuse_a_loss() {
        let lost_with = |part| {
            let mut checker = AnsweredOnce::default();
            checker.made_to_panic(part, 1005.0);
            checker.odd(odd(1000.0, Outcome::Unanswered));
            checker.judge(f64::INFINITY, &Histories::default()).len()
        };
        for part in [Part::Instance, Part::Prober] {
            assert_eq!(lost_with(part), 1, "{part:?}");
        }
        for part in [Part::ZmqGateway, Part::Registry, Part::InstanceSupervisor] {
            assert_eq!(lost_with(part), 0, "{part:?}");
        }
    }

    #[test]
    fn an_excuse_may_come_late() {
        let mut checker = AnsweredOnce::default();
        checker.odd(odd(1000.0, Outcome::Unanswered));
        assert!(checker.judge(1010.0, &Histories::default()).is_empty());
        checker.see(&part_event(1, 10.0, "actor_failed", "root/registry"));
        assert!(checker.judge(f64::INFINITY, &Histories::default()).is_empty());
    }
}
