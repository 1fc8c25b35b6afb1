//! What the gateway's thread does after its sockets were handed over: it passes its clients on to the successor.
//!
//! libzmq cannot give a connection to another process, and a ROUTER that is closed loses the requests that are on their
//! way to it. So the sockets stay open, and requests and replies go through, frame by frame, as long as clients of old
//! use them; new clients reach the successor. Nothing is read from a client before the successor stands in our place:
//! till then its requests wait where they are. What is no request is dropped here, as the gateway drops it, so that each
//! request passed on is answered once.

mod links;
mod patience;

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use self::links::Links;
use self::patience::{Over, Standing, judge};
use super::delivery::Delivery;
use super::frames::split;
use super::handshake;
use super::shared::{Door, Lane, Outgoing, Route, Shared};
use super::socket_file::LeftSocket;
use super::sockets::{first_frame, frames_after, milliseconds, uninterrupted};
use crate::clock::{Clock, Moment};
use crate::limits;

/// See the module.
pub(super) struct Relay {
    links: Links<zmq::Socket>,
    /// Of the links: apart from the sockets', so that each has room for as many sockets as libzmq gives a context.
    context: zmq::Context,
    delivery: Delivery,
    inbox: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    clock: Clock,
    /// Requests that are still inside the tree.
    in_tree: usize,
    /// Requests that came out of the tree unanswered.
    unanswered: VecDeque<Outgoing>,
    doors: Vec<Way>,
    frames: Vec<zmq::Message>,
    since: Moment,
    last: Moment,
    passed_on: u64,
}

/// What was under way when the sockets were handed over.
pub(super) struct Pending {
    /// Requests that are inside the tree.
    pub(super) in_tree: usize,
    /// Requests that came out of it unanswered.
    pub(super) unanswered: VecDeque<Outgoing>,
}

/// One of the two sockets.
struct Way {
    door: Door,
    left: LeftSocket,
    /// Whether requests can be passed on.
    is_open: bool,
}

impl Relay {
    /// Leaves the sockets' paths to the successor.
    ///
    /// # Errors
    /// What libzmq says.
    pub(super) fn new(
        mut delivery: Delivery,
        inbox: mpsc::Receiver<Outgoing>,
        shared: Arc<Shared>,
        clock: Clock,
        Pending { in_tree, unanswered }: Pending,
    ) -> zmq::Result<Self> {
        let left = delivery.sockets.leave(shared.kept_endpoints())?;
        let doors = left.into_iter().map(|(door, left)| Way { door, left, is_open: false });
        Ok(Self {
            links: Links::default(),
            context: zmq::Context::new(),
            delivery,
            inbox,
            shared,
            clock,
            in_tree,
            unanswered,
            doors: doors.collect(),
            frames: Vec::with_capacity(limits::FRAME_PARTS),
            since: clock.now(),
            last: clock.now(),
            passed_on: 0,
        })
    }

    /// Runs until nobody needs it any more, or [`Shared::stop`].
    ///
    /// # Errors
    /// What libzmq says, when it is no fault of one client.
    pub(super) fn run(mut self) -> zmq::Result<()> {
        tracing::info!("the sockets are handed over; clients that are connected are passed on");
        let over = loop {
            if self.in_tree == 0 {
                self.shared.settle();
            }
            self.open_ways();
            let from_tree = self.take_outbox()?;
            let retried = self.delivery.retry()?;
            let unanswered = self.ask_unanswered()?;
            let requests = self.pass_requests()?;
            let replies = self.pass_replies()?;
            self.links.close_old(self.clock.now());
            self.delivery.show();
            if from_tree || retried || unanswered || requests || replies {
                self.last = self.clock.now();
                continue;
            }
            match judge(self.standing(), self.clock.now()) {
                Ok(until) => self.sleep(until)?,
                Err(over) => break over,
            }
        };
        self.tell(over);
        // first the sockets: who connects until then must find them, or the successor
        let Self { delivery, doors, .. } = self;
        delivery.close(limits::SOCKET_LINGER);
        drop(doors);
        Ok(())
    }

    fn standing(&self) -> Standing {
        let is_waiting = self.in_tree > 0 || !self.unanswered.is_empty();
        Standing {
            since: self.since,
            last: self.last,
            is_owing: is_waiting || self.links.owed() > 0 || !self.delivery.is_done(),
            is_replaced: self.doors.iter().all(|way| way.is_open),
            is_asked: self.shared.is_stopping(),
        }
    }

    fn tell(&self, over: Over) {
        let (requests, owed) = (self.passed_on, self.links.owed() + self.unanswered.len());
        if owed > 0 {
            tracing::warn!(requests, owed, "clients are not passed on any more: {over}");
        } else {
            tracing::info!(requests, "clients are not passed on any more: {over}");
        }
    }

    fn open_ways(&mut self) {
        for way in self.doors.iter_mut().filter(|way| !way.is_open) {
            way.is_open = way.left.is_replaced();
        }
    }

    /// Replies that the tree still gives, and requests that it gave up.
    fn take_outbox(&mut self) -> zmq::Result<bool> {
        let mut any = false;
        for _ in 0..limits::GATEWAY_BATCH {
            let Ok(outgoing) = self.inbox.try_recv() else { break };
            any = true;
            self.in_tree = self.in_tree.saturating_sub(1);
            match outgoing.is_request {
                true => self.unanswered.push_back(outgoing),
                false => self.delivery.send(outgoing)?,
            }
        }
        Ok(any)
    }

    fn ask_unanswered(&mut self) -> zmq::Result<bool> {
        let mut any = false;
        for _ in 0..self.unanswered.len() {
            let Some(request) = self.unanswered.pop_front() else { break };
            if !self.can_pass(request.route.door) {
                self.unanswered.push_back(request);
                continue;
            }
            any |= self.pass(request)?;
        }
        Ok(any)
    }

    fn can_pass(&self, door: Door) -> bool {
        let is_open = self.doors.iter().any(|way| way.door == door && way.is_open);
        is_open && self.links.have_room(door, self.clock.now())
    }

    /// Sends a request to the successor, or keeps it for the next turn.
    fn pass(&mut self, request: Outgoing) -> zmq::Result<bool> {
        let Some(way) = self.doors.iter().find(|way| way.door == request.route.door) else {
            return Ok(false);
        };
        let Route { door, identity, delimiter, .. } = &request.route;
        let make = || connect(&self.context, &way.left.endpoint());
        let link = match self.links.lend(*door, identity, self.clock.now(), make) {
            Ok(Some(link)) => link,
            // for want of room or descriptors; some are given back when others are answered
            Ok(None) | Err(zmq::Error::EMFILE) => {
                self.unanswered.push_back(request);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if *delimiter {
            uninterrupted(|| link.wire.send(&[][..], zmq::DONTWAIT | zmq::SNDMORE))?;
        }
        // without a high water mark it always fits: `limits::RELAY_OWED` bounds them all
        link.wire.send(request.payload, zmq::DONTWAIT)?;
        self.passed_on += 1;
        Ok(true)
    }

    fn pass_requests(&mut self) -> zmq::Result<bool> {
        let mut any = false;
        for door in [Door::Cli, Door::Handshake] {
            for _ in 0..limits::GATEWAY_BATCH {
                if !self.can_pass(door) || !self.unanswered.is_empty() {
                    break;
                }
                let received = self.delivery.sockets.receive(door, &mut self.frames)?;
                let Some(received) = received else { break };
                any = true;
                let Ok(framed) = split(&self.frames, received.count) else { continue };
                if door == Door::Handshake && handshake::decode(framed.payload).is_err() {
                    continue;
                }
                let delimiter = framed.delimiter;
                let route =
                    Route { door, identity: received.identity, delimiter, lane: Lane::Late };
                let Some(payload) = self.frames.pop() else { continue };
                self.pass(Outgoing { route, payload, is_request: true })?;
            }
        }
        Ok(any)
    }

    fn pass_replies(&mut self) -> zmq::Result<bool> {
        let mut any = false;
        for at in 0..self.links.len() {
            for _ in 0..limits::GATEWAY_BATCH {
                let Some(link) = self.links.link(at) else { break };
                let Some(first) = first_frame(&link.wire)? else { break };
                any = true;
                self.frames.clear();
                let count = 1 + frames_after(&link.wire, &first, &mut self.frames)?;
                self.frames.insert(0, first);
                let delimiter = split(&self.frames, count).map(|framed| framed.delimiter);
                let (door, identity) = (link.door, zmq::Message::from(link.client()));
                self.links.answered(at);
                let (Ok(delimiter), Some(payload)) = (delimiter, self.frames.pop()) else {
                    continue;
                };
                let route = Route { door, identity, delimiter, lane: Lane::Late };
                self.delivery.send(Outgoing { route, payload, is_request: false })?;
            }
        }
        Ok(any)
    }

    /// Sleeps until there is anything to pass on, or `until`.
    fn sleep(&mut self, until: Moment) -> zmq::Result<()> {
        let bell = self.shared.bell();
        bell.lie_down();
        if self.shared.is_stopping() {
            bell.get_up(false);
            return Ok(());
        }
        // a reply that came before `lie_down` rang no bell
        if let Ok(outgoing) = self.inbox.try_recv() {
            bell.get_up(false);
            self.in_tree = self.in_tree.saturating_sub(1);
            self.last = self.clock.now();
            if outgoing.is_request {
                self.unanswered.push_back(outgoing);
                return Ok(());
            }
            return self.delivery.send(outgoing);
        }
        let limit = self.sleep_limit(until);
        let mut items = vec![zmq::PollItem::from_fd(bell.descriptor(), zmq::POLLIN)];
        items.extend(self.links.iter().map(|link| link.wire.as_poll_item(zmq::POLLIN)));
        let passable = self.doors.iter().map(|way| way.door).filter(|door| {
            // what cannot be passed on must not wake us
            self.can_pass(*door) && self.unanswered.is_empty()
        });
        items.extend(passable.map(|door| self.delivery.sockets.of(door).as_poll_item(zmq::POLLIN)));
        let outcome = zmq::poll(&mut items, limit);
        let rang = items.first().is_some_and(zmq::PollItem::is_readable);
        bell.get_up(rang);
        match outcome {
            Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Milliseconds, rounded up.
    fn sleep_limit(&self, until: Moment) -> i64 {
        let now = self.clock.now();
        let mut span = until.since(now);
        if let Some(due) = self.delivery.due() {
            span = span.min(due.since(now));
        }
        // nobody tells when the successor stands there, or descriptors are free
        if !self.unanswered.is_empty() || self.doors.iter().any(|way| !way.is_open) {
            span = span.min(limits::RELAY_LOOK_EVERY);
        }
        // links that took their last request are closed in time
        if self.links.len() > 0 {
            span = span.min(limits::RELAY_LINK_AGE);
        }
        i64::try_from(span.as_millis()).unwrap_or(i64::MAX).saturating_add(1)
    }
}

fn connect(context: &zmq::Context, endpoint: &str) -> zmq::Result<zmq::Socket> {
    let socket = context.socket(zmq::DEALER)?;
    // what is still unsent at the end is for a successor that is gone
    socket.set_linger(0)?;
    socket.set_sndhwm(0)?;
    socket.set_rcvhwm(0)?;
    socket.set_reconnect_ivl(milliseconds(RECONNECT))?;
    socket.connect(endpoint)?;
    Ok(socket)
}

/// A successor that died is replaced in a moment.
const RECONNECT: Duration = Duration::from_millis(10);
