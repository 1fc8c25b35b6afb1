//! Replies on their way out: handed to libzmq, or kept while their client does not read.

use std::sync::Arc;
use std::time::Duration;

use super::backlog::{Backlog, Handover, Losses, Retry};
use super::shared::{Outgoing, Shared};
use super::sockets::Sockets;
use crate::clock::{Clock, Moment};

/// The sockets, and the replies that did not fit into them yet.
pub(super) struct Delivery {
    pub(super) sockets: Sockets,
    shared: Arc<Shared>,
    clock: Clock,
    backlog: Backlog,
    retry: Retry,
}

impl Delivery {
    pub(super) fn new(sockets: Sockets, shared: Arc<Shared>, clock: Clock) -> Self {
        Self { sockets, shared, clock, backlog: Backlog::default(), retry: Retry::default() }
    }

    /// Whether nothing is kept.
    pub(super) fn is_done(&self) -> bool {
        self.backlog.is_empty()
    }

    /// When what is kept is to be tried again.
    pub(super) fn due(&self) -> Option<Moment> {
        (!self.backlog.is_empty()).then(|| self.retry.due())
    }

    /// Sends a reply, or keeps it behind those that its client has not read.
    ///
    /// # Errors
    /// What libzmq says, when it is no fault of one client.
    pub(super) fn send(&mut self, outgoing: Outgoing) -> zmq::Result<()> {
        let (door, identity) = (outgoing.route.door, &*outgoing.route.identity);
        if self.backlog.holds(door, identity) {
            // who asks goes on reading, as a rule: what was kept must not wait for the next try while more comes
            self.try_again(|backlog, send| backlog.retry_one(door, identity, send))?;
        }
        let handover = if self.backlog.holds(door, identity) {
            Handover::Full(outgoing)
        } else {
            self.sockets.send(outgoing)?
        };
        let counters = &self.shared.counters;
        match handover {
            Handover::Taken => counters.sent.one(),
            Handover::Gone => counters.unreachable.one(),
            Handover::Full(outgoing) => {
                if self.backlog.is_empty() {
                    self.retry.arm(self.clock.now(), true);
                }
                counters.dropped.add(self.backlog.push(outgoing));
            }
        }
        Ok(())
    }

    /// Tries what is kept again, when it is time; answers whether anything moved.
    ///
    /// # Errors
    /// As [`Delivery::send`].
    pub(super) fn retry(&mut self) -> zmq::Result<bool> {
        if self.backlog.is_empty() || self.clock.now() < self.retry.due() {
            return Ok(false);
        }
        let outcome = self.try_again(|backlog, send| backlog.retry(send))?;
        let moved = outcome.sent + outcome.unreachable > 0;
        self.retry.arm(self.clock.now(), moved);
        Ok(moved)
    }

    fn try_again(
        &mut self,
        how: impl FnOnce(&mut Backlog, &mut dyn FnMut(Outgoing) -> Handover) -> Losses,
    ) -> zmq::Result<Losses> {
        let mut fault = None;
        let outcome = how(&mut self.backlog, &mut |outgoing| {
            self.sockets.send(outgoing).unwrap_or_else(|error| {
                fault = Some(error);
                Handover::Gone
            })
        });
        self.shared.counters.sent.add(outcome.sent);
        self.shared.counters.unreachable.add(outcome.unreachable);
        fault.map_or(Ok(outcome), Err)
    }

    /// Shows what is kept in the counters.
    pub(super) fn show(&self) {
        self.shared.counters.backlogged_peers.set(self.backlog.peers());
        self.shared.counters.backlogged_replies.set(self.backlog.replies());
    }

    /// Closes the sockets; blocks until what libzmq has is sent, `linger` at most.
    pub(super) fn close(self, linger: Duration) {
        self.sockets.close(linger);
    }
}
