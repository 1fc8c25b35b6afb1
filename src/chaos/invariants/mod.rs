//! What must hold whatever happens. Pure: each checker takes what was observed and answers what is broken, with the
//! shortest history that shows it.

pub mod answers;
pub mod crashes;
pub mod generations;
pub mod growth;
pub mod logs;
pub mod whole;
pub mod windows;

use serde::Serialize;

use super::history::Event;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// Never two live generations of an instance.
    OneGeneration,
    /// Restarts stay within the limits of models and supervisors.
    WindowLimits,
    /// Every request to the service is answered once.
    AnsweredOnce,
    /// No part of the service fails but those that were made to.
    OnlyAskedCrashes,
    /// The log files of a model stay within their quota.
    LogQuota,
    /// Memory, descriptors and processes are at the end what they were at the start.
    NoGrowth,
    /// At the end every actor runs, and every model is ready or rightly given up.
    TreeWhole,
}

impl Invariant {
    /// Every rule, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::OneGeneration,
        Self::WindowLimits,
        Self::AnsweredOnce,
        Self::OnlyAskedCrashes,
        Self::LogQuota,
        Self::NoGrowth,
        Self::TreeWhole,
    ];

    /// The rule in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::OneGeneration => "never two live generations",
            Self::WindowLimits => "restarts stay within their limits",
            Self::AnsweredOnce => "every request is answered once",
            Self::OnlyAskedCrashes => "no part fails that was not made to",
            Self::LogQuota => "log files stay within their quota",
            Self::NoGrowth => "no growth of memory, descriptors, processes",
            Self::TreeWhole => "the tree is whole at the end",
        }
    }
}

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    /// The rule.
    pub invariant: Invariant,
    /// Who broke it: a model, an actor, the service.
    pub subject: String,
    /// How, in words.
    pub what: String,
    /// The events that show it, in order.
    pub history: Vec<Event>,
}
