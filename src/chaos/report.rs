//! What came of a run, for people and programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::invariants::growth::Usage;
use super::invariants::{Invariant, Violation};
use super::load::Requests;
use super::plan::Fault;
use super::tally::FaultRow;

/// See the module. The keys are part of the command's contract with programs (`--json`).
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Gives the same faults again.
    pub seed: u64,
    /// Whether every rule held.
    pub held: bool,
    /// From the first fault to the last turn, seconds.
    pub seconds: f64,
    /// Whether somebody ended it before its time.
    pub interrupted: bool,
    /// Version of the service.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The models that were hit, sorted; a fault's `target` counts in this list.
    pub models: Vec<String>,
    /// Models that were given up at the end, rightly.
    pub given_up: Vec<String>,
    /// One line for each kind of fault.
    pub faults: Vec<FaultRow>,
    /// Why faults were left out, with their numbers.
    pub left_out: BTreeMap<String, u64>,
    /// What clients did meanwhile.
    pub requests: Requests,
    /// The service at a quiet moment before the first fault.
    pub usage_at_start: Usage,
    /// And after the last one; none: the service is gone.
    pub usage_at_end: Option<Usage>,
    /// Its memory when it was warm, bytes; none in a short run.
    pub memory_warm_bytes: Option<u64>,
    /// Its memory in the course of the run.
    pub memory: Vec<Sample>,
    /// Events that were no longer kept when they were asked for.
    pub events_missed: u64,
    /// Every rule, and whether it held.
    pub invariants: Vec<Rule>,
    /// Rules that did not hold, with the events that show it.
    pub violations: Vec<Violation>,
    /// The faults that came up to the end, as planned.
    pub plan: Vec<Fault>,
}

/// The memory of the service at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Since the first fault might come.
    pub seconds: u64,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
}

/// A rule and whether it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The rule.
    pub invariant: Invariant,
    /// Whether it held.
    pub held: bool,
}

impl Report {
    /// Faults that were done.
    pub fn done(&self) -> u64 {
        self.faults.iter().map(|row| row.count).sum()
    }
}

/// Every rule, and whether none of the violations is of it.
pub fn rules(violations: &[Violation]) -> Vec<Rule> {
    let held = |invariant| !violations.iter().any(|broken| broken.invariant == invariant);
    Invariant::ALL.into_iter().map(|invariant| Rule { invariant, held: held(invariant) }).collect()
}
