//! What faults there were, how soon they were noticed and mended, and what they cost clients. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::Event;
use super::plan::FaultKind;

/// Whom a fault hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hit {
    /// A model's process.
    Model(String),
    /// A part of the service, by its name in the tree.
    Part(String),
    /// Nobody who would have to be replaced.
    Nobody,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tally {
    rows: BTreeMap<FaultKind, Row>,
    open: Vec<Open>,
    latest: Option<FaultKind>,
    left_out: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Row {
    count: u64,
    left_out: u64,
    detected_ms: Vec<f64>,
    recovered_ms: Vec<f64>,
    requests_failed: u64,
}

/// A fault that is not mended yet.
#[derive(Debug)]
struct Open {
    kind: FaultKind,
    hit: Hit,
    at: f64,
    detected: bool,
}

/// Some measured times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// The middle one.
    pub p50: f64,
    /// The longest.
    pub max: f64,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultRow {
    /// The kind.
    pub fault: FaultKind,
    /// How often it was done.
    pub count: u64,
    /// How often it was planned and not done.
    pub left_out: u64,
    /// From the fault to the first event about it.
    pub detected_ms: Option<Spread>,
    /// From the fault to a ready successor, or to the restarted actor.
    pub recovered_ms: Option<Spread>,
    /// Requests that failed after it and before the next fault.
    pub requests_failed: u64,
}

impl Tally {
    /// A fault was done at this time, seconds since 1970.
    pub fn struck(&mut self, kind: FaultKind, hit: Hit, at: f64) {
        self.rows.entry(kind).or_default().count += 1;
        self.latest = Some(kind);
        if hit == Hit::Nobody {
            return;
        }
        // what happens to it from now on is the work of the newer fault
        self.open.retain(|open| open.hit != hit);
        self.open.push(Open { kind, hit, at, detected: false });
    }

    /// A planned fault was not done.
    pub fn left_out(&mut self, kind: FaultKind, why: &str) {
        self.rows.entry(kind).or_default().left_out += 1;
        *self.left_out.entry(format!("{kind}: {why}")).or_default() += 1;
    }

    /// A request failed.
    pub fn request_failed(&mut self) {
        if let Some(kind) = self.latest {
            self.rows.entry(kind).or_default().requests_failed += 1;
        }
    }

    /// Takes an event.
    pub fn see(&mut self, event: &Event) {
        let last = event.subject.rsplit('/').next().unwrap_or_default();
        let is_about = |hit: &Hit| match hit {
            Hit::Model(model) => event.model.as_ref() == Some(model),
            Hit::Part(part) => event.model.is_none() && last == part,
            Hit::Nobody => false,
        };
        let Some(index) =
            self.open.iter().position(|open| is_about(&open.hit) && open.at <= event.at)
        else {
            return;
        };
        let open = &mut self.open[index];
        let row = self.rows.entry(open.kind).or_default();
        let ms = (event.at - open.at) * 1000.0;
        match event.kind.as_str() {
            "exited" | "unhealthy" | "actor_failed" if !open.detected => {
                open.detected = true;
                row.detected_ms.push(ms);
            }
            "ready" | "actor_restarted" if open.detected => {
                row.recovered_ms.push(ms);
                self.open.swap_remove(index);
            }
            // it is not brought back
            "parked" | "stopped" => {
                self.open.swap_remove(index);
            }
            _ => {}
        }
    }

    /// Events were lost: those about the faults that are open may have been among them.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// Models whose process was to end by a fault, and of which no event told so far that it did.
    pub fn unnoticed(&self) -> BTreeMap<&str, FaultKind> {
        let ends = |kind| matches!(kind, FaultKind::Kill | FaultKind::Stop);
        let open = self.open.iter().filter(|open| !open.detected && ends(open.kind));
        open.filter_map(|open| match &open.hit {
            Hit::Model(model) => Some((model.as_str(), open.kind)),
            _ => None,
        })
        .collect()
    }

    /// The lines of the report.
    pub fn rows(&self) -> Vec<FaultRow> {
        let line = |(kind, row): (&FaultKind, &Row)| FaultRow {
            fault: *kind,
            count: row.count,
            left_out: row.left_out,
            detected_ms: spread(&row.detected_ms),
            recovered_ms: spread(&row.recovered_ms),
            requests_failed: row.requests_failed,
        };
        self.rows.iter().map(line).collect()
    }

    /// Why faults were left out, and how many for each reason.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        self.left_out.clone()
    }
}

fn spread(times: &[f64]) -> Option<Spread> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let max = *sorted.last()?;
    let rounded = |ms: f64| (ms * 100.0).round() / 100.0;
    let p50 = sorted[(sorted.len() - 1) / 2];
    Some(Spread { count: sorted.len(), p50: rounded(p50), max: rounded(max) })
}

#[cfg(test)]
mod tests {
    use super::super::history::testing::{event, part_event};
    use super::*;

    fn model() -> Hit {
        Hit::Model("a".into())
    }

    #[test]
    fn a_kill_is_detected_at_its_exit_and_mended_when_its_successor_is_ready() {
        let mut tally = Tally::default();
        tally.struck(FaultKind::Kill, model(), 1010.0);
        tally.see(&event(1, 9.0, "ready", 1));
        tally.see(&event(2, 10.5, "exited", 1));
        tally.see(&event(3, 10.6, "starting", 2));
        tally.see(&event(4, 11.0, "ready", 2));
        tally.see(&event(5, 12.0, "exited", 2));
        let row = &tally.rows()[0];
        assert_eq!(row.detected_ms, Some(Spread { count: 1, p50: 500.0, max: 500.0 }));
        assert_eq!(row.recovered_ms, Some(Spread { count: 1, p50: 1000.0, max: 1000.0 }));
    }

    #[test]
    fn a_newer_fault_takes_what_follows() {
        let mut tally = Tally::default();
        tally.struck(FaultKind::Freeze, model(), 1000.0);
        tally.struck(FaultKind::Kill, model(), 1001.0);
        tally.see(&event(1, 1.1, "exited", 1));
        let rows = tally.rows();
        assert_eq!(
            (rows[0].fault, rows[0].detected_ms.map(|s| s.count)),
            (FaultKind::Kill, Some(1))
        );
        assert_eq!((rows[1].fault, rows[1].detected_ms), (FaultKind::Freeze, None));
    }

    #[test]
    fn a_kill_is_unnoticed_until_an_event_tells_of_it() {
        let mut tally = Tally::default();
        for kind in [FaultKind::Freeze, FaultKind::Slow] {
            tally.struck(kind, model(), 1000.0);
            assert!(tally.unnoticed().is_empty(), "{kind} need not end it");
        }
        tally.struck(FaultKind::Kill, model(), 1001.0);
        tally.see(&event(1, 0.9, "exited", 1));
        assert_eq!(tally.unnoticed(), [("a", FaultKind::Kill)].into(), "that was before it");
        tally.see(&event(2, 1.1, "exited", 2));
        assert!(tally.unnoticed().is_empty());
        tally.struck(FaultKind::Stop, model(), 1002.0);
        assert_eq!(tally.unnoticed(), [("a", FaultKind::Stop)].into());
        tally.forget();
        assert!(tally.unnoticed().is_empty(), "what was lost accuses nobody");
    }

    #[test]
    fn a_part_is_known_by_the_end_of_its_path() {
        let mut tally = Tally::default();
        tally.struck(FaultKind::Panic, Hit::Part("registry".into()), 1000.0);
        tally.see(&part_event(1, 0.1, "actor_failed", "root/event_log"));
        tally.see(&part_event(2, 0.2, "actor_failed", "root/registry"));
        tally.see(&part_event(3, 0.3, "actor_restarted", "root/registry"));
        let row = &tally.rows()[0];
        assert_eq!(row.detected_ms.map(|s| s.p50), Some(200.0));
        assert_eq!(row.recovered_ms.map(|s| s.max), Some(300.0));
    }

    #[test]
    fn failed_requests_count_to_the_latest_fault_and_reasons_are_counted() {
        let mut tally = Tally::default();
        tally.request_failed();
        tally.struck(FaultKind::Garbage, Hit::Nobody, 1.0);
        tally.struck(FaultKind::Kill, model(), 2.0);
        tally.request_failed();
        tally.left_out(FaultKind::Panic, "no flag");
        tally.left_out(FaultKind::Panic, "no flag");
        let failed: Vec<_> = tally.rows().iter().map(|row| row.requests_failed).collect();
        assert_eq!(failed, [1, 0, 0]);
        assert_eq!(tally.reasons(), [("panic: no flag".to_owned(), 2)].into());
    }

    #[test]
    fn the_middle_of_some_times() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { count: 3, p50: 2.0, max: 3.0 }));
    }
}
