//! Gets reports to the subscriber, also when it is being replaced.

use std::collections::VecDeque;

use actix::Recipient;

use crate::launcher::Report;

/// Sends reports; keeps the ones that matter while nobody takes them.
///
/// What is kept is bounded by the processes themselves: without a subscriber nobody orders a spawn, so it is at most one
/// start and one exit for each process that was on its way.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    subscriber: Option<Recipient<Report>>,
    kept: VecDeque<Report>,
}

impl Reporter {
    /// Reports go to `subscriber` from now on, first those that nobody took.
    pub(super) fn subscribe(&mut self, subscriber: Recipient<Report>) {
        for report in self.kept.drain(..) {
            subscriber.do_send(report);
        }
        self.subscriber = Some(subscriber);
    }

    /// Sends a report, or keeps it.
    pub(super) fn report(&mut self, report: Report) {
        match &self.subscriber {
            Some(subscriber) if subscriber.connected() => subscriber.do_send(report),
            _ => {
                if matters_later(&report) {
                    self.kept.push_back(report);
                }
            }
        }
    }
}

/// The fate of a process concerns the next subscriber too; answers to questions do not.
fn matters_later(report: &Report) -> bool {
    matches!(report, Report::Spawned { .. } | Report::SpawnFailed { .. } | Report::Exited { .. })
}
