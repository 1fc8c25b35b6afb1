//! The gateway's thread: sends what is in the outbox, receives while there is budget, sleeps when there is nothing.
//!
//! It never waits for an actor and never blocks in a send. A turn is bounded in both directions, so neither starves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::delivery::Delivery;
use super::intake::Intake;
use super::relay::{Pending, Relay};
use super::shared::{Door, Lane, Outgoing, Shared};
use super::sockets::Sockets;
use crate::clock::{Clock, Moment};
use crate::limits;

/// What the thread works with.
pub(super) struct PollLoop {
    delivery: Delivery,
    inbox: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    intake: Intake,
    clock: Clock,
    /// Requests inside the tree, by budget.
    direct: usize,
    desk: usize,
    late: usize,
    /// Requests that came out of the tree for a successor, before we saw that the sockets are handed over.
    unanswered: VecDeque<Outgoing>,
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
            delivery: Delivery::new(sockets, shared.clone(), clock),
            inbox,
            shared,
            intake,
            clock,
            direct: 0,
            desk: 0,
            late: 0,
            unanswered: VecDeque::new(),
            frames: Vec::with_capacity(limits::FRAME_PARTS),
            deadline: None,
        }
    }

    /// Runs until [`Shared::stop`]; then sends what is left, closes the sockets and removes their files. Once the sockets
    /// are to be handed over it is a [`Relay`] that runs.
    ///
    /// # Errors
    /// What libzmq says, when it is no fault of one client.
    pub(super) fn run(mut self) -> zmq::Result<()> {
        while !self.is_over() {
            if self.shared.is_handing_over() {
                return self.into_relay()?.run();
            }
            let sent = self.send_replies()?;
            let retried = self.delivery.retry()?;
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
        self.delivery.close(left.max(limits::SOCKET_LINGER / 5));
        Ok(())
    }

    fn into_relay(self) -> zmq::Result<Relay> {
        let in_tree = self.direct + self.desk + self.late;
        let Self { delivery, inbox, shared, clock, unanswered, .. } = self;
        Relay::new(delivery, inbox, shared, clock, Pending { in_tree, unanswered })
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
            && self.delivery.is_done()
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
        if outgoing.is_request {
            self.unanswered.push_back(outgoing);
            return Ok(());
        }
        self.delivery.send(outgoing)
    }

    fn receive_requests(&mut self) -> zmq::Result<bool> {
        let mut any = false;
        for door in [Door::Cli, Door::Handshake] {
            for _ in 0..limits::GATEWAY_BATCH {
                if !self.has_credit() {
                    return Ok(any);
                }
                let Some(received) = self.delivery.sockets.receive(door, &mut self.frames)? else {
                    break;
                };
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
        let is_asked = self.shared.is_stopping() || self.shared.is_handing_over();
        if self.deadline.is_none() && is_asked {
            bell.get_up(false);
            return Ok(());
        }
        let mut items = [
            zmq::PollItem::from_fd(bell.descriptor(), zmq::POLLIN),
            self.delivery.sockets.of(Door::Cli).as_poll_item(zmq::POLLIN),
            self.delivery.sockets.of(Door::Handshake).as_poll_item(zmq::POLLIN),
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
        let until = match (self.delivery.due(), self.deadline) {
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
        self.delivery.show();
    }
}
