//! The gateway's thread: sends what is in the outbox, receives while there is budget, sleeps when there is nothing.
//!
//! It never waits for an actor and never blocks in a send. A turn is bounded in both directions, so neither starves.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::backlog::{Backlog, Handover, Losses, Retry};
use super::intake::Intake;
use super::shared::{Door, Lane, Outgoing, Shared};
use super::sockets::Sockets;
use crate::clock::{Clock, Moment};
use crate::limits;

/// What the thread works with.
pub(super) struct PollLoop {
    sockets: Sockets,
    inbox: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    intake: Intake,
    clock: Clock,
    backlog: Backlog,
    retry: Retry,
    /// Requests inside the tree, by budget.
    direct: usize,
    desk: usize,
    late: usize,
    frames: Vec<zmq::Message>,
    /// Set when the end was asked for: until then what is unsent may go on.
    deadline: Option<Moment>,
}

impl PollLoop {
    pub(super) fn new(
        sockets: Sockets,
        inbox: mpsc::Receiver<Outgoing>,
        shared: Arc<Shared>,
        intake: Intake,
        clock: Clock,
    ) -> Self {
        Self {
            sockets,
            inbox,
            shared,
            intake,
            clock,
            backlog: Backlog::default(),
            retry: Retry::default(),
            direct: 0,
            desk: 0,
            late: 0,
            frames: Vec::with_capacity(limits::FRAME_PARTS),
            deadline: None,
        }
    }

    /// Runs until [`Shared::stop`]; then sends what is left, closes the sockets and removes their files.
    ///
    /// # Errors
    /// What libzmq says, when it is no fault of one client.
    pub(super) fn run(mut self) -> zmq::Result<()> {
        while !self.is_over() {
            let sent = self.send_replies()?;
            let retried = self.retry_backlog()?;
            let received = self.receive_requests()?;
            self.show();
            if !(sent || retried || received) {
                if self.has_said_all() {
                    break;
                }
                self.sleep()?;
            }
        }
        let left =
            self.deadline.map_or(Duration::ZERO, |deadline| deadline.since(self.clock.now()));
        // libzmq's thread may not have written the last reply yet, however late it is
        self.sockets.close(left.max(limits::SOCKET_LINGER / 5));
        Ok(())
    }

    fn is_over(&mut self) -> bool {
        if self.deadline.is_none() && self.shared.is_stopping() {
            self.deadline = Some(self.clock.now() + limits::SOCKET_LINGER);
        }
        self.deadline.is_some_and(|deadline| self.clock.now() >= deadline)
    }

    /// Whether the end was asked for and nobody waits for a reply any more.
    fn has_said_all(&self) -> bool {
        self.deadline.is_some()
            && self.direct + self.desk + self.late == 0
            && self.backlog.is_empty()
    }

    fn send_replies(&mut self) -> zmq::Result<bool> {
        let mut any = false;
        for _ in 0..limits::GATEWAY_BATCH {
            let Ok(outgoing) = self.inbox.try_recv() else { break };
            self.send(outgoing)?;
            any = true;
        }
        Ok(any)
    }

    fn send(&mut self, outgoing: Outgoing) -> zmq::Result<()> {
        match outgoing.route.lane {
            Lane::Direct => self.direct -= 1,
            Lane::Desk => self.desk -= 1,
            Lane::Late => self.late -= 1,
        }
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

    fn retry_backlog(&mut self) -> zmq::Result<bool> {
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

    fn receive_requests(&mut self) -> zmq::Result<bool> {
        let mut any = false;
        for door in [Door::Cli, Door::Handshake] {
            for _ in 0..limits::GATEWAY_BATCH {
                if !self.has_credit() {
                    return Ok(any);
                }
                let Some(received) = self.sockets.receive(door, &mut self.frames)? else { break };
                any = true;
                let desk_is_full = self.desk >= limits::GATEWAY_DESK_REQUESTS;
                match self.intake.take(door, received, &self.frames, desk_is_full) {
                    Some(Lane::Direct) => self.direct += 1,
                    Some(Lane::Desk) => self.desk += 1,
                    Some(Lane::Late) => self.late += 1,
                    None => {}
                }
            }
        }
        Ok(any)
    }

    /// Without credit nothing is received: the flood waits in libzmq's bounded queues and then at its sender.
    fn has_credit(&self) -> bool {
        self.direct + self.late < limits::GATEWAY_CREDITS
    }

    /// Sleeps until there is a request (while there is credit), a reply, or something to try again.
    fn sleep(&mut self) -> zmq::Result<()> {
        let bell = self.shared.bell();
        bell.lie_down();
        // a reply that came before `lie_down` rang no bell
        if let Ok(outgoing) = self.inbox.try_recv() {
            bell.get_up(false);
            return self.send(outgoing);
        }
        if self.deadline.is_none() && self.shared.is_stopping() {
            bell.get_up(false);
            return Ok(());
        }
        let mut items = [
            zmq::PollItem::from_fd(bell.descriptor(), zmq::POLLIN),
            self.sockets.of(Door::Cli).as_poll_item(zmq::POLLIN),
            self.sockets.of(Door::Handshake).as_poll_item(zmq::POLLIN),
        ];
        let watched = if self.has_credit() { &mut items[..] } else { &mut items[..1] };
        let outcome = zmq::poll(watched, self.sleep_limit());
        bell.get_up(items[0].is_readable());
        match outcome {
            Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Milliseconds, rounded up; negative for ever.
    fn sleep_limit(&self) -> i64 {
        let retry = (!self.backlog.is_empty()).then(|| self.retry.due());
        let until = match (retry, self.deadline) {
            (Some(retry), Some(deadline)) => Some(retry.min(deadline)),
            (one, other) => one.or(other),
        };
        until.map_or(-1, |until| {
            let span = until.since(self.clock.now());
            i64::try_from(span.as_millis()).unwrap_or(i64::MAX).saturating_add(1)
        })
    }

    fn show(&self) {
        let counters = &self.shared.counters;
        counters.credits_in_use.set(self.direct);
        counters.desk_requests.set(self.desk);
        counters.backlogged_peers.set(self.backlog.peers());
        counters.backlogged_replies.set(self.backlog.replies());
    }
}
