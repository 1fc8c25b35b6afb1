//! Lifecycle events: a bounded ring, subscribers, and an honest count of what was dropped.

pub mod messages;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, Recipient};

use self::messages::{EventOccurred, EventPage, LifecycleEvent, ReadEvents, Record, Subscribe};
use crate::clock::Clock;
use crate::limits;
use crate::supervision::StopActor;
use crate::supervision::core::Notice;
use crate::supervision::crash::crashes_on_request;
use crate::supervision::supervisor::SupervisionNotice;

/// See the module.
#[derive(Debug)]
pub struct EventLog {
    clock: Clock,
    ring: VecDeque<Arc<LifecycleEvent>>,
    last_seq: Arc<AtomicU64>,
    begin: u64,
    subscribers: Vec<Recipient<EventOccurred>>,
    dropped: u64,
}

impl EventLog {
    /// An empty log that counts on from `last_seq`, which outlives it: numbers are never used twice. Those up to `begin`
    /// are of cores before this one, and not all of them were used.
    pub fn new(clock: Clock, last_seq: Arc<AtomicU64>, begin: u64) -> Self {
        let (ring, subscribers) = (VecDeque::new(), Vec::new());
        Self { clock, ring, last_seq, begin, subscribers, dropped: 0 }
    }

    fn record(&mut self, record: Record) {
        // one log writes at a time: its predecessor is gone before it starts
        let seq = self.last_seq.fetch_add(1, Ordering::Relaxed) + 1;
        let event = Arc::new(LifecycleEvent {
            seq,
            at: Clock::wall_seconds(),
            since_start_ms: self.clock.uptime_at(self.clock.now()).as_secs_f64() * 1000.0,
            subject: record.subject,
            model: record.model,
            generation: record.generation,
            kind: record.kind.to_owned(),
            cause: record.cause,
        });
        log(&event);
        if self.ring.len() == limits::EVENT_RING {
            self.ring.pop_front();
        }
        let mut dropped = 0;
        self.subscribers.retain(|to| match to.try_send(EventOccurred(event.clone())) {
            Ok(()) => true,
            Err(actix::prelude::SendError::Full(_)) => {
                dropped += 1;
                true
            }
            Err(actix::prelude::SendError::Closed(_)) => false,
        });
        self.dropped += dropped;
        self.ring.push_back(event);
    }
}

/// A line of the service's log. What somebody has to mend is an error, what somebody may want to look at a warning.
fn log(event: &LifecycleEvent) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                subject = event.subject,
                generation = event.generation.map(|generation| generation.0),
                cause = event.cause.as_deref().map(first_line),
                "{}",
                event.kind
            )
        };
    }
    match event.kind.as_str() {
        "parked" | "unkillable" | "escalated" | "group_gave_up" | "group_not_started"
        | "heart_lost" | "upgrade_failed" | "wedged" | "state_unsaved" => line!(error),
        "group_restarting" | "group_parked" | "exited" | "unhealthy" | "actor_failed"
        | "actor_restarted" | "core_replaced" | "not_adopted" | "leftover_ended" | "outdated"
        | "state_damaged" | "state_dropped" => line!(warn),
        _ => line!(info),
    }
}

/// The cause of `wedged`.
fn still(silent_for: Duration) -> String {
    format!("no progress for {:.1} s", silent_for.as_secs_f64())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

impl Actor for EventLog {
    type Context = Context<Self>;
}

impl Handler<StopActor> for EventLog {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Record> for EventLog {
    type Result = ();

    fn handle(&mut self, record: Record, _: &mut Self::Context) {
        self.record(record);
    }
}

impl Handler<SupervisionNotice> for EventLog {
    type Result = ();

    fn handle(&mut self, told: SupervisionNotice, _: &mut Self::Context) {
        let (child, kind, cause) = match told.notice {
            Notice::ChildFailed { child, reason } => (child, "actor_failed", reason.to_string()),
            Notice::ChildWedged { child, silent_for } => (child, "wedged", still(silent_for)),
            Notice::ChildRestarted { child, restarts } => {
                (child, "actor_restarted", format!("restart {restarts}"))
            }
            Notice::RestartFailed { child, error } => (child, "actor_failed", error),
            Notice::GaveUp { child, intensity, period } => {
                let period = humantime::format_duration(period);
                (child, "escalated", format!("more than {intensity} restarts in {period}"))
            }
        };
        let subject = format!("{}/{child}", told.supervisor);
        self.record(Record { subject, model: None, generation: None, kind, cause: Some(cause) });
    }
}

impl Handler<ReadEvents> for EventLog {
    type Result = actix::MessageResult<ReadEvents>;

    fn handle(&mut self, read: ReadEvents, _: &mut Self::Context) -> Self::Result {
        let first_kept =
            self.ring.front().map_or(self.last_seq.load(Ordering::Relaxed) + 1, |event| event.seq);
        let newer = self.ring.iter().filter(|event| event.seq > read.since).count();
        let take = newer.min(read.limit);
        let events: Vec<_> = self.ring.iter().skip(self.ring.len() - take).cloned().collect();
        let skipped = (newer - take) as u64;
        let known = read.since.max(self.begin);
        let forgotten = first_kept.saturating_sub(known.saturating_add(1));
        actix::MessageResult(EventPage {
            next: self.last_seq.load(Ordering::Relaxed),
            missed: forgotten + skipped,
            dropped: self.dropped,
            events,
        })
    }
}

impl Handler<Subscribe> for EventLog {
    type Result = ();

    fn handle(&mut self, subscribe: Subscribe, _: &mut Self::Context) {
        self.subscribers.push(subscribe.to);
    }
}

crashes_on_request!(EventLog);

#[cfg(test)]
mod tests;
